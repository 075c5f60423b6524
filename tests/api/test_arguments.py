"""Mistakes of the program are told to whoever makes them, and stop no node and no group."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

import phalanx
from phalanx.api.local import Cluster, local
from phalanx.model.machine import Note
from phalanx.runtime.loop import run
from tests.api.cluster import PATIENCE_S, TIMING

T = TypeVar("T")


class Counter:
    value: int = 0

    @phalanx.command
    def add(self, amount: int) -> int:
        self.value += amount
        return self.value


def among(count: int, work: Callable[[Cluster], Coroutine[Any, Any, T]], **settings: Any) -> T:
    """Run a test's coroutine with a fresh cluster, for a limited time.  `settings`: as for `local`."""

    async def limited() -> T:
        async with asyncio.timeout(PATIENCE_S), local(count, **{"timing": TIMING, **settings}) as cluster:
            return await work(cluster)

    return run(limited())


def ignore(_: Any) -> None:
    """A state that is given, or a note that is told."""


async def next_of(group: phalanx.Group) -> bytes:
    async for message in group:
        return message.payload
    raise AssertionError("the iteration ended")


@pytest.mark.parametrize("payload", ["text", ["b"], {"a": 1}, None, 5])
def test_a_payload_that_is_not_bytes_is_refused_and_blocks_nobody(payload: Any) -> None:
    async def work(cluster: Cluster) -> None:
        a, b = [await process.group("log") for process in cluster.processes]
        with pytest.raises(TypeError, match="payload of group log must be bytes, not"):
            await a.send(payload)
        await a.send(b"good", delivered=True)
        assert await next_of(b) == b"good"

    among(2, work)


def test_a_payload_in_a_buffer_is_sent_as_it_is_at_that_moment() -> None:
    async def work(cluster: Cluster) -> None:
        a, b = [await process.group("log") for process in cluster.processes]
        buffer = bytearray(b"now")
        await a.send(buffer)  # type: ignore[arg-type]  # what a caller without a type checker may do
        buffer[:] = b"too late"
        await a.send(memoryview(b"view"))  # type: ignore[arg-type]  # wrong on purpose
        assert [type(await next_of(group)) for group in (a, b)] == [bytes, bytes]

    among(2, work)


def test_a_snapshot_that_is_not_bytes_is_told_to_the_reader_and_the_node_lives() -> None:
    async def work(cluster: Cluster) -> None:
        first, second = cluster.processes
        group = await first.group("log", snapshot=lambda: "text", restore=ignore)  # type: ignore[arg-type,return-value]  # wrong on purpose
        reading = asyncio.create_task(next_of(group))
        joining = asyncio.create_task(second.group("log", snapshot=bytes, restore=ignore))
        with pytest.raises(TypeError, match=r"what snapshot\(\) of group log returns must be bytes, not str"):
            await reading
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        await group.send(b"good", delivered=True)

    among(2, work)


def test_a_record_that_is_not_bytes_is_told_to_the_reader() -> None:
    async def work(cluster: Cluster) -> None:
        group = await cluster["a"].group("log", record=lambda: "text")  # type: ignore[arg-type,return-value]  # wrong on purpose
        asking = asyncio.create_task(group.global_state())
        with pytest.raises(TypeError, match=r"what record\(\) of group log returns must be bytes, not str"):
            await next_of(group)
        asking.cancel()

    among(1, work)


@pytest.mark.parametrize(("name", "error"), [(5, TypeError), ("", phalanx.ConfigurationError), (None, TypeError)])
def test_a_group_needs_a_name(name: Any, error: type[Exception]) -> None:
    async def work(cluster: Cluster) -> None:
        with pytest.raises(error, match="the name of a group must"):
            await cluster["a"].group(name)
        await cluster["a"].group("log")

    among(1, work)


def test_a_name_is_of_one_thing_at_a_process() -> None:
    async def work(cluster: Cluster) -> None:
        process = cluster["a"]
        with pytest.raises(phalanx.ConfigurationError, match="'Counter' is a replicated object at this process"):
            await process.group("Counter")
        await process.group("log")
        with pytest.raises(phalanx.ConfigurationError, match="'log' is a group of payloads at this process"):
            await process.host(Counter, "log")
        assert await cluster.client().object(Counter).call(Counter.add, 1) == 1

    among(1, work, objects={"Counter": (Counter, 0)})


def test_an_object_is_hosted_by_its_class() -> None:
    async def work(cluster: Cluster) -> None:
        with pytest.raises(TypeError, match="give the class, not <"):
            await cluster["a"].host(Counter())  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(TypeError, match="the name of an object must be a str, not int"):
            await cluster["a"].host(Counter, 5)  # type: ignore[arg-type]  # wrong on purpose

    among(1, work)


def test_a_listener_for_notes_that_fails_is_logged_and_the_node_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def work(cluster: Cluster) -> None:
        def fail(_: Note) -> None:
            raise RuntimeError("the metrics are down")

        cluster["a"].on_notes = fail
        group = await cluster["a"].group("log")
        await group.send(b"good", delivered=True)

    with caplog.at_level(logging.ERROR, "phalanx"):
        among(1, work)
    assert "a: on_notes failed, and the node goes on" in caplog.text
