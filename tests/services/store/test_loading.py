"""Backups against the dumb twin: what is read page by page between commands, and loaded step by step, is one state."""

from typing import Any

import pytest

from phalanx.errors import Compacted, NotHappened, Quota, Refused, TooLarge
from phalanx.model.replicated import Context
from phalanx.services.store import limits
from phalanx.services.store import values as v
from phalanx.services.store.index import Index
from phalanx.services.store.kv import KV
from phalanx.services.store.loading import Loading
from phalanx.services.store.shards import Shards
from phalanx.services.store.values import Abandon, Begin, Finish, LeaseInfo, LoadKeys, LoadLeases, Versioned
from tests.services.store.test_kv import Pair, at
from tests.services.store.test_slices import restored

Items = list[tuple[bytes, Versioned]]


class Loaded(Pair):
    """A pair whose store is now one that was loaded: its history begins there, and so does the time of its leases."""

    def __init__(self, pair: Pair, store: KV, revision: int) -> None:
        self.__dict__ |= pair.__dict__
        self.store = store
        del self.twin.states[revision + 1 :]
        self.loaded = revision
        self.twin.leases = {info.id: (info.ttl_ms, info.ttl_ms) for info in store.leases()}
        self.twin.lease_now, self.twin.stamped = 0, self.now

    def compare_times(self, compacted: int) -> None:
        """No time is known to be that of the revision that was loaded."""
        if compacted > self.loaded:
            super().compare_times(compacted)


def advance(pair: Pair) -> Context:
    pair.now += 1
    pair.token = max(pair.token + 1, at(pair.now).token)
    return at(pair.now, pair.token)


def backed_up(pair: Pair) -> tuple[v.Moment, Items] | None:
    """What a backup has, read in small pages while other commands go on; None: the revision was compacted meanwhile."""
    moment = pair.store.instant(context=at(pair.now))
    items: Items = []
    start, more = b"", True
    try:
        while more:
            page = pair.store.range(start, None, pair.rng.choice((1, 2)), at=moment.revision)
            items += page.items
            more = page.more
            start = items[-1][0] + b"\0" if items else b""
            for _ in range(pair.rng.randrange(4)):
                pair.step()
    except Compacted:
        return None
    return moment, items


def load(pair: Pair, moment: v.Moment, items: Items) -> KV:
    """Into a new store, which is saved and restored between the steps; another load that came to nothing was before."""
    rng, store = pair.rng, KV()
    if rng.random() < 0.3:
        store.load(Begin(1, 0, 0), context=advance(pair))
    begun = store.load(Begin(moment.revision, moment.origin, moment.retain_ms), context=advance(pair))
    size = rng.choice((1, 2, 5))
    steps: list[v.LoadStep] = [
        *(LoadLeases(begun, moment.leases[n : n + size]) for n in range(0, len(moment.leases), size)),
        *(LoadKeys(begun, items[n : n + size]) for n in range(0, len(items), size)),
        Finish(begun, len(moment.leases), len(items)),
    ]
    under_way: list[tuple[Any, list[bytes | None], bytes]] = []
    for step in steps:
        assert store.range().items == [] and store.revision() == 0, "nobody sees a part of it"
        slices = store.snapshot_slices(rng.choice((1, 100)))
        under_way.append((slices, [next(slices)], store.digest()))
        if rng.random() < 0.3:
            store = restored(store.snapshot_slices(rng.choice((1, 100, 10_000))))
        store.load(step, context=advance(pair))
        for other, found, _ in under_way:
            found.append(next(other, None))
    for slices, found, digest in under_way:
        assert restored([*found, *slices]).digest() == digest
    return store


def story(seed: int) -> bool:
    """Whether the backup could be made."""
    pair = Pair(seed)
    for _ in range(pair.rng.choice((0, 5, 20, 60))):
        pair.step()
    twin, leases = pair.twin, dict(pair.twin.leases)
    found = backed_up(pair)
    if found is None:
        return False
    moment, items = found
    assert items == sorted(twin.states[moment.revision].items.items())
    assert {info.id: info.ttl_ms for info in moment.leases} == {each: ttl for each, (ttl, _) in leases.items()}
    loaded = Loaded(pair, load(pair, moment, items), moment.revision)
    info = loaded.store.info()
    assert (info.compacted, info.history_bytes) == (moment.revision, 0)
    loaded.compare_all()
    assert restored(loaded.store.snapshot_slices(100)).digest() == loaded.store.digest()
    for _ in range(20):
        loaded.step()
    loaded.compare_all()
    return True


@pytest.mark.parametrize("block", range(10))
def test_a_backup_between_random_commands_is_the_twin_at_its_revision_and_lives_on_when_it_is_loaded(
    block: int,
) -> None:
    made = [story(seed) for seed in range(block * 100, block * 100 + 100)]
    assert sum(made) > 50, "most backups are not outrun by compaction"


def test_a_backup_that_reads_the_present_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug of every backup: it reads page after page of a store that changes."""
    page = Index.page
    monkeypatch.setattr(Index, "page", lambda self, start, end, limit, _=None: page(self, start, end, limit, None))
    with pytest.raises((AssertionError, pytest.fail.Exception)):  # the one of `pytest.raises`, too
        for seed in range(100):
            story(seed)


def test_a_snapshot_that_does_not_know_its_last_key_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    beyond = Shards.keys_after
    monkeypatch.setattr(Shards, "keys_after", lambda shards, key, _=None: beyond(shards, key))
    monkeypatch.setattr(Pair, "step", lambda _: None)
    items = [(b"%d" % n, Versioned(b"", n + 1, n + 1, 1)) for n in range(9)]
    with pytest.raises(AssertionError):
        for seed in range(20):
            load(Pair(seed), v.Moment(9, 0, 0, 0, []), items)


# --- refusals ---------------------------------------------------------------------------------------------------------

NOW = at(2_000_000)
LEASE = LeaseInfo(7, 5_000, 1)
ITEM = Versioned(b"v", 2, 4, 3)


def begun(begin: Begin | None = None) -> tuple[KV, int]:
    store = KV()
    return store, store.load(begin or Begin(5, 1, 0), context=NOW)


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        (LoadLeases(0, [LEASE, LEASE]), Refused, "out of order"),
        (LoadLeases(0, [LeaseInfo(NOW.token, 5_000, 1)]), Refused, "beyond the clock"),
        (LoadLeases(0, [LeaseInfo(8, 5, 1)]), Refused, "no lease lasts 5 ms"),
        (LoadLeases(0, [LeaseInfo(8 + n, 5_000, 1) for n in range(1_001)]), TooLarge, "1001 leases"),
        (LoadKeys(0, [(b"c", ITEM), (b"c", ITEM)]), Refused, "out of order"),
        (LoadKeys(0, [(b"a", ITEM)]), Refused, "out of order"),
        (LoadKeys(0, [(b"c", Versioned(b"", 1, 6, 1))]), Refused, "not of the backup"),
        (LoadKeys(0, [(b"c", Versioned(b"", 0, 1, 1))]), Refused, "not of the backup"),
        (LoadKeys(0, [(b"c", Versioned(b"", 4, 3, 1))]), Refused, "not of the backup"),
        (LoadKeys(0, [(b"c", Versioned(b"", 2, 4, 4))]), Refused, "version 4"),
        (LoadKeys(0, [(b"c", Versioned(b"", 2, 4, 0))]), Refused, "version 0"),
        (LoadKeys(0, [(b"c", Versioned(b"", 2, 4, 1, 9))]), Refused, "lease 9"),
        (LoadKeys(0, [(b"c" * 4_097, ITEM)]), TooLarge, "limits of a store"),
        (LoadKeys(0, [(b"c", Versioned(bytes(512 * 1024 + 1), 2, 4, 1))]), TooLarge, "limits of a store"),
        (LoadKeys(0, [(bytes([99, n]), Versioned(bytes(1 << 17), 2, 4, 1)) for n in range(3)]), TooLarge, "3 keys"),
        (LoadKeys(0, [(b"c%04d" % n, ITEM) for n in range(1_001)]), TooLarge, "1001 keys"),
        (LoadLeases(0, [LeaseInfo(8, 5_000, 1)]), Refused, "before keys"),
        (Finish(0, 1, 2), Refused, "1 leases and 1 keys were loaded"),
        (Finish(0, 0, 1), Refused, "1 leases and 1 keys were loaded"),
    ],
)
def test_a_step_that_no_backup_has_is_refused_and_changes_nothing(
    step: LoadLeases | LoadKeys | Finish, error: type[NotHappened], text: str
) -> None:
    store, number = begun()
    store.load(LoadLeases(number, [LEASE]), context=NOW)
    if not isinstance(step, LoadLeases) or "before" in text:
        store.load(LoadKeys(number, [(b"b", ITEM)]), context=NOW)
    before = store.digest()
    with pytest.raises(error, match=text):
        store.load(type(step)(number, *[getattr(step, name) for name in step.__struct_fields__[1:]]), context=NOW)
    assert store.digest() == before


@pytest.mark.parametrize("begin", [Begin(-1, 0, 0), Begin(1 << 43, 0, 0), Begin(1, -1, 0), Begin(1, 0, -1)])
def test_what_no_store_was_is_refused(begin: Begin) -> None:
    with pytest.raises(Refused, match="no store was ever"):
        begun(begin)


def test_fencing_tokens_never_go_back_even_if_the_clock_has() -> None:
    origin = at(1_000_000).token
    store, number = begun(Begin(5, origin, 0))
    store.load(Finish(number, 0, 0), context=NOW)
    assert store.transact((), (v.Put(b"k", b"v"),), context=NOW).token > origin + 5
    last = NOW.token + 1_000_000
    store, number = begun(Begin(5, last - 5, 0))
    store.load(Finish(number, 0, 0), context=NOW)
    assert store.transact((), (v.Put(b"k", b"v"),), context=NOW).token > last


def test_quotas_hold_for_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    store, number = begun()
    store.load(LoadLeases(number, [LEASE]), context=NOW)
    under = Versioned(b"v", 1, 1, 1, LEASE.id)
    for name, step in (
        ("LEASES_MAX", LoadLeases(number, [LeaseInfo(8, 5_000, 1)])),
        ("KEYS_MAX", LoadKeys(number, [(b"a", ITEM), (b"b", ITEM)])),
        ("STORE_BYTES_MAX", LoadKeys(number, [(b"a", ITEM)])),
        ("LEASE_KEYS_MAX", LoadKeys(number, [(b"a", under), (b"b", under)])),
    ):
        with monkeypatch.context() as patch, pytest.raises((Quota, Refused)):
            patch.setattr(limits, name, 1)
            store.load(step, context=NOW)
    store.load(LoadKeys(number, [(b"a", under), (b"b", under)]), context=NOW)


def test_only_a_store_in_which_nothing_was_written_is_loaded_into() -> None:
    store, number = begun()
    store.load(LoadKeys(number, [(b"a", ITEM)]), context=NOW)
    store.put(b"mine", b"", context=NOW)
    assert store._loading is None, "what can never be shown is not kept"
    for step in (Begin(1, 0, 0), Finish(number, 0, 1)):
        with pytest.raises(Refused, match="not empty"):
            store.load(step, context=NOW)
    assert store.range().items[0][0] == b"mine"
    store, number = begun()
    store.grant(5_000, context=NOW)
    with pytest.raises(Refused, match="not empty"):
        store.load(Finish(number, 0, 0), context=NOW)


def test_a_store_that_was_recovered_empty_is_loaded_into_at_revisions_that_nobody_can_have_been_given() -> None:
    """Others may have written to it in the time that is lost: they know revisions of it from 1 on."""
    store, floor = KV(), 2 * limits.REVISIONS_AHEAD
    for _ in range(2):
        store.recovered(NOW)
    with pytest.raises(Refused, match="no store was ever"):
        store.load(Begin(limits.REVISION_MAX - floor + 1, 1, 0), context=NOW)
    number = store.load(Begin(5, 1, 0), context=NOW)
    steps: list[v.LoadStep] = [LoadKeys(number, [(b"a", ITEM)]), LoadKeys(number, [(b"b", ITEM)]), Finish(number, 0, 2)]
    for step in steps:
        store = restored(store.snapshot_slices(1))
        assert (len(store.range().items), store.revision()) == (0, floor), "nobody sees a part of it"
        store.load(step, context=NOW)
    moved = Versioned(b"v", floor + 2, floor + 4, 3)
    assert store.range().items == [(b"a", moved), (b"b", moved)]
    for asked in (4, 5, floor, floor + 4):
        with pytest.raises(Compacted):
            store.get(b"a", at=asked)
    assert store.get(b"a", at=floor + 5) == moved
    assert store.put(b"a", b"w", context=NOW) == floor + 6
    assert restored(store.snapshot_slices(1)).digest() == store.digest()


def test_a_store_that_was_recovered_with_anything_in_it_or_written_to_since_is_not_empty() -> None:
    full, written, leased = KV(), KV(), KV()
    full.put(b"mine", b"", context=NOW)
    leased.grant(5_000, context=NOW)
    for store in (full, written, leased):
        store.recovered(NOW)
    written.put(b"mine", b"", context=NOW)
    written.delete(b"mine", context=NOW)
    for store in (full, written, leased):
        with pytest.raises(Refused, match="not empty"):
            store.load(Begin(5, 1, 0), context=NOW)


def test_one_load_at_a_time_and_one_that_is_given_up_leaves_nothing() -> None:
    store, first = begun()
    empty = KV().digest()
    store.load(LoadKeys(first, [(b"a", ITEM)]), context=NOW)
    second = store.load(Begin(5, 1, 0), context=at(2_000_001))
    with pytest.raises(Refused, match="another has begun"):
        store.load(Finish(first, 0, 1), context=NOW)
    store.load(Abandon(second), context=NOW)
    assert store.digest() == empty
    with pytest.raises(Refused, match="begin again"):
        store.load(Finish(second, 0, 0), context=NOW)


def test_a_watch_of_the_empty_store_is_told_that_it_missed_something_and_one_from_the_backup_goes_on() -> None:
    store, number = begun()
    before = store.position()
    store.load(LoadKeys(number, [(b"a", ITEM)]), context=NOW)
    assert store.position() == before
    store.load(Finish(number, 0, 1), context=NOW)
    for missed in (before, v.position_after(4)):
        with pytest.raises(Compacted, match="begins at revision 6"):
            store.watch(missed, b"", None)
    store.put(b"a", b"w", context=NOW)
    [event] = store.watch(v.position_after(5), b"", None).events
    assert (event.revision, event.previous, event.item) == (6, None, Versioned(b"w", 2, 6, 4))


def test_loading_is_as_large_as_it_says() -> None:
    """A `Loading` that is whole is the store: to show it costs the same whatever is in it."""
    loading = Loading(NOW.token, Begin(5, 1, 9), 0)
    loading.take(LoadKeys(loading.id, [(b"a", ITEM)]), NOW)
    index = loading.index
    assert loading.take(Finish(loading.id, 0, 1), NOW) and loading.is_over and loading.index is index
