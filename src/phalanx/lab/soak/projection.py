"""The calls of a round as operations on single keys, for the checker that knows nothing of the history.

Linearizability is a local property (Herlihy and Wing, 1990, theorem 1), so a call on many keys is one on each of them;
what it demands of all at once is left to the other judge.
"""

from collections.abc import Iterable, Iterator, Sequence

from phalanx.lab.soak.records import Call
from phalanx.lab.soak.timeline import Timeline, inside
from phalanx.model.history import Operation, Outcome
from phalanx.services.store.values import Append, Appended, Delete, DeleteRange, Found, Get, Put, Txn, Versioned

LEASED = b"leased/"
"""Keys with this in their name go with a lease, so they are not only changed by calls; they are left out."""

_Step = tuple[str, bytes, bytes | list[str | None] | None, object]


def operations(calls: Iterable[Call], timeline: Timeline) -> list[Operation]:
    """In Jepsen's terms, by key; begun with a put of what each key had at first."""
    out = [
        Operation("before", "put", _text(key), _text(item.value), None, Outcome.OK, 0, 0)
        for key in timeline.keys
        if (item := timeline.at(key, timeline.base)) is not None and LEASED not in key
    ]
    for number, call in enumerate(calls):
        if call.outcome is Outcome.FAIL:
            continue
        process = call.client if call.outcome is Outcome.OK else f"{call.client}.{number}"
        for step, (f, key, argument, result) in enumerate(_steps(call, timeline)):
            if LEASED in key:
                continue
            shown = _text(argument) if isinstance(argument, bytes) else argument
            seen = _text(result.value) if isinstance(result, Versioned) else result
            name = process if step == 0 else f"{process}/{step}"
            out.append(Operation(name, f, _text(key), shown, seen, call.outcome, call.invoked, call.completed))
    return out


def _steps(call: Call, timeline: Timeline) -> Iterator[_Step]:
    match call.f, call.arguments:
        case "get", (bytes(key),):
            yield "get", key, None, call.result
        case "put", (bytes(key), bytes(value), *_):
            yield "put", key, value, None
        case "delete", (bytes(key),):
            yield "delete", key, None, None
        case "compare_and_set", (bytes(key), expected, bytes(value)):
            before = None if expected is None else _text(expected)
            yield "cas", key, [before, _text(value)], call.result
        case "compare_and_set", (bytes(key), expected, None):
            yield "cas", key, [None if expected is None else _text(expected), None], call.result
        case "delete_range", (bytes(start), end):
            yield from (("delete", key, None, None) for key in timeline.keys if inside(key, start, end))
        case "transact", (_, then, otherwise):
            branches = [then, otherwise]
            if isinstance(call.result, Txn):
                branches = [then if call.result.succeeded else otherwise]
            results = call.result.results if isinstance(call.result, Txn) else []
            for branch in branches:
                yield from _branch(branch, results, timeline)


def _branch(branch: tuple[object, ...], results: Sequence[object], timeline: Timeline) -> Iterator[_Step]:
    """What it changes, and what it read of keys that it had not changed.  Results that are of other operations are for
    whoever judges answers; and the key of an `Append` without an answer is known to nobody."""
    changed: set[bytes] = set()
    for number, each in enumerate(branch):
        result = results[number] if number < len(results) else None
        match each:
            case Put(key, value):
                changed.add(key)
                yield "put", key, value, None
            case Append(_, value) if isinstance(result, Appended):
                changed.add(result.key)
                yield "put", result.key, value, None
            case Get(key) if key not in changed and isinstance(result, Found):
                yield "get", key, None, result.item
            case Delete(key):
                changed.add(key)
                yield "delete", key, None, None
            case DeleteRange(start, end):
                inner = [key for key in timeline.keys if inside(key, start, end)]
                changed.update(inner)
                yield from (("delete", key, None, None) for key in inner)


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace")
