"""TLS between a socket and a connection.

    socket's transport <-> Layer <-> Connection (which takes the layer for its transport)

asyncio has a TLS of its own, which cannot be used here: it makes a connection that nobody can count or cut off before
its handshake is over, and it ends a failed one without sending the alert that says why.  Here both ends are told:

- whoever refuses the other's certificate sends the alert, and reads on until the other has closed, since a socket that is
  closed with something unread is reset, and a reset may overtake the alert;
- in TLS 1.3 a dialler is through its handshake before it hears that its certificate is refused (RFC 8446, section 2): the
  alert comes where the other's Hello should, and is a refusal all the same.

A handshake takes at most `HANDSHAKE_S_MAX` and `HANDSHAKE_BYTES_MAX`; how many there may be is for `handshakes` to say.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Final, Protocol

from phalanx.runtime.connection import HANDSHAKE_S_MAX
from phalanx.runtime.refusals import ENDED, LATE, LONG, PLAIN, UNANSWERED, Refusal, alert_of, refusal_of

HANDSHAKE_BYTES_MAX = 64 << 10
"""What the other side may say until its handshake is over: a hello and a chain of certificates are a tenth of it."""

READ_BYTES: Final = 1 << 14
"""The most that a record has (RFC 8446, section 5.1); OpenSSL gives one at a time."""

HELLO_BEGINS: Final = b"\x16"
"""The first byte of the record that a hello comes in (RFC 8446, section 5.1).  OpenSSL also takes what has its first and
third byte like a hello of SSL 2, as one checksum of ours in 512 happens to have, and waits for the rest."""

PLAIN_ALERT: Final = bytes.fromhex("15 0303 0002 02 46")
"""For those who do not speak TLS, so that they know that this side does: protocol_version (RFC 8446, section 6.2)."""


class Above(Protocol):
    """What a layer carries the bytes of: an asyncio.Protocol."""

    def connection_made(self, transport: Any) -> None:
        """The handshake is over."""

    def data_received(self, data: bytes) -> None:
        """What the other side has said."""

    def connection_lost(self, error: Exception | None) -> None:
        """It is over.  Only after `connection_made`."""


class Layer(asyncio.Protocol):
    """TLS on one socket.  To its owner below it is the protocol, to what is above the transport."""

    def __init__(self, above: Above, context: ssl.SSLContext, owner: "Owner", dialled: str = "") -> None:
        """dialled: the host, which the other's certificate must name; empty if the socket was accepted.  `owner`: is told
        how the handshake went, and of an alert that comes later."""
        self._above = above
        self._owner = owner
        self._dialled = dialled
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=not dialled, server_hostname=dialled if dialled else None
        )
        self._socket: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0
        self._through = False
        """The handshake is over, and went well."""
        self._ended = False
        """The handshake went wrong, or what was above is told that all is over."""

    # --- the socket's protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._socket = transport
        if self._ended:  # given up while it connected
            transport.abort()
            return
        name = transport.get_extra_info("peername")
        if name is not None and name == transport.get_extra_info("sockname"):
            self._fail(ConnectionRefusedError("dialled a free port from that very port"), None)
            self._socket.abort()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(HANDSHAKE_S_MAX, self._overdue)
        self._owner.begun(self)
        if self._dialled:
            self.shake_hands()  # the dialler speaks first

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return  # until the other side has closed
        if not (self._heard or self._dialled or data.startswith(HELLO_BEGINS)):
            self._refuse(PLAIN, ConnectionAbortedError(PLAIN.text))
            return
        self._in.write(data)
        if self._through:
            self._read()
            return
        self._heard += len(data)
        if self._heard > HANDSHAKE_BYTES_MAX:
            self.give_up(LONG)
        else:
            self._owner.heard(self)

    def eof_received(self) -> bool:
        return False  # it has closed: so do we

    def connection_lost(self, error: Exception | None) -> None:
        self._cancel_timer()
        if not self._ended:
            self._over(error)
        self._owner.gone(self)

    # --- the transport of what is above -------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Queue it, sealed."""
        if self._through and not self._ended:
            self._seal(data)
            self._pass_on()

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Queue them, sealed together: records, and calls, are fewer."""
        self.write(b"".join(pieces))

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the socket."""
        return int(self._socket.get_write_buffer_size())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As of the socket."""
        self._socket.set_write_buffer_limits(high=high, low=low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of asyncio's own: "ssl_object", and what the socket has."""
        return self._tls if name == "ssl_object" else self._socket.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Nothing more leaves."""
        return bool(self._ended or self._socket.is_closing())

    def close(self) -> None:
        """Say that it is the end, and close when all has left.  Nobody waits for the same from the other side: frames
        say themselves where they end."""
        if self._through and not self._ended:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # it wants to read the other's end
            self._pass_on()
        self._socket.close()

    def abort(self) -> None:
        """Cut it now.  What is above is told if it was there."""
        self._cancel_timer()
        self._ended = self._ended or not self._through
        if self._socket is not None:
            self._socket.abort()

    def give_up(self, why: Refusal) -> None:
        """Cut it in its handshake."""
        self._fail(ConnectionAbortedError(why.text), why)
        self.abort()

    def shake_hands(self) -> None:
        """Go on with the handshake, with what has come."""
        if self._ended:
            return
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._pass_on()
            return
        except ssl.SSLError as error:
            self._pass_on()  # the alert
            self._refuse(refusal_of(error), error)
            return
        self._pass_on()
        self._cancel_timer()
        self._through = True
        self._owner.through(self)
        self._above.connection_made(self)
        self._read()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """What has come, opened."""
        pieces: list[bytes] = []
        ended, fault = False, None
        read = self._tls.read
        try:
            while piece := read(READ_BYTES):
                pieces.append(piece)
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            ended, fault = True, error
        if pieces:
            self._above.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._out.pending:  # the other side wants new keys, say, or is sent an alert
            self._pass_on()
        if ended and not self._ended:
            self._over(fault)
            self._socket.close()

    def _seal(self, data: bytes) -> None:
        write = self._tls.write
        done = write(data)
        if done < len(data):  # one record at a time
            view = memoryview(data)
            while done < len(data):
                done += write(view[done:])

    def _pass_on(self) -> None:
        if self._out.pending and not self._socket.is_closing():
            self._socket.write(self._out.read())

    def _over(self, error: Exception | None) -> None:
        """It is over: what is above is told, or who waits for the handshake."""
        if not self._through:
            broken = error if isinstance(error, OSError) else ConnectionResetError("ended in the TLS handshake")
            refusal = refusal_of(broken) if self._heard or self._dialled else None
            self._fail(broken, UNANSWERED if refusal is ENDED and not self._heard else refusal)
            return
        self._ended = True
        if isinstance(error, ssl.SSLError):
            self._owner.refused(self, alert_of(error), error)
        self._above.connection_lost(error)

    def _fail(self, error: OSError, refusal: Refusal | None) -> None:
        """The handshake went wrong."""
        if not self._ended:
            self._ended = True
            self._owner.refused(self, refusal, error)

    def _refuse(self, refusal: Refusal, error: OSError) -> None:
        """The same, by what has come.  The other side is left the time to read the alert: it closes then, or time is
        up."""
        if refusal == PLAIN:
            self._socket.write(PLAIN_ALERT)  # OpenSSL says nothing to them
        self._fail(error, refusal)
        try:
            self._socket.write_eof()
        except (OSError, RuntimeError):  # it has closed already
            self._socket.abort()

    def _overdue(self) -> None:
        self._timer = None
        self.give_up(LATE)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Owner(Protocol):
    """Who is told what becomes of a layer."""

    def begun(self, layer: Layer) -> None:
        """The socket is connected, and the handshake begins."""

    def heard(self, layer: Layer) -> None:
        """Something has come in its handshake: have it shake hands, now or later."""

    def through(self, layer: Layer) -> None:
        """The handshake went well."""

    def refused(self, layer: Layer, refusal: Refusal | None, error: OSError) -> None:
        """It did not; or it did, and then the other side refused this one.  None: nobody is to blame."""

    def gone(self, layer: Layer) -> None:
        """The socket is closed."""
