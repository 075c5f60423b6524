"""What the store refuses, and what it says about it; tokens and leases (SCENARIOS 32, 34)."""

from typing import Any

import pytest

from phalanx.errors import LeaseLost, Quota, Refused, TooLarge
from phalanx.model.clock import MILLISECOND, stamp_of
from phalanx.model.replicated import Context
from phalanx.replication.objects import describe
from phalanx.services.store import limits
from phalanx.services.store import values as v
from phalanx.services.store.kv import KV
from phalanx.services.store.values import Event, Put, Range, Versioned


def at(ms: int) -> Context:
    return Context(stamp_of(ms * MILLISECOND), "test", 0, stamp_of(ms * MILLISECOND))


def test_a_range_stops_at_its_limits_and_says_so() -> None:
    store = KV()
    for key in (b"a", b"b", b"c"):
        store.put(key, b"v" * (limits.RANGE_BYTES_MAX // 2))
    assert [key for key, _ in store.range(b"a", b"c").items] == [b"a"]
    assert store.range(b"b", b"c", 1) == Range([(b"b", store.range(b"b").items[0][1])], False, 3)
    assert store.range(limit=1).more and not store.range(b"c").more
    assert store.range(b"b", b"a").items == [] and store.count(b"b", b"a") == 0


def test_quotas_refuse_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = KV()
    store.put(b"k", b"v")
    before = list(store.snapshot_slices(1 << 20))
    with pytest.raises(TooLarge, match="key"):
        store.put(b"k" * (limits.KEY_BYTES_MAX + 1), b"")
    with pytest.raises(TooLarge, match="value"):
        store.compare_and_set(b"k", b"v", b"v" * (limits.VALUE_BYTES_MAX + 1))
    monkeypatch.setattr(limits, "STORE_BYTES_MAX", 10)
    with pytest.raises(Quota, match="bytes"):
        store.put(b"x", b"v" * 10)
    monkeypatch.setattr(limits, "KEYS_MAX", 1)
    with pytest.raises(Quota, match="2 keys"):
        store.transact((), (Put(b"k", b"w"), Put(b"x", b"")))
    assert list(store.snapshot_slices(1 << 20)) == before
    assert store.transact((), (v.Delete(b"k"), Put(b"x", b"v" * 9))).revision == 2
    monkeypatch.setattr(limits, "STORE_BYTES_MAX", 5)
    assert store.put(b"x", b"v" * 9) == 3, "what does not grow is let in even above the limit"


def test_a_transaction_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    store = KV()
    with pytest.raises(TooLarge, match="128"):
        store.transact(tuple(v.Exists(b"k") for _ in range(129)), ())
    with pytest.raises(TooLarge, match="4 scans"):
        store.transact((), tuple(v.Scan(b"", None) for _ in range(5)))
    store.put(b"k", b"v" * limits.VALUE_BYTES_MAX)
    with pytest.raises(TooLarge, match="answer"):
        store.transact((), tuple(v.Get(b"k") for _ in range(9)))
    monkeypatch.setattr(limits, "DELETE_KEYS_MAX", 1)
    store.put(b"l", b"")
    for delete in (v.DeleteRange(b"", None),), (v.Delete(b"k"), v.Delete(b"l")):
        with pytest.raises(TooLarge, match="in parts"):
            store.transact((), delete)
    with pytest.raises(TooLarge, match="in parts"):
        store.delete_range()
    assert store.count() == 2 and store.revision() == 2


@pytest.mark.parametrize(
    "branch",
    [
        (Put(b"k", b""), Put(b"k", b"")),
        (Put(b"k", b""), v.Delete(b"k")),
        (Put(b"k", b""), v.DeleteRange(b"a", b"z")),
        (v.DeleteRange(b"a", b"k"), v.DeleteRange(b"b", None)),
    ],
)
def test_a_transaction_changes_no_key_twice_in_whichever_branch(branch: tuple[v.Operation, ...]) -> None:
    store = KV()
    for branches in ((branch, ()), ((), branch)):
        with pytest.raises(Refused, match="twice"):
            store.transact((), *branches)
    assert store.revision() == 0


def test_what_is_appended_sorts_in_the_order_in_which_it_came_and_takes_the_place_of_nothing() -> None:
    store = KV()
    keys = []
    for number in range(40):
        done = store.transact((), (v.Append(b"q/", b"%d" % number), v.Get(b"x"), v.Append(b"q/", b"%d." % number)))
        first, _, second = done.results
        assert isinstance(first, v.Appended)
        assert isinstance(second, v.Appended)
        keys += [first.key, second.key]
        assert {len(key) for key in keys} == {len(b"q/") + 18}
        if number % 3 == 0:
            assert store.delete(first.key)
    assert keys == sorted(set(keys))
    with pytest.raises(Refused, match="twice"):
        store.transact((), (v.DeleteRange(b"q/", None), v.Append(b"q/", b"")))
    looks_like_the_next = v.Put(b"q/%016x%02x" % (store.revision() + 2, 0), b"mine")
    store.transact((), (looks_like_the_next,))
    before = store.revision()
    with pytest.raises(Refused, match="is there already: somebody put a key that looks like one that is appended"):
        store.transact((), (v.Append(b"q/", b""),))
    with pytest.raises(TooLarge, match="a key of"):
        store.transact((), (v.Append(b"k" * (limits.KEY_BYTES_MAX - 17), b""),))
    with pytest.raises(LeaseLost):
        store.transact((), (v.Append(b"r/", b"", 7),))
    kept = store.get(looks_like_the_next.key)
    assert kept is not None
    assert (store.revision(), kept.value) == (before, b"mine")


def test_a_limit_lets_one_get_on() -> None:
    store = KV()
    with pytest.raises(Refused, match="at least 1"):
        store.range(limit=0)
    with pytest.raises(Refused, match="at least 1"):
        store.transact((), (v.Scan(b"", None, 0),))
    assert store.leases(limit=-1) == []


def test_a_transaction_sees_its_own_changes_in_order() -> None:
    store = KV()
    done = store.transact((), (v.Get(b"k"), Put(b"k", b"v"), v.Get(b"k"), v.Scan(b"", None)))
    item = Versioned(b"v", 1, 1, 1)
    assert done.results == [v.Found(None), v.Written(1, 1), v.Found(item), v.Scanned(Range([(b"k", item)], False, 1))]


def test_a_value_compare_is_never_true_of_an_absent_key() -> None:
    """As etcd has it."""
    store = KV()
    ops: list[v.Op] = ["==", "!=", "<", ">"]
    for op in ops:
        assert not store.transact((v.Value(b"k", op, b""),), ()).succeeded


def test_the_history_is_bounded_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_EVENTS_MAX", 3)
    store = KV()
    for _ in range(10):
        store.put(b"k", b"v")
    assert [event.revision for event in store.history(b"k")] == [8, 9, 10]
    assert store.info().compacted == 8
    monkeypatch.setattr(limits, "HISTORY_BYTES_MAX", 5)
    store.put(b"k", b"v")
    assert [event.revision for event in store.history(b"k")] == [10, 11]
    assert store.info().history_bytes == 4


def test_the_history_is_bounded_by_age() -> None:
    store = KV()
    for second in range(10):
        store.put(b"k", b"v", context=at(1_000_000 + second * 1_000))
    assert store.retain(5_000, context=at(1_009_000)) == 5
    store.put(b"k", b"v", context=at(1_011_000))
    assert store.info().compacted == 7
    with pytest.raises(Refused, match="no time"):
        store.retain(-1)


def test_tokens_grow_even_if_the_group_is_lost_and_founded_anew() -> None:
    """SCENARIOS 32: tokens are made of the time of the first change, and of revisions."""
    old = KV()
    tokens = [old.transact((), (Put(b"k", b""),), context=at(1_000 + n // 100)).token for n in range(1_000)]
    new = KV()
    tokens.append(new.transact((), (Put(b"k", b""),), context=at(2_000)).token)
    assert tokens == sorted(set(tokens))


# --- leases -------------------------------------------------------------------------------------------------------


def test_the_keys_of_a_lease_go_in_one_revision_when_nobody_keeps_it_alive() -> None:
    """SCENARIOS 34."""
    store = KV()
    lease = store.grant(3_000, context=at(10_000)).id
    for key in (b"b", b"a", b"c"):
        store.put(key, b"", lease, context=at(10_000))
    store.put(b"c", b"", context=at(10_000))
    now = 10_000
    while (due := store.due_ms()) is not None:
        now = due
        store.tick(at(now))
    assert now == 13_000, "ticked when it is due, a lease lasts as long as it says"
    assert store.range().items == [(b"c", Versioned(b"", 3, 4, 2))]
    assert {(event.revision, event.index) for key in (b"a", b"b") for event in store.history(key)[1:]} == {
        (5, 0),
        (5, 1),
    }
    with pytest.raises(LeaseLost, match="no lease"):
        store.put(b"a", b"", lease)
    assert store.keep_alive(lease) is None and not store.revoke(lease) and store.lease(lease) is None


def test_an_outage_alone_ends_no_lease() -> None:
    """Nobody could have kept it alive while nothing was ordered."""
    store = KV()
    lease = store.grant(3_000, context=at(10_000)).id
    store.tick(at(99_000))
    assert store.lease(lease) == v.LeaseInfo(lease, 3_000, 2_000)
    store.tick(at(99_500))
    assert store.lease(lease) == v.LeaseInfo(lease, 3_000, 1_500)
    assert store.keep_alive(lease, context=at(99_600)) == v.LeaseInfo(lease, 3_000, 3_000)


def test_leases_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    store = KV()
    for ttl in (limits.TTL_MS_LEAST - 1, limits.TTL_MS_MOST + 1):
        with pytest.raises(Refused, match="lasts from"):
            store.grant(ttl)
    monkeypatch.setattr(limits, "LEASES_MAX", 1)
    monkeypatch.setattr(limits, "LEASE_KEYS_MAX", 1)
    lease = store.grant(1_000, context=at(1)).id
    with pytest.raises(Quota, match="1 leases"):
        store.grant(1_000, context=at(2))
    store.put(b"k", b"", lease)
    store.put(b"k", b"again", lease)
    with pytest.raises(Quota, match="up to 1 keys"):
        store.put(b"l", b"", lease)
    assert store.leases() == [v.LeaseInfo(lease, 1_000, 1_000)] and store.leases(after=lease) == []


def test_the_store_is_replicable_and_needs_no_undo() -> None:
    described: Any = describe(KV)
    assert not described.undoes and described.tick is not None


def test_a_history_entry_says_what_was_before() -> None:
    store = KV()
    store.put(b"k", b"1", context=at(5))
    store.delete(b"k", context=at(6))
    one = Versioned(b"1", 1, 1, 1)
    assert store.history(b"k") == [Event(b"k", 1, 0, 5, one, None), Event(b"k", 2, 0, 6, None, one)]
    assert store.history(b"k", limit=1) == [Event(b"k", 2, 0, 6, None, one)]
