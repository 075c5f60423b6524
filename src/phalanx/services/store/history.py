"""The retained changes, in order, and how to come from a key to those of it: see `entries`.

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
from phalanx.services.store.entries import UNKNOWN, Item, Record
from phalanx.services.store.shards import MARK_MAX, Shards
from phalanx.services.store.telling import mark_of_record
from phalanx.services.store.values import position_of

TRIM = 4_096
"""Freed entries that the list of changes carries along before it is cut."""

SWEEP = 64
"""Forgotten changes that are freed at the end of each revision ..."""

SWEEP_EACH = 2
"""... and with each change in it: more than comes anew, however many keys a revision changes."""

_revision = attrgetter("revision")
_time = attrgetter("time_ms")

_FREED = Record(b"", 0, 0, 0, None, None, UNKNOWN)


class History:
    """See the module's text."""

    def __init__(self) -> None:
        self.bytes = 0
        """Keys and superseded values."""
        self.sum = 0
        """Of the marks of all changes."""
        self.number = 0
        """Of the change to come."""
        self._log: list[Record] = []
        self._marks: list[int] = []
        """Of each, what it adds to the sum: that is asked for when it comes and when it goes."""
        self._weights: list[int] = []
        """The same of its bytes."""
        self._floor = 0
        """So many at the beginning are forgotten ..."""
        self._freed = 0
        """... and so many of them are freed."""
        self._gone: Shards[int] = Shards()
        """Keys that are absent: the numbers of their last changes, as far as these are not freed."""

    def add(self, record: Record, mark: int, weight: int) -> None:
        """The change to come, what it adds to the sum, and the bytes of the key and of the value that it supersedes."""
        self.number += 1
        self._log.append(record)
        self._marks.append(mark)
        self._weights.append(weight)
        self.bytes += weight
        self.sum = (self.sum + mark) & MARK_MAX
        if self._freed < self._floor:
            self._sweep(SWEEP_EACH)

    def leave(self, key: bytes) -> None:
        """The change to come leaves the key absent."""
        self._gone[key] = self.number

    def come(self, key: bytes) -> int:
        """The change to come makes the key, which is absent, present; the number of its last one."""
        number = self._gone.get(key) if len(self._gone) else None
        if number is None:
            return UNKNOWN
        del self._gone[key]
        return number

    # --- reads ----------------------------------------------------------------------------------------------------

    def of(self, key: bytes, present: Item | None) -> Iterator[Record]:
        """The retained changes of a key, latest first.  `present`: what it is."""
        number = self.last_of(key, present)
        first = self.number - len(self._log)
        while number >= first + self._floor:
            record = self._log[number - first]
            yield record
            number = record.before

    def last_of(self, key: bytes, present: Item | None) -> int:
        """The number of the last change of a key, which may be forgotten.  `present`: what it is."""
        if present is not None:
            return present.number
        found = self._gone.get(key)
        return UNKNOWN if found is None else found

    def absent(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """Keys that are absent, but were not before some change that is not freed, from `start` up to but without `end`
        (None: to the last), in order."""
        return self._gone.keys(start, end)

    def at(self, key: bytes, revision: int, present: Item | None) -> Item | None:
        """What the key was at a revision that is not forgotten.  `present`: what it is."""
        if present is not None and present.modified <= revision:
            return present
        found = present
        number = self.last_of(key, present)
        first = self.number - len(self._log)
        floor = first + self._floor
        while number >= floor:
            record = self._log[number - first]
            if record.revision <= revision:
                return record.item
            found, number = record.previous, record.before
        return found

    def revision_at(self, time_ms: int) -> int | None:
        """The last revision with changes that were not ordered after that time; None if all were."""
        at = bisect_right(self._log, time_ms, lo=self._floor, key=_time)
        return self._log[at - 1].revision if at > self._floor else None

    def after(self, position: int) -> Iterator[Record]:
        """The changes beyond that position of a watch, in order."""
        for n in range(bisect_left(self._log, position + 1, lo=self._floor, key=position_of), len(self._log)):
            yield self._log[n]

    def copy(self) -> list[Record]:
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
        first = self.number - len(log)
        end = min(self._floor, self._freed + most)
        for n in range(self._freed, end):
            record = log[n]
            log[n] = _FREED
            if record.item is None and self._gone.get(record.key) == first + n:
                del self._gone[record.key]
        self._freed = end
        if end > TRIM and 2 * end > len(log):
            del log[:end], self._marks[:end], self._weights[:end]
            self._floor -= end
            self._freed = 0

    # --- restoring ------------------------------------------------------------------------------------------------

    def amend(self, number: int, item: Item | None) -> None:
        """What the change of that number, which is retained, made of its key has turned out."""
        at = number - (self.number - len(self._log))
        record = self._log[at] = replace(self._log[at], item=item)
        mark = mark_of_record(record)
        self.sum = (self.sum + mark - self._marks[at]) & MARK_MAX
        self._marks[at] = mark
