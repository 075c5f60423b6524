"""Group calls, measured; and with rules taken out of them, which the tables must show."""

from typing import Any

import pytest

from phalanx.calls import tree
from phalanx.calls.calling import Calling
from phalanx.calls.requests import Rule
from phalanx.calls.serving import Serving
from phalanx.lab.experiments import group_calls
from phalanx.lab.experiments.group_calls import SERVERS, call_jointly, joint_claims, lie, time_call, time_claims
from phalanx.lab.experiments.result import Claim
from phalanx.lab.textbook.explosion import explode
from phalanx.model.machine import Output
from phalanx.model.view import Order, View
from tests.lab.experiments.runs import short


def wrong(claims: Any) -> list[str]:
    found: list[Claim] = list(claims)
    return [claim.text for claim in found if not claim.holds]


# --- the parts ----------------------------------------------------------------------------------------------------


def test_every_set_of_liars_is_tried() -> None:
    assert len({vote.liars for vote in lie()}) == 2 ** len(SERVERS)


def test_both_kinds_of_nodes_crash_and_at_several_moments() -> None:
    table = short("group-calls").tables[1]
    assert {row[2] for row in table.rows} == {"s1", "c1"}
    assert all(sum(row[2] == name for row in table.rows) >= 4 for name in ("s1", "c1"))


def test_the_explosion_is_of_messages_that_were_sent() -> None:
    seen = explode(20, 3)
    assert (seen.executions, seen.answers, seen.most) == (20, 20, 3)
    assert seen.letters == 20 + 2, "and one that submits the call, and one that says that it was delivered"


# --- without a rule, the table changes ----------------------------------------------------------------------------


def test_servers_that_do_not_know_copies_execute_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = Serving.delivered

    def forgetful(self: Serving, message: Any, view: View, out: Output) -> None:
        self._calls.clear()
        delivered(self, message, view, out)

    monkeypatch.setattr(Serving, "delivered", forgetful)
    assert "every server executes it once" in wrong(joint_claims([call_jointly(2, 3, None)], []))


def test_servers_that_answer_only_who_came_first_leave_the_others_without(monkeypatch: pytest.MonkeyPatch) -> None:
    add = Serving._add_caller

    def first_only(self: Serving, call: Any, caller: Any, *, is_ours: bool) -> None:
        execution = self._calls[call]
        if execution is None or execution.callers in ([], [caller]):
            add(self, call, caller, is_ours=is_ours)

    monkeypatch.setattr(Serving, "_add_caller", first_only)
    assert "N M answers go back" in wrong(joint_claims([call_jointly(2, 3, None)], []))


def test_a_caller_that_waits_for_all_in_any_case_waits_for_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Calling._judge

    def patient(self: Calling, pending: Any, now: int, out: Output) -> None:
        if not (pending.request.want.rule is Rule.SOME and (self._silent(pending) or not pending.hosts)):
            judge(self, pending, now, out)

    monkeypatch.setattr(Calling, "_judge", patient)
    timed = [time_call(Order.FIFO, "after", "the first")]
    assert wrong(time_claims(timed)) == ["a server fails that has the call: only all answers wait for its detection"]


def test_a_caller_that_forgets_the_view_waits_until_its_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calling, "_narrow", lambda *_: None)
    late = wrong(time_claims([time_call(Order.TOTAL, "after", "all")]))
    assert "every call ends with the answers that it waits for" in late


def test_a_vote_that_takes_the_first_answer_is_lost_to_one_liar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phalanx.calls.calling._votes", lambda outcomes: [len(SERVERS)] if list(outcomes) else [])
    assert wrong(group_calls.vote_claims(list(lie())))


def test_another_shape_of_the_tree_changes_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain: everybody is below the one before."""
    monkeypatch.setattr("phalanx.calls.serving.above", lambda index, _: tree.above(index, 1))
    monkeypatch.setattr("phalanx.calls.serving.below", lambda index, size, _: tree.below(index, size, 1))
    assert len(wrong(group_calls.tree_claims([explode(10, 2)]))) == 2


def test_answers_that_are_not_combined_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = Serving._joined

    def alone(self: Serving, execution: Any, branches: Any, part: Any) -> Any:
        del branches
        return joined(self, execution, [], part)

    monkeypatch.setattr(Serving, "_joined", alone)
    assert wrong(group_calls.tree_claims([explode(10, 2)])) == ["and they hold the results of all"]
