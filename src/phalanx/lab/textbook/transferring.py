"""One more process joins a group that has a state and goes on: what it is given, message by message.

The members are the product's.  A state is the list of all that was delivered.  At chosen moments a member multicasts, or
the donor of the state crashes; moments are counted by the messages of the join that have arrived anywhere.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from phalanx.group.config import Limits
from phalanx.group.messages import Accept, Accepted, Chunk, Commit, Fetch, Prepare, Promise, Wish
from phalanx.lab.groups import LIMITS
from phalanx.lab.textbook.membership import PATIENCE_NS, Application, Members
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import Delivered, Founded, Installed, Restored, SnapshotWanted
from phalanx.model.view import GroupSpec, Name
from phalanx.sim.conditions import Conditions

JOINING = (Wish, Prepare, Promise, Accept, Accepted, Commit, Fetch, Chunk)
"""Messages of a join: of two view changes, and of the transfer between them."""

NEVER = range(0)
ALWAYS = range(10_000)
"""After each message."""

SLOW = Conditions(stagger_ns=0, delay_min_ns=2 * MILLISECOND, delay_spread_ns=MILLISECOND)
"""A network in which the steps of a join take longer than anything that a member waits for by itself."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[str]).decode


class Arrival(NamedTuple):
    """A message of the join has arrived."""

    source: Name
    target: Name
    body: Any


class Turn(NamedTuple):
    """Something that an application sees."""

    at: Name
    what: str


class Keeper:
    """The application of one member."""

    def __init__(self, name: Name, steps: list[Arrival | Turn]) -> None:
        self.name = name
        self.state: list[str] | None = None
        """None: it has none yet."""
        self.restored = 0
        """How many payloads the state held when it was given; 0: it was never."""
        self.full = False
        """In its view it is a full member, and a host of the group."""
        self.learnt: list[str] = []
        """Delivered to it as a learner: the suffix."""
        self._steps = steps

    def take(self, delivery: Any) -> Iterable[bytes]:
        """A delivery of the group."""
        match delivery:
            case Founded():
                self.state = []
            case SnapshotWanted():
                assert self.state is not None
                self._steps.append(Turn(self.name, f"gives a state of {len(self.state)}"))
                return (_encode(self.state),)
            case Restored(data=data):
                self.state = _decode(data)
                self.restored = len(self.state)
                self._steps.append(Turn(self.name, f"takes a state of {len(self.state)}"))
            case Delivered(payloads=payloads):
                assert self.state is not None, "nothing is delivered before there is a state"
                for payload in payloads:
                    self.state.append(bytes(payload).decode())
                    if not self.full:
                        self.learnt.append(self.state[-1])
                    self._steps.append(Turn(self.name, f"delivers {self.state[-1]}"))
            case Installed(view):
                self.full = any(self.name in group.hosts for group in view.groups)
                self._steps.append(Turn(self.name, f"view {view.id}, {'full' if self.full else 'learner'}"))
            case _:
                pass
        return ()


class Join(NamedTuple):
    """One run."""

    names: tuple[Name, ...]
    steps: tuple[Arrival | Turn, ...]
    """From the moment at which the joiner begins."""
    donors: tuple[Name, ...]
    """From whom the chunks came, in order."""
    fallen: bool
    """The first of them crashed."""
    joined: bool
    """All that live are in one view, the joiner as a full host."""
    states: dict[Name, tuple[str, ...]]
    """In the end, of those that live."""
    taken: int
    """Payloads in the state that the joiner was given."""
    learnt: tuple[str, ...]
    """What was delivered to it after that, while it was a learner."""
    sent: tuple[str, ...]
    """All that the members multicast while it joined."""
    arrivals: int
    """Messages of the join."""

    @property
    def chunks(self) -> list[Chunk]:
        """Those that came with data, in order."""
        found = [step.body for step in self.steps if isinstance(step, Arrival) and isinstance(step.body, Chunk)]
        return [chunk for chunk in found if chunk.data]

    @property
    def begun(self) -> str:
        """Where the first of `sent` was when the joiner began: in its state, in the suffix, or neither."""
        if self.sent[0] in self.learnt:
            return "as a learner"
        return "in the state" if self.sent[0] in self.states[self.names[-1]][: self.taken] else "as a member"


def _limits(chunk: int) -> Limits:
    return msgspec.structs.replace(LIMITS, chunk=chunk or LIMITS.chunk)


def _deliver_history(members: Members, history: Sequence[str]) -> None:
    members.found()
    for payload in history:
        members.multicast(members.names[0], payload.encode())
    members.world.run_for(SECOND)


def join(
    names: Sequence[Name],
    spec: GroupSpec,
    history: Sequence[str],
    moments: range = NEVER,
    *,
    falls: int | None = None,
    chunk: int = 0,
    seed: int = 1,
) -> Join:
    """The last of the names joins the others, which have delivered `history`.  After so many messages of the join as are
    in `moments` the second member multicasts; and the donor crashes once `falls` chunks have come from it.  `chunk`: how
    many bytes of a state travel in one, if not as many as in the simulator's campaigns."""
    steps: list[Arrival | Turn] = []
    sent: list[str] = []
    donors: list[Name] = []
    keepers = {name: Keeper(name, steps) for name in names}
    applications: dict[Name, Application] = dict(keepers)
    old, new = tuple(names[:-1]), names[-1]
    joining = fallen = False
    arrivals = 0

    def multicast() -> None:
        sent.append(f"new {len(sent) + 1}")
        members.multicast(old[1], sent[-1].encode())

    def hears(source: Name, target: Name, body: Any) -> bool:
        nonlocal arrivals, fallen
        if not joining or source == target or not isinstance(body, JOINING):
            return True
        steps.append(Arrival(source, target, body))
        if arrivals in moments:
            members.world.schedule(0, multicast)
        arrivals += 1
        if isinstance(body, Chunk) and body.data:
            donors.append(source)
            if len(donors) == falls:
                fallen = True
                members.world.schedule(0, members.world.crash, source)
        return True

    def left() -> tuple[Name, ...]:
        return tuple(name for name in names if not (fallen and name == donors[0]))

    members = Members(old, spec, applications, seed=seed, conditions=SLOW, limits=_limits(chunk), hears=hears)
    _deliver_history(members, history)
    steps.clear()
    joining = True
    members.world.add(new)
    members.world.run_while(lambda: not members.is_whole(left()), PATIENCE_NS, MILLISECOND)
    members.world.run_for(MILLISECOND)
    told = tuple(steps)
    members.world.run_for(2 * SECOND)
    members.world.run_while(lambda: not members.is_whole(left()), PATIENCE_NS)
    assert not members.world.failures, members.world.failures
    return Join(
        tuple(names),
        told,
        tuple(donors),
        fallen,
        members.is_whole(left()),
        {name: tuple(keepers[name].state or ()) for name in left()},
        keepers[new].restored,
        tuple(keepers[new].learnt),
        tuple(sent),
        arrivals,
    )
