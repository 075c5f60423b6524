"""Replicas apply entries alike, once, and undo what raises (SCENARIOS 30, 31, 35, 36, 37)."""

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phalanx.errors import Diverged
from phalanx.model.events import Delivered
from phalanx.model.replicated import command, query
from phalanx.model.view import Member
from phalanx.replication import entries
from phalanx.replication.actions import Action, Judged, Refusal, Say
from phalanx.replication.messages import Reason, Reply
from phalanx.replication.objects import ObjectType, describe
from phalanx.replication.outcome import Raised, Returned
from phalanx.replication.replica import Replica
from phalanx.replication.session import Limits
from tests.replication.samples import (
    ACCOUNT,
    DICE,
    A,
    Account,
    B,
    C,
    Dice,
    account,
    delivered,
    group,
    opened,
    reasons,
    results,
    run,
    said,
    view,
)

ADD = ACCOUNT.invoke(Account.add, 1)
READ = ACCOUNT.invoke(Account.read)


def balance(replica: Replica[Account]) -> int:
    outcome = replica.query(READ.operation.id, READ.operation.types, READ.arguments)
    assert isinstance(outcome, Returned)
    return READ.result(outcome)


def saved(replica: Replica[Any]) -> list[bytes]:
    return list(replica.slices(64))


def restore(replica: Replica[Any], slices: list[bytes]) -> None:
    restoration = replica.restoration()
    for data in slices:
        restoration.take(data)
    replica.restore(restoration)


def test_a_pipelined_command_that_overtakes_a_resent_one_runs_once_each() -> None:
    """DESIGN 13, counter-example 15: #6 arrives before a resent #5."""
    replica = account()
    session = opened(replica)
    for number in (1, 3, 2, 3, 1):
        replica.deliver(delivered(1_001, run(session, number, 1, ADD)))
    assert balance(replica) == 3


def test_what_the_low_mark_has_passed_never_runs() -> None:
    replica = account()
    session = opened(replica)
    replica.deliver(delivered(1_001, run(session, 2, 2, ADD)))
    assert reasons(replica.deliver(delivered(1_002, run(session, 1, 1, ADD)))) == ["settled"]
    assert balance(replica) == 1


def test_an_unknown_session_is_never_created() -> None:
    replica = account()
    for _ in range(2):
        assert reasons(replica.deliver(delivered(1, run(99, 1, 1, ADD)))) == ["session expired"]
    assert balance(replica) == 0


@pytest.mark.parametrize("limit", [1_000, 10_000, 100_000])
def test_what_an_exception_says_does_not_decide_whether_the_next_command_runs(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may say an address, or what another version of Python says."""
    told = []
    for text in ("short", "x" * 20_000):
        monkeypatch.setattr("tests.replication.samples.OOPS", text)
        replica = account(limits=Limits(outcome_bytes=limit))
        session = opened(replica)
        payloads = [run(session, n, 1, ACCOUNT.invoke(Account.fail)) for n in (1, 2)]
        told.append(reasons(replica.deliver(delivered(1_000, *payloads, run(session, 3, 1, ADD)))))
    assert told[0] == told[1]


def test_a_session_expires_by_ordered_time_and_an_outage_does_not_count() -> None:
    """SCENARIOS 31."""
    limits = Limits(lifetime_ms=900)
    replica = account(limits=limits)
    session = opened(replica)
    replica.deliver(delivered(1_000_000, run(session, 1, 1, ADD)))
    assert balance(replica) == 1
    for ms in range(1_000_300, 1_001_201, 300):
        replica.deliver(delivered(ms, b"?"))
    assert reasons(replica.deliver(delivered(1_001_201, run(session, 2, 1, ADD)))) == ["session expired"]


def test_the_session_table_and_the_window_have_limits() -> None:
    """SCENARIOS 31."""
    replica = account(limits=Limits(sessions=1, window=2))
    session = opened(replica)
    assert reasons(replica.deliver(delivered(1_000, entries.encode(entries.Open(0))))) == ["too many sessions"]
    payloads = [run(session, number, 1, ADD) for number in (1, 2, 3)]
    assert reasons(replica.deliver(delivered(1_000, *payloads))) == ["window"]
    assert reasons(replica.deliver(delivered(1_000, run(session, 3, 3, ADD)))) == []
    assert balance(replica) == 3


def test_a_command_that_raises_changes_nothing_at_any_replica() -> None:
    """SCENARIOS 36."""
    one, two = account(A), account(B)
    session = opened(one)
    two.deliver(delivered(1_000, entries.encode(entries.Open(0))))
    invocations = [ADD, ACCOUNT.invoke(Account.take, 5), ACCOUNT.invoke(Account.fail), ADD]
    for number, invocation in enumerate(invocations, 1):
        entry = delivered(1_000, run(session, number, 1, invocation))
        (outcome,) = results(one.deliver(entry))
        assert results(two.deliver(entry)) == [], "callers are answered where they are"
        assert isinstance(outcome, Raised) == (number in (2, 3))
    assert balance(one) == 2
    assert saved(one) == saved(two)


def test_what_an_exception_says_can_be_told_and_kept_whatever_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of which there is no encoding (JSON has an escape for half a character) stopped the node that answered, the
    next one that was asked, and every one that gave its state to another."""
    monkeypatch.setattr("tests.replication.samples.OOPS", "half \ud800")
    replica = account()
    entry = run(opened(replica), 1, 1, ACCOUNT.invoke(Account.fail))
    (outcome,) = results(replica.deliver(delivered(1_000, entry)))
    assert isinstance(outcome, Raised) and outcome.text == "half \\ud800"
    assert msgspec.msgpack.encode(Reply(1, outcome, replica.stamp))
    twin = account(B)
    restore(twin, saved(replica))
    assert results(twin.deliver(delivered(1_001, entry, sender=B))) == [outcome]


def test_unknown_operations_and_other_types_are_refused_not_misread() -> None:
    """SCENARIOS 37."""
    replica = account()
    session = opened(replica)
    for operation, types in (("add@2", ADD.operation.types), ("add@1", 1), ("read@1", READ.operation.types)):
        entry = entries.encode(entries.Run(0, session, 1, 1, operation, types, ADD.arguments))
        assert reasons(replica.deliver(delivered(1_000, entry))) == ["unknown operation"]
    entry = entries.encode(entries.Run(0, session, 1, 1, "add@1", ADD.operation.types, b"\x91\xa1x"))
    assert reasons(replica.deliver(delivered(1_000, entry, b"garbage", b""))) == ["bad arguments"]
    assert (balance(replica), replica.position) == (0, 7)


@dataclasses.dataclass
class Odd:
    number: int

    def __post_init__(self) -> None:
        if isinstance(error := RAISED.get(self.number), BaseException):
            raise error


RAISED: dict[int, BaseException] = {1: KeyError("one"), 2: SystemExit(2), 3: AssertionError(), 4: ValueError("four")}


class Picky:
    """Its arguments run code of their own when they are made."""

    @command
    def put(self, what: Odd) -> int:
        return what.number

    @query
    def show(self, what: Odd) -> int:
        return what.number


@pytest.mark.parametrize("number", RAISED)
def test_arguments_that_cannot_be_made_are_refused_whatever_they_raise(number: int) -> None:
    """Each host that met the entry ended, again and again with a log."""
    kind = describe(Picky)
    replica = Replica(kind, group("a", "b"), A)
    session = opened(replica)  # type: ignore[arg-type]  # any replica has sessions
    odd = Odd(0)
    odd.number = number
    entry = delivered(1_001, run(session, 1, 1, kind.invoke(Picky.put, odd)))
    assert reasons(replica.deliver(entry)) == ["bad arguments"]
    asked = kind.invoke(Picky.show, odd)
    refused = replica.query(asked.operation.id, asked.operation.types, asked.arguments)
    assert isinstance(refused, Refusal) and refused.reason is Reason.ARGUMENTS
    odd.number = 5
    assert results(replica.deliver(delivered(1_002, run(session, 1, 1, kind.invoke(Picky.put, odd))))) == [
        Returned(b"\x05")
    ]


def test_tokens_only_grow_and_time_is_the_message_s() -> None:
    replica = account()
    session = opened(replica)
    stamp = ACCOUNT.invoke(Account.stamp)
    payloads = [run(session, number, 1, stamp) for number in (1, 2)]
    outcomes = results(replica.deliver(delivered(2_000, *payloads)))
    outcomes += results(replica.deliver(delivered(1_500, run(session, 3, 1, stamp))))
    seen = [stamp.result(outcome) for outcome in outcomes if isinstance(outcome, Returned)]
    assert [time for time, _ in seen] == [2_000, 2_000, 2_000]
    assert len({token for _, token in seen}) == 3 and seen == sorted(seen)


STEPS = st.lists(
    st.tuples(st.integers(1, 6), st.integers(1, 4), st.sampled_from(["add", "take", "fail"]), st.integers(0, 40)),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 40))
def test_replicas_agree_with_a_plain_object_and_a_restored_replica_with_both(
    steps: list[tuple[int, int, str, int]], cut: int
) -> None:
    """Resent, reordered and settled commands in any order: a dictionary of what ran is the model."""
    one, two, late = account(A), account(B), account(C)
    session = opened(one)
    two.deliver(delivered(1_000, entries.encode(entries.Open(0))))
    ran: dict[int, int] = {}
    low = 1
    total = 0
    for index, (number, mark, what, gap) in enumerate(steps):
        if index == cut:
            restore(late, saved(one))
        invocation = {
            "add": ACCOUNT.invoke(Account.add, 2),
            "take": ACCOUNT.invoke(Account.take, 3),
            "fail": ACCOUNT.invoke(Account.fail),
        }[what]
        low = max(low, mark)
        entry = delivered(1_000 + gap, run(session, number, mark, invocation))
        one.deliver(entry)
        two.deliver(entry)
        if index >= cut:
            late.deliver(entry)
        if number >= low and number not in ran:
            change = {"add": 2, "take": -3 if total >= 3 else 0, "fail": 0}[what]
            total += change
            ran[number] = change
    assert balance(one) == total
    assert saved(one) == saved(two)
    if cut < len(steps):
        assert saved(late) == saved(one)


# --- audits -------------------------------------------------------------------------------------------------------

SESSION = 1_000 << 16


def roll(replicas: list[Replica[Dice]], count: int, history: list[Delivered] | None = None) -> list[Judged]:
    """Deliver rolls to all replicas and reports to all; what the last one judged."""
    queue: list[tuple[Member, bytes]] = []
    if replicas[0].position == 0:
        queue.append((A, entries.encode(entries.Open(0))))
    first = replicas[0].position + len(queue)
    queue += [(A, run(SESSION, first + n, 1, DICE.invoke(Dice.roll))) for n in range(count)]
    judged: list[Judged] = []
    while queue:
        sender, payload = queue.pop(0)
        if history is not None:
            history.append(delivered(1_000, payload, sender=sender))
        for replica, member in zip(replicas, (A, B, C), strict=False):
            actions: list[Action] = replica.deliver(delivered(1_000, payload, sender=sender))
            queue += [(member, action.payload) for action in actions if isinstance(action, Say)]
            if replica is replicas[-1]:
                judged += [action for action in actions if isinstance(action, Judged)]
    return judged


def dice(kind: ObjectType[Dice], hosts: str) -> list[Replica[Dice]]:
    members = {"a": A, "b": B, "c": C}
    return [Replica(kind, group(*hosts), members[name], audit_interval=5, view=1) for name in hosts]


def load(replica: Replica[Dice]) -> None:
    """Make this replica's class depend on its own random numbers."""
    replica._object.loaded = True


def test_replicas_that_agree_find_nothing() -> None:
    assert roll(dice(DICE, "abc"), 30) == []


def test_a_diverged_minority_is_named_with_the_positions_and_replaced() -> None:
    """SCENARIOS 35."""
    replicas = dice(DICE, "abc")
    assert roll(replicas, 6) == []
    load(replicas[1])
    judged, *_ = roll(replicas, 8)
    assert judged.finding.diverged == ("b",)
    assert (judged.finding.since, judged.finding.position) == (10, 15)
    assert [replica.diverged for replica in replicas] == [False, True, False]
    restore(replicas[1], saved(replicas[0]))
    assert not replicas[1].diverged and roll(replicas, 20) == []


def test_a_replica_whose_digest_raises_where_those_of_others_do_not_has_diverged() -> None:
    replicas = dice(DICE, "abc")
    replicas[1]._object.rolls.append(object())  # type: ignore[arg-type]  # no number: it cannot be encoded
    judged, *_ = roll(replicas, 8)
    assert judged.finding.diverged == ("b",)


def test_without_a_majority_writes_stop_until_the_rest_agree() -> None:
    """SCENARIOS 35."""
    replicas = dice(DICE, "ab")
    load(replicas[0])
    judged = roll(replicas, 20)
    assert [each.finding.diverged for each in judged] == [()]
    assert all(replica.stopped for replica in replicas)
    (hosts,) = said(replicas[1].install(view("b", number=2)))
    (action,) = replicas[1].deliver(delivered(1_000, hosts, sender=B, number=2))
    assert isinstance(action, Judged) and action.finding.agreed and not replicas[1].stopped


def test_a_host_that_came_while_writes_were_stopped_can_go_on_alone() -> None:
    """It learned the state of one of those who disagreed, and they are gone: no report of it could ever come."""
    replicas = dice(DICE, "ab")
    load(replicas[0])
    roll(replicas, 20)
    late = Replica(DICE, group("a", "b"), C, audit_interval=5, view=2)
    restore(late, saved(replicas[1]))
    (hosts,) = said(late.install(view("a", "b", "c", number=3)))
    assert late.deliver(delivered(1_000, hosts, sender=C, number=3)) == []
    refused = late.deliver(delivered(1_000, run(SESSION, 99, 1, DICE.invoke(Dice.roll)), sender=C, number=3))
    assert reasons(refused) == ["diverged"]
    (hosts,) = said(late.install(view("c", number=4)))
    (action,) = late.deliver(delivered(1_000, hosts, sender=C, number=4))
    assert isinstance(action, Judged) and action.finding.agreed and not action.finding.diverged and not late.stopped
    ran = late.deliver(delivered(1_001, run(SESSION, 100, 1, DICE.invoke(Dice.roll)), sender=C, number=4))
    assert [type(each) for each in results(ran)] == [Returned]


@pytest.mark.parametrize("present", ["b", "bc", "abc"])
def test_whoever_reads_of_a_divergence_in_another_view_stops_where_the_others_did(present: str) -> None:
    """A host that comes back with its log, or a learner, ran a command that had been refused: it judged the reports by
    the hosts of the view that it was in itself."""
    live, history = dice(DICE, "ab"), list[Delivered]()
    load(live[0])
    roll(live, 20, history)
    assert all(replica.stopped for replica in live)
    refused = run(SESSION, 100, 1, DICE.invoke(Dice.roll))
    (hosts,) = said(live[1].install(view("b", number=2)))
    later = [
        delivered(1_001, refused, sender=B),
        delivered(1_002, refused, hosts, sender=B, number=2),
        delivered(1_002, run(SESSION, 101, 1, DICE.invoke(Dice.roll)), sender=B, number=2),
    ]
    told = [reasons(live[1].deliver(each)) for each in later]
    assert told == [["diverged"], ["diverged"], []]
    reader = Replica(DICE, group(*present), B, audit_interval=5, view=3)
    for each in history:
        reader.deliver(each)
    assert reader.stopped
    assert [reasons(reader.deliver(each)) for each in later] == told
    assert (reader.stopped, reader.position) == (False, live[1].position)


def test_who_comes_back_while_writes_are_stopped_says_who_the_hosts_are() -> None:
    """All hosts failed, and one returns with its log: nobody else is there to say so."""
    live, history = dice(DICE, "ab"), list[Delivered]()
    load(live[0])
    roll(live, 20, history)
    reader = Replica(DICE, group("b"), B, audit_interval=5, view=3)
    for each in history:
        reader.deliver(each)
    (hosts,) = said(reader.caught_up())
    assert reader.stopped
    reader.deliver(delivered(1_000, hosts, sender=B, number=3))
    assert not reader.stopped


def test_reports_that_were_on_their_way_when_their_view_ended_are_not_judged_by_its_hosts() -> None:
    replicas = dice(DICE, "abc")
    load(replicas[0])
    reports = []
    for replica, member in zip(replicas, (A, B, C), strict=True):
        replica.deliver(delivered(1_000, entries.encode(entries.Open(0))))
        payloads = [run(SESSION, n, 1, DICE.invoke(Dice.roll)) for n in range(1, 5)]
        reports += [(member, payload) for payload in said(replica.deliver(delivered(1_000, *payloads)))]
    assert len(reports) == 3
    hosts = [said(replica.install(view("a", "b", number=2))) for replica in replicas[:2]]
    for sender, payload in [(A, hosts[0][0]), *reports[:2]]:
        for replica in replicas[:2]:
            replica.deliver(delivered(1_000, payload, sender=sender, number=2))
    assert all(replica.stopped for replica in replicas[:2])


def test_a_state_that_does_not_survive_its_snapshot_is_not_served() -> None:
    replica = account()
    (data,) = saved(replica)
    data = data.replace(ACCOUNT.state.digest(Account()).value, b"x" * 16)
    with pytest.raises(Diverged, match="position 0"):
        restore(account(), [data])
