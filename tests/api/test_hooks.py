"""Hooks of a class that raise: what needs them is not done, is said, and costs neither the node nor its other groups."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from phalanx.api.client import Client
from phalanx.api.hosted import Hosted
from phalanx.api.local import Cluster, local
from phalanx.group.config import Limits
from phalanx.model.replicated import Context, command, query
from phalanx.replication.audit import AUDIT_INTERVAL
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.logdisk import MemoryLog
from phalanx.runtime.loop import run
from phalanx.services.store.kv import KV
from tests.api.cluster import PATIENCE_S, TIMING


class Frail:
    """Its state says which of its hooks raises."""

    def __init__(self) -> None:
        self.count = 0
        self.broken = ""

    @command
    def add(self) -> int:
        self.count += 1
        return self.count

    @command
    def break_(self, hook: str) -> None:
        self.broken = hook

    @command
    def fail(self) -> None:
        self.count = -1
        raise ValueError("undo me")

    @query
    def read(self) -> int:
        return self.count

    def _try(self, hook: str) -> None:
        if self.broken == hook:
            raise RuntimeError(f"{hook} is broken")

    def due_ms(self) -> int | None:
        self._try("due_ms")
        return None

    def tick(self, context: Context) -> None:
        """Never."""

    def digest(self) -> bytes:
        self._try("digest")
        return b"%d %s" % (self.count, self.broken.encode())

    def snapshot(self) -> bytes:
        self._try("snapshot")
        return msgspec.msgpack.encode((self.count, self.broken))

    def restore(self, data: bytes) -> None:
        self.count, self.broken = msgspec.msgpack.decode(data)


class Plain:
    """Its state can come to hold what has no encoding, against its annotation."""

    what: Any = None

    @command
    def set(self, sound: bool) -> bool:
        self.what = None if sound else Plain
        return sound


OBJECTS = {"Frail": (Frail, 0), "KV": (KV, 0), "Plain": (Plain, 0)}


def in_a_cluster(story: Callable[[Cluster, Client], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S), local(3, objects=OBJECTS, timing=TIMING) as cluster:
            await story(cluster, cluster.client(PATIENCE_S))
            assert len(cluster["a"].status.members) == 3, "nobody was put out for it"

    run(limited())


def told(caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    return [text for text in texts if all(word in text for word in words)]


@pytest.mark.parametrize("hook", ["due_ms", "digest", "snapshot"])
def test_what_needs_a_hook_that_raises_is_not_done_and_everything_else_is(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(_: Cluster, client: Client) -> None:
        frail = client.object(Frail)
        await frail.call(Frail.break_, hook)
        await asyncio.gather(*(frail.call(Frail.add) for _ in range(2 * AUDIT_INTERVAL)))
        with pytest.raises(ValueError, match="undo me"):
            await frail.call(Frail.fail)
        assert await frail.call(Frail.read) == 2 * AUDIT_INTERVAL, "commands are undone as ever"
        await client.kv().put(b"key", b"value")
        for node in "abc":
            lines = told(caplog, f"{node}: group Frail: Frail, {hook}() raised RuntimeError: {hook} is broken")
            assert len(lines) == 1, "each says it, once"
        assert not told(caplog, "diverged"), "it raises at all alike"

    in_a_cluster(story)


def test_a_state_that_cannot_be_encoded_stops_no_node(caplog: pytest.LogCaptureFixture) -> None:
    async def story(_: Cluster, client: Client) -> None:
        plain = client.object(Plain)
        await asyncio.gather(*(plain.call(Plain.set, False) for _ in range(AUDIT_INTERVAL + 1)))
        assert told(caplog, "group Plain: Plain, the encoding of its fields raised TypeError")
        await client.kv().put(b"key", b"value")
        assert await plain.call(Plain.set, True)

    in_a_cluster(story)


@pytest.mark.parametrize("hook", ["digest", "snapshot"])
def test_who_comes_waits_for_a_state_that_can_be_given(hook: str) -> None:
    async def story(cluster: Cluster, client: Client) -> None:
        frail = client.object(Frail)
        await frail.call(Frail.break_, hook)
        await cluster.kill("c")
        await cluster.joined()
        cluster._disks["c"], cluster._logs["c"] = MemoryDisk(), MemoryLog()
        failed = asyncio.Event()
        cluster["a"].on_notes = cluster["b"].on_notes = lambda note: (
            failed.set() if note.what == "gateway.hook_failed" else None
        )
        cluster.start("c")
        await failed.wait()
        await client.kv().put(b"key", b"value")
        await frail.call(Frail.add)
        await frail.call(Frail.break_, "")
        await cluster.joined()
        assert await cluster.client(PATIENCE_S, ["c"]).object(Frail).call(Frail.read) == 1

    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S), local(3, objects=OBJECTS, timing=TIMING) as cluster:
            await story(cluster, cluster.client(PATIENCE_S))

    run(limited())


def test_a_log_is_shortened_when_the_state_can_be_saved_again() -> None:
    async def story() -> None:
        objects = {"Frail": Hosted(Frail, durable=True), "KV": Hosted(KV, durable=True)}
        async with asyncio.timeout(PATIENCE_S), local(1, objects=objects, limits=Limits(log=4_096)) as cluster:
            given_up, shortened = asyncio.Event(), asyncio.Event()
            events = {"log.round_given_up": given_up, "log.shortened": shortened}
            cluster["a"].on_notes = lambda note: events[note.what].set() if note.what in events else None
            client = cluster.client(PATIENCE_S)
            frail = client.object(Frail)
            await frail.call(Frail.break_, "snapshot")
            while not given_up.is_set():
                await client.kv().put(b"key", b"x" * 100)
            await frail.call(Frail.break_, "")
            shortened.clear()
            while not shortened.is_set():
                await client.kv().put(b"key", b"x" * 100)
            await cluster.kill("a")
            cluster.start("a")
            await cluster.joined()
            assert await cluster.client(PATIENCE_S).object(Frail).call(Frail.read) == 0

    run(story())
