"""Queues: each item is taken by one.

An item is a key `items/PRIORITY/NUMBER`; the store gives the number where it is appended. An item that is being worked on
has a key `claims/...` under the worker's lease, so that it is there again for others when the worker dies. Whoever claims
it writes it once more as it is: the key's version counts the tries, and goes with it.

An item that is for later is a key `later/DUE/PRIORITY/NUMBER`, so the next one due is the first. Whoever looks for an
item and finds one due there moves it to where it is claimed, under the number that it has. Whether it is due the store
says, whose time never goes back; each worker's own clock only says when to ask. One that is tried again later keeps its
number, with the tries so far behind it: `NUMBER+TRIES`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from math import inf
from typing import NamedTuple

from phalanx.api.arguments import EPOCH, milliseconds_of, number_of, seconds_of
from phalanx.api.guard import to_its_end
from phalanx.api.lease import TTL_S
from phalanx.api.recipes.bytewise import takes_bytes
from phalanx.api.recipes.line import snapshot
from phalanx.api.store import Store
from phalanx.errors import Compacted, ConfigurationError, Fenced, PhalanxError, Refused
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.runtime.clock import system_clock
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

AGAIN_S_LEAST = 0.02
AGAIN_S_MOST = 1.0
"""What is due by this machine's clock and not by the store's is asked about again after as long as that clock was seen to
be ahead, within these bounds."""

SLEEP_S_MOST = 60.0
"""Who waits for a later item looks again after this at the latest: clocks are set, and machines suspended."""

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


def _tries(key: bytes, claimed: Txn) -> int:
    """Of the item, which is written last where it is claimed."""
    written = claimed.results[-1]
    assert isinstance(written, Written)
    return written.version - 1 + int(key.rpartition(b"/")[2].partition(b"+")[2] or b"0", 16)


def _due(delay_s: float, not_before: datetime | None) -> int | None:
    """When an item is due, in milliseconds since the epoch; None: at once.  Raises `ConfigurationError`, `TypeError`."""
    delay_s = seconds_of(delay_s, "the delay of an item", 0.0)
    if not_before is not None:
        if delay_s:
            raise ConfigurationError("give the delay of an item, or the time before which it is not due, not both")
        return milliseconds_of(not_before, "when an item is due")
    return _now_ms() + max(1, round(delay_s * 1000)) if delay_s else None


def _now_ms() -> int:
    """By this machine's clock."""
    return system_clock().wall // MILLISECOND


class PriorityQueue:
    """Items with a lower priority number come first, and of those with the same the one that was put first."""

    def __repr__(self) -> str:
        return f"<phalanx.recipes.{type(self).__name__} {self._items!r}>"

    @takes_bytes
    def __init__(self, store: Store, name: bytes) -> None:
        self._store = store
        self._items = name + b"/items/"
        self._claims = name + b"/claims/"
        self._later = name + b"/later/"
        self._ask_at = 0

    @takes_bytes
    async def put(
        self, data: bytes, priority: int = 0, *, delay_s: float = 0.0, not_before: datetime | None = None
    ) -> None:
        """Add an item, exactly once.

        delay_s: nobody gets it earlier than so many seconds from now, by this machine's clock.  not_before: nor before
            that time.  Whether it has come the group's clock says, as of `at` for a `Store`.  Items that are due come in
            the order of their priorities, and then in that in which they were put.

        Raises as a transaction does, and `ConfigurationError` if the priority is not from 0 to `PRIORITY_MAX`, or for a
        time that is none.
        """
        await self._store.transact(then=[self.item(data, priority, delay_s=delay_s, not_before=not_before)])

    @takes_bytes
    def item(
        self, data: bytes, priority: int = 0, *, delay_s: float = 0.0, not_before: datetime | None = None
    ) -> Append:
        """The operation that adds an item, for transactions of one's own: what it is done with is done if and only if the
        item is there.  Parameters as for `put`; raises `ConfigurationError` for them.

            await store.transact([claim.compare], [txn.Delete(claim.key), later.item(b"second half")])
        """
        number_of(priority, "a priority", 0, PRIORITY_MAX)
        due = _due(delay_s, not_before)
        before = self._items if due is None else self._later + b"%016x/" % due
        return Append(before + b"%08x/" % priority, data)

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

    async def retry(self, claim: Claim, *, delay_s: float = 0.0, not_before: datetime | None = None) -> None:
        """Within the block of a claim: have the item tried again, but not before that time.  (An item whose block raises
        is the next one again, at once.)  Parameters as for `put`.

        The item keeps its tries, its priority, and its place among those due.  It is claimed here until the block ends,
        whichever way, and nobody else's before.  Raises `Fenced` if it is not claimed here any more, or done.

            async with queue.claim() as claim:
                try:
                    await work(claim.data)
                except OSError:
                    await queue.retry(claim, delay_s=2**claim.tries)
        """
        due = _due(delay_s, not_before)
        number = self._number_of(claim.key) + b"+%x" % claim.tries
        key = self._items + number if due is None else self._later + b"%016x/" % due + number
        here, again = (claim.compare, Exists(claim.key)), (Delete(claim.key), Put(key, claim.data))
        if not (await self._store.transact(here, again)).succeeded:
            raise Fenced(f"{claim.key!r} is not claimed here any more, or done")

    async def _claim_next(self, lease: int) -> Claim:
        while True:
            for key, item in await self._next():
                mark = self._claim_of(key)
                free = _free(key, item, mark)
                done = await self._store.transact(free, [Put(mark, b"", lease), Put(key, item.value)])
                if done.succeeded:
                    mine = Created(mark, "==", done.revision)
                    return Claim(item.value, done.token, key, mine, _tries(key, done))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Items as they come, each removed when it is taken."""
        while True:
            yield await self.get()

    async def count(self) -> int:
        """Items that are there, those that are worked on, or are not due, included."""
        return await self._store.count(self._items, prefix_end(self._later))

    def _number_of(self, item: bytes) -> bytes:
        """Its priority and number, which it keeps for life."""
        return item[len(self._items) :].partition(b"+")[0]

    def _claim_of(self, item: bytes) -> bytes:
        return self._claims + self._number_of(item)

    async def _next(self) -> list[tuple[bytes, Versioned]]:
        """The first items that nobody works on, as far as can be seen: whoever comes too late for one tries the next,
        and need not look again."""
        while True:
            start, end = self._items, prefix_end(self._items)
            claims, at = await snapshot(self._store, self._claims)
            try:
                wait_s = await self._until_due(at)
                if wait_s == 0:
                    continue
                while True:
                    page = await self._store.range(start, end, LOOKAHEAD, at=at)
                    if free := [each for each in page.items if self._claim_of(each[0]) not in claims]:
                        return free
                    if not page.more:
                        break
                    start = page.items[-1][0] + b"\0"
            except Compacted:
                continue
            await self._changed(at, wait_s)

    async def _changed(self, after: int, wait_s: float | None) -> None:
        """Wait until there is another item, or a claim has ended; or for so long."""
        name = self._items[: -len(b"items/")]
        until_ms = inf if wait_s is None else _now_ms() + wait_s * 1000
        try:
            async with asyncio.timeout(wait_s), self._store.watch(name, prefix=True, after=after) as changes:
                async for event in changes:
                    if event.item is None:
                        if event.key.startswith(self._claims):
                            return
                    elif event.key.startswith(self._later):
                        if self._due_of(event.key) < until_ms:
                            return
                    elif event.key.startswith(self._items) and event.item.version == 1:  # else it is claimed
                        return
        except (Compacted, TimeoutError):
            return

    # --- items for later ------------------------------------------------------------------------------------------

    async def _until_due(self, at: int) -> float | None:
        """How long to wait for the next item that is for later; None: there was none at that revision; 0: some were due,
        and have been moved to where they are claimed."""
        first = await self._store.range(self._later, prefix_end(self._later), 1, at=at)
        if not first.items:
            return None
        ahead_s = (_now_ms() - self._due_of(first.items[0][0])) / 1000
        if ahead_s < 0:
            return min(-ahead_s, SLEEP_S_MOST)
        if (early_s := (self._ask_at - system_clock().mono) / SECOND) > 0:
            return early_s
        page = await self._store.range(self._later, prefix_end(self._later), LOOKAHEAD)
        due = [each for each in page.items if self._due_of(each[0]) <= _now_ms()]
        if due and not await self._is_past(self._due_of(due[-1][0])):
            due = due[:1] if await self._is_past(self._due_of(due[0][0])) else []
            if not due:
                pause_s = min(max(ahead_s, AGAIN_S_LEAST), AGAIN_S_MOST)
                self._ask_at = system_clock().mono + round(pause_s * SECOND)
                return pause_s
        for key, item in due:
            number = key[len(self._later) + len(b"%016x/" % 0) :]
            there = [Created(key, "==", item.created)]  # else another has moved it
            await self._store.transact(there, [Delete(key), Put(self._items + number, item.value)])
        return 0

    def _due_of(self, key: bytes) -> int:
        return int(key[len(self._later) :].partition(b"/")[0], 16)

    async def _is_past(self, due_ms: int) -> bool:
        """By the group's clock, which never goes back: what is past remains so."""
        try:
            await self._store.revision_at(EPOCH + timedelta(milliseconds=due_ms))
        except Compacted:
            return True
        except Refused:
            return False
        return True


class Queue(PriorityQueue):
    """First in, first out, of those that are due."""

    @takes_bytes
    def item(
        self, data: bytes, priority: int = 0, *, delay_s: float = 0.0, not_before: datetime | None = None
    ) -> Append:
        """The operation that adds an item, as that of `PriorityQueue`; but there are no priorities."""
        if priority:
            raise ConfigurationError("a Queue has no priorities: use a PriorityQueue")
        return super().item(data, delay_s=delay_s, not_before=not_before)
