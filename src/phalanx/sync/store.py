"""The store, its watches and leases for threads: see `phalanx.api.store`, `watch` and `lease`, method by method."""

import asyncio
from collections.abc import Iterator
from types import TracebackType

from phalanx.api import lease as aio_lease
from phalanx.api import store as aio_store
from phalanx.api import watch as aio_watch
from phalanx.api.arguments import seconds_of
from phalanx.api.guard import Guard
from phalanx.errors import LeaseLost, PhalanxError
from phalanx.services.store.values import Event
from phalanx.sync.background import Block, Bridged, calls, iterates


class Store(Bridged[aio_store.Store]):
    """A handle to a store.  Made by `Client.kv`.  As `phalanx.Store`, but every call waits for its answer."""

    get = calls(aio_store.Store.get)
    put = calls(aio_store.Store.put)
    delete = calls(aio_store.Store.delete)
    delete_range = calls(aio_store.Store.delete_range)
    delete_prefix = calls(aio_store.Store.delete_prefix)
    compare_and_set = calls(aio_store.Store.compare_and_set)
    transact = calls(aio_store.Store.transact)
    range = calls(aio_store.Store.range)
    items = iterates(aio_store.Store.items)
    count = calls(aio_store.Store.count)
    revision_at = calls(aio_store.Store.revision_at)
    history = calls(aio_store.Store.history)
    info = calls(aio_store.Store.info)
    compact = calls(aio_store.Store.compact)
    retain = calls(aio_store.Store.retain)
    grant = calls(aio_store.Store.grant)
    keep_alive = calls(aio_store.Store.keep_alive)
    revoke = calls(aio_store.Store.revoke)
    lease_info = calls(aio_store.Store.lease_info)
    lease_keys = calls(aio_store.Store.lease_keys)
    leases = calls(aio_store.Store.leases)

    @property
    def name(self) -> str:
        """The group's name."""
        return self.wrapped.name

    def within(self, timeout_s: float) -> "Store":
        """The same store, with another deadline for its calls, in seconds."""
        return Store(self.background, self.wrapped.within(timeout_s))

    @property
    def stale(self) -> "Store":
        """Reads that are answered at once from what a node has: maybe old, never wrong."""
        return Store(self.background, self.wrapped.stale)

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
    ) -> "Watch":
        """Follow a key, a prefix or a range: as `phalanx.Store.watch`."""
        watch = self.wrapped.watch(
            start,
            end,
            prefix=prefix,
            after=after,
            puts=puts,
            deletes=deletes,
            previous=previous,
            patience_s=patience_s,
        )
        return Watch(self.background, watch)

    def lease(self, ttl_s: float = aio_lease.TTL_S, *, cancels: bool = True) -> "Block[aio_lease.Lease, Lease]":
        """A lease that is kept alive while its block runs.  `cancels`: its loss is raised at the end of the block."""
        return Block(
            self.background,
            lambda: self.wrapped.lease(ttl_s, cancels=cancels),
            lambda lease: Lease(self.background, lease),
        )


class Watch(Bridged[aio_watch.Watch]):
    """The changes of a range of keys, as `phalanx.Watch`: none lost, none doubled.

        with store.watch(b"config/", prefix=True) as changes:
            for event in changes: ...

    One thread reads; any may `close` it, which ends the iteration.
    """

    begun = calls(aio_watch.Watch.begun)

    def __enter__(self) -> "Watch":
        self.background.call(self.wrapped.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            return self.background.call(self._next(None))
        except StopAsyncIteration:
            raise StopIteration from None

    revisions = iterates(aio_watch.Watch.revisions)

    def next(self, timeout_s: float) -> Event:
        """The next change.  Raises TimeoutError if there is none within so many seconds (none is lost by that), what ends
        the watch, and StopIteration if it was closed."""
        try:
            return self.background.call(self._next(seconds_of(timeout_s, "how long to wait for a change")))
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self, timeout_s: float | None) -> Event:
        async with asyncio.timeout(timeout_s):
            return await anext(self.wrapped)

    @property
    def revision(self) -> int:
        """The last revision of which everything that concerns this watch was read: where to go on, with `after`."""
        return self.wrapped.revision

    @property
    def pending(self) -> bool:
        """Whether a change has been received that was not read yet."""
        return self.wrapped.pending

    def close(self) -> None:
        """End it: the iteration stops after what has been received."""
        self.background.soon(self.wrapped.close)


def check(guard: Guard, over: bool) -> None:
    """Raise why it is lost, if it is; or that it is `over`."""
    error: PhalanxError | None = guard.error
    if error is not None:
        raise type(error)(*error.args)
    if over:
        raise LeaseLost("its block has ended, and it was given up with that")


class Lease(Bridged[aio_lease.Lease]):
    """A lease that a block holds: as `phalanx.Lease`, but its loss cannot stop the block."""

    @property
    def id(self) -> int:
        """Grows from lease to lease, so it is a fencing token."""
        return self.wrapped.id

    @property
    def lost(self) -> bool:
        """Whether the lease is lost, or was given up at the end of its block."""
        return self.over or self.wrapped.guard.error is not None

    @property
    def remaining_s(self) -> float:
        """For how long the lease is safely held, if no sign of life gets through any more."""
        return self.wrapped.remaining_s

    def check(self) -> None:
        """Raises `LeaseLost` if it is lost, or its block has ended."""
        check(self.wrapped.guard, self.over)
