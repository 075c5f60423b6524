"""The history of a store as one can read it: what every key was at every revision, and whether it makes sense at all."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter

from phalanx.services.store.values import Event, Versioned


class Timeline:
    """A dumb twin of the store's index, made of what the store held at first and of all changes since."""

    def __init__(self, initial: Mapping[bytes, Versioned], base: int, log: Iterable[Event]) -> None:
        self.base = base
        self.last = base
        self.changes: dict[int, list[Event]] = {}
        """By revision."""
        self._past: dict[bytes, tuple[list[int], list[Versioned | None]]] = {
            key: ([base], [item]) for key, item in initial.items()
        }
        for event in log:
            revisions, items = self._past.setdefault(event.key, ([base], [None]))
            revisions.append(event.revision)
            items.append(event.item)
            self.changes.setdefault(event.revision, []).append(event)
            self.last = max(self.last, event.revision)
        self.keys = sorted(self._past)

    def at(self, key: bytes, revision: int) -> Versioned | None:
        """What the key was then; what was before the beginning is not known."""
        if key not in self._past:
            return None
        revisions, items = self._past[key]
        return items[bisect_right(revisions, revision) - 1]

    def since(self, key: bytes, revision: int) -> Iterator[tuple[int, Versioned | None]]:
        """What the key was then, and everything that it became later, each with its (least) revision."""
        yield revision, self.at(key, revision)
        if key in self._past:
            revisions, items = self._past[key]
            first = bisect_right(revisions, revision)
            yield from zip(revisions[first:], items[first:], strict=True)

    def part(self, start: bytes, end: bytes | None, revision: int) -> list[tuple[bytes, Versioned]]:
        """The keys of a range then."""
        upto = len(self.keys) if end is None else bisect_left(self.keys, end)
        found = ((key, self.at(key, revision)) for key in self.keys[bisect_left(self.keys, start) : upto])
        return [(key, item) for key, item in found if item is not None]

    def final(self) -> list[tuple[bytes, Versioned]]:
        """Everything at the end."""
        return self.part(b"", None, self.last)

    def flaws(self) -> Iterator[str]:
        """What no store can have done: revisions that are missing, versions that do not follow from what was before."""
        expected = self.base
        for revision, events in groupby((e for r in self.changes for e in self.changes[r]), attrgetter("revision")):
            expected += 1
            changes = list(events)
            if revision != expected:
                yield f"revision {revision} follows {expected - 1}"
                expected = revision
            if [event.index for event in changes] != list(range(len(changes))):
                yield f"the changes of revision {revision} are numbered {[event.index for event in changes]}"
            if len({event.key for event in changes}) < len(changes):
                yield f"revision {revision} changes a key twice"
            for event in changes:
                yield from self._misfits(event)

    def _misfits(self, event: Event) -> Iterator[str]:
        before, item = self.at(event.key, event.revision - 1), event.item
        if event.previous != before:
            yield f"{event} says that {event.previous} was before, and it was {before}"
        if item is None:
            if before is None:
                yield f"{event} deletes what is not there"
            return
        made, version = (before.created, before.version + 1) if before else (event.revision, 1)
        if (item.created, item.modified, item.version) != (made, event.revision, version):
            yield f"{event} comes after {before}"


def inside(key: bytes, start: bytes, end: bytes | None) -> bool:
    """Whether the range has the key."""
    return start <= key and (end is None or key < end)
