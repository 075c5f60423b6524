"""A node's hybrid logical clock, bounded by what the others' clocks say (DESIGN section 5).

It is a Lamport clock, so the order of stamps contains causality; it is near physical time as long as the median of the
members' clocks is.  A node whose clock is wrong stamps at most `max_offset` beyond the median (counter-example 11).

If most clocks were ahead and are put right, stamps are beyond what anybody may give now, and they cannot go back.  Until
the clocks have caught up, stamps grow at half the rate of monotonic time: what waits for a time (leases, due dates) takes
up to twice as long, and the difference shrinks as fast.  Each node draws its line from the greatest stamp that it knew at
some moment, so all of them together are no faster than one.
"""

from collections.abc import Iterable

from phalanx.model.clock import COUNTER_BITS, MILLISECOND, SECOND, Instant, Stamp, stamp_of, wall_ms
from phalanx.model.view import Name

INSISTS_NS = SECOND
"""A stamp that is ahead and still comes after so long was right when it was given: most clocks were ahead for a moment,
and we did not hear of it, or the members' clocks are not known here as they are there.  What is refused for ever would
stop its group, and no view change helps two members, of whom each hears the other."""

FORGOTTEN_NS = 10 * INSISTS_NS
"""So long after the last refusal another one is another matter."""


class HybridClock:
    """See the module's text.  Stamps are `model.clock.Stamp`; wall clocks come as milliseconds since the epoch."""

    __slots__ = (
        "_counts",
        "_members",
        "_offsets",
        "_others",
        "_refused",
        "_refused_again",
        "_refused_at",
        "_slewed_at",
        "_slewed_from",
        "_walls",
        "max_offset",
        "now",
    )

    def __init__(self, max_offset: int) -> None:
        self.max_offset = max_offset
        self.now: Stamp = 0
        """The greatest stamp given, merged or shown."""
        self._members = 1
        self._counts = 0
        """1 if our own clock is one of the members'; 0 for a learner, and as long as we are in no view: then it may be
        the wrong one, and nobody else counts it."""
        self._others: frozenset[Name] = frozenset()
        self._walls: dict[Name, int] = {}
        """Of the other members whose clock was shown: its offset to our monotonic one, so that it ages with time."""
        self._offsets: list[int] = []
        """The same in ascending order."""
        self._slewed_from: Stamp = -1
        """The stamp at which the line of half the rate begins, and when that was read; -1: there is none."""
        self._slewed_at = 0
        self._refused: Stamp = -1
        """The least stamp that is refused, when that began, and when one was refused last; -1: none was."""
        self._refused_at = self._refused_again = 0

    def restart(self, at_least: Stamp) -> None:
        """A new view: go on above everything of the old one."""
        self.now = max(self.now, at_least) + 1

    def watch(self, members: Iterable[Name], me: Name) -> None:
        """The full members of the view, whose median counts."""
        names = set(members)
        self._members, self._counts = len(names), int(me in names)
        self._others = frozenset(names - {me})
        self._walls = {name: wall for name, wall in self._walls.items() if name in names}
        self._offsets = sorted(self._walls.values())

    def shown(self, name: Name, wall_ms: int, now: Instant) -> None:
        """A member showed its physical clock."""
        if name in self._others:
            self._walls[name] = wall_ms * MILLISECOND - now.mono
            self._offsets = sorted(self._walls.values())

    @property
    def knows_median(self) -> bool:
        """The clocks of more than half of the members are known, ours included if it is one of them.  Until then nothing
        may be stamped: ours may be the wrong one."""
        return 2 * (len(self._walls) + self._counts) > self._members

    def _limit(self, now: Instant) -> int:
        """Nanoseconds since the epoch that are max_offset beyond the median (of two middles, the earlier).  Clocks that
        are not known yet count as behind, lest those that are be the wrong ones."""
        offsets, later = self._offsets, self._members // 2  # so many are later than the median
        place = len(offsets) - later
        if not self._counts:
            return offsets[place - 1] + now.mono + self.max_offset
        median = now.wall - now.mono
        if later > 0 and offsets[place] < median:
            median = offsets[place]
        elif place > 0 and offsets[place - 1] > median:
            median = offsets[place - 1]
        return median + now.mono + self.max_offset

    def read(self, now: Instant) -> Stamp:
        """Advance to physical time, as far as the median allows, or slowly if we are beyond that, and read: all that is
        stamped later is later."""
        ours, wall = self.now >> COUNTER_BITS, now.wall
        if wall // MILLISECOND <= ours <= (wall + self.max_offset) // MILLISECOND or not self.knows_median:
            return self.now
        limit = self._limit(now)
        if stamp_of(limit) < self.now:
            self._slew(now)
        else:
            self.now = max(self.now, stamp_of(min(now.wall, limit)))
        return self.now

    def _slew(self, now: Instant) -> None:
        """Follow the line of half the rate; what others have stamped beyond it, or ourselves, begins a new one."""
        elapsed = now.mono - self._slewed_at
        line = self._slewed_from + (elapsed << COUNTER_BITS) // (2 * MILLISECOND)
        if 0 <= self._slewed_from <= self.now <= line:
            self.now = line
        else:
            self._slewed_from, self._slewed_at = self.now, now.mono

    def lead(self, now: Instant) -> int:
        """By how many nanoseconds the clock is beyond what anybody may stamp: 0, unless clocks were put back, or it began
        above what a log had reserved."""
        return max(0, wall_ms(self.now) * MILLISECOND - self._limit(now)) if self.knows_median else 0

    def error(self, now: Instant) -> int:
        """By how many nanoseconds our physical clock is ahead of the median (behind it, if negative)."""
        return now.wall - (self._limit(now) - self.max_offset) if self.knows_median else 0

    def tick(self, now: Instant) -> Stamp:
        """A stamp for a new batch: later than everything seen."""
        assert self.knows_median, "nobody stamps before it knows what time the others have"
        self.now = self.read(now) + 1
        return self.now

    def merge(self, stamp: Stamp) -> None:
        self.now = max(self.now, stamp)

    def is_ahead(self, stamp: Stamp, now: Instant) -> bool:
        """By what is known here no correct member gives such a stamp; who insists on it knows better (`INSISTS_NS`).
        Twice the bound, because medians differ a little between members; a logical clock may always be near our own,
        whatever the physical ones say."""
        if stamp <= self.now + stamp_of(self.max_offset) or not self.knows_median:
            return False
        if stamp <= self.read(now) + stamp_of(self.max_offset):
            return False
        if stamp <= stamp_of(self._limit(now) + self.max_offset):
            return False
        if not 0 <= self._refused <= stamp or now.mono - self._refused_again > FORGOTTEN_NS:
            self._refused, self._refused_at = stamp, now.mono
        self._refused_again = now.mono
        return now.mono - self._refused_at < INSISTS_NS
