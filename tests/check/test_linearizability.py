"""The linearizability checker against the literature, against a brute-force twin, and at size."""

import random
from typing import Any

import pytest

from phalanx.check import (
    Answer,
    CasRegister,
    Kv,
    KvCas,
    MalformedOperation,
    Model,
    MultiRegister,
    Mutex,
    Register,
    check_linearizable,
)
from phalanx.check.explanation import Explanation
from phalanx.check.linearizability import Part, as_pending, partition, returns, search_part
from phalanx.model.history import Operation, Outcome
from tests.check.brute_force import can_be_ordered
from tests.check.clients import (
    Draw,
    Effect,
    cell_effect,
    draw_cas_register,
    draw_kv,
    draw_kv_cas,
    draw_marked,
    draw_mutex,
    draw_texts,
    draw_transaction,
    draw_unique,
    op,
    record,
    transaction_effect,
)


def begun_effect(store: dict[Any, Any], f: str, key: Any, argument: Any) -> tuple[bool, Any]:
    """A store in which every key has the value "1" at first."""
    store.setdefault(key, "1")
    return cell_effect(store, f, key, argument)


WORLDS: list[tuple[Model[Any], Draw, Effect]] = [
    (CasRegister(), draw_cas_register, cell_effect),
    (Register(), draw_unique, cell_effect),
    (Kv(null_read="absent"), draw_kv, cell_effect),
    (Kv(null_read="absent"), draw_texts, cell_effect),
    (Kv(initial="1"), draw_texts, begun_effect),
    (KvCas(), draw_kv_cas, cell_effect),
    (Mutex(), draw_mutex, cell_effect),
    (MultiRegister(), draw_transaction, transaction_effect),
]
NAMES = [f"{model.name}-{draw.__name__}-{effect.__name__}" for model, draw, effect in WORLDS]


def ok(history: list[Operation], model: Model[Any] | None = None) -> bool | None:
    return check_linearizable(history, model or Register()).ok


# --- known histories ------------------------------------------------------------------------------------------------


def test_overlapping_operations_may_take_effect_in_either_order() -> None:
    """Herlihy and Wing 1990, section 1: the register's H6-like history with a write that overlaps two reads."""
    write = op(0, "write", 1, None, 1, 8)
    assert ok([write, op(1, "read", None, 0, 2, 3), op(1, "read", None, 1, 4, 5)], Register(initial=0))
    assert not ok([write, op(1, "read", None, 1, 2, 3), op(1, "read", None, 0, 4, 5)], Register(initial=0))


def test_a_read_after_a_write_returned_sees_it() -> None:
    """Herlihy and Wing 1990: the real-time order is what sequential consistency lacks."""
    assert not ok([op(0, "write", 1, None, 1, 2), op(1, "read", None, 0, 3, 4)], Register(initial=0))


def test_linearizability_is_local() -> None:
    """Herlihy and Wing 1990, theorem 1: sequentially consistent per key, yet not linearizable in one of them."""
    fine = [op(0, "write", 1, None, 1, 2, "x"), op(0, "read", None, 1, 3, 4, "x")]
    stale = [op(1, "write", 1, None, 1, 2, "y"), op(1, "read", None, None, 3, 4, "y")]
    assert ok(fine)
    verdict = check_linearizable(fine + stale, Register())
    assert (verdict.ok, verdict.parts, verdict.parts_failed) == (False, 2, 1)
    assert verdict.explanation is not None
    assert verdict.explanation.keys == ("y",)


def test_a_pending_write_may_take_effect_long_after_its_client_gave_up_but_only_once() -> None:
    """Jepsen's etcd analysis: an indeterminate write is concurrent with everything after it."""
    late = [op(0, "write", 1, None, 1, None), op(1, "write", 2, None, 2, 3), op(1, "read", None, 2, 4, 5)]
    assert ok([*late, op(1, "read", None, 1, 6, 7)])
    assert not ok([*late, op(1, "read", None, 1, 6, 7), op(1, "read", None, 2, 8, 9)])


def test_which_of_two_pending_operations_explains_a_value_is_left_open() -> None:
    """Lowe 2017: configurations that agree in the state still differ in what has taken effect."""
    pending = [op(0, "write", 1, None, 1, None), op(1, "cas", [0, 1], None, 2, None)]
    seen = [op(2, "read", None, 1, 3, 4), op(2, "write", 2, None, 5, 6), op(2, "read", None, 1, 7, 8)]
    assert ok(pending + seen, CasRegister(initial=0))
    assert ok(pending[::-1] + seen, CasRegister(initial=0))
    assert not ok([*pending, *seen, op(2, "write", 0, None, 9, 10), op(2, "read", None, 1, 11, 12)], CasRegister(0))


def test_a_failed_operation_never_happened() -> None:
    assert not ok([op(0, "write", 1, None, 1, 2, how="fail"), op(1, "read", None, 1, 3, 4)])


def test_a_failed_cas_is_nothing_or_an_observation() -> None:
    history = [op(0, "write", 1, None, 1, 2), op(0, "cas", [1, 2], None, 3, 4, how="fail")]
    assert ok(history, CasRegister())
    assert not ok(history, CasRegister(failed_cas="observed"))
    assert ok([*history, op(1, "write", 3, None, 2, None)], CasRegister(failed_cas="observed"))


def test_a_read_of_null_saw_no_value_or_is_not_known() -> None:
    history = [op(0, "write", 1, None, 1, 2), op(0, "read", None, None, 3, 4)]
    assert not ok(history, Register(null_read="absent"))
    assert ok(history, Register(null_read="unknown"))


def test_true_is_not_one_and_one_is_one_point_zero() -> None:
    assert not ok([op(0, "write", 1, None, 1, 2), op(0, "read", None, True, 3, 4)])
    assert ok([op(0, "write", 1, None, 1, 2), op(0, "read", None, 1.0, 3, 4)])
    assert not ok([op(0, "write", 2**53 + 1, None, 1, 2), op(0, "read", None, float(2**53), 3, 4)])
    assert not ok([op(0, "write", [1, [True]], None, 1, 2), op(0, "read", None, [1, [1]], 3, 4)])


def test_a_lock_is_not_granted_twice() -> None:
    """Knossos, mutex."""
    first = op(0, "acquire", None, None, 1, 2)
    assert not ok([first, op(1, "acquire", None, None, 3, 4)], Mutex())
    assert ok([first, op(0, "release", None, None, 3, 6), op(1, "acquire", None, None, 4, 5)], Mutex())
    assert ok([first, op(0, "release", None, None, 3, None), op(1, "acquire", None, None, 4, 5)], Mutex())
    assert not ok([op(0, "acquire", None, None, 1, 2)], Mutex(initial=True))


def test_appends_are_seen_in_one_order() -> None:
    """The key-value model of the Raft labs."""
    appends = [op(0, "append", "a", None, 1, 4, "k"), op(1, "append", "b", None, 2, 3, "k")]
    assert ok([*appends, op(2, "get", None, "ba", 5, 6, "k"), op(2, "get", None, "", 1, 2, "j")], Kv())
    assert not ok([*appends, op(2, "get", None, "ab", 5, 6, "k"), op(3, "get", None, "ba", 5, 6, "k")], Kv())
    assert not ok([*appends, op(2, "get", None, "a", 5, 6, "k")], Kv())


def test_transactions_are_atomic_over_their_keys() -> None:
    """Knossos, multi-register: a fractured read."""
    write = op(0, "txn", [["w", "x", 1], ["w", "y", 1]], [["w", "x", 1], ["w", "y", 1]], 1, 6)
    asked = [["r", "x", None], ["r", "y", None]]
    assert ok([write, op(1, "txn", asked, [["r", "x", 1], ["r", "y", 1]], 2, 3)], MultiRegister(initial=0))
    assert not ok([write, op(1, "txn", asked, [["r", "x", 1], ["r", "y", 0]], 2, 3)], MultiRegister(initial=0))
    assert ok([op(1, "txn", asked, [["r", "x", 3], ["r", "y", 4]], 2, 3)], MultiRegister(initial={"x": 3, "y": 4}))


def test_a_transaction_sees_its_own_writes() -> None:
    asked = [["w", "x", 1], ["r", "x", None]]
    assert ok([op(0, "txn", asked, [["w", "x", 1], ["r", "x", 1]], 1, 2)], MultiRegister())
    assert not ok([op(0, "txn", asked, [["w", "x", 1], ["r", "x", None]], 1, 2)], MultiRegister())
    with pytest.raises(MalformedOperation, match="was completed as"):
        ok([op(0, "txn", asked, [["w", "x", 1], ["r", "y", 1]], 1, 2)], MultiRegister())


def test_keys_that_a_transaction_ties_together_are_one_part() -> None:
    tie = op(0, "txn", [["w", "x", 1], ["w", "y", 1]], None, 1, 2)
    alone = op(0, "txn", [["w", "z", 1]], None, 3, 4)
    parts = partition([tie, alone, op(1, "txn", [["w", "y", 2]], None, 3, 4)], MultiRegister())
    assert [len(part.operations) for part in parts] == [2, 1]


def test_an_operation_that_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(MalformedOperation, match='no operation "cas"'):
        ok([op(0, "cas", [1, 2], None, 1, 2)])


# --- the dumb twin --------------------------------------------------------------------------------------------------


def mutated(rng: random.Random, history: list[Operation]) -> list[Operation]:
    """The history with one result, or one interval, changed."""
    index = rng.randrange(len(history))
    victim = history[index]
    if victim.f == "txn" and victim.result is not None and rng.random() < 0.8:
        result = [[f, key, rng.randrange(3) if f == "r" else value] for f, key, value in victim.result]
        return [*history[:index], victim._replace(result=result), *history[index + 1 :]]
    donors = [each.result for each in history if each.f == victim.f and each.f in ("read", "get")]
    if donors and rng.random() < 0.7:
        changed = victim._replace(result=rng.choice(donors))
    elif victim.outcome is Outcome.FAIL:
        changed = victim._replace(outcome=Outcome.OK)
    elif victim.completed is not None:
        changed = victim._replace(completed=rng.randint(victim.invoked, victim.completed))
    else:
        changed = victim._replace(outcome=Outcome.FAIL)
    return [*history[:index], changed, *history[index + 1 :]]


@pytest.mark.parametrize(("model", "draw", "effect"), WORLDS, ids=NAMES)
def test_the_search_agrees_with_trying_every_order(model: Model[Any], draw: Draw, effect: Effect) -> None:
    rng = random.Random(model.name)
    answers = set()
    for _ in range(1000):
        history = mutated(rng, record(rng, draw, effect, rng.randint(2, 7), 4, info=0.3))
        expected = can_be_ordered(history, effect)
        answers.add(expected)
        assert ok(history, model) is expected, history
    assert answers == {True, False}


@pytest.mark.parametrize(("model", "draw", "effect"), WORLDS, ids=NAMES)
def test_foresight_changes_no_answer(model: Model[Any], draw: Draw, effect: Effect) -> None:
    rng = random.Random(model.name)
    for _ in range(100):
        history = mutated(rng, record(rng, draw, effect, 16, 4, info=0.15))
        for part in partition(history, model):
            plain = search_part(part, model, 100_000, foresight=False)
            assert search_part(part, model, 100_000).answer is plain.answer, history


# --- explanations ---------------------------------------------------------------------------------------------------


def test_what_has_nothing_to_do_with_a_stale_read_is_not_in_its_explanation() -> None:
    rng = random.Random(7)
    noise = record(rng, draw_unique, cell_effect, 300, 5)
    end = 10_000
    first, second = op(90, "write", "a", None, end, end + 1), op(91, "write", "b", None, end + 2, end + 3)
    stale = op(92, "read", None, "a", end + 4, end + 5)
    explanation = check_linearizable([*noise, first, second, stale], Register()).explanation
    assert explanation is not None
    assert explanation.operations == (stale,)
    assert explanation.anchor == second
    assert explanation.states == ("b",)


@pytest.mark.parametrize(("model", "draw", "effect"), WORLDS, ids=NAMES)
def test_an_explanation_cannot_be_ordered_and_nothing_in_it_can_be_spared(
    model: Model[Any], draw: Draw, effect: Effect
) -> None:
    rng = random.Random(model.name)
    found = 0
    for _ in range(200):
        history = mutated(rng, record(rng, draw, effect, 12, 4))
        explanation = check_linearizable(history, model).explanation
        if explanation is None:
            continue
        found += 1
        assert all(each in history for each in explanation.operations)
        assert can_be_explained(explanation, explanation.forgotten, model) is Answer.VIOLATION
        for index in frozenset(range(len(explanation.operations))) - explanation.forgotten:
            if returns(explanation.operations[index]):
                weaker = explanation.forgotten | {index}
                assert can_be_explained(explanation, weaker, model) is Answer.LINEARIZABLE
    assert found > 5


def can_be_explained(explanation: Explanation, forgotten: frozenset[int], model: Model[Any]) -> Answer:
    """Judge an explanation on its own, without the returns of some operations."""
    kept = [as_pending(each) if i in forgotten else each for i, each in enumerate(explanation.operations)]
    effective = tuple(each for each in kept if model.action(each) is not None)
    return search_part(Part(frozenset(explanation.keys), explanation.start, effective), model, 100_000).answer


# --- size -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [draw_cas_register, draw_unique])
def test_thousands_of_operations_with_hundreds_pending_on_one_key(draw: Draw) -> None:
    history = record(random.Random(1), draw, cell_effect, 5000, 10, info=0.06)
    assert sum(each.outcome is Outcome.INFO for each in history) > 200
    assert ok(history, CasRegister())


def test_thirty_processes_write_different_values() -> None:
    history = record(random.Random(2), draw_unique, cell_effect, 3000, 30, info=0.1)
    assert ok(history)
    last = max(each.completed or 0 for each in history)
    old = next(each for each in history if each.f == "read" and each.result is not None and each.outcome == "ok")
    assert ok([*history, op(99, "read", None, old.result, last + 1, last + 2)]) is False


def test_thirty_processes_append_to_one_text() -> None:
    """What is appended names its place: without that such a history is beyond any budget."""
    history = record(random.Random(4), draw_marked, cell_effect, 600, 30, info=0.05)
    assert ok(history, Kv())
    index = max(i for i, each in enumerate(history) if each.f == "get" and each.outcome == "ok" and each.result)
    text = history[index].result.rstrip(" ")[:-1]
    [part] = partition([*history[:index], history[index]._replace(result=text), *history[index + 1 :]], Kv())
    assert search_part(part, Kv(), 100_000).answer is Answer.VIOLATION


def test_an_append_that_two_results_place_differently_has_no_place() -> None:
    first, second = (op(p, "append", text, None, 1, 9) for p, text in ((1, "a"), (2, "b")))
    one, other = op(3, "get", None, "ab", 2, 8), op(4, "get", None, "ba", 2, 8)
    assert ok([first, second, one], Kv())
    assert ok([first, second, other], Kv())
    assert ok([first, second, one, other], Kv()) is False


def test_of_operations_that_do_the_same_the_first_to_return_goes_first() -> None:
    """Twelve concurrent appends of the same text: one order of them is enough."""
    history = [op(p, "append", "a", None, 0, 100 + p) for p in range(12)]
    history += [op(20 + n, "get", None, "a" * n, 1 + 2 * n, 2 + 2 * n) for n in range(13)]
    verdict = check_linearizable(history, Kv())
    assert verdict.ok
    assert verdict.explored < 50


def test_a_search_beyond_its_budget_is_unknown() -> None:
    history = record(random.Random(3), draw_cas_register, cell_effect, 200, 8)
    verdict = check_linearizable(history, CasRegister(), budget=10)
    assert (verdict.ok, verdict.answer) == (None, Answer.UNKNOWN)
