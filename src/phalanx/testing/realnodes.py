"""A cluster for a test, of nodes that are processes of their own: they can also fail without crashing."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import msgspec

from phalanx.api.client import Client, connect
from phalanx.group.config import Timing
from phalanx.lab.processes import Processes, Statuses
from phalanx.model.view import Address, Name
from phalanx.testing.faulty import Failures
from phalanx.testing.located import Located
from phalanx.testing.namespaces import Network
from phalanx.testing.node import Change, Object, Order
from phalanx.testing.nodes import Nodes, Wish

REAL = Timing()
"""Of real processes."""


class RealNodes(Nodes):
    """Nodes that are processes of their own, on loopback sockets, with data directories."""

    poll_s = 0.05

    def __init__(self, wish: Wish, network: Network | None = None) -> None:
        """network: where they are to run, each in its namespace; None: on loopback, cut off inside their transports."""
        super().__init__(wish)
        self._processes = _Ordered(wish, self._located, network)

    @property
    def running(self) -> tuple[Name, ...]:
        return tuple(name for name in self.names if self._processes.pid(name) is not None)

    @property
    def addresses(self) -> Mapping[Name, Address]:
        return dict(self._processes.addresses)

    def _connect(self, names: Sequence[Name], timeout_s: float) -> AbstractAsyncContextManager[Client]:
        return connect(*(self._processes.addresses[name] for name in names), timeout_s=timeout_s, tls=self._wish.tls)

    async def statuses(self) -> Statuses:
        return await self._processes.statuses()

    async def run(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self._processes)

    async def _start(self, name: Name) -> None:
        await self._processes.start(name)

    def _located(self, name: Name) -> dict[str, Object]:
        """What that node hosts, as its process is told."""
        return {
            each: Object(Located.of(hosted.cls), hosted.lease_ms, hosted.durable, hosted.min_copies)
            for each, hosted in self._objects[name].items()
        }

    async def _kill(self, name: Name) -> None:
        await self._processes.kill(name)

    async def _pause(self, name: Name) -> None:
        self._processes.pause(name)

    async def _resume(self, name: Name) -> None:
        self._processes.resume(name)

    async def _cut_just(self, cuts: set[frozenset[Name]]) -> None:
        await self._processes.cut_just(cuts)

    async def _fail(self, name: Name, failures: Failures) -> None:
        await self._processes.fail({**self._processes.failures, name: failures})

    async def _heal(self) -> None:
        if self._processes.failures:
            await self._processes.fail({})


class _Ordered(Processes):
    """Processes that run `phalanx.testing.node`."""

    stdin = asyncio.subprocess.PIPE

    def __init__(self, wish: Wish, objects: Callable[[Name], dict[str, Object]], network: Network | None) -> None:
        super().__init__(wish.names, directory=wish.directory, tls=wish.tls)
        self._objects = objects
        self._network = network
        if network is not None:
            self.addresses.update(network.addresses)
        self._cuts: set[frozenset[Name]] = set()
        self.failures: dict[Name, Failures] = {}
        """Of those that fail; a node that is down, or is started again, will."""

    def command(self, name: Name) -> list[str]:
        command = [sys.executable, "-c", "from phalanx.testing.node import main; main()"]
        return command if self._network is None else self._network.command(name, command)

    async def start(self, name: Name) -> None:
        tls = self.tls
        await super().start(name)
        await self._tell(
            name,
            Order(
                name,
                self.addresses[name],
                tuple(self.addresses.items()),
                str(self.directory / name),
                self._objects(name),
                REAL,
                sys.path,
                self._cut_from(name),
                None if tls is None else (str(tls.certificate), str(tls.key), str(tls.authorities)),
                self._failures_of(name),
            ),
        )

    async def cut_just(self, cuts: set[frozenset[Name]]) -> None:
        """These pairs are cut, and no others."""
        if self._network is not None:
            await asyncio.to_thread(self._network.cut_just, frozenset(cuts))
            return
        self._cuts = set(cuts)
        await self._tell_all()

    async def fail(self, failures: dict[Name, Failures]) -> None:
        """These fail, and no others."""
        self.failures = failures
        await self._tell_all()

    async def _tell_all(self) -> None:
        for name in self.names:
            if self.pid(name) is not None:
                await self._tell(name, Change(self._cut_from(name), self._failures_of(name)))

    def _failures_of(self, name: Name) -> Failures:
        return self.failures.get(name, Failures())

    def _cut_from(self, name: Name) -> tuple[Address, ...]:
        return tuple(self.addresses[other] for other in self.names if frozenset((name, other)) in self._cuts)

    async def _tell(self, name: Name, what: Any) -> None:
        pipe = self.process(name).stdin
        assert pipe is not None, "it was asked for"
        pipe.write(msgspec.json.encode(what) + b"\n")
        await pipe.drain()
