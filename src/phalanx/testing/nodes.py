"""A cluster for a test, whose nodes can be killed, paused and cut off: inside the test's process, or real processes."""

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from phalanx.api.client import TIMEOUT_S, Client, connect
from phalanx.api.hosted import Hosted
from phalanx.api.local import Cluster
from phalanx.api.tls import TLS
from phalanx.errors import ConfigurationError
from phalanx.group.config import Limits, Timing
from phalanx.lab.processes import NotReached, Processes, Statuses, is_full
from phalanx.model.clock import MILLISECOND
from phalanx.model.view import Address, Name
from phalanx.testing.located import Located
from phalanx.testing.namespaces import Network
from phalanx.testing.node import Change, Object, Order

NODES_MAX = 26
"""They are named a to z."""

WAIT_S = 60.0
"""For a cluster to get into a state: long, for it judges no speed."""

HERE = Timing(
    heartbeat=20 * MILLISECOND,
    suspect_after=200 * MILLISECOND,
    demote_after=60 * MILLISECOND,
    patience=40 * MILLISECOND,
    resend_after=40 * MILLISECOND,
)
"""Of nodes inside the test's process: quick, as nothing there is far away."""

REAL = Timing()
"""Of real processes."""


class Wish(NamedTuple):
    """What cluster is wanted."""

    names: tuple[Name, ...]
    objects: Mapping[str, Hosted]
    real: bool
    directory: Path | None = None
    """For data and logs of real nodes, which stay; None: a temporary one."""
    tls: TLS | None = None
    """Of real nodes and their clients."""


class Nodes(ABC):
    """The nodes of a cluster, by name: a, b, c, ...  All methods raise `ConfigurationError` for a name that is none."""

    poll_s: float
    """How often `wait_until_full` looks."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._cuts: set[frozenset[Name]] = set()
        self._paused: set[Name] = set()

    @property
    def names(self) -> tuple[Name, ...]:
        """Of all nodes, whether they run or not."""
        return self._wish.names

    @property
    @abstractmethod
    def running(self) -> tuple[Name, ...]:
        """Those that run, paused ones included."""

    @property
    @abstractmethod
    def addresses(self) -> Mapping[Name, Address]:
        """Where the nodes listen ("host:port"), for programs of one's own.  Raises `ConfigurationError` if they do not,
        because they are not real processes."""

    def connect(
        self, timeout_s: float = TIMEOUT_S, names: Sequence[Name] | None = None
    ) -> AbstractAsyncContextManager[Client]:
        """A client that knows these nodes (None: all), while its block runs.  It tries them in that order."""
        self._known(*(names or ()))
        return self._connect(self.names if names is None else names, timeout_s)

    async def start(self, name: Name) -> None:
        """Start a node that is down, with what its disk holds."""
        self._known(name)
        if name in self.running:
            raise ConfigurationError(f"{name} runs already")
        await self._start(name)

    async def kill(self, name: Name) -> None:
        """End a node as `kill -9` does.  What it had on its disk stays."""
        self._runs(name)
        self._paused.discard(name)
        await self._kill(name)

    async def restart(self, name: Name) -> None:
        """Kill the node if it runs, and start it again."""
        self._known(name)
        if name in self.running:
            await self.kill(name)
        await self.start(name)

    async def pause(self, name: Name) -> None:
        """Have the node stand still, with its connections open, as a long pause or a stopped virtual machine does."""
        self._runs(name)
        if name not in self._paused:
            self._paused.add(name)
            await self._pause(name)

    async def resume(self, name: Name) -> None:
        """Undo `pause`."""
        self._runs(name)
        if name in self._paused:
            self._paused.discard(name)
            await self._resume(name)

    async def cut(self, one: Name, other: Name) -> None:
        """Lose everything between two nodes, without telling either.  Clients still reach both."""
        self._known(one, other)
        if one == other:
            raise ConfigurationError(f"{one} cannot be cut off from itself")
        self._cuts.add(frozenset((one, other)))
        await self._cut_just(self._cuts)

    async def partition(self, *sides: Iterable[Name]) -> None:
        """Cut the nodes into sides that do not hear each other; nodes that are not named are one more side.  Replaces
        earlier partitions and cuts.  Clients still reach all.

            await cluster.partition("a")                # a alone, the others together
            await cluster.partition("ab", "cde")
        """
        named = [set(side) for side in sides]
        self._known(*(name for side in named for name in side))
        if sum(map(len, named)) != len(set().union(*named)):
            raise ConfigurationError("a node cannot be on two sides of a partition")
        named.append(set(self.names).difference(*named))
        self._cuts = {frozenset((a, b)) for one, other in combinations(named, 2) for a in one for b in other}
        await self._cut_just(self._cuts)

    async def heal(self) -> None:
        """Undo all cuts and partitions."""
        self._cuts = set()
        await self._cut_just(self._cuts)

    async def wait_until_full(self, names: Iterable[Name] | None = None, timeout_s: float = WAIT_S) -> None:
        """Wait until these nodes (None: all that run and are not paused) agree on a view of just themselves, as full
        members that host all objects: `await cluster.wait_until_full("bc")`.  Raises `NotReached`."""
        wanted = [name for name in self.running if name not in self._paused] if names is None else list(names)
        self._known(*wanted)
        seen: Statuses = {}
        try:
            async with asyncio.timeout(timeout_s):
                while not is_full(seen, len(wanted)):
                    await asyncio.sleep(self.poll_s if seen else 0)
                    everyone = await self.statuses()
                    seen = {name: everyone[name] for name in wanted}
        except TimeoutError:
            states = "; ".join(
                f"{name}: {'no answer' if each is None else f'{each.state} in view {each.view}'}"
                for name, each in seen.items()
            )
            raise NotReached(f"no view of just {', '.join(wanted)} within {timeout_s:g} s: {states}") from None

    @abstractmethod
    async def statuses(self) -> Statuses:
        """What each node says of itself, by name; None: it is down, paused, or does not answer."""

    # --- for the kinds of clusters ------------------------------------------------------------------------------------

    @abstractmethod
    async def run(self, stack: AsyncExitStack) -> None:
        """Start all nodes, and leave their end to the stack."""

    @abstractmethod
    def _connect(self, names: Sequence[Name], timeout_s: float) -> AbstractAsyncContextManager[Client]: ...
    @abstractmethod
    async def _start(self, name: Name) -> None: ...
    @abstractmethod
    async def _kill(self, name: Name) -> None: ...
    @abstractmethod
    async def _pause(self, name: Name) -> None: ...
    @abstractmethod
    async def _resume(self, name: Name) -> None: ...
    @abstractmethod
    async def _cut_just(self, cuts: set[frozenset[Name]]) -> None: ...

    def _known(self, *names: Name) -> None:
        for name in names:
            if name not in self.names:
                raise ConfigurationError(f"no node {name!r}: there are {', '.join(self.names)}")

    def _runs(self, name: Name) -> None:
        self._known(name)
        if name not in self.running:
            raise ConfigurationError(f"{name} is down")


class LocalNodes(Nodes):
    """Nodes inside the test's process, on `phalanx.local`."""

    poll_s = 0.005

    def __init__(self, wish: Wish) -> None:
        super().__init__(wish)
        self._cluster = Cluster(list(wish.names), wish.objects, HERE, Limits())
        self._cut_now: set[frozenset[Name]] = set()

    @property
    def running(self) -> tuple[Name, ...]:
        return tuple(process.name for process in self._cluster.processes)

    @property
    def addresses(self) -> Mapping[Name, Address]:
        raise ConfigurationError("nodes inside the test's process have no addresses; ask for real=True")

    def _connect(self, names: Sequence[Name], timeout_s: float) -> AbstractAsyncContextManager[Client]:
        return _closing(lambda: self._cluster.client(timeout_s, names))

    async def statuses(self) -> Statuses:
        processes = {process.name: process for process in self._cluster.processes}
        return {
            name: processes[name].status if name in processes and name not in self._paused else None
            for name in self.names
        }

    async def run(self, stack: AsyncExitStack) -> None:
        stack.push_async_callback(self._cluster.close)
        for name in self.names:
            self._cluster.start(name)

    async def _start(self, name: Name) -> None:
        self._cluster.start(name)

    async def _kill(self, name: Name) -> None:
        await self._cluster.kill(name)

    async def _pause(self, name: Name) -> None:
        self._cluster.pause(name)

    async def _resume(self, name: Name) -> None:
        self._cluster.resume(name)

    async def _cut_just(self, cuts: set[frozenset[Name]]) -> None:
        for pair in cuts - self._cut_now:
            self._cluster.cut(*pair)
        for pair in self._cut_now - cuts:
            self._cluster.heal(*pair)
        self._cut_now = set(cuts)


class _closing(AbstractAsyncContextManager[Client]):  # noqa: N801  it is used as a function
    """A client that is made when its block begins, and closed at its end."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make

    async def __aenter__(self) -> Client:
        self._client = self._make()
        return self._client

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()


class RealNodes(Nodes):
    """Nodes that are processes of their own, on loopback sockets, with data directories."""

    poll_s = 0.05

    def __init__(self, wish: Wish, network: Network | None = None) -> None:
        """network: where they are to run, each in its namespace; None: on loopback, cut off inside their transports."""
        super().__init__(wish)
        located = {
            name: Object(Located.of(each.cls), each.lease_ms, each.durable, each.min_copies)
            for name, each in wish.objects.items()
        }
        self._processes = _Ordered(wish, located, network)

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

    async def _kill(self, name: Name) -> None:
        await self._processes.kill(name)

    async def _pause(self, name: Name) -> None:
        self._processes.pause(name)

    async def _resume(self, name: Name) -> None:
        self._processes.resume(name)

    async def _cut_just(self, cuts: set[frozenset[Name]]) -> None:
        await self._processes.cut_just(cuts)


class _Ordered(Processes):
    """Processes that run `phalanx.testing.node`."""

    stdin = asyncio.subprocess.PIPE

    def __init__(self, wish: Wish, objects: dict[str, Object], network: Network | None) -> None:
        super().__init__(wish.names, directory=wish.directory, tls=wish.tls)
        self._objects = objects
        self._network = network
        if network is not None:
            self.addresses.update(network.addresses)
        self._cuts: set[frozenset[Name]] = set()

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
                self._objects,
                REAL,
                sys.path,
                self._cut_from(name),
                None if tls is None else (str(tls.certificate), str(tls.key), str(tls.authorities)),
            ),
        )

    async def cut_just(self, cuts: set[frozenset[Name]]) -> None:
        """These pairs are cut, and no others."""
        if self._network is not None:
            await asyncio.to_thread(self._network.cut_just, frozenset(cuts))
            return
        self._cuts = set(cuts)
        for name in self.names:
            if self.pid(name) is not None:
                await self._tell(name, Change(self._cut_from(name)))

    def _cut_from(self, name: Name) -> tuple[Address, ...]:
        return tuple(self.addresses[other] for other in self.names if frozenset((name, other)) in self._cuts)

    async def _tell(self, name: Name, what: Any) -> None:
        pipe = self.process(name).stdin
        assert pipe is not None, "it was asked for"
        pipe.write(msgspec.json.encode(what) + b"\n")
        await pipe.drain()
