"""An index as it was at one revision, read in slices while commands go on changing it.

Taking it costs no more than a copy of the history's list (which is bounded).  From then on the index tells it of each
present key before that is changed (*copy on write*); keys that have been read already cost nothing.  So what it holds
besides the index is bounded by what is written while it is being read.  Keys that came later are passed over: those
beyond the last one that was frozen as a whole, and the others a bounded number in one turn, however many there are in
one place.  Slices depend only on what was frozen, so two replicas that freeze the same state make the same ones.

Passive.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from phalanx.services.store.entries import Item, Record
from phalanx.services.store.shards import Shards
from phalanx.services.store.telling import versioned
from phalanx.services.store.values import Versioned

if TYPE_CHECKING:
    from phalanx.services.store.index import Index

Change = tuple[bytes, int, int, int, bool, Versioned | None]
"""One retained change in an image: key, revision, index, time, whether it deleted, and what was there before.  What the
key was afterwards is what was there before its next change, or what it is now."""

ITEM_BYTES = 128
"""What an item or a change counts besides its own bytes: to restore one costs some microseconds, however small it is."""

PASSED_MAX = 1_000
"""Keys that came later and are passed over in one turn: they take about as long as a slice of 64 KiB."""


class Frozen:
    """See the module's text.  To be closed when it is needed no more."""

    def __init__(self, index: "Index", live: Shards[Item], log: list[Record]) -> None:
        self.revision = index.revision
        self.compacted = index.compacted
        self.loaded = index.loaded
        self._live = live
        self._log = log
        self._last = live.last or b""
        """Keys beyond it all came later."""
        self._read: bytes | None = None
        """The last key that was read."""
        self._before: Shards[Item] = Shards()
        """Keys beyond it that have been changed since: what they were."""

    def keep(self, key: bytes, was: Item) -> None:
        """The key is about to change.  If that is for the first time, its item is of a revision that was frozen."""
        if was.modified <= self.revision and (self._read is None or key > self._read):
            self._before[key] = was

    def live(self, size: int) -> Iterator[list[tuple[bytes, Versioned]] | None]:
        """The present keys, in their order, in slices of about so many bytes.  None: there is none yet, and this has
        taken long enough for one turn."""
        items: list[tuple[bytes, Versioned]] = []
        room, more = size, True
        while more:
            room, more = self._take(items, room)
            if room <= 0:
                yield items
                items, room = [], size
            elif more:
                yield None
        if items:
            yield items

    def _take(self, items: list[tuple[bytes, Versioned]], room: int) -> tuple[int, bool]:
        """Some more.  The room that is left, and whether there are any others."""
        live, before, read, passed = self._live, self._before, self._read, 0
        keys, changed = live.keys_after(read, self._last), before.keys_after(None)
        key, other = next(keys, None), next(changed, None)
        while room > 0 and passed < PASSED_MAX:
            if other is not None and (key is None or other <= key):
                read, item = other, before[other]
                key, other = next(keys, None) if key == other else key, next(changed, None)
            elif key is not None:
                read, item = key, live[key]
                key = next(keys, None)
                if item.modified > self.revision:
                    passed += 1
                    continue
            else:
                break
            items.append((read, versioned(item)))
            room -= len(read) + len(item.value) + ITEM_BYTES
        self._read = read
        if read is not None:
            for done in list(before.keys(b"", read + b"\0")):  # it included
                del before[done]
        return room, key is not None or other is not None

    def log(self, size: int) -> Iterator[list[Change]]:
        """The retained changes, oldest first, in slices of about so many bytes."""
        changes: list[Change] = []
        room = size
        for record in self._log:
            was = versioned(record.previous) if record.previous is not None else None
            changes.append((record.key, record.revision, record.index, record.time_ms, record.item is None, was))
            room -= len(record.key) + (len(was.value) if was is not None else 0) + ITEM_BYTES
            if room <= 0:
                yield changes
                changes, room = [], size
        if changes:
            yield changes
