"""A process of a cluster: a node on asyncio, with its groups and replicated objects."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeVar

from phalanx.api.client import CODEC, TIMEOUT_S, Client, Replicated
from phalanx.api.groups import Group
from phalanx.api.hosted import GROUP, OBJECT, TROUPE, Objects, Uses, described
from phalanx.api.life import Life
from phalanx.api.observing import Inside, Observer, observed
from phalanx.api.reports import Reports
from phalanx.api.seats import Seats
from phalanx.api.slow import Slow
from phalanx.api.snapshots import CONTRACT, Snapshots
from phalanx.api.specs import check_hooks, spec_of
from phalanx.api.storage import Storage
from phalanx.api.troupes import Troupe, Troupes
from phalanx.calls.procedures import ServiceType
from phalanx.calls.requests import Abandoned, CallEnded, Execute
from phalanx.errors import Closed, ConfigurationError, Refused
from phalanx.group.config import Config
from phalanx.model.events import (
    Delivered,
    Excluded,
    Founded,
    GroupLost,
    GroupSuspended,
    Host,
    HostRefused,
    Installed,
    Leave,
    Refusal,
    Rescued,
    Restored,
    SnapshotTaken,
    SnapshotUnwanted,
    SnapshotWanted,
    Unhost,
    Writable,
)
from phalanx.model.machine import Note
from phalanx.model.view import Member, Order, View
from phalanx.node.node import Node
from phalanx.node.status import Status
from phalanx.replication.inflight import VersionRefused
from phalanx.replication.standing import Standing
from phalanx.runtime.clock import system_clock
from phalanx.runtime.contract import Transport
from phalanx.runtime.driver import Driver

T = TypeVar("T")


class Process:
    """A running node.  Made by `join` or `local`; all methods are for the loop it was made on."""

    def __init__(
        self,
        config: Config,
        transport: Transport,
        storage: Storage,
        make_client_transport: Callable[[], Transport],
        objects: Objects | None = None,
        refusals: Callable[[], Mapping[str, int]] = dict,
        explain: Callable[[], str] = str,
        observer: Observer | None = None,
    ) -> None:
        self.name = config.name
        self.address = config.address
        self.view: View | None = None
        """The view that this process is in; None while it is in none."""
        self._config = config
        self._groups = Seats()
        self._refused: dict[str, set[asyncio.Future[None]]] = {}
        """Who waits to host a group, by its name."""
        self._life = Life(config.name)
        self._leaving = False
        kinds = {name: described(name, *what) for name, what in (objects or {}).items()}
        self._uses = Uses(kinds)
        self._node = Node(config, storage.votes, random.Random(), system_clock(), kinds, storage.journal)
        self._slow = Slow(config.name, config.timing, self._node.slow, [kind for kind, _ in kinds.values()])
        inside = Inside(self._node, transport, storage, self._uses, lambda: self._driver.closed.done())
        machine, storage = observed(inside, observer)
        self._driver = Driver(
            machine,
            CODEC,
            transport,
            storage.disk,
            self._deliver,
            log_disk=storage.log,
            on_notes=self._note,
            reserve=config.limits.reserve,
            busy_poll=config.timing.busy_poll,
        )
        self._troupes = Troupes(self._driver, self._life.look)
        self._make_client_transport = make_client_transport
        self._client: Client | None = None
        self._refusals = refusals
        self._reports = Reports(config.name, lambda: self._node.group.waiting.text, explain)
        self.on_notes: Callable[[Note], None] | None = None
        """Called with every note of the machine, for metrics and displays."""

    def start(self) -> None:
        """Begin.  `join` does it for you."""
        self._driver.start()
        self._life.begin(self._driver.closed)
        self._driver.closed.add_done_callback(self._broke)
        self._reports.wait()

    # --- who is here

    def __repr__(self) -> str:
        where = self.view.standing(self.name) if self.view is not None else self._node.group.waiting.text
        return f"<phalanx.Process {self.me} at {self.address}: {where}>"

    @property
    def me(self) -> Member:
        """This process's present incarnation."""
        return self._node.group.me

    @property
    def status(self) -> Status:
        return self._node.status

    @property
    def refusals(self) -> Mapping[str, int]:
        """How many connections came to nothing for want of TLS, of the right certificate, or of a node, since the
        beginning, by kind: `certificate.expired`, `handshake.late`, `alert.authority`, ... (docs/tls.md has them all)."""
        return dict(self._refusals())

    @property
    def is_whole(self) -> bool:
        """This process is a full member of a view, and hosts those objects that others had founded otherwise."""
        return self.view is not None and self._uses.is_whole(self.view, self.name)

    async def joined(self) -> View:
        """Wait until this process is a full member of a view.  Raises `Refused` if it cannot host one of its objects:
        there is another of its name, or of a version of its class that this process has no code for."""
        while True:
            self._life.look()
            self._uses.claim_first(self.view)
            if self.view is not None and self.is_whole:
                return self.view
            await self._life.next_view()

    async def views(self) -> AsyncIterator[View]:
        """The present view, and each one that follows (only the latest, if several came at once)."""
        last = None
        while not self._life.left.is_set():
            if self.view is not None and self.view != last:
                last = self.view
                yield last
            else:
                await self._life.next_view()

    # --- groups and objects

    async def group(
        self,
        name: str,
        order: Order | str = Order.TOTAL,
        *,
        uniform: bool = False,
        durable: bool = False,
        min_copies: int = 1,
        snapshot: Callable[[], bytes] | None = None,
        restore: Callable[[bytes], None] | None = None,
        record: Callable[[], bytes] | None = None,
    ) -> Group:
        """Take a place in the group of that name, which is created if there is none.

        durable: what was delivered anywhere is on the disks of all full hosts, and survives the loss of all processes.
            A process that comes back is given the group's state again: `restore` with a snapshot (b"" stands for the
            state before the first message), then the messages since.  Needs `snapshot` and `restore`, with which the log
            is kept short, and a data directory.
        min_copies: a durable group sends nothing while it has fewer full hosts than that.
        record: gives this process's part of `Group.global_state`, between two messages of the iteration.  All processes
            of a group give it, or none does.  Not for unordered groups: a channel must keep its order.

        Raises `Refused` if it exists in another order, with typed contents, or other settings, or if it is to be durable
        and this process keeps nothing on disk; `ConfigurationError` for an unknown order or another setting that makes no
        sense, for a durable group without `snapshot` and `restore`, for an unordered one with `record`, and for a name
        that this process has for an object; `TypeError`; and `Closed` once the process has left.
        """
        self._life.look()
        contract = CONTRACT if record else ""
        spec = spec_of(name, "a group", order, uniform, 0, contract, durable, min_copies)
        check_hooks(spec, snapshot, restore, record)
        if name in self._groups:
            raise ConfigurationError(f"this process has joined group {name!r} already")
        self._uses.claim(self.view, spec, GROUP)
        limits, node = self._config.limits, self._node
        snapshots = None if record is None else Snapshots(self.name, name, record)
        backlog, no_room = node.group.backlog, node.no_room
        group = Group(spec, self._driver, backlog, limits, snapshot, restore, no_room, self._groups.sending, snapshots)
        self._groups.add(group, self.name, self.view)
        await self._host(Host(spec))
        return group

    async def host(
        self, cls: type[T], name: str = "", *, lease_ms: int = 0, durable: bool = False, min_copies: int = 1
    ) -> Replicated[T]:
        """Host a replicated object of that class here, under the class's name if no other is given, and return a handle
        to it.  `lease_ms`: let linearizable reads rest on leases of that length instead of asking a quorum each time;
        a failed member then delays the others' next view by up to a lease.  `durable`, `min_copies`: as for `group`: what
        a command has answered survives the loss of all processes.

        Raises `TypeError`, `ConfigurationError` if the class cannot be replicated, `Closed` once the process has left,
        `Refused` if an object of another contract or settings (or another kind of group) has the name in the cluster, or
        if it is to be durable and this process keeps nothing on disk.
        """
        self._life.look()
        kind, spec = described(name, cls, lease_ms, durable, min_copies)
        self._uses.claim(self.view, spec, OBJECT, kind)
        await self._host(self._node.host(spec.name, self._slow.watch(kind), spec))
        return Replicated(self.client(), kind, spec.name, TIMEOUT_S)

    async def serve(self, instance: object, name: str = "", order: Order | str = Order.TOTAL) -> None:
        """Take a place among the hosts of a troupe: what is called of it (`troupe`) is executed by `instance`; its class
        has methods marked `@procedure`.  The troupe has the class's name if no other is given; it is founded if there is
        none.

        Each host's instance is its own, and a host that comes later begins without what the others' have gone through:
        state that all should share belongs into a replicated object.  Plain methods run in the group's order, on the
        event loop, one at a time; `async` ones are begun in that order, and run together.  They are cancelled when the
        caller's patience ends, and when all who called have failed (they are orphans then).

        order: in what is not total, calls are executed as soon as they are received, so a host that falls silent delays
        nobody, and hosts may execute calls of different callers in different orders.

        Raises as `host`.
        """
        self._life.look()
        if isinstance(instance, type):
            raise TypeError(f"give an instance of {instance.__name__}, not the class: it has this host's state")
        service = ServiceType(type(instance))
        name = name or service.name
        spec = spec_of(name, "a troupe", order, contract=service.contract)
        self._uses.claim(self.view, spec, TROUPE)
        self._troupes.serve(name, instance, service)
        await self._host(self._node.serve(service, spec))

    def troupe(self, cls: type[T], name: str = "") -> Troupe[T]:
        """A handle to the troupe of that class; `name` is its group's, by default the class's name."""
        return self._troupes.troupe(cls, name)

    async def _host(self, request: Host) -> None:
        name = request.spec.name
        refused: asyncio.Future[None] = self._life.loop.create_future()
        (waiting := self._refused.setdefault(name, set())).add(refused)
        self._driver.submit(request)
        try:
            while not self._hosts(name):
                await self._life.next_view(refused)
                if refused.done():
                    refused.result()
                self._life.look()
            self._uses.keep(name)
        except BaseException as error:
            if len(waiting) == 1 and not (isinstance(error, asyncio.CancelledError) and self._uses.is_kept(name)):
                self._groups.drop(name)  # else the others go on, or end it, or go on using it
                self._uses.release(name)
                self._troupes.release(name)
                self._driver.submit(Unhost(name))
            raise
        finally:
            waiting.discard(refused)
            if not waiting:
                del self._refused[name]

    def _hosts(self, name: str) -> bool:
        group = self.view.group_named(name) if self.view is not None else None
        return group is not None and self.name in group.hosts

    def client(self) -> Client:
        """A client that prefers this process and knows the others.  It is closed with the process: `Closed`."""
        if self._client is None:
            self._life.look_at_loop()
            if self._driver.closed.done():
                raise Closed(f"process {self.name} was closed, and its client: connect to another node")
            others = [m.address for m in self.view.everyone] if self.view is not None else []
            endpoints = tuple(dict.fromkeys([self.address, *others, *self._config.seeds]))
            self._client = Client(endpoints, self._make_client_transport())
        return self._client

    # --- the end

    async def leave(self) -> None:
        """Leave the cluster politely: the next view is without this process, and the others need not notice.  Its groups
        end: what was delivered can be read, and nothing is sent any more."""
        self._life.look_at_loop()
        self._leaving = True
        self._driver.submit(Leave())
        await self._life.until_left()

    async def close(self) -> None:
        """Stop at once, as a crash would, but without losing what was promised.  Raises what broke the node."""
        self._life.look_at_loop()
        try:
            if self._client is not None:
                await self._client.close()
        finally:
            self._groups.left()
            for group in self._groups:
                group._close()
            self._troupes.close()
            self._reports.close()
            await self._driver.close()

    async def wait(self) -> None:
        """Until the node stops.  Raises what broke it."""
        self._life.look_at_loop()
        await asyncio.shield(self._driver.closed)

    def _broke(self, closed: asyncio.Future[None]) -> None:
        """The node has stopped.  Whoever reads a group must not wait for what does not come any more."""
        if not closed.cancelled() and (error := closed.exception()) is not None:
            for group in self._groups:
                group._fail(error)
            self._troupes.close(f"the node has stopped: {error}")

    # --- what the node delivers

    def _deliver(self, deliveries: list[Any]) -> None:
        for delivery in deliveries:
            self._take(delivery)
        self._groups.drained()

    def _take(self, delivery: Any) -> None:
        match delivery:
            case Delivered() | Restored() | Rescued() | SnapshotWanted():
                group = self._groups.at(delivery.group)
                if group is not None:
                    group._take(delivery, self.me)
                elif isinstance(delivery, SnapshotWanted):
                    self._driver.submit(SnapshotTaken(delivery.group, delivery.token, None))
            case Execute() | CallEnded() | Abandoned():
                self._troupes.take(delivery)
            case Installed(view):
                self._install(view)
            case Excluded(_, reason):
                self._out(reason)
            case GroupLost() | GroupSuspended() | Founded():
                self._take_fate(delivery)
            case HostRefused(spec, reason):
                self._not_hosted(spec.name, self._uses.why_refused(self.view, spec) or reason)
            case VersionRefused(name, reason, keeps):
                self._not_hosted(name, self._uses.refuse(name, reason), stops=keeps)
            case Writable() | SnapshotUnwanted():
                pass  # `drained` looks after every turn; and a group's state is given whole, so there is no rest of it
            case Refusal(reason):
                self._reports.not_let_in(reason)
            case _:
                self._reports.found(delivery)

    def _not_hosted(self, name: str, reason: str, *, stops: bool = False) -> None:
        if stops:  # the group may need what is on this disk, so it is not given up: the process ends as it stands
            raise Refused(reason)
        for future in (waiting := self._refused.get(name, ())):
            if not future.done():
                future.set_exception(Refused(reason))
        if not waiting:
            self._reports.not_hosted(name, reason)
        self._life.wake()

    def _take_fate(self, delivery: GroupLost | GroupSuspended | Founded) -> None:
        """What becomes of a group's state."""
        name = delivery.spec.name
        if isinstance(delivery, GroupLost):
            self._reports.lost(name)
        elif isinstance(delivery, GroupSuspended):
            self._reports.suspended(name)
        if (group := self._groups.named(name)) is not None:
            group._take_fate(delivery, self.me)

    def _out(self, reason: str) -> None:
        self._reports.out(reason, self._leaving)
        self.view = None
        self._groups.left()
        for group in self._groups:
            group._out(reason, self.me, self._leaving)
        if self._leaving:
            self._life.left.set()
        self._life.wake()

    def _install(self, view: View) -> None:
        self.view = view
        self._groups.installed(view, self.me)
        self._reports.installed(view)
        self._hear()
        self._life.wake()

    def _hear(self) -> None:
        self._reports.heard(tuple(sorted(self._node.group.suspects)), self._node.standing is Standing.CUT_OFF)

    def _note(self, notes: Sequence[Note], _: Any) -> None:
        if self._reports.notes(notes, self.on_notes):
            self._hear()
