"""How long a process that was put out waits before it asks to be let in again.  Passive.

Whoever is put out soon after it was let in, again and again, has too little processor time, or a link that comes and
goes.  Each return costs the others several view changes, and perhaps a state: a new incarnation has no account of
demotions (group/probation.py).  The first two returns are at once; then the wait doubles each time, until it has stayed.

A process that is in no view is in no quorum, so nobody waits for its vote.  Where its log, its disk or one more copy is
wanted, or its vote counts after all, it does not wait (`is_wanted`).
"""

from collections.abc import Collection

from phalanx.group.config import Timing
from phalanx.group.probation import LEVEL_MAX
from phalanx.model.view import Name, View

FREE = 2
"""So many returns are at once."""

STAYED = 10
"""Whoever has been in for so many `Timing.penalty` has stayed: nothing counts that was before."""


class Backoff:
    """The account of one node, over its incarnations in one process."""

    def __init__(self, timing: Timing) -> None:
        self._penalty = timing.penalty
        self._times = 0
        self._let_in_at: int | None = None

    def is_in(self, now: int) -> None:
        """The node is in a view."""
        if self._let_in_at is None:
            self._let_in_at = now

    def put_out(self, now: int) -> int:
        """It is in none any more.  Returns when it is to ask again."""
        if self._let_in_at is not None and now - self._let_in_at >= STAYED * self._penalty:
            self._times = 0
        self._let_in_at = None
        self._times += 1
        if self._times <= FREE:
            return now
        return now + (self._penalty << min(LEVEL_MAX, self._times - FREE - 1))


def is_wanted(view: View | None, name: Name, hosted: Collection[str]) -> bool:
    """Whether whoever was put out by that view should return at once: it is in the view, and its next life votes for it
    or is waited for; or there is but one member, or one host of a group that it has hosted, whose failure would be the
    end; or a durable group waits for logs, or has too few hosts to take writes."""
    if view is None or view.named(name) is not None or view.suspended or len(view.members) < 2:
        return True
    return any(len(g.hosts) < max(2, g.spec.min_copies) for g in view.groups if g.spec.name in hosted)
