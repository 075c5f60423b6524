"""To whom a client has a link, and what of that which it sent cannot have got to anybody.  Passive.

What is sent to an address without a link waits for one, or is lost; if nobody listens there it is lost for certain (see
`runtime.contract.Transport`).  So a cluster of which one node is left, and declines, has not done what its dead nodes
were asked meanwhile.
"""

from collections.abc import Mapping

from phalanx.model.view import Address
from phalanx.replication.lane import Request, Work


class Links:
    """Those of one client."""

    def __init__(self) -> None:
        self._up: set[Address] = set()
        self._latest: dict[Address, int] = {}
        """The latest request, to whomever, when a link was lost: what was sent by then may have arrived."""

    def __contains__(self, address: Address) -> bool:
        return address in self._up

    def came(self, address: Address) -> None:
        """There is one."""
        self._up.add(address)

    def went(self, address: Address, latest: int) -> None:
        """There is none any more."""
        if address in self._up:
            self._up.remove(address)
            self._latest[address] = latest

    def refused(self, address: Address, requests: Mapping[int, Request]) -> None:
        """Nobody listens there: what was sent there without a link is not live any more."""
        latest = self._latest.get(address, 0)
        for request, known in requests.items():
            if request > latest and known.endpoint == address and isinstance(known.errand, Work):
                known.errand.live.discard(request)
