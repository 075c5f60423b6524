"""Shrinking finds the small plan inside a large one (sim/shrink.py; Zeller and Hildebrandt 2002)."""

import msgspec
import pytest

from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.sim.conditions import Conditions
from phalanx.sim.faults import Crash, CrashInWrite, Pause, SlowDisk
from phalanx.sim.plan import Plan
from phalanx.sim.run import Scenario, replay
from phalanx.sim.shrink import shrink
from phalanx.sim.swarm import Swarm, draw
from tests.sim.toys import AskingScenario, DatagramScenario, GossipScenario, HastyStoreScenario


def first_failure(factory: type[Scenario], size: int, conditions: Conditions | None = None) -> Plan:
    """The first plan with at least that many faults that fails."""
    for seed in range(1_000):
        plan = draw(seed, factory.swarm)
        plan = msgspec.structs.replace(plan, conditions=conditions or plan.conditions)
        if len(plan.faults) >= size and not replay(factory, plan).ok:
            return plan
    raise AssertionError("none fails")


def test_a_lost_acknowledgement_needs_one_node_one_crash_and_next_to_no_calls() -> None:
    """SCENARIOS 3."""
    shrunk = shrink(HastyStoreScenario, first_failure(HastyStoreScenario, 10))
    plan = shrunk.plan
    [fault] = plan.faults
    assert isinstance(fault, Crash | CrashInWrite)
    assert (plan.nodes, plan.conditions.lossy) == (1, False)
    assert plan.calls is not None
    assert 1 <= len(plan.calls) <= 2, "at most one that makes the connection, and one that is lost"
    assert shrunk.kind == "judge lost"
    assert "witness" in shrunk.result.trace


def test_the_shrunk_plan_replays_from_its_text() -> None:
    shrunk = shrink(HastyStoreScenario, first_failure(HastyStoreScenario, 5))
    text = str(shrunk).rpartition("replay: ")[2]
    assert replay(HastyStoreScenario, Plan.load(text)) == shrunk.result


def test_a_stuck_run_shrinks_to_the_one_fault_that_matters() -> None:
    """With a calm network nothing is lost but by faults."""
    shrunk = shrink(AskingScenario, first_failure(AskingScenario, 8, Conditions()), "stuck")
    assert len(shrunk.plan.faults) == 1
    assert 1 <= len(shrunk.plan.calls or ()) <= 2, "at most one that makes the connection, and one that is lost"
    assert shrunk.plan.nodes <= 3
    assert shrunk.plan.calm_ns <= SECOND


def test_conditions_are_part_of_the_plan_and_get_calmer_where_they_do_not_matter() -> None:
    plan = first_failure(DatagramScenario, 0)
    shrunk = shrink(DatagramScenario, plan).plan
    assert shrunk.faults == ()
    assert shrunk.conditions.lossy
    calm = Conditions()
    differing = [
        name for name in Conditions.__struct_fields__ if getattr(shrunk.conditions, name) != getattr(calm, name)
    ]
    assert len(differing) <= 4


def test_only_a_failure_of_the_same_kind_counts() -> None:
    class Two(HastyStoreScenario):
        """A pause is a failure, too, of another kind."""

        def finished(self) -> bool:
            return self.world.notes["sim.pause"] == 0 and super().finished()

    crash, pause = CrashInWrite(0, 0, MILLISECOND), Pause(0, 0, 10 * MILLISECOND)
    plans = [
        Plan(seed, 1, Conditions(), (SlowDisk(0, SECOND, 0, 1), crash, pause), SECOND, 5 * SECOND)
        for seed in range(300)
    ]
    plan = next(plan for plan in plans if replay(Two, plan).kinds == {"judge lost", "stuck"})
    assert shrink(Two, plan, "stuck").plan.faults == (msgspec.structs.replace(pause, lasts_ns=625_000),)
    assert [type(fault) for fault in shrink(Two, plan, "judge lost").plan.faults] == [CrashInWrite]


def test_a_plan_that_does_not_fail_cannot_be_shrunk() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        shrink(GossipScenario, draw(1, Swarm(sizes=(1,), faults=())))


def test_shrinking_keeps_to_its_number_of_runs() -> None:
    shrunk = shrink(HastyStoreScenario, first_failure(HastyStoreScenario, 10), runs_max=7)
    assert shrunk.runs == 7
    assert shrunk.result.kinds == {"judge lost"}
