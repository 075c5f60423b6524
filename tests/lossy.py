"""A transport that loses some of what comes, by a seed: what a bad network does to datagrams."""

import random
from collections.abc import Sequence

from phalanx.model.view import Address
from phalanx.runtime.contract import LinkEvent, Receiver, Transport


class Lossy:
    """Around another transport, of which each message is lost with the probability `loss`."""

    def __init__(self, inner: Transport, loss: float, seed: int | str) -> None:
        self.loss = loss
        self.lost = 0
        """How many were."""
        self._inner = inner
        self._random = random.Random(seed).random
        self._receiver: Receiver | None = None

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

    # --- its receiver, seen from below --------------------------------------------------------------------------------

    def received(self, source: Address, body: bytes | memoryview) -> None:
        """A message has come, or is lost."""
        assert self._receiver is not None
        if self._random() < self.loss:
            self.lost += 1
        else:
            self._receiver.received(source, body)

    def link(self, event: LinkEvent) -> None:
        """As the inner one."""
        assert self._receiver is not None
        self._receiver.link(event)
