"""Calls from outside: a client that fails over between nodes, and handles to replicated objects.

Exactly once: a command is resent under its number until it is answered, to whichever node answers, and the group runs it
once.  What cannot be known is said: `NotHappened` (it is safe to try again) and `OutcomeUnknown` are different errors.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import msgspec

from phalanx.api.arguments import addresses_of, class_of, cluster_of, name_of, seconds_of
from phalanx.api.backup.format import Backup
from phalanx.api.backup.restoring import restore
from phalanx.api.backup.taking import take
from phalanx.api.store import Store
from phalanx.api.tls import TLS, credentials_of
from phalanx.api.watch import Watch
from phalanx.errors import Closed, ConfigurationError, OutcomeUnknown, TooLarge, Unavailable
from phalanx.model.clock import SECOND
from phalanx.model.replicated import Kind
from phalanx.model.view import Address
from phalanx.node.node import Message
from phalanx.node.status import Status
from phalanx.replication.calls import Ask, Call, Cancel, CloseAll, Completed, End, Read, error_of
from phalanx.replication.client import ClientMachine
from phalanx.replication.following import FROM_NOW, Ended, Fed, Follow, Unfollow
from phalanx.replication.inflight import COMMAND_BYTES_MAX
from phalanx.replication.objects import Invocation, ObjectType, describe
from phalanx.runtime.clock import system_clock
from phalanx.runtime.contract import Transport
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.driver import Driver
from phalanx.runtime.transport import TcpTransport
from phalanx.services.store.kv import KV
from phalanx.wire.codec import Codec

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

TIMEOUT_S = 10.0
"""How long a call may take if nothing is said: several view changes and a failover."""

CLOSED = "the client is closed: nothing was sent; connect anew"

CODEC: Codec[Any] = Codec(Message)

_CERTAINTY = (End.UNKNOWN, End.DONE, End.NOT_HAPPENED)
"""The least certain first."""

_status = msgspec.json.Decoder(Status).decode


class Client:
    """A connection to a cluster, by way of whichever of its nodes answers.  Made by `connect`.

    Pipelined: any number of calls may be awaited at once; each has its own deadline and can be cancelled.  It is for the
    event loop that it was made on: on another one calls raise `RuntimeError`.
    """

    def __init__(
        self,
        endpoints: tuple[Address, ...],
        transport: Transport,
        timeout_s: float = TIMEOUT_S,
        explain: Callable[[], str] = str,
        cluster: str = "",
    ) -> None:
        """explain: says why endpoints cannot be spoken to, if that is known; for errors.  cluster: as for `connect`."""
        self.timeout_s = seconds_of(timeout_s, "a deadline")
        self._explain = explain
        self._machine = ClientMachine(endpoints, random.Random(), cluster=cluster_of(cluster))
        self._driver = Driver(self._machine, CODEC, transport, MemoryDisk(), self._completed)
        self._futures: dict[int, asyncio.Future[Completed]] = {}
        self._watches: dict[int, Watch] = {}
        self._kinds: dict[type[Any], ObjectType[Any]] = {}
        """Classes that have been described, which takes milliseconds: handles may be made for every request."""
        self._token = 0
        self._given_up: set[int] = set()
        """Commands whose callers were cancelled, until it is known what became of them."""
        self.abandoned: End | None = None
        """What became of commands whose callers were cancelled while they waited; of several, the least certain."""
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._driver.start()
        self._driver.closed.add_done_callback(self._broke)

    def __repr__(self) -> str:
        state = "closed, " if self._closed else ""
        of = f"of cluster {self.cluster}" if self.cluster else "not served yet"
        return f"<phalanx.Client, {state}{of}: {' '.join(self.endpoints)}>"

    @property
    def cluster(self) -> str:
        """The id of the cluster that this client belongs to, as `Status` has it; empty until a call was served."""
        cluster = self._machine.allegiance.cluster
        return f"{cluster:x}" if cluster else ""

    @property
    def endpoints(self) -> tuple[Address, ...]:
        """All nodes heard of so far."""
        return self._machine.endpoints

    def object(self, cls: type[T], name: str = "") -> "Replicated[T]":
        """A handle to the replicated object of that class; `name` is its group's, by default the class's name.  Raises
        `ConfigurationError` if the class cannot be replicated, and `TypeError` for what is no class or no name."""
        kind = self._kinds.get(class_of(cls))
        if kind is None:
            kind = self._kinds[cls] = describe(cls)
        return Replicated(self, kind, name_of(name or cls.__name__, "the name of an object"), self.timeout_s)

    def kv(self, name: str = "KV") -> Store:
        """A handle to the store of that name."""
        return Store(self.object(KV, name))

    async def status(self, timeout_s: float | None = None) -> Status:
        """What the node in use says about itself and its view.  Raises `Unavailable`."""
        deadline = self._deadline(self.timeout_s if timeout_s is None else seconds_of(timeout_s, "a deadline"))
        completed = await self._submit(lambda token: Ask(token, "status", deadline))
        return _status(completed.data)

    async def backup(self, path: str | Path, name: str = "KV", *, overwrite: bool = False) -> Backup:
        """Write the store of that name, as it is at one revision, to a file, while writes go on.

        The file appears under its name when it is whole and on the disk; until then it is `path` + ".part".  Neither is
        overwritten unless `overwrite` says so (`ConfigurationError`).  The client's default deadline is each page's, not
        the whole's.  Raises `Refused` if the revision was compacted before all of it was read, `Unavailable`, and
        OSError; there is no file then.
        """
        status = await self.status()
        return await take(self.object(KV, name), status.cluster, Path(path), overwrite)

    async def restore(self, path: str | Path, name: str = "KV", *, same_revision: bool = False) -> Backup:
        """Load a backup into the store of that name, in which nothing was ever written, in this or another cluster;
        or nothing since it was recovered without a key, whose revision then all those of the backup are moved beyond.

        All of the file is checked first.  Nobody sees anything of it until all is loaded: the store then has the keys,
        revisions, versions and leases of the backup, each lease with its whole length.  Its own revision is far beyond
        that of the backup, where its history begins: whatever was written after the backup was taken, none of its
        revisions is given out again, and what is asked of them raises `Compacted`.  `same_revision`: nothing was written,
        so it goes on from the backup's.

        Raises `DamagedBackup`, `Refused` if the store is not empty or something was written to it meanwhile, another
        `NotHappened`, or OSError: nothing was restored then, and it can be begun again.  Raises `OutcomeUnknown` if the
        answer to the last step was lost: the store has all of it, or nothing.
        """
        return await restore(self.object(KV, name), Path(path), same_revision=same_revision)

    async def close(self) -> None:
        """Close sessions and connections, also if it is cancelled meanwhile.  Calls under way raise as at their deadline,
        later ones `Closed`."""
        self._closed = True
        self._driver.submit(CloseAll())
        try:
            await asyncio.sleep(0)
        finally:
            try:
                await self._driver.close()
            finally:
                for future in self._futures.values():
                    future.cancel()

    # --- for handles

    async def perform(
        self,
        group: str,
        invocation: Invocation[Any],
        timeout_s: float,
        stale: bool,
    ) -> Completed:
        """Have the group run it, or answer it.  Raises as `Replicated.call` says."""
        name, types = invocation.operation.id, invocation.operation.types
        arguments = _sized(invocation.arguments)
        deadline, version = self._deadline(timeout_s), invocation.operation.version
        if invocation.operation.kind is Kind.COMMAND:
            return await self._submit(lambda token: Call(token, group, name, types, arguments, deadline), version)
        return await self._submit(lambda token: Read(token, group, name, types, arguments, deadline, stale), version)

    def follow(self, group: str, invocation: Invocation[Any], position: int | None, patience_s: float | None) -> Watch:
        """A watch, which begins when its block does."""
        self._token += 1
        token = self._token
        name, types = invocation.operation.id, invocation.operation.types
        beginning = FROM_NOW if position is None else position
        patience_ns = 0 if patience_s is None else max(1, int(seconds_of(patience_s, "patience") * SECOND))
        request = Follow(token, group, name, types, _sized(invocation.arguments), beginning, patience_ns)

        def begin() -> None:
            self._look_at_loop()
            if self._is_closed:
                raise Closed(CLOSED)
            self._watches[token] = watch
            self._driver.submit(request)

        watch = Watch(self._unwatching, token, invocation.operation, begin)
        return watch

    def _broke(self, closed: asyncio.Future[None]) -> None:
        """Nothing is answered any more: whoever waits must not wait for it."""
        if not closed.cancelled() and (error := closed.exception()) is not None:
            for future in self._futures.values():
                if not future.done():
                    future.set_exception(OutcomeUnknown(f"the client has stopped: {error}"))
            for token, watch in self._watches.items():
                watch.take(Ended(token, None, None, f"the client has stopped: {error}"))

    def _unwatching(self, request: Any) -> None:
        if isinstance(request, Unfollow):
            self._watches.pop(request.token, None)
        self._driver.submit(request)

    @property
    def _is_closed(self) -> bool:
        return self._closed or self._driver.closed.done()

    def _look_at_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "this client is of another event loop: use it there (asyncio.run_coroutine_threadsafe), make one for "
                "this loop, or take phalanx.sync, which threads may share"
            )

    def _deadline(self, timeout_s: float) -> int:
        return system_clock().mono + int(timeout_s * SECOND)

    async def _submit(self, make: Callable[[int], Any], version: int = 0) -> Completed:
        """`version`: of the class that is called."""
        self._look_at_loop()
        if self._is_closed:
            await asyncio.sleep(0)  # whoever tries again and again must not hold up the loop that is to end him
            raise Closed(CLOSED)
        self._token += 1
        token = self._token
        future = self._futures[token] = asyncio.get_running_loop().create_future()
        request = make(token)
        self._driver.submit(request)
        try:
            completed: Completed = await future
        except asyncio.CancelledError:
            if isinstance(request, Call):
                if future.cancelled():
                    self._given_up.add(token)
                else:  # its end has come together with the cancellation: nothing more will be heard of it
                    self._abandon(future.result().end if future.exception() is None else End.UNKNOWN)
            self._driver.submit(Cancel(token))
            raise
        finally:
            self._futures.pop(token, None)
        if completed.end is not End.DONE:
            raise self._explained(error_of(completed, version))
        return completed

    def _abandon(self, end: End) -> None:
        """That became of a command whose caller was cancelled."""
        if self.abandoned is None or _CERTAINTY.index(end) < _CERTAINTY.index(self.abandoned):
            self.abandoned = end

    def _explained(self, error: Exception) -> Exception:
        """The error, with why nodes did not talk to this client, if that may be its reason."""
        why = self._explain() if isinstance(error, Unavailable | OutcomeUnknown) else ""
        return type(error)(f"{error} ({why})") if why else error

    def _completed(self, deliveries: list[Any]) -> None:
        for delivery in deliveries:
            if isinstance(delivery, (Fed, Ended)):
                ended = isinstance(delivery, Ended)
                watch = self._watches.pop(delivery.token, None) if ended else self._watches.get(delivery.token)
                if watch is not None:
                    watch.take(delivery)
                continue
            if delivery.token in self._given_up:
                self._given_up.remove(delivery.token)
                self._abandon(delivery.end)
            future = self._futures.get(delivery.token)
            if future is not None and not future.done():
                future.set_result(delivery)


def _sized(arguments: bytes) -> bytes:
    """Raises `TooLarge`, as a node would: no frame could hold what is much larger."""
    if len(arguments) > COMMAND_BYTES_MAX:
        raise TooLarge(f"{len(arguments)} bytes of arguments, the limit is {COMMAND_BYTES_MAX}")
    return arguments


class Replicated(Generic[T]):
    """A handle to a replicated object of class `T`.

        counter = client.object(Counter)
        await counter.call(Counter.add, 3)      # checked by mypy as Counter().add(3) is

    Commands run exactly once at every replica, in one order; queries are linearizable unless `stale`.
    """

    def __init__(
        self, client: Client, kind: ObjectType[T], name: str, timeout_s: float, *, stale: bool = False
    ) -> None:
        self.name = name
        self._client = client
        self._kind = kind
        self._timeout_s = timeout_s
        self._stale = stale

    def __repr__(self) -> str:
        stale = ", stale" if self._stale else ""
        return f"<phalanx.Replicated {self._kind.name} {self.name!r}{stale}>"

    def within(self, timeout_s: float) -> "Replicated[T]":
        """The same object, with another deadline for its calls, in seconds.  Raises `TypeError` for what is no number,
        and `ConfigurationError` for infinity."""
        return Replicated(self._client, self._kind, self.name, seconds_of(timeout_s, "a deadline"), stale=self._stale)

    @property
    def is_stale(self) -> bool:
        """Its queries are answered at once from what a node has."""
        return self._stale

    @property
    def stale(self) -> "Replicated[T]":
        """The same object, whose queries are answered at once from what a node has: maybe old, never wrong."""
        return Replicated(self._client, self._kind, self.name, self._timeout_s, stale=True)

    async def call(self, method: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a method marked `@command` or `@query`.

        Raises what the method raises; `NotHappened` and its kinds (`Unavailable`, `Refused`, `TooLarge`, ...) if it
        has not happened and never will; `OutcomeUnknown` if it was sent and the answer did not come in time;
        `ConfigurationError` for another method, and `TypeError` for arguments that it does not take, or that have no
        encoding (`WrongArguments`, which is one, if the cluster finds other types than the annotations say).
        """
        invocation = self._kind.invoke(method, *args, **kwargs)
        completed = await self._client.perform(self.name, invocation, self._timeout_s, self._stale)
        assert completed.outcome is not None
        return invocation.result(completed.outcome)

    if not TYPE_CHECKING:  # a type checker is to find that there is no such attribute

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            cls = self._kind.name
            raise AttributeError(
                f"a handle has no {name!r}; a method of {cls} is called by handle.call({cls}.{name}, ...)"
            )

    def follow(
        self,
        method: Callable[..., Any],
        arguments: dict[str, Any],
        position: int | None = None,
        patience_s: float | None = None,
    ) -> Watch:
        """Follow a feed of the object, by name of its arguments, from a position; None: from now.  See `Store.watch`."""
        operation = self._kind.operation(method)
        invocation: Invocation[Any] = Invocation(operation, operation.encode((), arguments))
        return self._client.follow(self.name, invocation, position, patience_s)


@asynccontextmanager
async def connect(
    *endpoints: Address, timeout_s: float = TIMEOUT_S, tls: TLS | None = None, cluster: str = ""
) -> AsyncIterator[Client]:
    """A client of the cluster that has nodes at these addresses ("host:port"); one that answers is enough, the others
    are learned.  `timeout_s`: the default deadline of calls.  `tls`: what nodes under TLS want to see; their certificates
    must name the hosts of these addresses.

    `cluster`: which cluster it must be, by its id as `Status.cluster` and `Client.cluster` have it; calls raise
    `WrongCluster` if all nodes at the addresses are of another, and `ClusterRecovered` once, if an operator has recovered
    it since.  Empty: the one that serves the first call.

    Raises `ConfigurationError` if these are no addresses, or no id, or a file of `tls` cannot be used, and `TypeError`.
    Calls to nodes that refuse this client, or that it refuses, end at their deadline with `Unavailable`, which says why:
    nothing has happened.
    """
    if not addresses_of(endpoints, "endpoints"):
        raise ConfigurationError("give the address of a node: connect('host:port')")
    seconds_of(timeout_s, "a deadline")
    transport = TcpTransport.client(tls=credentials_of(tls))
    client = Client(endpoints, cast(Transport, transport), timeout_s, transport.explain, cluster)
    try:
        yield client
    finally:
        await client.close()
