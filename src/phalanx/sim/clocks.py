"""A node's two clocks, as functions of the world's time."""

from phalanx.model.clock import SECOND, Instant

EPOCH_NS = 1_700_000_000 * SECOND
"""Wall time of a right clock when the world begins."""

_MILLION = 1_000_000


class Clocks:
    """Monotonic time runs at its own rate and never jumps while the process lives; wall time is the world's plus an
    offset that may jump."""

    __slots__ = ("_since", "_start", "offset_ns", "rate_ppm")

    def __init__(self) -> None:
        self._since = 0
        self._start = 0
        self.rate_ppm = 0
        self.offset_ns = 0

    def reboot(self, world_ns: int, mono_ns: int) -> None:
        """Monotonic time starts anew, at any reading: it means nothing outside one life of a process."""
        self._since, self._start = world_ns, mono_ns

    def set_rate(self, world_ns: int, rate_ppm: int) -> None:
        """From now on monotonic time gains (or, if negative, loses) that many microseconds in each second."""
        if rate_ppm <= -_MILLION:
            raise ValueError(f"a clock cannot run backwards: {rate_ppm} ppm")
        self._since, self._start = world_ns, self.mono(world_ns)
        self.rate_ppm = rate_ppm

    def mono(self, world_ns: int) -> int:
        elapsed = world_ns - self._since
        return self._start + (elapsed + elapsed * self.rate_ppm // _MILLION if self.rate_ppm else elapsed)

    def read(self, world_ns: int) -> Instant:
        return Instant(self.mono(world_ns), EPOCH_NS + world_ns + self.offset_ns)

    def when(self, mono_ns: int) -> int:
        """The first moment of the world at which monotonic time has reached that reading."""
        ahead = mono_ns - self._start
        if self.rate_ppm:
            ahead = -(-ahead * _MILLION // (_MILLION + self.rate_ppm))
        return self._since + ahead
