"""Lease time does not lead real time when the group's time leaps (services/store/leases.py; found by `phalanx soak`)."""

from phalanx.model.clock import MILLISECOND, stamp_of
from phalanx.model.replicated import Context
from phalanx.services.store.kv import KV


def at(ms: int, between_ms: int = 0) -> Context:
    return Context(stamp_of(ms * MILLISECOND), "test", 0, stamp_of(ms * MILLISECOND), between_ms)


def test_a_leap_from_one_view_to_the_next_ends_no_lease() -> None:
    """SCENARIOS 34: nodes that were killed came back with clocks four seconds ahead, and half a second of it counted."""
    store = KV()
    lease = store.grant(1_000, context=at(10_000)).id
    store.tick(at(10_200))
    store.tick(at(14_300, between_ms=4_000))
    found = store.lease(lease)
    assert found is not None and found.remaining_ms == 700, "and not half a second less"
    left = store.keep_alive(lease, context=at(14_300, between_ms=4_000))
    assert left is not None and left.remaining_ms == 1_000
    store.tick(at(14_700, between_ms=4_000))
    found = store.lease(lease)
    assert found is not None and found.remaining_ms == 600
    due = store.due_ms()
    while due is not None:
        store.tick(at(due, between_ms=4_000))
        due = store.due_ms()
    assert store.lease(lease) is None, "time goes on"


def test_a_lease_goes_on_as_it_was_after_a_transfer() -> None:
    store, other = KV(), KV()
    lease = store.grant(3_000, context=at(10_000, between_ms=70)).id
    store.tick(at(11_000, between_ms=170))
    for data in store.snapshot_slices(1 << 20):
        assert data is not None, "nothing else happens"
        other.restore_slice(data)
    for each in (store, other):
        each.tick(at(12_000, between_ms=170))
    assert store.lease(lease) == other.lease(lease)
    assert store.digest() == other.digest()
