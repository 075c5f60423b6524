"""Workers that hand work to each other, and the question whether all of it is done (termination detection).

A piece of work keeps its worker busy for a while, then becomes the next piece, for another worker, until it is used up.
"All are idle and no work is under way" is a stable predicate: once it holds it holds for ever.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from phalanx.lab.textbook.banking import SLOW, Asking, Poll
from phalanx.lab.textbook.membership import Application, Members
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import Delivered, Installed
from phalanx.model.globalstate import GlobalState
from phalanx.model.view import GroupSpec, Name
from phalanx.replication.globalstate import PLAIN, Recorder

PIECES = 2
"""At work, or under way, at any time until they are used up."""

HOPS = 12
"""Of each piece."""

ASK_EVERY_NS = 60 * MILLISECOND
PATIENCE_NS = 20 * SECOND


class Work(msgspec.Struct, frozen=True, array_like=True):
    """For that worker; `left` pieces follow one after the other."""

    target: Name
    left: int


encode = msgspec.msgpack.Encoder().encode
work_of = msgspec.msgpack.Decoder(Work).decode


class Worker:
    """One of them."""

    def __init__(self, name: Name, *, polls: bool) -> None:
        self.name = name
        self.at_work = 0
        self.came: list[Work] = []
        """To be begun by whoever drives it."""
        self.asking: Asking = Poll(self) if polls else Recorder(name, self.record)

    def record(self) -> bytes:
        """The state, between two deliveries."""
        return b"busy" if self.at_work else b"idle"

    def take(self, delivery: Any) -> Iterator[bytes]:
        """A delivery of the group."""
        match delivery:
            case Installed(view):
                self.asking.installed(view.id, [name for group in view.groups for name in group.hosts])
            case Delivered(sender=sender, payloads=payloads):
                for payload in map(bytes, payloads):
                    taken = self.asking.take(sender.name, payload)
                    if taken.payload is not None and (work := work_of(taken.payload)).target == self.name:
                        self.at_work += 1
                        self.came.append(work)
                    yield from taken.sends
            case _:
                pass


def is_done(state: GlobalState) -> bool:
    """The predicate."""
    moving = (
        work_of(payload).target == target for (_, target), payloads in state.channels.items() for payload in payloads
    )
    return all(each == b"idle" for each in state.states.values()) and not any(moving)


class Answer(NamedTuple):
    """To one question."""

    asked_ns: int
    at_ns: int
    done: bool
    """What it says."""


class Detection(NamedTuple):
    """One run."""

    done_ns: int
    """When the last piece was used up."""
    answers: tuple[Answer, ...]

    @property
    def wrong(self) -> int:
        """Answers that it is done, before it was."""
        return sum(answer.done and answer.at_ns < self.done_ns for answer in self.answers)

    @property
    def missed(self) -> int:
        """Answers that it is not done, to questions that were put when it was."""
        return sum(not answer.done and answer.asked_ns >= self.done_ns for answer in self.answers)

    @property
    def later(self) -> int:
        """Questions that were put when it was done, and answered."""
        return sum(answer.asked_ns >= self.done_ns for answer in self.answers)


def detect(names: Sequence[Name], spec: GroupSpec, *, polls: bool, seed: int) -> Detection:
    """They work, and the first of them asks again and again, until a while after the work is done."""
    rng = random.Random(f"work {seed}")
    workers = {name: Worker(name, polls=polls) for name in names}
    applications: dict[Name, Application] = dict(workers)
    members = Members(names, spec, applications, seed=seed, conditions=SLOW)
    members.found()
    world = members.world
    done_ns = 0
    left = PIECES
    asked: list[int] = []
    answers: list[Answer] = []

    def hand_on(worker: Worker, work: Work) -> None:
        nonlocal done_ns, left
        worker.at_work -= 1
        if work.left:
            target = rng.choice([name for name in names if name != worker.name])
            members.multicast(worker.name, PLAIN + encode(Work(target, work.left - 1)))
        else:
            left -= 1
            done_ns = world.now

    for _ in range(PIECES):
        members.multicast(names[0], PLAIN + encode(Work(rng.choice(names[1:]), HOPS)))
    first = workers[names[0]]
    end = world.now + PATIENCE_NS
    while world.now < end and (left or world.now < done_ns + SECOND):
        if not asked or world.now >= asked[-1] + ASK_EVERY_NS:
            begun = first.asking.start()
            assert begun is not None
            asked.append(world.now)
            members.multicast(names[0], begun[1])
        world.run_for(MILLISECOND)
        for worker in workers.values():
            for work in worker.came:
                world.schedule(rng.randrange(1, 20) * MILLISECOND, hand_on, worker, work)
            worker.came.clear()
        results, first.asking.results = first.asking.results, []
        for key, state in results:
            assert isinstance(state, GlobalState)
            answers.append(Answer(asked[key.number - 1], world.now, is_done(state)))
    assert not left and not world.failures, world.failures
    return Detection(done_ns, tuple(answers))
