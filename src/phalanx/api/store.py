"""The client of the store: every operation, with deadlines and typed errors."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeAlias

from phalanx.api.arguments import bytes_of, milliseconds_of, number_of, seconds_of
from phalanx.api.lease import TTL_S, Lease
from phalanx.api.watch import Watch
from phalanx.errors import ConfigurationError, Refused
from phalanx.services.store.kv import KV
from phalanx.services.store.limits import RANGE_ITEMS_MAX, REVISION_MAX
from phalanx.services.store.values import (
    Compare,
    Event,
    Info,
    LeaseInfo,
    Operation,
    Range,
    Txn,
    Versioned,
    position_after,
    prefix_end,
)

if TYPE_CHECKING:
    from phalanx.api.client import Replicated


At: TypeAlias = int | datetime | timedelta | None
"""When: a revision, a time (which has a time zone), how long ago; None: now.  See `Store`."""


class Leased(Protocol):
    """Whatever stands for a lease: a `Lease`, of either interface, or what `Store.grant` returned."""

    @property
    def id(self) -> int:
        """The store's name for it; 0 until it is granted."""


class Store:
    """A handle to a store.  Made by `Client.kv`.

    Every call has a deadline: the client's, or that of `within`.  Each raises `Unavailable` or another `NotHappened`
    if it has not happened and never will, and a write `OutcomeUnknown` if it was sent and no answer came in time;
    calls are resent within their session until then, and happen once.  Reads are linearizable, but for those of
    `stale`.

    A range of keys is given by `start` and `end`: keys from `start` up to but without `end`; no end is to the last.
    `at`: what there was then.  A revision; or a time, with its time zone; or how long ago by this machine's clock.  Times
    are those of the group's clock, which orders all changes and never goes back; it keeps within `Timing.max_offset` of
    the members' clocks.  The same time has the same answer, whatever node is asked.  Raises `Compacted` if what was then
    is forgotten, `Refused` for a revision or a time to come, and `ConfigurationError` for a time without a time zone.
    """

    def __init__(self, handle: "Replicated[KV]") -> None:
        self._kv = handle

    def __repr__(self) -> str:
        return f"<phalanx.Store {self.name!r}{', stale' * self._kv.is_stale}>"

    @property
    def name(self) -> str:
        """The group's name."""
        return self._kv.name

    def within(self, timeout_s: float) -> "Store":
        """The same store, with another deadline for its calls, in seconds."""
        return Store(self._kv.within(timeout_s))

    @property
    def stale(self) -> "Store":
        """Reads that are answered at once from what a node has: maybe old, never wrong."""
        return Store(self._kv.stale)

    # --- keys -----------------------------------------------------------------------------------------------------

    async def get(self, key: bytes, *, at: At = None) -> Versioned | None:
        """The value and its versions; None if the key is absent."""
        return await self._kv.call(KV.get, key, await self.revision_at(at))

    async def put(self, key: bytes, value: bytes, *, lease: "Leased | int" = 0) -> int:
        """Set the value, under a lease if one is given; the store's new revision.  Raises `TooLarge`, `Quota`,
        `LeaseLost` if the lease has ended, and `RuntimeError` if its block has not begun."""
        return await self._kv.call(KV.put, key, value, _id(lease))

    async def delete(self, key: bytes) -> bool:
        """Remove the key; whether it was there."""
        return await self._kv.call(KV.delete, key)

    async def delete_range(self, start: bytes = b"", end: bytes | None = None) -> int:
        """Remove a range of keys, in one revision; how many there were.  Raises `TooLarge` if they are too many."""
        return await self._kv.call(KV.delete_range, start, end)

    async def delete_prefix(self, prefix: bytes) -> int:
        """Remove all keys that begin so.  As `delete_range`."""
        start = bytes_of(prefix, "a prefix")
        return await self.delete_range(start, prefix_end(start))

    async def compare_and_set(self, key: bytes, expected: bytes | None, value: bytes | None) -> bool:
        """Set the value if the present one is `expected` (None: absent, on both sides); whether it did."""
        return await self._kv.call(KV.compare_and_set, key, expected, value)

    async def transact(
        self, when: Sequence[Compare] = (), then: Sequence[Operation] = (), otherwise: Sequence[Operation] = ()
    ) -> Txn:
        """If all of `when` hold, do all of `then`, else all of `otherwise`: at once, in one revision.  Raises as
        `KV.transact`."""
        return await self._kv.call(KV.transact, tuple(when), tuple(then), tuple(otherwise))

    # --- ranges ---------------------------------------------------------------------------------------------------

    async def range(
        self,
        start: bytes = b"",
        end: bytes | None = None,
        limit: int = RANGE_ITEMS_MAX,
        *,
        prefix: bytes | None = None,
        at: At = None,
    ) -> Range:
        """Keys of a range, or with a prefix, in order, at most `limit`; `more` says that there are more."""
        start, end = _span(start, end, prefix)
        return await self._kv.call(KV.range, start, end, limit, await self.revision_at(at))

    async def items(
        self, start: bytes = b"", end: bytes | None = None, *, prefix: bytes | None = None, at: At = None
    ) -> AsyncIterator[tuple[bytes, Versioned]]:
        """All keys of a range, or with a prefix, as they were at one revision, read page by page.  Raises `Compacted`
        if the history does not reach back to the first page any more."""
        start, end = _span(start, end, prefix)
        revision, more = await self.revision_at(at), True
        while more:
            page = await self.range(start, end, at=revision)
            revision, more = page.revision, page.more
            for item in page.items:
                yield item
            if page.items:
                start = page.items[-1][0] + b"\0"

    async def count(
        self, start: bytes = b"", end: bytes | None = None, *, prefix: bytes | None = None, at: At = None
    ) -> int:
        """How many keys there are in a range, or with a prefix."""
        start, end = _span(start, end, prefix)
        return await self._kv.call(KV.count, start, end, await self.revision_at(at))

    async def revision_at(self, at: At) -> int | None:
        """The revision that `at` means: the last that had come at that time.  A revision is itself, None is None.  If
        nothing has been ordered since that time, this orders something (a `stale` handle raises `Refused` instead)."""
        if at is None:
            return None
        if isinstance(at, int):
            return number_of(at, "a revision", 0)
        time_ms = _milliseconds(at)
        found = await self._kv.call(KV.revision_at, time_ms)
        if found is None and self._kv.is_stale:
            raise Refused(
                "the node that was asked has not come to that time; a read that is not stale makes sure of it"
            )
        return found if found is not None else await self._kv.call(KV.settle, time_ms)

    # --- history --------------------------------------------------------------------------------------------------

    async def history(self, key: bytes, limit: int = RANGE_ITEMS_MAX) -> list[Event]:
        """The latest changes of a key that are remembered, oldest first."""
        return await self._kv.call(KV.history, key, limit)

    async def info(self) -> Info:
        """Revision, oldest readable revision, and how much there is."""
        return await self._kv.call(KV.info)

    async def compact(self, revision: int) -> int:
        """Forget what was before that revision; how many bytes of history remain.  Raises as `KV.compact`,
        and `ConfigurationError` for a revision before the first."""
        return await self._kv.call(KV.compact, number_of(revision, "a revision", 0))

    async def retain(self, age_s: float) -> int:
        """Keep the history for that long, from now on; the least revision that is left."""
        return await self._kv.call(KV.retain, int(seconds_of(age_s, "the age of a history") * 1000))

    def watch(
        self,
        start: bytes,
        end: bytes | None = None,
        *,
        prefix: bool = False,
        after: int | None = None,
        puts: bool = True,
        deletes: bool = True,
        previous: bool = False,
        patience_s: float | None = None,
    ) -> Watch:
        """Follow a key; or, with `prefix`, all keys that begin with `start`; or, with `end`, a range.

        after: from the first change beyond that revision on; None: from those on that are acknowledged later than the
            watch begins.  To read a state and follow it without a gap, give the revision of the `range`; to go on in
            another run of the program, the `revision` of the former watch, once it has `begun`.
        puts, deletes: leave one or the other out.  previous: tell what was there before.
        patience_s: how long no node may be heard before it gives up; None: it waits for ever.

        Raises `ConfigurationError` for a prefix with an end, or a revision before the first, and `TypeError`.
        """
        start = bytes_of(start, "what is watched")
        if prefix:
            if end is not None:
                raise ConfigurationError("give a prefix or an end, not both")
            end = prefix_end(start)
        elif end is None:
            end = start + b"\0"
        position = None if after is None else position_after(number_of(after, "`after`", 0, REVISION_MAX))
        options = {"start": start, "end": end, "puts": puts, "deletes": deletes, "previous": previous}
        return self._kv.follow(KV.watch, options, position, patience_s)

    # --- leases ---------------------------------------------------------------------------------------------------

    def lease(self, ttl_s: float = TTL_S, *, cancels: bool = True) -> Lease:
        """A lease that is kept alive while its block runs."""
        return Lease(self, ttl_s, cancels)

    async def grant(self, ttl_s: float) -> LeaseInfo:
        """A lease that the caller keeps alive by itself, or not.  Raises `Refused` if the length is out of bounds,
        `Quota` if there are too many."""
        return await self._kv.call(KV.grant, int(seconds_of(ttl_s, "the length of a lease") * 1000))

    async def keep_alive(self, lease: "Leased | int") -> LeaseInfo | None:
        """Renew a lease; None if it has ended."""
        return await self._kv.call(KV.keep_alive, _id(lease))

    async def revoke(self, lease: "Leased | int") -> bool:
        """End a lease and delete its keys, in one revision; whether it was there."""
        return await self._kv.call(KV.revoke, _id(lease))

    async def lease_info(self, lease: "Leased | int") -> LeaseInfo | None:
        """What is left of a lease; None if it has ended."""
        return await self._kv.call(KV.lease, _id(lease))

    async def lease_keys(self, lease: "Leased | int") -> list[bytes]:
        """The keys that go with a lease."""
        return await self._kv.call(KV.lease_keys, _id(lease))

    async def leases(self, after: int = 0, limit: int = RANGE_ITEMS_MAX) -> list[LeaseInfo]:
        """Leases with an id beyond `after`, at most `limit`."""
        return await self._kv.call(KV.leases, after, limit)


def _span(start: bytes, end: bytes | None, prefix: bytes | None) -> tuple[bytes, bytes | None]:
    """The range that is meant.  Raises `ConfigurationError` for one that is given twice, and `TypeError`."""
    if prefix is None:
        return start, end
    if start or end is not None:
        raise ConfigurationError("give a prefix, or a start and an end, not both")
    return bytes_of(prefix, "a prefix"), prefix_end(prefix)


def _milliseconds(at: datetime | timedelta) -> int:
    """Since the epoch.  Raises `ConfigurationError` for a time that is none, and `TypeError`."""
    if not isinstance(at, datetime | timedelta):
        raise TypeError(f"`at` is a revision, a datetime or a timedelta, not {type(at).__name__}")
    try:
        moment = datetime.now(UTC) - at if isinstance(at, timedelta) else at
    except OverflowError:
        raise ConfigurationError(f"no calendar has the time {at} ago") from None
    return milliseconds_of(moment, "a time")


def _id(lease: "Leased | int") -> int:
    """Raises `RuntimeError` for a lease that is not held yet: what is put under it would stay for ever.  And `TypeError`
    for what is none."""
    if isinstance(lease, int):
        return lease
    if not hasattr(lease, "id"):
        raise TypeError(f"a lease is what `lease` or `grant` gave, or its id (0: none), not {type(lease).__name__}")
    if not lease.id:
        raise RuntimeError("this lease is not held yet: begin its block, as in `async with store.lease() as lease`")
    return lease.id
