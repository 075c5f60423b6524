"""Whether the node's physical clock, and the groups' time, are what people take them for: noted when that changes.

No promise rests on it.  Yet leases, and what is asked of the past, mean what people think only if clocks are right.
"""

from phalanx.group.core import Core
from phalanx.model.clock import MILLISECOND, SECOND

LEAD = 10 * SECOND
"""So far ahead the groups' time is only if clocks were put back.  A restart of all nodes makes a few seconds of it, for
they begin above the ceilings in their logs (`ledger.CEILING_AHEAD`)."""


class _Alarm:
    """That something is so: it is on once that has lasted for a while, and off likewise."""

    def __init__(self) -> None:
        self.on = False
        self._since: int | None = None

    def turns(self, on: bool, now: int, after: int) -> bool:
        """Whether it goes on or off now, of which this is the state of things."""
        if on == self.on:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        if now - self._since < after:
            return False
        self.on, self._since = on, None
        return True


class Clocks:
    """The part of a node that looks at its clock, beside those of the others."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.at = 0
        """When it looks again."""
        self._wrong = _Alarm()
        self._ahead = _Alarm()

    def judge(self) -> None:
        """Note that our clock has come to be wrong, or right, and that the groups' time is ahead, or no more.  Between
        the two there is a gap, so that a clock at the bound is not noted again and again (and time is always a little
        ahead of what some member knows where another's clock is); and if all clocks are set together, it takes a moment
        until all have shown it."""
        core, bound, after = self.core, self.core.timing.max_offset, self.core.timing.suspect_after
        now = core.now.mono
        if not core.active or now < self.at:
            return
        self.at = now + after // 4
        error, lead = core.clock.error(core.now), core.clock.lead(core.now)
        if self._wrong.turns(abs(error) > (bound // 2 if self._wrong.on else bound), now, after):
            if self._wrong.on:
                core.note("clock.wrong", error // MILLISECOND)
            else:
                core.note("clock.right", error // MILLISECOND)
        if self._ahead.turns(lead > (bound // 2 if self._ahead.on else LEAD), now, after):
            if self._ahead.on:
                core.note("time.ahead", lead // MILLISECOND)
            else:
                core.note("time.right")
