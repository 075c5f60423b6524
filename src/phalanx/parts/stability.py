"""The matrix of rows of one group in one view: who has shown what received, and how late everyone's clock is.

A batch is stable when every full host has shown it received.  A row's clock ("all I send from now on is later") counts
only once the receiver holds the sender's batches up to the row's own last number, so a row never overtakes data
(counter-example 7); that a host has received something is true at once.
"""

from collections.abc import Sequence

from phalanx.model.clock import NEVER, Stamp


class Stability:
    """Indexed by host; `received` is this node's own contiguous receipt, and shared with its row if it is a host."""

    __slots__ = ("_claims", "_durable", "_size", "clocks", "me", "received", "shown")

    def __init__(self, size: int, me: int, *, durable: bool = False) -> None:
        """`me`: this node's index among the hosts, or -1 for a learner, which is not waited for.  `durable`: received
        means on disk, so a batch that has come does not show that its author has it."""
        self._durable = durable
        self._size = size
        self.me = me
        self.received = [0] * size
        self.shown: list[list[int]] = [[0] * size for _ in range(size)]
        if me >= 0:
            self.shown[me] = self.received
        self.clocks: list[Stamp] = [NEVER] * size
        self._claims: list[tuple[int, Stamp]] = [(0, NEVER)] * size

    def receive(self, author: int, number: int, stamp: Stamp) -> None:
        """The author's next batch is here: it shows the author's own row up to itself."""
        self.received[author] = number
        if not self._durable and self.shown[author][author] < number:
            self.shown[author][author] = number
        if self.clocks[author] < stamp:
            self.clocks[author] = stamp
        self._settle_claim(author)

    def show(self, host: int, clock: Stamp, last: int, received: Sequence[int]) -> None:
        """A row of another host.  Rows merge by maximum."""
        row = self.shown[host]
        for author, number in enumerate(received):
            if row[author] < number:
                row[author] = number
        claimed_last, claimed_clock = self._claims[host]
        if clock > claimed_clock:
            self._claims[host] = (max(last, claimed_last), clock)
            self._settle_claim(host)

    def _settle_claim(self, host: int) -> None:
        last, clock = self._claims[host]
        if clock > self.clocks[host] and self.received[host] >= last:
            self.clocks[host] = clock

    def stable(self, author: int) -> int:
        """The author's batches up to this number are at every full host."""
        return min([row[author] for row in self.shown])

    def stable_all(self) -> list[int]:
        return [min(column) for column in zip(*self.shown, strict=True)]

    def frontier(self) -> Stamp:
        """No host sends, or has sent anything that is not here, with a stamp at or below this."""
        return min(self.clocks)
