"""Time as a value: what a driver passes in, and the hybrid logical clock that orders batches.

Source: Kulkarni et al., "Logical Physical Clocks" (2014); Lamport, "Time, Clocks, and the Ordering of Events" (1978).
"""

from typing import Final, NamedTuple

MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000

COUNTER_BITS: Final = 16
"""Low bits of a `Stamp`: the logical counter. It carries into the milliseconds, so it cannot overflow."""

Stamp = int
"""A reading of a hybrid logical clock: milliseconds since the epoch << COUNTER_BITS | counter.  64 bits."""

NEVER: Stamp = 0
"""Below every stamp that is ever given to a batch."""


class Instant(NamedTuple):
    """One reading of a node's clocks, in integer nanoseconds, made by the driver after it has taken the events."""

    mono: int
    """Monotonic time since some fixed point of this node.  It never jumps and goes on while the machine sleeps."""
    wall: int
    """What the node believes to be the time since the epoch.  It may be wrong and may jump."""


def stamp_of(wall_ns: int) -> Stamp:
    """The least stamp of the millisecond that contains `wall_ns`."""
    return max(0, wall_ns // MILLISECOND) << COUNTER_BITS


def wall_ms(stamp: Stamp) -> int:
    """The milliseconds since the epoch that a stamp carries."""
    return stamp >> COUNTER_BITS
