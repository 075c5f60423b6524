"""How long calls took, in bounded memory: counts in buckets that are at most 1/64 wide of their value.

The idea is that of HdrHistogram (Tene): values below 128 have buckets of their own, and every power of two above is
divided into 64.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

SIGNIFICANT_BITS: Final = 7
"""Of a value, the leading ones that its bucket tells: 64 buckets in each power of two."""

_MASK: Final = (1 << SIGNIFICANT_BITS) - 1


class Histogram:
    """Of nanoseconds, or whatever non-negative integers.  `merge` puts several together."""

    def __init__(self, counts: Mapping[int, int] | None = None, most: int = 0) -> None:
        self.counts: Counter[int] = Counter(counts)
        """By bucket; buckets are numbered in the order of their values."""
        self.most = most
        """The largest value, exactly; 0 if there is none."""

    def add(self, value: int) -> None:
        """One more."""
        shift = value.bit_length() - SIGNIFICANT_BITS
        self.counts[value if shift <= 0 else value >> shift | shift << SIGNIFICANT_BITS] += 1
        if value > self.most:
            self.most = value

    def merge(self, other: "Histogram") -> None:
        """Everything of the other too."""
        self.counts += other.counts
        self.most = max(self.most, other.most)

    @property
    def total(self) -> int:
        """How many values."""
        return self.counts.total()

    def percentile(self, share: float) -> int:
        """A value that at least that share of all do not exceed: the end of the bucket of the least such value, so less
        than 1/64 above it.  0 of none."""
        wanted, seen = share * self.total, 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                end = ((bucket & _MASK) + 1 << (bucket >> SIGNIFICANT_BITS)) - 1
                return min(end, self.most)
        return 0
