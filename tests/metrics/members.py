"""Processes with metrics in one event loop, on sockets of this machine; and what their pages say."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from phalanx.api.hosted import Objects
from phalanx.api.joining import join
from phalanx.api.process import Process
from phalanx.api.tls import TLS
from phalanx.metrics import Metrics
from phalanx.metrics.library import Metric
from phalanx.runtime.loop import run

PATIENCE_S = 60.0
"""It stops what hangs and judges no speed."""

Samples = Mapping[tuple[str, ...], float]
"""By name, and values of labels in the order of the family's."""

T = TypeVar("T")


def limited(work: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine, for a limited time."""

    async def main() -> T:
        async with asyncio.timeout(PATIENCE_S):
            return await work

    return run(main())


def samples(found: Iterable[Metric]) -> Samples:
    """What is measured."""
    return {(s.name, *s.labels.values()): s.value for metric in found for s in metric.samples}


async def until(metrics: Metrics, holds: Callable[[Samples], bool]) -> Samples:
    """Look until the measures are such."""
    while not holds(found := samples(metrics.collect())):
        await asyncio.sleep(0)
    return found


class Members:
    """Founders of one cluster."""

    def __init__(self, names: str, data: Path | None, objects: Objects, tls: TLS | None) -> None:
        self.names = names
        self.addresses = dict(zip(names, _addresses(len(names)), strict=True))
        self.metrics = {name: Metrics() for name in names}
        self.running: dict[str, Process] = {}
        self._data = data
        self._objects = objects
        self._tls = tls
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, name: str) -> None:
        """Have the process of that name join, with the metrics of that name."""
        begun: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._tasks[name] = asyncio.ensure_future(self._run(name, begun))
        await asyncio.wait((begun, self._tasks[name]), return_when=asyncio.FIRST_COMPLETED)
        if self._tasks[name].done():
            self._tasks[name].result()
        self.running[name] = begun.result()

    async def _run(self, name: str, begun: asyncio.Future[Process]) -> None:
        joining = join(
            name,
            listen=self.addresses[name],
            peers=list(self.addresses.items()),
            data=self._data / name if self._data is not None else None,
            objects=self._objects,
            tls=self._tls,
            metrics=self.metrics[name],
        )
        async with joining as process:
            begun.set_result(process)
            await asyncio.get_running_loop().create_future()

    async def kill(self, name: str) -> None:
        """It stops as it stands, and leaves nobody politely."""
        self.running.pop(name, None)
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks.pop(name), return_exceptions=True)

    async def close(self) -> None:
        for name in list(self._tasks):
            await self.kill(name)


@asynccontextmanager
async def members(
    names: str = "abc", data: Path | None = None, objects: Objects | None = None, tls: TLS | None = None
) -> AsyncIterator[Members]:
    """All of them, as full members."""
    found = Members(names, data, objects or {}, tls)
    try:
        await asyncio.gather(*map(found.start, names))
        for metrics in found.metrics.values():
            await until(metrics, lambda s: s["phalanx_members",] == len(names) and s["phalanx_ready",] == 1)
        yield found
    finally:
        await found.close()


def _addresses(count: int) -> list[str]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
    for probe in probes:
        probe.close()
    return addresses
