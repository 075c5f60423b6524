"""services.store.shards against a plain dictionary that is sorted for every question."""

import gc
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phalanx.services.store.history import TRIM
from phalanx.services.store.index import Index
from phalanx.services.store.shards import SHARDS, Shards
from phalanx.services.store.values import Versioned

KEYS = st.binary(max_size=3)


def compare(shards: Shards[int], twin: dict[bytes, int], key: bytes, end: bytes | None) -> None:
    """Every question about these two keys has the same answer."""
    order = sorted(twin)
    assert len(shards) == len(twin)
    assert (key in shards, shards.get(key)) == (key in twin, twin.get(key))
    assert shards.last == (order[-1] if order else None)
    assert shards.before(key) == sum(other < key for other in order) and shards.before(None) == len(order)
    assert list(shards.keys(key, end)) == [other for other in order if key <= other and (end is None or other < end)]
    assert list(shards.items(key, end)) == [(other, twin[other]) for other in shards.keys(key, end)]
    assert list(shards.keys_after(key)) == [other for other in order if other > key]
    assert list(shards.keys_after(None)) == order
    assert [shards[other] for other in order] == [twin[other] for other in order]


@given(st.lists(st.tuples(KEYS, st.integers() | st.none(), KEYS | st.none())))
def test_any_sequence_of_changes_leaves_what_a_sorted_dictionary_would_be(
    steps: list[tuple[bytes, int | None, bytes | None]],
) -> None:
    """A step sets a key, or removes it (None); one that is not there cannot be removed."""
    shards, twin = Shards[int](), dict[bytes, int]()
    for key, value, end in steps:
        if value is not None:
            shards[key] = twin[key] = value
        elif key in twin:
            del shards[key], twin[key]
        else:
            with pytest.raises(KeyError):
                del shards[key]
            with pytest.raises(KeyError):
                shards[key]
        compare(shards, twin, key, end)


def test_many_keys_come_and_go_in_any_order() -> None:
    """Enough of them for the lists of the order to be parted and joined, and for every dictionary to grow."""
    rng = random.Random(1)
    shards, twin = Shards[int](), dict[bytes, int]()
    keys = [rng.randbytes(rng.randint(1, 9)) for _ in range(20_000)]
    for n, key in enumerate(keys):
        shards[key] = twin[key] = n
    compare(shards, twin, rng.choice(keys), rng.choice(keys))
    for key in rng.sample(sorted(twin), len(twin) - 500):
        del shards[key], twin[key]
    compare(shards, twin, rng.choice(keys), rng.choice(keys))
    for key in sorted(twin):
        del shards[key], twin[key]
    compare(shards, twin, b"", None)


def test_keys_that_differ_only_in_their_last_digits_are_spread_over_all_dictionaries() -> None:
    """Else one of them would be the large one after all."""
    shards = Shards[int]()
    for n in range(100 * SHARDS):
        shards[b"/registry/pods/default/%012d" % n] = n
    sizes = [len(shard) for shard in shards._shards]
    assert len(sizes) == SHARDS and min(sizes) > 50 and max(sizes) < 200


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="every dictionary belongs to the collector")
def test_the_collector_need_not_look_into_the_present_keys_of_a_store() -> None:
    shards = Shards[Versioned]()
    for n in range(10_000):
        shards[b"%d" % n] = Versioned(b"", n, n, 1, 0)
    assert not any(gc.is_tracked(shard) for shard in shards._shards)


def test_what_compaction_forgets_is_let_go_at_once() -> None:
    """Though the log's list is cut only now and then: values may be large."""
    index, value = Index(), b"a value of its own" * 10
    held = sys.getrefcount(value)
    for n in (1, 2):
        index.begin(n)
        index.put(b"key", value if n == 1 else b"", 0)
    index.compact(1)
    assert sys.getrefcount(value) > held
    index.compact(2)
    assert index.revision < TRIM and sys.getrefcount(value) > held  # it is what was there before the last change
    index.begin(3)
    index.put(b"key", b"", 0)
    index.compact(3)
    assert sys.getrefcount(value) == held
