"""A cluster of real processes on this machine: each node is `python -m phalanx serve`, with its own data directory.

For what only real processes show: SIGKILL and what is left on the disk, SIGSTOP, sockets, the speed of a failover.  Used
by the demo, the tests marked `real`, and the benchmarks.  Everything else belongs into the simulator.

    async with Processes() as nodes:
        await nodes.wait_until_full(3)
        await nodes.kill("a")
"""

import asyncio
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from phalanx.api.client import connect
from phalanx.api.tls import TLS
from phalanx.errors import PhalanxError
from phalanx.lab import leash
from phalanx.model.view import Address, Name
from phalanx.node.status import Status

HOST = "127.0.0.1"

PORTS = range(10_000, 32_000)
"""Below the ports that systems give to outgoing connections, so that nobody takes a dead node's port before it is
back."""

START_S_MAX = 90.0
"""For a cluster to get into the state that is waited for: long, for it judges no speed, and on a busy machine a member
that lags again and again waits for half a minute until it is promoted (group/probation.py)."""

STATUS_S_MAX = 0.5
"""For one node to answer what it is: a paused one does not."""

LEAVE_S_MAX = 8.0
"""For a node to end after SIGTERM; then it is killed."""

POLL_S = 0.05

Statuses = Mapping[Name, Status | None]
"""What each node says of itself; None if it does not answer."""


class NodeEnded(Exception):
    """A node ended that nobody had told to; the text has the end of its log."""


class NotReached(Exception):
    """The cluster did not get into the state that was waited for; the text says what each node is instead."""


class Processes:
    """Nodes by name, founders of one cluster; an asynchronous context manager.  It signals only what it has started.
    The nodes end with the process that started them (on Linux), even if that is killed.

    options: more of `phalanx serve`, for every node.  directory: for data and logs; None: a temporary one, which is
    removed at the end.  tls: one certificate for all of them, and for asking them; it names `HOST`.
    """

    stdin = asyncio.subprocess.DEVNULL
    """What the processes read."""

    def __init__(
        self,
        names: Sequence[Name] = ("a", "b", "c"),
        options: Sequence[str] = (),
        directory: Path | None = None,
        tls: TLS | None = None,
    ) -> None:
        self.names = tuple(names)
        self._temporary = tempfile.TemporaryDirectory(prefix="phalanx-") if directory is None else None
        self.directory = directory or Path(self._temporary.name if self._temporary else "")
        ports = _free_ports(len(self.names), random.Random(str(self.directory)))
        self.addresses: dict[Name, Address] = {
            name: f"{HOST}:{port}" for name, port in zip(self.names, ports, strict=True)
        }
        self._options = tuple(options)
        self.tls = tls
        if tls is not None:
            self._options += ("--tls", str(tls.certificate), str(tls.key), str(tls.authorities))
        self._running: dict[Name, asyncio.subprocess.Process] = {}
        self._paused: set[Name] = set()

    async def __aenter__(self) -> "Processes":
        try:
            for name in self.names:
                await self.start(name)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- processes ----------------------------------------------------------------------------------------------------

    async def start(self, name: Name) -> None:
        """Start a node that is not running, with what its data directory holds."""
        assert name not in self._running, f"{name} is running"
        command = [*_leash(), *self.command(name)]
        with self.log_path(name).open("ab") as log:
            # A session of its own: Ctrl-C at the terminal is for us, and we end the nodes.
            self._running[name] = await asyncio.create_subprocess_exec(
                *command,
                stdin=self.stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def command(self, name: Name) -> list[str]:
        """What that node's process runs."""
        founders = [word for n in self.names for word in ("--peer", f"{n}={self.addresses[n]}")]
        command = [sys.executable, "-m", "phalanx", "serve", "--name", name, "--listen", self.addresses[name]]
        return [*command, "--data", str(self.directory / name), *founders, *self._options]

    async def kill(self, name: Name) -> None:
        """SIGKILL, and wait for the end: nothing that the process has not written survives."""
        process = self._running.pop(name)
        self._paused.discard(name)
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def terminate(self, name: Name) -> int:
        """SIGTERM: the node leaves politely and ends.  Its exit status; killed if it takes too long."""
        process = self._running[name]
        self.resume(name)
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(LEAVE_S_MAX):
                status = await process.wait()
        except TimeoutError:
            status = -signal.SIGKILL
            process.kill()
            await process.wait()
        del self._running[name]
        return status

    async def restart(self, name: Name) -> None:
        """Kill it if it is running, and start it again."""
        if name in self._running:
            await self.kill(name)
        await self.start(name)

    def pause(self, name: Name) -> None:
        """SIGSTOP: it stands still, its connections stay open."""
        self._running[name].send_signal(signal.SIGSTOP)
        self._paused.add(name)

    def resume(self, name: Name) -> None:
        """SIGCONT."""
        if name in self._paused:
            self._paused.discard(name)
            self._running[name].send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Kill all nodes, and remove what was made for them; all of it, also if this is cancelled meanwhile."""
        async with AsyncExitStack() as stack:
            if self._temporary is not None:
                stack.callback(self._temporary.cleanup)
            for name in self._running:
                stack.push_async_callback(self.kill, name)

    def is_running(self, name: Name) -> bool:
        """Whether the process exists and is not paused."""
        return name in self._running and name not in self._paused

    def process(self, name: Name) -> asyncio.subprocess.Process:
        """The process that runs as that node.  Raises KeyError if none does."""
        return self._running[name]

    def pid(self, name: Name) -> int | None:
        """Of the process that runs as that node now."""
        return self._running[name].pid if name in self._running else None

    def log_path(self, name: Name) -> Path:
        """What the node wrote, all its lives in one file."""
        return self.directory / f"{name}.log"

    # --- what they are ------------------------------------------------------------------------------------------------

    async def status(self, name: Name) -> Status | None:
        """What that node says; None if it does not answer.  Raises `NodeEnded`."""
        if not self.is_running(name):
            return None
        process = self._running[name]
        if process.returncode is not None:
            tail = self.log_path(name).read_text(errors="replace").splitlines()[-15:]
            raise NodeEnded(f"{name} ended by itself with status {process.returncode}:\n" + "\n".join(tail))
        async with connect(self.addresses[name], timeout_s=STATUS_S_MAX, tls=self.tls) as client:
            try:
                return await client.status()
            except PhalanxError:
                return None

    async def statuses(self) -> Statuses:
        """What all say, asked at once.  Raises `NodeEnded`."""
        return dict(zip(self.names, await asyncio.gather(*map(self.status, self.names)), strict=True))

    async def wait_until(
        self, holds: Callable[[Statuses], bool], what: str = "the state", timeout_s: float = START_S_MAX
    ) -> Statuses:
        """Poll until the nodes' statuses satisfy the condition.  Raises `NotReached` and `NodeEnded`."""
        seen: Statuses = {}
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    seen = await self.statuses()
                    if holds(seen):
                        return seen
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            texts = "; ".join(f"{name}: {_describe(status)}" for name, status in seen.items())
            raise NotReached(f"{what} was not reached within {timeout_s:g} s: {texts}") from None

    async def wait_until_full(self, count: int, timeout_s: float = START_S_MAX) -> Statuses:
        """Until the running nodes agree on a view of that many full members, with no learner, that host all groups."""
        return await self.wait_until(lambda seen: is_full(seen, count), f"a view of {count} full members", timeout_s)


def _leash() -> list[str]:
    """What a node's command is preceded by, so that it ends when this process does, however that is ended.  Nothing where
    the system cannot (it is Linux's); there a killed parent leaves its nodes behind."""
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", leash.__file__, str(os.getpid())]


def is_full(seen: Statuses, count: int) -> bool:
    """Whether `count` nodes answer, and all of them are full members of the same view of just these, and serve."""
    answers = [status for status in seen.values() if status is not None]
    return (
        len(answers) == count
        and len({(status.cluster, status.view) for status in answers}) == 1
        and all(status.state == "member" and len(status.members) == count and not status.learners for status in answers)
        and all(status.groups and all(len(g.hosts) == count and g.synced for g in status.groups) for status in answers)
    )


def _describe(status: Status | None) -> str:
    if status is None:
        return "no answer"
    members = " ".join(member.name for member in status.members)
    learners = " ".join(member.name for member in status.learners)
    return f"{status.state} in view {status.view} of [{members}] with learners [{learners}]"


def _free_ports(count: int, rng: random.Random) -> list[int]:
    """Ports that nobody listens on at this moment.  Chosen by chance: others may look for some at the same time."""
    found: list[int] = []
    for port in rng.sample(PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports")
