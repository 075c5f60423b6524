"""Global states of a group for applications: between its iteration, its views, and those who ask."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from phalanx.api.arguments import bytes_of
from phalanx.errors import NotHappened, Unavailable
from phalanx.model.globalstate import GlobalState
from phalanx.model.view import GroupId, Name, View
from phalanx.replication.globalstate import PLAIN, Key, Recorder, Taken

if TYPE_CHECKING:
    from phalanx.api.events import Message


CONTRACT = "global-state/1"
"""Of groups whose processes all take part in snapshots: whoever joins without `record`, or the other way, is refused."""


class Snapshots:
    """Of one group at one process.  The group calls all but `global_state`, in the order of its iteration."""

    def __init__(self, me: Name, group: str, record: Callable[[], bytes]) -> None:
        self._group = group
        self._recorder = Recorder(me, lambda: bytes_of(record(), f"what record() of group {group} returns"))
        self._asked: dict[Key, asyncio.Future[GlobalState]] = {}
        self._turn = asyncio.Lock()
        """Of those who ask here: one snapshot at a time, so there are no more of them than members."""
        self._moved = asyncio.Event()
        """The iteration has come to a view, or to its end."""
        self._place: GroupId | None = None
        """The group's id in the last view that it has come to."""
        self._closed = False

    async def global_state(self, multicast: Callable[[bytes], None]) -> GlobalState:
        """Begin a snapshot, and wait for its end.  `multicast` queues a payload; raises what that raises."""
        async with self._turn:
            while (begun := self._recorder.start()) is None:
                if self._closed:
                    raise Unavailable(f"no snapshot was taken: this process is no member of group {self._group}")
                self._moved.clear()
                await self._moved.wait()
            key, payload = begun
            future: asyncio.Future[GlobalState] = asyncio.get_running_loop().create_future()
            self._asked[key] = future
            try:
                multicast(payload)
                return await future
            finally:
                del self._asked[key]
                self._recorder.forget(key)

    def take(self, message: "Message") -> Taken:
        """The iteration has come to that payload."""
        taken = self._recorder.take(message.sender.name, message.payload)
        self._settle()
        return taken

    def installed(self, view: View) -> None:
        """It has come to a view."""
        place = view.group_named(self._group)
        self._place = None if place is None else place.id
        self._recorder.installed(view.id, () if place is None else place.hosts)
        self._settle()
        self._moved.set()

    def lost(self, group: GroupId) -> None:
        """It has come to the loss of the group, which may have been founded anew in the same view."""
        if group == self._place:
            self.out("the group was lost")

    def out(self, reason: str) -> None:
        """It has come to the end of this process's place in the group, for now."""
        self._recorder.out(reason)
        self._settle()

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        self.out("the process left")
        self._moved.set()

    def _settle(self) -> None:
        results, self._recorder.results = self._recorder.results, []
        for key, result in results:
            future = self._asked.get(key)
            if future is None or future.done():
                continue
            if isinstance(result, NotHappened):
                future.set_exception(result)
            else:
                future.set_result(result)


def marked(payload: bytes) -> bytes:
    """An application's payload as it travels in a group with snapshots."""
    return PLAIN + payload
