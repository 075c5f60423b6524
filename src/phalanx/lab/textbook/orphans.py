"""Remote computations whose caller has crashed: orphans, and four ways to be rid of them.

A server runs what it is asked for, and may itself call another server for a part of it.  A client that crashes knows
nothing of its calls when it comes back, unless it kept a log; the servers go on computing for nobody.

- Extermination: whoever calls writes that down on its disk first.  When it comes back it has what is in its log killed.
- Reincarnation: whoever comes back begins a new epoch and tells all servers, which kill whatever they run.
- Gentle reincarnation: they look for the owner of each computation first, and kill it only if nobody claims it.
- Expiration: a computation may run for a quantum of time, and asks its caller for another one before that has passed.

A server that kills a computation also kills what it had called for it.  Replies that belong to an earlier epoch of the
client are told apart and dropped.

Source: Nelson, "Remote Procedure Call" (Carnegie Mellon, 1981), orphans; Tanenbaum and van Steen, "Distributed Systems",
section 8.3.2, Client crashes; slides L-15 Fault Tolerance, RPC Semantics in the Presence of Failures.
"""

import enum
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import Output, Received, Send
from phalanx.model.view import Address, Name

LOCATE_NS = 200 * MILLISECOND
"""How long a server waits for the owner of a computation to say whether it wants it."""

MARGIN_NS = 200 * MILLISECOND
"""So long before the end of its quantum a computation begins to ask for another one ..."""

ASK_NS = 20 * MILLISECOND
"""... and it asks this often."""


class Treatment(enum.StrEnum):
    """What is done about orphans."""

    NONE = "none"
    EXTERMINATION = "extermination"
    REINCARNATION = "reincarnation"
    GENTLE = "gentle reincarnation"
    EXPIRATION = "expiration"


class CallId(msgspec.Struct, frozen=True, order=True):
    """`owner` made it in its life `epoch`; `depth` grows from one server to the next that it calls."""

    owner: Name
    epoch: int
    number: int
    depth: int = 0


class Start(msgspec.Struct, frozen=True):
    """Compute for that long, and have the servers of `path` do so too, the first by calling the second, and so on."""

    call: CallId
    work_ns: int
    path: tuple[Address, ...] = ()


class Finished(msgspec.Struct, frozen=True):
    """The reply."""

    call: CallId


class Kill(msgspec.Struct, frozen=True):
    """Nobody wants these any more."""

    calls: tuple[CallId, ...]


class NewEpoch(msgspec.Struct, frozen=True):
    """The sender has come back from a crash."""

    epoch: int


class Locate(msgspec.Struct, frozen=True):
    """Is this yours, and do you want it still?"""

    call: CallId


class Located(msgspec.Struct, frozen=True):
    """The owner's answer: it is, or was another life's."""

    call: CallId
    claimed: bool


class MoreTime(msgspec.Struct, frozen=True):
    """It takes longer."""

    call: CallId


class Granted(msgspec.Struct, frozen=True):
    """Another quantum."""

    call: CallId


class Began(msgspec.Struct, frozen=True):
    """A delivery of the server: it computes this now."""

    call: CallId


class Ended(msgspec.Struct, frozen=True):
    """A delivery of the server: it does not any more."""

    call: CallId
    killed: bool


class Book(msgspec.Struct, frozen=True):
    """What is on the disk of whoever calls: its life, and, for extermination, its calls that have not ended."""

    epoch: int = 0
    calls: tuple[tuple[Address, CallId], ...] = ()


class Callers:
    """The calls of one process: what client and server have in common.  Made at each start of the process."""

    def __init__(self, durable: Book | None, treatment: Treatment) -> None:
        before = durable or Book()
        self.epoch = before.epoch + 1
        self.pending: dict[CallId, Address] = {}
        """Calls under way, and the servers they are at."""
        self._left = before.calls
        self._treatment = treatment

    def begin(self, out: Output, servers: Sequence[Address]) -> None:
        """The process has started: deal with what an earlier life of it left behind."""
        out.writes.append(Book(self.epoch))
        for server, call in self._left:
            out.sends.append(Send((server,), Kill((call,))))
        self._left = ()
        if self.epoch > 1 and self._treatment in (Treatment.REINCARNATION, Treatment.GENTLE):
            out.sends.append(Send(tuple(servers), NewEpoch(self.epoch)))

    def call(self, out: Output, server: Address, start: Start) -> None:
        """Sent once the log has it, if there is one."""
        self.pending[start.call] = server
        self._log(out)
        out.sends.append(Send((server,), start))

    def ended(self, out: Output, call: CallId) -> None:
        """It was answered."""
        if self.pending.pop(call, None) is not None:
            self._log(out)

    def kill(self, out: Output, call: CallId) -> None:
        """It is wanted no more."""
        server = self.pending.get(call)
        if server is not None:
            out.sends.append(Send((server,), Kill((call,))))
            self.ended(out, call)

    def answer(self, out: Output, source: Address, message: Any) -> None:
        """What a server asks about calls."""
        match message:
            case MoreTime(call) if call in self.pending:
                out.sends.append(Send((source,), Granted(call)))
            case Finished(call):
                self.ended(out, call)
            case _:
                pass  # of an earlier epoch, or killed

    def _log(self, out: Output) -> None:
        if self._treatment is Treatment.EXTERMINATION:
            calls = tuple(sorted((server, call) for call, server in self.pending.items()))
            out.writes.append(Book(self.epoch, calls))


class Client:
    """Makes its calls when it first starts.  `servers`: all of the network, for epochs."""

    def __init__(
        self,
        me: Name,
        durable: Book | None,
        treatment: Treatment,
        servers: Sequence[Address],
        calls: Sequence[tuple[Address, ...]],
        work_ns: int,
    ) -> None:
        self._me = me
        self._servers = tuple(servers)
        self._calls = tuple(calls) if durable is None else ()
        self._work_ns = work_ns
        self._begun = False
        self.callers = Callers(durable, treatment)

    @property
    def deadline(self) -> int | None:
        return None if self._begun else 0

    def step(self, events: Iterable[Any], now: Instant) -> Output:  # noqa: ARG002  it waits for messages only
        """Begin; then answer what servers ask."""
        out = Output()
        if not self._begun:
            self._begun = True
            self.callers.begin(out, self._servers)
            for number, (first, *path) in enumerate(self._calls):
                call = CallId(self._me, self.callers.epoch, number)
                self.callers.call(out, first, Start(call, self._work_ns, tuple(path)))
        for event in events:
            match event:
                case Received(source, Locate(call)):
                    out.sends.append(Send((source,), Located(call, call.epoch == self.callers.epoch)))
                case Received(source, message):
                    self.callers.answer(out, source, message)
                case _:
                    pass  # of the connection
        return out


class Running:
    """A computation of a server."""

    __slots__ = ("asks_at", "caller", "ends_at", "expires_at", "inner", "unclaimed_at")

    def __init__(self, caller: Address, ends_at: int, expires_at: int | None, inner: CallId | None) -> None:
        self.caller = caller
        self.ends_at = ends_at
        self.expires_at = expires_at
        self.asks_at = None if expires_at is None else expires_at - MARGIN_NS
        self.inner = inner
        """What it has called for."""
        self.unclaimed_at: int | None = None
        """It is killed then, unless its owner claims it."""

    @property
    def next_at(self) -> int:
        """When there is something to do about it."""
        times = (self.ends_at, self.expires_at, self.asks_at, self.unclaimed_at)
        return min(at for at in times if at is not None)


class Server:
    """Computes.  `quantum_ns`: for expiration."""

    def __init__(self, durable: Book | None, treatment: Treatment, servers: Sequence[Address], quantum_ns: int) -> None:
        self.running: dict[CallId, Running] = {}
        self._treatment = treatment
        self._servers = tuple(servers)
        self._quantum_ns = quantum_ns
        self._begun = False
        self.callers = Callers(durable, treatment)

    @property
    def deadline(self) -> int | None:
        if not self._begun:
            return 0
        return min((each.next_at for each in self.running.values()), default=None)

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Take calls and what is said about them, then do what is due."""
        out = Output()
        if not self._begun:
            self._begun = True
            self.callers.begin(out, ())  # it owns nothing: its computations are their clients'
        for event in events:
            if isinstance(event, Received):
                self._take(out, event.source, event.message, now.mono)
        for call in list(self.running):
            if call in self.running:
                self._act(out, call, self.running[call], now.mono)
        return out

    def _take(self, out: Output, source: Address, message: Any, now: int) -> None:
        match message:
            case Start(call, work_ns, path):
                self._start(out, source, call, work_ns, path, now)
            case Kill(calls):
                for call in calls:
                    self._end(out, call, killed=True)
            case NewEpoch():
                self._new_epoch(out, now)
            case Located(call, claimed) if call in self.running:
                self.running[call].unclaimed_at = None if claimed else now
            case Granted(call) if call in self.running:
                self._extend(self.running[call])
            case _:
                self.callers.answer(out, source, message)

    def _start(
        self, out: Output, caller: Address, call: CallId, work_ns: int, path: tuple[Address, ...], now: int
    ) -> None:
        inner = None
        if path:
            inner = msgspec.structs.replace(call, depth=call.depth + 1)
            self.callers.call(out, path[0], Start(inner, work_ns, path[1:]))
        expires_at = now + self._quantum_ns if self._treatment is Treatment.EXPIRATION else None
        self.running[call] = Running(caller, now + work_ns, expires_at, inner)
        out.deliveries.append(Began(call))

    def _new_epoch(self, out: Output, now: int) -> None:
        if self._treatment is Treatment.REINCARNATION:
            for call in list(self.running):
                self._end(out, call, killed=True)
            return
        for call, running in self.running.items():
            running.unclaimed_at = now + LOCATE_NS
            out.sends.append(Send((call.owner,), Locate(call)))

    def _extend(self, running: Running) -> None:
        """By one quantum, however often it was granted."""
        if running.expires_at is not None and running.asks_at != running.expires_at - MARGIN_NS:
            running.expires_at += self._quantum_ns
            running.asks_at = running.expires_at - MARGIN_NS

    def _act(self, out: Output, call: CallId, running: Running, now: int) -> None:
        if now >= running.ends_at:
            out.sends.append(Send((running.caller,), Finished(call)))
            self._end(out, call, killed=False)
        elif any(at is not None and now >= at for at in (running.expires_at, running.unclaimed_at)):
            self._end(out, call, killed=True)
        elif running.asks_at is not None and now >= running.asks_at:
            running.asks_at += ASK_NS
            out.sends.append(Send((running.caller,), MoreTime(call)))

    def _end(self, out: Output, call: CallId, *, killed: bool) -> None:
        running = self.running.pop(call, None)
        if running is None:
            return
        if killed and running.inner is not None:
            self.callers.kill(out, running.inner)
        out.deliveries.append(Ended(call, killed))
