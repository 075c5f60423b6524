"""A watch of the store, as an async iterator that survives the loss of nodes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, NoReturn

from phalanx.errors import Closed, PhalanxError, Refused, StateLost, Unavailable, WrongCluster
from phalanx.replication.following import Ended, Fed, Took, Unfollow
from phalanx.replication.messages import Reason
from phalanx.replication.objects import Operation
from phalanx.services.store.values import Event, Feed, revision_of


class _Revisions:
    """Of a watch.  It keeps nothing, so whoever gives up waiting may go on, with this one or another."""

    def __init__(self, watch: "Watch") -> None:
        self._watch = watch

    def __aiter__(self) -> "_Revisions":
        return self

    async def __anext__(self) -> tuple[Event, ...]:
        return await self._watch._whole()


class Watch:
    """The changes of a range of keys, in the order of the store's revisions: none lost, none doubled.

        async with store.watch(b"config/", prefix=True) as changes:
            async for event in changes: ...

    `revisions` gives all changes of one transaction together.

    Use it as a context manager, so that it ends when the block does.  It goes on at another node when its own is
    lost, and goes no faster than it is read: what is not read waits in the store's history.  It never just stops.
    What ends it is raised by the iteration, each time: `Compacted` if the history it needs is forgotten (read the
    state anew, and watch from its revision), `StateLost` if all hosts of the store failed and it was founded anew, or
    an operator recovered the cluster, `WrongCluster` if all nodes that can be reached are of another cluster,
    `Unavailable` if no node was heard for `patience_s`, `Closed` if the client was closed, `Refused` if the store
    refuses it (a limit, another version of the code).  It is for one block; a second one raises `RuntimeError`.
    """

    def __init__(
        self, submit: Callable[[Any], None], token: int, operation: Operation, begin: Callable[[], None]
    ) -> None:
        self._submit = submit
        self._token = token
        self._operation = operation
        self._begin = begin
        self._batches: deque[deque[Event]] = deque()
        self._gathered: deque[Event] = deque()
        """Of one revision, before all that is in the batches."""
        self._error: PhalanxError | None = None
        self._closed = False
        self._begun = False
        self._news = asyncio.Event()
        self._told = -1
        """The last revision of which everything has come, read or not."""
        self.revision = -1
        """The last revision of which everything that concerns this watch was read: where to go on, with `after`.  It
        grows also when nothing happens to these keys; -1: not known yet."""

    def __repr__(self) -> str:
        how = "not begun" if not self._begun else "closed" if self._closed else repr(self._error) if self._error else ""
        return f"<phalanx.Watch {how or f'read up to revision {self.revision}'}>"

    async def __aenter__(self) -> "Watch":
        if self._begun or self._closed:
            raise RuntimeError("this watch has begun already, or was closed: make a new one")
        try:
            self._begin()
        except Closed as error:
            await self._raise(error)
        self._begun = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Event:
        self._look()
        while not self.pending:
            await self._more()
        event = self._gathered.popleft() if self._gathered else self._pop()
        self._mark()
        return event

    def revisions(self) -> AsyncIterator[tuple[Event, ...]]:
        """The same changes, but all of one revision that concern the watch together, in their order: never a part of a
        transaction, however large it is, and whatever nodes fail meanwhile.

            async for events in changes.revisions():
                mirror.apply(events)        # which shows the keys only as they were at some revision

        Who gives up waiting for the next loses nothing, and may go on with these, with others, or change by change.
        Raises as the watch does; a revision of which a part had not come by then is not told.
        """
        return _Revisions(self)

    async def _whole(self) -> tuple[Event, ...]:
        self._look()
        gathered = self._gathered
        while True:
            while self._batches and (not gathered or self._batches[0][0].revision == gathered[0].revision):
                gathered.append(self._pop())
            if gathered and (self._batches or self._told >= gathered[0].revision):
                self._gathered = deque()
                self._mark()
                return tuple(gathered)
            self._mark()
            await self._more()

    @property
    def pending(self) -> bool:
        """Whether a change has been received that was not read yet."""
        return bool(self._batches or self._gathered)

    async def begun(self) -> int:
        """Wait until the watch has begun; the revision after which it did, or further.  Raises what ends it."""
        self._look()
        while self._told < 0:
            if self._error is not None:
                await self._raise(self._error)
            self._news.clear()
            await self._news.wait()
        return self.revision

    async def _more(self) -> None:
        """Wait for more than has been received.  Raises what ends the watch, and StopAsyncIteration if it was closed."""
        if self._error is not None:
            await self._raise(self._error)
        if self._closed:
            raise StopAsyncIteration
        self._news.clear()
        await self._news.wait()

    def _pop(self) -> Event:
        """The next change of the batches."""
        batch = self._batches[0]
        event = batch.popleft()
        if not batch:
            self._batches.popleft()
            self._submit(Took(self._token))
        return event

    async def _raise(self, error: PhalanxError) -> NoReturn:
        """After a turn of the loop: whoever tries again and again must not hold up what is to end him."""
        await asyncio.sleep(0)
        raise error

    def _mark(self) -> None:
        """How far it was read: an event that was not may be followed by others of its revision, or come after some."""
        unread = self._gathered or (self._batches[0] if self._batches else ())
        self.revision = unread[0].revision - 1 if unread else self._told

    def _look(self) -> None:
        if not self._begun:
            raise RuntimeError("this watch has not begun: use it as in `async with store.watch(...) as changes`")

    def close(self) -> None:
        """End it: the iteration stops after what has been received."""
        if self._begun and not self._closed and self._error is None:
            self._submit(Unfollow(self._token))
        self._closed = True
        self._news.set()

    # --- for the client

    def take(self, what: Fed | Ended) -> None:
        """A batch came, or the end."""
        if isinstance(what, Ended):
            self._error = self._error_of(what)
        else:
            if what.data:
                feed: Feed = self._operation.read(what.data)
                self._batches.append(deque(feed.events))
            self._told = revision_of(what.position)
            self._mark()
        self._news.set()

    def _error_of(self, ended: Ended) -> PhalanxError:
        if ended.raised is not None:
            try:
                self._operation.result(ended.raised)
            except PhalanxError as error:
                return error
            except Exception as error:  # whatever the feed may raise
                return Refused(f"{type(error).__name__}: {error}")
        kinds: dict[Reason | None, type[PhalanxError]] = {
            Reason.LOST: StateLost,
            Reason.ELSEWHERE: Unavailable,
            Reason.FOREIGN: WrongCluster,
        }
        if ended.reason is None:
            return Closed(ended.text)
        return kinds.get(ended.reason, Refused)(ended.text)
