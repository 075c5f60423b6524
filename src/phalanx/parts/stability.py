"""The matrix of rows of one group in one view: who has shown what received, and how late everyone's clock is.

A batch is stable when every full host has shown it received.  A row's clock ("all I send from now on is later") counts
only once the receiver holds the sender's batches up to the row's own last number, so a row never overtakes data
(counter-example 7); that a host has received something is true at once.
"""

from collections.abc import Sequence

from phalanx.model.clock import NEVER, Stamp


class Stability:
    """Indexed by host; `received` is this node's own contiguous receipt, and shared with its row if it is a host."""

    __slots__ = ("_claims", "_durable", "_stable", "clocks", "me", "received", "shown")

    def __init__(self, size: int, me: int, *, durable: bool = False) -> None:
        """`me`: this node's index among the hosts, or -1 for a learner, which is not waited for.  `durable`: received
        means on disk, so a batch that has come does not show that its author has it."""
        self._durable = durable
        self.me = me
        self.received = [0] * size
        self.shown: list[list[int]] = [[0] * size for _ in range(size)]
        if me >= 0:
            self.shown[me] = self.received
        self.clocks: list[Stamp] = [NEVER] * size
        self._claims: list[tuple[int, Stamp]] = [(0, NEVER)] * size
        self._stable = [0] * size
        """Of each author, the least number that a row shows: kept up with every change of one."""

    def receive(self, author: int, number: int, stamp: Stamp) -> None:
        """The author's next batch is here: it shows the author's own row up to itself."""
        self._hold(author, number)
        if not self._durable:
            self._raise(self.shown[author], author, number)
        if self.clocks[author] < stamp:
            self.clocks[author] = stamp
        self._settle_claim(author)

    def cover(self, author: int, number: int) -> None:
        """A snapshot has the author's batches up to that number."""
        if self.received[author] < number:
            self._hold(author, number)

    def _hold(self, author: int, number: int) -> None:
        if self.me >= 0:
            self._raise(self.received, author, number)
        self.received[author] = number

    def _raise(self, row: list[int], author: int, number: int) -> None:
        """That row shows more of the author's batches, if it did not already."""
        before = row[author]
        if before < number:
            row[author] = number
            if before == self._stable[author]:
                least = number
                for shown in self.shown:
                    least = min(least, shown[author])
                self._stable[author] = least

    def show(self, host: int, clock: Stamp, last: int, received: Sequence[int]) -> None:
        """A row of another host.  Rows merge by maximum."""
        row = self.shown[host]
        for author, number in enumerate(received):
            if row[author] < number:
                self._raise(row, author, number)
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
        return self._stable[author]

    def stable_all(self) -> Sequence[int]:
        """The same of every author."""
        return self._stable

    def frontier(self) -> Stamp:
        """No host sends, or has sent anything that is not here, with a stamp at or below this."""
        least = self.clocks[0]
        for clock in self.clocks:
            if clock < least:
                least = clock
        return least
