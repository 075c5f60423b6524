"""Queues: each item is taken by one.

An item is a key `items/PRIORITY/NUMBER`; the store gives the number where it is appended. An item that is being worked on
has a key `claims/...` under the worker's lease, so that it is there again for others when the worker dies. Whoever claims
it writes it once more as it is: the key's version counts the tries, and goes with it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from phalanx.api.arguments import number_of
from phalanx.api.guard import to_its_end
from phalanx.api.lease import TTL_S
from phalanx.api.recipes.bytewise import takes_bytes
from phalanx.api.recipes.line import snapshot
from phalanx.api.store import Store
from phalanx.errors import Compacted, ConfigurationError, Fenced, PhalanxError
from phalanx.services.store.values import (
    Append,
    Compare,
    Created,
    Delete,
    Exists,
    Put,
    Txn,
    Versioned,
    Written,
    prefix_end,
)

PRIORITY_MAX = (1 << 32) - 1
"""Priorities are 32-bit numbers: they are part of the key."""

LOOKAHEAD = 32
"""Items looked at together: so many workers can claim at once before one has to look further."""

PUT_BACK_S = 2.0
"""How long a `get` that is cancelled tries to put back what it was about to take."""


class Claim(NamedTuple):
    """An item that a block works on.

    token: greater than that of whoever claimed the item before.  key: the item's; who deletes it has done it.
    compare: true only as long as it is claimed here, for transactions: what is written with it, together with the item's
    deletion, is written once, whoever fails and whoever is too late.
    tries: how often the item has been claimed, this time included: more than once if blocks raised or workers died.

        await store.transact([claim.compare], [txn.Put(b"results/1", result), txn.Delete(claim.key)])
    """

    data: bytes
    token: int
    key: bytes
    compare: Compare
    tries: int


def _free(key: bytes, item: Versioned, claim: bytes) -> list[Compare]:
    """The item is still there, and nobody works on it."""
    return [Created(key, "==", item.created), Exists(claim, False)]


def _version(claimed: Txn) -> int:
    """Of the item, which is written last where it is claimed."""
    written = claimed.results[-1]
    assert isinstance(written, Written)
    return written.version


class PriorityQueue:
    """Items with a lower priority number come first, and of those with the same the one that was put first."""

    def __repr__(self) -> str:
        return f"<phalanx.recipes.{type(self).__name__} {self._items!r}>"

    @takes_bytes
    def __init__(self, store: Store, name: bytes) -> None:
        self._store = store
        self._items = name + b"/items/"
        self._claims = name + b"/claims/"

    @takes_bytes
    async def put(self, data: bytes, priority: int = 0) -> None:
        """Add an item, exactly once.  Raises as a transaction does, and `ConfigurationError` if the priority is not
        from 0 to `PRIORITY_MAX`."""
        await self._store.transact(then=[self.item(data, priority)])

    @takes_bytes
    def item(self, data: bytes, priority: int = 0) -> Append:
        """The operation that adds an item, for transactions of one's own: what it is done with is done if and only if the
        item is there.  Raises `ConfigurationError` for a priority.

            await store.transact([claim.compare], [txn.Delete(claim.key), later.item(b"second half")])
        """
        number_of(priority, "a priority", 0, PRIORITY_MAX)
        return Append(self._items + b"%08x/" % priority, data)

    async def get(self) -> bytes:
        """Remove the next item and return it; waits for one.  It is gone then: use `claim` if it must not be lost with
        this process, nor by an `OutcomeUnknown`.

        If it is cancelled, as by `asyncio.timeout`, it has taken nothing: an item that it was about to take is put back
        to its place, which holds the cancellation up for as long as that takes, but not beyond two seconds.
        """
        while True:
            for key, item in await self._next():
                free = _free(key, item, self._claim_of(key))
                taking = asyncio.ensure_future(self._store.transact(free, [Delete(key)]))
                try:
                    taken = (await asyncio.shield(taking)).succeeded
                except asyncio.CancelledError:
                    await to_its_end(self._put_back(taking, key, item.value))
                    raise
                if taken:
                    return item.value

    async def _put_back(self, taking: "asyncio.Future[Txn]", key: bytes, data: bytes) -> None:
        """What is being taken: nobody waits for it any more."""
        try:
            async with asyncio.timeout(PUT_BACK_S):
                if (await taking).succeeded:
                    await self._store.within(PUT_BACK_S).transact([Exists(key, False)], [Put(key, data)])
        except (PhalanxError, TimeoutError):
            pass  # it is as if this process had died

    @asynccontextmanager
    async def claim(self, *, ttl_s: float = TTL_S, cancels: bool = True) -> AsyncIterator[Claim]:
        """Work on the next item; waits for one.  It is removed when the block ends, and free again for others if the
        block raises, or this process dies.

        An item whose worker lost its lease may be worked on twice: give the token to what must know, or write what comes
        of it in a transaction with `Claim.compare`.  Raises `LeaseLost` out of the block then (unless `cancels` is
        False), and `Fenced` if that is noticed at the end only.
        """
        async with self._store.lease(ttl_s, cancels=cancels) as lease:
            claim = await self._claim_next(lease.id)
            yield claim
            over = [Delete(claim.key), Delete(self._claim_of(claim.key))]
            if not (await self._store.transact([claim.compare], over)).succeeded:
                raise Fenced(f"{claim.key!r} was claimed by another meanwhile")

    async def _claim_next(self, lease: int) -> Claim:
        while True:
            for key, item in await self._next():
                mark = self._claim_of(key)
                free = _free(key, item, mark)
                done = await self._store.transact(free, [Put(mark, b"", lease), Put(key, item.value)])
                if done.succeeded:
                    mine = Created(mark, "==", done.revision)
                    return Claim(item.value, done.token, key, mine, tries=_version(done) - 1)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Items as they come, each removed when it is taken."""
        while True:
            yield await self.get()

    async def count(self) -> int:
        """Items that are there, those that are worked on included."""
        return await self._store.count(self._items, prefix_end(self._items))

    def _claim_of(self, item: bytes) -> bytes:
        return self._claims + item[len(self._items) :]

    async def _next(self) -> list[tuple[bytes, Versioned]]:
        """The first items that nobody works on, as far as can be seen: whoever comes too late for one tries the next,
        and need not look again."""
        while True:
            start, end = self._items, prefix_end(self._items)
            claims, at = await snapshot(self._store, self._claims)
            try:
                while True:
                    page = await self._store.range(start, end, LOOKAHEAD, at=at)
                    if free := [each for each in page.items if self._claim_of(each[0]) not in claims]:
                        return free
                    if not page.more:
                        break
                    start = page.items[-1][0] + b"\0"
            except Compacted:
                continue
            await self._changed(at)

    async def _changed(self, after: int) -> None:
        """Wait until there is another item, or a claim has ended."""
        name = self._items[: -len(b"items/")]
        try:
            async with self._store.watch(name, prefix=True, after=after) as changes:
                async for event in changes:
                    if event.item is None:
                        if event.key.startswith(self._claims):
                            return
                    elif event.key.startswith(self._items) and event.item.version == 1:  # else it is claimed
                        return
        except Compacted:
            return


class Queue(PriorityQueue):
    """First in, first out."""

    @takes_bytes
    def item(self, data: bytes, priority: int = 0) -> Append:
        """The operation that adds an item, as that of `PriorityQueue`; but there are no priorities."""
        if priority:
            raise ConfigurationError("a Queue has no priorities: use a PriorityQueue")
        return super().item(data)
