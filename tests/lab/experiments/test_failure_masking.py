"""Modular redundancy, executed; and with rules taken out, which the tables must show."""

import pytest

from phalanx.lab.experiments import failure_masking
from phalanx.lab.experiments.failure_masking import Design, components, result_of, survey
from phalanx.lab.textbook.redundancy import Fault, Voter
from tests.lab.experiments.runs import breaks, failing

TRIPLE = Design(3, 3, 3, voters_fail=True)
"""The slides' figure: A1 to C3, and V1 to V9."""


def claims_that_fail() -> list[str]:
    return failing(failure_masking.run(False))


def test_the_slides_circuit_has_nine_modules_and_nine_voters() -> None:
    modules, voters = components(TRIPLE)
    assert len(modules) == len(voters) == 9


@pytest.mark.parametrize("fault", Fault)
def test_one_module_and_one_voter_in_the_same_lane_may_fail_in_each_stage(fault: Fault) -> None:
    broken = {"module 1.0": fault, "voter 1.1": fault, "module 2.1": fault, "voter 2.2": fault, "module 3.2": fault}
    assert result_of(TRIPLE, broken) == failure_masking.INPUT + 3


def test_two_lanes_that_fail_alike_are_believed_and_two_that_differ_leave_it_undefined() -> None:
    """Slides: if all three inputs are different, the output is undefined."""
    one = Design(3, 1, 1, voters_fail=False)
    broken = ["module 1.0", "module 1.1"]
    assert result_of(one, dict.fromkeys(broken, Fault.VALUE_ALIKE)) == failure_masking.INPUT + 1 + 1_000
    assert result_of(one, dict.fromkeys(broken, Fault.VALUE_APART)) is None
    assert result_of(one, dict.fromkeys(broken, Fault.OMISSION)) is None


@breaks(
    "failure-masking",
    "3 modules and a perfect voter: the reliability is 3r^2 - 2r^3",
    "5 modules and a perfect voter: the reliability is M(r)",
    "three modules are better than one if r > 1/2 only",
    "* stages with a single voter: (M(r) v)^s",
    "* stages with a voter in each lane: M(r) M(rv)^(s-1) M(v)",
    "* modules with a share b of common faults: (1 - bq) M(1 - (1-b)q)",
    "2k + 1 modules mask k faults of the kind: value, *",
)
def test_a_voter_that_believes_the_first_masks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(self: Voter) -> int | None:
        return next(iter(self._said.values()), None)

    monkeypatch.setattr(Voter, "_vote", first)
    wrong = claims_that_fail()
    assert any("3r^2 - 2r^3" in text for text in wrong)
    assert any("2k + 1" in text for text in wrong)


@breaks(
    "failure-masking",
    "any one voter that fails spoils the result if it is the only one of its stage, and none does in a lane",
    "k + 1 modules mask k faults of the kind: omission",
)
def test_a_voter_that_wants_all_to_agree_masks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unanimous(self: Voter) -> int | None:
        values = set(self._said.values())
        return values.pop() if len(values) == 1 and len(self._said) == len(self._inputs) else None

    monkeypatch.setattr(Voter, "_vote", unanimous)
    wrong = claims_that_fail()
    assert any("k + 1 modules mask k faults of the kind: omission" in text for text in wrong)
    assert any("(1 - bq) M" in text for text in wrong)
    assert any("none does in a lane" in text for text in wrong)


@breaks(
    "failure-masking", "1 module and a perfect voter: the reliability is M(r)", "three modules are better than one*"
)
def test_a_voter_that_wants_two_equal_values_has_none_of_one_module(monkeypatch: pytest.MonkeyPatch) -> None:
    vote = Voter._vote
    monkeypatch.setattr(Voter, "_vote", lambda self: vote(self) if len(self._said) > 1 or not self._readers else None)
    assert failing(failure_masking.reliability_claims([survey(Design(n, 1, 1, voters_fail=False)) for n in (1, 3)]))
