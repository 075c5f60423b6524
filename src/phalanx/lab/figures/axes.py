"""Where a value lies on an axis, and which values are written beside it."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Axis(NamedTuple):
    """From `low` to `high`; of powers of ten if `log`."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        if self.log:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)


def axis_of(values: Sequence[float], *, log: bool = False) -> Axis:
    """An axis with round ends on which all the values are; those of an axis of powers must be positive."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        last = max(last, first + 1)
        stride = max(1, (last - first) // 6)
        return Axis(10.0**first, 10.0**last, True, tuple((10.0**p, _power(p)) for p in range(first, last + 1, stride)))
    if low == high:
        low, high = (0.0, high) if high > 0 else (low, low + 1)
    step = _round_up((high - low) / 8)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(first * step, last * step, False, tuple((n * step, f"{n * step:.6g}") for n in range(first, last + 1)))


def _power(exponent: int) -> str:
    """In full as long as it fits beside the axis."""
    return f"{10**exponent:,}" if 0 <= exponent <= 4 else f"1e{exponent}" if exponent else "1"


def _round_up(step: float) -> float:
    """The least of 1, 2, 5, 10, ... times a power of ten that is no smaller."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
