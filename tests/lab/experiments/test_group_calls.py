"""Group calls, measured; and with rules taken out of them, which the tables must show."""

from typing import Any

import pytest

from phalanx.calls import tree
from phalanx.calls.calling import Calling
from phalanx.calls.machine import GroupCalls
from phalanx.calls.messages import Answers
from phalanx.calls.requests import Rule
from phalanx.calls.serving import Serving
from phalanx.lab.experiments import group_calls
from phalanx.lab.experiments.group_calls import SERVERS, call_jointly, joint_claims, lie, time_call, time_claims
from phalanx.lab.textbook.explosion import explode
from phalanx.lab.textbook.troupes import Fall
from phalanx.model.clock import SECOND
from phalanx.model.machine import Output
from phalanx.model.view import Order, View
from phalanx.parts.holdback import Total
from tests.lab.experiments.runs import breaks, failing, short

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


@breaks("group-calls", "every server executes it once")
def test_servers_that_do_not_know_copies_execute_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = Serving.delivered

    def forgetful(self: Serving, message: Any, view: View, out: Output) -> None:
        self._calls.clear()
        delivered(self, message, view, out)

    monkeypatch.setattr(Serving, "delivered", forgetful)
    assert "every server executes it once" in failing(joint_claims([call_jointly(2, 3, None)], []))


@breaks("group-calls", "N M answers go back", "the call comes N times")
def test_servers_that_answer_only_who_came_first_leave_the_others_without(monkeypatch: pytest.MonkeyPatch) -> None:
    add = Serving._add_caller

    def first_only(self: Serving, call: Any, caller: Any, *, is_ours: bool) -> None:
        execution = self._calls[call]
        if execution is None or execution.callers in ([], [caller]):
            add(self, call, caller, is_ours=is_ours)

    monkeypatch.setattr(Serving, "_add_caller", first_only)
    assert "N M answers go back" in failing(joint_claims([call_jointly(2, 3, None)], []))


@breaks("group-calls", "a server fails that has the call: only all answers wait for its detection")
def test_a_caller_that_waits_for_all_in_any_case_waits_for_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Calling._judge

    def patient(self: Calling, pending: Any, now: int, out: Output) -> None:
        if not (pending.request.want.rule is Rule.SOME and (self._silent(pending) or not pending.hosts)):
            judge(self, pending, now, out)

    monkeypatch.setattr(Calling, "_judge", patient)
    timed = [time_call(Order.FIFO, "after", "the first")]
    assert failing(time_claims(timed)) == ["a server fails that has the call: only all answers wait for its detection"]


@breaks(
    "group-calls",
    "every call ends with the answers that it waits for",
    "a server fails that has the call: all answers wait until it is suspected",
)
def test_a_caller_that_forgets_the_view_waits_until_its_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calling, "_narrow", lambda *_: None)
    late = failing(time_claims([time_call(Order.TOTAL, "after", "all")]))
    assert "every call ends with the answers that it waits for" in late


@breaks("group-calls", "the vote is right as long as less than half of the servers lie")
def test_a_vote_that_takes_the_first_answer_is_lost_to_one_liar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phalanx.calls.calling._votes", lambda outcomes: [len(SERVERS)] if list(outcomes) else [])
    assert failing(group_calls.vote_claims(list(lie())))


@breaks(
    "group-calls",
    "without a tree all of them come to the caller; with one nobody gets more than its fanout",
    "they take a step for each level of the tree, and one to the caller",
)
def test_another_shape_of_the_tree_changes_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain: everybody is below the one before."""
    monkeypatch.setattr("phalanx.calls.serving.above", lambda index, _: tree.above(index, 1))
    monkeypatch.setattr("phalanx.calls.serving.below", lambda index, size, _: tree.below(index, size, 1))
    assert len(failing(group_calls.tree_claims([explode(10, 2)]))) == 2


@breaks("group-calls", "and they hold the results of all")
def test_answers_that_are_not_combined_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = Serving._joined

    def alone(self: Serving, execution: Any, branches: Any, part: Any) -> Any:
        del branches
        return joined(self, execution, [], part)

    monkeypatch.setattr(Serving, "_joined", alone)
    assert failing(group_calls.tree_claims([explode(10, 2)])) == ["and they hold the results of all"]


ONCE = "whoever crashes, and whenever: every server that lives executes it once"
ANSWERED = "and every client that lives is answered by every server that lives"


def fallen() -> list[str]:
    """The claims on a crash of a server that has heard a part of the call."""
    return failing(joint_claims([], [call_jointly(2, 3, Fall("s1", 3))]))


@breaks("group-calls", ONCE)
def test_servers_that_forget_calls_execute_more_than_once_whoever_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = Serving.delivered

    def forgetful(self: Serving, message: Any, view: View, out: Output) -> None:
        self._calls.clear()
        delivered(self, message, view, out)

    assert fallen() == []
    monkeypatch.setattr(Serving, "delivered", forgetful)
    assert ONCE in fallen()


@breaks("group-calls", ANSWERED)
def test_servers_that_answer_one_caller_only_leave_another_without_whoever_crashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add = Serving._add_caller
    monkeypatch.setattr(
        Serving, "_add_caller", lambda *known, is_ours: None if known[2].name == "c2" else add(*known, is_ours=is_ours)
    )
    assert ANSWERED in fallen()


@breaks(
    "group-calls",
    "nobody fails: no call waits",
    "FIFO, a server fails before: only all answers wait for its detection",
)
def test_a_caller_that_looks_at_answers_seldom_waits_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Calling._judge

    def lazy(self: Calling, pending: Any, now: int, out: Output) -> None:
        if now >= pending.request.deadline - 4 * SECOND:
            judge(self, pending, now, out)

    def found() -> list[str]:
        return failing(time_claims([time_call(Order.FIFO, when, "the first") for when in ("nobody", "before")]))

    assert found() == []
    monkeypatch.setattr(Calling, "_judge", lazy)
    assert len(found()) == 2


@breaks(
    "group-calls",
    "a server fails before: all answers, and in total order all calls, wait until it is found to hold others up",
)
def test_total_order_that_waits_for_nobody_is_not_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Total[Any], stable: Any, *_: Any) -> list[Any]:
        return self.rest([1 << 62] * len(stable))

    def found() -> list[str]:
        return failing(time_claims([time_call(Order.TOTAL, "before", "the first")]))

    assert found() == []
    monkeypatch.setattr(Total, "ready", at_once)
    assert found()


@breaks("group-calls", "one answer for each host, tree or not")
def test_answers_that_go_twice_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    flush = GroupCalls.flush

    def twice(self: GroupCalls, out: Output) -> Any:
        requests = flush(self, out)
        out.sends += [send for send in out.sends if isinstance(send.message.body, Answers)]
        return requests

    monkeypatch.setattr(GroupCalls, "flush", twice)
    assert "one answer for each host, tree or not" in failing(group_calls.tree_claims([explode(10, 0), explode(10, 2)]))
