"""A transport that loses some of what comes, by a seed: what a bad network does to datagrams."""

import random

from phalanx.model.view import Address
from phalanx.runtime.contract import Transport
from phalanx.testing.around import Around


class Lossy(Around):
    """Around another transport, of which each message is lost with the probability `loss`."""

    def __init__(self, inner: Transport, loss: float, seed: int | str) -> None:
        super().__init__(inner)
        self.loss = loss
        self.lost = 0
        """How many were."""
        self._random = random.Random(seed).random

    def received(self, source: Address, body: bytes | memoryview) -> None:
        """A message has come, or is lost."""
        if self._random() < self.loss:
            self.lost += 1
        else:
            super().received(source, body)
