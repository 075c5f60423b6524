"""Room on a node's disk: what a refusal is, and a watch that says when room runs short, before there is none.

A write that is refused for want of room has done nothing, so it may be tried again: `NoRoom`.  That is not so of an
fsync, after which nobody knows what is on the disk (Rebello et al., "Can Applications Recover from fsync Failures?",
2020); on file systems that find out only then that there is no room, the node stops, as with any failed fsync.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from phalanx.model.machine import Room, Space

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""From a refusal to the next try."""

LOOK_S = 1.0
"""From one look at the disk to the next: one system call, so that a reserve lasts longer than it takes to notice."""

RESERVE_SHARE = 0.05
"""Of a small disk, the reserve is at most this share."""

REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The disk, the quota, or the size that a file may have is exhausted."""


class NoRoom(OSError):
    """There is no room for it on the disk.  It does not count as written, and what was there before is as it was."""


@contextmanager
def undone_if_refused(what: str, undo: Callable[[], object]) -> Iterator[None]:
    """What the block writes, and does not sync, is all written, or undone where there is no room.  Raises NoRoom, and
    OSError for all else, the undoing included."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        undo()
        raise NoRoom(error.errno, f"{what}: {error.strerror}") from error


class Left(NamedTuple):
    """Bytes of a disk: what this process may still write, and all."""

    free: int
    total: int


Looked = Callable[[Left | None], None]
"""Told what a disk has left; None if it is none, or cannot tell."""


class SpaceWatch:
    """Knows a node's disk from looking at it now and then, and from what it refuses; tells whenever that changes."""

    def __init__(self, look: Callable[[Looked], None] | None, reserve: int, tell: Callable[[Room], None]) -> None:
        """look: asks for what is left, off the loop; None: there is no disk.  reserve: bytes to be kept free; 0: nothing
        is looked at, and only refusals count."""
        self.room = Room(Space.AMPLE, 0)
        """What was told last."""
        self._look = look if reserve > 0 else None
        self._reserve = reserve
        self._tell = tell
        self._left: Left | None = None
        self._refusals: dict[str, NoRoom] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Look for the first time.  On the loop."""
        if self._look is not None and not self._closed:
            self._look(self._looked)

    def _looked(self, left: Left | None) -> None:
        if not self._closed:
            self._left = left
            self._judge()
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self.start)

    def refused(self, what: str, error: NoRoom) -> None:
        """A write there was refused, and will be tried again."""
        if what not in self._refusals:
            log.error("there is no room on the disk: %s. It is tried again until there is", error)
        self._refusals[what] = error
        self._judge()

    def taken(self, what: str) -> None:
        """A write there was not refused."""
        if self._refusals and self._refusals.pop(what, None) is not None:
            log.warning("there is room on the disk again")
            self._judge()

    def _judge(self) -> None:
        """There is room again only when twice the reserve is free, or hosts would come and go."""
        before, left = self.room, self._left
        reserve = min(self._reserve, int(left.total * RESERVE_SHARE)) if left is not None else 0
        least = reserve if before.space is Space.AMPLE else 2 * reserve
        free = left.free if left is not None else 0
        space = Space.FULL if self._refusals else Space.LOW if left is not None and free < least else Space.AMPLE
        changed = abs(free - before.free) > before.free // 4 and space is Space.LOW
        if space is before.space and not changed:
            return
        if space is Space.LOW and before.space is Space.AMPLE:
            log.error("the disk has %d bytes left, less than the reserve of %d", free, reserve)
        elif space is Space.AMPLE:
            log.warning("the disk has ample room again")
        self.room = Room(space, free)
        self._tell(self.room)

    def close(self) -> None:
        """Look no more.  Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
