"""One member of a process group fails while it multicasts: what the product's own machines do, message by message.

The members are those of the slides' example, and the group is the product's (group/machine.py), in the simulator.  Of the
last messages of the member that fails each of the others receives the first few, and nothing else of it from then on.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from phalanx.group.config import Config
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import (
    Accept,
    Accepted,
    Commit,
    Data,
    Envelope,
    Gather,
    Held,
    Nack,
    Prepare,
    Promise,
    Pull,
)
from phalanx.lab.groups import LIMITS, TIMING
from phalanx.lab.textbook.interposed import Interposed
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import Consumed, Delivered, Founded, Installed, Multicast
from phalanx.model.history import GroupEvent, SawFounding, SawMessage, SawView, Sent, Stopped
from phalanx.model.machine import Machine
from phalanx.model.view import GroupSpec, Member, Name, View
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

FLUSH = (Prepare, Promise, Nack, Gather, Pull, Held, Accept, Accepted, Commit)
"""Messages of the view change."""

PATIENCE_NS = 60 * SECOND


class Arrival(NamedTuple):
    """A message of the view change has arrived, or a copy of a batch."""

    source: Name
    target: Name
    body: Any


class Turn(NamedTuple):
    """Something that an application sees."""

    at: Name
    what: str


class Course(NamedTuple):
    """One run, from the failure to the view without the one that failed."""

    received: tuple[int, ...]
    """Of the last messages, how many each other member received of their sender."""
    steps: tuple[Arrival | Turn, ...]
    """Messages from one member to another, and what those that live deliver and install, after the failure."""
    delivered: dict[Name, tuple[str, ...]]
    """In the old view, of the last messages."""
    view: View | None
    """The last one that all who live have installed; None: they are in different ones."""
    history: tuple[GroupEvent, ...]

    def count(self, kind: type[Any]) -> int:
        """How many messages of that kind arrived."""
        return sum(isinstance(step, Arrival) and isinstance(step.body, kind) for step in self.steps)

    @property
    def alive(self) -> tuple[Name, ...]:
        """The members of that view."""
        return () if self.view is None else tuple(member.name for member in self.view.members)


class Fall(NamedTuple):
    """One more member fails: once it has received so many messages of the view change, its own among them."""

    name: Name
    after: int


class _Group:
    """The world of one run."""

    def __init__(self, names: Sequence[Name], spec: GroupSpec, received: Sequence[int], fall: Fall | None) -> None:
        self.names = tuple(names)
        self.history: list[GroupEvent] = []
        self.steps: list[Arrival | Turn] = []
        self.delivered: dict[Name, tuple[str, ...]] = dict.fromkeys(names, ())
        self.views: dict[Name, View] = {}
        self.fails = names[-1]
        self.failing = False
        self.fallen = False
        self._spec = spec
        self._received = dict(zip(names, received, strict=False))
        self._sent_before: dict[Name, int] = {}
        self._fall = fall
        self._flushed = 0
        self._members: dict[Name, Member] = {}
        self.world = World(1, self._start, deliver=self._deliver, conditions=Conditions(stagger_ns=0))

    # --- what happens

    def found(self) -> None:
        """All are members, and hosts of the group."""
        for name in self.names:
            self.world.add(name)
            self.world.run_for(MILLISECOND)
        assert self.world.run_while(lambda: not self.is_whole(self.names), PATIENCE_NS), "the group is not founded"
        self.world.run_for(SECOND)

    def multicast(self, payload: str) -> None:
        """By the one that will fail."""
        (group,) = self.views[self.fails].groups
        self.history.append(Sent(self._members[self.fails], group.id, payload.encode()))
        self.world.request(self.fails, Multicast(group.id, (payload.encode(),)))
        self.world.run_for(MILLISECOND)

    def crash(self, name: Name) -> None:
        """It is gone, and those that were connected to it know."""
        self.history.append(Stopped(self._members[name], True))
        self.world.crash(name)

    def is_whole(self, names: Iterable[Name]) -> bool:
        """These have installed one view, of these members."""
        names = tuple(names)
        views = [self.views.get(name) for name in names]
        view = views[0]
        return view is not None and views.count(view) == len(views) and tuple(m.name for m in view.members) == names

    # --- the machines

    def _start(self, setup: Setup) -> Machine:
        peers, seeds = tuple((n, n) for n in self.names), tuple(n for n in self.names if n != setup.name)
        config = Config(setup.name, setup.address, seeds, peers, (self._spec,), TIMING, LIMITS)
        machine = GroupMachine(config, setup.durable, setup.rng, setup.now)
        return Interposed(machine, receives=self._hears(setup.name), sends=lambda _: True)

    def _hears(self, me: Name) -> Callable[[Any], bool]:
        def hears(message: Any) -> bool:
            assert isinstance(message, Envelope)
            source, body = message.sender.name, message.body
            if source == self.fails and me != self.fails and self.failing:
                return isinstance(body, Data) and body.number <= self._sent_before[me] + self._received[me]
            if source == self.fails and isinstance(body, Data):
                self._sent_before[me] = body.number
            if self.failing and source != me and isinstance(body, (*FLUSH, Data)):
                self.steps.append(Arrival(source, me, body))
            if self._fall is not None and me == self._fall.name and self.failing and isinstance(body, FLUSH):
                return self._counts(me, self._fall)
            return True

        return hears

    def _counts(self, me: Name, fall: Fall) -> bool:
        """The machine gets what came up to the fall, and nothing more."""
        self._flushed += 1
        if self._flushed > fall.after and not self.fallen:
            self.fallen = True
            self.world.schedule(0, self.crash, me)
        return not self.fallen

    # --- their applications

    def _deliver(self, node: Node, delivery: Any) -> Iterable[Any]:
        name, history = node.name, self.history
        match delivery:
            case Installed(view):
                self.views[name] = view
                self._members[name] = next(member for member in view.everyone if member.name == name)
                history.append(SawView(self._members[name], view))
                self._takes_place(name, f"view {view.id}")
            case Founded(group):
                history.append(SawFounding(self._members[name], group))
            case Delivered(group, view, sender, _, payloads):
                for payload in map(bytes, payloads):
                    history.append(SawMessage(self._members[name], group, view, sender, payload))
                    if self.failing:
                        self.delivered[name] = (*self.delivered[name], payload.decode())
                        self._takes_place(name, f"delivers {payload.decode()}")
                return (Consumed(group, sum(map(len, payloads))),)
            case _:
                pass
        return ()

    def _takes_place(self, name: Name, what: str) -> None:
        if self.failing and name != self.fails:
            self.steps.append(Turn(name, what))


def fail_while_sending(
    names: Sequence[Name], spec: GroupSpec, received: Sequence[int], messages: int, fall: Fall | None = None
) -> Course:
    """The last of `names` multicasts so many messages and fails; of these the others receive what `received` says.  A
    second one may fail during the view change."""
    group = _Group(names, spec, received, fall)
    group.found()
    group.multicast("m0")
    group.world.run_for(SECOND)
    group.failing = True
    for number in range(1, messages + 1):
        group.multicast(f"m{number}")
    group.crash(group.fails)

    def left() -> tuple[Name, ...]:
        gone = {group.fails, fall.name} if fall is not None and group.fallen else {group.fails}
        return tuple(name for name in names if name not in gone)

    group.world.run_while(lambda: not group.is_whole(left()), PATIENCE_NS, MILLISECOND)
    steps = tuple(group.steps)
    group.world.run_for(SECOND)
    group.world.run_while(lambda: not group.is_whole(left()), PATIENCE_NS)
    assert not group.world.failures, group.world.failures
    view = group.views[left()[0]] if group.is_whole(left()) else None
    return Course(tuple(received), steps, group.delivered, view, tuple(group.history))
