"""The oracle of group histories on examples of the textbook, by hand: each property kept and broken."""

import pytest

from phalanx.check.groups import check_groups, check_progress
from phalanx.model.history import AskedToLeave, GroupEvent, SawFounding, SawMessage, SawState, SawView, Sent, Stopped
from phalanx.model.view import Group, GroupSpec, Member, Order, View

P, Q, R = (Member(name, name, 1) for name in "pqr")
G = 1


def view(number: int, members: tuple[Member, ...], order: Order, learners: tuple[Member, ...] = ()) -> View:
    group = Group(G, GroupSpec("g", order), tuple(m.name for m in members), tuple(m.name for m in learners))
    return View(7, number, members, learners, (group,))


def founded(order: Order, *members: Member) -> list[GroupEvent]:
    """All install view 1 and found the group."""
    first = view(1, members, order)
    return [event for m in members for event in (SawView(m, first), SawFounding(m, G))]


def sent(process: Member, payload: bytes) -> Sent:
    return Sent(process, G, payload)


def saw(process: Member, payload: bytes, sender: Member, number: int = 1) -> SawMessage:
    return SawMessage(process, G, number, sender, payload)


def broken(history: list[GroupEvent]) -> set[str]:
    return {violation.property for violation in check_groups(history, leavers=())}


def test_a_sender_that_crashes_after_reaching_one_survivor_reaches_all_or_none() -> None:
    """SCENARIOS 23; Birman and Joseph 1987."""
    second = view(2, (Q, R), Order.FIFO)
    begin = [*founded(Order.FIFO, P, Q, R), sent(P, b"m"), Stopped(P, crashed=True), saw(Q, b"m", P)]
    end = [SawView(Q, second), SawView(R, second)]
    assert broken([*begin, saw(R, b"m", P), *end]) == set()
    assert broken([*begin, *end]) == {"virtual_synchrony"}


@pytest.mark.parametrize(("order", "expected"), [(Order.FIFO, set()), (Order.TOTAL, {"uniformity"})])
def test_what_died_with_sender_and_only_receiver_is_missed_in_uniform_groups_only(
    order: Order, expected: set[str]
) -> None:
    """SCENARIOS 24: Q delivers m and dies with P; R goes on without it, as two of four with the eldest."""
    elder, last = Member("a", "a", 1), view(2, (Member("a", "a", 1), R), order)
    history = [*founded(order, elder, P, Q, R), sent(P, b"m"), saw(Q, b"m", P), Stopped(P, True), Stopped(Q, True)]
    assert broken([*history, SawView(elder, last), SawView(R, last)]) == expected


def test_fifo_order_forbids_overtaking_and_gaps() -> None:
    """CKV 2001, FIFO Delivery and Reliable FIFO Delivery."""
    history = [*founded(Order.FIFO, P, Q), sent(P, b"1"), sent(P, b"2")]
    assert broken([*history, saw(Q, b"1", P), saw(Q, b"2", P)]) == set()
    assert broken([*history, saw(Q, b"2", P), saw(Q, b"1", P)]) == {"fifo_order"}
    assert broken([*history, saw(Q, b"2", P)]) == {"fifo_order"}


@pytest.mark.parametrize(("order", "expected"), [(Order.FIFO, set()), (Order.CAUSAL, {"causal_order"})])
def test_an_answer_that_comes_before_its_question_breaks_causal_but_not_fifo_order(
    order: Order, expected: set[str]
) -> None:
    """Lamport 1978; Birman, Schiper, Stephenson 1991."""
    history = [*founded(order, P, Q, R), sent(P, b"why?"), saw(Q, b"why?", P), sent(Q, b"so!")]
    assert broken([*history, saw(R, b"why?", P), saw(R, b"so!", Q)]) == set()
    assert broken([*history, saw(R, b"so!", Q), saw(R, b"why?", P)]) == expected


def test_causal_order_holds_through_a_third_message_that_was_delivered_in_time() -> None:
    """DESIGN section 13, counter-example 14: m2 depends on m1, which died with its sender and the only receiver."""
    history = [*founded(Order.CAUSAL, P, Q, R), sent(P, b"m1"), saw(Q, b"m1", P), sent(Q, b"m2"), saw(R, b"m2", Q)]
    assert broken(history) == {"causal_order"}


def test_a_cause_that_a_state_has_replaced_binds_all_the_same() -> None:
    """Q answers m1, which nobody else has, is demoted, gets the others' state; and then all deliver the answer."""
    second, third = view(2, (R,), Order.CAUSAL, learners=(Q,)), view(3, (R, Q), Order.CAUSAL)
    begin: list[GroupEvent] = [*founded(Order.CAUSAL, P, Q, R), sent(P, b"m1"), saw(Q, b"m1", P), sent(Q, b"m2")]
    middle: list[GroupEvent] = [Stopped(P, crashed=True), SawView(Q, second), SawView(R, second), SawState(Q, G, ())]
    end: list[GroupEvent] = [SawView(R, third), SawView(Q, third), saw(R, b"m2", Q, 3), saw(Q, b"m2", Q, 3)]
    assert "causal_order" in broken([*begin, *middle, *end])


@pytest.mark.parametrize(("order", "expected"), [(Order.CAUSAL, set()), (Order.TOTAL, {"total_order"})])
def test_concurrent_messages_in_two_orders_break_total_order_only(order: Order, expected: set[str]) -> None:
    """CKV 2001, Strong Total Order; the second process crashes at once, which is no excuse."""
    history = [*founded(order, P, Q), sent(P, b"x"), sent(Q, b"y"), saw(P, b"x", P), saw(P, b"y", Q)]
    assert broken([*history, saw(Q, b"y", Q), saw(Q, b"x", P), Stopped(Q, crashed=True)]) == expected


def test_a_state_and_what_follows_it_make_one_sequence_without_a_gap() -> None:
    """Birman 2005, state transfer: R learns after x, is promoted after y."""
    first, second = view(1, (P, Q), Order.TOTAL, learners=(R,)), view(2, (P, Q, R), Order.TOTAL)
    begin: list[GroupEvent] = [SawView(P, first), SawFounding(P, G), SawView(Q, first), SawFounding(Q, G)]
    begin += [SawView(R, first), sent(P, b"x"), sent(P, b"y"), saw(P, b"x", P), saw(Q, b"x", P)]
    middle: list[GroupEvent] = [SawState(R, G, (b"x",)), saw(P, b"y", P), saw(Q, b"y", P)]
    end: list[GroupEvent] = [SawView(P, second), SawView(Q, second), SawView(R, second)]
    assert broken([*begin, *middle, saw(R, b"y", P), *end]) == set()
    assert "state_transfer" in broken([*begin, *middle, *end])
    assert "total_order" in broken([*begin, SawState(R, G, ()), *middle[1:], saw(R, b"y", P)])


def test_a_learner_may_complete_its_state_with_what_died_with_the_last_host() -> None:
    """What ended view 1 is decided: so Q has it, and P would, had it lived.  Seed 20014941 of `durable`."""
    first, second = view(1, (P,), Order.TOTAL, learners=(Q,)), view(2, (P,), Order.TOTAL, learners=(Q,))
    begin: list[GroupEvent] = [SawView(P, first), SawFounding(P, G), SawView(Q, first), sent(P, b"x"), saw(P, b"x", P)]
    begin += [SawState(Q, G, (b"x",)), sent(P, b"y")]
    end: list[GroupEvent] = [SawView(Q, second), SawState(Q, G, (b"x", b"y"))]
    assert broken([*begin, Stopped(P, crashed=True), *end]) == set()
    assert "state_transfer" in broken([*begin, SawView(P, second), *end]), "it went on without y"
    assert "state_transfer" in broken([*begin[:-2], Stopped(P, crashed=True), *end]), "y was never sent"
    assert "state_transfer" in broken([*begin[:-2], sent(P, b"y"), end[0], end[1]]), "no state was there to complete"


def test_one_lock_has_not_two_holders() -> None:
    """DESIGN section 13, counter-example 4: cut off, P goes on alone after Q and R have installed the next view."""
    second = view(2, (Q, R), Order.TOTAL)
    history = [*founded(Order.TOTAL, P, Q, R), SawView(Q, second), SawView(R, second), sent(P, b"lock")]
    assert broken([*history, Stopped(P, crashed=False)]) == set()
    assert broken([*history, saw(P, b"lock", P)]) == {"fencing", "uniformity"}


def test_two_halves_that_both_go_on_are_a_split_brain() -> None:
    """Jajodia and Mutchler 1990: of four, the half with rank 0 goes on, the other does not."""
    elder = Member("a", "a", 1)
    history = founded(Order.FIFO, elder, P, Q, R)
    left, right = view(2, (elder, P), Order.FIFO), view(2, (Q, R), Order.FIFO)
    assert broken([*history, SawView(elder, left), SawView(P, left)]) == set()
    assert broken([*history, SawView(Q, right), SawView(R, right)]) == {"primary_chain"}
    assert "view_agreement" in broken([*history, SawView(elder, left), SawView(Q, right)])


def test_a_node_that_leaves_need_not_be_in_the_quorum_that_goes_on() -> None:
    """DESIGN section 4: rank 0 of a pair leaves; unasked it could not have been lost."""
    history = [*founded(Order.FIFO, P, Q), SawView(Q, view(2, (Q,), Order.FIFO))]
    assert check_groups(history) == check_groups(history, leavers={"p"}) == []
    assert broken(history) == {"primary_chain"}


def test_who_leaves_has_delivered_what_it_had_sent_before_it_asked() -> None:
    begin = [*founded(Order.FIFO, P, Q, R), sent(P, b"m")]
    asked, told, late = AskedToLeave(P), Stopped(P, crashed=False, left=True), sent(P, b"late")
    assert broken([*begin, asked, told]) == {"polite_leave"}
    assert broken([*begin, saw(P, b"m", P), asked, late, asked, told]) == set()
    assert broken([*begin, asked, Stopped(P, crashed=False)]) == set(), "it was excluded before it could"
    assert broken([*begin, asked]) == broken([*begin, told]) == set()
    away = view(2, (Q, R), Order.FIFO, learners=(P,))
    demoted = [SawView(Q, away), SawView(R, away), SawView(P, away)]
    assert broken([*begin, asked, *demoted, told]) == set(), "a learner may wait for what never comes"


def test_total_failure_brings_new_incarnations_in_the_old_seniority() -> None:
    """DESIGN section 8; the memory group is gone and may not return with its id."""
    again = tuple(Member(m.name, m.address, 2) for m in (P, Q))
    history = [*founded(Order.TOTAL, P, Q), Stopped(P, crashed=True), Stopped(Q, crashed=True)]
    assert broken([*history, *(SawView(m, View(7, 2, again)) for m in again)]) == set()
    assert broken([*history, *(SawView(m, View(7, 2, again[::-1])) for m in again)]) == {"seniority"}
    assert "state_transfer" in broken([*history, *(SawView(m, view(2, again, Order.TOTAL)) for m in again)])


def test_two_clusters_in_one_history_are_judged_apart() -> None:
    """SCENARIOS 21: what two clusters number alike has nothing in common."""
    other = [SawView(R, View(8, 1, (R,)))]
    assert broken([*founded(Order.TOTAL, P, Q), *other]) == set()
    assert broken([*founded(Order.TOTAL, P, Q), *other, SawView(R, view(2, (R,), Order.TOTAL))]) == {"local_monotony"}


def test_a_drained_run_owes_every_host_what_a_living_member_sent() -> None:
    """CKV 2001, Self Delivery and Termination of Delivery."""
    history = [*founded(Order.FIFO, P, Q), sent(P, b"m"), saw(P, b"m", P)]
    assert check_progress([*history, saw(Q, b"m", P)], {P, Q}) == []
    assert [v.property for v in check_progress(history, {P, Q})] == ["reliable_delivery"]
    alone = view(2, (P,), Order.FIFO)
    late = check_progress([*history, saw(Q, b"m", P), SawView(P, alone)], {P, Q})
    assert [violation.property for violation in late] == ["convergence"]


def test_a_violation_says_who_what_and_where() -> None:
    history = [*founded(Order.TOTAL, P, Q), saw(Q, b"ghost", P)]
    (violation,) = check_groups(history)
    assert str(violation) == "delivery_integrity: q#1 delivered b'ghost' in group 1, which nobody sent there (events 4)"
