"""At which revision a call can have been answered as it was: the store's sequential specification, read off its history.

Written anew for this purpose, so that a mistake in the store does not excuse itself.
"""

from collections.abc import Callable, Iterable
from operator import eq, gt, lt, ne
from typing import Any, assert_never

from phalanx.lab.soak.records import Call
from phalanx.lab.soak.timeline import Timeline, inside
from phalanx.services.store.txn import appended
from phalanx.services.store.values import (
    Append,
    Appended,
    Compare,
    Created,
    Delete,
    Deleted,
    DeleteRange,
    Exists,
    Found,
    Get,
    Modified,
    Operation,
    Put,
    Range,
    Result,
    Scan,
    Scanned,
    Txn,
    Value,
    Version,
    Versioned,
    Written,
)

_OPS: dict[str, Callable[[Any, Any], bool]] = {"==": eq, "!=": ne, "<": lt, ">": gt}


class Wrong(Exception):
    """No revision explains the answer; the text says why."""


class Answers:
    """See the module's text."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def place(self, call: Call, floor: int, written: int | None) -> int:
        """The least revision, `floor` or beyond it, after which the call can have been answered so.  `written`: the one
        at which the history has what it wrote.  Raises `Wrong`."""
        result = call.result
        match call.f.removeprefix("stale "), call.arguments:
            case "get", (bytes(key),):
                return self._first(key, floor, lambda item: item == result)
            case "get", (bytes(key), int(at)):
                return self._past(key, at, result, floor)
            case "range", (bytes(start), end, int(limit)):
                return self._page(start, end, limit, result, floor)
            case "count", (bytes(start), end):
                return self._count(start, end, result, floor)
            case "put", (bytes(key), bytes(value), *rest):
                revision = self._after(written, floor)
                if result != revision:
                    raise Wrong(f"it happened at {revision}")
                self._exactly(revision, {key: self._put(key, value, rest[0] if rest else 0, revision)})
                return revision
            case "compare_and_set", (bytes(key), expected, value):
                return self._compare_and_set(key, expected, value, result, floor, written)
            case "delete", (bytes(key),):
                if not result:
                    return self._first(key, floor, lambda item: item is None)
                return self._deletion(key, floor, lambda _: True)
            case "delete_range", (bytes(start), end):
                return self._delete_range(start, end, result, floor)
            case "transact", (when, then, otherwise):
                return self._transaction(when, then, otherwise, result, floor, written)
        return floor  # leases are judged apart

    def _first(self, key: bytes, floor: int, fits: Callable[[Versioned | None], bool]) -> int:
        for revision, item in self._timeline.since(key, floor):
            if fits(item):
                return revision
        raise Wrong(f"from {floor} on {key!r} was {[item for _, item in self._timeline.since(key, floor)][:4]}")

    def _past(self, key: bytes, at: int, result: Any, floor: int) -> int:
        if result != self._timeline.at(key, at):
            raise Wrong(f"at {at} it was {self._timeline.at(key, at)}")
        return max(floor, at)

    def _page(self, start: bytes, end: bytes | None, limit: int, page: Range, floor: int) -> int:
        if page.revision < floor:
            raise Wrong(f"it is from the past: of revision {page.revision}")
        there = self._timeline.part(start, end, page.revision)
        if page.items != there[:limit] or page.more != (len(there) > limit):
            raise Wrong(f"there was {there}")
        return page.revision

    def _count(self, start: bytes, end: bytes | None, result: int, floor: int) -> int:
        count = len(self._timeline.part(start, end, floor))
        revision = floor
        while count != result:
            revision += 1
            if revision > self._timeline.last:
                raise Wrong(f"from {floor} on there were never so many")
            for event in self._timeline.changes.get(revision, ()):
                if inside(event.key, start, end):
                    count += (event.item is not None) - (event.previous is not None)
        return revision

    def _after(self, written: int | None, floor: int) -> int:
        if written is None:
            raise Wrong("it is not in the history")
        if written <= floor:
            raise Wrong(f"it happened at {written}, before calls that had ended")
        return written

    def _compare_and_set(
        self, key: bytes, expected: bytes | None, value: bytes | None, result: bool, floor: int, written: int | None
    ) -> int:
        if not result:
            return self._first(key, floor, lambda item: _value(item) != expected)
        if value is None:
            if expected is None:  # nothing was there, and nothing came of it
                return self._first(key, floor, lambda item: item is None)
            return self._deletion(key, floor, lambda item: _value(item) == expected)
        revision = self._after(written, floor)
        if _value(self._timeline.at(key, revision - 1)) != expected:
            raise Wrong(f"it happened at {revision}, when {self._timeline.at(key, revision - 1)} was there")
        self._exactly(revision, {key: self._put(key, value, 0, revision)})
        return revision

    def _deletion(self, key: bytes, floor: int, fits: Callable[[Versioned | None], bool]) -> int:
        for revision, item in self._timeline.since(key, floor):
            if revision > floor and item is None and fits(self._timeline.at(key, revision - 1)):
                return revision
        raise Wrong("it happened nowhere after calls that had ended")

    def _delete_range(self, start: bytes, end: bytes | None, count: int, floor: int) -> int:
        if count == 0:
            return self._count(start, end, 0, floor)
        for revision in range(floor + 1, self._timeline.last + 1):
            events = self._timeline.changes.get(revision, [])
            if (
                len(events) == count
                and all(event.item is None and inside(event.key, start, end) for event in events)
                and not self._timeline.part(start, end, revision)
            ):
                return revision
        raise Wrong("it happened nowhere after calls that had ended")

    # --- transactions -------------------------------------------------------------------------------------------------

    def _put(self, key: bytes, value: bytes, lease: int, revision: int) -> Versioned:
        return put_on(self._timeline.at(key, revision - 1), value, lease, revision)

    def _exactly(self, revision: int, changes: dict[bytes, Versioned | None]) -> None:
        """Nothing else happened at that revision."""
        there = {event.key: event.item for event in self._timeline.changes.get(revision, ())}
        if there != changes:
            raise Wrong(f"revision {revision} changed {there}, and should have changed {changes}")

    def _transaction(
        self,
        when: Iterable[Compare],
        then: tuple[Operation, ...],
        otherwise: tuple[Operation, ...],
        result: Txn,
        floor: int,
        written: int | None,
    ) -> int:
        writes = any(isinstance(each, Put | Append) for each in (*then, *otherwise))
        revision = self._after(written, floor) if writes else result.revision
        if result.revision != revision or revision < floor:
            raise Wrong(f"it happened at {revision}")
        before = revision - writes
        holds = all(self._holds(compare, before) for compare in when)
        if holds != result.succeeded:
            raise Wrong(f"its compares were {holds} at {before}")
        attempt = Attempt(self._timeline, before, revision)
        results = [attempt.perform(*each) for each in enumerate(then if holds else otherwise)]
        if [_comparable(each) for each in results] != [_comparable(each) for each in result.results]:
            raise Wrong(f"at {revision} its results would have been {results}")
        if writes:
            self._exactly(revision, attempt.changes)
        return revision

    def _holds(self, compare: Compare, revision: int) -> bool:
        item = self._timeline.at(compare.key, revision)
        match compare:
            case Exists(_, expected):
                return (item is not None) is expected
            case Value(_, op, value):
                return item is not None and _OPS[op](item.value, value)
            case Version(_, op, number):
                return _OPS[op](item.version if item else 0, number)
            case Created(_, op, number):
                return _OPS[op](item.created if item else 0, number)
            case Modified(_, op, number):
                return _OPS[op](item.modified if item else 0, number)
            case _:
                assert_never(compare)


class Attempt:
    """One branch of a transaction, done on what was there before."""

    def __init__(self, timeline: Timeline, before: int, revision: int) -> None:
        self._timeline = timeline
        self._before = before
        self._revision = revision
        self.changes: dict[bytes, Versioned | None] = {}

    def perform(self, place: int, operation: Operation) -> Result:
        """Do one operation, of that place in the branch; its result."""
        match operation:
            case Put(key, value, lease):
                item = put_on(self._at(key), value, lease, self._revision)
                self.changes[key] = item
                return Written(item.created, item.version)
            case Append(prefix, value, lease):
                key = appended(prefix, self._revision, place)
                self.changes[key] = put_on(self._at(key), value, lease, self._revision)
                return Appended(key)
            case Get(key):
                return Found(self._at(key))
            case Scan(start, end, limit):
                items = self._part(start, end)
                return Scanned(Range(items[:limit], len(items) > limit, self._revision))
            case Delete(key):
                return self._delete([key] if self._at(key) is not None else [])
            case DeleteRange(start, end):
                return self._delete([key for key, _ in self._part(start, end)])
            case _:
                assert_never(operation)

    def _at(self, key: bytes) -> Versioned | None:
        return self.changes[key] if key in self.changes else self._timeline.at(key, self._before)

    def _part(self, start: bytes, end: bytes | None) -> list[tuple[bytes, Versioned]]:
        keys = sorted({*self._timeline.keys, *self.changes})
        found = ((key, self._at(key)) for key in keys if inside(key, start, end))
        return [(key, item) for key, item in found if item is not None]

    def _delete(self, keys: list[bytes]) -> Deleted:
        self.changes |= dict.fromkeys(keys)
        return Deleted(len(keys))


def put_on(before: Versioned | None, value: bytes, lease: int, revision: int) -> Versioned:
    """What a key becomes by a put."""
    if before is None:
        return Versioned(value, revision, revision, 1, lease)
    return Versioned(value, before.created, revision, before.version + 1, lease)


def _value(item: Versioned | None) -> bytes | None:
    return None if item is None else item.value


def _comparable(result: Result) -> Any:
    """A scan's revision within a transaction depends on whether something was changed before it."""
    return (result.range.items, result.range.more) if isinstance(result, Scanned) else result
