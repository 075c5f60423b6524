"""An index as it was at one revision, read in slices while commands go on changing it.

Taking it costs no more than a copy of the history's list (which is bounded).  From then on the index tells it of each
present key before that is changed for the first time (*copy on write*); keys that have been read already, and keys that
came later, cost nothing.  So what it holds besides the index is bounded by what is written while it is being read.
Slices depend only on what was frozen, so two replicas that freeze the same state make the same ones.

Passive.
"""

from collections.abc import Iterator
from heapq import merge
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


class Frozen:
    """See the module's text.  To be closed when it is needed no more."""

    def __init__(self, index: "Index", live: Shards[Item], log: list[Record]) -> None:
        self.revision = index.revision
        self.compacted = index.compacted
        self.loaded = index.loaded
        self._live = live
        self._log = log
        self._read: bytes | None = None
        """The last key that was read."""
        self._before: Shards[Item | None] = Shards()
        """Keys beyond it that have been changed since: what they were."""

    def keep(self, key: bytes, was: Item | None) -> None:
        """The key is about to change."""
        if (self._read is None or key > self._read) and key not in self._before:
            self._before[key] = was

    def live(self, size: int) -> Iterator[list[tuple[bytes, Versioned]]]:
        """The present keys, in their order, in slices of about so many bytes."""
        while found := self._next(size):
            yield found

    def _next(self, size: int) -> list[tuple[bytes, Versioned]]:
        items: list[tuple[bytes, Versioned]] = []
        live, before, last = self._live, self._before, None
        any_before = len(before) > 0
        keys = live.keys_after(self._read)
        if any_before:
            keys = merge(keys, before.keys_after(self._read))
        for key in keys:
            if key == last:
                continue
            last = key
            item = before[key] if any_before and key in before else live[key]
            if item is not None:
                items.append((key, versioned(item)))
                size -= len(key) + len(item.value) + ITEM_BYTES
                if size <= 0:
                    break
        if last is not None:
            self._read = last
            for key in list(before.keys(b"", last + b"\0")):  # it included
                del before[key]
        return items

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
