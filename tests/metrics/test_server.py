"""The page over HTTP: what it says, and what those may cost who send garbage, say nothing, or do not read."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

import phalanx
from phalanx.metrics import Metrics
from phalanx.metrics import server as limits
from phalanx.metrics.library import Collector, Metric
from phalanx.metrics.server import Request, Server, parse
from tests.cancelling import cut_everywhere
from tests.metrics.members import PATIENCE_S, limited, samples

GET = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"


def openmetrics(text: str) -> Iterable[Metric]:
    found: Iterable[Metric] = parse_openmetrics(text)  # type: ignore[no-untyped-call]  # the library's has no types
    return found


class Large(Collector):
    """More than the buffers of sockets hold; it knows how often it was asked."""

    def __init__(self, size: int = 1) -> None:
        self.asked = 0
        self._size = size

    def collect(self) -> Iterable[Metric]:
        self.asked += 1
        metric = Metric("large", "x" * self._size, "gauge")
        metric.add_sample("large", {}, self.asked)
        return [metric]


class Place:
    """A server in the test, and how to speak to it."""

    def __init__(self) -> None:
        self.collector: Collector = Large()
        self.stopped = self.waits = ""
        self.server: Server
        self.port = 0

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def say(self, *parts: bytes) -> bytes:
        """All that is answered."""
        reader, writer = await self.open()
        for part in parts:
            writer.write(part)
            await writer.drain()
        try:
            return await reader.read()
        finally:
            writer.close()

    async def get(self, path: str, headers: str = "", method: str = "GET") -> tuple[int, str, bytes]:
        """Status, type and body."""
        head, _, body = (await self.say(f"{method} {path} HTTP/1.1\r\n{headers}\r\n".encode())).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        assert method == "HEAD" or int(fields["Content-Length"]) == len(body)
        assert fields["Connection"] == "close"
        return int(lines[0].split()[1]), fields["Content-Type"], body


@asynccontextmanager
async def serving(place: Place) -> AsyncIterator[Place]:
    registry = CollectorRegistry()
    registry.register(place.collector)
    place.server = Server(registry, lambda: place.stopped, lambda: place.waits)
    address = await place.server.listen("127.0.0.1", 0)
    place.port = int(address.rpartition(":")[2])
    try:
        yield place
    finally:
        await place.server.close()


def at(story: Callable[[Place], Coroutine[Any, Any, None]], collector: Collector | None = None) -> None:
    """Run the story at a server of that collector."""

    async def main() -> None:
        place = Place()
        place.collector = collector or place.collector
        async with serving(place):
            await story(place)

    limited(main())


def test_a_scraper_is_given_the_format_that_it_asks_for() -> None:
    async def story(place: Place) -> None:
        status, kind, body = await place.get("/metrics?x=1")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert samples(plain(body.decode())) == {("large",): 1}
        accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3\r\n"
        status, kind, body = await place.get("/metrics", accept)
        assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
        assert body.endswith(b"# EOF\n")
        assert ("large",) in samples(openmetrics(body.decode()))

    at(story)


def test_the_page_of_a_node_can_be_read_in_both_formats() -> None:
    async def story() -> None:
        metrics = Metrics()
        async with metrics.serve("127.0.0.1:0") as address, phalanx.join("a", bootstrap=True, metrics=metrics):
            place = Place()
            place.port = int(address.rpartition(":")[2])
            for accept, read in (("", plain), ("Accept: application/openmetrics-text\r\n", openmetrics)):
                _, _, body = await place.get("/metrics", accept)
                found = samples(read(body.decode()))
                assert found["phalanx_ready",] == found["phalanx_state", "member"] == 1
                assert any(name.startswith("process_") for name, *_ in found)
                assert any(name.startswith("python_") for name, *_ in found)
            assert (await place.get("/readyz"))[0] == 200

    limited(story())


def test_probes_are_told_what_is_wrong() -> None:
    async def story(place: Place) -> None:
        assert await place.get("/healthz") == (200, "text/plain; charset=utf-8", b"ok\n")
        assert (await place.get("/readyz"))[0] == 200
        place.waits = "waits for the state of KV"
        status, _, body = await place.get("/readyz")
        assert (status, body) == (503, b"this node waits for the state of KV\n")
        assert (await place.get("/healthz"))[0] == 200
        place.stopped = "has stopped"
        assert await place.get("/healthz") == (503, "text/plain; charset=utf-8", b"this node has stopped\n")

    at(story)


def test_what_else_is_asked_for_is_refused() -> None:
    async def story(place: Place) -> None:
        assert (await place.get("/"))[0] == 404
        assert (await place.get("/metrics", method="POST"))[0] == 405
        for path, expected in (("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/", 404)):
            status, _, body = await place.get(path, method="HEAD")
            assert (status, body) == (expected, b"")
        for garbage in (
            b"\x16\x03\x01\x02\x00" + bytes(range(256)),
            b"",
            b"GET",
            b"PRI * HTTP/2.0",
            b"GET  HTTP/1.1 x",
        ):
            assert b"400 Bad Request" in await place.say(garbage + b"\r\n\r\n"), garbage
        assert (await place.get("/metrics"))[0] == 200

    at(story)


@pytest.mark.parametrize(
    ("head", "request_"),
    [
        (b"GET /metrics HTTP/1.1", Request("GET", "/metrics", False)),
        (b"GET /metrics?a HTTP/1.0\r\nACCEPT: text/plain", Request("GET", "/metrics", False)),
        (b"GET / HTTP/1.1\r\naccept: */*\r\nAccept: application/openmetrics-text", Request("GET", "/", True)),
        (b"GET / HTTP/1.1\r\nX: application/openmetrics-text", Request("GET", "/", False)),
        (b"GET /metrics", None),
        (b"", None),
        (b"\xff\xfe\x00", None),
    ],
)
def test_requests_are_parsed(head: bytes, request_: Request | None) -> None:
    assert parse(head) == request_


def test_a_request_may_come_in_pieces_and_must_not_be_large() -> None:
    async def story(place: Place) -> None:
        assert (await place.say(*(bytes([byte]) for byte in GET))).startswith(b"HTTP/1.1 200 OK")
        long = b"GET /metrics HTTP/1.1\r\nX: " + b"x" * limits.REQUEST_BYTES_MAX
        for end in (b"", b"\r\n\r\n"):
            assert (await place.say(long + end)).startswith(b"HTTP/1.1 431 ")

    at(story)


def test_who_says_nothing_or_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXCHANGE_S_MAX", 0.2)

    async def story(place: Place) -> None:
        silent, silent_writer = await place.open()
        deaf, deaf_writer = await place.open()
        deaf_writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
        deaf_writer.write(GET)
        assert await silent.read() == b""
        while place.server.connections:
            await asyncio.sleep(0)
        deaf_writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        try:
            assert len(await deaf.read()) < 64 << 20
        except ConnectionResetError:
            pass
        silent_writer.close()
        deaf_writer.close()

    at(story, Large(64 << 20))


def test_one_more_connection_than_there_may_be_ends_the_oldest() -> None:
    async def story(place: Place) -> None:
        idle = [await place.open() for _ in range(limits.CONNECTIONS_MAX)]
        while len(place.server.connections) < limits.CONNECTIONS_MAX:
            await asyncio.sleep(0)
        assert (await place.get("/metrics"))[0] == 200
        assert len(place.server.connections) < limits.CONNECTIONS_MAX
        try:
            assert await idle[0][0].read() == b""
        except ConnectionResetError:
            pass
        assert not idle[1][0].at_eof()
        for _, writer in idle:
            writer.close()

    at(story)


def test_a_flood_of_requests_has_the_page_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRESH_S", 3600)
    collector = Large()

    async def story(place: Place) -> None:
        pages = await asyncio.gather(*(place.get("/metrics") for _ in range(limits.CONNECTIONS_MAX)))
        assert len(set(pages)) == 1
        assert (await place.get("/metrics"))[2] == pages[0][2]
        assert collector.asked == 1

    at(story, collector)


def test_after_a_moment_the_page_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRESH_S", 0)

    async def story(place: Place) -> None:
        for count in (1.0, 2.0):
            assert samples(plain((await place.get("/metrics"))[2].decode())) == {("large",): count}

    at(story)


def test_a_collector_that_fails_costs_its_page_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Collector):
        def collect(self) -> Iterable[Metric]:
            raise LookupError("no such thing")

    async def story(place: Place) -> None:
        status, _, body = await place.get("/metrics")
        assert (status, body) == (500, b"LookupError: no such thing\n")
        assert (await place.get("/healthz"))[0] == 200

    at(story, Failing())
    assert "the page of metrics cannot be made" in caplog.text


def test_a_page_that_is_being_made_is_waited_for_at_the_end() -> None:
    """Its thread may be waiting for the loop, which would never come to it."""

    class Asking(Collector):
        def __init__(self) -> None:
            self.begun = self.told = False
            self.go = threading.Event()
            self.loop: asyncio.AbstractEventLoop

        def collect(self) -> Iterable[Metric]:
            self.begun = True
            assert self.go.wait(PATIENCE_S)
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(5)
            self.told = True
            return []

    collector = Asking()

    async def story(place: Place) -> None:
        collector.loop = asyncio.get_running_loop()
        _, writer = await place.open()
        writer.write(GET)
        while not collector.begun:
            await asyncio.sleep(0)
        writer.close()
        collector.go.set()

    at(story, collector)
    assert collector.told


def test_an_address_that_cannot_be_used_is_said() -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(OSError, match=f"cannot serve metrics at {address}"):
                async with Metrics().serve(address):
                    pass
        with pytest.raises(phalanx.ConfigurationError, match="'nowhere' is no address"):
            async with Metrics().serve("nowhere"):
                pass

    limited(story())


def test_a_program_may_show_a_registry_of_its_own() -> None:
    async def story() -> None:
        registry = CollectorRegistry()
        registry.register(Large())
        async with Metrics().serve("127.0.0.1:0", registry) as address:
            place = Place()
            place.port = int(address.rpartition(":")[2])
            assert samples(plain((await place.get("/metrics"))[2].decode())) == {("large",): 1}
            assert await place.get("/readyz") == (503, "text/plain; charset=utf-8", b"this node has not begun\n")
            assert (await place.get("/healthz"))[0] == 200

    limited(story())


def test_a_page_whose_end_is_cancelled_leaves_no_thread() -> None:
    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("phalanx-metrics")}

    async def block() -> None:
        place = Place()
        async with serving(place):
            await place.get("/metrics")

    async def main() -> None:
        async for _ in cut_everywhere(block):
            for thread in threads() - before:
                thread.join(PATIENCE_S)
                assert not thread.is_alive()

    before = threads()
    limited(main())


def test_a_page_that_is_cancelled_as_it_begins_does_not_go_on_listening() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def block() -> None:
        async with Metrics().serve(f"127.0.0.1:{port}", CollectorRegistry()):
            pass

    async def main() -> None:
        async for _ in cut_everywhere(block):
            socket.create_server(("127.0.0.1", port)).close()  # nobody else is there

    asyncio.run(main())
