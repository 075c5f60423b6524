"""What is forgotten cannot be asked for at once, and is freed little by little."""

import pytest

from phalanx.services.store import limits
from phalanx.services.store.history import SWEEP, SWEEP_EACH, TRIM
from phalanx.services.store.index import Index

VALUE = 1_000


def put(index: Index, key: bytes, time_ms: int = 0) -> None:
    index.begin(time_ms)
    index.put(key, bytes(VALUE), 0)
    index.shed(0)


def held(index: Index) -> int:
    """How many changes are not freed."""
    history = index._history
    return len(history._log) - history._freed


def test_a_compaction_frees_a_few_and_every_change_after_it_some_more() -> None:
    index = Index()
    for n in range(2_000):
        put(index, b"%d" % (n % 100))
    index.compact(2_000)
    assert index.history_bytes == VALUE + 2
    assert index.latest(b"98", 2) == [] and len(index.latest(b"99", 2)) == 1
    assert held(index) == 2_000 - SWEEP
    put(index, b"1")
    assert held(index) == 2_000 - 2 * SWEEP - SWEEP_EACH + 1
    for _ in range(2_000 // SWEEP):
        put(index, b"1")
    assert held(index) == 2_000 // SWEEP + 2


def test_revisions_of_many_keys_free_what_they_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_EVENTS_MAX", 1_500)
    index = Index()
    for n in range(50):
        index.begin(n)
        for key in range(1_000):
            index.put(b"%d" % key, b"", 0)
        index.shed(0)
        assert held(index) <= 3_000
    assert index.compacted == 50 and len(index._history._log) <= 3_000 + TRIM


def test_what_an_hour_has_brought_goes_when_something_is_ordered_after_it() -> None:
    index = Index()
    for n in range(300):
        put(index, b"k", n)
    index.begin(10_000)
    index.put(b"k", b"", 0)
    index.shed(5_000)
    assert index.compacted == 301 and len(index.latest(b"k", 2)) == 1
    assert index.digest() != Index().digest()


def test_the_sum_and_the_bytes_are_those_of_what_is_retained() -> None:
    """Two that have forgotten the same in other ways, and freed more or less of it, are equal."""
    one, other = Index(), Index()
    for n in range(500):
        for index in (one, other):
            put(index, b"%d" % (n % 7), n)
            if index is one and n % 50 == 0:
                index.compact(index.revision)
    for index in (one, other):
        index.compact(451)
    assert held(one) != held(other)
    assert (one.digest(), one.history_bytes) == (other.digest(), other.history_bytes)
