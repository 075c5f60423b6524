"""UDP multicast as a `Transport`: one socket, one group of receivers, one frame for each datagram.

Whatever is sent goes to the group; there are no connections, so none come or go.  A datagram that is no frame of ours is
dropped and counted, and so is one that the kernel does not take: to the machine above both are lost on the way.
"""

import asyncio
import ipaddress
import logging
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from phalanx.errors import ConfigurationError
from phalanx.model.view import Address
from phalanx.runtime.addresses import split_address
from phalanx.runtime.contract import Receiver
from phalanx.wire.errors import WireError
from phalanx.wire.frame import HEADER_SIZE, Kind, encode_frame, read_frame

log = logging.getLogger(__name__)

DATAGRAM_BYTES_MAX = 65_507
"""What UDP over IPv4 can carry."""

READS_MAX = 256
"""Datagrams taken in one turn of the loop; more wait in the kernel, and others get their turn."""

SOCKET_BUFFER_BYTES = 4 << 20
"""Asked of the kernel, which may give less (net.core.rmem_max): what does not fit there is lost."""


class MulticastTransport:
    """The node's end of a group, made by `join`."""

    def __init__(self, group: tuple[str, int], made: socket.socket) -> None:
        self._group = group
        self._socket = made
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver | None = None
        self._queued: list[bytes] = []
        self._warned = False
        self.dropped = 0
        """Datagrams received that were none of ours."""
        self.unsent = 0
        """Datagrams that the kernel did not take."""

    @classmethod
    def join(cls, address: Address, interface: str, hops: int) -> "MulticastTransport":
        """Be a receiver of the group at `address` ("239.192.0.1:7700") on the interface that has the address
        `interface`, and send to it there; `hops` is how many networks what is sent may cross, less one for each router.

        Raises `ConfigurationError` for what is no IPv4 multicast address or no address of an interface, `OSError` if the
        kernel refuses.
        """
        group = _group(address)
        try:
            local = ipaddress.IPv4Address(interface).packed
        except ValueError:
            raise ConfigurationError(f"{interface!r} is no IPv4 address of an interface of this machine") from None
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            with suppress(OSError):  # some kernels refuse what is too much, where others give what they have
                made.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # several processes of a machine may listen
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, local)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            made.bind(group)  # to the group and not to any address: nothing else that comes to the port is ours
            wish = struct.pack("4s4s", ipaddress.IPv4Address(group[0]).packed, local)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wish)
        except OSError as error:
            made.close()
            raise OSError(
                error.errno, f"cannot join {address} on the interface {interface}: {error.strerror}"
            ) from error
        return cls(group, made)

    @property
    def address(self) -> Address:
        """None of its own: all that is sent goes to the group."""
        return ""

    def start(self, receiver: Receiver) -> None:
        """Begin to receive."""
        self._receiver = receiver
        self._loop.add_reader(self._socket.fileno(), self._read)

    def connect(self, address: Address) -> None:
        """There is nothing to dial."""

    def send(self, to: Sequence[Address], body: bytes) -> None:  # noqa: ARG002  all goes to the group
        """Queue one datagram to the group until `flush`."""
        frame = encode_frame(Kind.MULTICAST, body)
        assert len(frame) <= DATAGRAM_BYTES_MAX, f"a datagram of {len(frame)} bytes"
        self._queued.append(frame)

    def flush(self) -> None:
        """Let everything queued leave."""
        queued, self._queued = self._queued, []
        for frame in queued:
            try:
                self._socket.sendto(frame, self._group)
            except (
                OSError
            ) as error:  # no room, no route, interface down: it may be otherwise when it is asked for again
                self.unsent += 1
                if not self._warned and not isinstance(error, BlockingIOError):
                    self._warned = True
                    log.warning("multicast to %s:%d is not sent: %s", *self._group, error)
            else:
                self._warned = False

    def drop(self, address: Address, reason: str) -> None:
        """There are no connections."""

    async def close(self) -> None:
        """Leave the group."""
        if self._receiver is not None:
            self._receiver = None
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        for _ in range(READS_MAX):
            if self._receiver is None:
                return
            try:
                data, (host, port) = self._socket.recvfrom(DATAGRAM_BYTES_MAX)
            except OSError:  # nothing more; or an error of the network that concerns nothing that we wait for
                return
            try:
                (kind, body), end = read_frame(data, 0, DATAGRAM_BYTES_MAX - HEADER_SIZE)
                if kind != Kind.MULTICAST or end != len(data):
                    raise WireError(f"kind {kind}, {len(data) - end} bytes too many")
                self._receiver.received(f"{host}:{port}", body)
            except WireError as error:
                self.dropped += 1
                log.debug("dropped a datagram from %s:%d: %s", host, port, error)


def _group(address: Address) -> tuple[str, int]:
    try:
        host, port = split_address(address)
        if not ipaddress.IPv4Address(host).is_multicast:
            raise ValueError
    except ValueError:
        raise ConfigurationError(f"{address!r} is no IPv4 multicast address; one looks like 239.192.0.1:7700") from None
    return host, port
