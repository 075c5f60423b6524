"""TCP: one connection for each pair of nodes, however they came to dial each other; and clients, who only dial.

The links to peers and their dials are in `dialling`; here are the handshakes.  When both sides dial at once, the
connection dialled by the lower address survives:

- A dialler says Hello as soon as it is connected.  If it is the lower one it then refuses the other's Hello, and the
  other, who gets ours meanwhile, takes it.  A dial that has not come to its Hello is given up for the peer's at once.
- Each Hello counts its speaker's dials.  A Hello of the same process whose count is not above that of the connection we
  have is a dial that was given up in favour of it, come late; a higher one says that the peer has lost the connection
  we still believe in, so the new one replaces it (`LinkDown`, then `LinkUp`).

Without TLS a Hello is believed: who can reach the port can claim an address.  With it (`tls`), whoever says that it
listens at an address shows a certificate of a member at that host; one that is not is a client's.
"""

import asyncio
import ipaddress
import logging
import secrets
import socket
from collections.abc import Mapping, Sequence

from phalanx.errors import ConfigurationError
from phalanx.model.machine import LinkDown, LinkUp
from phalanx.model.view import Address
from phalanx.runtime.addresses import split_address
from phalanx.runtime.connection import Connection, Hello
from phalanx.runtime.contract import LinkEvent, Receiver
from phalanx.runtime.credentials import Credentials, fault_of_member
from phalanx.runtime.descriptors import room_for_clients
from phalanx.runtime.dialling import ENDS, NOBODY, PEERS_MAX, Dialler, Link
from phalanx.runtime.drops import DropLog
from phalanx.runtime.handshakes import Arrivals
from phalanx.runtime.refusals import TLS_UNWANTED, Refusal, Refusals
from phalanx.wire.frame import Kind, encode_frame

log = logging.getLogger(__name__)

PEER_BACKLOG_BYTES_MAX = 64 << 20
"""Unsent bytes to a peer beyond which the connection is reset: several windows of traffic and a snapshot's pieces."""

CLIENT_BACKLOG_BYTES_MAX = 1 << 20
"""The same for a client; a single larger answer may still be on its way."""

CLIENTS_MAX = 16_384
"""An idle one costs some kilobytes (tests/real/test_many_clients.py)."""

STRANGERS_MAX = 1_000
"""Accepted connections that have not said Hello yet."""

LISTEN_BACKLOG = 1024


def is_everywhere(host: str) -> bool:
    """It stands for all interfaces, so nobody can dial it."""
    try:
        return not host or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False  # a name


class TcpTransport:
    """The `Transport` of real nodes, made by `listen`, and of clients, made by `client`."""

    def __init__(
        self,
        address: Address,
        listener: socket.socket | None,
        tls: Credentials | None,
        *,
        clients_max: int = CLIENTS_MAX,
        client_backlog_bytes_max: int = CLIENT_BACKLOG_BYTES_MAX,
        peer_backlog_bytes_max: int = PEER_BACKLOG_BYTES_MAX,
    ) -> None:
        self.receiver: Receiver
        self._address = address
        self._listener = listener
        self._server: asyncio.AbstractServer | None = None
        self._clients_max = clients_max
        self._client_backlog_bytes_max = client_backlog_bytes_max
        self._peer_backlog_bytes_max = peer_backlog_bytes_max
        self._loop = asyncio.get_running_loop()
        self._instance = secrets.randbits(63)
        self._dials = 0
        self._clients = 0
        self._clients_ever = 0
        self._ready: dict[Address, Connection] = {}
        """Every connection that messages can go to, under each name it has."""
        self._drop_log = DropLog()
        self._refusals = Refusals(self._drop_log)
        self._tls = tls
        self._dialler = Dialler(
            address, tls, lambda to: Connection(self, self._drop_log, to), self._tell, self._refusals
        )
        self._arrivals = None
        if tls is not None:
            self._arrivals = Arrivals(tls, lambda: Connection(self, self._drop_log), self._refusals)
        self._strangers: set[Connection] = set()
        self._dirty: list[Connection] = []
        self._dirty_clients: list[Connection] = []
        self._closing = False
        self._serving: asyncio.Task[None] | None = None

    @classmethod
    async def listen(
        cls,
        host: str,
        port: int,
        *,
        advertise: Address | None = None,
        tls: Credentials | None = None,
        clients_max: int = CLIENTS_MAX,
        client_backlog_bytes_max: int = CLIENT_BACKLOG_BYTES_MAX,
        peer_backlog_bytes_max: int = PEER_BACKLOG_BYTES_MAX,
    ) -> "TcpTransport":
        """Bind the port (0: any free one); connections are accepted from `start` on.  `advertise` is the address by
        which the others know this node, if not "host:port".

        No more clients are let in than there are descriptors for: a node that has none left could not reach its peers.

        Raises OSError if the port is taken, ConfigurationError if others could not dial the address.
        """
        if advertise is not None:
            try:
                split_address(advertise)
            except ValueError as error:
                raise ConfigurationError(str(error)) from None
        infos = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, place = infos[0]
        if advertise is None and is_everywhere(str(place[0])):
            text = f"{host} stands for all interfaces of this machine: say which address others are to dial (advertise)"
            raise ConfigurationError(text)
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(place)
        except OSError:
            listener.close()
            raise
        if (room := room_for_clients(clients_max)) < clients_max:
            log.info("room for %d clients instead of %d: see `ulimit -n`", room, clients_max)
        if advertise is None:
            bound = listener.getsockname()[1]
            advertise = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
        return cls(
            advertise,
            listener,
            tls,
            clients_max=room,
            client_backlog_bytes_max=client_backlog_bytes_max,
            peer_backlog_bytes_max=peer_backlog_bytes_max,
        )

    @classmethod
    def client(cls, *, tls: Credentials | None = None) -> "TcpTransport":
        """A transport that does not listen: whom it dials knows it by a pseudo-address."""
        return cls("", None, tls)

    @property
    def refusals(self) -> Mapping[str, int]:
        """How often others were refused, or refused this side, by kind (see `runtime.refusals`)."""
        return self._refusals.counts

    @property
    def clients(self) -> int:
        """How many are connected."""
        return self._clients

    @property
    def certificate_ends_at(self) -> float:
        """Seconds since the epoch; 0: there is none, or it is not known."""
        return self._tls.expires_at if self._tls is not None else 0.0

    def connection(self, address: Address) -> Connection | None:
        """The one that messages to the address go out on, to look at; None if there is none."""
        return self._ready.get(address)

    def explain(self) -> str:
        """Why addresses that were dialled cannot be spoken to; empty if there is nothing to say."""
        return self._refusals.explain(self._dialler.faults())

    # --- Transport ----------------------------------------------------------------------------------------------------

    @property
    def address(self) -> Address:
        return self._address

    def start(self, receiver: Receiver) -> None:
        self.receiver = receiver
        if self._listener is not None:
            self._listener.listen(LISTEN_BACKLOG)  # from this line on a dial is not refused, though the loop may lag
            self._serving = self._loop.create_task(self._serve(self._listener))
            if self._tls is not None:
                self._tls.watch(self._loop)

    async def _serve(self, listener: socket.socket) -> None:
        accept = self._arrivals.accept if self._arrivals is not None else lambda: Connection(self, self._drop_log)
        self._server = await self._loop.create_server(accept, sock=listener, backlog=LISTEN_BACKLOG)

    def connect(self, address: Address) -> None:
        if address not in self._ready:
            self._dialler.want(address)

    def send(self, to: Sequence[Address], body: bytes) -> None:
        frame = encode_frame(Kind.MESSAGE, body)
        ready = self._ready
        for address in to:
            connection = ready.get(address)
            if connection is None:
                self._dialler.enqueue(address, frame)
                continue
            connection.post(frame)
            if not connection.dirty:
                connection.dirty = True
                (self._dirty_clients if connection.is_client else self._dirty).append(connection)

    def flush(self) -> None:
        """A single answer leaves first: its client waits for nothing else, and each write costs some 10 us."""
        clients, self._dirty_clients = self._dirty_clients, []
        peers, self._dirty = self._dirty, []
        for connection in [*clients, *peers] if len(clients) == 1 else [*peers, *clients]:
            connection.flush()

    def drop(self, address: Address, reason: str) -> None:
        connection = self._ready.get(address)
        if connection is not None:
            connection.drop(reason)

    async def close(self) -> None:
        if not self._closing:
            self.flush()
            self._closing = True
            self._dialler.close()
            for connection in {*self._ready.values(), *self._strangers}:
                connection.finish()
            self._drop_log.sum_up()
            if self._tls is not None and self._listener is not None:
                self._tls.unwatch()
        if self._serving is not None:  # cancelled, it would leave the loop with the listener's number
            await asyncio.gather(self._serving, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.close()
        if self._arrivals is not None:
            self._arrivals.close()
        await self._dialler.wait_closed()

    # --- Owner: what connections tell ---------------------------------------------------------------------------------

    def made(self, connection: Connection) -> None:
        if not connection.dialled:
            self._strangers.add(connection)
            if self._closing or len(self._strangers) > STRANGERS_MAX:
                connection.drop(f"more than {STRANGERS_MAX} connections without a handshake")
            return
        link = self._dialler.links.get(connection.dialled)
        if self._closing or link is None or link.dial is None:
            connection.abort()
            return
        link.pending = connection
        if connection.to_itself:
            connection.abort()
            return
        self._dials += 1
        connection.greet(self._address, self._instance, self._dials)

    def greeted(self, connection: Connection, hello: Hello) -> None:
        if self._tls is not None and (fault := self._fault_of_peer(connection, hello)):
            self.refused(connection, Refusal("certificate.name", fault))
            return
        if connection.dialled:
            self._answered(connection, hello)
            return
        self._strangers.discard(connection)
        if hello.instance == self._instance:  # we reached ourselves by another name, and are told so
            connection.greet(self._address, self._instance, self._dials)
            connection.finish()
        elif not hello.address:
            self._accept_client(connection)
        elif hello.address in self._dialler.own_names:
            connection.drop(f"it says that it listens at this node's address, {hello.address}")
        else:
            self._accept_peer(connection, hello)

    def refused(self, connection: Connection, refusal: Refusal) -> None:
        host = connection.info("peername")
        who = connection.dialled or (str(host[0]) if host else "a stranger")
        self._refusals(who, refusal, dialled=bool(connection.dialled))
        connection.dropped = True
        if refusal is TLS_UNWANTED:
            connection.finish()  # it is told why
        else:
            connection.abort()

    def lost(self, connection: Connection) -> None:
        self._strangers.discard(connection)
        if connection.is_client:
            if self._ready.pop(connection.peer, None) is not None:
                self._clients -= 1
                self._tell(LinkDown(connection.peer))
            return
        link = self._dialler.links.get(connection.peer)
        if link is not None and link.connection is connection:
            self._down(link, connection)
        elif link is not None and link.pending is connection:
            link.fault = NOBODY if connection.to_itself else ENDS
            self._dialler.failed(link, refused=connection.to_itself)

    # --- handshakes ---------------------------------------------------------------------------------------------------

    def _fault_of_peer(self, connection: Connection, hello: Hello) -> str:
        """Why it may not say that it listens there.  A client, which has dialled the address, asks nothing more: the host
        was looked at in the handshake."""
        if not hello.address or not self._address:
            return ""
        fault = fault_of_member(connection.info("ssl_object"), split_address(hello.address)[0])
        return f"it says that it is a member at {hello.address}, and its certificate is not: {fault}" if fault else ""

    def _accept_client(self, connection: Connection) -> None:
        if self._clients >= self._clients_max:
            connection.drop(f"more than {self._clients_max} clients")
            return
        self._clients += 1
        self._clients_ever += 1
        name = f"~{self._clients_ever}"
        connection.greet(self._address, self._instance, self._dials)
        connection.open(name, self._client_backlog_bytes_max)
        self._ready[name] = connection
        self._tell(LinkUp(name))

    def _accept_peer(self, connection: Connection, hello: Hello) -> None:
        link = self._dialler.links.get(hello.address) or self._dialler.new_link(hello.address)
        if link is None:
            connection.drop(f"more than {PEERS_MAX} peers")
        elif hello.instance == link.instance and hello.dials <= link.dials:
            connection.abort()  # its dialler has given it up for the connection that we have, or had
        elif link.connection is None and link.pending is not None and self._address < hello.address:
            connection.abort()  # both dialled: ours survives
        else:
            connection.greet(self._address, self._instance, self._dials)
            self._up(link, connection, hello)

    def _answered(self, connection: Connection, hello: Hello) -> None:
        link = self._dialler.links.get(connection.dialled)
        if link is None or link.pending is not connection:
            connection.abort()
        elif hello.instance == self._instance:
            self._dialler.is_self(link)
            connection.finish()
        elif not self._address or hello.address == link.address:
            self._up(link, connection, hello)
        else:
            self._up(self._dialler.rename(link, connection, hello.address), connection, hello)

    # --- links come and go --------------------------------------------------------------------------------------------

    def _up(self, link: Link, connection: Connection, hello: Hello) -> None:
        old, link.connection = link.connection, None
        if old is not None:
            old.abort()
            for name in link.names:
                if self._ready.pop(name, None) is not None:
                    self._tell(LinkDown(name))
        self._dialler.abandon(link, but=connection)
        for name in link.names:
            self._refusals.forget(name)
        link.connection = connection
        if link.reached(hello.instance, hello.dials):
            log.warning("two processes say that they are %s: have each advertise an address of its own", link.address)
        link.quiet = 0
        connection.open(link.address, self._peer_backlog_bytes_max)
        for name in link.names:
            self._ready[name] = connection
            self._tell(LinkUp(name))
        queue, link.queue, link.queued = link.queue, None, 0
        for frame in queue or ():
            connection.post(frame)
        connection.flush()

    def _down(self, link: Link, connection: Connection) -> None:
        link.connection = None
        for name in link.names:
            self._ready.pop(name, None)
            self._tell(LinkDown(name))
        del link.names[1:]
        self._dialler.broke(link, connection)

    def _tell(self, event: LinkEvent) -> None:
        if not self._closing:
            self.receiver.link(event)
