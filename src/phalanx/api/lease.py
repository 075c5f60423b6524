"""A lease of the store, kept alive while a block runs."""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

from phalanx.api.arguments import seconds_of
from phalanx.api.guard import Guard, to_its_end
from phalanx.errors import Compacted, LeaseLost, PhalanxError
from phalanx.model.clock import SECOND
from phalanx.runtime.clock import system_clock
from phalanx.services.store.values import LeaseInfo

if TYPE_CHECKING:
    from phalanx.api.store import Store

TTL_S = 10.0
"""How long a lease lives without a sign of life, if nothing is said: failovers pass, and a crash is noticed soon."""

MARGIN = 0.1
"""The holder gives up when this share of the lease is left by its own clock: clocks run at different rates, and the
group's may leap by the bound on clocks."""


POLITE_S = 1.0
"""For so long at most who leaves, or gives up, waits for the store to hear that the lease is not wanted any more."""


class Lease:
    """A lease that this process holds.

        async with store.lease(ttl_s=10) as lease:
            await store.put(b"here/me", b"", lease=lease)   # gone soon after this process is, or the block is left

    It is kept alive in the background.  When it cannot be (its nodes are not reached in time, it was revoked, this
    process slept too long) it is *lost*: the block is cancelled, and `LeaseLost` is raised out of it, no later than
    the store ends the lease.  With `cancels=False` the block goes on: look at `lost`.  Leaving the block revokes the
    lease, which deletes its keys.  It is for one block: a second one raises `RuntimeError`.

    id: grows from lease to lease, so it is a fencing token.
    """

    def __init__(self, store: "Store", ttl_s: float, cancels: bool) -> None:
        self._store = store
        self._ttl_s = seconds_of(ttl_s, "the length of a lease")
        self._cancels = cancels
        self._guard = Guard()
        self._until = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._begun = False
        self.id = 0
        self.given_up: bool | None = None
        """At the end of the block the store gave it up (True), or had done so before (False); None: that is not known."""

    def __repr__(self) -> str:
        if not self.id:
            return f"<phalanx.Lease of {self._ttl_s:g} s, not held yet>"
        return f"<phalanx.Lease {self.id}, {'lost' if self.lost.is_set() else f'{self.remaining_s:.1f} s left'}>"

    @property
    def lost(self) -> asyncio.Event:
        """Set when the lease is lost."""
        return self._guard.lost

    @property
    def remaining_s(self) -> float:
        """For how long the lease is safely held, if no sign of life gets through any more."""
        return 0.0 if self._guard.error is not None else max(0.0, self._until - _now())

    @property
    def guard(self) -> Guard:
        """For what is held under this lease."""
        return self._guard

    async def __aenter__(self) -> "Lease":
        if self._begun:
            raise RuntimeError("this lease has begun already: make a new one")
        self._begun = True
        began = _now()
        granting = asyncio.ensure_future(self._store.grant(self._ttl_s))
        try:
            granted = await asyncio.shield(granting)
        except BaseException as error:
            self._begun = False
            if isinstance(error, asyncio.CancelledError):
                await to_its_end(self._give_back(granting))
            raise
        self.id = granted.id
        self._renewed(began)
        self._guard.enter(self._cancels)
        self._tasks.append(asyncio.create_task(self._keep(), name=f"lease {self.id}"))
        return self

    def stands_with(self, key: bytes, created: int) -> None:
        """The lease is lost as soon as that key, created under it in that revision, is deleted: so a revocation is
        noticed at once, and not only with the next sign of life."""
        self._tasks.append(asyncio.create_task(self._follow(key, created), name=f"lease {self.id} and {key!r}"))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await self._guard.leave(kind)
        finally:
            try:
                if self._guard.error is None:
                    await to_its_end(self._give_up())
            finally:
                await asyncio.wait(self._tasks)

    async def _give_up(self) -> None:
        self.given_up = await self._revoke(self.id)

    async def _give_back(self, granting: "asyncio.Future[LeaseInfo]") -> None:
        """What is being granted: nobody waits for it any more."""
        try:
            async with asyncio.timeout(self._politely_s):
                await self._revoke((await granting).id)
        except (PhalanxError, TimeoutError):
            pass  # it ends by itself

    async def _revoke(self, lease: int) -> bool | None:
        """Politely: else it ends by itself.  Also if the block was cancelled, but not for long then.  Whether it was
        there; None: nobody knows."""
        try:
            return await self._store.within(self._politely_s).revoke(lease)
        except PhalanxError:
            return None  # it is no longer kept alive

    @property
    def _politely_s(self) -> float:
        return min(POLITE_S, self._ttl_s)

    def _renewed(self, asked_at: float) -> None:
        """The lease lives from when the store heard of it, which is later than when it was asked."""
        self._until = asked_at + self._ttl_s * (1 - MARGIN)

    async def _keep(self) -> None:
        """Renew every third of the lease; after a failure, again soon."""
        pause_s = self._ttl_s / 3
        try:
            while True:
                await asyncio.sleep(max(0.0, min(pause_s, self._until - _now())))
                pause_s = self._ttl_s / (3 if await self._renew() else 20)
        except LeaseLost as error:
            self._guard.lose(error)

    async def _follow(self, key: bytes, created: int) -> None:
        after = created
        while True:
            try:
                async with self._store.watch(key, after=after, puts=False) as changes:
                    await anext(changes)
                    break
            except Compacted as error:
                after = error.oldest
            except PhalanxError:
                return  # the signs of life will tell
            try:
                found = await self._store.get(key)
            except PhalanxError:
                return
            if found is None or found.created != created:
                break
        self._guard.lose(LeaseLost(f"{key!r} was deleted: lease {self.id} has ended, or somebody removed it"))

    async def _renew(self) -> bool:
        """Whether it was.  Raises `LeaseLost`."""
        asked_at = _now()
        left = self._until - asked_at
        if left <= 0:
            raise LeaseLost(f"lease {self.id} was not kept alive in time: {self._ttl_s:g} s")
        try:
            # One attempt must not use up all that is left: its answer may be what is lost.
            info: LeaseInfo | None = await self._store.within(max(left / 2, 0.05)).keep_alive(self.id)
        except PhalanxError:
            return False
        if info is None:
            raise LeaseLost(f"lease {self.id} has ended: it was revoked, or not kept alive in time")
        self._renewed(asked_at)
        return True


def _now() -> float:
    """Seconds of a clock that goes on while the machine sleeps."""
    return system_clock().mono / SECOND
