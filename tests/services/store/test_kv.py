"""The store against an obviously right one."""

import random

import pytest

from phalanx.errors import Compacted, Refused
from phalanx.model.clock import MILLISECOND, stamp_of
from phalanx.model.replicated import Context
from phalanx.services.store import history, limits
from phalanx.services.store import values as v
from phalanx.services.store.kv import KV
from phalanx.services.store.values import Put, Range
from tests.services.store.test_slices import restored
from tests.services.store.twin import Twin

KEYS = [b"a", b"ab", b"b", b"c", b"\xff"]
VALUES = [b"", b"1", b"22", b"333"]
OPS: list[v.Op] = ["==", "!=", "<", ">"]


def at(ms: int, token: int = 0) -> Context:
    return Context(stamp_of(ms * MILLISECOND), "test", 0, token or stamp_of(ms * MILLISECOND))


class Pair:
    """The store and its twin, given the same commands.  Time passes; the store is ticked as a replica would tick it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.store = KV()
        self.twin = Twin()
        self.now = 1_000_000
        self.token = 0
        self.loaded = 0

    def step(self) -> None:
        rng = self.rng
        self.now += rng.choice((0, 0, 1, 100, 700, 3_000, 30_000))
        self.token = max(self.token + 1, stamp_of(self.now * MILLISECOND))
        due = self.store.due_ms()
        if due is not None and due <= self.now:
            self.store.tick(at(self.now, self.token))
            self.twin.pass_time(self.now)
        kind = rng.choices(("put", "delete", "range", "cas", "txn", "grant", "keep", "revoke", "compact"), KINDS)[0]
        getattr(self, f"do_{kind}")(at(self.now, self.token))

    def key(self) -> bytes:
        return self.rng.choice(KEYS)

    def lease(self) -> int:
        return self.rng.choice([0, 0, *sorted(self.twin.leases)])

    def span(self) -> tuple[bytes, bytes | None]:
        return self.rng.choice([b"", *KEYS]), self.rng.choice([None, *KEYS])

    def do_put(self, context: Context) -> None:
        key, value, lease = self.key(), self.rng.choice(VALUES), self.lease()
        self.twin.change(self.now, [(key, value, lease)])
        assert self.store.put(key, value, lease, context=context) == self.twin.revision

    def do_delete(self, context: Context) -> None:
        key = self.key()
        assert self.store.delete(key, context=context) == (key in self.twin.items)
        self.twin.change(self.now, [(key,)])

    def do_range(self, context: Context) -> None:
        start, end = self.span()
        doomed = self.twin.inside(start, end)
        assert self.store.delete_range(start, end, context=context) == len(doomed)
        self.twin.change(self.now, [(key,) for key, _ in doomed])

    def do_cas(self, context: Context) -> None:
        key, found = self.key(), None
        found = self.twin.items.get(key)
        expected = self.rng.choice([None, *VALUES, found.value if found else None])
        value = self.rng.choice([None, *VALUES])
        holds = (found.value if found else None) == expected
        assert self.store.compare_and_set(key, expected, value, context=context) == holds
        if holds:
            self.twin.change(self.now, [(key,) if value is None else (key, value, 0)])

    def do_txn(self, context: Context) -> None:
        rng = self.rng
        when = tuple(self.compare() for _ in range(rng.randrange(3)))
        branches = [tuple(self.operation() for _ in range(rng.randrange(4))) for _ in range(2)]
        holds = all(map(self.twin.holds, when))
        branch = branches[0] if holds else branches[1]
        plain = self.twin.plain(branch)
        try:
            done = self.store.transact(when, *branches, context=context)
        except Refused:
            assert any(twice(each) for each in (*branches, plain))
            return
        before = self.twin.revision
        self.twin.change(self.now, self.twin.steps(plain))
        assert (done.succeeded, done.revision) == (holds, self.twin.revision)
        assert len(done.results) == len(branch)
        for operation, same, result in zip(branch, plain, done.results, strict=True):
            if isinstance(operation, v.Append):
                assert isinstance(same, Put)
                assert result == v.Appended(same.key)
            if isinstance(operation, Put):
                item = self.twin.items[operation.key]
                assert result == v.Written(item.created, item.version)
            if isinstance(operation, v.Scan) and self.twin.revision == before:
                expected = self.twin.inside(operation.start, operation.end)
                assert result == v.Scanned(Range(expected, False, before))

    def compare(self) -> v.Compare:
        rng, key = self.rng, self.key()
        op = rng.choice(OPS)
        found = self.twin.items.get(key)
        number = rng.choice([0, 1, 2, found.modified if found else 0, found.created if found else 0])
        compares: list[v.Compare] = [
            v.Exists(key, rng.random() < 0.5),
            v.Value(key, op, rng.choice(VALUES)),
            v.Version(key, op, number),
            v.Created(key, op, number),
            v.Modified(key, op, number),
        ]
        return rng.choice(compares)

    def operation(self) -> v.Operation:
        rng, key = self.rng, self.key()
        operations: list[v.Operation] = [
            Put(key, rng.choice(VALUES), self.lease()),
            Put(key, rng.choice(VALUES), self.lease()),
            v.Append(key, rng.choice(VALUES), self.lease()),
            v.Delete(key),
            v.DeleteRange(*self.span()),
            v.Get(key),
            v.Scan(*self.span()),
        ]
        return rng.choice(operations)

    def do_grant(self, context: Context) -> None:
        ttl = self.rng.choice((1_000, 5_000, 60_000))
        self.twin.pass_time(self.now)
        granted = self.store.grant(ttl, context=context)
        self.twin.leases[granted.id] = (ttl, self.twin.lease_now + ttl)

    def do_keep(self, context: Context) -> None:
        lease = self.lease()
        self.twin.pass_time(self.now)
        kept = self.store.keep_alive(lease, context=context)
        assert (kept is None) == (lease not in self.twin.leases)
        if kept is not None:
            ttl, _ = self.twin.leases[lease]
            self.twin.leases[lease] = (ttl, self.twin.lease_now + ttl)
            assert kept == v.LeaseInfo(lease, ttl, ttl)

    def do_revoke(self, context: Context) -> None:
        lease = self.lease()
        assert self.store.revoke(lease, context=context) == (lease in self.twin.leases)
        if lease in self.twin.leases:
            self.twin.end(lease, self.now)

    def do_compact(self, context: Context) -> None:
        oldest = self.store.info().compacted
        revision = self.rng.randint(oldest, self.twin.revision)
        if self.rng.random() < 0.5:
            self.store.compact(revision)
            assert self.store.info().compacted == revision
        else:
            self.store.retain(self.rng.choice((5_000, limits.HISTORY_MS)), context=context)

    def compare_all(self) -> None:
        store, twin = self.store, self.twin
        info = store.info()
        assert (info.revision, info.keys, info.leases) == (twin.revision, len(twin.items), len(twin.leases))
        assert info.bytes == sum(len(key) + len(item.value) for key, item in twin.items.items())
        for revision in [None, *range(info.compacted, twin.revision + 1)]:
            start, end = self.span()
            expected = twin.inside(start, end, revision)
            shown = twin.revision if revision is None else revision
            assert store.range(start, end, at=revision) == Range(expected, False, shown)
            assert store.count(start, end, revision) == len(expected)
            key = self.key()
            assert store.get(key, revision) == dict(twin.inside(b"", None, revision)).get(key)
        retained = [e for e in twin.events() if e.revision >= info.compacted and e.revision > self.loaded]
        for key in KEYS:
            assert store.history(key) == [event for event in retained if event.key == key]
        for lease, (ttl, ends) in twin.leases.items():
            assert store.lease(lease) == v.LeaseInfo(lease, ttl, ends - twin.lease_now)
            assert store.lease_keys(lease) == [k for k, item in sorted(twin.items.items()) if item.lease == lease]
        if info.compacted:
            with pytest.raises(Compacted, match=f"history begins at revision {info.compacted}"):
                store.get(b"a", info.compacted - 1)
        with pytest.raises(Refused, match="to come"):
            store.range(at=twin.revision + 1)
        self.compare_times(info.compacted)

    def compare_times(self, compacted: int) -> None:
        """The revision of a time, whether it is asked for or ordered: just at a change, before it, after it."""
        store, twin = self.store, self.twin
        later = at(self.now + 1)
        for time_ms in {event.time_ms + off for event in twin.events()[-20:] for off in (-1, 0, 1)} | {self.now}:
            expected = twin.revision_at(time_ms)
            for ask in (store.revision_at, store.settle):
                if time_ms > self.now:
                    continue
                if expected < compacted:
                    with pytest.raises(Compacted):
                        ask(time_ms, context=later)
                else:
                    assert ask(time_ms, context=later) == expected
        assert store.revision_at(self.now, context=at(self.now)) is None, "there may be more in that millisecond"
        with pytest.raises(Refused, match="to come"):
            store.settle(self.now, context=at(self.now))


KINDS = (30, 8, 2, 8, 20, 4, 4, 2, 1)


def twice(branch: tuple[v.Operation, ...]) -> bool:
    """Would the branch change a key twice, by what it says?"""
    spans = [o for o in branch if isinstance(o, v.DeleteRange)]
    singles = [o.key for o in branch if isinstance(o, (Put, v.Delete))]
    probes = [*KEYS, *singles, *(o.start for o in spans)]
    return any(
        sum(key == each for each in singles) + sum(o.start <= key and (o.end is None or key < o.end) for o in spans) > 1
        for key in probes
    )


@pytest.mark.parametrize("block", range(20))
def test_thousands_of_random_histories_agree_with_the_twin(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every other block what is forgotten is freed so slowly that most of it is still there."""
    if block % 2:
        monkeypatch.setattr(history, "SWEEP", 0)
        monkeypatch.setattr(history, "SWEEP_EACH", 1)
    for seed in range(block * 100, block * 100 + 100):
        pair = Pair(seed)
        for _ in range(pair.rng.choice((5, 20, 60))):
            pair.step()
        pair.compare_all()
        size = pair.rng.choice((1, 200, 1_000, 1 << 20))
        copy = restored(pair.store.snapshot_slices(size))
        assert copy.digest() == pair.store.digest()
        assert list(copy.snapshot_slices(size)) == list(pair.store.snapshot_slices(size))
        pair.store = copy
        for _ in range(5):
            pair.step()
        pair.compare_all()


def test_the_comparison_finds_a_planted_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deletion that forgets that the key had a lease."""
    monkeypatch.setattr("phalanx.services.store.leases.Leases.detach", lambda *_: None)
    with pytest.raises((AssertionError, KeyError)):
        for seed in range(100):
            pair = Pair(seed)
            for _ in range(60):
                pair.step()
                pair.compare_all()
