"""A set of items divided among those who are here.

Each item goes to the member for which a hash of both is greatest (Thaler and Ravishankar, "Using name-based mappings to
increase hit rates", 1998): who comes or goes moves only the items that it gets or had.  An item is *owned* by a key under
the owner's lease, and changes hands only when the former owner has let go of it, so nobody ever shares one.
"""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from phalanx.api.arguments import bytes_of
from phalanx.api.lease import TTL_S, Lease
from phalanx.api.recipes.bytewise import takes_bytes
from phalanx.api.recipes.line import Held, following, states
from phalanx.api.recipes.members import Membership, join
from phalanx.api.recipes.terms import Holding
from phalanx.api.store import Store
from phalanx.errors import ConfigurationError
from phalanx.services.store.values import Delete, Exists, Put, Versioned, Written

ITEMS_MAX = 10_000
"""Items of one partition: each is a key that all members follow."""


def owner_of(item: bytes, members: Iterable[bytes]) -> bytes | None:
    """Whose the item is to be, among these."""
    return max(members, key=lambda member: (_weight(item, member), member), default=None)


def _weight(item: bytes, member: bytes) -> bytes:
    return hashlib.blake2b(len(member).to_bytes(4, "big") + member + item, digest_size=16).digest()


class Share:
    """One member's share: an async iterator of what it owns, by item, each with its fencing token.

    What a set leaves out, and was in the last one, is released when the next set is asked for: stop working on it
    first.
    """

    def __init__(self, store: Store, name: bytes, me: Membership, who: bytes, items: Sequence[bytes]) -> None:
        self._store = store
        self._me = me
        self._who = who
        self._items = items
        self._members = name + b"/members/"
        self._owners = name + b"/owners/"
        self._prefix = name + b"/"
        self._owned: dict[bytes, Held] = {}

    async def changes(self) -> AsyncIterator[dict[bytes, Held]]:
        """What is owned, whenever that changes."""
        told: dict[bytes, Held] | None = None
        async with following(states(self._store, self._prefix)) as changes:
            async for found in changes:
                wanted = self._wanted(found)
                keeping = {item: held for item, held in self._owned.items() if item in wanted}
                if len(keeping) < len(self._owned):
                    told = keeping
                    yield dict(keeping)
                    await self._release(wanted)
                await self._claim(wanted, found)
                if self._owned != told:
                    told = dict(self._owned)
                    yield dict(told)

    def _wanted(self, found: dict[bytes, Versioned]) -> dict[bytes, None]:
        members = [key[len(self._members) :] for key in found if key.startswith(self._members)]
        return dict.fromkeys(item for item in self._items if owner_of(item, members) == self._who)

    async def _release(self, wanted: dict[bytes, None]) -> None:
        for item in [item for item in self._owned if item not in wanted]:
            held = self._owned.pop(item)
            await self._store.transact([held.compare], [Delete(held.key)])

    async def _claim(self, wanted: dict[bytes, None], found: dict[bytes, Versioned]) -> None:
        for item in wanted:
            key = self._owners + item
            if item in self._owned or key in found:
                continue
            free = [Exists(key, False), self._me.compare]
            done = await self._store.transact(free, [Put(key, self._who, self._me.lease.id)])
            if done.succeeded:
                [written] = done.results
                assert isinstance(written, Written)
                self._owned[item] = Held(self._store, self._me.lease, key, written.created, done.token)


@takes_bytes
def partition(
    store: Store, name: bytes, me: bytes, items: Iterable[bytes], *, ttl_s: float = TTL_S, cancels: bool = True
) -> Holding[AsyncIterator[dict[bytes, Held]]]:
    """Take a share of the items, under the name `me`, while the block runs; by `terms` again after a loss.

        async with recipes.partition(store, b"shards", b"worker-1", shards) as shares:
            async for owned in shares:      # by item, each with its `token`
                await work.only_on(owned)

    All members must name the same items.  See `Share` for how items change hands.  Losing the lease cancels the block
    (`LeaseLost`) unless `cancels` is False.  Raises `Refused` if there is a member `me`, `ConfigurationError` for too
    many items.
    """
    wanted = sorted({bytes_of(item, "an item of a partition") for item in items})
    if len(wanted) > ITEMS_MAX:
        raise ConfigurationError(f"{len(wanted)} items; a partition has up to {ITEMS_MAX}")

    @asynccontextmanager
    async def hold(lease: Lease) -> AsyncIterator[AsyncIterator[dict[bytes, Held]]]:
        place = await join(store, lease, name + b"/members", me, b"")
        async with following(Share(store, name, place, me, wanted).changes()) as shares:
            yield shares

    return Holding(store, ttl_s, cancels, hold)
