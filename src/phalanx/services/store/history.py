"""The retained changes: all of them in order, which watches read, and those of each key, which tell what it was.

What is forgotten cannot be asked for from then on; its memory is freed a few changes at a time, with every change that
follows, since a hundred thousand at once would hold up all writes for a tenth of a second.  Nothing that is answered
depends on how far that is.

Passive.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import attrgetter

from msgspec.structs import replace

from phalanx.services.store import limits
from phalanx.services.store.shards import MARK_MAX, Shards
from phalanx.services.store.values import Event, Versioned, position_of

TRIM = 4_096
"""Freed entries that the list of changes carries along before it is cut."""

SWEEP = 64
"""Forgotten changes that are freed at the end of each revision ..."""

SWEEP_EACH = 2
"""... and with each change in it: more than comes anew, however many keys a revision changes."""

_revision = attrgetter("revision")
_time = attrgetter("time_ms")

_FREED = Event(b"", 0, 0, 0, None, None)


class History:
    """See the module's text."""

    def __init__(self) -> None:
        self.bytes = 0
        """Keys and superseded values."""
        self.sum = 0
        """Of the marks of all changes."""
        self._log: list[Event] = []
        self._marks: list[int] = []
        """Of each, what it adds to the sum: that is asked for when it comes and when it goes."""
        self._weights: list[int] = []
        """The same of its bytes."""
        self._floor = 0
        """So many at the beginning are forgotten ..."""
        self._freed = 0
        """... and so many of them are freed."""
        self._of: Shards[Event | list[Event]] = Shards()
        """By key, what is not freed.  A list only of several: the garbage collector counts and looks through lists, and
        most keys change once."""

    def add(self, event: Event, key: bytes, mark: int, event_mark: int, weight: int) -> None:
        """The next change, and of it: its key, the mark of that, what it adds to the sum, and the bytes of the key and of
        the value that it supersedes."""
        self._log.append(event)
        self._marks.append(event_mark)
        self._weights.append(weight)
        self.bytes += weight
        self.sum = (self.sum + event_mark) & MARK_MAX
        changes = self._of.shard(mark)
        known = changes.get(key)
        if known is None:
            self._of[key] = event
        elif isinstance(known, list):
            known.append(event)
        else:
            changes[key] = [known, event]
        if self._freed < self._floor:
            self._sweep(SWEEP_EACH)

    # --- reads ----------------------------------------------------------------------------------------------------

    def of(self, key: bytes) -> list[Event]:
        """The changes of a key, oldest first, some of which may be forgotten."""
        known = self._of.get(key)
        if isinstance(known, list):
            return known.copy()
        return [known] if known is not None else []

    def last_of(self, key: bytes) -> Event | None:
        """The last change of a key."""
        known = self._of.get(key)
        return known[-1] if isinstance(known, list) else known

    def keys(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """Keys that have changed, some of which only in what is forgotten, from `start` up to but without `end`."""
        return self._of.keys(start, end)

    def at(self, key: bytes, revision: int, present: Versioned | None) -> Versioned | None:
        """What the key was at a revision that is not forgotten.  `present`: what it is."""
        known = self._of.get(key)
        if known is None:
            return present
        if not isinstance(known, list):
            return known.item if known.revision <= revision else known.previous
        after = bisect_right(known, revision, key=_revision)
        return known[after - 1].item if after else known[0].previous

    def revision_at(self, time_ms: int) -> int | None:
        """The last revision with changes that were not ordered after that time; None if all were."""
        at = bisect_right(self._log, time_ms, lo=self._floor, key=_time)
        return self._log[at - 1].revision if at > self._floor else None

    def after(self, position: int) -> Iterator[Event]:
        """The changes beyond that position of a watch, in order."""
        for n in range(bisect_left(self._log, position + 1, lo=self._floor, key=position_of), len(self._log)):
            yield self._log[n]

    def copy(self) -> list[Event]:
        """All of them, in order."""
        return self._log[self._floor :]

    # --- forgetting -----------------------------------------------------------------------------------------------

    def forget_below(self, revision: int) -> None:
        """Forget the changes of earlier revisions."""
        self._forget(bisect_left(self._log, revision, lo=self._floor, key=_revision))

    def shed(self, oldest_ms: int) -> int:
        """Forget what is older than that time, or beyond the limits; whole revisions, and not the last.  The least
        revision that is left, if that changed; else 0."""
        log, floor = self._log, self._floor
        count = len(log) - floor
        fits = count <= limits.HISTORY_EVENTS_MAX and self.bytes <= limits.HISTORY_BYTES_MAX
        if not count or (fits and log[floor].time_ms >= oldest_ms):
            if self._freed < floor:
                self._sweep(SWEEP)
            return 0
        at = max(floor, len(log) - limits.HISTORY_EVENTS_MAX)
        if log[floor].time_ms < oldest_ms:
            at = max(at, bisect_left(log, oldest_ms, lo=floor, key=_time))
        if self.bytes > limits.HISTORY_BYTES_MAX:
            at = max(at, self._first_of(self.bytes - limits.HISTORY_BYTES_MAX))
        last = log[-1].revision
        if log[at - 1].revision == last:
            at = bisect_left(log, last, lo=floor, key=_revision)
        while at > floor and log[at].revision == log[at - 1].revision:
            at += 1
        revision = log[at - 1].revision + 1 if at > floor else 0
        self._forget(at)
        return revision

    def _first_of(self, size: int) -> int:
        """Up to where the first that are retained have so many bytes."""
        at = self._floor
        while size > 0:
            size -= self._weights[at]
            at += 1
        return at

    def _forget(self, until: int) -> None:
        floor = self._floor
        self.bytes -= sum(self._weights[floor:until])
        self.sum = (self.sum - sum(self._marks[floor:until])) & MARK_MAX
        self._floor = until
        self._sweep(SWEEP)

    def _sweep(self, most: int) -> None:
        """Free the oldest that are forgotten."""
        log = self._log
        end = min(self._floor, self._freed + most)
        for n in range(self._freed, end):
            key = log[n].key
            log[n] = _FREED
            known = self._of.get(key)
            if isinstance(known, list) and len(known) > 1:
                del known[0]
            else:
                del self._of[key]
        self._freed = end
        if end > TRIM and 2 * end > len(log):
            del log[:end], self._marks[:end], self._weights[:end]
            self._floor -= end
            self._freed = 0

    # --- restoring ------------------------------------------------------------------------------------------------

    def amend(self, key: bytes, item: Versioned | None, event_mark: int) -> None:
        """What the last change of that key made of it has turned out, and what that adds to the sum."""
        known = self._of[key]
        event = replace(known[-1] if isinstance(known, list) else known, item=item)
        at = bisect_left(self._log, position_of(event), lo=self._floor, key=position_of)
        self.sum = (self.sum + event_mark - self._marks[at]) & MARK_MAX
        self._log[at], self._marks[at] = event, event_mark
        if isinstance(known, list):
            known[-1] = event
        else:
            self._of[key] = event
