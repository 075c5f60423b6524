"""A cluster for a test, whose nodes can be killed, paused and cut off; those here are inside the test's process."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from phalanx.api.arguments import mapping_of, names_of, seconds_of
from phalanx.api.client import TIMEOUT_S, Client
from phalanx.api.hosted import Hosted, described
from phalanx.api.local import Cluster
from phalanx.api.tls import TLS
from phalanx.errors import ConfigurationError
from phalanx.group.config import Limits, Timing
from phalanx.lab.processes import NotReached, Statuses, is_full
from phalanx.model.clock import MILLISECOND
from phalanx.model.view import Address, Name
from phalanx.node.status import Status
from phalanx.testing.faulty import Failures
from phalanx.testing.located import Located

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
        self._objects = {name: dict(wish.objects) for name in wish.names}
        """What each node hosts."""

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
        """A client that knows these nodes (None: all), while its block runs.  It tries them in that order, and learns of
        the others from them."""
        if names is not None and not names:
            raise ConfigurationError("name a node that the client is to know")
        wanted = self.names if names is None else names_of(names, "the nodes that a client is to know")
        self._known(*wanted)
        return self._connect(wanted, seconds_of(timeout_s, "a deadline"))

    async def start(self, name: Name, *, classes: Mapping[str, type[Any]] | None = None) -> None:
        """Start a node that is down, with what its disk holds.  classes: those of its objects, by name, that are others
        from now on: the new code of an upgrade, say."""
        self._known(name)
        if name in self.running:
            raise ConfigurationError(f"{name} runs already")
        self._objects[name] = self._with(name, classes)
        await self._start(name)

    def _with(self, name: Name, classes: Mapping[str, type[Any]] | None) -> dict[str, Hosted]:
        """What that node hosts with these classes.  Raises `ConfigurationError` and `TypeError`: nothing has changed."""
        self._known(name)
        hosted = dict(self._objects[name])
        for each, cls in mapping_of(classes or {}, "classes").items():
            if each not in hosted:
                raise ConfigurationError(f"no object {each!r}: there are {', '.join(hosted)}")
            hosted[each] = hosted[each]._replace(cls=cls)
            described(each, *hosted[each])
            if self._wish.real:
                Located.of(cls)
        return hosted

    async def kill(self, name: Name) -> None:
        """End a node as `kill -9` does.  What it had on its disk stays."""
        self._runs(name)
        self._paused.discard(name)
        await self._kill(name)

    async def restart(self, name: Name, *, classes: Mapping[str, type[Any]] | None = None) -> None:
        """Kill the node if it runs, and start it again.  classes: as for `start`."""
        self._with(name, classes)
        if name in self.running:
            await self.kill(name)
        await self.start(name, classes=classes)

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
        given = [names_of(side, "the sides of a partition") for side in sides]
        self._known(*(name for side in given for name in side))
        named = [set(side) for side in given]
        if sum(map(len, named)) != len(set().union(*named)):
            raise ConfigurationError("a node cannot be on two sides of a partition")
        named.append(set(self.names).difference(*named))
        self._cuts = {frozenset((a, b)) for one, other in combinations(named, 2) for a in one for b in other}
        await self._cut_just(self._cuts)

    async def fail(
        self,
        name: Name,
        *,
        send_omission: float = 0.0,
        receive_omission: float = 0.0,
        slow_s: float = 0.0,
        value: float = 0.0,
        replay: float = 0.0,
    ) -> None:
        """Have a real process fail without crashing, until `heal`; replaces what was said of it before.  Of what it sends
        to other nodes that fraction is omitted, altered (`value`) or followed by an earlier one (`replay`), of what it
        receives that fraction is omitted, and all of it read that much later.  Clients are not concerned.  Omission and
        slowness are survived like cuts; the other two are beyond what is promised.  Raises `ConfigurationError` for
        nodes inside the test's process, and for fractions that are none."""
        self._known(name)
        failures = Failures(send_omission, receive_omission, slow_s, value, replay)
        failures.check()
        await self._fail(name, failures)

    async def heal(self) -> None:
        """Undo all cuts and partitions, and end all that `fail` began."""
        self._cuts = set()
        await self._cut_just(self._cuts)
        await self._heal()

    async def wait_until_full(self, names: Iterable[Name] | None = None, timeout_s: float = WAIT_S) -> None:
        """Wait until these nodes (None: all that run and are not paused) agree on a view of just themselves, as full
        members that host all objects: `await cluster.wait_until_full("bc")`.  Raises `NotReached`."""
        wanted = [name for name in self.running if name not in self._paused] if names is None else []
        wanted += names_of(names or (), "the nodes to wait for")
        self._known(*wanted)
        wanted, timeout_s = list(dict.fromkeys(wanted)), seconds_of(timeout_s, "how long to wait")
        if not wanted:
            raise ConfigurationError("name a node: none is given, or none runs that is not paused")
        seen: Statuses = {}
        try:
            async with asyncio.timeout(timeout_s):
                while not is_full(seen, len(wanted)):
                    await asyncio.sleep(self.poll_s if seen else 0)
                    everyone = await self.statuses()
                    seen = {name: everyone[name] for name in wanted}
        except TimeoutError:
            states = "; ".join(f"{name}: {_standing(each)}" for name, each in seen.items())
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
    @abstractmethod
    async def _fail(self, name: Name, failures: Failures) -> None: ...
    @abstractmethod
    async def _heal(self) -> None: ...

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
        self._cluster.start(name, self._objects[name])

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

    async def _fail(self, name: Name, failures: Failures) -> None:
        del name, failures
        raise ConfigurationError("nodes inside the test's process fail by kill, pause and cut only; ask for real=True")

    async def _heal(self) -> None:
        pass


class _closing(AbstractAsyncContextManager[Client]):  # noqa: N801  it is used as a function
    """A client that is made when its block begins, and closed at its end."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make

    async def __aenter__(self) -> Client:
        self._client = self._make()
        return self._client

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()


def _standing(status: Status | None) -> str:
    """What keeps the node from being waited for no more: its view, and the groups that not all members host."""
    if status is None:
        return "no answer"
    members = tuple(member.name for member in status.members)
    short = [
        f", {group.name} at {' '.join(group.hosts)}" for group in status.groups if set(group.hosts) != set(members)
    ]
    return f"{status.state} in view {status.view} of {' '.join(members)}{''.join(short)}"
