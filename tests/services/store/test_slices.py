"""Snapshots of the store in slices with commands in between: what a whole one was when it began (SCENARIOS 38)."""

import random
from collections.abc import Generator, Iterable, Iterator

import pytest

from phalanx.model.clock import MILLISECOND, stamp_of
from phalanx.model.replicated import Context
from phalanx.services.store import frozen
from phalanx.services.store.frozen import Frozen
from phalanx.services.store.kv import KV

KEYS = [b"key %02d" % n for n in range(40)]


def restored(slices: Iterable[bytes | None]) -> KV:
    store = KV()
    for data in given(slices):
        store.restore_slice(data)
    return store


def given(slices: Iterable[bytes | None]) -> list[bytes]:
    return [data for data in slices if data is not None]


class History:
    """Random commands of one store."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.store = KV()
        self.now = 1_000_000

    def step(self) -> None:
        rng, store = self.rng, self.store
        self.now += rng.choice((0, 1, 500, 5_000))
        context = Context(stamp_of(self.now * MILLISECOND), "test", 0, stamp_of(self.now * MILLISECOND) + self.now)
        due = store.due_ms()
        if due is not None and due <= self.now:
            store.tick(context)
        key, value = rng.choice(KEYS), rng.randbytes(rng.choice((0, 3, 300)))
        leases = [lease.id for lease in store.leases()]
        match rng.randrange(12):
            case 0 | 1:
                store.delete(key, context=context)
            case 2:
                store.delete_range(key, rng.choice(KEYS), context=context)
            case 3:
                store.compact(rng.randint(store.info().compacted, store.revision()))
            case 4 if leases and rng.random() < 0.5:
                store.revoke(rng.choice(leases), context=context)
            case 4 | 5 if context.token not in leases:
                store.grant(rng.choice((1_000, 60_000)), context=context)
            case 6 if leases:
                store.keep_alive(rng.choice(leases), context=context)
            case 6 if rng.random() < 0.2:
                store.recovered(context)
            case 7:
                store.retain(rng.choice((0, 20_000, 10_000_000)), context=context)
            case _:
                store.put(key, value, rng.choice([0, 0, *leases]), context=context)


def interleave(seed: int) -> None:
    """Several snapshots at a time, begun and read whenever the dice say; some are left unfinished."""
    history = History(seed)
    rng = history.rng
    under_way: list[tuple[Iterator[bytes | None], list[bytes | None], list[bytes], bytes]] = []
    for _ in range(rng.choice((20, 80, 150))):
        history.step()
        if rng.random() < 0.1:
            size = rng.choice((1, 300, 2_000))
            whole, digest = given(history.store.snapshot_slices(size)), history.store.digest()
            slices = history.store.snapshot_slices(size)
            under_way.append((slices, [next(slices)], whole, digest))
        for slices, found, _, _ in under_way:
            if rng.random() < 0.5 and (data := next(slices, None)) is not None:
                found.append(data)
    for slices, found, whole, digest in under_way:
        found += slices
        assert given(found) == whole, f"seed {seed}"
        assert restored(found).digest() == digest, f"seed {seed}"
    copy = restored(history.store.snapshot_slices(500))
    assert copy.digest() == history.store.digest() and copy.info() == history.store.info()
    oldest = max(copy.info().compacted - 1, copy._index.loaded)
    assert copy.events_after(oldest) == history.store.events_after(oldest)


@pytest.mark.parametrize("block", range(10))
def test_a_snapshot_in_slices_is_the_whole_one_of_the_moment_it_began(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        interleave(seed)


def test_it_is_so_wherever_keys_that_came_later_make_a_turn_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "PASSED_MAX", 1)
    for seed in range(1_000, 1_200):
        interleave(seed)


def test_many_keys_that_came_later_are_passed_over_in_many_turns() -> None:
    """They need not be beyond the last: here they are between two."""
    store = KV()
    for key in (b"a", b"z"):
        store.put(key, b"1")
    whole, slices = list(store.snapshot_slices(1)), store.snapshot_slices(1)
    found = [next(slices), next(slices)]
    assert found[-1] is not None and b"a" in found[-1]
    for n in range(5 * frozen.PASSED_MAX):
        store.put(b"between %d" % n, b"")
    store.put(b"z", b"2")
    found += slices
    assert found.count(None) == 5 and given(found) == whole


def test_keys_beyond_the_last_cost_a_snapshot_nothing() -> None:
    """As when a store is filled in the order of its keys, by as many writes as there is time for."""
    store = KV()
    store.put(b"a", b"1")
    whole, slices = list(store.snapshot_slices(1)), store.snapshot_slices(1)
    found = [next(slices)]
    for n in range(3 * frozen.PASSED_MAX):
        store.put(b"b %d" % n, b"1")
        store.put(b"b %d" % n, b"2")
    assert not len(store._index._frozen[0]._before)
    found += slices
    assert found == whole and None not in found


def test_a_store_that_forgets_what_was_overwritten_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Frozen, "keep", lambda *_: None)
    with pytest.raises((AssertionError, KeyError)):
        for seed in range(100):
            interleave(seed)


def test_a_snapshot_that_is_given_up_costs_nothing_more() -> None:
    store = KV()
    for key in KEYS:
        store.put(key, b"1")
    kept = store.snapshot_slices(1)
    assert isinstance(kept, Generator)
    next(kept)
    assert len(store._index._frozen) == 1
    kept.close()
    store.put(KEYS[0], b"2")
    assert store._index._frozen == []


def test_slices_are_as_small_as_asked_and_none_is_taken_of_more_than_it_needs() -> None:
    """A slice holds one item more than fits at most; that bounds what one turn of the loop costs."""
    store = KV()
    for n in range(1_000):
        store.put(b"%04d" % n, bytes(100))
    sizes = [len(data) for data in given(store.snapshot_slices(10_000))]
    assert max(sizes) < 10_000 and len(sizes) > 20
