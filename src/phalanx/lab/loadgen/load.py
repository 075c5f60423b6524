"""Clients that keep a number of operations under way, and what becomes of these.

Each `Line` is a connection with its own session and its share of the operations; it speaks the clients' protocol by
hand.  There are no deadlines and no retries: an operation that a node declines is an error, and its place stays empty for
a moment; those that are under way on a connection that breaks are errors too, and the line goes on at its next endpoint.
For everything but measuring use `phalanx.connect`.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from phalanx.lab.loadgen.histogram import Histogram
from phalanx.model.clock import SECOND
from phalanx.model.view import Address
from phalanx.replication.messages import (
    Acknowledged,
    CloseSession,
    Command,
    Declined,
    Opened,
    OpenSession,
    Query,
    Reason,
    Reply,
)
from phalanx.replication.objects import describe
from phalanx.replication.outcome import Raised
from phalanx.runtime.addresses import split_address
from phalanx.runtime.connection import HELLO, PROTOCOL_VERSION, Hello
from phalanx.runtime.credentials import Credentials
from phalanx.runtime.handshakes import dial
from phalanx.services.store.kv import KV
from phalanx.wire.errors import WireError
from phalanx.wire.frame import FrameDecoder, Kind, encode_frame

PAUSE_S = 0.1
"""After an error, until the next attempt in its place: a node that declines is not to be asked in a tight loop."""

CONNECT_S_MAX = 5.0
"""From the dial to the session."""

DRAIN_S_MAX = 5.0
"""In the end, for the last answers."""

PROGRESS_S = 0.2

PUTS = {"put": 1.0, "get": 0.0, "mixed": 0.5}
"""For each kind of load, which part of its operations are puts; the others are linearizable gets."""

AWAY = frozenset({Reason.ELSEWHERE, Reason.UNKNOWN, Reason.EXPIRED})
"""What a node declines for that has to be asked elsewhere, or in another session."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Opened | Acknowledged | Reply | Declined).decode

_KIND = describe(KV)
_PUT = _KIND.operation(KV.put)
_GET = _KIND.operation(KV.get)


class Plan(msgspec.Struct, frozen=True):
    """What one process is to do.  outstanding: operations under way, shared by that many `clients`, each of which has its
    own connection; the first of them prefers endpoint number `first`."""

    what: str
    endpoints: tuple[Address, ...]
    outstanding: int
    clients: int
    seconds: float
    value_bytes: int = 128
    keys: int = 10_000
    prefix: bytes = b"bench/"
    group: str = "KV"
    warm_up_s: float = 1.0
    first: int = 0
    seed: int = 7
    tls: tuple[str, str, str] | None = None
    """Files of a certificate, its key, and the authorities."""
    cluster: int = 0
    """The only one that is to be asked; 0: whichever the endpoints are of."""

    def key(self, number: int) -> bytes:
        """The keys are `prefix` and five digits."""
        return b"%b%05d" % (self.prefix, number)


class Result(msgspec.Struct):
    """What was measured.  `counts` and `most` make the histograms of nanoseconds, by operation."""

    seconds: float
    cpu: float
    """This process's share of one core: near 1 means that it, and not the cluster, was measured."""
    waited: float
    """Share of the time in which it could have run and no core was free; 0 where the system does not tell."""
    counts: dict[str, dict[int, int]]
    most: dict[str, int]
    errors: dict[str, int]

    def histogram(self, operation: str) -> Histogram:
        return Histogram(self.counts.get(operation), self.most.get(operation, 0))


class Load:
    """All lines of this process, and what they have measured.  Raises OSError from `generate` if none of the endpoints
    answers at the beginning."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.value = bytes(plan.value_bytes)
        self.puts = PUTS[plan.what]
        self.histograms = {"put": Histogram(), "get": Histogram()}
        self.errors: Counter[str] = Counter()
        self.ending = False
        self._credentials = None if plan.tls is None else Credentials(*map(Path, plan.tls))
        self._lines = [
            Line(self, plan.first + n, plan.outstanding // plan.clients + (n < plan.outstanding % plan.clients))
            for n in range(plan.clients)
        ]

    @property
    def done(self) -> int:
        """Operations completed since the measurement began."""
        return sum(histogram.total for histogram in self.histograms.values())

    async def open(self) -> None:
        """Connect every line."""
        await asyncio.gather(*(line.open() for line in self._lines))

    async def dial(self, session: "Session", endpoint: Address) -> None:
        """Connect, under TLS if the plan says so.  Raises OSError."""
        place = split_address(endpoint)
        if self._credentials is None:
            await asyncio.get_running_loop().create_connection(lambda: session, *place)
        else:
            await dial(session, self._credentials, endpoint, place, lambda *_: None)

    async def run(self, on_progress: Callable[[int], None] = lambda _: None) -> Result:
        """Warm up, measure, and wait for the last answers.  `on_progress` is told how much is done, now and then."""
        for line in self._lines:
            line.begin()
        await asyncio.sleep(self.plan.warm_up_s)
        self.histograms = {"put": Histogram(), "get": Histogram()}
        self.errors.clear()
        cpu, waited, began = time.process_time(), _waited_s(), time.perf_counter()
        end = began + self.plan.seconds
        while (left := end - time.perf_counter()) > 0:
            await asyncio.sleep(min(PROGRESS_S, left))
            on_progress(self.done)
        took, cpu, waited = time.perf_counter() - began, time.process_time() - cpu, _waited_s() - waited
        counts = {name: dict(histogram.counts) for name, histogram in self.histograms.items() if histogram.total}
        most = {name: histogram.most for name, histogram in self.histograms.items() if histogram.total}
        self.ending = True
        await asyncio.gather(*(line.close() for line in self._lines))
        return Result(took, cpu / took, waited / took, counts, most, dict(self.errors))


def _waited_s() -> float:
    """How long this thread has waited for a core so far, in seconds, by Linux's scheduler; 0 elsewhere."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text("ascii").split()[1]) / SECOND
    except (OSError, IndexError, ValueError):
        return 0.0


class Line:
    """A client: one connection at a time."""

    def __init__(self, load: Load, number: int, share: int) -> None:
        self._load = load
        self._next = number
        self._share = share
        self._session: Session | None = None
        self._again: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect to the next endpoint that answers.  Raises OSError if none of them does."""
        endpoints = self._load.plan.endpoints
        why = ""
        for _ in endpoints:
            endpoint = endpoints[self._next % len(endpoints)]
            self._next += 1
            session = Session(self._load, self._share, self._lost)
            try:
                async with asyncio.timeout(CONNECT_S_MAX):
                    await self._load.dial(session, endpoint)
                    await session.ready
            except (OSError, TimeoutError) as error:
                session.abort()
                why = f"{endpoint}: {error or 'no answer'}"
            else:
                self._session = session
                return
        raise ConnectionError(f"no endpoint serves the store {self._load.plan.group}; the last one was {why}")

    def begin(self) -> None:
        """Submit the share."""
        assert self._session is not None
        self._session.submit(self._share)

    def _lost(self) -> None:
        if not self._load.ending:
            self._again = asyncio.get_running_loop().create_task(self._reopen())

    async def _reopen(self) -> None:
        while not self._load.ending:
            await asyncio.sleep(PAUSE_S)
            try:
                await self.open()
            except OSError:
                self._load.errors["cannot connect"] += 1
            else:
                self.begin()
                return

    async def close(self) -> None:
        """Wait for the last answers, and close the session."""
        if self._again is not None:
            self._again.cancel()
        if self._session is not None:
            await self._session.drain()


class Session(asyncio.Protocol):
    """One connection.  `ready`: the session is open, or why it is not."""

    def __init__(self, load: Load, share: int, on_lost: Callable[[], None]) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._load = load
        self._plan = load.plan
        self._share = share
        self._on_lost = on_lost
        self._decoder = FrameDecoder()
        self._request = 0
        self._number = 0
        self._session = 0
        self._cluster = load.plan.cluster
        """This client's: the plan's, or the node's, as it said.  Answers of nodes of that cluster do not say it."""
        self._leaving = False
        self._flight: dict[int, tuple[int, int]] = {}
        """By request: when it was sent, and its number in the session; 0 for a get."""
        self._unsettled: dict[int, None] = {}
        """The numbers of puts under way, in their order."""
        self._idle: asyncio.Future[None] | None = None
        self._transport: Any = None

    # --- what comes

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._say(Kind.HELLO, HELLO.encode(Hello(PROTOCOL_VERSION, "", 1, 1)))
        self._say(Kind.MESSAGE, _encode(OpenSession(self._next_request(), self._plan.group, self._cluster)))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        answered = 0
        try:
            for kind, body in self._decoder.feed(data):
                if kind == Kind.MESSAGE:
                    answered += self._hear(_decode(body), now)
        except (WireError, msgspec.MsgspecError) as error:
            self._fail(f"no node of this version: {error}")
            self.abort()
            return
        if self._leaving or self._load.ending:
            self._leave()
        elif answered:
            self.submit(answered)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if self._flight:
            self._load.errors["connection lost"] += len(self._flight)
            self._flight.clear()
        opened = self.ready.done() and self.ready.exception() is None
        self._fail("it closed the connection")
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        if opened:
            self._on_lost()

    def _hear(self, message: Opened | Acknowledged | Reply | Declined, now: int) -> int:
        """How many operations may take the place of what was answered."""
        if isinstance(message, Opened):
            self._session, self._cluster = message.session, message.cluster or self._cluster
            if not self.ready.done():
                self.ready.set_result(None)
            return 0
        if message.request not in self._flight:
            if isinstance(message, Declined):
                self._fail(message.text or message.reason.value)
            return 0
        started, number = self._flight.pop(message.request)
        self._unsettled.pop(number, None)
        if isinstance(message, Reply) and not isinstance(message.outcome, Raised):
            self._load.histograms["put" if number else "get"].add(now - started)
            return 1
        if isinstance(message, Declined):
            self._load.errors[f"declined: {message.reason.value}"] += 1
            self._leaving = self._leaving or message.reason in AWAY
        elif isinstance(message, Reply) and isinstance(message.outcome, Raised):
            self._load.errors[message.outcome.type_name] += 1
        asyncio.get_running_loop().call_later(PAUSE_S, self.submit, 1)
        return 0

    def _fail(self, why: str) -> None:
        """It did not come to a session."""
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(why))
            self.ready.exception()  # nobody may be waiting any more

    # --- what goes

    def submit(self, count: int) -> None:
        """So many operations more."""
        load, plan = self._load, self._plan
        if self._leaving or load.ending or self._transport.is_closing():
            return
        frames = []
        now = time.perf_counter_ns()
        for _ in range(count):
            key = plan.key(load.rng.randrange(plan.keys))
            request = self._next_request()
            message: Command | Query
            if load.puts and load.rng.random() < load.puts:
                self._number += 1
                self._flight[request] = now, self._number
                self._unsettled[self._number] = None
                low = next(iter(self._unsettled))
                arguments = _encode((key, load.value, 0))
                of = plan.group, self._session, self._number, low
                message = Command(request, *of, _PUT.id, _PUT.types, arguments, self._cluster)
            else:
                self._flight[request] = now, 0
                arguments = _encode((key, None))
                message = Query(request, plan.group, _GET.id, _GET.types, arguments, cluster=self._cluster)
            frames.append(encode_frame(Kind.MESSAGE, _encode(message)))
        self._transport.write(b"".join(frames))

    def _say(self, kind: Kind, body: bytes) -> None:
        self._transport.write(encode_frame(kind, body))

    def _next_request(self) -> int:
        self._request += 1
        return self._request

    # --- the end

    def _leave(self) -> None:
        """Once nothing is under way any more, close the session and the connection."""
        if not self._flight and not self._transport.is_closing():
            end = CloseSession(self._next_request(), self._plan.group, self._session, self._cluster)
            self._say(Kind.MESSAGE, _encode(end))
            self._transport.close()

    async def drain(self) -> None:
        """No operation will be under way any more: wait for the last answers, then give up the rest."""
        if self._transport is None or self._transport.is_closing():
            return
        self._idle = asyncio.get_running_loop().create_future()
        self._leave()
        try:
            async with asyncio.timeout(DRAIN_S_MAX):
                await self._idle
        except TimeoutError:
            self._load.errors["no answer in the end"] += len(self._flight)
            self._flight.clear()
            self.abort()

    def abort(self) -> None:
        """Cut it."""
        if self._transport is not None:
            self._transport.abort()
