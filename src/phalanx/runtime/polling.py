"""Busy polling: a loop that expects news soon looks for it instead of going to sleep.

Who sleeps is woken by an interrupt of a core that sleeps as well.  On a virtual machine that takes 20 to 40 us, and on
the path of one write it happens four times, which is as long as all the work.  So after a turn the loop keeps asking the
kernel for a moment, and gives the core away between two questions to whoever wants it (`sched_yield`): several nodes can
share a core and all poll.

This pays only where news come within that moment, and where no one else needs the core:

- *Gaps.*  Each that is short is a reason to poll after the next turns, each that is long one against it, so at most as
  many polls are in vain as there were short gaps.  A node at rest, or one whose peers are far away, never polls.
- *A crowded core.*  Who gives it away while others compute comes back a slice later, milliseconds; a sleeper is let in
  sooner.  So when that happens the loop sleeps as usual for a while, twice as long each time, up to a second.
- *A quota.*  Who may use half a core, as in many containers, and has used it up by polling, stands still for the rest of
  a period, tens of milliseconds.  After such a time the loop sleeps as usual for ten times as long; where that happens
  again soon, for twice as long each time, up to a thousand times.

The same idea below sockets, in guests and in hosts: Linux's `SO_BUSY_POLL`, cpuidle-haltpoll, KVM's `halt_poll_ns`.
"""

import os
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Final

from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND

REASONS_MAX: Final = 8
"""How many short gaps are remembered: so many long ones in a row end the polling."""

CROWDED: Final = 500 * MICROSECOND
"""Nanoseconds away from the core that say that others compute there; a turn of a neighbour that polls as well is a fifth
of that."""

STOPPED: Final = 10 * MILLISECOND
"""Nanoseconds away that are more than another's slice: the process was stopped, for want of quota it may be, or something
else on this loop took as long, and a loop that is so busy need not be kept awake."""

PERIOD_MAX: Final = 1 * SECOND
"""The longest period of a quota: who stands still for longer was paused, and that says nothing of what comes."""

QUIET_MIN: Final = 10 * MILLISECOND
QUIET_MAX: Final = 1 * SECOND

_give_away: Callable[[], object] = getattr(os, "sched_yield", lambda: time.sleep(0))


class BusyPoll:
    """Keeps `loop` awake for up to `moment` nanoseconds after a turn, while that pays.  All on the loop's thread."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        moment: int,
        clock: Callable[[], int] = time.monotonic_ns,
        give_away: Callable[[], object] = _give_away,
    ) -> None:
        self._loop = loop
        self._moment = moment
        self._clock = clock
        self._give_away = give_away
        self._reasons = 0
        self._news = False
        """Something came since the last look: its turn is due, or over."""
        self._asked = 0
        """When the last look was over: then, or after the turn that followed, the loop began to ask the kernel."""
        self._ended = clock()
        """When the last turn did."""
        self._looking = False
        """A look is due on the loop."""
        self._quiet_until = 0
        self._quiet = QUIET_MIN
        self._stopped = False

    def due(self) -> None:
        """Something has come: a turn is due on the loop."""
        self._news = True

    def begun(self) -> None:
        """A turn begins: the gap before it is over."""
        if self._clock() - self._ended <= self._moment:
            if self._reasons < REASONS_MAX:
                self._reasons += 1
        elif self._reasons:
            self._reasons -= 1

    def ended(self) -> None:
        """The turn is over, and the loop would sleep."""
        self._ended = self._clock()
        if self._reasons and not self._looking and not self._stopped and self._ended >= self._quiet_until:
            self._looking = True
            self._news = False
            self._loop.call_soon(self._look)

    def waits(self) -> None:
        """Something has come that makes no turn of its own: what follows it is expected as after one."""
        self.due()
        self.begun()
        self.ended()

    def stop(self) -> None:
        """For good."""
        self._stopped = True

    def _look(self) -> None:
        """The loop has asked the kernel once since the last look, and did not wait, since this was due."""
        now = self._clock()
        away = now - max(self._asked, self._ended)
        if away >= STOPPED and not self._news:
            self._hush(now, away)
            return
        if self._stopped or not self._reasons or now - self._ended >= self._moment:
            self._looking = False
            return
        self._asked = now
        if not self._news:
            self._give_away()
            self._asked = self._clock()
            if self._asked - now >= CROWDED:
                self._hush(self._asked, self._asked - now)
                return
        self._news = False
        self._loop.call_soon(self._look)

    def _hush(self, now: int, away: int) -> None:
        """Others need the core, or we may not use it: sleep as usual for a while."""
        away = min(away, PERIOD_MAX)
        least, most = (QUIET_MIN, QUIET_MAX) if away < STOPPED else (10 * away, 1000 * away)
        again = now - self._quiet_until < 4 * self._quiet
        self._quiet = max(least, min(2 * self._quiet, most)) if again else least
        self._quiet_until = now + self._quiet
        self._looking = False
