"""The product under one class of failure at a time: process groups, and an object with its clients, both judged.

One process of four fails so for a second, or for good, while the scenario's load goes on (`lab.groups`, `lab.service`).
(Not the first where a disk is lost: it may have founded the cluster alone, and would found another.)  `audit` has a
larger load on the object, enough for an audit, and lets what audits find take its course.
"""

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from phalanx.lab.groups import GroupScenario
from phalanx.lab.service import KEYS, ServiceScenario
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.replication.audit import AUDIT_INTERVAL
from phalanx.replication.inflight import ReplicaDiverged
from phalanx.sim.conditions import Conditions
from phalanx.sim.failures import (
    Collusion,
    Equivocation,
    FailStop,
    Forgery,
    ReceiveOmission,
    ReceiveOverflow,
    Replay,
    SendOmission,
    SendOverflow,
    Silence,
    SlowProcess,
    StateTransitionFailure,
    ValueFailure,
)
from phalanx.sim.faults import ClockRate, Crash, DiskLost, Fault, Loss, OneWay, Partition, Pause, SlowDisk, SlowLink
from phalanx.sim.node import Node
from phalanx.sim.plan import Plan
from phalanx.sim.run import Call, Result, Scenario, run
from phalanx.sim.taxonomy import term
from phalanx.sim.world import Failure

NODES = 4
AT, LASTS = 5 * SECOND, SECOND
HEAL = 7 * SECOND


class Case(NamedTuple):
    """A class of failure.  `promised`: all promises hold under it, as long as fewer than half of the processes fail."""

    faults: tuple[Fault, ...]
    promised: bool

    @property
    def name(self) -> str:
        return term(self.faults[0])


CRASHES = (
    FailStop(AT, 0),
    Crash(AT, 0, None, host=True, for_good=True),
    Crash(AT, 0, SECOND),
    DiskLost(AT, 3, SECOND),
)
OMISSIONS = (
    SendOmission(AT, LASTS, 0, 0.5),
    ReceiveOmission(AT, LASTS, 0, 0.5),
    SendOverflow(AT, LASTS, 0, 3, 5 * MILLISECOND),
    Silence(AT, LASTS, 0, (1,)),
)
TIMINGS = (
    Pause(AT, 0, LASTS),
    SlowProcess(AT, LASTS, 0, 100 * MILLISECOND),
    SlowLink(AT, LASTS, 0, 1, SECOND // 2),
    SlowDisk(AT, LASTS, 0, SECOND),
    ClockRate(AT, LASTS, 0, 20_000),
)
CASES = (
    *(Case((fault,), True) for fault in (*CRASHES, *OMISSIONS[:3])),
    Case((ReceiveOverflow(AT, LASTS, 0, 3), Pause(AT, 0, SECOND), SlowProcess(AT, LASTS, 0, 20 * MILLISECOND)), True),
    Case((Partition(AT, LASTS, ((0,), (1, 2, 3))), OneWay(AT, LASTS, (1,), (2,)), Loss(AT, LASTS, 0.1, 0.1)), True),
    *(Case((fault,), True) for fault in TIMINGS),
    Case((ValueFailure(AT, LASTS, 0, 0.5),), False),
    Case((StateTransitionFailure(AT + LASTS // 2, 0),), False),
    Case((OMISSIONS[3],), True),
    Case((Equivocation(AT, LASTS, 0, (1,), 0.5),), False),
    Case((Collusion(AT, LASTS, (0, 1), (2,)),), False),
    Case((Forgery(AT, LASTS, 0, 1, 0.3),), False),
    Case((Replay(AT, LASTS, 0, 0.3),), False),
)
"""Silence is among the arbitrary failures, but it is nothing but send omission."""


class Outcome(NamedTuple):
    """What came of a class of failure, in runs of one scenario."""

    struck: int
    """How often the faulty process did what it should not, as far as that is done to messages and steps."""
    runs: int
    stuck: int
    broken: dict[str, int]
    """Properties that the judge found broken, and in how many runs."""

    @property
    def clean(self) -> bool:
        return not (self.stuck or self.broken)


def suffer(scenario: type[Scenario], case: Case, seeds: Iterable[int]) -> Outcome:
    """Run the scenario under that class of failure."""
    results = [run(scenario(), _plan(seed, case.faults)) for seed in seeds]
    terms = {f"sim.{term(fault)}" for fault in case.faults} | {"sim.wrong transition"}
    struck = sum(count for result in results for what, count in result.notes.items() if what in terms)
    broken = Counter(kind for result in results for kind in {_property(failure) for failure in result.failures})
    return Outcome(struck, len(results), sum(r.stuck is not None for r in results), dict(sorted(broken.items())))


def _property(failure: Failure) -> str:
    return failure.kind.removeprefix("judge ").removeprefix("violation of ").replace("_", " ")


def _plan(seed: int, faults: tuple[Fault, ...]) -> Plan:
    return Plan(seed, NODES, Conditions(), faults, heal_at_ns=HEAL)


GROUPS, OBJECT = GroupScenario, ServiceScenario


# --- audits -------------------------------------------------------------------------------------------------------


class _Audited(ServiceScenario):
    """Enough appends for an audit after the failure.  What it finds is not a failure of the run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, ReplicaDiverged]] = []

    def workload(self, rng: random.Random) -> Iterable[Call]:
        yield from (
            Call(SECOND // 5, client, ("append", KEYS[0])) for client in self.clients
        )  # their sessions are open by then
        for number in range(AUDIT_INTERVAL + AUDIT_INTERVAL // 4):
            yield Call(AT + number * MILLISECOND, rng.choice(self.clients), ("append", rng.choice(KEYS)))

    def deliver(self, node: Node, delivery: Any) -> Iterable[Any] | None:
        if isinstance(delivery, ReplicaDiverged):
            self.found.append((node.name, delivery))
            return None
        return super().deliver(node, delivery)


class Audited(NamedTuple):
    """A run with audits."""

    result: Result
    found: tuple[tuple[str, ReplicaDiverged], ...]
    """Who was told of a diverged replica, and of which."""


def audit(faults: tuple[Fault, ...], seed: int) -> Audited:
    """Run the object with enough commands."""
    scenario = _Audited()
    result = run(scenario, _plan(seed, faults))
    return Audited(result, tuple(scenario.found))
