"""What a run covered: notes and their order, and what faults struck (sim/coverage.py)."""

import subprocess
import sys
from typing import Any

import pytest

from phalanx.lab.groups import GroupScenario
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Output
from phalanx.sim.conditions import Conditions
from phalanx.sim.coverage import BUCKETS, Coverage
from phalanx.sim.faults import (
    KINDS,
    BitRot,
    Crash,
    CrashAll,
    Fault,
    Flap,
    OneWay,
    Partition,
    Pause,
    SlowLink,
    victims,
)
from phalanx.sim.plan import Plan
from phalanx.sim.run import Call, Scenario, replay, run_seed
from tests.sim.toys import Scripted


def saying(_machine: Scripted, events: Any, _now: Any, out: Output) -> None:
    for event in events:
        out.note(event)


class Saying(Scenario):
    """Each node notes what it is told."""

    def start(self, setup: Any) -> Scripted:
        return Scripted(setup, saying)

    def workload(self, rng: Any) -> list[Call]:
        del rng
        told = ["ask", "wait", "ask", "wait", "ask", "wait", "ask"]
        return [Call((10 + at) * MILLISECOND, "n0", what) for at, what in enumerate(told)]

    def finished(self) -> bool:
        return True


def covered(*faults: Fault) -> set[str]:
    plan = Plan(1, 2, Conditions(stagger_ns=0), faults, heal_at_ns=SECOND, calm_ns=SECOND)
    return set(replay(Saying, plan).features)


def test_notes_are_counted_and_so_is_which_follows_which() -> None:
    assert covered() == {
        "sim.start x2",
        "nothing > sim.start x2",
        "sim.start > ask x1",
        "ask x4",
        "wait x3",
        "ask > wait x3",
        "wait > ask x3",
    }


def test_a_fault_is_told_by_the_last_note_of_those_that_it_strikes() -> None:
    at_ns = 11 * MILLISECOND + MILLISECOND // 2
    assert covered(Crash(at_ns, 0, SECOND)) >= {"Crash at wait x1", "wait > sim.crash x1", "sim.crash > sim.start x1"}
    assert covered(Pause(at_ns, 1, SECOND)) - covered() == {
        "Pause at sim.start x1",
        "sim.pause x1",
        "sim.resume x1",
        "sim.start > sim.pause x1",
        "sim.pause > sim.resume x1",
    }
    assert covered(CrashAll(at_ns, SECOND, 0)) >= {"CrashAll at wait x1", "CrashAll at sim.start x1"}


@pytest.mark.parametrize(
    ("count", "bucket"),
    [(1, 1), (3, 3), (4, 4), (7, 4), (8, 8), (31, 16), (32, 32), (127, 32), (128, 128), (9999, 128)],
)
def test_counts_are_put_into_buckets(count: int, bucket: int) -> None:
    coverage = Coverage()
    for _ in range(count):
        coverage.struck("Reset", "n0")
    assert coverage.features() == (f"Reset at nothing x{bucket}",)
    assert bucket in BUCKETS


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Crash(0, 1, None), (1,)),
        (Crash(0, 3, None), ()),
        (BitRot(0, 2, 0.5), (2,)),
        (Flap(0, 1, 0, 2, 1), (0, 2)),
        (SlowLink(0, 1, 1, 4, 1), (1,)),
        (OneWay(0, 1, (2,), (0, 1, 2)), (0, 1, 2)),
        (Partition(0, 1, ((0,),)), (0, 1, 2)),
        (CrashAll(0, 1, 1), (0, 1, 2)),
    ],
)
def test_the_victims_of_a_fault_are_nodes_that_there_are(fault: Fault, expected: tuple[int, ...]) -> None:
    assert victims(fault, 3) == expected


def test_every_kind_of_fault_is_seen_to_strike() -> None:
    struck: set[str] = set()
    for seed in range(60):
        struck |= {feature.split(" at ")[0] for feature in run_seed(Saying, seed).features if " at " in feature}
    assert struck == set(KINDS) - {"DiskLost"}


def test_coverage_is_a_function_of_the_seed_whatever_the_hashes() -> None:
    code = "from phalanx.lab.groups import GroupScenario as S; from phalanx.sim.run import run_seed; "
    code += "print(run_seed(S, 7).features)"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout.strip()
        for hashes in ("1", "2")
    ]
    assert said == [str(run_seed(GroupScenario, 7).features)] * 2


def test_the_view_change_shows_in_what_is_covered() -> None:
    features = {f.rpartition(" x")[0] for seed in range(5) for f in run_seed(GroupScenario, seed).features}
    assert features >= {"promise > accept", "prepare > promise", "decided > installed"}
