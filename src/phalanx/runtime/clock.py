"""The clocks of a real node."""

import time
from collections.abc import Callable

from phalanx.model.clock import Instant

Clock = Callable[[], Instant]

_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""CLOCK_MONOTONIC stands still while a Linux machine is suspended: a lease would outlive its time."""


def system_clock() -> Instant:
    """Read the clocks now.  `mono` goes on during suspension where the system has such a clock."""
    return Instant(time.clock_gettime_ns(_MONOTONIC), time.time_ns())
