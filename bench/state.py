"""What a large state costs a cluster: three real nodes with a durable store, a client that never stops writing.

Measured are the longest time without a successful write while nothing happens, while every node writes a snapshot into
its log, and while a killed node comes back and fetches the state; how long that takes; a restart of all; and memory.

Run it: python -m bench.state [--keys 1000000] [--size 100]
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

import phalanx
from phalanx.lab.processes import Processes
from phalanx.runtime.log import SEGMENT_BYTES
from phalanx.runtime.loop import run
from phalanx.services.store.values import Put

LOADERS = 8
PUTS = 64
"""Of one transaction, with which keys are loaded."""

PROBE_PAUSE_S = 0.001
BALLAST = bytes(60_000)

PATIENCE_S = 600


class Probe:
    """A client that writes one key again and again while the block runs."""

    def __init__(self, store: phalanx.Store, what: str) -> None:
        self._store = store.within(30)
        self._what = what
        self._times: list[float] = []

    async def __aenter__(self) -> "Probe":
        self._began = time.perf_counter()
        self._task = asyncio.create_task(self._write())
        return self

    async def _write(self) -> None:
        while True:
            await self._store.put(b"probe", b"%d" % len(self._times))
            self._times.append(time.perf_counter())
            await asyncio.sleep(PROBE_PAUSE_S)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        took = time.perf_counter() - self._began
        gaps = sorted(b - a for a, b in zip([self._began, *self._times], self._times, strict=False))
        median, longest = gaps[len(gaps) // 2] * 1e3, gaps[-1] * 1e3
        print(
            f"{self._what:<44} {took:7.1f} s; writes: median {median:.1f} ms, longest gap {longest:.1f} ms", flush=True
        )


async def load(store: phalanx.Store, count: int, size: int) -> None:
    """Put that many keys."""
    starts = iter(range(0, count, PUTS))

    async def loader() -> None:
        for start in starts:
            puts = [Put(b"key/%012d" % n, bytes(size)) for n in range(start, min(start + PUTS, count))]
            await store.within(60).transact(then=puts)

    began = time.perf_counter()
    await asyncio.gather(*(loader() for _ in range(LOADERS)))
    took = time.perf_counter() - began
    print(f"{f'load {count} keys of {size} bytes':<44} {took:7.1f} s", flush=True)


def files(nodes: Processes) -> dict[str, list[Path]]:
    """The files of each node's log, oldest first."""
    return {name: sorted((nodes.directory / name / "log").iterdir()) for name in nodes.names}


async def begun(nodes: Processes, store: phalanx.Store) -> None:
    """Write until every node has begun to put a snapshot into its log: a file of its own, before the last one is full."""
    before = {name: len(logs) for name, logs in files(nodes).items()}

    def has_begun(name: str, logs: list[Path]) -> bool:
        return any(path.stat().st_size < SEGMENT_BYTES for path in logs[before[name] - 1 : -1])

    async with asyncio.timeout(PATIENCE_S):
        while not all(has_begun(name, logs) for name, logs in files(nodes).items()):
            await store.within(30).put(b"ballast", BALLAST)


async def shortened(nodes: Processes) -> None:
    """Until every node has forgotten what was before its snapshot."""
    before = {name: logs[0] for name, logs in files(nodes).items()}
    async with asyncio.timeout(PATIENCE_S):
        while any(before[name] == logs[0] for name, logs in files(nodes).items()):
            await asyncio.sleep(0.1)


async def until(what: Callable[[], Awaitable[object]]) -> None:
    """Until that works."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await what()
            except (phalanx.NotHappened, phalanx.OutcomeUnknown):
                continue
            return


def memory(nodes: Processes) -> int:
    """The largest resident size of a node, in bytes."""
    pids = [pid for name in nodes.names if (pid := nodes.pid(name)) is not None]
    pages = [int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) for pid in pids]
    return max(pages) * 4096


async def measure(keys: int, size: int) -> None:
    """All of it, in order."""
    async with Processes(options=("--durable",)) as nodes:
        await nodes.wait_until_full(3)
        empty = memory(nodes)
        async with phalanx.connect(nodes.addresses["a"], nodes.addresses["b"]) as client:
            store = client.kv()
            await load(store, keys, size)
            print(f"{'memory':<44} {(memory(nodes) - empty) / keys:7.0f} bytes per key", flush=True)
            async with Probe(store, "nothing else happens"):
                await asyncio.sleep(5)
            async with Probe(store, "large writes, to fill the logs"):
                await begun(nodes, store)
            async with Probe(store, "snapshots into all logs"):
                await shortened(nodes)
            async with Probe(store, "a killed node comes back and fetches all"):
                await nodes.kill("c")
                await asyncio.sleep(1)
                await nodes.start("c")
                await nodes.wait_until_full(3, PATIENCE_S)
        for name in nodes.names:
            await nodes.kill(name)
        began = time.perf_counter()
        for name in nodes.names:
            await nodes.start(name)
        async with phalanx.connect(*nodes.addresses.values()) as client:
            again = client.kv().within(1)
            await until(lambda: again.put(b"probe", b""))
            print(f"{'restart of all, until the first write':<44} {time.perf_counter() - began:7.1f} s", flush=True)
            assert await client.kv().within(60).count(b"key/", b"key0") == keys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100)
    arguments = parser.parse_args()
    run(measure(arguments.keys, arguments.size))


if __name__ == "__main__":
    main()
