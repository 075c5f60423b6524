"""The multi-version index: what every key is now, and every change since the last compaction.

The present keys are in order; the history has the retained changes in the order of (revision, index), and leads from
what a key is to its changes, latest first: what it was at a revision is the last of them up to it, or else what its
first retained change says was before.  So a change costs O(log keys), a read of the present nothing more than a
dictionary does, and a read of the past as many steps as the key has changed since.

Compaction up to C forgets the changes below revision C: states from C on can be read, and changes from C on be told.

The digest is a sum of hashes of the present items and of the retained changes, kept up by every change: it costs O(1)
to ask for, and a state that was restored wrongly has another one.

Passive.  The caller has checked keys, sizes and leases.
"""

from collections.abc import Iterator
from heapq import merge
from typing import Final

from msgspec.structs import astuple, replace

from phalanx.errors import Compacted, Refused
from phalanx.services.store import limits
from phalanx.services.store.entries import UNKNOWN, Item, Record
from phalanx.services.store.frozen import Change, Frozen
from phalanx.services.store.history import History
from phalanx.services.store.shards import MARK_MAX, Shards, mark_of
from phalanx.services.store.telling import event, mark_of_fields, mark_of_item, mark_of_record, versioned
from phalanx.services.store.values import INDEX_BITS, Event, Feed, Range, Versioned, position_after, position_of

_SUM_BYTES = 8

_Fields = tuple[bytes, int, int, int, int, int]

# Final: ARCHITECTURE, decision 58.
_fields_of: Final = astuple
_new_item: Final = Item
_new_record: Final = Record


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
        self._live: Shards[Item] = Shards()
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
        return versioned(self._put(key, mark, self._live.shard(mark).get(key), value, lease))

    def _put(self, key: bytes, mark: int, found: Item | None, value: bytes, lease: int) -> Item:
        revision = self._next()
        if found is not None:
            for frozen in self._frozen:
                frozen.keep(key, found)
        history = self._history
        created, version, weight = revision, 1, len(key)
        if found is not None:
            fields: _Fields = _fields_of(found)
            former, created, modified, version, under, before = fields
            former_mark = mark_of_fields(mark, former, created, modified, version, under)
            self._live_sum = (self._live_sum - former_mark) & MARK_MAX
            self.bytes -= len(former)
            weight += len(former)
            version += 1
        else:
            before = history.come(key)
        item = _new_item(value, created, revision, version, lease, history.number)
        if found is None:
            self.bytes += len(key)
            self._live[key] = item
        else:
            self._live.shard(mark)[key] = item
        self.bytes += len(value)
        item_mark = mark_of_fields(mark, value, created, revision, version, lease)
        self._live_sum = (self._live_sum + item_mark) & MARK_MAX
        record = _new_record(key, revision, self._index, self._time_ms, item, found, before)
        history.add(record, item_mark, weight)
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
        self._live_sum = (self._live_sum - mark_of_item(mark, found)) & MARK_MAX
        self._history.leave(key)
        record = Record(key, revision, self._index, self._time_ms, None, found, found.number)
        self._history.add(record, mark_of_record(record), len(key) + len(found.value))

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
        found = self._live.get(key)
        if at is not None:
            self._check(at)
            found = self._history.at(key, at, found)
        return versioned(found) if found is not None else None

    def keys(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """The present keys from `start` up to but without `end` (None: to the last), in order."""
        return self._live.keys(start, end)

    def items(self, start: bytes, end: bytes | None, at: int | None = None) -> Iterator[tuple[bytes, Versioned]]:
        """Keys from `start` up to but without `end` (None: to the last), in order.  Raises as `get`."""
        if at is None:
            return self._items(start, end)
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
        """How many keys there are.  Costs O(log keys), and of the past O(changes since).  Raises as `get`."""
        if end is not None and end <= start:
            return 0
        present = self._live.before(end) - self._live.before(start)
        if at is None:
            return present
        self._check(at)
        for record in self._history.after(position_after(at)):
            if record.key >= start and (end is None or record.key < end):
                present += (record.previous is not None) - (record.item is not None)
        return present

    def latest(self, key: bytes, limit: int) -> list[Event]:
        """The last retained changes of a key, oldest first: at most `limit`, and as many bytes as a range may have."""
        events: list[Event] = []
        size = 0
        for record in self._history.of(key, self._live.get(key)):
            size += sum(len(item.value) for item in (record.item, record.previous) if item is not None)
            if len(events) >= min(limit, limits.RANGE_ITEMS_MAX) or (events and size > limits.RANGE_BYTES_MAX):
                break
            events.append(event(record, previous=True))
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

    def _items(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, Versioned]]:
        for key, item in self._live.items(start, end):
            yield key, versioned(item)

    def _items_at(self, start: bytes, end: bytes | None, at: int) -> Iterator[tuple[bytes, Versioned]]:
        for key in merge(self._live.keys(start, end), self._history.absent(start, end)):
            item = self._history.at(key, at, self._live.get(key))
            if item is not None:
                yield key, versioned(item)

    # --- the log --------------------------------------------------------------------------------------------------

    def events_after(self, position: int) -> list[Event]:
        """Retained changes beyond that position of a watch.  Raises `Compacted` if some that follow are forgotten."""
        return [event(record, previous=True) for record in self._after(position)]

    def touched(self, position: int) -> set[bytes]:
        """The keys of these.  Raises as they do."""
        return {record.key for record in self._after(position)}

    def _after(self, position: int) -> Iterator[Record]:
        """Raises `Compacted`."""
        wanted = (position + 1) >> INDEX_BITS  # the first revision of which something is wanted
        if wanted < self.compacted or wanted <= self.loaded > 0:
            raise Compacted(wanted, max(self.compacted, self.loaded + 1))
        return self._history.after(position)

    def feed(self, position: int, start: bytes, end: bytes | None, puts: bool, deletes: bool, previous: bool) -> Feed:
        """What `KV.watch` answers.  Raises `Compacted`."""
        events: list[Event] = []
        size = 0
        at = max(position, position_after(self.revision))
        for record in self._after(position):
            if record.key < start or (end is not None and record.key >= end):
                continue
            if not (deletes if record.item is None else puts):
                continue
            told = event(record, previous=previous)
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
            known = _item(item, UNKNOWN)
            live[key] = known
            self.bytes += len(key) + len(item.value)
            self._live_sum = (self._live_sum + mark_of_item(mark_of(key), known)) & MARK_MAX

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
        history, live = self._history, self._live
        for key, revision, index, time_ms, deleted, previous in changes:
            found, number = live.get(key), history.number
            before = history.last_of(key, found)
            was = _item(previous, before) if previous is not None else None
            if before != UNKNOWN:
                history.amend(before, was)
            if found is not None:
                live[key] = found = replace(found, number=number)
            else:
                history.leave(key)
            record = Record(key, revision, index, time_ms, None if deleted else found, was, before)
            weight = len(key) + (len(previous.value) if previous is not None else 0)
            history.add(record, mark_of_record(record), weight)


def _item(item: Versioned, number: int) -> Item:
    return Item(item.value, item.created, item.modified, item.version, item.lease, number)
