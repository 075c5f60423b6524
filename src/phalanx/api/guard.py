"""Blocks that are held under something that can be lost: loss cancels the block, and is what leaves it.

As `asyncio.timeout` does for time (and with its care for other cancellations of the same task).
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from phalanx.errors import PhalanxError


async def to_its_end(tidying: Coroutine[Any, Any, None]) -> None:
    """Wait for what has to be done on the way out.  It is done to its end even if who waits is cancelled once more: by a
    server that shuts down, say, while a request that ran out of time gives up its lock."""
    await asyncio.shield(asyncio.ensure_future(tidying))


class Guard:
    """Guards one block of one task at a time."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._cancelled = False
        self._error: PhalanxError | None = None
        self.lost = asyncio.Event()
        """Set when it is lost."""

    @property
    def error(self) -> PhalanxError | None:
        """Why it is lost; None: it is not."""
        return self._error

    def enter(self, cancels: bool) -> None:
        """The block begins, in the current task.  `cancels`: loss cancels it."""
        task = asyncio.current_task()
        assert task is not None, "a block runs in a task"
        self._cancelling = task.cancelling()
        self._cancelled = False
        if cancels:
            self._task = task
            if self._error is not None:
                self._cancel()

    def lose(self, error: PhalanxError) -> None:
        """It is lost."""
        if self._error is None:
            self._error = error
            self.lost.set()
            self._cancel()

    async def leave(self, kind: type[BaseException] | None) -> None:
        """The block is left, by an exception of that kind or without.  Raises why it was lost, if that is why."""
        task, self._task = self._task, None
        if not self._cancelled or task is None:
            return
        self._cancelled = False
        late: asyncio.CancelledError | None = None
        if kind is None:  # the cancellation came too late for the block: it must not hit what follows
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                kind, late = asyncio.CancelledError, error
        if task.uncancel() <= self._cancelling:
            if kind is not None and issubclass(kind, asyncio.CancelledError):
                assert self._error is not None
                raise self._error
        elif late is not None:  # it stands for another one, too
            raise late

    def _cancel(self) -> None:
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()
