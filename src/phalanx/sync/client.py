"""The client, replicated objects, and a cluster inside the program, for threads."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from phalanx.api import client as aio_client
from phalanx.api import local as aio_local
from phalanx.api.client import TIMEOUT_S
from phalanx.api.hosted import Objects
from phalanx.api.tls import TLS
from phalanx.group.config import Limits, Timing
from phalanx.model.view import Address, Name
from phalanx.sync.background import Background, Block, Bridged, calls
from phalanx.sync.store import Store

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class Client(Bridged[aio_client.Client]):
    """A connection to a cluster, as `phalanx.Client`.  Made by `connect`; any number of threads may use it at once."""

    status = calls(aio_client.Client.status)
    backup = calls(aio_client.Client.backup)
    restore = calls(aio_client.Client.restore)

    @property
    def timeout_s(self) -> float:
        """The default deadline of calls, in seconds."""
        return self.wrapped.timeout_s

    @property
    def cluster(self) -> str:
        """The id of the cluster that this client belongs to; empty until a call was served."""
        return self.wrapped.cluster

    @property
    def endpoints(self) -> tuple[Address, ...]:
        """All nodes heard of so far."""
        return self.wrapped.endpoints

    def object(self, cls: type[T], name: str = "") -> "Replicated[T]":
        """A handle to the replicated object of that class; `name` is its group's, by default the class's name."""
        return Replicated(self.background, self.wrapped.object(cls, name))

    def kv(self, name: str = "KV") -> Store:
        """A handle to the store of that name."""
        return Store(self.background, self.wrapped.kv(name))


class Replicated(Generic[T]):
    """A handle to a replicated object of class `T`, as `phalanx.Replicated`.

    counter = client.object(Counter)
    counter.call(Counter.add, 3)      # checked by mypy as Counter().add(3) is
    """

    def __init__(self, background: Background, wrapped: aio_client.Replicated[T]) -> None:
        self.background = background
        self.wrapped = wrapped

    def __repr__(self) -> str:
        return f"<for threads: {self.wrapped!r}>"

    @property
    def name(self) -> str:
        """The group's name."""
        return self.wrapped.name

    def within(self, timeout_s: float) -> "Replicated[T]":
        """The same object, with another deadline for its calls, in seconds."""
        return Replicated(self.background, self.wrapped.within(timeout_s))

    @property
    def is_stale(self) -> bool:
        """Its queries are answered at once from what a node has."""
        return self.wrapped.is_stale

    @property
    def stale(self) -> "Replicated[T]":
        """The same object, whose queries are answered at once from what a node has: maybe old, never wrong."""
        return Replicated(self.background, self.wrapped.stale)

    def call(self, method: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a method marked `@command` or `@query`.  Raises as `phalanx.Replicated.call` does."""
        return self.background.call(self.wrapped.call(method, *args, **kwargs))


@contextmanager
def connect(
    *endpoints: Address, timeout_s: float = TIMEOUT_S, tls: TLS | None = None, cluster: str = ""
) -> Iterator[Client]:
    """A client of the cluster that has nodes at these addresses ("host:port"), with a thread of its own, which ends with
    the block.  `timeout_s`: the default deadline of calls.  `tls`, `cluster`: as for `phalanx.connect`.  Raises what that
    raises.

    Calls that other threads have under way at the end of the block raise `OutcomeUnknown`, later ones `Unavailable`.
    """
    background = Background()
    try:
        made = partial(aio_client.connect, *endpoints, timeout_s=timeout_s, tls=tls, cluster=cluster)
        with Block(background, made, _same) as client:
            yield Client(background, client)
    finally:
        background.close()


def _same(value: T) -> T:
    return value


class Cluster(Bridged[aio_local.Cluster]):
    """Processes on an in-memory network that can be cut and healed, and that can be killed and started again: as
    `phalanx.Cluster`.  Made by `local`."""

    kill = calls(aio_local.Cluster.kill)
    joined = calls(aio_local.Cluster.joined)

    @property
    def names(self) -> Sequence[Name]:
        """Of those that run."""
        return [process.name for process in self.wrapped.processes]

    def start(self, name: Name, objects: Objects | None = None) -> None:
        """Start the process of that name, which is down, with what its disk holds.  objects: what it hosts from now on,
        as for `join`, say a newer version of a class; None: as before."""
        self.background.call(_do(lambda: self.wrapped.start(name, objects)))

    def cut(self, one: Name, other: Name) -> None:
        """Lose everything between two processes, without telling either."""
        self.background.call(_do(lambda: self.wrapped.cut(one, other)))

    def heal(self, one: Name, other: Name) -> None:
        """Undo `cut`."""
        self.background.call(_do(lambda: self.wrapped.heal(one, other)))

    def pause(self, name: Name) -> None:
        """Have that process hang: it hears nothing and is not heard, while nobody is told."""
        self.background.call(_do(lambda: self.wrapped.pause(name)))

    def resume(self, name: Name) -> None:
        """Undo `pause`: it hears all that came meanwhile at once."""
        self.background.call(_do(lambda: self.wrapped.resume(name)))

    def client(self, timeout_s: float = TIMEOUT_S, names: Sequence[Name] | None = None) -> Client:
        """A client that knows these processes (None: all), and tries them in that order; closed with the cluster."""
        return Client(self.background, self.background.call(_do(lambda: self.wrapped.client(timeout_s, names))))


async def _do(action: Callable[[], R]) -> R:
    """On the loop, where it belongs."""
    await asyncio.sleep(0)
    return action()


@contextmanager
def local(
    count: int = 3,
    *,
    objects: Objects | None = None,
    timing: Timing = Timing(),
    limits: Limits = Limits(),
) -> Iterator[Cluster]:
    """A cluster of `count` processes named a, b, c, ... inside this program: as `phalanx.local`."""
    background = Background()
    make: Any = lambda: aio_local.local(count, objects=objects, timing=timing, limits=limits)  # noqa: E731  one line, used once
    try:
        with Block(background, make, _same) as cluster:
            yield Cluster(background, cluster)
    finally:
        background.close()
