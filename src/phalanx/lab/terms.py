"""How long the leases of the scenario `store` must last: by right clocks, which no node has (SCENARIOS 26, 34).

A lease may end `SLACK_NS` before its time is over since it was last kept alive, which is counted from when the client
asked; not earlier, whatever views, restarts and clocks that are put back do.  What may end it sooner is the median of the
members' clocks leaping ahead: because a clock did, or because a view has other members, whose clocks differ.  Of each
leap as little counts as the store promises (`services.store.leases`).
"""

from collections.abc import Iterable

from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.view import GroupId, Name
from phalanx.services.store.leases import STEP_MS

SLACK_NS = SECOND
"""A clock may be `max_offset` beyond the median, and one that is behind knows what time it is only from rows."""

REACHES_NS = 3 * SECOND
"""For so long a leap may be news to somebody: rows are lost and links cut, but then there is a new view."""


class Term:
    """Of one lease."""

    def __init__(self, ttl_ns: int, kept: int) -> None:
        self.ttl_ns = ttl_ns
        self.kept = kept
        """When the client asked for what last renewed it for certain."""


class Terms:
    """See the module's text.  Times are the world's."""

    def __init__(self) -> None:
        self._terms: dict[int, Term] = {}
        self._offsets: dict[Name, int] = {}
        self._view = -1
        self._leaps: list[int] = []
        self._seen: dict[tuple[Name, int, GroupId], tuple[int, frozenset[int]]] = {}

    def granted(self, lease: int, ttl_ns: int, asked: int) -> None:
        self._terms[lease] = Term(ttl_ns, asked)

    def kept(self, lease: int, asked: int) -> None:
        if lease in self._terms:
            self._terms[lease].kept = max(asked, self._terms[lease].kept)

    def revoked(self, lease: int) -> None:
        """Somebody asked for that: it may end at any time."""
        self._terms.pop(lease, None)

    def clock(self, now: int, name: Name, offset_ns: int, view: int) -> None:
        """A node has made a step, with its clock that far from the right time, in that view (-1: in none)."""
        before = self._offsets.get(name, 0)
        self._offsets[name] = offset_ns
        news = view > self._view and len(set(self._offsets.values())) > 1
        self._view = max(self._view, view)
        if offset_ns > before or news:
            self._leaps.append(now)

    def look(self, now: int, place: tuple[Name, int, GroupId], position: int, leases: Iterable[int]) -> str | None:
        """The replica there has these leases now.  What is wrong with that."""
        at, before = self._seen.get(place, (0, frozenset[int]()))
        there = frozenset(leases)
        self._seen[place] = position, there
        if position < at:
            return None  # it takes up an older state that it has
        for lease in sorted(before - there):
            term = self._terms.get(lease)
            if term is not None and now - term.kept < (least := self.least(term, now)):
                ttl, lasted, must = term.ttl_ns / SECOND, (now - term.kept) / SECOND, least / SECOND
                return f"early: lease {lease} of {ttl:.0f} s ended after {lasted:.3f} s, and must last {must:.3f} s"
        return None

    def least(self, term: Term, now: int) -> int:
        """How long it must last, if it ends now."""
        left = term.ttl_ns
        for at in self._leaps:
            if term.kept - REACHES_NS <= at <= now:
                left -= max(STEP_MS * MILLISECOND, left // 3)
        return left - SLACK_NS
