"""The judges of `phalanx soak`: a right round passes, and whatever is wrong with a round is found (lab/soak).

The right round comes from a store that nobody replicates, called by clients that take turns; each mutant spoils a copy.
"""

import copy
import random
from collections.abc import Callable, Sequence

import msgspec
import pytest

from phalanx.errors import LeaseLost
from phalanx.lab.soak.judge import judge
from phalanx.lab.soak.records import Call, Replica, Round, Told, Watched, lines_of
from phalanx.lab.soak.timeline import inside
from phalanx.lab.soak.workload import Caller, Wish, room
from phalanx.model.clock import COUNTER_BITS, MILLISECOND
from phalanx.model.history import Outcome
from phalanx.model.replicated import Context
from phalanx.services.store.kv import KV
from phalanx.services.store.values import Event, Put, Range, Txn, Versioned

CALLS = 1_500
STEP_NS = 5 * MILLISECOND
COMMANDS = {"put", "delete", "delete_range", "compare_and_set", "transact", "grant", "keep_alive", "revoke"}


def right_round() -> Round:
    """Three clients; the time goes on by 5 ms with each call, and each call takes 8 ms, so two calls are concurrent."""
    store = KV()
    callers = [Caller(f"c{n}", 0, random.Random(n)) for n in range(3)]
    calls = []
    for number in range(1, CALLS):
        now = number * STEP_NS
        context = Context((now // MILLISECOND) << COUNTER_BITS, "", number, number)
        if (due := store.due_ms()) is not None and due <= context.time_ms:
            store.tick(context)
        caller = callers[number % 3]
        wish = caller.draw()
        call = Call(f"c{number % 3}", wish.f, wish.arguments, now - 4 * MILLISECOND, completed=now + 4 * MILLISECOND)
        calls.append(answered(store, call, wish, context))
        if call.outcome is Outcome.OK:
            caller.took(wish, call.result)
        else:
            caller.lost(wish.arguments[2])
    for number in range(CALLS, 3 * CALLS):  # nobody calls any more, until the last lease has ended
        store.tick(Context((number * STEP_NS // MILLISECOND) << COUNTER_BITS, "", number, number))
    assert store.info().leases == 0
    log = store.events_after(0)
    items = store.range().items
    replicas = [Replica(name, items, log, []) for name in "abc"]
    return Round(0, 0, {}, calls, watches(log), replicas)


def answered(store: KV, call: Call, wish: Wish, context: Context) -> Call:
    method = getattr(store, wish.f)
    try:
        call.result = method(*wish.arguments, **({"context": context} if wish.f in COMMANDS else {}))
        call.outcome = Outcome.OK
    except LeaseLost:
        call.outcome, call.error = Outcome.FAIL, "LeaseLost"
    return call


def watches(log: Sequence[Event]) -> list[Watched]:
    out = []
    for name, start, end, after in (("w0", b"", None, 0), ("w1", room(0) + b"key/", room(0) + b"key/4", 0)):
        told = [
            Told(each.time_ms * MILLISECOND + 10, msgspec.structs.replace(each, previous=None))
            for each in log
            if inside(each.key, start, end)
        ]
        out.append(Watched(name, start, end, True, True, False, after, 0, after, told, log[-1].revision))
    return out


@pytest.fixture(scope="module")
def right() -> Round:
    return right_round()


def test_a_right_round_is_found_right(right: Round) -> None:
    assert judge(right) == []
    done = {call.f for call in right.calls}
    assert done >= COMMANDS | {"get", "range", "count"}, "every operation is in it"
    assert any(event.previous is not None and event.previous.lease for event in right.log if event.item is None)


def test_a_round_can_be_kept_as_lines_that_people_can_read(right: Round) -> None:
    lines = list(lines_of(right))
    assert len(lines) == 1 + len(right.calls) + len(right.watched) + len(right.replicas)
    assert any("ledger/c0#" in line for line in lines if line.startswith('{"call"'))


# --- planted ----------------------------------------------------------------------------------------------------------


def ok(round_: Round, f: str, fits: Callable[[Call], bool] = lambda _: True) -> list[Call]:
    return [call for call in round_.calls if call.f == f and call.outcome is Outcome.OK and fits(call)]


def in_ledger(call: Call) -> bool:
    return b"ledger/" in call.arguments[0]


def rewrite_log(round_: Round, change: Callable[[list[Event]], list[Event]]) -> None:
    """The same at all replicas."""
    log = change(round_.log)
    state: dict[bytes, Versioned] = {}
    for event in log:
        state.pop(event.key, None)
        if event.item is not None:
            state[event.key] = event.item
    for replica in round_.replicas:
        replica.log, replica.items = log, sorted(state.items())
    round_.watched.clear()


def lose_a_write(round_: Round) -> None:
    key = ok(round_, "put", in_ledger)[50].arguments[0]
    rewrite_log(round_, lambda log: [event for event in log if event.key != key])


def lose_the_last_write(round_: Round) -> None:
    """As a log does whose end was not on the disk: what is left makes sense in itself."""
    last = max(call.result for call in ok(round_, "put"))
    rewrite_log(round_, lambda log: [event for event in log if event.revision < last])


def refuse_what_happened(round_: Round) -> None:
    call = ok(round_, "put", in_ledger)[30]
    call.outcome, call.error, call.result = Outcome.FAIL, "Unavailable", None


def happen_twice(round_: Round) -> None:
    event = next(event for event in round_.log if event.item is not None and b"ledger/" in event.key)
    assert event.item is not None
    again = round_.log[-1].revision + 1
    item = Versioned(event.item.value, event.item.created, again, 2, 0)
    rewrite_log(round_, lambda log: [*log, Event(event.key, again, 0, log[-1].time_ms, item, event.item)])


def tear_a_transaction(round_: Round) -> None:
    call = next(
        c
        for c in ok(round_, "transact")
        if sum(isinstance(each, Put) for each in c.arguments[1]) == 2 and c.result.succeeded
    )
    gone = [each.key for each in call.arguments[1] if isinstance(each, Put)][-1]
    revision = call.result.revision
    rewrite_log(round_, lambda log: [e for e in log if (e.revision, e.key) != (revision, gone)])


def delete_what_nobody_deleted(round_: Round) -> None:
    key, item = next((key, item) for key, item in round_.replicas[0].items if b"ledger/" in key)
    again = round_.log[-1].revision + 1
    rewrite_log(round_, lambda log: [*log, Event(key, again, 0, log[-1].time_ms, None, item)])


def plain_gets(round_: Round) -> list[Call]:
    return ok(round_, "get", lambda call: len(call.arguments) == 1 and call.result is not None)


def read_the_past(round_: Round) -> None:
    first: dict[bytes, Versioned] = {}
    for call in plain_gets(round_):
        old = first.setdefault(call.arguments[0], call.result)
        if call.result.modified > old.modified + 100:
            call.result = old
            return
    raise AssertionError("nothing changed")


def read_the_future(round_: Round) -> None:
    call = plain_gets(round_)[3]
    later = [c.result for c in plain_gets(round_) if c.arguments == call.arguments and c.result != call.result]
    call.result = later[-1]


def read_what_never_was(round_: Round) -> None:
    call = plain_gets(round_)[5]
    call.result = msgspec.structs.replace(call.result, version=call.result.version + 7)


def read_another_revision(round_: Round) -> None:
    call = ok(round_, "get", lambda call: len(call.arguments) == 2 and call.result is not None)[0]
    call.result = None


def number_a_write_wrongly(round_: Round) -> None:
    ok(round_, "put")[9].result += 1


def refuse_what_was_done(round_: Round) -> None:
    ok(round_, "compare_and_set", lambda call: call.result and call.arguments[2])[4].result = False


def affirm_what_was_refused(round_: Round) -> None:
    ok(round_, "compare_and_set", lambda call: not call.result and call.arguments[2])[4].result = True


def take_the_other_branch(round_: Round) -> None:
    call = ok(round_, "transact", lambda call: bool(call.arguments[0]))[2]
    call.result = msgspec.structs.replace(call.result, succeeded=not call.result.succeeded)


def answer_a_transaction_wrongly(round_: Round) -> None:
    call = ok(round_, "transact")[6]
    call.result = Txn(call.result.succeeded, call.result.results[:-1], call.result.revision, call.result.token)


def leave_a_key_out(round_: Round) -> None:
    call = ok(round_, "range", lambda call: len(call.result.items) > 1)[1]
    call.result = Range(call.result.items[1:], call.result.more, call.result.revision)


def count_wrongly(round_: Round) -> None:
    ok(round_, "count")[0].result = 77


def happen_late(round_: Round) -> None:
    """It was said to have happened long before it did."""
    call = ok(round_, "put", in_ledger)[80]
    assert call.completed is not None
    call.invoked -= 300 * STEP_NS
    call.completed -= 300 * STEP_NS


def happen_early(round_: Round) -> None:
    call = ok(round_, "put", in_ledger)[20]
    assert call.completed is not None
    call.invoked += 300 * STEP_NS
    call.completed += 300 * STEP_NS


def end_a_lease_early(round_: Round) -> None:
    revoked = {call.arguments[0] for call in round_.calls if call.f == "revoke"}
    call = ok(round_, "keep_alive", lambda call: call.result is not None and call.arguments[0] not in revoked)[5]
    round_.calls.append(
        Call("c9", "keep_alive", call.arguments, call.invoked + 1, None, Outcome.OK, call.invoked + 10 * STEP_NS)
    )


def refuse_a_lease_that_lives(round_: Round) -> None:
    revoked = {call.arguments[0] for call in round_.calls if call.f == "revoke"}
    call = ok(round_, "grant", lambda call: call.result.id not in revoked)[2]
    at = call.invoked + 10 * STEP_NS
    round_.calls.append(
        Call("c9", "put", (b"x", b"c9#1", call.result.id), at, None, Outcome.FAIL, at + 1, error="LeaseLost")
    )


def hand_out_an_old_lease(round_: Round) -> None:
    call = ok(round_, "grant")[-1]
    call.result = msgspec.structs.replace(call.result, id=1)


def miss_a_change(round_: Round) -> None:
    del round_.watched[0].told[40]


def miss_the_end(round_: Round) -> None:
    del round_.watched[1].told[-3:]


def tell_a_change_twice(round_: Round) -> None:
    told = round_.watched[0].told
    told.insert(41, told[40])


def tell_in_disorder(round_: Round) -> None:
    told = round_.watched[0].told
    told[40:42] = told[41:39:-1]


def begin_a_watch_in_the_past(round_: Round) -> None:
    watched = round_.watched[0]
    watched.after, watched.begun, watched.asked = None, 0, 500 * STEP_NS


def give_a_watch_up(round_: Round) -> None:
    round_.watched[0].error = "StateLost: ..."


def go_back_in_time(round_: Round) -> None:
    old, new = plain_gets(round_)[3], plain_gets(round_)[-3]
    for n, call in enumerate((new, old)):
        round_.calls.append(Call("stale/a/1", "stale get", call.arguments, n, call.result, Outcome.OK, n))


def have_another_item(round_: Round) -> None:
    round_.replicas[1].items = round_.replicas[1].items[1:]


def have_another_log(round_: Round) -> None:
    round_.replicas[2].log = round_.replicas[2].log[:-1]


def keep_a_lease_at_one_node(round_: Round) -> None:
    round_.replicas[2].leases = [ok(round_, "grant")[0].result]


def skip_a_revision(round_: Round) -> None:
    last = round_.log[-1]
    replaced = msgspec.structs.replace(last, revision=last.revision + 1)
    rewrite_log(round_, lambda log: [*log[:-1], replaced])


PLANTED: list[tuple[Callable[[Round], None], str]] = [
    (lose_a_write, "lost"),
    (lose_the_last_write, "lost"),
    (refuse_what_happened, "phantom"),
    (happen_twice, "doubled"),
    (tear_a_transaction, "torn"),
    (delete_what_nobody_deleted, "unknown"),
    (read_the_past, "answer"),
    (read_the_past, "linearizability"),
    (read_the_future, "answer"),
    (read_the_future, "linearizability"),
    (read_what_never_was, "answer"),
    (read_another_revision, "answer"),
    (number_a_write_wrongly, "answer"),
    (refuse_what_was_done, "phantom"),
    (affirm_what_was_refused, "lost"),
    (take_the_other_branch, "answer"),
    (answer_a_transaction_wrongly, "answer"),
    (leave_a_key_out, "answer"),
    (count_wrongly, "answer"),
    (happen_late, "answer"),
    (happen_early, "answer"),
    (end_a_lease_early, "lease"),
    (refuse_a_lease_that_lives, "lease"),
    (hand_out_an_old_lease, "token"),
    (miss_a_change, "watch"),
    (miss_the_end, "watch"),
    (tell_a_change_twice, "watch"),
    (tell_in_disorder, "watch"),
    (begin_a_watch_in_the_past, "watch"),
    (give_a_watch_up, "watch"),
    (go_back_in_time, "stale"),
    (have_another_item, "replicas"),
    (have_another_log, "replicas"),
    (keep_a_lease_at_one_node, "replicas"),
    (skip_a_revision, "log"),
]


@pytest.mark.parametrize(("plant", "kind"), PLANTED, ids=[f"{plant.__name__}-{kind}" for plant, kind in PLANTED])
def test_what_is_wrong_with_a_round_is_found(right: Round, plant: Callable[[Round], None], kind: str) -> None:
    spoilt = copy.deepcopy(right)
    plant(spoilt)
    assert kind in {violation.kind for violation in judge(spoilt)}


@pytest.mark.parametrize("error", ["OutcomeUnknown", "TimeoutError"])
def test_a_deletion_may_be_that_of_a_call_whose_outcome_is_unknown(right: Round, error: str) -> None:
    """Found by a short soak on a busy machine."""
    deleted = copy.deepcopy(right)
    delete_what_nobody_deleted(deleted)
    key = deleted.log[-1].key
    kinds = [violation.kind for violation in judge(deleted)]
    deleted.calls.append(Call("c0", "delete_range", (key, None), deleted.calls[-1].invoked, error=error))
    assert kinds.count("unknown") == 1
    assert "unknown" not in [violation.kind for violation in judge(deleted)]
