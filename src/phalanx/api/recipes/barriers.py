"""Barriers: wait for somebody, or for each other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from phalanx.api.arguments import number_of
from phalanx.api.lease import TTL_S, Lease
from phalanx.api.recipes.bytewise import takes_bytes
from phalanx.api.recipes.line import Held, gone, settled
from phalanx.api.store import Store
from phalanx.errors import Refused
from phalanx.services.store.values import Created, Delete, Exists, Found, Get, Put, Versioned, Written


async def _put_once(store: Store, lease: Lease, key: bytes, absent: bytes) -> Held | None:
    """Put a key under the lease, if the other one is absent."""
    done = await store.transact([Exists(absent, False), Exists(key, False)], [Put(key, b"", lease.id)])
    if not done.succeeded:
        return None
    [written] = done.results
    assert isinstance(written, Written)
    return Held(store, lease, key, written.created, done.token)


@takes_bytes
@asynccontextmanager
async def barrier(store: Store, name: bytes, *, ttl_s: float = TTL_S, cancels: bool = True) -> AsyncIterator[Held]:
    """Keep a barrier up while the block runs: `pass_barrier` waits.  It is down when this process dies, too.  Raises
    `Refused` if it is up already."""
    key = name + b"/barrier"
    async with store.lease(ttl_s, cancels=cancels) as lease:
        held = await _put_once(store, lease, key, key)
        if held is None:
            raise Refused(f"barrier {name!r} is up already")
        lease.stands_with(held.key, held.created)
        yield held


@takes_bytes
async def pass_barrier(store: Store, name: bytes) -> None:
    """Wait until the barrier is down; at once if it is."""
    key = name + b"/barrier"
    while True:
        found = await store.range(key, key + b"\0")
        if not found.items:
            return
        await gone(store, key, found.revision)


@takes_bytes
@asynccontextmanager
async def double_barrier(
    store: Store, name: bytes, count: int, *, ttl_s: float = TTL_S, cancels: bool = True
) -> AsyncIterator[Held]:
    """Begin the block together with `count` - 1 others, and end it together: all wait at the beginning until so many
    are there, and at the end until all of them have left or died.

    Who comes while others are inside waits for their end.  Raises `ConfigurationError` if `count` is not positive.
    """
    number_of(count, "the number of processes at a double barrier", 1)
    inside, ready = name + b"/in/", name + b"/ready"
    async with store.lease(ttl_s, cancels=cancels) as lease:
        held = await _enter(store, lease, inside, ready)
        await settled(store, name + b"/", lambda items: ready in items or _inside(items, inside) >= count)
        since = await _begin(store, ready)
        yield held
        await store.transact([held.compare], [Delete(held.key)])  # a block that fails leaves with the lease
        await _end(store, inside, ready, since)


def _inside(items: dict[bytes, Versioned], prefix: bytes) -> int:
    return sum(key.startswith(prefix) for key in items)


async def _enter(store: Store, lease: Lease, inside: bytes, ready: bytes) -> Held:
    """Go in, once those who are together inside have left."""
    while True:
        held = await _put_once(store, lease, inside + b"%016x" % lease.id, ready)
        if held is not None:
            return held
        found = await store.get(ready)
        if found is not None:
            await _end(store, inside, ready, found.created)


async def _begin(store: Store, ready: bytes) -> int:
    """All are there: the revision at which that was said.  Whoever came before it is of this round."""
    done = await store.transact([Exists(ready, False)], [Put(ready, b"")], [Get(ready)])
    [result] = done.results
    if isinstance(result, Written):
        return result.created
    assert isinstance(result, Found) and result.item is not None
    return result.item.created


async def _end(store: Store, inside: bytes, ready: bytes, since: int) -> None:
    """Wait until all of that round have left, and let the next come: whoever sees it says so, for the last may have died.
    (The next round may begin before all have seen the end of this one, so an empty barrier may never be seen.)"""
    await settled(store, inside, lambda items: all(item.created > since for item in items.values()))
    await store.transact([Created(ready, "==", since)], [Delete(ready)])
