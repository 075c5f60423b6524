"""How long each peer has been silent, and how long is too long (DESIGN section 7).

The limit adapts: twice the longest recent gap, but not below `limit` and not above twice that.  Recent fades: each
message forgets two percent of the longest gap.  A pause of our own must not be held against the others.
"""

from collections.abc import Iterable
from typing import Final

from phalanx.model.view import Name

_FADE: Final = 0.98


class Silence:
    """Monotonic nanoseconds throughout."""

    __slots__ = ("_gap", "_heard", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._heard: dict[Name, int] = {}
        self._gap: dict[Name, float] = {}

    def watch(self, names: Iterable[Name], now: int) -> None:
        """Watch exactly these, from now on: all of them count as heard now."""
        self._heard = dict.fromkeys(names, now)
        self._gap = {name: self._gap.get(name, 0.0) for name in self._heard}

    def heard(self, name: Name, now: int) -> None:
        """Something came from it.  Ignored if it is not watched."""
        last = self._heard.get(name)
        if last is not None:
            gap, faded = now - last, self._gap[name] * _FADE
            self._gap[name] = gap if gap > faded else faded
            self._heard[name] = now

    def excuse(self, pause: int) -> None:
        """We were paused that long: the others could not be heard."""
        for name in self._heard:
            self._heard[name] += pause

    def overdue_at(self, name: Name) -> int:
        """When the silence becomes too long, if nothing is heard until then."""
        patience = min(max(self.limit, 2 * self._gap[name]), 2 * self.limit)
        return self._heard[name] + int(patience)

    def is_silent(self, name: Name, now: int) -> bool:
        return name in self._heard and now >= self.overdue_at(name)

    def last_heard(self, name: Name) -> int | None:
        return self._heard.get(name)
