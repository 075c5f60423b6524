"""Real node and client machines in one process, in lockstep: the same numbers in every run.

Time goes in *ticks*.  In each tick arrives what was sent in the tick before, encoded and framed as on a socket; whoever
has something to take steps once with all of it; what a machine says to itself it hears in the same tick.  An append to a
log is durable in the next tick, and what is appended meanwhile shares the next append, as in `runtime.driver`.  So a tick
is one way over a link, or one fsync, whatever these take; and how much of the work is shared is the best that can be:
on a real network messages that could share a step or a frame may just miss each other.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from phalanx.api.storage import RECORDS
from phalanx.group.config import Config
from phalanx.group.messages import Envelope
from phalanx.model.clock import MICROSECOND, SECOND, Instant
from phalanx.model.machine import Journal, LinkUp, Logged, Machine, Output, Received, Send
from phalanx.model.view import Address, GroupSpec
from phalanx.node.node import Message, Node
from phalanx.replication.client import ClientMachine
from phalanx.replication.objects import ObjectType
from phalanx.wire.codec import Codec
from phalanx.wire.frame import Kind, encode_frame

TICK_NS = 20 * MICROSECOND
"""About one way over loopback, so that heartbeats are as rare as in life."""

WALL_NS = 1_700_000_000 * SECOND
TICKS_MAX = 200_000
"""Of one wait: more than this is a protocol that stands still."""

CODEC: Codec[Any] = Codec(Message)

OnDelivery = Callable[[Any], Iterable[Any]]
"""Takes a delivery; what it gives are requests, for the next step."""


class Meter:
    """Told when work of a machine begins and ends, so that it can be measured.  This one measures nothing."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """What was measured, by name."""

    def begin(self, port: "Port") -> None:
        """Decoding, a step, or encoding begins there."""

    def end(self, port: "Port") -> None:
        """It is over."""


class Port:
    """A machine, what comes for it, and its log."""

    def __init__(self, address: Address, machine: Machine) -> None:
        self.address = address
        self.machine = machine
        self.events: list[Any] = []
        self.lazy: list[Any] = []
        """Requests that are not worth a step of their own (`Driver.submit_lazily`)."""
        self.arriving: list[tuple[Address, bytes]] = []
        self.reached: set[Address] = set()
        """Where something was sent to that is to be written to the socket."""
        self.on_delivery: OnDelivery = lambda _: ()
        self.appended = 0
        self.durable = 0
        self.waiting = 0
        """Records that no append has taken up yet ..."""
        self.syncing = 0
        """... and those that the append under way has."""
        self.held: deque[tuple[int, Output]] = deque()
        """Outputs not released, with how many records must be durable before their writes are."""

    @property
    def is_client(self) -> bool:
        return self.address.startswith("~")


class Lockstep:
    """See the module's text.  `counts` is all that was counted since the beginning, by name; `meter` may be replaced."""

    def __init__(self) -> None:
        self.ports: dict[Address, Port] = {}
        self.counts: Counter[str] = Counter()
        self.now = Instant(SECOND, WALL_NS)
        self.meter = Meter()

    # --- who there is

    def add_nodes(
        self,
        names: str,
        groups: Sequence[GroupSpec] = (),
        objects: dict[str, tuple[ObjectType[Any], GroupSpec]] | None = None,
    ) -> None:
        """Nodes of one letter each, which found a cluster together; returns once all are full hosts of everything."""
        peers = tuple((name, name) for name in names)
        count = len(groups) + len(objects or {})
        durable = any(spec.durable for spec in (*groups, *(spec for _, spec in (objects or {}).values())))
        for name in names:
            config = Config(name, name, (), peers, tuple(groups))
            journal = Journal() if durable else None
            node = Node(config, None, random.Random(name), self.now, objects, journal)
            self.ports[name] = Port(name, node)
        for port in self.ports.values():
            port.events += [LinkUp(name) for name in names if name != port.address]
        self.run_until(lambda: all(self._is_full(name, names, count) for name in names))

    def _is_full(self, name: str, names: str, groups: int) -> bool:
        machine = self.ports[name].machine
        assert isinstance(machine, Node)
        view = machine.group.view
        if view is None or len(view.members) < len(names) or len(view.groups) < groups:
            return False
        return all(len(group.hosts) == len(names) for group in view.groups) and not machine.group.is_fenced

    def add_client(self, name: str, endpoint: Address) -> Port:
        """A client of that one node."""
        address = f"~{name}"
        port = self.ports[address] = Port(address, ClientMachine((endpoint,), random.Random(name)))
        return port

    def node(self, name: str) -> Node:
        """The machine of a node."""
        machine = self.ports[name].machine
        assert isinstance(machine, Node)
        return machine

    # --- time

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Tick until it holds at the end of a tick."""
        for _ in range(TICKS_MAX):
            if condition():
                return
            self.tick()
        raise AssertionError(f"nothing came of {TICKS_MAX} ticks")

    def tick(self) -> None:
        """One way over every link, and one append of every log."""
        self._advance()
        self.counts["ticks"] += 1
        for port in self.ports.values():
            self._decode(port)
            self._sync(port)
        while True:
            busy = [port for port in self.ports.values() if port.events or self._is_due(port)]
            if not busy:
                return
            for port in busy:
                self._step(port)

    def _advance(self) -> None:
        """To the next tick; if nothing is under way, to the next deadline."""
        ns = TICK_NS
        if not any(port.events or port.arriving or port.waiting or port.syncing for port in self.ports.values()):
            deadlines = [port.machine.deadline for port in self.ports.values()]
            due = min((deadline for deadline in deadlines if deadline is not None), default=0)
            ns = max(ns, due - self.now.mono)
        self.now = Instant(self.now.mono + ns, self.now.wall + ns)

    def _is_due(self, port: Port) -> bool:
        deadline = port.machine.deadline
        return deadline is not None and deadline <= self.now.mono

    # --- what a driver does

    def _decode(self, port: Port) -> None:
        arriving, port.arriving = port.arriving, []
        if not arriving:
            return
        self.meter.begin(port)
        port.events += [Received(source, CODEC.decode(body)) for source, body in arriving]
        self.meter.end(port)

    def _sync(self, port: Port) -> None:
        """The append under way is durable; the next one begins."""
        if port.syncing:
            port.durable += port.syncing
            port.syncing = 0
            port.events.append(Logged(port.durable))
            self._release(port)
            self._flush(port)
        if port.waiting:
            port.syncing, port.waiting = port.waiting, 0
            self.counts["fsyncs"] += 1

    def _step(self, port: Port) -> None:
        events = port.lazy + port.events
        port.lazy, port.events = [], []
        self.meter.begin(port)
        output = port.machine.step(events, self.now)
        self.meter.end(port)
        self.counts["client steps" if port.is_client else "steps"] += 1
        assert not output.drops, f"{port.address} complains: {output.drops}"
        self._send(port, output.eager)
        self._append(port, output)
        port.held.append((port.appended if output.writes else 0, output))
        self._release(port)
        self._flush(port)

    def _append(self, port: Port, output: Output) -> None:
        if not output.appends:
            return
        self.meter.begin(port)
        sizes = [len(encode_frame(Kind.RECORD, RECORDS.encode(record))) for record in output.appends]
        self.meter.end(port)
        self.counts["appends"] += len(sizes)
        self.counts["log bytes"] += sum(sizes)
        port.appended += len(sizes)
        if port.syncing:
            port.waiting += len(sizes)
        else:
            port.syncing = len(sizes)
            self.counts["fsyncs"] += 1

    def _release(self, port: Port) -> None:
        """What is written is durable at once, but not before what was appended before it."""
        while port.held and port.held[0][0] <= port.durable:
            _, output = port.held.popleft()
            self.counts["stores"] += len(output.writes)
            self._send(port, output.sends)
            for delivery in output.deliveries:
                port.events += port.on_delivery(delivery)

    def _send(self, port: Port, sends: Iterable[Send]) -> None:
        for send in sends:
            if port.address in send.to:
                port.events.append(Received(port.address, send.message))
            to = [self.ports[address] for address in send.to if address != port.address and address in self.ports]
            if not to:
                continue
            self.meter.begin(port)
            body = CODEC.encode(send.message)
            frame = encode_frame(Kind.MESSAGE, body)
            self.meter.end(port)
            whose = "" if isinstance(send.message, Envelope) else "client "
            self.counts[f"{whose}frames"] += len(to)
            self.counts[f"{whose}bytes"] += len(to) * len(frame)
            for other in to:
                other.arriving.append((port.address, body))
                port.reached.add(other.address)

    def _flush(self, port: Port) -> None:
        """One write to each connection that something was sent on."""
        if not port.is_client:
            self.counts["socket writes"] += len(port.reached)
        port.reached.clear()
