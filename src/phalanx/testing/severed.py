"""A transport that can be cut off from single peers, without telling it: what a partition does to one node."""

from collections.abc import Sequence

from phalanx.model.machine import Refused
from phalanx.model.view import Address
from phalanx.runtime.contract import LinkEvent, Transport
from phalanx.testing.around import Around


class Severable(Around):
    """Around another transport.  Whatever is sent to a peer that is cut off, or comes from it, is lost, and so is the
    evidence that it is gone; what became of the connection is told once the cut has healed."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self._cut: dict[Address, list[LinkEvent]] = {}

    def cut(self, address: Address) -> None:
        """Lose everything to and from that peer."""
        self._cut.setdefault(address, [])

    def heal(self, address: Address) -> None:
        """Undo `cut`."""
        for event in self._cut.pop(address, []):
            super().link(event)

    def send(self, to: Sequence[Address], body: bytes) -> None:
        """To those that are not cut off."""
        super().send([address for address in to if address not in self._cut] if self._cut else to, body)

    def received(self, source: Address, body: bytes | memoryview) -> None:
        """Unless the source is cut off."""
        if source not in self._cut:
            super().received(source, body)

    def link(self, event: LinkEvent) -> None:
        """At once, or once it has healed.  Connections come and go in turn, so the last one or two say all; refusals come
        again."""
        held = self._cut.get(event.address)
        if held is None:
            super().link(event)
        elif not isinstance(event, Refused):
            held.append(event)
            if len(held) > 2:
                held[:] = held[2:]
