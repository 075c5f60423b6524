"""The multi-version index: what every key is now, and every change since the last compaction.

Three structures hold the same items.  `_live` has the present keys in order.  `_log` has the retained changes in the
order of (revision, index): watches read it.  `_changes` has the same changes by key: what a key was at a revision is the
last of its changes up to it, or else what its first retained change says was before.  So a change costs O(log keys), a
read of the present nothing more than a dictionary does, and a read of the past O(log changes of the key).

Compaction up to C forgets the changes below revision C: states from C on can be read, and changes from C on be told.

The digest is a sum of hashes of the present items and of the retained changes, kept up by every change: it costs O(1)
to ask for, and a state that was restored wrongly has another one.

Passive.  The caller has checked keys, sizes and leases.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import merge
from operator import attrgetter

from msgspec.structs import astuple, replace
from xxhash import xxh3_64_intdigest

from phalanx.errors import Compacted, Refused
from phalanx.services.store import limits
from phalanx.services.store.frozen import Change, Frozen
from phalanx.services.store.shards import MARK_MAX, Shards, mark_of
from phalanx.services.store.values import INDEX_BITS, Event, Feed, Range, Versioned, position_after, position_of

_SUM_BYTES = 8

_revision = attrgetter("revision")
_time = attrgetter("time_ms")

TRIM = 4_096
"""Forgotten entries that the log's list carries along before it is cut."""

_FORGOTTEN = Event(b"", 0, 0, 0, None, None)


class Index:
    """See the module's text."""

    def __init__(self) -> None:
        self.revision = 0
        """How many changes, each of one or more keys, there have been."""
        self.compacted = 0
        """The least revision that can be read."""
        self.loaded = 0
        """The revision of the backup that this began with: it can be read, but the changes that made it are not known."""
        self.bytes = 0
        """Present keys and values."""
        self.history_bytes = 0
        """Keys and superseded values of the retained changes."""
        self._live: Shards[Versioned] = Shards()
        self._log: list[Event] = []
        self._marks: list[int] = []
        """Of the log's entries, what they add to its sum: each is asked for when it comes and when it goes."""
        self._gone = 0  # entries at the beginning of the log that are forgotten
        self._changes: Shards[Event | list[Event]] = Shards()
        """A list only of several: the garbage collector counts and looks through lists, and most keys change once."""
        self._live_sum = 0
        self._log_sum = 0
        self._index = -1
        self._time_ms = 0
        self._frozen: list[Frozen] = []
        """To be told before a key changes."""

    def __len__(self) -> int:
        return len(self._live)

    # --- changes --------------------------------------------------------------------------------------------------

    def begin(self, time_ms: int) -> None:
        """The changes that follow, if there are any, make one new revision."""
        self._index = -1
        self._time_ms = time_ms

    def put_plainly(self, key: bytes, value: bytes, time_ms: int, retain_ms: int) -> int:
        """`begin`, `put` and `shed` in one call for the most frequent change: of a key that is under no lease and
        stays so, well within the limits.  The new revision; 0 if it is not as simple as that, and nothing was done."""
        if (
            len(key) > limits.KEY_BYTES_MAX
            or len(value) > limits.VALUE_BYTES_MAX
            or self.bytes + len(key) + len(value) > limits.STORE_BYTES_MAX
            or len(self._live) >= limits.KEYS_MAX
        ):
            return 0
        mark = mark_of(key)
        found = self._live.shard(mark).get(key)
        if found is not None and found.lease:
            return 0
        self.begin(time_ms)
        self._put(key, mark, found, value, 0)
        self.shed(time_ms - retain_ms)
        return self.revision

    def put(self, key: bytes, value: bytes, lease: int) -> Versioned:
        """Set the key; what it has now."""
        mark = mark_of(key)
        return self._put(key, mark, self._live.shard(mark).get(key), value, lease)

    def _put(self, key: bytes, mark: int, found: Versioned | None, value: bytes, lease: int) -> Versioned:
        revision = self._next()
        for frozen in self._frozen:
            frozen.keep(key, found)
        if found is None:
            item = Versioned(value, revision, revision, 1, lease)
            self.bytes += len(key) + len(value)
            self._live[key] = item
        else:
            item = Versioned(value, found.created, revision, found.version + 1, lease)
            self.bytes += len(value) - len(found.value)
            self._live_sum = (self._live_sum - _item_mark(mark, found)) & MARK_MAX
            self._live.shard(mark)[key] = item
        item_mark = _item_mark(mark, item)
        self._live_sum = (self._live_sum + item_mark) & MARK_MAX
        self._record(Event(key, revision, self._index, self._time_ms, item, found), mark, item_mark)
        return item

    def remove(self, key: bytes) -> None:
        """Remove a key that is present."""
        revision = self._next()
        found = self._live[key]
        for frozen in self._frozen:
            frozen.keep(key, found)
        del self._live[key]
        self.bytes -= len(key) + len(found.value)
        mark = mark_of(key)
        self._live_sum = (self._live_sum - _item_mark(mark, found)) & MARK_MAX
        event = Event(key, revision, self._index, self._time_ms, None, found)
        self._record(event, mark, _event_mark(event))

    def _next(self) -> int:
        if self._index < 0:
            self.revision += 1
        self._index += 1
        return self.revision

    def _record(self, event: Event, mark: int, event_mark: int) -> None:
        """mark: of its key."""
        self._log.append(event)
        self._marks.append(event_mark)
        self._log_sum = (self._log_sum + event_mark) & MARK_MAX
        key = event.key
        changes = self._changes.shard(mark)
        known = changes.get(key)
        if known is None:
            self._changes[key] = event
        elif isinstance(known, list):
            known.append(event)
        else:
            changes[key] = [known, event]
        self.history_bytes += _weight(event)

    # --- reads ----------------------------------------------------------------------------------------------------

    @property
    def last(self) -> bytes | None:
        """The last key that is present."""
        return self._live.last

    def get(self, key: bytes, at: int | None = None) -> Versioned | None:
        """What the key is, or was at a revision.  Raises `Compacted`, and `Refused` for a revision to come."""
        if at is None:
            return self._live.get(key)
        self._check(at)
        return self._at(key, at)

    def items(self, start: bytes, end: bytes | None, at: int | None = None) -> Iterator[tuple[bytes, Versioned]]:
        """Keys from `start` up to but without `end` (None: to the last), in order.  Raises as `get`."""
        if at is None:
            return self._live.items(start, end)
        self._check(at)
        return self._items_at(start, end, at)

    def page(self, start: bytes, end: bytes | None, limit: int, at: int | None = None) -> Range:
        """The first of those items, as many as the limits allow.  Raises as `get`."""
        items: list[tuple[bytes, Versioned]] = []
        size = 0
        most = min(limit, limits.RANGE_ITEMS_MAX)
        revision = self.revision if at is None else at
        for key, item in self.items(start, end, at):
            size += len(key) + len(item.value)
            if len(items) >= most or (items and size > limits.RANGE_BYTES_MAX):
                return Range(items, True, revision)
            items.append((key, item))
        return Range(items, False, revision)

    def count(self, start: bytes, end: bytes | None, at: int | None = None) -> int:
        """How many keys there are.  Costs O(log keys), and of the past O(changed keys in the range).  Raises as `get`."""
        if end is not None and end <= start:
            return 0
        present = self._live.before(end) - self._live.before(start)
        if at is None:
            return present
        self._check(at)
        for key in self._changes.keys(start, end):
            present += (self._at(key, at) is not None) - (key in self._live)
        return present

    def history(self, key: bytes) -> list[Event]:
        """The retained changes of a key, oldest first."""
        known = self._changes.get(key)
        if isinstance(known, list):
            return known.copy()
        return [known] if known is not None else []

    def revision_at(self, time_ms: int) -> int:
        """The last revision whose changes were not ordered after that time.  The retained changes are the map from times
        to revisions, and are compacted with the history: raises `Compacted` for a time before the least revision."""
        at = bisect_right(self._log, time_ms, lo=self._gone, key=_time)
        if at > self._gone:
            return self._log[at - 1].revision
        if self.compacted:
            raise Compacted(self.compacted - 1, self.compacted)
        return 0

    def _check(self, at: int) -> None:
        if at < self.compacted:
            raise Compacted(at, self.compacted)
        if at > self.revision:
            raise Refused(f"revision {at} is to come; the store is at {self.revision}")

    def _at(self, key: bytes, at: int) -> Versioned | None:
        known = self._changes.get(key)
        if known is None:
            return self._live.get(key)
        if not isinstance(known, list):
            return known.item if known.revision <= at else known.previous
        after = bisect_right(known, at, key=_revision)
        return known[after - 1].item if after else known[0].previous

    def _items_at(self, start: bytes, end: bytes | None, at: int) -> Iterator[tuple[bytes, Versioned]]:
        last = None
        for key in merge(self._live.keys(start, end), self._changes.keys(start, end)):
            if key != last and (item := self._at(key, at)) is not None:
                yield key, item
            last = key

    # --- the log --------------------------------------------------------------------------------------------------

    def events_after(self, position: int) -> Iterator[Event]:
        """Retained changes beyond that position of a watch.  Raises `Compacted`, when the first is taken, if some that
        follow are forgotten."""
        wanted = (position + 1) >> INDEX_BITS  # the first revision of which something is wanted
        if wanted < self.compacted or wanted <= self.loaded > 0:
            raise Compacted(wanted, max(self.compacted, self.loaded + 1))
        at = bisect_left(self._log, position + 1, lo=self._gone, key=position_of)
        for n in range(at, len(self._log)):
            yield self._log[n]

    def feed(self, position: int, start: bytes, end: bytes | None, puts: bool, deletes: bool, previous: bool) -> Feed:
        """What `KV.watch` answers.  Raises `Compacted`."""
        events: list[Event] = []
        size = 0
        at = max(position, position_after(self.revision))
        for event in self.events_after(position):
            if event.key < start or (end is not None and event.key >= end):
                continue
            if not (deletes if event.item is None else puts):
                continue
            told = event if previous or event.previous is None else replace(event, previous=None)
            size += len(told.key) + sum(len(item.value) for item in (told.item, told.previous) if item is not None)
            if len(events) >= limits.FEED_EVENTS_MAX or (events and size > limits.FEED_BYTES_MAX):
                return Feed(events, position_of(events[-1]), True)
            events.append(told)
        return Feed(events, at, False)

    def compact(self, revision: int) -> None:
        """Forget the changes below that revision, which must not be to come."""
        assert revision <= self.revision
        if revision <= self.compacted:
            return
        self._forget(bisect_left(self._log, revision, lo=self._gone, key=_revision), revision)

    def _forget(self, until: int, revision: int) -> None:
        """The entries of the log up to there, which are those below that revision."""
        self.compacted = revision
        log, forgotten = self._log, 0
        for n in range(self._gone, until):
            event = log[n]
            log[n] = _FORGOTTEN  # so its values go one by one, not all when the list is cut
            forgotten += _weight(event)
            self._log_sum = (self._log_sum - self._marks[n]) & MARK_MAX
            key = event.key
            known = self._changes.get(key)
            if isinstance(known, list) and len(known) > 1:
                del known[0]
            else:
                del self._changes[key]
        self.history_bytes -= forgotten
        self._gone = until
        if self._gone > TRIM and 2 * self._gone > len(log):
            del log[: self._gone], self._marks[: self._gone]
            self._gone = 0

    def shed(self, oldest_ms: int) -> None:
        """Compact what is older than that time, or beyond the limits of the history.  The latest revision stays."""
        log, at = self._log, self._gone
        size, revision = self.history_bytes, -1
        while at < len(log):
            event = log[at]
            if event.revision != revision:  # or it goes with the change before
                fits = len(log) - at <= limits.HISTORY_EVENTS_MAX and size <= limits.HISTORY_BYTES_MAX
                if (fits and event.time_ms >= oldest_ms) or event.revision == self.revision:
                    break
                revision = event.revision
            size -= _weight(event)
            at += 1
        if at > self._gone:
            self._forget(at, revision + 1)

    # --- state ----------------------------------------------------------------------------------------------------

    def digest(self) -> bytes:
        """Equal for equal indexes."""
        numbers = (self.revision, self.compacted, self.loaded)
        sums = (self._live_sum, self._log_sum)
        return b"".join([*(n.to_bytes(8, "big") for n in numbers), *(s.to_bytes(_SUM_BYTES, "big") for s in sums)])

    def freeze(self) -> Frozen:
        """The index as it is now, to be read in slices while this one changes.  `thaw` it in the end."""
        frozen = Frozen(self, self._live, self._log[self._gone :])
        self._frozen.append(frozen)
        return frozen

    def thaw(self, frozen: Frozen) -> None:
        """It is not read any more."""
        self._frozen.remove(frozen)

    def begin_restoring(self, revision: int, compacted: int, loaded: int) -> None:
        """This index, which is new, is to become one that was frozen: its slices follow, keys first."""
        self.revision, self.compacted, self.loaded = revision, compacted, loaded

    def restore_live(self, items: list[tuple[bytes, Versioned]]) -> None:
        """Present keys, in their order, which are beyond all that are there."""
        live = self._live
        for key, item in items:
            for frozen in self._frozen:
                frozen.keep(key, None)
            live[key] = item
            self.bytes += len(key) + len(item.value)
            self._live_sum = (self._live_sum + _item_mark(mark_of(key), item)) & MARK_MAX

    def restore_log(self, changes: list[Change]) -> None:
        """Retained changes, oldest first.  Each is taken for the last of its key until another comes, which says what
        the key was before."""
        for key, revision, number, time_ms, deleted, previous in changes:
            known = self._changes.get(key)
            if known is not None:
                self._amend(known, previous)
            now = None if deleted else self._live.get(key)
            event = Event(key, revision, number, time_ms, now, previous)
            self._record(event, mark_of(key), _event_mark(event))

    def _amend(self, known: Event | list[Event], item: Versioned | None) -> None:
        """What that key's last change made of it has turned out."""
        last = known[-1] if isinstance(known, list) else known
        event = replace(last, item=item)
        at = bisect_left(self._log, position_of(event), lo=self._gone, key=position_of)
        mark = _event_mark(event)
        self._log_sum = (self._log_sum + mark - self._marks[at]) & MARK_MAX
        self._log[at], self._marks[at] = event, mark
        if isinstance(known, list):
            known[-1] = event
        else:
            self._changes[event.key] = event


def _weight(event: Event) -> int:
    return len(event.key) + (len(event.previous.value) if event.previous is not None else 0)


def _event_mark(event: Event) -> int:
    """Revisions are unique, so they stand for the order of changes."""
    if event.item is not None:
        return _item_mark(mark_of(event.key), event.item)
    found: int = xxh3_64_intdigest(event.key, event.revision)
    return found & MARK_MAX


def _item_mark(mark: int, item: Versioned) -> int:
    """Of a key with that mark and what it has: all of it, since any of it may diverge.  The numbers are weighed so that
    nothing but chance makes two that differ alike, and their sum is a small integer to compiled code."""
    fields: tuple[bytes, int, int, int, int] = astuple(item)  # at once, since each costs compiled code a search
    value, created, modified, version, lease = fields
    numbers = modified * 1_000_003 + created * 536_870_909 + version * 65_537 + lease * 31
    found: int = xxh3_64_intdigest(value, mark + numbers)
    return found & MARK_MAX
