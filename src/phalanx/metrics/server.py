"""A page over HTTP, for scrapers and probes, that costs its process little, whoever asks.

A connection is one request and its answer.  There are `CONNECTIONS_MAX` at most: one more ends the oldest, so that
silent ones keep nobody out.  A request has `REQUEST_BYTES_MAX` at most, and everything is over after `EXCHANGE_S_MAX`,
for those too that do not read.  Measures are taken on the event loop, which is quick, and made into text by a thread,
once for all who ask within `FRESH_S`.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple

from phalanx.metrics.library import CollectorRegistry, openmetrics_text, plain_text

log = logging.getLogger("phalanx")

CONNECTIONS_MAX = 32
"""Some scrapers and probes ask at a time."""

REQUEST_BYTES_MAX = 8 << 10
"""Of a request's line and headers; a scraper's have some hundred."""

EXCHANGE_S_MAX = 10.0
"""From the connection to the end of the answer: as long as a scraper waits."""

FRESH_S = 0.1
"""A text that was begun so long ago is given to whoever asks, so a flood of requests has it made ten times a second."""

METHODS = ("GET", "HEAD")

TEXT_TYPE = "text/plain; charset=utf-8"
PLAIN_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The library's change names from one version to the next, and what they stand for."""


class Answer(NamedTuple):
    """What is said to a request."""

    status: HTTPStatus
    body: bytes
    kind: str = TEXT_TYPE


class Request(NamedTuple):
    """What was asked, as far as it matters."""

    method: str
    path: str
    openmetrics: bool


def parse(head: bytes) -> Request | None:
    """What the lines before the first empty one ask for; None if they are no request of HTTP/1."""
    first, *headers = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    accepted = [line.partition(":")[2] for line in headers if line.lower().startswith("accept:")]
    return Request(words[0], words[1].partition("?")[0], any("application/openmetrics-text" in a for a in accepted))


class Texts:
    """The page of measures as text, made by a thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="phalanx-metrics")
        self._made: dict[bool, tuple[float, asyncio.Task[Answer]]] = {}
        """By format the last one, and when it was begun."""

    async def get(self, openmetrics: bool) -> Answer:
        """One that was begun a moment ago, or a new one."""
        now = asyncio.get_running_loop().time()
        begun, task = self._made.get(openmetrics, (0.0, None))
        if task is None or (task.done() and now - begun >= FRESH_S):
            task = asyncio.ensure_future(self._make(openmetrics))
            self._made[openmetrics] = now, task
        return await asyncio.shield(task)

    async def _make(self, openmetrics: bool) -> Answer:
        encode, kind = (openmetrics_text, OPENMETRICS_TYPE) if openmetrics else (plain_text, PLAIN_TYPE)
        try:
            text = await asyncio.get_running_loop().run_in_executor(self._thread, encode, self._registry)
        except Exception as error:  # of whatever collector is registered
            log.exception("the page of metrics cannot be made")
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}\n".encode())
        return Answer(HTTPStatus.OK, text, kind)

    async def close(self) -> None:
        """Wait for those that are being made: their thread waits for this loop."""
        try:
            await asyncio.gather(*(task for _, task in self._made.values()), return_exceptions=True)
        except asyncio.CancelledError:
            self._thread.shutdown(wait=False)
            raise
        self._thread.shutdown()


class Server:
    """See the module's text.  `stopped`, `waits`: why the process is not alive, and not ready, in words; "" if it is."""

    def __init__(self, registry: CollectorRegistry, stopped: Callable[[], str], waits: Callable[[], str]) -> None:
        self._texts = Texts(registry)
        self._stopped = stopped
        self._waits = waits
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: dict[Exchange, None] = {}
        """Those that there are, the oldest first."""

    async def listen(self, host: str, port: int) -> str:
        """Begin to answer; the address.  Raises OSError."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Exchange(self), host, port, backlog=CONNECTIONS_MAX, start_serving=False
            )
            await self._server.start_serving()  # apart: if it is cancelled, there is what to close
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise type(error)(error.errno, f"cannot serve metrics at {host}:{port}: {why}") from error
        bound = self._server.sockets[0].getsockname()[1]
        return f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"

    async def close(self) -> None:
        """Answer nobody any more."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await self._texts.close()

    def answer(self, exchange: "Exchange", head: bytes) -> None:
        """A request has come."""
        request = parse(head)
        if request is not None and request.path == "/metrics" and request.method in METHODS:
            task = asyncio.ensure_future(self._show(exchange, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            exchange.say(self._at_once(request), bare=request is not None and request.method == "HEAD")

    async def _show(self, exchange: "Exchange", request: Request) -> None:
        exchange.say(await self._texts.get(request.openmetrics), bare=request.method == "HEAD")

    def _at_once(self, request: Request | None) -> Answer:
        if request is None:
            return Answer(HTTPStatus.BAD_REQUEST, b"not a request of HTTP/1\n")
        if request.method not in METHODS:
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n")
        match request.path:
            case "/healthz":
                return _health(self._stopped())
            case "/readyz":
                return _health(self._waits())
        return Answer(HTTPStatus.NOT_FOUND, b"there are /metrics, /healthz and /readyz\n")


def _health(fault: str) -> Answer:
    if fault:
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"this node {fault}\n".encode())
    return Answer(HTTPStatus.OK, b"ok\n")


class Exchange(asyncio.Protocol):
    """A connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(EXCHANGE_S_MAX, self.abort)
        connections = self._server.connections
        if len(connections) >= CONNECTIONS_MAX:
            next(iter(connections)).abort()
        connections[self] = None

    def data_received(self, data: bytes) -> None:
        self._head += data
        head, end, _ = self._head.partition(b"\r\n\r\n")
        if not end and len(head) <= REQUEST_BYTES_MAX:
            return
        self._transport.pause_reading()  # one request is all that is listened to
        if len(head) > REQUEST_BYTES_MAX:
            self.say(Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"too large\n"))
        else:
            self._server.answer(self, head)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - part of asyncio's interface
        self._server.connections.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()

    def say(self, answer: Answer, *, bare: bool = False) -> None:
        """Answer, and close when it has left, or when the time is up.  `bare`: without what was asked for."""
        if self._transport is None or self._transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {answer.status} {answer.status.phrase}\r\n"
            f"Content-Type: {answer.kind}\r\nContent-Length: {len(answer.body)}\r\n"
            "Allow: GET, HEAD\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() if bare else head.encode() + answer.body)
        self._transport.close()

    def abort(self) -> None:
        """End it now."""
        self._server.connections.pop(self, None)
        if self._transport is not None:
            self._transport.abort()
