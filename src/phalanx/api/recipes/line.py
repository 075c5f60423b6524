"""Lines of contenders: what locks, semaphores, elections and barriers are made of.

Whoever wants something puts a key under its lease into the line; the store's revisions say who came first.  Each
waits for the end of one key ahead of it, not for every change of the line, so that one release wakes one waiter (no
herd).

Source: the recipes of ZooKeeper (Hunt et al., "ZooKeeper: Wait-free coordination for Internet-scale systems", 2010,
section 2.4), with leases in place of ephemeral nodes and creation revisions in place of sequence numbers.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple, TypeVar

from phalanx.api.lease import Lease
from phalanx.api.recipes.terms import Holding
from phalanx.api.store import Store
from phalanx.errors import Compacted, Fenced, LeaseLost
from phalanx.services.store.values import (
    Compare,
    Created,
    Exists,
    Operation,
    Put,
    Range,
    Txn,
    Versioned,
    Written,
    prefix_end,
)

T = TypeVar("T")


class Entry(NamedTuple):
    """One place in a line."""

    key: bytes
    item: Versioned


class Held:
    """Something that a block holds.

    token: greater than that of every earlier holder.  key: the entry in the store that stands for it.
    """

    def __init__(self, store: Store, lease: Lease, key: bytes, created: int, token: int) -> None:
        self._store = store
        self.lease = lease
        self.key = key
        self.created = created
        self.token = token

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key!r}, token {self.token}, under {self.lease!r}>"

    @property
    def compare(self) -> Compare:
        """True only as long as it is held: for transactions of one's own."""
        return Created(self.key, "==", self.created)

    async def transact(self, operations: Sequence[Operation]) -> Txn:
        """Do all of these, only while it is held.  Raises `Fenced`, having changed nothing, if it is not.  (For
        transactions with compares of one's own, put `compare` among them.)"""
        done = await self._store.transact([self.compare], operations)
        if not done.succeeded:
            raise Fenced(f"{self.key!r} is not held any more")
        return done

    async def put(self, key: bytes, value: bytes) -> int:
        """Set a key, while it is held; the new revision.  Raises `Fenced` if it is not."""
        return (await self.transact([Put(key, value)])).revision


async def snapshot(store: Store, prefix: bytes) -> tuple[dict[bytes, Versioned], int]:
    """All keys with a prefix, and the revision at which that was so.  One that is forgotten before the last page of it is
    read makes room for a later one."""
    found: dict[bytes, Versioned] = {}
    start, end, at = prefix, prefix_end(prefix), None
    while True:
        try:
            page: Range = await store.range(start, end, at=at)
        except Compacted:
            found, start, at = {}, prefix, None
            continue
        found |= dict(page.items)
        if not page.more:
            return found, page.revision
        start, at = page.items[-1][0] + b"\0", page.revision


async def states(store: Store, prefix: bytes) -> AsyncIterator[dict[bytes, Versioned]]:
    """All keys with a prefix, now and after each change (only the latest state, if several came at once)."""
    while True:
        try:
            items, revision = await snapshot(store, prefix)
            yield dict(items)
            async with store.watch(prefix, prefix=True, after=revision) as changes:
                async for events in changes.revisions():
                    for event in events:
                        if event.item is None:
                            items.pop(event.key, None)
                        else:
                            items[event.key] = event.item
                    if not changes.pending:
                        yield dict(items)
        except Compacted:
            continue  # too slow for the history: begin with what there is


@asynccontextmanager
async def following(changes: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """An iterator that ends with its block."""
    async with aclosing(changes) as iterator:  # type: ignore[type-var]  # it is a generator
        yield iterator


async def settled(store: Store, prefix: bytes, condition: Callable[[dict[bytes, Versioned]], bool]) -> None:
    """Wait until the keys with a prefix are so."""
    async with following(states(store, prefix)) as changes:
        async for items in changes:
            if condition(items):
                return


async def gone(store: Store, key: bytes, after: int, prefix: bool = False) -> None:
    """Wait until that key, or one with that prefix, was deleted after that revision; or maybe was."""
    try:
        async with store.watch(key, prefix=prefix, after=after, puts=False) as changes:
            await anext(changes)
    except Compacted:
        pass  # look again


class Line:
    """The line of that name.  `blocked`: which key, or any of them (b""), an entry waits for, given all entries in their
    order and its own place; None: it is its turn."""

    def __init__(self, store: Store, name: bytes, blocked: Callable[[list[Entry], int], bytes | None]) -> None:
        self._store = store
        self.prefix = name + b"/"
        self._blocked = blocked

    async def enter(self, lease: Lease, data: bytes, kind: bytes = b"") -> Held:
        """Take the last place.  Raises `LeaseLost` if the lease has ended."""
        key = self.prefix + kind + b"%016x" % lease.id
        done = await self._store.transact([Exists(key, False)], [Put(key, data, lease.id)])
        if not done.succeeded:
            raise LeaseLost(f"{key!r} is in the line already: a lease has one place in each line")
        [written] = done.results
        assert isinstance(written, Written)
        return Held(self._store, lease, key, written.created, done.token)

    async def turn(self, held: Held) -> None:
        """Wait until it is the turn of that place.  Raises `LeaseLost` if it is not in the line any more."""
        while True:
            items, revision = await snapshot(self._store, self.prefix)
            entries = in_order(items)
            own = next((n for n, entry in enumerate(entries) if entry.key == held.key), None)
            if own is None or entries[own].item.created != held.created:
                raise LeaseLost(f"{held.key!r} is not in the line any more")
            blocked = self._blocked(entries, own)
            if blocked is None:
                return
            await gone(self._store, blocked or self.prefix, revision, prefix=not blocked)

    @asynccontextmanager
    async def place(self, lease: Lease, data: bytes, kind: bytes = b"") -> AsyncIterator[Held]:
        """Wait for a turn under that lease, and have it while the block runs."""
        held = await self.enter(lease, data, kind)
        lease.stands_with(held.key, held.created)
        await self.turn(held)
        yield held

    def hold(self, ttl_s: float, data: bytes, cancels: bool, kind: bytes = b"") -> Holding[Held]:
        """A turn, for one block or for many."""
        return Holding(self._store, ttl_s, cancels, lambda lease: self.place(lease, data, kind))


def in_order(items: dict[bytes, Versioned]) -> list[Entry]:
    """Entries in the order in which they came."""
    return sorted((Entry(key, item) for key, item in items.items()), key=lambda entry: entry.item.created)
