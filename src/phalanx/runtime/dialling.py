"""Links to peers, and the dialling that makes them stand.

A *link* is what this node knows of one peer address: the connection if there is one, else the dial, or the wait before
the next.  A connection that breaks is dialled again at once, since the answer is evidence: ECONNREFUSED means that nobody
listens, so the process is gone (`Refused`).  Then the pauses double up to a second, and end for good when nothing has
been sent to the address for a while.  Nothing is polled: links that stand and are idle cost nothing.
"""

import asyncio
import ipaddress
import random
import socket
from collections.abc import Callable

from phalanx.model.machine import Refused
from phalanx.model.view import Address
from phalanx.runtime.addresses import is_address, split_address
from phalanx.runtime.connection import HANDSHAKE_S_MAX, Connection
from phalanx.runtime.credentials import Credentials
from phalanx.runtime.handshakes import dial
from phalanx.runtime.refusals import Refusal, Refusals, plain

QUEUE_BYTES_MAX = 1 << 20
"""What may wait for the first dial of an address."""

PEERS_MAX = 1_000
"""Addresses that this node keeps a link to.  A cluster has tens of members; the rest is room for mistakes."""

REDIAL_S_MIN = 0.001
REDIAL_S_MAX = 1.0
REDIALS_QUIET_MAX = 60
"""Failed dials in a row, without anything sent to the address meanwhile, after which it is forgotten: a minute."""


NOBODY = "nobody listens there"
MUTE = "it takes connections, and has not said yet who it is"
ENDS = "it ends connections without a word"


class Link:
    """What is known of one peer address.  It has a connection, or a dial (whose connection is `pending` once it said
    Hello), or a pause before the next dial."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.names = [address]
        """All addresses under which it was dialled; the peer's own first."""
        self.connection: Connection | None = None
        self.pending: Connection | None = None
        self.dial: asyncio.Task[None] | None = None
        self.redial: asyncio.TimerHandle | None = None
        self.pause = 0.0
        """Seconds waited before the last dial; 0 if the last connection lasted."""
        self.queue: list[bytes] | None = []
        """Frames that wait for the first connection; None once there was one."""
        self.queued = 0
        self.used = False
        """Something was sent since the last dial failed."""
        self.quiet = 0
        self.fault = ""
        """Why the last dial failed."""
        self.instance = 0
        """Of the process that was reached last, zero before there was one; it is another one in each life ..."""
        self.former = 0
        """... and of the one before it."""
        self.dials = -1
        self.is_shared = False
        """Two processes say that they are there, in turn."""

    def reached(self, instance: int, dials: int) -> bool:
        """That process answers for the address; True once it shows that another one does, too."""
        self.dials = dials
        if instance == self.instance:
            return False
        is_back, self.former, self.instance = instance == self.former, self.instance, instance
        news, self.is_shared = is_back and not self.is_shared, self.is_shared or is_back
        return news


class Dialler:
    """The links of one transport.  It makes connections; what they tell goes to the transport, which says back whether a
    link stands, broke, or failed."""

    def __init__(
        self,
        own: Address,
        credentials: Credentials | None,
        connection_to: Callable[[Address], Connection],
        tell: Callable[[Refused], None],
        refusals: Refusals,
    ) -> None:
        """`own`: this node's address ("": it does not listen); `credentials`: for TLS; `connection_to`: a connection that
        is about to be dialled; `tell`: takes the evidence that nobody listens at an address; `refusals`: take why TLS
        failed there."""
        self.links: dict[Address, Link] = {}
        self.own_names = {own}
        """Addresses that lead to this node itself."""
        self._credentials = credentials
        self._refusals = refusals
        self._connection_to = connection_to
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._random = random.Random()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def close(self) -> None:
        """Give up every dial, and make no more."""
        self._closing = True
        for link in self.links.values():
            self.abandon(link)
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Until the dials given up have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- wanting a link

    def want(self, address: Address) -> Link | None:
        """The link to that address, dialled if it is new.  None if there can be none: a client that has gone, this node
        itself under another name, nonsense."""
        link = self.links.get(address)
        if link is None:
            if self._closing or address in self.own_names or not is_address(address):
                return None
            link = self.new_link(address)
            if link is not None:
                self.dial(link)
        if link is not None:
            link.used = True
        return link

    def new_link(self, address: Address) -> Link | None:
        """A link to an address that has none; None if there are too many."""
        if len(self.links) >= PEERS_MAX:
            return None
        link = self.links[address] = Link(address)
        return link

    def enqueue(self, address: Address, frame: bytes) -> None:
        """Dial the address if need be; the frame waits for the first connection, as far as there is room."""
        link = self.want(address)
        if link is not None and link.queue is not None and link.queued + len(frame) <= QUEUE_BYTES_MAX:
            link.queue.append(frame)
            link.queued += len(frame)

    # --- dials

    def dial(self, link: Link) -> None:
        """Dial now."""
        link.redial = None
        task = link.dial = self._loop.create_task(self._dialling(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dialling(self, link: Link) -> None:
        task = link.dial
        refused = told = False
        fault = NOBODY

        def tell(address: Address, refusal: Refusal) -> None:
            nonlocal told
            told = True
            self._refusals(address, refusal, dialled=True)

        try:
            async with asyncio.timeout(HANDSHAKE_S_MAX):
                places = await self._resolve(link.address)
                refused = bool(places)
                for host, port in places:
                    try:
                        await self._connect(link.address, host, port, tell)
                    except ConnectionRefusedError:
                        continue
                    except OSError as error:
                        refused = False
                        fault = plain(error)
                    else:
                        link.fault = ""
                        if link.dial is task:
                            link.dial = None
                        return
        except TimeoutError:
            refused = False
            fault = "it does not answer"
        except OSError as error:  # the name is unknown
            refused = False
            fault = str(error.strerror or error).lower()
        link.fault = fault
        if not told:
            self._refusals.forget(link.address)
        if link.dial is task:
            self.failed(link, refused)

    async def _connect(self, address: Address, host: str, port: int, tell: Callable[[Address, Refusal], None]) -> None:
        connection = self._connection_to(address)
        if self._credentials is None:
            await self._loop.create_connection(lambda: connection, host, port)
        else:
            await dial(connection, self._credentials, address, (host, port), tell)

    async def _resolve(self, address: Address) -> list[tuple[str, int]]:
        host, port = split_address(address)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys((str(info[4][0]), port) for info in infos))
        return [(host, port)]

    def failed(self, link: Link, refused: bool) -> None:
        """A dial came to nothing; `refused`: because nobody listens."""
        link.dial = link.pending = None
        if refused:
            if link.queue:
                link.queue, link.queued = [], 0  # it must not arrive after its sender was told
            for name in link.names:
                self._tell(Refused(name))
        link.quiet = 0 if link.used else link.quiet + 1
        link.used = False
        self._pause(link)

    def broke(self, link: Link, connection: Connection) -> None:
        """The link's connection ended: dial again, unless nothing was ever sent to that peer."""
        link.used = link.used or connection.used
        if self._closing or not link.used:
            del self.links[link.address]
            return
        if self._loop.time() - connection.made_at >= REDIAL_S_MAX:
            link.pause = 0.0
        if link.pause or connection.dropped:
            self._pause(link)
        else:
            link.pause = REDIAL_S_MIN
            self.dial(link)

    def _pause(self, link: Link) -> None:
        if self._closing or link.quiet > REDIALS_QUIET_MAX:
            self.links.pop(link.address, None)
            return
        link.pause = min(max(2 * link.pause, REDIAL_S_MIN), REDIAL_S_MAX)
        # Jitter: nodes that lost each other at the same moment must not go on meeting in mid dial.
        link.redial = self._loop.call_later(link.pause * self._random.uniform(0.5, 1.0), self.dial, link)

    def abandon(self, link: Link, but: Connection | None = None) -> None:
        """Give up a dial that is under way or due, unless it is the one that made `but`."""
        pending, link.pending = link.pending, None
        if link.redial is not None:
            link.redial.cancel()
            link.redial = None
        task, link.dial = link.dial, None
        if pending is None or pending is not but:
            if task is not None:
                task.cancel()
            if pending is not None:
                pending.abort()

    def faults(self) -> dict[Address, str]:
        """Why addresses cannot be reached, as far as the last dials tell."""
        there_is_none = (link for link in self.links.values() if link.connection is None)
        return {
            link.address: (MUTE if link.pending is not None else link.fault) or "it has not answered yet"
            for link in there_is_none
        }

    # --- names

    def is_self(self, link: Link) -> None:
        """That address led to this node itself: it is dialled no more."""
        self.own_names.add(link.address)
        del self.links[link.address]

    def rename(self, link: Link, connection: Connection, address: Address) -> Link:
        """The peer we dialled goes by another address: what we know it by becomes a further name of that link, because
        it keeps only one connection with us."""
        del self.links[link.address]
        self.abandon(link, but=connection)
        known = self.links.get(address)
        if known is None:
            known = self.links[address] = Link(address)
            known.queue, known.queued, known.used = link.queue, link.queued, link.used
        elif link.queue:
            known.queue = (known.queue or []) + link.queue
        if link.address not in known.names:
            known.names.append(link.address)
        return known
