"""TLS handshakes under way: of sockets that were accepted, from whoever can reach the port, and of dials.

What strangers can cost is bounded: `HANDSHAKES_MAX` of them at once, of which the *oldest* goes when one more comes, and
`HANDSHAKES_A_TURN` of the processor; each takes at most `HANDSHAKE_S_MAX` and `tls.HANDSHAKE_BYTES_MAX`.
"""

import asyncio
import itertools
from collections.abc import Callable

from phalanx.model.view import Address
from phalanx.runtime.addresses import split_address
from phalanx.runtime.connection import Connection
from phalanx.runtime.credentials import Credentials
from phalanx.runtime.refusals import CROWDED, Refusal
from phalanx.runtime.tls import Above, Layer

HANDSHAKES_MAX = 1_000
"""Accepted connections in their handshake, each some 12 KB besides what it has said.  An honest one is through within
milliseconds, so of too many the oldest are given up: whoever holds them open keeps nobody out."""

HANDSHAKES_A_TURN = 8
"""How many of them go a step on in one turn of the loop.  A step may be a signature, half a millisecond, and anybody may
ask for one; what the node does for those that it knows goes on in between."""


class Arrivals:
    """Accepted sockets that are not through, those included that are only kept until the other side has read why."""

    def __init__(
        self, credentials: Credentials, connection: Callable[[], Connection], tell: Callable[[str, Refusal], None]
    ) -> None:
        """`connection`: makes what is above a layer; `tell`: takes the host that was refused, or refused us, and why."""
        self._credentials = credentials
        self._connection = connection
        self._tell = tell
        self._layers: dict[Layer, None] = {}
        self._due: dict[Layer, None] = {}
        """Those that have something to go on with, in the order in which it came."""

    def __len__(self) -> int:
        return len(self._layers)

    def accept(self) -> Layer:
        """The protocol of the next socket."""
        return Layer(self._connection(), self._credentials.contexts().server, self)

    def close(self) -> None:
        """Cut them all."""
        for layer in list(self._layers):
            layer.abort()

    # --- Owner

    def begun(self, layer: Layer) -> None:
        if len(self._layers) >= HANDSHAKES_MAX:
            oldest = next(iter(self._layers))
            del self._layers[oldest]
            oldest.give_up(CROWDED)
        self._layers[layer] = None

    def heard(self, layer: Layer) -> None:
        if not self._due:
            asyncio.get_running_loop().call_soon(self._turn)
        self._due[layer] = None

    def _turn(self) -> None:
        turn = list(itertools.islice(self._due, HANDSHAKES_A_TURN))
        for layer in turn:
            del self._due[layer]
        if self._due:
            asyncio.get_running_loop().call_soon(self._turn)
        for layer in turn:
            layer.shake_hands()

    def through(self, layer: Layer) -> None:
        self._layers.pop(layer, None)

    def refused(self, layer: Layer, refusal: Refusal | None, error: OSError) -> None:  # noqa: ARG002  the refusal says it
        if refusal is not None:
            name = layer.get_extra_info("peername")
            self._tell(str(name[0]) if name else "a stranger", refusal)

    def gone(self, layer: Layer) -> None:
        self._layers.pop(layer, None)


class Dial:
    """One dial, until its handshake is over."""

    def __init__(self, address: Address, tell: Callable[[Address, Refusal], None]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._address = address
        self._tell = tell

    def begun(self, layer: Layer) -> None:
        pass

    def heard(self, layer: Layer) -> None:
        layer.shake_hands()

    def through(self, layer: Layer) -> None:  # noqa: ARG002  there is one
        if not self.done.done():
            self.done.set_result(None)

    def refused(self, layer: Layer, refusal: Refusal | None, error: OSError) -> None:  # noqa: ARG002  there is one
        if refusal is not None:
            self._tell(self._address, refusal)
        if not self.done.done():
            self.done.set_exception(error)

    def gone(self, layer: Layer) -> None:
        pass


async def dial(
    above: Above,
    credentials: Credentials,
    address: Address,
    place: tuple[str, int],
    tell: Callable[[Address, Refusal], None],
) -> None:
    """Connect to that place, which the address leads to, and shake hands.  Raises OSError, of which ssl.SSLError is one
    kind; `tell` takes the address and why it refused us, or we refused it, now or later."""
    host, _ = split_address(address)
    waiting = Dial(address, tell)
    try:
        layer = Layer(above, credentials.contexts().client, waiting, host)
    except ValueError as error:
        raise OSError(f"{host} cannot be in a certificate: {error}") from None
    try:
        await asyncio.get_running_loop().create_connection(lambda: layer, *place)
        await waiting.done
    except asyncio.CancelledError:
        layer.abort()
        raise
