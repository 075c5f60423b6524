"""The store as a replicated object: a map from bytes to versioned bytes with its history, transactions and leases.

Every command that changes something gives the store the next *revision*, whatever number of keys it changes.  A key
remembers the revision that created it, the one that last changed it, and its version: 1 at creation, one more with each
put, gone with the key.  All commands check first and then change, so one that raises has changed nothing.

Semantics are etcd's (v3 API) wherever the two have the same operation; docs/store.md lists where they differ.  Costs:
get O(1), put and delete O(log keys), range O(log keys + answer); reads of the past see `index`.
"""

from collections.abc import Iterator

import msgspec

from phalanx.errors import Compacted, LeaseLost, Quota, Refused, TooLarge
from phalanx.model.replicated import OUTSIDE, Context, command, feed, query
from phalanx.services.store import image, limits, txn
from phalanx.services.store.index import Index
from phalanx.services.store.leases import Leases
from phalanx.services.store.loading import Loading
from phalanx.services.store.values import (
    Begin,
    Compare,
    DeleteRange,
    Event,
    Feed,
    Info,
    LeaseInfo,
    LoadStep,
    Moment,
    Operation,
    Put,
    Range,
    Txn,
    Versioned,
    position_after,
)


class KV:
    """The store.

    >>> store = KV()
    >>> store.put(b"a", b"1"), store.put(b"a", b"2")
    (1, 2)
    >>> store.get(b"a")
    Versioned(value=b'2', created=1, modified=2, version=2, lease=0)
    >>> store.get(b"a", at=1).value
    b'1'
    """

    def __init__(self) -> None:
        self._index = Index()
        self._leases = Leases()
        self._origin = 0  # of fencing tokens: that of the first command that changed something
        self._retain_ms = limits.HISTORY_MS
        self._loading: Loading | None = None

    # --- commands: keys -------------------------------------------------------------------------------------------

    @command(atomic=True, raises=(TooLarge, Quota, LeaseLost))
    def put(self, key: bytes, value: bytes, lease: int = 0, *, context: Context = OUTSIDE) -> int:
        """Set the key, under a lease if one is named (else under none, whatever it was under); the new revision.
        Raises `TooLarge`, `Quota`, or `LeaseLost` if the lease is unknown."""
        index = self._index
        if not lease and self._origin and self._loading is None:
            revision = index.put_plainly(key, value, context.time_ms, self._retain_ms)
            if revision:
                return revision
        txn.check_changes(index, self._leases, [Put(key, value, lease)], [])
        self._begin(context)
        self._set(key, value, lease)
        return self._end(context)

    @command(atomic=True, when_full=True)
    def delete(self, key: bytes, *, context: Context = OUTSIDE) -> bool:
        """Remove the key; whether it was there."""
        if self._index.get(key) is None:
            return False
        self._begin(context)
        self._remove(key)
        self._end(context)
        return True

    @command(atomic=True, when_full=True, raises=(TooLarge,))
    def delete_range(self, start: bytes = b"", end: bytes | None = None, *, context: Context = OUTSIDE) -> int:
        """Remove the keys from `start` up to but without `end` (None: to the last), in one revision; how many there
        were.  Raises `TooLarge` if they are more than `limits.DELETE_KEYS_MAX`."""
        doomed = txn.keys_to_delete(self._index, DeleteRange(start, end))
        self._begin(context)
        for key in doomed:
            self._remove(key)
        self._end(context)
        return len(doomed)

    @command(atomic=True, raises=(TooLarge, Quota))
    def compare_and_set(
        self, key: bytes, expected: bytes | None, value: bytes | None, *, context: Context = OUTSIDE
    ) -> bool:
        """Set the key to `value` if it has the value `expected`; None is absence, on both sides.  Whether it did.  The
        key is under no lease afterwards.  Raises `TooLarge` or `Quota`."""
        found = self._index.get(key)
        holds = (found.value if found else None) == expected
        if value is not None:
            txn.check_changes(self._index, self._leases, [Put(key, value)], [])
        self._begin(context)
        if holds and value is not None:
            self._set(key, value, 0)
        elif holds and found:
            self._remove(key)
        self._end(context)
        return holds

    @command(atomic=True, raises=(TooLarge, Quota, LeaseLost, Refused))
    def transact(
        self,
        when: tuple[Compare, ...],
        then: tuple[Operation, ...],
        otherwise: tuple[Operation, ...] = (),
        *,
        context: Context = OUTSIDE,
    ) -> Txn:
        """If all of `when` hold, do all of `then`, else all of `otherwise`: at once, in that order, in one revision.
        Each operation sees what those before it did.

        Raises `Refused` if a branch changes a key twice or appends one that is there, `TooLarge` for too much in it or
        in its answer, `Quota`, `LeaseLost`.  (Only the branch taken is held to the state; both are held to the rules.)
        """
        txn.check_form(when, then, otherwise)
        holds = all(txn.holds(self._index, compare) for compare in when)
        branch = then if holds else otherwise
        plain = txn.with_keys(self._index, branch)
        txn.check_state(self._index, self._leases, plain)
        self._begin(context)
        results = txn.perform(self._index, branch, plain, self._set, self._remove)
        revision = self._end(context)
        return Txn(holds, results, revision, self._origin + revision)

    # --- commands: history ----------------------------------------------------------------------------------------

    @command(atomic=True, when_full=True, raises=(Compacted, Refused))
    def compact(self, revision: int) -> int:
        """Forget what was before that revision; how many bytes of history remain.  Reads and watches that ask for
        less raise `Compacted`.  Raises `Compacted` if that has been done, `Refused` if the revision is to come."""
        if revision < self._index.compacted:
            raise Compacted(revision, self._index.compacted)
        if revision > self._index.revision:
            raise Refused(f"revision {revision} is to come; the store is at {self._index.revision}")
        self._index.compact(revision)
        return self._index.history_bytes

    @command(atomic=True, when_full=True, raises=(Refused,))
    def retain(self, age_ms: int, *, context: Context = OUTSIDE) -> int:
        """Keep the history for that long, now and from now on (older changes go when something is ordered); the least
        revision that is left.  Raises `Refused` if `age_ms` is negative."""
        if age_ms < 0:
            raise Refused("a history cannot be kept for less than no time")
        self._retain_ms = age_ms
        self._index.shed(context.time_ms - age_ms)
        return self._index.compacted

    @command(atomic=True, when_full=True, raises=(Compacted, Refused))
    def settle(self, time_ms: int, *, context: Context = OUTSIDE) -> int:
        """As `revision_at`, when nothing has been ordered since that time: this is ordered now, so whatever follows is
        later.  Raises `Compacted`, and `Refused` if the time is to come by the group's clock."""
        if time_ms >= context.time_ms:
            raise Refused(f"{time_ms} ms since the epoch is to come: the group's clock is at {context.time_ms} ms")
        return self._index.revision_at(time_ms)

    # --- commands: leases -----------------------------------------------------------------------------------------

    @command(atomic=True, raises=(Refused, Quota))
    def grant(self, ttl_ms: int, *, context: Context = OUTSIDE) -> LeaseInfo:
        """A new lease that ends when nobody has kept it alive for `ttl_ms`; then its keys are deleted, in one revision.
        Raises `Refused` if the length is out of bounds, `Quota` if there are too many leases."""
        if not limits.TTL_MS_LEAST <= ttl_ms <= limits.TTL_MS_MOST:
            raise Refused(f"a lease lasts from {limits.TTL_MS_LEAST} to {limits.TTL_MS_MOST} ms, not {ttl_ms}")
        if len(self._leases) >= limits.LEASES_MAX:
            raise Quota(f"there are {len(self._leases)} leases, which is the limit")
        self.tick(context)
        self._leases.grant(context.token, ttl_ms)
        return LeaseInfo(context.token, ttl_ms, ttl_ms)

    @command(atomic=True, when_full=True)
    def keep_alive(self, lease: int, *, context: Context = OUTSIDE) -> LeaseInfo | None:
        """Renew a lease to its whole length; None if it is unknown: it has expired or was revoked."""
        self.tick(context)
        if lease in self._leases:
            self._leases.keep(lease)
        return self._leases.info(lease)

    @command(atomic=True, when_full=True)
    def revoke(self, lease: int, *, context: Context = OUTSIDE) -> bool:
        """End a lease and delete its keys, in one revision; whether it was there."""
        if lease not in self._leases:
            return False
        self._expire(lease, context)
        return True

    # --- commands: backups ----------------------------------------------------------------------------------------

    @command(atomic=True, raises=(Refused, TooLarge, Quota))
    def load(self, step: LoadStep, *, context: Context = OUTSIDE) -> int:
        """One step of loading a backup into a store in which nothing was ever written, or nothing since it was recovered
        without a key; the load's id.  See `loading`: the last step shows all of it.  Raises `Refused` if something was
        written, another load has begun, or no store was ever so; `TooLarge`; and `Quota`."""
        if not self._index.is_blank or len(self._leases):
            raise Refused("this store is not empty: a backup is loaded into one in which nothing was ever written")
        if isinstance(step, Begin):
            self._loading = Loading(context.token, step, self._index.revision)
            return context.token
        loading = self._loading
        if loading is None or loading.id != step.load:
            raise Refused(f"load {step.load} is over: another has begun, or something was written; begin again")
        if loading.take(step, context):
            self._index, self._leases, self._origin = loading.index, loading.leases, loading.origin(context.token)
            self._retain_ms = loading.begin.retain_ms
        if loading.is_over:
            self._loading = None
        return loading.id

    # --- queries --------------------------------------------------------------------------------------------------

    @query(raises=(Compacted, Refused))
    def get(self, key: bytes, at: int | None = None) -> Versioned | None:
        """The key's value, now or at a revision; None if it is absent.  Raises `Compacted`, and `Refused` for a
        revision to come."""
        return self._index.get(key, at)

    @query(raises=(Compacted, Refused))
    def range(
        self,
        start: bytes = b"",
        end: bytes | None = None,
        limit: int = limits.RANGE_ITEMS_MAX,
        at: int | None = None,
    ) -> Range:
        """Keys from `start` up to but without `end` (None: to the last), at most `limit`, now or at a revision.
        Raises as `get`, and `Refused` for a limit below 1, with which nobody would get on."""
        if limit < 1:
            raise Refused(f"a range has a limit of at least 1, not {limit}")
        return self._index.page(start, end, limit, at)

    @query(raises=(Compacted, Refused))
    def count(self, start: bytes = b"", end: bytes | None = None, at: int | None = None) -> int:
        """How many keys there are in a range.  Raises as `get`."""
        return self._index.count(start, end, at)

    @query
    def history(self, key: bytes, limit: int = limits.RANGE_ITEMS_MAX) -> list[Event]:
        """The latest changes of a key that are remembered, oldest first: at most `limit`, and as many bytes as a
        range may have."""
        return self._index.latest(key, limit)

    @query
    def revision(self) -> int:
        """How many changes there have been."""
        return self._index.revision

    @query(raises=(Compacted,))
    def revision_at(self, time_ms: int, *, context: Context = OUTSIDE) -> int | None:
        """The last revision that had come at that time, in milliseconds since the epoch by the group's clock; None if the
        last ordered message is not later, so that there may still be changes with that time: `settle` then.  Raises
        `Compacted` if that revision is forgotten."""
        return self._index.revision_at(time_ms) if time_ms < context.time_ms else None

    @query
    def info(self) -> Info:
        """What there is."""
        index = self._index
        return Info(index.revision, index.compacted, len(index), index.bytes, index.history_bytes, len(self._leases))

    @query
    def instant(self, *, context: Context = OUTSIDE) -> Moment:
        """What a backup begins with: the revision, and what is not kept by revisions, at that very moment."""
        ids = self._leases.ids()
        found = [info for info in map(self._leases.info, ids) if info is not None]
        return Moment(self._index.revision, context.time_ms, self._origin, self._retain_ms, found)

    @query
    def lease(self, lease: int) -> LeaseInfo | None:
        """What is left of a lease, by the last ordered message; None if it is unknown."""
        return self._leases.info(lease)

    @query
    def lease_keys(self, lease: int) -> list[bytes]:
        """The keys that go with a lease, in order."""
        return self._leases.keys(lease)

    @query
    def leases(self, after: int = 0, limit: int = limits.RANGE_ITEMS_MAX) -> list[LeaseInfo]:
        """Leases with an id beyond `after`, in the order of their ids, at most `limit`."""
        most = max(0, min(limit, limits.RANGE_ITEMS_MAX))
        ids = [lease for lease in self._leases.ids() if lease > after][:most]
        return [info for info in map(self._leases.info, ids) if info is not None]

    # --- watches --------------------------------------------------------------------------------------------------

    @feed(raises=(Compacted,))
    def watch(
        self,
        position: int,
        start: bytes,
        end: bytes | None,
        puts: bool = True,
        deletes: bool = True,
        previous: bool = False,
    ) -> Feed:
        """Changes beyond `position` of keys from `start` up to but without `end` (None: to the last): puts, deletions, or
        both; with what was there before, if wanted.  Raises `Compacted` if some are forgotten."""
        return self._index.feed(position, start, end, puts, deletes, previous)

    def position(self) -> int:
        """See `model.replicated`."""
        return position_after(self._index.revision)

    def touched(self, position: int) -> set[bytes]:
        """See `model.replicated`.  Raises `Compacted`."""
        return self._index.touched(position)

    def events_after(self, revision: int) -> list[Event]:
        """All changes that are remembered beyond that revision, in their order.  (Unbounded: not for callers from
        outside.)  Raises `Compacted`."""
        return self._index.events_after(position_after(revision))

    # --- time -----------------------------------------------------------------------------------------------------

    def due_ms(self) -> int | None:
        """See `model.replicated`: leases need time to pass."""
        return self._leases.due_ms

    def tick(self, context: Context) -> None:
        """Time has passed: end what has expired, each lease in a revision of its own."""
        for lease in self._leases.advance(context.time_ms, context.steady_ms):
            self._expire(lease, context)

    def _expire(self, lease: int, context: Context) -> None:
        self._begin(context)
        for key in self._leases.drop(lease):
            self._index.remove(key)
        self._end(context)

    # --- recoveries -----------------------------------------------------------------------------------------------

    def recovered(self, context: Context) -> None:
        """See `model.replicated`.  Every revision is moved beyond all that can have been given out, and the history is
        forgotten: what a client remembers of before is `Compacted`, and compares with it fail.  Leases end, each after
        its whole length, and nobody can keep one alive: what they protect is free when every holder has given up."""
        self._loading = None
        self._leases, ids = self._leases.orphaned()
        self._index = self._index.moved(limits.REVISIONS_AHEAD, ids)
        self._origin = context.token

    # --- state ----------------------------------------------------------------------------------------------------

    def snapshot_slices(self, size: int) -> Iterator[bytes | None]:
        """See `model.replicated` and `image`."""
        settings = image.Settings(self._origin, self._retain_ms)
        return image.slices(settings, self._index, self._leases, self._loading, size)

    def restore_slice(self, data: bytes) -> None:
        """See `model.replicated`."""
        match image.restore(data, self._index, self._leases, self._loading):
            case image.Settings(origin, retain_ms):
                self._origin, self._retain_ms = origin, retain_ms
            case Loading() as loading:
                self._loading = loading

    def digest(self) -> bytes:
        """Kept up to date by every change, so an audit costs nothing."""
        settings = msgspec.msgpack.encode((self._origin, self._retain_ms))
        loading = self._loading.digest() if self._loading is not None else b""
        return self._index.digest() + self._leases.digest() + settings + loading

    # --- changes, when all checks have passed ---------------------------------------------------------------------

    def _begin(self, context: Context) -> None:
        self._index.begin(context.time_ms)
        if not self._origin:
            self._origin = context.token
        if self._loading is not None:
            self._loading = None  # what is loaded into a store that is written to will never be shown

    def _end(self, context: Context) -> int:
        self._index.shed(context.time_ms - self._retain_ms)
        return self._index.revision

    def _set(self, key: bytes, value: bytes, lease: int) -> Versioned:
        found = self._index.get(key)
        before = found.lease if found is not None else 0
        if before != lease:
            self._leases.detach(key, before)
            self._leases.attach(key, lease)
        return self._index.put(key, value, lease)

    def _remove(self, key: bytes) -> None:
        found = self._index.get(key)
        assert found is not None, "the caller looked"
        self._leases.detach(key, found.lease)
        self._index.remove(key)
