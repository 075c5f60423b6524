"""The scenario of machines that do not come back as they were: planted bugs are caught, and little is excused."""

import pytest

from phalanx.group.coordinator import Coordinator
from phalanx.lab.losses import LossScenario
from phalanx.lab.mutants import planted
from phalanx.model.clock import SECOND
from phalanx.sim.conditions import Conditions
from phalanx.sim.faults import Crash, DiskLost, Fault
from phalanx.sim.plan import Plan
from phalanx.sim.run import Result, run, run_seed

EXCUSE = "sim.no quorum is left"


def lost(nodes: int, *faults: Crash | DiskLost) -> Result:
    return run(LossScenario(), Plan(3, nodes, Conditions(), faults, 3 * SECOND, 20 * SECOND))


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("a group sends with any number of copies", "judge copies"),
        ("a new disk speaks for the lives before it", "invariant another disk's vote"),
    ],
)
def test_a_planted_bug_is_caught(rule: str, kind: str) -> None:
    with planted(rule):
        assert any(kind in run_seed(LossScenario, seed).kinds for seed in range(60)), f"{rule}: nobody noticed"


def test_what_goes_on_without_the_lost_must_go_on() -> None:
    result = lost(5, DiskLost(SECOND, 1, SECOND // 10), Crash(2 * SECOND, 2, None, for_good=True))
    assert result.ok and EXCUSE not in result.notes


def test_a_view_that_shrank_to_the_lost_is_excused() -> None:
    """n2 leaves the view while it is down; of n0 and n1 the elder is lost then, and nobody may go on."""
    result = lost(3, Crash(SECOND, 2, None), Crash(2 * SECOND, 0, None, for_good=True))
    assert result.ok and result.notes[EXCUSE] == 1


def test_nothing_else_is_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quorum is there, and does nothing."""
    may_try = Coordinator._may_try
    monkeypatch.setattr(Coordinator, "_may_try", lambda self: self.core.view.id == 0 and may_try(self))
    result = lost(3, Crash(SECOND, 2, None, for_good=True))
    assert result.stuck is not None and EXCUSE not in result.notes


def is_loss(fault: Fault) -> bool:
    return isinstance(fault, DiskLost) or (isinstance(fault, Crash) and fault.for_good)


def test_few_runs_are_excused() -> None:
    results = [run_seed(LossScenario, seed) for seed in range(60, 90)]
    assert all(result.ok for result in results)
    strikes = sum(any(map(is_loss, result.plan.faults)) for result in results)
    excused = sum(EXCUSE in result.notes for result in results)
    assert strikes > 10
    assert 4 * excused < strikes, "in the first 360 seeds 43 of 191 such runs are"
