"""Locks, read/write locks and semaphores."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from phalanx.api.arguments import number_of
from phalanx.api.lease import TTL_S, Lease
from phalanx.api.recipes.bytewise import takes_bytes
from phalanx.api.recipes.line import Entry, Held, Line
from phalanx.api.recipes.terms import Holding
from phalanx.api.store import Store
from phalanx.errors import Refused
from phalanx.services.store.values import Exists, Found, Get, Put


def first(entries: list[Entry], own: int) -> bytes | None:
    """Each waits for the one before it."""
    return entries[own - 1].key if own else None


@takes_bytes
def lock(store: Store, name: bytes, *, ttl_s: float = TTL_S, data: bytes = b"", cancels: bool = True) -> Holding[Held]:
    """Hold the lock of that name while the block runs.  First come, first served.

        async with recipes.lock(store, b"locks/door") as held:
            await held.put(b"door", b"open")        # refused with `Fenced` if the lock is not held any more
            device.write(data, token=held.token)

    ttl_s: how long others wait after this process has died.  data: for people who look at the line.
    cancels: losing the lock cancels the block, and `LeaseLost` leaves it; else look at `held.lease.lost`.

    Not reentrant.  Wait for a limited time with `asyncio.timeout`: whoever gives up leaves the line.
    """
    return Line(store, name, first).hold(ttl_s, data, cancels)


def _after_writers(entries: list[Entry], own: int) -> bytes | None:
    writers = [entry.key for entry in entries[:own] if entry.key.rpartition(b"/")[2].startswith(b"w")]
    return writers[-1] if writers else None


@takes_bytes
def read_lock(
    store: Store, name: bytes, *, ttl_s: float = TTL_S, data: bytes = b"", cancels: bool = True
) -> Holding[Held]:
    """Hold the read/write lock of that name together with other readers.  First come, first served: a reader waits
    for the writers that came before it, and for no other.  Parameters as for `lock`."""
    return Line(store, name, _after_writers).hold(ttl_s, data, cancels, b"r")


@takes_bytes
def write_lock(
    store: Store, name: bytes, *, ttl_s: float = TTL_S, data: bytes = b"", cancels: bool = True
) -> Holding[Held]:
    """Hold the read/write lock of that name alone.  Parameters as for `lock`."""
    return Line(store, name, first).hold(ttl_s, data, cancels, b"w")


@takes_bytes
def semaphore(
    store: Store, name: bytes, permits: int, *, ttl_s: float = TTL_S, data: bytes = b"", cancels: bool = True
) -> Holding[Held]:
    """Hold one of so many permits.  First come, first served.

    The first who comes fixes their number.  Raises `Refused` for another number, `ConfigurationError` if it is not
    positive.  Other parameters as for `lock`.
    """
    number = b"%d" % number_of(permits, "the number of permits", 1)

    def within(_: list[Entry], own: int) -> bytes | None:
        return None if own < permits else b""

    @asynccontextmanager
    async def hold(lease: Lease) -> AsyncIterator[Held]:
        await _agree(store, name, number)
        async with Line(store, name + b"/line", within).place(lease, data) as held:
            yield held

    return Holding(store, ttl_s, cancels, hold)


async def _agree(store: Store, name: bytes, number: bytes) -> None:
    """On the number of permits."""
    key = name + b"/permits"
    done = await store.transact([Exists(key, False)], [Put(key, number)], [Get(key)])
    if not done.succeeded:
        [found] = done.results
        assert isinstance(found, Found) and found.item is not None
        if found.item.value != number:
            raise Refused(f"semaphore {name!r} has {found.item.value.decode()} permits, not {number.decode()}")
