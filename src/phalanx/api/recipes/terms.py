"""Holding something while a block runs, once, or term after term.

A term is over when its block is left.  If that is because what was held was lost, the iteration goes on with another,
which takes its place anew: under a new lease, with a new entry in the store and a greater token, so nothing that was
begun in one term can pass for part of the next.  The lease of the term before is revoked first.  What was lost may be
lost here only: the process gives up before the store does, or could not tell it, and would wait for itself.

Others do it in one loop or callback for all tenures (`Election.run` of kazoo, `LeaderSelector.autoRequeue` of Curator),
and leave it to that to notice that it is not the same one any more.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Generic, TypeVar

from phalanx.api.lease import Lease
from phalanx.api.store import Store
from phalanx.errors import (
    Closed,
    ClusterRecovered,
    Fenced,
    LeaseLost,
    OutcomeUnknown,
    Refused,
    StateLost,
    StorageFull,
    Unavailable,
)

T = TypeVar("T")

AGAIN_S = 0.5
"""How long one waits who could not take his place again, before he tries once more."""

GHOST_TTLS = 4
"""For so many lengths of the lease one is refused after a loss before that is told: a cluster that its operator recovered
lets every lease run out, also that of the term before, which nobody can revoke any more.  Twice its length it may take
anyhow, since time goes at half speed until the clocks have caught up with what the log had reserved."""

_OUTAGES = (Unavailable, OutcomeUnknown, StorageFull, ClusterRecovered, StateLost)
"""What passes: whoever had a place, and lost it, tries on."""


class Holding(AbstractAsyncContextManager[T]):
    """What recipes return: an asynchronous context manager for one block, or for many by `terms`."""

    def __init__(
        self, store: Store, ttl_s: float, cancels: bool, hold: Callable[[Lease], AbstractAsyncContextManager[T]]
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._cancels = cancels
        self._hold = hold
        self._block: AbstractAsyncContextManager[T] | None = None

    async def __aenter__(self) -> T:
        if self._block is not None:
            raise RuntimeError("this block has begun already: make a new one")
        self._block = self.under(self.lease())
        return await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._block is not None, "it was entered"
        return await self._block.__aexit__(kind, error, trace)

    async def terms(self) -> AsyncIterator["Term[T]"]:
        """Hold it while a block runs, and again if it is lost.

            async for term in recipes.lead(store, b"primary", b"host-a").terms():
                async with term as held:
                    await work(held.token)      # cancelled if the leadership is lost; then begun anew

        A block that comes to its end while it holds ends the iteration.  One that is left because what it held was
        lost, with `LeaseLost` or `Fenced`, is followed by another term.  Any other error leaves the iteration; if it is
        caught around the block, another term follows.  Do not `break` out of the block to say that its work is done: a
        loss in that moment would go unnoticed.
        """
        term = Term(self, None, None)
        while True:
            yield term
            if not term.over:
                raise RuntimeError("this term was not begun, or not left: each turn needs its `async with term`")
            if term.ended_by is None:
                return
            term = Term(self, term.lease, term.ended_by)

    # --- for terms

    @property
    def store(self) -> Store:
        """Where it is held."""
        return self._store

    @property
    def ttl_s(self) -> float:
        """Of its leases."""
        return self._ttl_s

    def lease(self) -> Lease:
        """A new one, for one block."""
        return self._store.lease(self._ttl_s, cancels=self._cancels)

    @asynccontextmanager
    async def under(self, lease: Lease) -> AsyncIterator[T]:
        """Hold it under that lease."""
        async with lease, self._hold(lease) as held:
            yield held


class Term(AbstractAsyncContextManager[T], Generic[T]):
    """One term: from when it is had until it is lost or given up.  For one block.

    after: what ended the term before; None: there was none.  Who has an `after` was away.
    """

    def __init__(self, holding: Holding[T], former: Lease | None, after: BaseException | None) -> None:
        self._holding = holding
        self._begun = False
        self._refused_at: float | None = None
        self._block: AbstractAsyncContextManager[T]
        self.after = after
        self.lease = former
        """That of its block, once it has begun; before, that of the term before."""
        self.over = False
        """Its block was left, or could not begin."""
        self.ended_by: BaseException | None = None
        """What its block was left with, or what was lost; None: it came to its end, or is not over."""

    def __repr__(self) -> str:
        how = "over" if self.over else f"under {self.lease!r}" if self._begun else "not begun"
        return f"<phalanx.recipes.Term {how}>"

    async def __aenter__(self) -> T:
        """Wait until it is had.  Raises as the recipe; but after a loss outages, and for a while `Refused`, are waited
        out."""
        if self._begun:
            raise RuntimeError("this term has begun already: the iteration gives the next one")
        self._begun = True
        try:
            while True:
                try:
                    return await self._take()
                except LeaseLost as error:
                    self.after = error  # it stood in line
                except _OUTAGES as error:
                    if self.after is None or isinstance(error, Closed):
                        raise
                except Refused:
                    if self.after is None or not self._may_be_own_ghost():
                        raise
                await asyncio.sleep(AGAIN_S)
        except BaseException as error:
            self._end(error)
            raise

    def _may_be_own_ghost(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._refused_at is None:
            self._refused_at = now
        return now < self._refused_at + GHOST_TTLS * self._holding.ttl_s

    async def _take(self) -> T:
        former = self.lease
        if former is not None and former.id and former.given_up is None:
            former.given_up = await self._holding.store.revoke(former)
        self.lease = self._holding.lease()
        self._block = self._holding.under(self.lease)
        return await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        assert self.lease is not None, "it was entered"
        try:
            await self._block.__aexit__(kind, error, trace)
        except BaseException as left:
            self._end(left)
            if is_loss(left) and self.lease.given_up is not True:
                return True
            raise
        self._end(error if error is not None else self.lease.guard.error)
        return error is not None and is_loss(error) and self.lease.given_up is not True

    def _end(self, error: BaseException | None) -> None:
        self.over, self.ended_by = True, error


def is_loss(error: BaseException | None) -> bool:
    """It says that something is held no more, and no more than that (as what leaves a TaskGroup may)."""
    if isinstance(error, BaseExceptionGroup):
        return error.split((LeaseLost, Fenced))[1] is None
    return isinstance(error, LeaseLost | Fenced)
