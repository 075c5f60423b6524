"""Classes of failure, executed; and with rules taken out of the product, which the table must show."""

from typing import Any

import pytest

from phalanx.group.channel import Channel
from phalanx.lab.experiments import failure_classes
from phalanx.lab.experiments.failure_classes import AUDITS, Found, audit_claims, beyond_claims, blamed, promise_claims
from phalanx.lab.textbook.failing import CASES, GROUPS, OBJECT, Case, audit, suffer
from phalanx.replication.audit import Audit
from phalanx.sim.conduct import Conduct
from phalanx.sim.wrongs import Wrongs
from tests.lab.experiments.runs import breaks, failing


def case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def found(*names: str) -> list[Found]:
    return [Found(each, suffer(GROUPS, each, range(2)), suffer(OBJECT, each, range(2))) for each in map(case, names)]


PROMISED = (
    "send omission",
    "receive omission",
    "send omission (queue overflow)",
    "receive omission (buffer overflow)",
    "arbitrary failure (silence)",
)


@breaks("failure-classes", "though messages were omitted in each such class")
def test_omissions_that_are_not_committed_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conduct, "_draws", lambda *_: False)
    assert failing(promise_claims(found(*PROMISED))) == ["though messages were omitted in each such class"]


@breaks(
    "failure-classes", "under crash, omission and timing failures of one process nothing is broken, and all goes on"
)
def test_a_group_whose_members_believe_what_nobody_repeats_is_stuck_under_omission(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rule by which what a row shows to be missing is sent again, taken out."""
    to_send = Channel.to_send
    monkeypatch.setattr(Channel, "to_send", lambda self, now, _: to_send(self, now, 1 << 60))
    monkeypatch.setattr(Channel, "resend_at", lambda *_: None)
    assert "under crash, omission and timing failures of one process nothing is broken, and all goes on" in failing(
        promise_claims(found(*PROMISED))
    )


@breaks(
    "failure-classes",
    "*: the judge of groups finds delivery integrity broken",
    "*: the judge of the object finds it wrong",
    "a wrong transition of one replica is found",
)
def test_lies_that_are_the_truth_and_wrong_steps_that_are_right_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def truth(_: Any, message: Any, __: Any) -> Any:
        return message

    monkeypatch.setattr(GROUPS, "alter", truth)
    monkeypatch.setattr(OBJECT, "alter", truth)
    monkeypatch.setattr(Wrongs, "derail", lambda *_: None)
    names = (*failure_classes.BEYOND, "response failure (state transition)")
    claims = failing(beyond_claims(found(*names)))
    assert len(claims) == 2 * len(failure_classes.BEYOND) + 1, claims


@breaks(
    "failure-classes",
    "an audit finds the replica that took a wrong step",
    "and it is replaced: all replicas are equal in the end",
    "who differs is found, not who lied: an equivocator's victim",
    "no failure of these passes unnoticed",
)
def test_audits_that_do_not_compare_find_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Audit, "_judge", lambda *_: None)
    audits = {name: audit(faults, 1) for name, faults in AUDITS.items()}
    assert {tuple(blamed(each)) for each in audits.values()} == {()}
    assert len(failing(audit_claims(audits))) == 4
