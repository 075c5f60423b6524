"""The obviously right store: every state of the past is kept whole, and everything is looked for from the beginning."""

from typing import Any, NamedTuple

from phalanx.services.store import values as v
from phalanx.services.store.values import Event, Versioned


class State(NamedTuple):
    """The whole store at one revision, and the changes that made it."""

    items: dict[bytes, Versioned]
    events: tuple[Event, ...]


class Twin:
    """Without compaction, quotas and checks: the test asks it only for what the store did."""

    def __init__(self) -> None:
        self.states = [State({}, ())]
        self.leases: dict[int, tuple[int, int]] = {}
        """By id: the length, and when it ends in lease time."""
        self.lease_now = 0
        self.stamped = 0

    @property
    def items(self) -> dict[bytes, Versioned]:
        return self.states[-1].items

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def change(self, time_ms: int, steps: list[tuple[Any, ...]]) -> None:
        """Puts (key, value, lease) and deletions (key,), in one revision."""
        items, events = dict(self.items), list[Event]()
        revision = self.revision + 1
        for step in steps:
            before = items.get(step[0])
            if len(step) == 3:
                key, value, lease = step
                created, version = (before.created, before.version) if before else (revision, 0)
                items[key] = Versioned(value, created, revision, version + 1, lease)
            elif before is not None:
                del items[step[0]]
            else:
                continue
            events.append(Event(step[0], revision, len(events), time_ms, items.get(step[0]), before))
        if events:
            self.states.append(State(items, tuple(events)))

    def inside(self, start: bytes, end: bytes | None, at: int | None = None) -> list[tuple[bytes, Versioned]]:
        items = self.states[self.revision if at is None else at].items
        return [(key, items[key]) for key in sorted(items) if key >= start and (end is None or key < end)]

    def revision_at(self, time_ms: int) -> int:
        """The last revision whose changes are not later."""
        times = [state.events[0].time_ms if state.events else 0 for state in self.states]
        return max(n for n, time in enumerate(times) if time <= time_ms)

    def events(self) -> list[Event]:
        return [event for state in self.states for event in state.events]

    # --- transactions

    def holds(self, compare: v.Compare) -> bool:
        item = self.items.get(compare.key)
        match compare:
            case v.Exists():
                return (item is not None) == compare.holds
            case v.Value(_, op, value):
                return item is not None and _compare(item.value, op, value)
            case v.Version(_, op, number):
                return _compare(0 if item is None else item.version, op, number)
            case v.Created(_, op, number):
                return _compare(0 if item is None else item.created, op, number)
            case v.Modified(_, op, number):
                return _compare(0 if item is None else item.modified, op, number)

    def plain(self, operations: tuple[v.Operation, ...]) -> tuple[v.Operation, ...]:
        """The same, with the keys that are appended if they are done now."""
        number = self.revision + 1
        return tuple(
            v.Put(each.prefix + f"{number:016x}{place:02x}".encode(), each.value, each.lease)
            if isinstance(each, v.Append)
            else each
            for place, each in enumerate(operations)
        )

    def steps(self, operations: tuple[v.Operation, ...]) -> list[tuple[Any, ...]]:
        steps: list[tuple[Any, ...]] = []
        for operation in operations:
            match operation:
                case v.Put(key, value, lease):
                    steps.append((key, value, lease))
                case v.Delete(key):
                    steps.append((key,))
                case v.DeleteRange(start, end):
                    steps += [(key,) for key, _ in self.inside(start, end)]
        return steps

    # --- leases

    def pass_time(self, time_ms: int) -> None:
        """In lease time, as leases.py says, computed over all leases; what has ended goes, in the order of its end."""
        gap = max(0, time_ms - self.stamped)
        self.stamped = max(self.stamped, time_ms)
        if self.leases:
            remaining = min(ends for _, ends in self.leases.values()) - self.lease_now
            self.lease_now += min(gap, remaining, max(500, remaining // 3))
        for ends, lease in sorted((ends, lease) for lease, (_, ends) in self.leases.items()):
            if ends <= self.lease_now:
                self.end(lease, time_ms)

    def end(self, lease: int, time_ms: int) -> None:
        del self.leases[lease]
        self.change(time_ms, [(key,) for key, item in sorted(self.items.items()) if item.lease == lease])


def _compare(left: Any, op: str, right: Any) -> bool:
    return bool({"==": left == right, "!=": left != right, "<": left < right, ">": left > right}[op])
