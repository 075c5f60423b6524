"""The log's lines about connections that were dropped.  Whoever can reach the port can have them written, so a port scan,
or a probe that goes on for a year, must not fill a disk; and what else is wrong must still be found among them."""

import asyncio
import logging
import re
from typing import Final

log = logging.getLogger(__name__)

LINES_A_SECOND: Final = 20
"""Drops that have a line of their own, in one second ..."""

LINES_MAX: Final = 100
"""... and at once, before a storm is only summed up; one more in each `SUMMARY_S`."""

SUMMARY_S: Final = 10.0
"""Of all others there is one line so often."""

KINDS_MAX: Final = 8
"""Of so many kinds the summary has an example; the rest is one kind."""

EXAMPLE_MAX: Final = 200
"""Characters of one."""

_NUMBER = re.compile(r"\d+")


class DropLog:
    """Logs why connections were dropped: one by one at first, in sums while it goes on."""

    def __init__(self) -> None:
        self._second = 0
        self._lines = 0
        """In this second."""
        self._left = float(LINES_MAX)
        self._at = 0.0
        """When that was so many."""
        self._untold: dict[str, tuple[int, str]] = {}
        """By kind, how many had no line, and the last of them."""
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, who: str, reason: str) -> None:
        """One was dropped."""
        now = asyncio.get_running_loop().time()
        self._left = min(LINES_MAX, self._left + (now - self._at) / SUMMARY_S)
        self._at = now
        if int(now) != self._second:
            self._second, self._lines = int(now), 0
        if self._lines < LINES_A_SECOND and self._left >= 1:
            self._lines += 1
            self._left -= 1
            log.warning("dropped the connection of %s: %s", who, reason)
        else:
            self._count(who, reason)

    def _count(self, who: str, reason: str) -> None:
        kind = _NUMBER.sub("", reason.partition(": ")[0])
        if kind not in self._untold and len(self._untold) >= KINDS_MAX:
            kind = ""
        count, _ = self._untold.get(kind, (0, ""))
        self._untold[kind] = count + 1, f"{who}: {reason}"
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SUMMARY_S, self.sum_up)

    def sum_up(self) -> None:
        """Tell of those that had no line, if there are any."""
        untold, self._untold = self._untold, {}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if untold:
            most = sorted(untold.values(), key=lambda each: -each[0])
            examples = "; ".join(f"{count} such as that of {last[:EXAMPLE_MAX]}" for count, last in most)
            log.warning("dropped %d more connections: %s", sum(count for count, _ in most), examples)
