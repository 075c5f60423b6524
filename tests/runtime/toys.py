"""Machines, disks and receivers that are just clever enough to test a driver and a transport."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from phalanx.model.clock import Instant
from phalanx.model.machine import Journal, Output
from phalanx.runtime.contract import LinkEvent, Stored
from phalanx.runtime.loop import run
from phalanx.runtime.space import Looked, NoRoom
from phalanx.runtime.transport import TcpTransport
from phalanx.wire.codec import Codec

PATIENCE_S = 20.0
"""Only a test that is going to fail waits so long."""


class Text(msgspec.Struct, tag="text", array_like=True, frozen=True):
    """The one message of the toys."""

    text: str


TEXT: Codec[Text] = Codec(Text)


class Scripted:
    """A machine whose every step is the test's function; it records the events of each turn."""

    def __init__(self, on_step: Callable[[list[Any], Output, Instant], None] = lambda *_: None) -> None:
        self.turns: list[list[Any]] = []
        self.deadline: int | None = None
        self._on_step = on_step

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        taken = list(events)
        output = Output()
        self._on_step(taken, output, now)
        self.turns.append(taken)
        return output


class ManualDisk:
    """A disk whose fsync returns when the test says so."""

    def __init__(self) -> None:
        self.under_way: list[tuple[Any, Stored]] = []
        self.stored: list[Any] = []
        self.is_closed = False

    def store(self, record: Any, done: Stored) -> None:
        assert not self.under_way, "a driver stores one record at a time"
        self.under_way.append((record, done))

    def finish(self, error: BaseException | None = None) -> None:
        record, done = self.under_way.pop()
        self.stored.append(record)
        done(error)

    def close(self) -> None:
        assert not self.under_way
        self.is_closed = True


class ManualLog:
    """A log whose fsync returns when the test says so."""

    def __init__(self) -> None:
        self.under_way: list[tuple[list[Any], int | None, Stored]] = []
        self.records: list[Any] = []
        self.reads = 0
        self.unreadable: OSError | None = None
        self.looks: list[Looked] = []
        self.parted: list[int] = []
        """How many records it had been given when it was told to part."""
        self.is_closed = False

    def append(self, records: Sequence[Any], forget: int | None, done: Stored) -> None:
        assert not self.under_way, "a driver has one append under way"
        self.under_way.append((list(records), forget, done))

    def part(self) -> None:
        self.parted.append(len(self.records) + sum(len(records) for records, _, _ in self.under_way))

    def read(self, done: Callable[[Journal | None, BaseException | None], None]) -> None:
        self.reads += 1
        done(None if self.unreadable else Journal(tuple(self.records)), self.unreadable)

    def look(self, done: Looked) -> None:
        self.looks.append(done)

    def finish(self, error: BaseException | None = None) -> None:
        records, _, done = self.under_way.pop()
        if not isinstance(error, NoRoom):
            self.records += records
        done(error)

    def close(self) -> None:
        assert not self.under_way
        self.is_closed = True


class Ear:
    """A transport's receiver that lets a test wait for what comes."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str] | LinkEvent] = []
        self._seen = 0
        self._more = asyncio.Event()

    def received(self, source: str, body: bytes | memoryview) -> None:
        self.heard.append((source, TEXT.decode(body).text))
        self._more.set()

    def link(self, event: LinkEvent) -> None:
        self.heard.append(event)
        self._more.set()

    async def until(self, wanted: Callable[[tuple[str, str] | LinkEvent], bool]) -> Any:
        """The next thing heard, after those that were waited for before, that is wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while self._seen < len(self.heard):
                    item = self.heard[self._seen]
                    self._seen += 1
                    if wanted(item):
                        return item
                self._more.clear()
                await self._more.wait()

    async def message(self, text: str) -> str:
        """Wait for a message of that text; who sent it."""
        found = await self.until(lambda item: not isinstance(item, LinkEvent) and item[1] == text)
        return str(found[0])

    async def event(self, expected: tuple[str, str] | LinkEvent) -> None:
        await self.until(lambda item: type(item) is type(expected) and item == expected)


@asynccontextmanager
async def running(transport: TcpTransport) -> AsyncIterator[tuple[TcpTransport, Ear]]:
    """Started, with an ear; closed in the end."""
    ear = Ear()
    transport.start(ear)
    try:
        yield transport, ear
    finally:
        await transport.close()


def say(transport: TcpTransport, to: str, text: str) -> None:
    """At once."""
    transport.send([to], TEXT.encode(Text(text)))
    transport.flush()


def on_loop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine on the loop that servers use."""
    run(work())
