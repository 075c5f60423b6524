"""A transport around another one, through which everything passes: what bad networks are made of."""

from collections.abc import Sequence

from phalanx.model.view import Address
from phalanx.runtime.contract import LinkEvent, Receiver, Transport


class Around:
    """Both a transport, to the driver above, and a receiver, to the transport within.  Subclasses keep things back."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._receiver: Receiver | None = None

    # --- a transport, seen from above ---------------------------------------------------------------------------------

    @property
    def address(self) -> Address:
        """Of the inner one."""
        return self._inner.address

    def start(self, receiver: Receiver) -> None:
        """As the inner one."""
        self._receiver = receiver
        self._inner.start(self)

    def connect(self, address: Address) -> None:
        """As the inner one."""
        self._inner.connect(address)

    def send(self, to: Sequence[Address], body: bytes) -> None:
        """As the inner one."""
        self._inner.send(to, body)

    def flush(self) -> None:
        """As the inner one."""
        self._inner.flush()

    def drop(self, address: Address, reason: str) -> None:
        """As the inner one."""
        self._inner.drop(address, reason)

    async def close(self) -> None:
        """As the inner one."""
        await self._inner.close()

    # --- a receiver, seen from below ----------------------------------------------------------------------------------

    def received(self, source: Address, body: bytes | memoryview) -> None:
        """Hand it on."""
        assert self._receiver is not None
        self._receiver.received(source, body)

    def link(self, event: LinkEvent) -> None:
        """Hand it on."""
        assert self._receiver is not None
        self._receiver.link(event)
