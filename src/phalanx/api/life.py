"""How far a process is in its life: on which event loop it is, whether it has left or was closed, and when its view
changes."""

import asyncio
from typing import Any

from phalanx.api.arguments import look_at_loop
from phalanx.errors import Closed


class Life:
    """See the module's text.  Made on the process's loop."""

    def __init__(self, name: str) -> None:
        self._what = f"process {name}"
        self._changed = asyncio.Event()
        self.left = asyncio.Event()
        """Set once it has left, for good."""
        self.closed: asyncio.Future[None]
        """Of its driver: it has stopped."""
        self.loop: asyncio.AbstractEventLoop

    def begin(self, closed: asyncio.Future[None]) -> None:
        """On the loop that runs."""
        self.loop = asyncio.get_running_loop()
        self.closed = closed

    def look_at_loop(self) -> None:
        """Raises `RuntimeError` on another loop."""
        look_at_loop(self.loop, self._what)

    def look(self) -> None:
        """Raises also `Closed` if the process has left or was closed, and what broke it."""
        self.look_at_loop()
        if self.closed.done():
            self.closed.result()
        if self.closed.done() or self.left.is_set():
            raise Closed(f"{self._what} has left the cluster or was closed: join again")

    async def next_view(self, *others: asyncio.Future[None]) -> None:
        """Wait for the next view, or one of the others, or for the node to stop: raises as `look` then."""
        waiter: asyncio.Future[Any] = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((waiter, self.closed, *others), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        if self.closed.done():
            self.look()

    def wake(self) -> None:
        """Those who wait for the next view."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until_left(self) -> None:
        """Or stopped."""
        waiter = asyncio.ensure_future(self.left.wait())
        try:
            await asyncio.wait((waiter, self.closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
