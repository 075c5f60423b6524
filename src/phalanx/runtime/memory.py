"""A network inside one process: drivers on one loop, without sockets, and with faults on request.

Messages pass as encoded bytes, so nodes share no object, exactly as over TCP.  What is sent in a turn arrives in a
later callback of the loop, in order.
"""

import asyncio
from collections.abc import Sequence

from phalanx.errors import ConfigurationError
from phalanx.model.machine import LinkDown, LinkUp, Refused
from phalanx.model.view import Address
from phalanx.runtime.contract import LinkEvent, Receiver
from phalanx.wire.errors import WireError

HELD_MAX = 10_000
"""Messages that are kept for a node that hangs: as with the buffers of its sockets, what comes then is lost."""


class MemoryNetwork:
    """Where addresses meet."""

    def __init__(self) -> None:
        self._nodes: dict[Address, MemoryTransport] = {}
        self._cuts: set[frozenset[Address]] = set()
        self._hanging: set[Address] = set()
        self._clients = 0

    def transport(self, address: Address) -> "MemoryTransport":
        """The end of a node that listens at that address.  Raises ConfigurationError if one already does."""
        if not address or address.startswith("~"):
            raise ConfigurationError(f"{address!r} cannot be an address of a node")
        if address in self._nodes:
            raise ConfigurationError(f"somebody already listens at {address}")
        return MemoryTransport(self, address, address)

    def client(self) -> "MemoryTransport":
        """The end of a client, which does not listen; nodes know it by a pseudo-address."""
        self._clients += 1
        return MemoryTransport(self, "", f"~{self._clients}")

    def cut(self, one: Address, other: Address) -> None:
        """Lose everything between the two, without telling either, as a pulled cable does."""
        self._cuts.add(frozenset((one, other)))

    def heal(self, one: Address, other: Address) -> None:
        """Undo `cut`."""
        self._cuts.discard(frozenset((one, other)))

    def hang(self, address: Address) -> None:
        """The node there is not heard any more, and hears nothing, clients included; its connections stay."""
        self._hanging.add(address)

    def go_on(self, address: Address) -> None:
        """Undo `hang`: it hears at once what came meanwhile.  What it said meanwhile is lost."""
        self._hanging.discard(address)
        node = self._nodes.get(address)
        if node is not None:
            node._hear()

    def kill(self, address: Address) -> None:
        """The process there dies: who is connected to it sees its links break and new ones refused.  It hears nothing
        any more and says nothing; its address is free for a successor."""
        node = self._nodes.get(address)
        if node is not None:
            node._die()


class MemoryTransport:
    """The `Transport` of a driver on a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, address: Address, name: Address) -> None:
        self._network = network
        self._address = address
        self._name = name
        """What the others call it: its address, or a client's pseudo-address."""
        self._receiver: Receiver | None = None
        self._up: dict[Address, MemoryTransport] = {}
        self._wanted: set[Address] = set()
        """Refused so far; connected when somebody comes to listen there."""
        self._refused: set[Address] = set()
        """Refused in this turn: once in each, as a dialler would be told at each attempt."""
        self._queue: list[tuple[MemoryTransport, bytes]] = []
        self._inbox: list[tuple[MemoryTransport, bytes | LinkEvent]] = []

    @property
    def address(self) -> Address:
        return self._address

    def start(self, receiver: Receiver) -> None:
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        nodes = self._network._nodes
        if self._name in nodes:
            raise ConfigurationError(f"somebody already listens at {self._name}")
        nodes[self._name] = self
        for other in list(nodes.values()):
            if self._name in other._wanted:
                other._link(self)

    def connect(self, address: Address) -> None:
        self._reach(address)

    def send(self, to: Sequence[Address], body: bytes) -> None:
        for address in to:
            other = self._up.get(address) or self._reach(address)
            if other is not None:
                self._queue.append((other, body))

    def flush(self) -> None:
        queue, self._queue = self._queue, []
        if self._hangs:
            return
        for other, body in queue:
            if self._up.get(other._name) is other and not self._is_cut(other):
                other._post(self, body)

    def drop(self, address: Address, reason: str) -> None:  # noqa: ARG002 - there is nobody here to tell the reason
        other = self._up.get(address)
        if other is not None:
            self._unlink(other)
            if not address.startswith("~"):
                self._wanted.add(address)
                self._reach(address)

    async def close(self) -> None:
        self.flush()
        self._die()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _is_cut(self, other: "MemoryTransport") -> bool:
        return frozenset((self._name, other._name)) in self._network._cuts

    def _reach(self, address: Address) -> "MemoryTransport | None":
        if self._receiver is None or address in self._up or address == self._name:
            return self._up.get(address)
        other = self._network._nodes.get(address)
        if other is None:
            if not address.startswith("~") and address not in self._refused:
                self._wanted.add(address)
                self._refused.add(address)
                self._post(self, Refused(address))
            return None
        if self._is_cut(other) or address.startswith("~"):
            return None
        self._link(other)
        return other

    def _link(self, other: "MemoryTransport") -> None:
        for near, far in ((self, other), (other, self)):
            near._up[far._name] = far
            near._wanted.discard(far._name)
            near._post(far, LinkUp(far._name))

    def _unlink(self, other: "MemoryTransport") -> None:
        for near, far in ((self, other), (other, self)):
            if near._up.pop(far._name, None) is not None:
                near._post(far, LinkDown(far._name))

    def _die(self) -> None:
        if self._receiver is None:
            return
        self._receiver = None
        self._inbox.clear()
        del self._network._nodes[self._name]
        for other in list(self._up.values()):
            self._unlink(other)
            if not self._name.startswith("~"):
                other._wanted.add(self._name)
                other._post(other, Refused(self._name))

    def _post(self, source: "MemoryTransport", item: bytes | LinkEvent) -> None:
        if self._receiver is not None and (len(self._inbox) < HELD_MAX or not self._hangs):
            if not self._inbox:
                self._loop.call_soon(self._deliver)
            self._inbox.append((source, item))

    @property
    def _hangs(self) -> bool:
        return self._name in self._network._hanging

    def _hear(self) -> None:
        if self._receiver is not None and self._inbox:
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        if self._hangs:
            return
        inbox, self._inbox = self._inbox, []
        self._refused.clear()
        for source, item in inbox:
            if self._receiver is None:
                return
            if not isinstance(item, bytes):
                self._receiver.link(item)
                continue
            try:
                self._receiver.received(source._name, item)
            except WireError as error:
                self.drop(source._name, str(error))
