"""A process group of the product in the simulator, with a small application at each member.

The machines are the product's (group/machine.py).  An application sees what its member delivers, and answers with
requests; it is told when its group begins and which view it is in by the deliveries themselves.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from phalanx.group.config import Config, Limits
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Envelope
from phalanx.lab.groups import LIMITS, TIMING
from phalanx.lab.textbook.interposed import Interposed
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import Consumed, Delivered, Founded, Multicast, Restored, SnapshotTaken, SnapshotWanted
from phalanx.model.machine import Machine
from phalanx.model.view import GroupId, GroupSpec, Name, View
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

PATIENCE_NS = 60 * SECOND


class Application(Protocol):
    """What runs at one member."""

    def take(self, delivery: Any) -> Iterable[bytes]:
        """A delivery of the member's machine, in order; payloads to multicast at once."""


class Stateless:
    """An application without a state to transfer, for groups that nobody joins later."""

    def take(self, delivery: Any) -> Iterable[bytes]:  # noqa: ARG002  it takes no notice
        """Nothing."""
        return ()


Hears = Callable[[Name, Name, Any], bool]
"""From whom, at whom, which message of the group's protocol; False: it is lost."""


class Members:
    """The world, and what the program does to it."""

    def __init__(
        self,
        names: Sequence[Name],
        spec: GroupSpec,
        applications: dict[Name, Application],
        *,
        seed: int = 1,
        conditions: Conditions | None = None,
        limits: Limits = LIMITS,
        hears: Hears | None = None,
    ) -> None:
        """`names`: the founders, the eldest first.  The others of `applications` may be added later."""
        self.names = tuple(names)
        self.applications = applications
        self.group: GroupId | None = None
        self._spec = spec
        self._limits = limits
        self._hears = hears
        self.world = World(seed, self._start, deliver=self._deliver, conditions=conditions or Conditions(stagger_ns=0))

    def found(self) -> None:
        """All founders are members, and hosts of the group."""
        for name in self.names:
            self.world.add(name)
            self.world.run_for(MILLISECOND)
        assert self.world.run_while(lambda: not self.is_whole(self.names), PATIENCE_NS), "the group is not founded"
        self.world.run_for(SECOND)

    def view(self, name: Name) -> View | None:
        """The view that the member is in; None if it is down, or in none."""
        machine = self.world.nodes[name].machine
        machine = machine.machine if isinstance(machine, Interposed) else machine
        return machine.view if isinstance(machine, GroupMachine) else None

    def is_whole(self, names: Iterable[Name]) -> bool:
        """These, and no others, are the members of one view that all of them are in, and host the group."""
        names = set(names)
        views = [self.view(name) for name in sorted(names)]
        view = views[0]
        if view is None or view.id == 0 or any(other != view for other in views):
            return False
        hosts = {name for group in view.groups for name in group.hosts}
        return {member.name for member in view.members} == names == hosts

    def multicast(self, name: Name, payload: bytes) -> bool:
        """By that member.  False if it is down."""
        assert self.group is not None
        return self.world.request(name, Multicast(self.group, (payload,)))

    def _start(self, setup: Setup) -> Machine:
        founders = tuple((n, n) for n in self.names)
        peers = founders if setup.name in self.names else ()
        seeds = tuple(name for name in self.names if name != setup.name)
        config = Config(setup.name, setup.address, seeds, peers, (self._spec,), TIMING, self._limits)
        machine = GroupMachine(config, setup.durable, setup.rng, setup.now)
        if self._hears is None:
            return machine
        return Interposed(machine, receives=self._judge(setup.name, self._hears), sends=lambda _: True)

    @staticmethod
    def _judge(me: Name, hears: Hears) -> Callable[[Any], bool]:
        def judge(message: Any) -> bool:
            assert isinstance(message, Envelope)
            return hears(message.sender.name, me, message.body)

        return judge

    def _deliver(self, node: Node, delivery: Any) -> Iterable[Any]:
        requests: list[Any] = []
        match delivery:
            case Founded(group):
                self.group = group
            case Restored(group):
                self.group = group
            case Delivered(group, payloads=payloads):
                requests.append(Consumed(group, sum(map(len, payloads))))
            case _:
                pass
        sends = tuple(self.applications[node.name].take(delivery))
        if isinstance(delivery, SnapshotWanted):
            (state,) = sends
            return (SnapshotTaken(delivery.group, delivery.token, state),)
        if sends:
            assert self.group is not None
            requests.append(Multicast(self.group, sends))
        return requests
