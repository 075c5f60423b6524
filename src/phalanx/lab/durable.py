"""Durable groups under every fault, power cuts above all: what `phalanx sim --scenario durable` runs.

The load, the application and the judgement are those of `lab.groups`; besides, nothing that was delivered in a durable
group may be missing at a full host of any later view (`check.states.durability`), and after the storm every suspended
group must go on, since every disk is there again.

In some runs disks fail, and those of a minority lose what was durable.  Then acknowledgements must stand for more disks
than the bad ones twice over (`min_copies`), and hosts for more than these; a group all of whose last hosts were bad may
wait for an operator, and nothing else is excused.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from phalanx.group.machine import GroupMachine
from phalanx.lab.groups import GroupScenario
from phalanx.model.clock import SECOND
from phalanx.model.events import Unhost
from phalanx.model.history import SawView
from phalanx.model.view import GroupId, GroupSpec, Name, Order, View
from phalanx.sim.faults import LostSync, Spoiling
from phalanx.sim.node import Node, Setup
from phalanx.sim.swarm import Swarm

_ORDERS = (Order.TOTAL, Order.TOTAL, Order.TOTAL, Order.CAUSAL, Order.FIFO, Order.UNORDERED)


class DurableScenario(GroupScenario):
    """See the module's text."""

    swarm = Swarm(
        storm_ns=4 * SECOND,
        bad_disks=0.4,
        full_disks=0.4,
        faults=("CrashAll", "CrashAll", "CrashInWrite", "Crash", "Crash", *Swarm().faults),
    )

    def build(self) -> None:
        super().build()
        rng = random.Random(f"{self.plan.seed}/durable")
        self._over = False
        names = self.plan.names
        self.unhosted: set[str] = set()
        self._bad = self.bad()
        for name in names:
            self.wanted[name] = []
        for name in list(self.specs):
            hosts = names if rng.random() < 0.6 else rng.sample(names, rng.randint(1, len(names)))
            durable = rng.random() < 0.8
            copies = rng.choice((1, 1, min(2, len(hosts)))) if durable else 1
            if durable and self._bad:
                hosts, copies = self.with_enough_good_disks(hosts, copies)
            spec = GroupSpec(name, rng.choice(_ORDERS), rng.random() < 0.3, 0, "", durable, copies)
            self.specs[name] = spec
            for host in hosts:
                self.wanted[host].append(spec)

    def bad(self) -> set[Name]:
        """Those whose disks lose what was durable."""
        names = self.plan.names
        return {names[f.node] for f in self.plan.faults if isinstance(f, Spoiling) and f.node < len(names)}

    def with_enough_good_disks(self, hosts: list[Name], copies: int) -> tuple[list[Name], int]:
        """What is lost may be lost without a trace, if a disk lies: then any quorum of the members must have a good
        one."""
        if any(isinstance(f, LostSync) for f in self.plan.faults):
            hosts = list(self.plan.names)
        bad = [name for name in hosts if name in self._bad]
        if 2 * len(bad) >= len(hosts):
            hosts = [name for name in self.plan.names if name not in self._bad]
            bad = []
        return hosts, max(copies, 2 * len(bad) + 1)

    def is_excused(self, view: View, spec: GroupSpec) -> bool:
        waits = next((s for s in view.suspended if s.group.spec == spec), None)
        return waits is not None and set(waits.group.hosts) <= self._bad

    def start(self, setup: Setup) -> GroupMachine:
        config = self.config(setup)
        return self.started(setup, GroupMachine(config, setup.durable, setup.rng, setup.now, setup.journal))

    def perform(self, node: Node, what: Any) -> Iterable[Any]:
        requests = super().perform(node, what)
        self.unhosted |= {request.name for request in requests if isinstance(request, Unhost)}
        return requests

    def judge(self, history: Sequence[Any]) -> list[str]:
        return [*super().judge(history), *self._vanished(history), *self._unequal()]

    def finished(self) -> bool:
        finished = super().finished()
        self._over = finished and not self.is_refounded
        return finished

    def _unequal(self) -> Iterator[str]:
        """After a last message of every host all of them hold the same state, however they came to it: from their own
        logs, by a snapshot, by what their logs lacked.  In total order it is the same list."""
        states: dict[GroupId, dict[str, list[bytes]]] = {}
        nodes = [self.world.nodes[name] for name in self.plan.names if self.world.nodes[name].up] if self._over else []
        for node in nodes:
            for group, state in node.application.state.items():
                states.setdefault(group, {})[node.name] = state
        machine = nodes[0].machine if nodes else None
        view = machine.view if isinstance(machine, GroupMachine) else None
        for place in view.groups if view is not None else ():
            held = {name: state for name, state in states.get(place.id, {}).items() if name in place.hosts}
            alike = list if place.spec.order is Order.TOTAL else sorted
            if len({tuple(alike(state)) for state in held.values()}) > 1:
                sizes = {name: len(state) for name, state in held.items()}
                yield f"unequal states: of {place.spec.name}, group {place.id}, of so many payloads: {sizes}"

    def _vanished(self, history: Sequence[Any]) -> Iterator[str]:
        """A durable group that nobody asked to unhost is in every view, active or suspended, once it was founded."""
        known: dict[tuple[int, GroupId], str] = {}
        views = {(e.view.cluster, e.view.id): e.view for e in history if isinstance(e, SawView)}
        for (cluster, number), view in sorted(views.items()):
            here = {g.id: g.spec for g in (*view.groups, *(s.group for s in view.suspended))}
            for (of, group), name in known.items():
                if of == cluster and group not in here and name not in self.unhosted:
                    yield f"durable group vanished: {name}, group {group}, is not in view {number}"
            known |= {(cluster, group): spec.name for group, spec in here.items() if spec.durable}
