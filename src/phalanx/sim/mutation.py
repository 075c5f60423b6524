"""Another plan out of one that reached something: small changes of its faults.

The cluster, the workload and the luck mostly stay, so the run is that of the old plan up to the first fault that is
another: what it had reached until then it reaches again.  No mutation leaves the range from which the swarm draws
(`Swarm.refusal`), so a run that fails is one that the scenario must stand up to.
"""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from phalanx.model.clock import MILLISECOND
from phalanx.sim.faults import ClockOffset, ClockRate, Fault, end_ns, victims
from phalanx.sim.plan import Plan
from phalanx.sim.swarm import Swarm, draw_fault

TRIES = 8
"""Mutations that may come to nothing, or leave the range, before a plan is given up."""

NEAR_NS = (MILLISECOND, 20 * MILLISECOND, 300 * MILLISECOND)
"""How far a fault is moved, more or less: within a message's way, a few of them, or a timeout."""

ELSEWHERE = 0.2
"""Fraction of mutations that get another seed, so another cluster, workload and luck: the same storm elsewhere."""

SEEDS = 1 << 32
LUCKS = 1 << 16

Faults = tuple[Fault, ...]


def mutate(plan: Plan, other: Plan, swarm: Swarm, rng: random.Random) -> Plan | None:
    """The plan with one to a few changes, one of which may be to go on like the other plan.  None if none was found."""
    for _ in range(TRIES):
        mutated = plan
        for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
            mutated = _Mutation(mutated, other, swarm, rng).one()
        if rng.random() < ELSEWHERE:
            mutated = msgspec.structs.replace(mutated, seed=rng.randrange(SEEDS))
        most = max(len(plan.faults), swarm.faults_max)
        if mutated != plan and len(mutated.faults) <= most and _is_within(mutated, plan, swarm):
            return mutated
    return None


def _is_within(mutated: Plan, plan: Plan, swarm: Swarm) -> bool:
    if swarm.refusal(mutated) is not None:
        return False
    # faults of clocks add up, and bounds on clocks are what leases rely on
    offset, rate = _clock_errors(mutated)
    offset_before, rate_before = _clock_errors(plan)
    return offset <= max(swarm.clock_offset_max_ns, offset_before) and rate <= max(
        swarm.clock_rate_max_ppm, rate_before
    )


def _clock_errors(plan: Plan) -> tuple[int, int]:
    """The most by which any clock is wrong at any time, and by which its rate is."""
    clocks = [fault for fault in plan.faults if isinstance(fault, ClockOffset | ClockRate)]
    offsets, rates = [0], [0]
    for fault in clocks:
        at_once = [f for f in clocks if f.node == fault.node and f.at_ns <= fault.at_ns < f.at_ns + f.lasts_ns]
        offsets.append(sum(abs(f.by_ns) for f in at_once if isinstance(f, ClockOffset)))
        rates.append(sum(abs(f.ppm) for f in at_once if isinstance(f, ClockRate)))
    return max(offsets), max(rates)


class _Mutation:
    def __init__(self, plan: Plan, other: Plan, swarm: Swarm, rng: random.Random) -> None:
        self._plan = plan
        self._other = other
        self._swarm = swarm
        self._rng = rng

    def one(self) -> Plan:
        """The plan with one change; the same plan if that change can do nothing to it."""
        kinds: tuple[Callable[[], Faults | None], ...] = (
            self._move,
            self._move,
            self._choose_another_victim,
            self._stretch,
            self._add,
            self._add,
            self._drop,
            self._drop,
            self._double,
            self._splice,
        )
        if self._rng.random() < 0.05:
            return msgspec.structs.replace(self._plan, luck=self._rng.randrange(LUCKS))
        faults = self._rng.choice(kinds)()
        if faults is None:
            return self._plan
        return msgspec.structs.replace(self._plan, faults=tuple(sorted(faults, key=lambda fault: fault.at_ns)))

    def _move(self) -> Faults | None:
        return self._change(self._moved)

    def _choose_another_victim(self) -> Faults | None:
        return self._change(self._swapped)

    def _stretch(self) -> Faults | None:
        return self._change(self._stretched)

    def _add(self) -> Faults | None:
        fault = draw_fault(self._rng, self._swarm, self._plan)
        if fault is None:
            return None
        if self._rng.random() < 0.5:
            fault = self._moved(fault)
        return (*self._plan.faults, fault)

    def _drop(self) -> Faults | None:
        if not self._plan.faults:
            return None
        index = self._rng.randrange(len(self._plan.faults))
        return self._plan.faults[:index] + self._plan.faults[index + 1 :]

    def _double(self) -> Faults | None:
        if not self._plan.faults:
            return None
        again = self._moved(self._rng.choice(self._plan.faults))
        return (*self._plan.faults, self._swapped(again) if self._rng.random() < 0.3 else again)

    def _splice(self) -> Faults | None:
        """Its faults up to some time, and from then on those of the other."""
        time_ns = self._rng.randrange(max(1, self._plan.heal_at_ns))
        before = [fault for fault in self._plan.faults if fault.at_ns < time_ns]
        after = [f for f in self._other.faults if time_ns <= f.at_ns < self._plan.heal_at_ns]
        return (*before, *(fault for fault in after if victims(fault, self._plan.nodes)))

    # --- changes of one fault

    def _change(self, how: Callable[[Fault], Fault]) -> Faults | None:
        faults = list(self._plan.faults)
        if not faults:
            return None
        index = self._rng.randrange(len(faults))
        faults[index] = how(faults[index])
        return tuple(faults)

    def _moved(self, fault: Fault) -> Fault:
        """To another time: near its own, or to when another begins or ends, or anywhere in the storm."""
        rng, first_ns = self._rng, self._swarm.quiet_start_ns
        last_ns = max(first_ns, self._plan.heal_at_ns - 1)
        where = rng.random()
        if where < 0.2:
            return msgspec.structs.replace(fault, at_ns=rng.randint(first_ns, last_ns))
        near_ns = fault.at_ns
        if where < 0.6 and self._plan.faults:
            another = rng.choice(self._plan.faults)
            near_ns = rng.choice((another.at_ns, end_ns(another)))
        by_ns = int(rng.expovariate(1.0) * rng.choice(NEAR_NS)) * rng.choice((-1, 1, 1))
        return msgspec.structs.replace(fault, at_ns=min(max(near_ns + by_ns, first_ns), last_ns))

    def _swapped(self, fault: Fault) -> Fault:
        """With one of its victims and some other node in each other's place."""
        struck = victims(fault, self._plan.nodes)
        if not struck or self._plan.nodes == 1:
            return fault
        one = self._rng.choice(struck)
        other = self._rng.choice([node for node in range(self._plan.nodes) if node != one])
        places = {one: other, other: one}
        changes: dict[str, Any] = {}
        for field in ("node", "a", "b", "of"):
            if hasattr(fault, field):
                changes[field] = places.get(getattr(fault, field), getattr(fault, field))
        for field in ("sources", "targets", "victims", "towards", "nodes"):
            if hasattr(fault, field):
                changes[field] = _renamed(getattr(fault, field), places)
        if hasattr(fault, "groups"):
            changes["groups"] = tuple(_renamed(group, places) for group in fault.groups)
        return msgspec.structs.replace(fault, **changes)

    def _stretched(self, fault: Fault) -> Fault:
        """Twice or half as long."""
        field = "lasts_ns" if hasattr(fault, "lasts_ns") else "down_ns"
        length_ns = getattr(fault, field, None)
        if not length_ns:
            return fault
        return msgspec.structs.replace(fault, **{field: max(1, int(length_ns * self._rng.choice((0.5, 2))))})


def _renamed(nodes: tuple[int, ...], places: dict[int, int]) -> tuple[int, ...]:
    return tuple(sorted(places.get(node, node) for node in nodes))
