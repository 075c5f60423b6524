"""How long a member that was demoted waits for its promotion (DESIGN section 4).  Passive.

Each demotion of one incarnation doubles the wait; one that comes soon after a promotion makes it four times as long,
since a member that is slow again and again costs all others a lag and two view changes each time.  Every member keeps the
same account from the same views, so a new coordinator goes on with it; a new incarnation begins with none.
"""

from phalanx.group.config import Timing
from phalanx.model.view import Member, View

LEVEL_MAX = 5
"""The longest wait: 32 times `Timing.penalty`."""

SOON = 10
"""Demoted again within so many `Timing.penalty` of a promotion is soon."""

FORGIVEN = 60
"""A wait that ended longer ago than so many `Timing.penalty` does not count any more."""


class Probation:
    """The account of the members and learners of the present view: no more entries than it has."""

    def __init__(self, timing: Timing) -> None:
        self._penalty = timing.penalty
        self._terms: dict[Member, tuple[int, int]] = {}
        """By incarnation: the level of its last wait, and the end of it."""
        self._promoted: dict[Member, int] = {}

    def changed(self, old: View, new: View, now: int) -> None:
        """A view was installed after another."""
        there = set(new.everyone)
        self._terms = {member: term for member, term in self._terms.items() if member in there}
        self._promoted = {member: at for member, at in self._promoted.items() if member in there}
        for member in new.members:
            if member in old.learners:
                self._promoted[member] = now
        for member in new.learners:
            if member in old.members:
                level = self._level(member, now)
                self._terms[member] = (level, now + (self._penalty << level))

    def _level(self, member: Member, now: int) -> int:
        last = self._terms.get(member)
        if last is None or now - last[1] >= FORGIVEN * self._penalty:
            return 0
        soon = now - self._promoted.get(member, last[1]) < SOON * self._penalty
        return min(LEVEL_MAX, last[0] + (2 if soon else 1))

    def until(self, member: Member) -> int:
        """When its wait is over; 0 if it has none."""
        return self._terms.get(member, (0, 0))[1]

    def ends(self) -> list[int]:
        """When the waits end."""
        return [until for _, until in self._terms.values()]
