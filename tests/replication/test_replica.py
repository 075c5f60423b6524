"""Replicas apply entries alike, once, and undo what raises (SCENARIOS 30, 31, 35, 36, 37)."""

import dataclasses

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phalanx.model.replicated import command, query
from phalanx.replication import entries
from phalanx.replication.actions import Refusal
from phalanx.replication.messages import Reason, Reply
from phalanx.replication.objects import describe
from phalanx.replication.outcome import Raised, Returned
from phalanx.replication.replica import Replica
from phalanx.replication.session import Limits
from tests.replication.samples import (
    ACCOUNT,
    A,
    Account,
    B,
    C,
    account,
    delivered,
    group,
    opened,
    reasons,
    restore,
    results,
    run,
    saved,
)

ADD = ACCOUNT.invoke(Account.add, 1)
READ = ACCOUNT.invoke(Account.read)


def balance(replica: Replica[Account]) -> int:
    outcome = replica.query(READ.operation.id, READ.operation.types, READ.arguments)
    assert isinstance(outcome, Returned)
    return READ.result(outcome)


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
