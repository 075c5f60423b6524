"""What a node does all day makes no cycles: a server collects garbage rarely (`tune_gc_for_server`), and what a cycle
holds, such as the batch that a log has just written, would stay in memory until then."""

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import phalanx
from phalanx.runtime.loop import run

OPERATIONS = 200

ONCE_MAX = OPERATIONS // 2
"""Things that something rare has made, such as a change of views on a busy machine."""


@contextlib.contextmanager
def uncollected() -> Iterator[list[Any]]:
    """No garbage is collected meanwhile; in the end the list is what was found then."""
    found: list[Any] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def cycles_of(operation: Callable[[int], Awaitable[object]]) -> str:
    """What many of them leave to the collector, or nothing."""
    await operation(0)
    with uncollected() as found:
        for n in range(1, OPERATIONS):
            await operation(n)
    kinds = Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in found)
    return str(kinds.most_common(10)) if len(found) > ONCE_MAX else ""


@contextlib.asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[list[phalanx.Process]]:
    """Three real nodes in this process, each with a durable store."""
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(phalanx.join("a", bootstrap=True, data=directory / "a"))
        others = [phalanx.join(name, seeds=[a.address], data=directory / name) for name in "bc"]
        nodes = [a, *[await stack.enter_async_context(node) for node in others]]
        for node in nodes:
            await node.host(phalanx.KV, durable=True)
        yield nodes


async def declined(store: phalanx.Store) -> None:
    """An operation with an error for an answer."""
    with pytest.raises(phalanx.LeaseLost):
        await store.put(b"k", b"", lease=12345)


def test_a_cycle_is_found() -> None:
    async def knot(n: int) -> None:
        loop: list[Any] = [n]
        loop.append(loop)

    assert "list" in asyncio.run(cycles_of(knot))


def test_operations_of_a_durable_store_and_their_watches_make_no_cycles(tmp_path: Path) -> None:
    async def work() -> None:
        async with cluster(tmp_path) as nodes, phalanx.connect(nodes[0].address, nodes[1].address) as client:
            store = client.kv()
            seen = asyncio.Event()

            async def watch() -> None:
                async with store.watch(b"k", after=0) as events:
                    async for _ in events:
                        seen.set()

            async def put(n: int) -> None:
                seen.clear()
                await store.put(b"k", b"%d" % n)
                await seen.wait()

            watching = asyncio.create_task(watch())
            assert not await cycles_of(put)
            assert not await cycles_of(lambda _: store.get(b"k"))
            assert not await cycles_of(lambda _: nodes[2].client().kv().get(b"k"))
            assert not await cycles_of(lambda _: declined(store))
            watching.cancel()
            await asyncio.wait([watching])

    run(work())


def test_messages_of_a_group_make_no_cycles(tmp_path: Path) -> None:
    async def work() -> None:
        async with cluster(tmp_path) as nodes:
            groups = [await node.group("g") for node in nodes]

            async def read(group: phalanx.Group) -> None:
                async for _ in group:
                    pass

            reading = [asyncio.create_task(read(group)) for group in groups]
            assert not await cycles_of(lambda _: groups[0].send(b"x" * 100))
            for task in reading:
                task.cancel()
            await asyncio.wait(reading)

    run(work())
