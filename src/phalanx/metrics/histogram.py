"""Durations, counted by how long they were."""

from bisect import bisect_left

from phalanx.model.clock import SECOND

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""One scale for all: an fsync of a good disk is at its lower end, a view change that waits for a lease at its upper."""

_BOUNDS_NS = tuple(int(bound * SECOND) for bound in BOUNDS_S)


class Histogram:
    """See the module's text."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        """Of each bound those up to it and above the one before; last, those above all."""
        self.sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        """One more."""
        self.counts[bisect_left(_BOUNDS_NS, duration_ns)] += 1
        self.sum_ns += duration_ns
