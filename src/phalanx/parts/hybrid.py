"""A node's hybrid logical clock, bounded by what the others' clocks say (DESIGN section 5).

It is a Lamport clock, so the order of stamps contains causality; it is near physical time as long as the median of the
members' clocks is.  A node whose clock is wrong stamps at most `max_offset` beyond the median (counter-example 11).
"""

from phalanx.model.clock import MILLISECOND, Instant, Stamp, stamp_of
from phalanx.model.view import Name


class HybridClock:
    __slots__ = ("_walls", "max_offset", "now")

    def __init__(self, max_offset: int) -> None:
        self.max_offset = max_offset
        self.now: Stamp = 0
        """The greatest stamp given, merged or shown."""
        self._walls: dict[Name, int] = {}

    def restart(self, at_least: Stamp) -> None:
        """A new view: go on above everything of the old one."""
        self.now = max(self.now, at_least) + 1

    def watch(self, names: list[Name]) -> None:
        self._walls = {name: self._walls[name] for name in names if name in self._walls}

    def shown(self, name: Name, wall_ms: int, now: Instant) -> None:
        """A member showed its physical clock: keep its offset to our monotonic one, so that it ages with time."""
        self._walls[name] = wall_ms * MILLISECOND - now.mono

    def _limit(self, now: Instant) -> int:
        """Nanoseconds since the epoch that are max_offset beyond the median (the later of two middles)."""
        walls = sorted([now.wall, *(offset + now.mono for offset in self._walls.values())])
        return walls[len(walls) // 2] + self.max_offset

    def read(self, now: Instant) -> Stamp:
        """Advance to physical time, and read: all that is stamped later is later."""
        wall = now.wall if not self._walls else min(now.wall, self._limit(now))
        self.now = max(self.now, stamp_of(wall))
        return self.now

    def tick(self, now: Instant) -> Stamp:
        """A stamp for a new batch: later than everything seen."""
        self.now = self.read(now) + 1
        return self.now

    def merge(self, stamp: Stamp) -> None:
        self.now = max(self.now, stamp)

    def is_ahead(self, stamp: Stamp, now: Instant) -> bool:
        """No correct member gives such a stamp.  Twice the bound, because medians differ a little between members;
        a logical clock may always be near our own, whatever the physical ones say."""
        return stamp > max(stamp_of(self._limit(now) + self.max_offset), self.now + stamp_of(self.max_offset))
