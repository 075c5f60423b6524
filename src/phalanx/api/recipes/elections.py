"""Leader election: one of many leads, all can see who."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from phalanx.api.lease import TTL_S
from phalanx.api.recipes.bytewise import takes_bytes
from phalanx.api.recipes.line import Held, Line, following, in_order, states
from phalanx.api.recipes.locks import first
from phalanx.api.recipes.terms import Holding
from phalanx.api.store import Store


class Leader(NamedTuple):
    """Who leads, as an observer sees it.  `data` is what it says of itself.  `term` is the revision of its candidacy:
    that of a later leader is greater."""

    data: bytes
    term: int
    key: bytes


@takes_bytes
def lead(store: Store, name: bytes, data: bytes = b"", *, ttl_s: float = TTL_S, cancels: bool = True) -> Holding[Held]:
    """Stand for election and wait to be elected; lead while the block runs, and resign at its end.

    data: what observers see, such as an address.  At most one leads at any time, as far as it writes through
    `Held.transact` or what it writes to looks at its token.  Losing the leadership cancels the block (`LeaseLost`)
    unless `cancels` is False; by `terms` one stands again then.  `ttl_s`: how long it takes at most to notice that a
    leader has died.
    """
    return Line(store, name, first).hold(ttl_s, data, cancels)


@takes_bytes
def observe(store: Store, name: bytes) -> AbstractAsyncContextManager[AsyncIterator[Leader | None]]:
    """The leader, now and whenever it changes; None while there is none.

    async with recipes.observe(store, b"election") as leaders:
        async for leader in leaders: ...
    """
    return following(_leaders(store, name))


async def _leaders(store: Store, name: bytes) -> AsyncIterator[Leader | None]:
    last: Leader | None = Leader(b"", -1, b"")
    async with following(states(store, name + b"/")) as changes:
        async for items in changes:
            entries = in_order(items)
            leader = Leader(entries[0].item.value, entries[0].item.created, entries[0].key) if entries else None
            if leader != last:
                last = leader
                yield leader
