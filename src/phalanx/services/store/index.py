"""The multi-version index: what every key is now, and every change since the last compaction.

The present keys are in order; the history has the retained changes in the order of (revision, index), and by key: what a
key was at a revision is the last of its changes up to it, or else what its first retained change says was before.  So a
change costs O(log keys), a read of the present nothing more than a dictionary does, and a read of the past O(log changes
of the key).

Compaction up to C forgets the changes below revision C: states from C on can be read, and changes from C on be told.

The digest is a sum of hashes of the present items and of the retained changes, kept up by every change: it costs O(1)
to ask for, and a state that was restored wrongly has another one.

Passive.  The caller has checked keys, sizes and leases.
"""

from collections.abc import Iterator
from heapq import merge
from typing import Final

from msgspec.structs import astuple, replace
from xxhash import xxh3_64_intdigest

from phalanx.errors import Compacted, Refused
from phalanx.services.store import limits
from phalanx.services.store.frozen import Change, Frozen
from phalanx.services.store.history import History
from phalanx.services.store.shards import MARK_MAX, Shards, mark_of
from phalanx.services.store.values import INDEX_BITS, Event, Feed, Range, Versioned, position_after, position_of

_SUM_BYTES = 8

_Fields = tuple[bytes, int, int, int, int]

# Final: ARCHITECTURE, decision 58.
_fields_of: Final = astuple
_hash: Final = xxh3_64_intdigest


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
        self._live: Shards[Versioned] = Shards()
        self._history = History()
        self._live_sum = 0
        self._index = -1
        self._time_ms = 0
        self._frozen: list[Frozen] = []
        """To be told before a key changes."""

    def __len__(self) -> int:
        return len(self._live)

    @property
    def history_bytes(self) -> int:
        """Keys and superseded values of the retained changes."""
        return self._history.bytes

    @property
    def is_blank(self) -> bool:
        """Nothing is in it, and nothing has changed since it was new, loaded or moved."""
        return self.revision == self.loaded and not len(self._live)

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
        ):
            return 0
        mark = mark_of(key)
        found = self._live.shard(mark).get(key)
        if found.lease if found is not None else len(self._live) >= limits.KEYS_MAX:
            return 0
        self.begin(time_ms)
        self._put(key, mark, found, value, 0)
        self.compacted = self._history.shed(time_ms - retain_ms) or self.compacted
        return self.revision

    def put(self, key: bytes, value: bytes, lease: int) -> Versioned:
        """Set the key; what it has now."""
        mark = mark_of(key)
        return self._put(key, mark, self._live.shard(mark).get(key), value, lease)

    def _put(self, key: bytes, mark: int, found: Versioned | None, value: bytes, lease: int) -> Versioned:
        revision = self._next()
        for frozen in self._frozen:
            frozen.keep(key, found)
        created, version, weight = revision, 1, len(key)
        if found is not None:
            fields: _Fields = _fields_of(found)
            former, created, modified, version, under = fields
            former_mark = _mark_of_fields(mark, former, created, modified, version, under)
            self._live_sum = (self._live_sum - former_mark) & MARK_MAX
            self.bytes -= len(former)
            weight += len(former)
            version += 1
        item = Versioned(value, created, revision, version, lease)
        if found is None:
            self.bytes += len(key)
            self._live[key] = item
        else:
            self._live.shard(mark)[key] = item
        self.bytes += len(value)
        item_mark = _mark_of_fields(mark, value, created, revision, version, lease)
        self._live_sum = (self._live_sum + item_mark) & MARK_MAX
        event = Event(key, revision, self._index, self._time_ms, item, found)
        self._history.add(event, key, mark, item_mark, weight)
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
        self._history.add(event, key, mark, _event_mark(event), len(key) + len(found.value))

    def _next(self) -> int:
        if self._index < 0:
            self.revision += 1
        self._index += 1
        return self.revision

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
        return self._history.at(key, at, self._live.get(key))

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
        for key in self._history.keys(start, end):
            now = self._live.get(key)
            present += (self._history.at(key, at, now) is not None) - (now is not None)
        return present

    def history(self, key: bytes) -> list[Event]:
        """The retained changes of a key, oldest first."""
        return [event for event in self._history.of(key) if event.revision >= self.compacted]

    def latest(self, key: bytes, limit: int) -> list[Event]:
        """The last of them, oldest first: at most `limit`, and as many bytes as a range may have."""
        events: list[Event] = []
        size = 0
        for event in reversed(self.history(key)):
            size += sum(len(item.value) for item in (event.item, event.previous) if item is not None)
            if len(events) >= min(limit, limits.RANGE_ITEMS_MAX) or (events and size > limits.RANGE_BYTES_MAX):
                break
            events.append(event)
        return events[::-1]

    def revision_at(self, time_ms: int) -> int:
        """The last revision whose changes were not ordered after that time.  The retained changes are the map from times
        to revisions, and are compacted with the history: raises `Compacted` for a time before the least revision."""
        revision = self._history.revision_at(time_ms)
        if revision is None and self.compacted:
            raise Compacted(self.compacted - 1, self.compacted)
        return revision or 0

    def _check(self, at: int) -> None:
        if at < self.compacted:
            raise Compacted(at, self.compacted)
        if at > self.revision:
            raise Refused(f"revision {at} is to come; the store is at {self.revision}")

    def _items_at(self, start: bytes, end: bytes | None, at: int) -> Iterator[tuple[bytes, Versioned]]:
        last = None
        for key in merge(self._live.keys(start, end), self._history.keys(start, end)):
            if key != last and (item := self._history.at(key, at, self._live.get(key))) is not None:
                yield key, item
            last = key

    # --- the log --------------------------------------------------------------------------------------------------

    def events_after(self, position: int) -> Iterator[Event]:
        """Retained changes beyond that position of a watch.  Raises `Compacted`, when the first is taken, if some that
        follow are forgotten."""
        wanted = (position + 1) >> INDEX_BITS  # the first revision of which something is wanted
        if wanted < self.compacted or wanted <= self.loaded > 0:
            raise Compacted(wanted, max(self.compacted, self.loaded + 1))
        yield from self._history.after(position)

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
        if revision > self.compacted:
            self.compacted = revision
            self._history.forget_below(revision)

    def shed(self, oldest_ms: int) -> None:
        """Compact what is older than that time, or beyond the limits of the history.  The latest revision stays."""
        self.compacted = self._history.shed(oldest_ms) or self.compacted

    # --- state ----------------------------------------------------------------------------------------------------

    def digest(self) -> bytes:
        """Equal for equal indexes."""
        numbers = (self.revision, self.compacted, self.loaded)
        sums = (self._live_sum, self._history.sum)
        return b"".join([*(n.to_bytes(8, "big") for n in numbers), *(s.to_bytes(_SUM_BYTES, "big") for s in sums)])

    def freeze(self) -> Frozen:
        """The index as it is now, to be read in slices while this one changes.  `thaw` it in the end."""
        frozen = Frozen(self, self._live, self._history.copy())
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

    def moved(self, ahead: int, leases: dict[int, int]) -> "Index":
        """The same keys at revisions that are so much larger, with these leases in place of theirs, and without a
        history: no revision of before means anything in it."""
        moved = Index()
        revision = self.revision + ahead
        moved.begin_restoring(revision, revision, revision)
        found: list[tuple[bytes, Versioned]] = []
        for key, item in self._live.items(b"", None):
            created, modified = item.created + ahead, item.modified + ahead
            found.append((key, Versioned(item.value, created, modified, item.version, leases.get(item.lease, 0))))
        moved.restore_live(found)
        return moved

    def restore_log(self, changes: list[Change]) -> None:
        """Retained changes, oldest first.  Each is taken for the last of its key until another comes, which says what
        the key was before."""
        history = self._history
        for key, revision, number, time_ms, deleted, previous in changes:
            before = history.last_of(key)
            if before is not None:
                history.amend(key, previous, _event_mark(replace(before, item=previous)))
            now = None if deleted else self._live.get(key)
            event = Event(key, revision, number, time_ms, now, previous)
            weight = len(key) + (len(previous.value) if previous is not None else 0)
            history.add(event, key, mark_of(key), _event_mark(event), weight)


def _event_mark(event: Event) -> int:
    """Revisions are unique, so they stand for the order of changes."""
    if event.item is not None:
        return _item_mark(mark_of(event.key), event.item)
    found: int = _hash(event.key, event.revision)
    return found & MARK_MAX


def _item_mark(mark: int, item: Versioned) -> int:
    fields: _Fields = _fields_of(item)
    value, created, modified, version, lease = fields
    return _mark_of_fields(mark, value, created, modified, version, lease)


def _mark_of_fields(mark: int, value: bytes, created: int, modified: int, version: int, lease: int) -> int:
    """Of a key with that mark and what it has: all of it, since any of it may diverge.  The numbers are weighed so that
    nothing but chance makes two that differ alike, and their sum is a small integer to compiled code."""
    numbers = modified * 1_000_003 + created * 536_870_909 + version * 65_537 + lease * 31
    found: int = _hash(value, mark + numbers)
    return found & MARK_MAX
