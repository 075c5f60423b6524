"""Group calls as a machine: losses, limits, trees.  (Under faults of every kind: tests/lab/test_troupe_scenario.py.)"""

import random

import pytest

from phalanx.calls import serving
from phalanx.calls.calling import LINGER_NS
from phalanx.calls.machine import GroupCalls
from phalanx.calls.messages import Answers, Ask, CallId, Invoke, Letter, Missed, Part, Submit, Taken, Withdraw
from phalanx.calls.procedures import ServiceType
from phalanx.calls.requests import Abandoned, CallEnded, CallTroupe, CancelCall, Execute, Executed, Finish, Want
from phalanx.calls.serving import CLIENTS_MAX, WINDOW
from phalanx.calls.tree import above, below, depth
from phalanx.lab.textbook.explosion import explode
from phalanx.model.clock import SECOND, Instant
from phalanx.model.events import Delivered, Excluded, Founded, Installed, Restored, SnapshotTaken, SnapshotWanted
from phalanx.model.machine import Output
from phalanx.model.procedures import procedure
from phalanx.model.view import Group, GroupSpec, Member, Order, View
from phalanx.replication.outcome import Raised, Returned
from phalanx.wire.codec import Codec

NOW = Instant(0, 0)
GROUP = 5
HOSTS = tuple(Member(f"h{number}", f"h{number}", 1) for number in range(3))
CALLER = Member("caller", "caller", 1)


class Adder:
    @procedure(combine=lambda one, other: one + other)
    def one(self, text: str) -> int:
        return len(text)


SERVICE = ServiceType(Adder)
ONE = SERVICE.procedures["one@1"]
SPEC = GroupSpec("adders", Order.TOTAL, contract=SERVICE.contract)


def view_of(members: tuple[Member, ...], view: int = 1) -> View:
    hosts = tuple(member.name for member in members if member in HOSTS)
    return View(9, view, members, (), (Group(GROUP, SPEC, hosts),))


VIEW = view_of((*HOSTS, CALLER))
INVOKES: Codec[Invoke] = Codec(Invoke)


def host(me: Member = HOSTS[0], view: View = VIEW) -> GroupCalls:
    calls = GroupCalls(me)
    calls.turn(me, None, NOW)
    calls.register("adders", SERVICE)
    calls.deliver(Founded(GROUP, SPEC), [])
    calls.deliver(Installed(view), [])
    return calls


def invoke(number: int, client: str = "caller", life: int = 1, fanout: int = 0, low: int = 0) -> Invoke:
    call = CallId(client, life, number)
    return Invoke(call, CALLER, low, ONE.id, ONE.types, ONE.encode("a text"), fanout, 1000)


def executed(calls: GroupCalls, *invokes: Invoke, sender: Member = HOSTS[1], view: int = 1) -> list[CallId]:
    """What a host executes of what is delivered to it."""
    into: list[object] = []
    payloads = [INVOKES.encode(each) for each in invokes]
    assert calls.deliver(Delivered(GROUP, view, sender, 1, payloads), into)
    return [delivery.id for delivery in into if isinstance(delivery, Execute)]


def letters(calls: GroupCalls) -> list[tuple[str, object]]:
    out = Output()
    calls.flush(out)
    return [(send.to[0], send.message.body) for send in out.sends]


def ends(calls: GroupCalls) -> list[CallEnded]:
    out = Output()
    calls.flush(out)
    return [delivery for delivery in out.deliveries if isinstance(delivery, CallEnded)]


def request(token: int, deadline: int = SECOND) -> CallTroupe:
    return CallTroupe(token, "adders", ONE.id, ONE.types, b"", Want(), deadline)


# --- losses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fanout", [0, 1, 2, 3])
def test_whichever_letter_is_lost_the_call_ends_and_every_host_executes_once(fanout: int) -> None:
    """DESIGN 13 asks no more of links: the copy that replaces a lost letter finds the call known."""
    whole = explode(7, fanout)
    for lost in range(whole.letters):
        seen = explode(7, fanout, lost.__ne__)
        assert seen.executions == 7
        assert len(seen.end.answers) + seen.end.combined == 7, lost


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("fanout", [0, 2])
def test_half_of_the_letters_are_lost(fanout: int, seed: int) -> None:
    chance = random.Random(seed)
    seen = explode(7, fanout, lambda _: chance.random() < 0.5)
    assert seen.executions == 7
    assert seen.end.finish is Finish.DONE
    assert len(seen.end.answers) + seen.end.combined == 7


# --- once ---------------------------------------------------------------------------------------------------------


def test_copies_are_executed_once_and_add_callers() -> None:
    calls = host()
    assert len(executed(calls, invoke(0), invoke(0))) == 1
    assert executed(calls, invoke(0)) == []
    joint = [invoke(0, "clients", 0)] * 2
    assert executed(calls, *joint) == [CallId("clients", 0, 0)]


def test_a_settled_call_is_executed_no_more() -> None:
    calls = host()
    executed(calls, invoke(3, low=3))
    assert executed(calls, invoke(2), invoke(1)) == []


def test_a_call_of_somebody_who_has_left_is_not_executed() -> None:
    """Else a late copy would be executed once more, after the call was forgotten with its caller."""
    calls = host()
    assert len(executed(calls, invoke(0))) == 1
    calls.deliver(Installed(view_of(HOSTS, 2)), [])
    assert executed(calls, invoke(0), view=2) == []


def test_a_new_host_is_told_which_calls_are_known() -> None:
    calls = host()
    executed(calls, invoke(0), invoke(7, "clients", 0))
    calls.deliver(SnapshotWanted(GROUP, 1), [])
    (taken,) = [each for each in calls.flush(Output()) if isinstance(each, SnapshotTaken)]
    assert taken.data is not None
    other = host(HOSTS[2])
    other.deliver(Restored(GROUP, taken.data), [])
    assert executed(other, invoke(0), invoke(7, "clients", 0), invoke(1)) == [CallId("caller", 1, 1)]


def test_what_was_delivered_before_a_host_had_the_state_is_known_and_not_executed() -> None:
    calls = host(view=view_of((*HOSTS, CALLER), 2))
    assert executed(calls, invoke(0), view=1) == []
    assert executed(calls, invoke(0), view=2) == []


def test_a_host_says_that_it_has_not_executed_what_others_have() -> None:
    """It was demoted, say, and got the state anew: its caller must not wait for it for ever."""
    calls = host(view=view_of((*HOSTS, CALLER), 2))
    executed(calls, invoke(0), view=1)
    letters(calls)
    calls.receive(Letter(9, CALLER, Ask(GROUP, CallId("caller", 1, 0), Part.OWN, 1)))
    assert letters(calls) == [("caller", Answers(GROUP, CallId("caller", 1, 0), Part.OWN, ()))]


def test_what_was_lost_with_those_who_had_it_is_submitted_once_more() -> None:
    """A FIFO group delivers on receipt: only one host had the call, and it has failed."""
    view = view_of((*HOSTS[1:], CALLER), 2)
    calls = host(HOSTS[1], view)
    calls.receive(Letter(9, CALLER, Ask(GROUP, CallId("caller", 1, 0), Part.OWN, 2)))
    assert letters(calls) == [], "it may yet be delivered in this view"
    calls.receive(Letter(9, CALLER, Ask(GROUP, CallId("caller", 1, 0), Part.OWN, 1)))
    missed = Missed(GROUP, CallId("caller", 1, 0), 2)
    assert letters(calls) == [("caller", missed)]
    caller = GroupCalls(CALLER)
    caller.turn(CALLER, VIEW, NOW)
    caller.request(request(1))
    ((first, submit),) = letters(caller)
    assert isinstance(submit, Submit)
    caller.receive(Letter(9, HOSTS[0], Taken(GROUP, submit.invoke.id, 1, HOSTS)))
    caller.receive(Letter(9, HOSTS[1], missed))
    ((second, again),) = letters(caller)
    assert (again, first != second) == (submit, True)


def test_a_call_that_a_host_never_answers_is_given_up_in_the_end() -> None:
    calls = GroupCalls(CALLER)
    calls.turn(CALLER, VIEW, NOW)
    calls.request(request(1))
    ((_, submit),) = letters(calls)
    assert isinstance(submit, Submit)
    calls.receive(Letter(9, HOSTS[0], Taken(GROUP, submit.invoke.id, 1, HOSTS)))
    calls.turn(CALLER, VIEW, Instant(SECOND, 0))
    (ended,) = ends(calls)
    assert (ended.finish, ended.hosts) == (Finish.MISSING, 3)
    calls.turn(CALLER, VIEW, Instant(SECOND + LINGER_NS - 1, 0))
    letters(calls)
    assert not calls.calling.is_idle
    calls.turn(CALLER, VIEW, Instant(SECOND + LINGER_NS, 0))
    assert letters(calls) == []
    assert calls.calling.is_idle


def test_letters_of_strangers_count_for_nothing() -> None:
    calls = host()
    submit = Submit(GROUP, invoke(0))
    for letter in (
        Letter(8, CALLER, submit),
        Letter(9, Member("caller", "caller", 2), submit),
        Letter(9, HOSTS[1], submit),
        Letter(9, CALLER, Submit(GROUP + 1, invoke(0))),
    ):
        calls.receive(letter)
        assert calls.flush(Output()) == []
    calls.receive(Letter(9, CALLER, submit))
    assert len(calls.flush(Output())) == 1


def test_a_payload_that_is_no_call_is_passed_over() -> None:
    into: list[object] = []
    assert host().deliver(Delivered(GROUP, 1, CALLER, 1, [b"\xc1"]), into)
    assert into == []


def test_an_operation_of_another_version_raises_at_the_caller() -> None:
    calls = host()
    other = Invoke(CallId("caller", 1, 0), CALLER, 0, "two@1", 0, b"", 0, 1000)
    assert executed(calls, other) == []
    ((to, body),) = letters(calls)
    assert to == "caller"
    assert isinstance(body, Answers)
    assert isinstance(body.singles[0][1], Raised)


# --- trees --------------------------------------------------------------------------------------------------------


def test_a_tree_is_a_heap() -> None:
    """Against a tree that is built node by node."""
    for size in range(1, 60):
        for fanout in range(1, 6):
            parents = {0: None} | {index: above(index, fanout) for index in range(1, size)}
            for index in range(size):
                assert [child for child, up in parents.items() if up == index] == [*below(index, size, fanout)]
                assert len(below(index, size, fanout)) <= fanout
            steps = {0: 0}
            for index in range(1, size):
                up = parents[index]
                assert up is not None and up < index
                steps[index] = steps[up] + 1
            assert depth(size, fanout) == max(steps.values())


def test_results_are_combined_and_exceptions_kept_apart() -> None:
    calls = host()
    executed(calls, invoke(0, fanout=2))
    call = CallId("caller", 1, 0)
    calls.receive(Letter(9, HOSTS[1], Answers(GROUP, call, Part.BRANCH, (), ONE.outcome(3).value, 1)))  # type: ignore[union-attr]  # it has no other outcome
    failed = Raised("ValueError", b"", "no")
    calls.receive(Letter(9, HOSTS[2], Answers(GROUP, call, Part.BRANCH, (("h2", failed),))))
    calls.request(Executed(1, ONE.outcome(4)))
    (answers,) = [body for _, body in letters(calls) if isinstance(body, Answers)]
    assert answers.part is Part.WHOLE
    assert answers.singles == (("h2", failed),)
    assert (ONE.result(Returned(answers.value)), answers.combined) == (7, 2)


def test_answers_from_below_may_come_before_the_call_and_only_so_many_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "EARLY_MAX", 1)
    calls, call = host(), CallId("caller", 1, 0)
    for sender in HOSTS[1:]:
        outcome = ONE.outcome(1)
        calls.receive(Letter(9, sender, Answers(GROUP, call, Part.BRANCH, ((sender.name, outcome),))))
    executed(calls, invoke(0, fanout=2))
    calls.request(Executed(1, ONE.outcome(1)))
    assert not [body for _, body in letters(calls) if isinstance(body, Answers)], "the second was dropped"
    calls.receive(Letter(9, CALLER, Ask(GROUP, call, Part.WHOLE, 1)))
    assert letters(calls) == [("h2", Ask(GROUP, call, Part.BRANCH, 1))], "and is asked for"


def test_a_tree_that_may_be_broken_is_left() -> None:
    calls = host()
    executed(calls, invoke(0, fanout=2))
    calls.request(Executed(1, ONE.outcome(1)))
    letters(calls)
    calls.deliver(Installed(view_of((HOSTS[0], HOSTS[2], CALLER), 2)), [])
    ((to, body),) = letters(calls)
    assert to == "caller"
    assert isinstance(body, Answers) and body.part is Part.OWN


# --- callers ------------------------------------------------------------------------------------------------------


def test_no_more_calls_than_the_window_are_unsettled() -> None:
    calls = GroupCalls(CALLER)
    calls.turn(CALLER, VIEW, NOW)
    for token in range(WINDOW + 1):
        calls.request(request(token))
    (ended,) = ends(calls)
    assert (ended.token, ended.finish) == (WINDOW, Finish.NOT_HAPPENED)
    assert "the limit is 1024" in ended.text


def test_the_client_troupe_that_called_least_recently_is_forgotten() -> None:
    calls = host()
    for number in range(CLIENTS_MAX):
        executed(calls, invoke(0, f"clients {number}", 0))
    executed(calls, invoke(0, "clients 0", 0), invoke(0, "one more", 0))
    assert executed(calls, invoke(0, "clients 0", 0)) == []
    assert executed(calls, invoke(0, "clients 1", 0)) == [CallId("clients 1", 0, 0)]


def test_a_call_that_was_given_to_nobody_has_not_happened() -> None:
    calls = GroupCalls(CALLER)
    calls.turn(CALLER, View(9, 1, (CALLER,)), NOW)
    calls.request(request(1))
    assert ends(calls) == []
    calls.turn(CALLER, View(9, 1, (CALLER,)), Instant(SECOND, 0))
    (ended,) = ends(calls)
    assert ended.finish is Finish.NOT_HAPPENED


def test_a_call_that_a_host_was_given_and_nothing_is_heard_of_is_unknown() -> None:
    calls = GroupCalls(CALLER)
    calls.turn(CALLER, VIEW, NOW)
    calls.request(request(1))
    ((_, body),) = letters(calls)
    assert isinstance(body, Submit)
    calls.turn(CALLER, VIEW, Instant(SECOND, 0))
    (ended,) = ends(calls)
    assert ended.finish is Finish.UNKNOWN


def test_an_excluded_caller_is_told_at_once_and_its_next_life_makes_what_was_given_to_nobody() -> None:
    calls = GroupCalls(CALLER)
    calls.turn(CALLER, VIEW, NOW)
    calls.request(request(1))
    letters(calls)
    calls.request(CallTroupe(2, "nobody's", ONE.id, ONE.types, b"", Want(), SECOND))
    letters(calls)
    calls.deliver(Excluded(VIEW, "too slow"), [])
    (ended,) = ends(calls)
    assert (ended.token, ended.finish) == (1, Finish.UNKNOWN)
    again = Member("caller", "caller", 2)
    calls.turn(again, View(9, 2, (again,)), NOW)
    assert ends(calls) == []
    calls.turn(again, View(9, 2, (again,)), Instant(SECOND, 0))
    (ended,) = ends(calls)
    assert (ended.token, ended.finish) == (2, Finish.NOT_HAPPENED)


def test_hosts_are_told_that_a_call_is_withdrawn_until_they_all_know() -> None:
    calls = GroupCalls(CALLER)
    calls.turn(CALLER, VIEW, NOW)
    calls.request(request(1, 100 * SECOND))
    ((_, submit),) = letters(calls)
    assert isinstance(submit, Submit)
    calls.receive(Letter(9, HOSTS[0], Taken(GROUP, submit.invoke.id, 1, HOSTS)))
    calls.request(CancelCall(1))
    withdraw = Withdraw(GROUP, submit.invoke.id, 1)
    assert letters(calls) == [(member.name, withdraw) for member in HOSTS]
    for member in HOSTS[:2]:
        calls.receive(Letter(9, member, Answers(GROUP, submit.invoke.id, Part.OWN, ())))
    calls.turn(CALLER, VIEW, Instant(SECOND, 0))
    assert letters(calls) == [("h2", withdraw)], "the others have answered"
    calls.receive(Letter(9, HOSTS[2], Missed(GROUP, submit.invoke.id, 2)))
    assert ends(calls) == []
    assert calls.calling.is_idle


def test_a_withdrawn_call_is_given_up_if_nobody_else_wants_it() -> None:
    calls, other = host(), HOSTS[2]
    withdraw = Withdraw(GROUP, CallId("caller", 1, 0), 1)
    joint = Withdraw(GROUP, CallId("clients", 0, 0), 1)
    executed(calls, invoke(0), invoke(0, "clients", 0))
    letters(calls)
    for body in (withdraw, joint):
        calls.receive(Letter(9, CALLER, body))
    out = Output()
    calls.flush(out)
    assert out.deliveries == [Abandoned(1)], "others may yet make the joint call"
    assert [send.message.body.singles for send in out.sends] == [(), ()]
    calls.receive(Letter(9, other, Withdraw(GROUP, CallId("h2", 1, 0), 0)))
    assert letters(calls) == [("h2", Missed(GROUP, CallId("h2", 1, 0), 1))]


def test_the_end_of_a_cancelled_call_is_not_told() -> None:
    calls = GroupCalls(CALLER)
    calls.turn(CALLER, VIEW, NOW)
    calls.request(request(1))
    calls.request(CancelCall(1))
    calls.turn(CALLER, VIEW, Instant(2 * SECOND, 0))
    assert ends(calls) == []
