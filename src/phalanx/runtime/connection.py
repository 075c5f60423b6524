"""One TCP connection: its handshake, its frames, its limits.  What becomes of it is its owner's affair.

    dialler                                  acceptor
       | -- Hello(own address or "") ---------> |   client if "", else the peer that listens there
       | <-------- Hello(its own address) ----- |   from here on both send messages

Anything else than a Hello first, and any WireError later, ends the connection, with one line in the log; with one for
all dials of an address (`runtime.refusals`), which go on.
"""

import asyncio
from typing import Any, Final, Protocol

import msgspec

from phalanx.model.view import Address
from phalanx.runtime.addresses import ADDRESS_CHARS_MAX, is_address
from phalanx.runtime.contract import Receiver
from phalanx.runtime.drops import DropLog
from phalanx.runtime.refusals import CLEAR_ALERT, SILENT, TLS_UNWANTED, Refusal, begins_tls, foreign
from phalanx.wire.codec import Codec
from phalanx.wire.errors import WireError
from phalanx.wire.frame import BODY_BYTES_MAX, FrameDecoder, Kind, encode_frame

PROTOCOL_VERSION = 1
"""Of the messages that follow the handshake.  Nodes of different versions do not talk."""

HANDSHAKE_S_MAX = 5.0
"""From connect or accept until both sides have said Hello."""

HELLO_BYTES_MAX = 1024
"""Largest first frame of a stranger."""

_MESSAGE: Final = 2  # Kind.MESSAGE: an enumeration's member is slow to compare with

ABOVE_ANY_WATER_MARK = (1 << 31) - 1


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="phalanx"):
    """First frame of each side."""

    version: int
    address: Address
    """Where the speaker listens; empty for a client."""
    instance: int
    """Chance number of the speaker's transport: tells a restarted process from the one before."""
    dials: int
    """How often the speaker has dialled anybody so far, this dial included."""


HELLO: Codec[Hello] = Codec(Hello)


class Owner(Protocol):
    """Who keeps connections, and is told what becomes of them."""

    receiver: Receiver

    def made(self, connection: "Connection") -> None:
        """Connected, or accepted; nothing has been said yet."""

    def greeted(self, connection: "Connection", hello: Hello) -> None:
        """The other side's first frame has come, of our version."""

    def refused(self, connection: "Connection", refusal: Refusal) -> None:
        """The other side is not one to talk to: the connection is to be cut."""

    def lost(self, connection: "Connection") -> None:
        """It is over, for whatever reason.  Called once, and only after `made`."""


class Connection(asyncio.Protocol):
    """A connection that was dialled (`dialled` is the address) or accepted (`dialled` is empty)."""

    __slots__ = (
        "_decoder",
        "_drop_log",
        "_handshake_timer",
        "_owner",
        "_pending",
        "_transport",
        "backlog_bytes_max",
        "closed",
        "dialled",
        "dirty",
        "dropped",
        "is_client",
        "made_at",
        "peer",
        "peer_name",
        "ready",
        "to_itself",
        "used",
    )

    def __init__(self, owner: Owner, drop_log: DropLog, dialled: Address = "") -> None:
        self.dialled = dialled
        self.peer: Address = dialled
        """Source of its messages: the address that the other side listens at, or a client's pseudo-address."""
        self.peer_name = dialled or "a stranger"
        """For the log: where the bytes come from."""
        self.ready = False
        """Both sides have greeted: messages pass."""
        self.closed = False
        self.dropped = False
        """We cut it, because of what the other side did or did not do."""
        self.is_client = False
        """The other side only asks: it has no address of its own."""
        self.to_itself = False
        """Both ends are one socket: dialling a free port of this machine from that very port succeeds in TCP."""
        self.dirty = False
        """Something is queued for the next `flush`."""
        self.backlog_bytes_max = 0
        """How much may be unsent before `flush` gives the other side up."""
        self.used = False
        """We have sent messages on it."""
        self.made_at = 0.0
        self._owner = owner
        self._drop_log = drop_log
        # What a stranger may say is small; who was dialled may go on to messages in the same read as its Hello.
        self._decoder = FrameDecoder(BODY_BYTES_MAX if dialled else HELLO_BYTES_MAX)
        self._pending: list[bytes] = []
        self._transport: Any = None
        self._handshake_timer: asyncio.TimerHandle | None = None

    # --- callbacks of the loop ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        loop = asyncio.get_running_loop()
        self.made_at = loop.time()
        self.to_itself = bool(self.dialled) and transport.get_extra_info("sockname") == transport.get_extra_info(
            "peername"
        )
        if not self.dialled:
            self.peer_name = str(transport.get_extra_info("peername"))
        self._transport.set_write_buffer_limits(high=ABOVE_ANY_WATER_MARK)  # `flush` looks at the backlog itself
        self._handshake_timer = loop.call_later(HANDSHAKE_S_MAX, self._late)
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        received = self._owner.receiver.received
        try:
            for kind, body in self._decoder.feed(data):
                if self.closed:
                    return
                if self.ready and kind == _MESSAGE:
                    received(self.peer, body)
                else:
                    self._greeting(kind, body)
        except WireError as error:
            if not self.ready and begins_tls(data):
                if not self.dialled:
                    self._transport.write(CLEAR_ALERT)
                self._owner.refused(self, TLS_UNWANTED)
            elif self.dialled and not self.ready:  # it will be dialled again, and say the same again
                self._owner.refused(self, foreign(error))
            else:
                self.drop(str(error))

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - part of asyncio's interface
        if not self.closed and not self.ready and begins_tls(self._decoder.beginning):
            self._owner.refused(self, TLS_UNWANTED)
        self._end()

    # --- what the owner does with it ----------------------------------------------------------------------------------

    def greet(self, address: Address, instance: int, dials: int) -> None:
        """Say Hello."""
        hello = Hello(PROTOCOL_VERSION, address, instance, dials)
        self._transport.write(encode_frame(Kind.HELLO, HELLO.encode(hello)))

    def open(self, peer: Address, backlog_bytes_max: int) -> None:
        """The handshake is done: messages from here on are the peer's."""
        self.peer = peer
        self.is_client = peer.startswith("~")
        self.peer_name = f"{peer} at {self.peer_name}" if not self.dialled else peer
        self.backlog_bytes_max = backlog_bytes_max
        self.ready = True
        self._decoder.limit = BODY_BYTES_MAX
        self._cancel_handshake_timer()

    def post(self, frame: bytes) -> None:
        """Queue a frame for the next `flush`."""
        self._pending.append(frame)

    def flush(self) -> None:
        """Write all that is queued at once; drop the connection if its backlog is above the limit before."""
        self.dirty = False
        pending, self._pending = self._pending, []
        if self.closed or not pending:
            return
        self.used = True
        unsent = self._transport.get_write_buffer_size()
        if unsent > self.backlog_bytes_max:
            self.drop(f"it does not read: {unsent} bytes unsent, the limit is {self.backlog_bytes_max}")
        elif len(pending) == 1:
            self._transport.write(pending[0])
        else:
            self._transport.writelines(pending)

    def drop(self, reason: str) -> None:
        """Cut it for a fault of the other side, and log that."""
        if not self.closed:
            self._drop_log(self.peer_name, reason)
            self.dropped = True
            self.abort()

    def abort(self) -> None:
        """Cut it now; what is unsent is lost.  `Owner.lost` is called before this returns."""
        if not self.closed and self._transport is not None:
            self._transport.abort()
            self._end()

    def finish(self) -> None:
        """Close it when what is written has left."""
        if not self.closed:
            self._transport.close()
            self._end()

    @property
    def unsent(self) -> int:
        """Bytes that were given to the transport below and wait there."""
        return 0 if self.closed or self._transport is None else int(self._transport.get_write_buffer_size())

    def info(self, name: str) -> Any:
        """What the transport below knows: "peername", "ssl_object", ..."""
        return self._transport.get_extra_info(name)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _greeting(self, kind: int, body: memoryview) -> None:
        if self.ready or kind != Kind.HELLO:
            raise WireError(f"a frame of kind {kind} {'after' if self.ready else 'before'} the handshake")
        hello = HELLO.decode(body)
        if hello.version != PROTOCOL_VERSION:
            raise WireError(f"protocol version {hello.version}; this node speaks {PROTOCOL_VERSION}")
        if hello.address and not is_address(hello.address):
            raise WireError(f"it says that it listens at {hello.address[:ADDRESS_CHARS_MAX]!r}")
        self._owner.greeted(self, hello)

    def _late(self) -> None:
        if self.dialled:
            self._owner.refused(self, SILENT)
        else:
            self.drop("no handshake in time")

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self.ready = False
            self._pending.clear()
            self._cancel_handshake_timer()
            self._owner.lost(self)

    def _cancel_handshake_timer(self) -> None:
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
            self._handshake_timer = None
