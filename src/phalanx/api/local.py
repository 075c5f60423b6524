"""A whole cluster inside one program, on the same code, without sockets: for tests, notebooks, and demonstrations."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from phalanx.api.arguments import check_settings, look_at_loop, names_of, number_of
from phalanx.api.client import TIMEOUT_S, Client
from phalanx.api.hosted import Objects, all_hosted
from phalanx.api.process import Process
from phalanx.api.storage import Storage
from phalanx.errors import ConfigurationError
from phalanx.group.config import Config, Limits, Timing
from phalanx.group.messages import Votes
from phalanx.model.view import Name
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.logdisk import MemoryLog
from phalanx.runtime.memory import MemoryNetwork


class Cluster:
    """Processes on an in-memory network that can be cut and healed, and that can be killed and started again."""

    def __init__(self, names: list[Name], objects: Objects, timing: Timing, limits: Limits):
        self._network = MemoryNetwork()
        self._peers = tuple((name, name) for name in names)
        hosted = all_hosted(objects)
        check_settings(timing, limits)
        self._objects: dict[Name, Objects] = dict.fromkeys(names, hosted)
        self._timing = msgspec.structs.replace(timing, busy_poll=0)  # all share one loop, which a message never leaves
        self._limits = limits
        self._disks: dict[Name, MemoryDisk] = {name: MemoryDisk() for name in names}
        self._logs: dict[Name, MemoryLog] = {name: MemoryLog() for name in names}
        self._running: dict[Name, Process] = {}
        self._clients: list[Client] = []
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<phalanx.Cluster of {' '.join(name for name, _ in self._peers)}, running: {' '.join(self._running)}>"

    @property
    def processes(self) -> list[Process]:
        """Those that run, in the order of their names."""
        return [self._running[name] for name, _ in self._peers if name in self._running]

    def __getitem__(self, name: Name) -> Process:
        """The running process of that name.  Raises KeyError if it is down."""
        return self._running[name]

    def start(self, name: Name, objects: Objects | None = None) -> Process:
        """Start the process of that name, which is down, with what its disk holds.  objects: what it hosts from now on,
        as for `join`, say a newer version of a class; None: as before.  Raises `ConfigurationError` if it runs, or the
        cluster has ended."""
        self._known(name)
        if name in self._running:
            raise ConfigurationError(f"{name} runs already")
        hosted = self._objects[name] if objects is None else all_hosted(objects)
        votes = self._disks[name].record
        assert votes is None or isinstance(votes, Votes)
        config = Config(name, name, (), self._peers, (), self._timing, self._limits)
        transport = self._network.transport(name)
        storage = Storage(self._disks[name], votes, self._logs[name], self._logs[name].journal())
        process = Process(config, transport, storage, self._network.client, hosted)
        self._objects[name] = hosted
        self._running[name] = process
        process.start()
        return process

    async def kill(self, name: Name) -> None:
        """End the process of that name as `kill -9` does.  What it had on its disk stays.  Raises `ConfigurationError`
        if it is down."""
        self._known(name)
        if name not in self._running:
            raise ConfigurationError(f"{name} is down")
        process = self._running.pop(name)
        self._network.go_on(name)
        self._network.kill(name)
        await process.close()

    def cut(self, one: Name, other: Name) -> None:
        """Lose everything between two processes, without telling either.  Raises `ConfigurationError`, as all below, for
        a name that is none of this cluster."""
        self._known(one, other)
        if one == other:
            raise ConfigurationError(f"{one} cannot be cut off from itself")
        self._network.cut(one, other)

    def heal(self, one: Name, other: Name) -> None:
        """Undo `cut`."""
        self._known(one, other)
        self._network.heal(one, other)

    def pause(self, name: Name) -> None:
        """Have that process hang: it hears nothing and is not heard, by processes and clients alike, and nobody is told.
        (Its own clock goes on, unlike that of a process that is stopped by a signal.)"""
        self._known(name)
        self._network.hang(name)

    def resume(self, name: Name) -> None:
        """Undo `pause`: it hears all that came meanwhile at once."""
        self._known(name)
        self._network.go_on(name)

    async def joined(self) -> None:
        """Wait until all that run are full members of one view."""
        while True:
            views = [process.view for process in self.processes]
            full = {name for view in views[:1] if view is not None for name in (m.name for m in view.members)}
            same = full == set(self._running) and all(view == views[0] for view in views)
            if same and all(process.is_whole for process in self.processes):
                return
            await asyncio.sleep(0.005)

    def client(self, timeout_s: float = TIMEOUT_S, names: Sequence[Name] | None = None) -> Client:
        """A client that knows these processes (None: all), and tries them in that order; closed with the cluster.
        Raises `ConfigurationError` if that has ended."""
        wanted = names_of(self._disks if names is None else names, "the nodes that a client is to know")
        self._known(*wanted)
        if not wanted:
            raise ConfigurationError("name a process that the client is to know")
        client = Client(wanted, self._network.client(), timeout_s)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """End everything, as it stands; all of it, also if this is cancelled meanwhile, or a node was broken."""
        self._ended = True
        running, self._running = self._running, {}
        async with AsyncExitStack() as stack:  # the last is the first
            for process in running.values():
                stack.push_async_callback(process.close)
            for name in running:  # all at once: nobody is left to miss the others, and to warn of it
                stack.callback(self._network.kill, name)
            for client in self._clients:
                stack.push_async_callback(client.close)

    def _known(self, *names: Name) -> None:
        self._look()
        for name in names:
            if name not in [known for known, _ in self._peers]:
                raise ConfigurationError(f"no process {name!r}: there are {', '.join(self._disks)}")

    def _look(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        look_at_loop(self._loop, "this cluster")
        if self._ended:
            raise ConfigurationError("this cluster has ended with its block")


@asynccontextmanager
async def local(
    count: int = 3,
    *,
    objects: Objects | None = None,
    timing: Timing = Timing(),
    limits: Limits = Limits(),
) -> AsyncIterator[Cluster]:
    """A cluster of `count` processes named a, b, c, ... inside this program, all full members when the block begins.

    objects, timing, limits: as for `join`.  Raises ConfigurationError if `count` is not from 1 to 26.
    """
    number_of(count, "the number of processes of a local cluster", 1, 26)
    cluster = Cluster([chr(ord("a") + i) for i in range(count)], objects or {}, timing, limits)
    try:
        for name in cluster._disks:
            cluster.start(name)
        await cluster.joined()
        yield cluster
    finally:
        await cluster.close()
