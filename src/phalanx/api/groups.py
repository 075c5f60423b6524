"""Process groups for applications: send, receive, views, state transfer, on asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any, Protocol

from msgspec.structs import replace

from phalanx.api.arguments import bytes_of, callable_of, look_at_loop, seconds_of
from phalanx.api.events import Changed, Event, Excluded, Founded, Lost, Message, Recovered, Restored
from phalanx.api.reading import until_left
from phalanx.api.snapshots import Snapshots, marked
from phalanx.errors import ConfigurationError, OutcomeUnknown, StateLost, StorageFull, TooLarge, Unavailable
from phalanx.group.config import Limits
from phalanx.model import events
from phalanx.model.events import Consumed, Delivered, Multicast, SnapshotTaken, SnapshotWanted
from phalanx.model.globalstate import GlobalState
from phalanx.model.view import GroupId, GroupSpec, Member

Fate = events.GroupLost | events.GroupSuspended | events.Founded
"""What becomes of a group's state."""

UNSAID_FRACTION = 8
"""The machine is told at once of what the application has consumed when that is this part of a window; of less with the
next turn."""


class Inbox(Protocol):
    """Where requests to a machine go: a `runtime.driver.Driver`."""

    def submit(self, event: Any) -> None:
        """In the next turn, which comes at once."""

    def submit_lazily(self, event: Any) -> None:
        """In the next turn, whenever that comes."""


class Group:
    """One process's place in a group.  Made by `Process.group`.

        async for message in group:
            ...
        await group.send(b"hello")

    Every process of a group must iterate: what it has been given and has not read is its *backlog*, and senders wait for
    the largest one once it fills `Limits.window`.

    The state is the application's: `snapshot` gives it as bytes, `restore` replaces it; both are called between two
    messages of the iteration, so a snapshot is exactly what the messages handed out so far have made (a process that
    does not iterate cannot give its state to a new member).  Without them a new member begins with what is sent after
    it has come.

    A state can be lost: if all processes that hold it fail, those that are left begin the group anew.  The iteration of
    a group with `restore` then raises `StateLost`, so that nobody goes on with what is the group's no more; `events`
    tells of it (`Founded`), and of exclusion, without an error.
    """

    def __init__(
        self,
        spec: GroupSpec,
        machine: Inbox,
        queued: Callable[[GroupId], int],
        limits: Limits,
        snapshot: Callable[[], bytes] | None,
        restore: Callable[[bytes], None] | None,
        no_room: Callable[[str], str | None],
        sending: "set[Group]",
        snapshots: Snapshots | None = None,
    ) -> None:
        """`sending`: of all groups of the process, those that are to hear when the machine has taken what was handed to
        it."""
        self.spec = spec
        self.id: GroupId | None = None
        self._loop = asyncio.get_running_loop()
        self._machine = machine
        self._submit = machine.submit
        self._queued = queued
        self._no_room = no_room
        self._sending = sending
        self._snapshots = snapshots
        self._queue_bytes_max, self._payload_bytes_max = limits.queue, limits.payload
        self._unsaid_max = limits.window // UNSAID_FRACTION
        self._unsaid = 0
        """Bytes consumed that the machine was not told of at once."""
        self._snapshot = snapshot
        self._restore = restore
        self._stream: deque[tuple[int, Any]] = deque()
        self._life = 0
        """Which incarnation of the process takes what comes: a later one owes nothing for what an earlier was given."""
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._ready = asyncio.Event()
        self._closed = False
        self._failure: BaseException | None = None
        """What stopped the node."""
        self._own: deque[asyncio.Future[None] | None] = deque()
        self._handed = 0
        self._begun = False
        """The iteration has come to the beginning of a state."""
        self._reader: asyncio.Task[Any] | None = None
        """Who iterates at present: it may send without waiting, or the readers of two processes could wait for each
        other for ever (DESIGN 13, counter-example 17)."""

    def __repr__(self) -> str:
        place = f"id {self.id}" if self.id is not None else "closed" if self._closed else "without a place in it"
        return f"<phalanx.Group {self.name!r}, {self.spec.order.value}{', durable' * self.spec.durable}, {place}>"

    @property
    def name(self) -> str:
        return self.spec.name

    async def send(self, payload: bytes, *, delivered: bool = False) -> None:
        """Multicast a payload.  Waits while more than `Limits.queue` bytes wait here to be sent, and until this process
        has a place in the group.  Not for the task that reads the group: if it waits here and the others' readers do
        too, nobody makes room.

        Returns once the payload is queued in order, or, if `delivered`, once it has been delivered here (in a uniform
        or total-order group: once it is certain to be delivered by all).

        Raises `TypeError` if the payload is not bytes; `TooLarge`; `StorageFull` if disks have no room for it;
        `Unavailable` if the process left, or was excluded while this waited; and, if `delivered`, `OutcomeUnknown` if it
        was excluded with the payload under way: it may have been delivered elsewhere.
        """
        if asyncio.get_running_loop() is not self._loop:
            look_at_loop(self._loop, f"group {self.name}")
        if type(payload) is not bytes:
            payload = bytes_of(payload, f"a payload of group {self.name}")
        if self._snapshots is not None:
            payload = marked(payload)
        if len(payload) > self._payload_bytes_max:
            raise TooLarge(f"{len(payload)} bytes; the limit of a payload is {self._payload_bytes_max}")
        await self._ready.wait()
        while not self._writable.is_set() and asyncio.current_task() is not self._reader:
            await self._writable.wait()  # and again: whoever waited longer may have filled it
        future = asyncio.get_running_loop().create_future() if delivered else None
        self._queue(payload, future)
        if future is not None:
            await future

    def _queue(self, payload: bytes, future: asyncio.Future[None] | None = None) -> None:
        """Behind all that was sent so far."""
        if self._closed or self.id is None:
            raise Unavailable(f"this process is no member of group {self.name}; nothing was sent")
        if self.spec.durable and (why := self._no_room(self.name)) is not None:
            raise StorageFull(why)
        self._own.append(future)
        self._submit(Multicast(self.id, (payload,)))
        self._handed += len(payload)
        self._sending.add(self)
        if self._queued(self.id) + self._handed > self._queue_bytes_max:
            self._writable.clear()

    # --- global states

    async def global_state(self) -> GlobalState:
        """A consistent cut through the running group: what every host's `record` gave, and which payloads were under
        way between each two (Chandy and Lamport 1985; see replication/globalstate.py).  Nobody stops for it.

        For a group to which all processes came with `record`.  That shows a payload as received once the iteration
        has gone on from it.  It must show a payload as sent from the moment at which `send` returns, and no sooner:
        nothing else of this loop runs between that and the next line.

        All hosts must iterate, this one too, and in another task than the one that waits here.  One snapshot is taken
        at a time for each process; others wait.

        Raises `Unavailable` if the view changed meanwhile, or this process is or was put out: ask again.  `TooLarge` if
        what one host recorded has more than `replication.globalstate.REPORT_BYTES_MAX` (16 MiB).  `StorageFull` if the
        group is durable and this process has no room on disk.  `ConfigurationError` without `record`.
        """
        look_at_loop(self._loop, f"group {self.name}")
        if self._snapshots is None:
            raise ConfigurationError(f"group {self.name} takes no snapshots: give `record` to `Process.group`")
        if asyncio.current_task() is self._reader:
            raise RuntimeError(f"the task that reads group {self.name} would wait for what it has to read")
        return await self._snapshots.global_state(self._queue)

    async def detect(self, stable: Callable[[GlobalState], bool], *, every_s: float = 1.0) -> GlobalState:
        """Take global states, `every_s` seconds apart, until the predicate holds of one; that one.

        If the predicate is stable (where it holds once it holds for ever, as for "all work is done", "these wait for each
        other", "the token is lost"), it is true of the group from then on, though the cut need not have been a moment.
        Snapshots that a view change spoiled are taken again.  Else raises as `global_state`.
        """
        callable_of(stable, "the predicate of a detection")
        every_s = seconds_of(every_s, "the time between two global states", 0)
        while True:
            try:
                state = await self.global_state()
            except Unavailable:
                if self._closed:
                    raise
            else:
                if stable(state):
                    return state
            await asyncio.sleep(every_s)

    # --- receiving

    async def __aiter__(self) -> AsyncIterator[Message]:
        """The messages.  Raises `StateLost` where the group begins anew and this process has `restore`, hence a state."""
        async with aclosing(self.events()) as events:
            async for event in events:
                match event:
                    case Message():
                        yield event
                    case Founded() if self._begun and self._restore is not None:
                        raise StateLost(f"group {self.name} began anew: all processes that held its state had failed")
                    case Founded() | Restored():
                        self._begun = True

    async def events(self) -> AsyncGenerator[Event, None]:
        """Messages, views and what becomes of the state, in order, until the process leaves.  One iteration at a time.
        Raises `Unavailable` if the node has stopped because something broke (`Process.wait` raises what did).

        What is no `Message` comes between the messages before and those after.  The next iteration goes on where one was
        left, or ended by what `snapshot` or `restore` raised, which is called again.
        """
        await self._begin_to_read()
        try:
            while True:
                while self._stream:
                    life, item = self._stream.popleft()
                    if isinstance(item, Delivered):
                        size, unread = 0, iter(item.payloads)
                        try:
                            for payload in unread:
                                message = Message(item.sender, payload, item.stamp, item.view)
                                size += len(payload)
                                if self._snapshots is None:
                                    yield message
                                elif (plain := self._recorded(self._snapshots, message)) is not None:
                                    yield plain
                        finally:
                            if rest := list(unread):  # the iteration was left
                                self._stream.appendleft((life, replace(item, payloads=rest)))
                            if life == self._life:
                                self._consumed(Consumed(item.group, size))
                    elif (event := self._shown(life, item)) is not None:
                        yield event
                if self._failure is not None:
                    why = f"the node has stopped, and with it its place in group {self.name}: {self._failure}"
                    raise Unavailable(why) from self._failure
                if self._closed:
                    return
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            self._reader = None

    async def _begin_to_read(self) -> None:
        """Be the reader."""
        look_at_loop(self._loop, f"group {self.name}")
        if not await until_left(lambda: self._reader is not None):
            raise RuntimeError(f"group {self.name} is iterated already: its messages have one order and one reader")
        self._reader = asyncio.current_task()

    def _recorded(self, snapshots: Snapshots, message: Message) -> Message | None:
        """The payload as it was sent, unless it was a snapshot's.  Markers leave before this loop runs anything else."""
        taken = snapshots.take(message)
        for each in taken.sends:
            with suppress(Unavailable, StorageFull):  # then the snapshot waits for the next view
                self._queue(each)
        return None if taken.payload is None else message._replace(payload=taken.payload)

    def _shown(self, life: int, item: Any) -> Event | None:
        """Anything but messages: the state is given or replaced, and what the reader is told."""
        try:
            return self._told(life, item)
        except BaseException:
            self._stream.appendleft((life, item))
            raise

    def _told(self, life: int, item: Any) -> Event | None:
        match item:
            case SnapshotWanted(group, token):
                assert self._snapshot is not None
                if life == self._life:
                    data = bytes_of(self._snapshot(), f"what snapshot() of group {self.name} returns")
                    self._submit(SnapshotTaken(group, token, data))
                return None
            case events.Restored(data=data):
                if self._restore is not None:
                    self._restore(data)
                return Restored(data)
            case events.Rescued(group):
                return Recovered(group)
            case events.Founded():
                if self._restore is not None:
                    self._restore(b"")
                return Restored(b"")
        event: Changed | Founded | Recovered | Excluded | Lost = item
        if self._snapshots is not None and isinstance(event, Changed):
            self._snapshots.installed(event.view)
        elif self._snapshots is not None and isinstance(event, Excluded):
            self._snapshots.out(event.reason)
        elif self._snapshots is not None and isinstance(event, Lost):
            self._snapshots.lost(event.id)
        return event

    def _consumed(self, what: Consumed) -> None:
        """Credit for the senders: worth a turn of the machine only where somebody may be waiting for it."""
        self._unsaid += what.size
        if self._unsaid < self._unsaid_max:
            self._machine.submit_lazily(what)
        else:
            self._unsaid = 0
            self._submit(what)

    # --- for the process alone

    def _take(self, item: Any, me: Member) -> None:
        """Something delivered, in order."""
        if isinstance(item, SnapshotWanted) and self._snapshot is None:
            self._submit(SnapshotTaken(item.group, item.token, b""))  # no state: nothing to wait for
            return
        self._stream.append((self._life, item))
        self._arrived.set()
        if isinstance(item, Delivered) and item.sender == me:
            self._delivered(len(item.payloads))
        elif isinstance(item, events.Restored):
            self._delivered(item.own)

    def _delivered(self, count: int) -> None:
        """So many more of what this process has sent are delivered to it, or in the state that it was given."""
        for _ in range(count):
            future = self._own.popleft() if self._own else None
            if future is not None and not future.done():
                future.set_result(None)

    def _drained(self) -> None:
        """The machine has taken what was handed to it."""
        self._handed = 0
        if not self._writable.is_set() and self.id is not None and self._queued(self.id) <= self._queue_bytes_max // 2:
            self._writable.set()
        if self._writable.is_set():
            self._sending.discard(self)

    def _seat(self, group: GroupId | None) -> None:
        """The group's id in the present view, if this process has a place in it."""
        self.id = group
        if group is not None:
            self._ready.set()
        else:
            self._ready.clear()

    def _out(self, reason: str, me: Member, leaving: bool) -> None:
        """The process left, or is excluded: its next incarnation begins with nothing."""
        self._seat(None)
        if leaving:
            self._lost(reason)
            self._close()
            return
        self._lost(
            f"this process was put out of the cluster, so it may have been delivered elsewhere, or not: {reason}"
        )
        self._take(Excluded(reason), me)
        self._life += 1

    def _lost(self, reason: str) -> None:
        """The process is out, or the group is: what was under way has an unknown outcome.  Whether this process has a
        place in the group is for views to say: one that is lost may be founded anew in the same view."""
        own, self._own = self._own, deque()
        for future in own:
            if future is not None and not future.done():
                future.set_exception(OutcomeUnknown(reason))
        self._writable.set()

    def _take_fate(self, fate: Fate, me: Member) -> None:
        """What becomes of the group's state."""
        match fate:
            case events.GroupLost(group_id, _):
                self._lost("the group was lost")
                self._take(Lost(group_id), me)
            case events.GroupSuspended():
                self._lost("the group is suspended: none of its last hosts is here")
            case events.Founded(group_id, _, replayed):
                self._take(fate if replayed else Founded(group_id), me)

    def _fail(self, error: BaseException) -> None:
        """The node has stopped, for that reason."""
        self._failure = error
        self._close()

    def _close(self) -> None:
        """No more messages come."""
        self._seat(None)
        self._lost("the process left")
        self._closed = True
        if self._snapshots is not None:
            self._snapshots.close()
        self._ready.set()
        self._arrived.set()
