"""The recipes for threads: see `phalanx.recipes`, name by name.

Whatever is held is held while a `with` block runs.  Its loss cannot stop a thread: it is told by `held.lost` and
`held.check()`, at once; by every write through `held`, which is refused with `Fenced`; and by `LeaseLost`, raised at the
end of the block (unless it was begun with `cancels=False`).
"""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

from phalanx.api import recipes as aio
from phalanx.api import store as aio_store
from phalanx.api.lease import TTL_S
from phalanx.api.recipes import Claim
from phalanx.services.store.values import Append, Compare
from phalanx.sync.background import Background, Block, Bridged, calls, iterated
from phalanx.sync.store import Lease, Store, check
from phalanx.sync.terms import Holding as Holding
from phalanx.sync.terms import Term as Term

A = TypeVar("A")
B = TypeVar("B")
P = ParamSpec("P")


class Held(Bridged[aio.Held]):
    """Something that a block holds.  token: greater than that of every earlier holder."""

    transact = calls(aio.Held.transact)
    put = calls(aio.Held.put)

    @property
    def token(self) -> int:
        """The fencing token: greater than that of every earlier holder."""
        return self.wrapped.token

    @property
    def key(self) -> bytes:
        """The entry in the store that stands for it."""
        return self.wrapped.key

    @property
    def created(self) -> int:
        """The revision in which that entry was made."""
        return self.wrapped.created

    @property
    def compare(self) -> Compare:
        """True only as long as it is held: for transactions of one's own."""
        return self.wrapped.compare

    @property
    def lease(self) -> Lease:
        """What it is held under."""
        return Lease(self.background, self.wrapped.lease)

    @property
    def lost(self) -> bool:
        """Whether it is lost, or was given up at the end of its block."""
        return self.over or self.wrapped.lease.guard.error is not None

    def check(self) -> None:
        """Raises `LeaseLost` if it is lost, or its block has ended: between the steps of whatever must be done by the
        holder alone."""
        check(self.wrapped.lease.guard, self.over)


class Membership(Held):
    """One's own place.  Made by `membership`."""

    def __init__(self, background: Background, wrapped: aio.Membership) -> None:
        super().__init__(background, wrapped)
        self._place = wrapped

    def update(self, data: bytes) -> None:
        """Say something else of oneself.  Raises `Fenced` if one is not a member any more."""
        self.background.call(self._place.update(data))


def _store_of(store: object) -> Store:
    """The store.  Raises `TypeError` for another thing, such as a store for asyncio."""
    if not isinstance(store, Store):
        raise TypeError(f"give a store of phalanx.sync (client.kv()), not {store!r}")
    return store


def _holds(
    make: Callable[Concatenate[aio_store.Store, P], AbstractAsyncContextManager[A]],
    wrap: Callable[[Background, A], B],
) -> Callable[Concatenate[Store, P], Block[A, B]]:
    """A recipe that is an asynchronous context manager, as a synchronous one with the same parameters."""

    @functools.wraps(make)
    def hold(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> Block[A, B]:
        background, wrapped = _store_of(store).background, store.wrapped
        return Block(background, lambda: make(wrapped, *args, **kwargs), lambda value: wrap(background, value))

    return hold


def _keeps(
    make: Callable[Concatenate[aio_store.Store, P], aio.Holding[A]], wrap: Callable[[Background, A], B]
) -> Callable[Concatenate[Store, P], Holding[A, B]]:
    """As `_holds`, for one that can be held by terms."""

    @functools.wraps(make)
    def hold(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> Holding[A, B]:
        background, wrapped = _store_of(store).background, store.wrapped
        return Holding(background, lambda: make(wrapped, *args, **kwargs), lambda value: wrap(background, value))

    return hold


def _shares(background: Background, shares: AsyncIterator[dict[bytes, aio.Held]]) -> Iterator[dict[bytes, Held]]:
    for owned in iterated(background, shares):
        yield {item: Held(background, held) for item, held in owned.items()}


def _itself(background: Background, claim: Claim) -> Claim:
    del background
    return claim


lock = _keeps(aio.lock, Held)
read_lock = _keeps(aio.read_lock, Held)
write_lock = _keeps(aio.write_lock, Held)
semaphore = _keeps(aio.semaphore, Held)
lead = _keeps(aio.lead, Held)
barrier = _holds(aio.barrier, Held)
double_barrier = _holds(aio.double_barrier, Held)
membership = _keeps(aio.membership, Membership)
observe = _holds(aio.observe, iterated)
watch_members = _holds(aio.watch_members, iterated)
partition = _keeps(aio.partition, _shares)


def pass_barrier(store: Store, name: bytes) -> None:
    """Wait until the barrier is down; at once if it is."""
    _store_of(store).background.call(aio.pass_barrier(store.wrapped, name))


class PriorityQueue(Bridged[aio.PriorityQueue]):
    """As `recipes.PriorityQueue`: items with a lower priority number come first, each is taken by one."""

    def __init__(self, store: Store, name: bytes) -> None:
        super().__init__(_store_of(store).background, aio.PriorityQueue(store.wrapped, name))

    put = calls(aio.PriorityQueue.put)
    retry = calls(aio.PriorityQueue.retry)
    get = calls(aio.PriorityQueue.get)
    count = calls(aio.PriorityQueue.count)

    def item(
        self, data: bytes, priority: int = 0, *, delay_s: float = 0.0, not_before: datetime | None = None
    ) -> Append:
        """The operation that adds an item: as `recipes.PriorityQueue.item`."""
        return self.wrapped.item(data, priority, delay_s=delay_s, not_before=not_before)

    def claim(self, *, ttl_s: float = TTL_S, cancels: bool = True) -> Block[Claim, Claim]:
        """Work on the next item while the block runs: as `recipes.PriorityQueue.claim`."""
        return Block(
            self.background,
            lambda: self.wrapped.claim(ttl_s=ttl_s, cancels=cancels),
            lambda claim: _itself(self.background, claim),
        )

    def __iter__(self) -> Iterator[bytes]:
        """Items as they come, each removed when it is taken."""
        while True:
            yield self.get()


class Queue(PriorityQueue):
    """First in, first out."""

    def __init__(self, store: Store, name: bytes) -> None:
        Bridged.__init__(self, _store_of(store).background, aio.Queue(store.wrapped, name))


class Counter(Bridged[aio.Counter]):
    """A number that many add to: as `recipes.Counter`."""

    def __init__(self, store: Store, name: bytes) -> None:
        super().__init__(_store_of(store).background, aio.Counter(store.wrapped, name))

    value = calls(aio.Counter.value)
    add = calls(aio.Counter.add)


class UniqueIds(Bridged[aio.UniqueIds]):
    """Numbers that nobody else gets: as `recipes.UniqueIds`, an iterator without an end."""

    def __init__(self, store: Store, name: bytes, *, block: int = 100) -> None:
        super().__init__(_store_of(store).background, aio.UniqueIds(store.wrapped, name, block=block))

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        return self.background.call(self.wrapped.__anext__())


class Config(Bridged[aio.Config]):
    """Settings that many read and follow: as `recipes.Config`."""

    def __init__(self, store: Store, name: bytes) -> None:
        super().__init__(_store_of(store).background, aio.Config(store.wrapped, name))

    read = calls(aio.Config.read)
    change = calls(aio.Config.change)

    def follow(self) -> Block[AsyncIterator[dict[bytes, bytes]], Iterator[dict[bytes, bytes]]]:
        """All settings, now and after each change.

        with config.follow() as changes:
            for settings in changes: ...
        """
        return Block(self.background, self.wrapped.follow, lambda changes: iterated(self.background, changes))
