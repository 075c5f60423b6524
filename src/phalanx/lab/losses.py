"""Machines that do not come back as they were: what `phalanx sim --scenario losses` runs.

The load, the application and the judgement are those of `lab.durable`.  Of a minority of the nodes disks are lost, as
often as may be, and nodes are killed for good, while groups are hosted by any subset and everything else goes wrong,
too.

Then some runs rightly come to no end: a view that had shrunk to nodes that were lost has no quorum for ever, and a
durable group stays suspended if half of its last hosts or more were lost, and the logs of the others were cut off:
until an operator decides (`phalanx recover`).  Nothing else is excused, and nothing that was acknowledged may be
missing: a group's `min_copies` is greater than the number of its hosts that may be lost, so one that is not has all of
it.  And no node may vote for a life that another disk of it had lived, for of its promises it knows nothing.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from phalanx.group.config import Config
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Votes
from phalanx.lab.durable import DurableScenario
from phalanx.lab.groups import SETTLES_NS
from phalanx.model.clock import SECOND
from phalanx.model.events import Installed
from phalanx.model.machine import Output
from phalanx.model.view import GroupSpec, Name, View
from phalanx.parts.quorum import is_quorum
from phalanx.sim.faults import Crash, DiskLost
from phalanx.sim.node import Node, Setup
from phalanx.sim.swarm import Swarm


class LossScenario(DurableScenario):
    """See the module's text."""

    swarm = Swarm(
        storm_ns=4 * SECOND,
        full_disks=0.2,
        deaths=True,
        faults=("DiskLost", "DiskLost", "DiskLost", "CrashAll", "CrashInWrite", "Crash", *Swarm().faults),
    )

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[int, View] = {}
        """By cluster: the last view that somebody installed."""
        self._lives: dict[Name, set[int]] = {}
        """The incarnations that each node's present disk has seen."""
        self._seen: dict[Name, Any] = {}

    def bad(self) -> set[Name]:
        """Those that lose their disks, or do not come back."""
        names = self.plan.names
        return {
            names[fault.node]
            for fault in self.plan.faults
            if isinstance(fault, DiskLost) or (isinstance(fault, Crash) and fault.for_good)
            if fault.node < len(names)
        }

    def with_enough_good_disks(self, hosts: list[Name], copies: int) -> tuple[list[Name], int]:
        """Copies on more hosts than may be lost, and as many hosts that are not: else nothing is sent any more once they
        are."""
        others = [name for name in self.plan.names if name not in self._bad and name not in hosts]
        bad = len(self._bad.intersection(hosts))
        lacking = max(0, max(copies, bad + 1) - (len(hosts) - bad))
        return [*hosts, *others[:lacking]], max(copies, bad + 1)

    def config(self, setup: Setup) -> Config:
        """Nodes are told of all the others: one that knows a single address is cut off once that one is gone."""
        seeds = tuple(name for name in self.plan.names if name != setup.address)
        return msgspec.structs.replace(super().config(setup), seeds=seeds)

    def is_excused(self, view: View, spec: GroupSpec) -> bool:
        waits = next((s for s in view.suspended if s.group.spec == spec), None)
        if waits is None:
            return False
        left = [name for name in waits.group.hosts if name not in self._bad]
        return 2 * len(left) <= len(waits.group.hosts) and all(self.world.nodes[name].cuts for name in left)

    def started(self, setup: Setup, machine: GroupMachine) -> GroupMachine:
        if setup.durable is None:
            self._lives[setup.name] = set()
        return super().started(setup, machine)

    def after_step(self, node: Node, output: Output) -> str | None:
        del output
        votes, machine = node.durable, node.machine
        assert isinstance(machine, GroupMachine)
        lives = self._lives[node.name]
        lives.add(machine.me.incarnation)
        if votes is self._seen.get(node.name) or not isinstance(votes, Votes):
            return None
        self._seen[node.name] = votes
        view = votes.view
        if view is None or view.id == 0 or (voter := view.named(node.name)) is None or voter.incarnation in lives:
            return None
        return f"another disk's vote: {node.name} votes for {voter} in view {view.id}, whose disk was lost"

    def deliver(self, node: Node, delivery: Any) -> Iterable[Any] | None:
        if isinstance(delivery, Installed):
            known = self._last.get(delivery.view.cluster)
            if known is None or known.id < delivery.view.id:
                self._last[delivery.view.cluster] = delivery.view
        return super().deliver(node, delivery)

    def finished(self) -> bool:
        if super().finished():
            return True
        if self.world.now < self.plan.heal_at_ns + SETTLES_NS or not self._is_without_quorum():
            return False
        self.world.tell("no quorum is left")
        return True

    def _is_without_quorum(self) -> bool:
        """Of the last view that was decided too few are left: nobody else may go on in their place."""
        disks = {name: node.durable for name, node in self.world.nodes.items() if isinstance(node.durable, Votes)}
        views = [view for votes in disks.values() for view in _views(votes)]
        last = max((*views, *self._last.values()), key=lambda view: view.id, default=None)
        if last is None:  # nobody has founded the cluster, and who should have is dead
            return any(name in self.storm.gone for name, _ in self.founders)
        return not is_quorum(last, [name for name in disks if self._votes(name, last, disks[name])])

    def _votes(self, name: Name, view: View, votes: Votes) -> bool:
        """Its disk is the one on which it was, or took over, that member."""
        member = view.named(name)
        return self.world.nodes[name].up and member is not None and votes.first <= member.incarnation


def _views(votes: Votes) -> Iterable[View]:
    """Those that the disk knows to be decided."""
    if votes.view is not None:
        yield votes.view
    if votes.decided is not None:
        yield votes.decided.view
