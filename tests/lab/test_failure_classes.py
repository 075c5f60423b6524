"""Process groups under omission and slowness (lab/omission.py); what judges say of failures beyond the promise."""

from typing import get_args

import pytest

from phalanx.lab.groups import GroupScenario
from phalanx.lab.omission import OmissionScenario
from phalanx.lab.textbook.failing import AT, CASES, GROUPS, LASTS, OBJECT, Case, audit, suffer
from phalanx.sim.failures import Collusion, Equivocation, Lapse, StateTransitionFailure, ValueFailure
from phalanx.sim.plan import Plan
from phalanx.sim.run import run_seed
from phalanx.sim.swarm import Swarm, draw


def test_lapses_leave_the_rest_of_a_plan_as_it_was() -> None:
    seen: set[str] = set()
    for seed in range(100):
        plan, without = draw(seed, OmissionScenario.swarm), draw(seed, GroupScenario.swarm)
        lapses = [fault for fault in plan.faults if isinstance(fault, Lapse)]
        assert tuple(fault for fault in plan.faults if not isinstance(fault, Lapse)) == without.faults
        assert (plan.nodes, plan.conditions, plan.heal_at_ns) == (without.nodes, without.conditions, without.heal_at_ns)
        assert lapses and plan == Plan.load(plan.dump())
        assert OmissionScenario.swarm.refusal(plan) is None
        assert GroupScenario.swarm.refusal(plan) is not None, "who never draws them need not stand up to them"
        seen |= {type(fault).__name__ for fault in lapses}
    assert seen == {kind.__name__ for kind in get_args(Lapse)}
    assert Swarm().lapses == 0


@pytest.mark.parametrize("seed", range(8))
def test_groups_keep_their_promises_while_processes_omit_and_are_slow(seed: int) -> None:
    result = run_seed(OmissionScenario, seed)
    assert result.ok, result


def one(*names: str) -> dict[str, Case]:
    return {case.name: case for case in CASES if not names or case.name in names}


def test_every_class_of_the_literature_is_there_once() -> None:
    assert len(one()) == len(CASES) == 21


def test_an_equivocator_is_outside_the_promise_and_the_judge_says_what_it_breaks() -> None:
    """A member that tells one host another payload than the others: what nobody sent is delivered, and sets differ."""
    case = Case((Equivocation(AT, LASTS, 0, (1,), 1.0),), False)
    found = suffer(GROUPS, case, range(3))
    assert found.struck and {"delivery integrity", "virtual synchrony"} & set(found.broken), found
    assert suffer(OBJECT, case, range(2)).broken.keys() <= {"replica", "linearizability", "not served"}


def test_a_value_failure_is_seen_by_the_judges() -> None:
    case = Case((ValueFailure(AT, LASTS, 0, 1.0),), False)
    assert "delivery integrity" in suffer(GROUPS, case, range(3)).broken
    assert suffer(OBJECT, case, range(2)).broken


def test_an_audit_names_the_replica_that_took_a_wrong_transition_and_it_is_replaced() -> None:
    """SCENARIOS 35.  Nothing is wrong in the end: the state was fetched anew."""
    audited = audit((StateTransitionFailure(AT + LASTS // 2, 0),), 1)
    assert audited.result.ok, audited.result
    assert {node for node, _ in audited.found} == {"n0", "n1", "n2", "n3"}
    assert {finding.diverged for _, finding in audited.found} == {("n0",)}


def test_an_audit_is_a_vote_so_it_blames_the_victim_of_an_equivocator() -> None:
    """Replicas that differ are found; who lied is not: for that a protocol must bear arbitrary failures."""
    audited = audit((Equivocation(AT, LASTS, 0, (1,), 0.5),), 1)
    assert ("n1",) in {finding.diverged for _, finding in audited.found}
    assert not any("n0" in finding.diverged for _, finding in audited.found)


def test_colluders_that_are_half_of_the_members_leave_the_audit_without_a_majority() -> None:
    audited = audit((Collusion(AT, LASTS, (0, 1), (2, 3)),), 1)
    assert audited.found and audited.result.failures
