"""The driver: runs one machine on a real network, disk and clock, knowing nothing of what the machine is for.

A turn: everything that one turn of the event loop brings (messages of all connections, link events, requests) becomes
one `step`, and another without events if the machine asks for it (`Output.again`).  The first event schedules the turn
behind the callbacks that are ready; the clocks are read after the events have been taken, so a node that was stopped for
a minute never sees an old time with new events.

Release (the rules are those of model/machine.py):

                      eager                                     -> leave at once
    step -> Output -> writes -> one store at a time, the last   -> held until a store that began after the write was
                      record serves all before it                  made has returned
                      sends, deliveries                         -> when no earlier output is held, and own writes are
                                                                   durable
                      appends -> the log, one append at a time  -> `Logged` once durable; no store of what was written
                                                                   after them begins before

Three kinds of wrong: a message that is none, or that the machine says to `Drop`, costs its connection; a store that
fails (one for which there is no room waits and is tried again), or any exception, stops the driver for good and is what
`closed` raises.  A machine of which only half a step is done is never stepped again.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from phalanx.errors import ClusterSuperseded
from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import Journal, Logged, Machine, Note, Output, Patient, Received, Send
from phalanx.runtime.clock import Clock, system_clock
from phalanx.runtime.contract import Disk, LinkEvent, LogDisk, Transport
from phalanx.runtime.logdisk import GroupCommit
from phalanx.runtime.polling import BusyPoll
from phalanx.runtime.space import RETRY_S, NoRoom, SpaceWatch
from phalanx.wire.codec import Codec

log = logging.getLogger(__name__)

OnDeliveries = Callable[[list[Any]], None]
"""Takes the deliveries of one output, in order.  An exception that it raises stops the driver."""

OnNotes = Callable[[Sequence[Note], Instant], None]


class Driver:
    """Runs `machine` from `start` until `close`, or until something is wrong that cannot be mended.

    All methods are to be called on the loop that `start` ran on.
    """

    def __init__(
        self,
        machine: Machine,
        codec: Codec[Any],
        transport: Transport,
        disk: Disk,
        on_deliveries: OnDeliveries,
        *,
        log_disk: LogDisk | None = None,
        on_notes: OnNotes | None = None,
        clock: Clock = system_clock,
        reserve: int = 0,
        busy_poll: int = 0,
    ) -> None:
        """`reserve`: bytes of the log's disk; when fewer are free, the machine is told (`Room`).  0: only when none
        are.  `busy_poll`: nanoseconds for which the loop may look for news before it sleeps (runtime/polling.py)."""
        self.closed: asyncio.Future[None]
        """Made by `start`.  Done when the driver has stopped: None after `close`, else raises what was wrong."""
        self._machine = machine
        self._can_wait = machine.can_wait if isinstance(machine, Patient) else None
        self._codec = codec
        self._transport = transport
        self._disk = disk
        self._on_deliveries = on_deliveries
        self._on_notes = on_notes
        self._clock = clock
        self._own = transport.address
        self._stopped = False
        self._events: list[Any] = []
        self._turn_due = True  # by `start`: what is submitted before it waits
        self._record: Any = None
        self._written = 0
        """How many records the machine has asked to write; `_record` is the last."""
        self._durable = 0
        """Up to which of them all is on disk."""
        self._appends = GroupCommit(log_disk, self._logged, self._fail, lambda error: self._room("log", error))
        self._space = SpaceWatch(log_disk.look if log_disk is not None else None, reserve, self.submit)
        self._needs = 0
        """How many records of the log must be durable before `_record` is stored."""
        self._storing = False
        self._store_again: asyncio.TimerHandle | None = None
        """Set while there is no room for it."""
        self._stored_all: asyncio.Future[None] | None = None
        self._held: deque[tuple[int, Output]] = deque()
        """Outputs not yet released, each with the count of records that must be durable first."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._closing: asyncio.Task[None] | None = None
        self._busy_poll = busy_poll
        self._poll: BusyPoll | None = None

    def start(self) -> None:
        """Take the machine's first step, with no event, and begin to serve."""
        self._loop = asyncio.get_running_loop()
        self.closed = self._loop.create_future()
        if self._busy_poll:
            self._poll = BusyPoll(self._loop, self._busy_poll)
        self._transport.start(self)
        self._space.start()
        self._schedule()

    def submit(self, event: Any) -> None:
        """Hand the machine a request, in the next turn.  Dropped once the driver has stopped."""
        if not self._stopped:
            self._events.append(event)
            if not self._turn_due:
                self._schedule()

    def submit_lazily(self, event: Any) -> None:
        """Hand the machine a request that is not worth a turn of its own: it waits for the next, whatever that is due
        to, at the latest the machine's deadline."""
        if not self._stopped:
            self._events.append(event)

    async def close(self) -> None:
        """Stop in order: no more steps, but what the machine has already said is released if the disk lets it.  Who is
        cancelled, however often, waits for the end: half closed, disks and sockets would be in use, for ever or when the
        next process is begun on them."""
        self._stop()
        cancelled: asyncio.CancelledError | None = None
        while self._closing is None or self._closing.cancelled() or not self._closing.done():
            if self._closing is None or self._closing.cancelled():  # `asyncio.run` cancels all that is left, for one
                self._closing = self._loop.create_task(self._end())
            try:
                await asyncio.wait([self._closing])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        self._closing.result()
        await asyncio.shield(self.closed)

    async def _end(self) -> None:
        """Release what may be released, and let go of everything.  It can be begun again if it was cancelled."""
        if not self.closed.done() and (self._storing or self._appends.busy):
            self._stored_all = self._loop.create_future()
            await self._stored_all
        await self._transport.close()
        if not self.closed.done():
            self._let_go()
            self.closed.set_result(None)

    # --- what the transport brings ------------------------------------------------------------------------------------

    def received(self, source: str, body: bytes | memoryview) -> None:
        """A message has come.  Raises CodecError if it is none."""
        event = Received(source, self._codec.decode(body))
        self._events.append(event)
        if self._turn_due:
            return
        if self._can_wait is None or not self._can_wait(event):
            self._schedule()
        elif self._poll is not None:
            self._poll.waits()

    def link(self, event: LinkEvent) -> None:
        """A connection came or went."""
        self.submit(event)

    # --- turns --------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        self._loop.call_soon(self._turn)  # first: it raises on a wrong thread, if the loop looks
        self._turn_due = True
        if self._poll is not None:
            self._poll.due()

    def _turn(self) -> None:
        self._turn_due = False
        if self._stopped:
            return
        if self._poll is not None:
            self._poll.begun()
        events, self._events = self._events, []
        now = self._clock()
        try:
            while self._step(events, now):
                events = []  # what has come meanwhile came after the clocks were read
            self._arm(now)
        except BaseException as error:  # an interrupt as well: half of a step is done
            self._fail(error)
            if not isinstance(error, Exception):
                raise
        if self._poll is not None:
            self._poll.ended()

    def _step(self, events: list[Any], now: Instant) -> bool:
        """Whether there is to be another one in this turn."""
        output = self._machine.step(events, now)
        self._take(output, now)
        return output.again and not self._stopped

    def _take(self, output: Output, now: Instant) -> None:
        if output.notes and self._on_notes is not None:
            self._on_notes(output.notes, now)
        if output.eager:
            self._send(output.eager)
        for drop in output.drops:
            self._transport.drop(drop.source, drop.reason)
        if output.appends:
            self._appends.append(output.appends, apart=output.apart)
        if output.forget is not None:
            self._appends.forget(output.forget)
        if output.reread:
            self._appends.read(self._reread)
        if output.writes:
            self._needs = self._appends.appended
            self._record = output.writes[-1]
            self._written += 1
        if self._written == self._durable:
            self._release(output)
            return
        if output.writes or output.sends or output.deliveries:
            self._held.append((self._written, output))
            self._store()
        self._begin_to_leave()

    def _release(self, output: Output) -> None:
        if output.sends:
            self._send(output.sends)
        self._begin_to_leave()
        if output.deliveries and not self.closed.done():  # an append can fail at once
            self._on_deliveries(output.deliveries)

    def _begin_to_leave(self) -> None:
        """What others wait for goes before all that is to be done here; our own append last, for the others' appends
        begin with what is sent."""
        self._transport.flush()
        self._appends.begin()

    def _send(self, sends: Iterable[Send]) -> None:
        own = self._own
        for send in sends:
            to = send.to
            if own and own in to:
                self.submit(Received(own, send.message))
                to = [address for address in to if address != own]
            if to:
                self._transport.send(to, self._codec.encode(send.message))

    # --- the disk: group commit ---------------------------------------------------------------------------------------

    def _store(self) -> None:
        """Begin to store the last record, unless a store is under way: what is written meanwhile shares the next."""
        if self._storing or self._durable == self._written or self._appends.durable < self._needs:
            return
        if self._store_again is not None:
            return
        self._storing = True
        count = self._written
        self._disk.store(self._record, lambda error: self._stored(count, error))

    def _stored(self, count: int, error: BaseException | None) -> None:
        """Everything written before that store began is durable.  May be called within `Disk.store`."""
        self._storing = False
        if self.closed.done():  # it failed meanwhile, for another reason
            self._let_go()
            return
        if isinstance(error, NoRoom):  # nothing was done, so it can be done later
            self._room("votes", error)
            self._store_again = self._loop.call_later(RETRY_S, self._retry)
            self._settle()
            return
        if error is not None:
            self._fail(error)
            return
        self._room("votes", None)
        self._durable = count
        try:
            self._store()
            while self._held and self._held[0][0] <= self._durable:
                self._release(self._held.popleft()[1])
        except Exception as failure:
            self._fail(failure)
        self._settle()

    def _retry(self) -> None:
        self._store_again = None
        self._store()

    def _room(self, what: str, refusal: NoRoom | None) -> None:
        """A write there was taken, or refused for want of room."""
        if refusal is None:
            self._space.taken(what)
        else:
            self._space.refused(what, refusal)

    def _logged(self, upto: int) -> None:
        """So many records of the log are durable: the machine is told, and what was written after them may be stored."""
        if self.closed.done():
            self._let_go()
            return
        self.submit(Logged(upto))
        self._store()
        self._settle()

    def _reread(self, journal: Journal) -> None:
        self.submit(journal)
        self._settle()

    def _settle(self) -> None:
        if not self._storing and not self._appends.busy:
            self._no_more_to_store()

    def _no_more_to_store(self) -> None:
        if self._stored_all is not None and not self._stored_all.done():
            self._stored_all.set_result(None)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _arm(self, now: Instant) -> None:
        """Have the loop wake us at the machine's deadline.  A deadline that moves away leaves the timer as it is: it
        fires once too early and is then set anew, which is cheaper than to move it in every turn."""
        deadline = self._machine.deadline
        if deadline is None or self._stopped:
            return
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline <= now.mono:
            if not self._turn_due:
                self._schedule()
            return
        self._timer_at = deadline
        milliseconds = -((now.mono - deadline) // MILLISECOND)  # rounded up: uvloop counts in milliseconds
        self._timer = self._loop.call_later(milliseconds / 1000, self._wake)

    def _wake(self) -> None:
        """The timer fired, early perhaps: the loop's clock is not ours, and the deadline may have moved away."""
        self._timer = None
        deadline = self._machine.deadline
        if self._stopped or self._turn_due or deadline is None:
            return
        now = self._clock()
        if now.mono >= deadline:
            self._turn()
        else:
            self._arm(now)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._stopped = True
        if self._poll is not None:
            self._poll.stop()
        self._space.close()
        self._events.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, error: BaseException) -> None:
        """Nothing that is held may leave any more: nobody knows what is true."""
        self._stop()
        self._held.clear()
        self._no_more_to_store()
        if self.closed.done():
            self._let_go()
            return
        trace = None if isinstance(error, ClusterSuperseded) else error  # which is for the operator, and no bug
        log.critical("the driver of %s stops: %r", self._own or "a client", error, exc_info=trace)
        self.closed.set_exception(error)
        self._closing = self._loop.create_task(self._transport.close())
        self._let_go()

    def _let_go(self) -> None:
        """Of the disks, each once nothing is under way there."""
        if self._store_again is not None:
            self._store_again.cancel()
        if not self._storing:
            self._disk.close()
        if not self._appends.busy:
            self._appends.close()
