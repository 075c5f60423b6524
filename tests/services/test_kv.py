"""The key-value map against an obviously right one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phalanx.errors import TooLarge
from phalanx.replication.objects import describe
from phalanx.services import kv
from phalanx.services.kv import KV, Quota, Versioned

KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
VALUES = st.sampled_from([b"", b"1", b"22"])
MAYBE = st.none() | VALUES
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, VALUES),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("cas"), KEYS, MAYBE, MAYBE),
        st.tuples(st.just("cvs"), KEYS, st.integers(0, 3), MAYBE),
    ),
    max_size=30,
)


class Plain:
    """The model: a dictionary of (value, created, modified, version)."""

    def __init__(self) -> None:
        self.items: dict[bytes, tuple[bytes, int, int, int]] = {}
        self.revision = 0

    def put(self, key: bytes, value: bytes) -> int:
        self.revision += 1
        created, version = (self.items[key][1], self.items[key][3]) if key in self.items else (self.revision, 0)
        self.items[key] = (value, created, self.revision, version + 1)
        return self.revision

    def delete(self, key: bytes) -> bool:
        self.revision += key in self.items
        return self.items.pop(key, None) is not None

    def when(self, holds: bool, key: bytes, value: bytes | None) -> bool:
        if holds and value is None:
            self.delete(key)
        elif holds and value is not None:
            self.put(key, value)
        return holds


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_every_operation_agrees_with_a_dictionary(steps: list[tuple[object, ...]]) -> None:
    store, plain = KV(), Plain()
    for step in steps:
        match step:
            case ("put", bytes(key), bytes(value)):
                assert store.put(key, value) == plain.put(key, value)
            case ("delete", bytes(key)):
                assert store.delete(key) == plain.delete(key)
            case ("cas", bytes(key), bytes() | None as old, bytes() | None as new):
                holds = (plain.items[key][0] if key in plain.items else None) == old
                assert store.compare_and_set(key, old, new) == plain.when(holds, key, new)
            case ("cvs", bytes(key), int(version), bytes() | None as new):
                holds = (plain.items[key][3] if key in plain.items else 0) == version
                assert store.compare_version_and_set(key, version, new) == plain.when(holds, key, new)
    found = store.range()
    assert found.items == [(key, Versioned(*plain.items[key])) for key in sorted(plain.items)]
    assert (found.revision, found.more, store.count()) == (plain.revision, False, len(plain.items))
    twin = KV()
    twin.restore(store.snapshot())
    assert (twin.snapshot(), twin.digest()) == (store.snapshot(), store.digest())


def test_a_range_stops_at_its_limits_and_says_so() -> None:
    store = KV()
    for key in (b"a", b"b", b"c"):
        store.put(key, b"v" * (kv.RANGE_BYTES_MAX // 2))
    assert [key for key, _ in store.range(b"a", b"c").items] == [b"a"]
    assert store.range(b"b", b"c", 1) == kv.Range([(b"b", store.range(b"b").items[0][1])], False, 3)
    assert store.range(limit=1).more and not store.range(b"c").more


def test_quotas_refuse_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = KV()
    store.put(b"k", b"v")
    before = store.snapshot()
    with pytest.raises(TooLarge, match="key"):
        store.put(b"k" * (kv.KEY_BYTES_MAX + 1), b"")
    with pytest.raises(TooLarge, match="value"):
        store.compare_and_set(b"k", b"v", b"v" * (kv.VALUE_BYTES_MAX + 1))
    monkeypatch.setattr(kv, "STORE_BYTES_MAX", 10)
    with pytest.raises(Quota):
        store.put(b"x", b"v" * 10)
    assert store.snapshot() == before
    assert store.put(b"k", b"v" * 9) == 2


def test_the_store_is_replicable_and_needs_no_undo() -> None:
    assert not describe(KV).undoes
