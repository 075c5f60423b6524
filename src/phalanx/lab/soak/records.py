"""What is kept of a round: calls and how they ended, watches and what they were told, what the store holds in the end.

Every value that is written is unique, and says by its *tag* which call wrote it: so the changes in the store's own
history can be told apart, and that history is the order in which the calls took effect.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from phalanx.model.history import Outcome
from phalanx.services.store.txn import appended
from phalanx.services.store.values import Append, Event, LeaseInfo, Put, Versioned

THEN, OTHERWISE = b"+", b"-"
"""Ends of the values that a transaction writes in the one case and the other."""


class Call(msgspec.Struct):
    """A call of one client.  Times are `time.monotonic_ns()` of the process that all clients live in."""

    client: str
    f: str
    """The method of `KV`; with "stale " before it if the read was a stale one."""
    arguments: tuple[Any, ...]
    invoked: int
    result: Any = None
    outcome: Outcome = Outcome.INFO
    completed: int | None = None
    error: str = ""
    """The name of the error that it raised."""

    @property
    def tag(self) -> bytes | None:
        """What the values that it writes begin with; None if it writes none."""
        for written in self.alternatives(0):
            for value in written.values():
                return tag_of(value)
        return None

    def alternatives(self, revision: int) -> Iterator[dict[bytes, bytes]]:
        """What it may write if that is the revision, by key: a transaction does one thing or the other."""
        match self.f, self.arguments:
            case "put", (bytes(key), bytes(value), *_):
                yield {key: value}
            case "compare_and_set", (bytes(key), _, bytes(value)):
                yield {key: value}
            case "transact", (_, then, otherwise):
                for branch in (then, otherwise):
                    writes = [(n, each) for n, each in enumerate(branch) if isinstance(each, Put | Append)]
                    yield {_key_of(each, revision, place): each.value for place, each in writes}


def _key_of(write: Put | Append, revision: int, place: int) -> bytes:
    return write.key if isinstance(write, Put) else appended(write.prefix, revision, place)


def tag_of(value: bytes) -> bytes:
    """The tag of the call that wrote this value."""
    return value.rstrip(THEN + OTHERWISE)


class Told(NamedTuple):
    """A change that a watch was told, and when."""

    at: int
    event: Event


class Watched(msgspec.Struct):
    """A watch of one client."""

    client: str
    start: bytes
    end: bytes | None
    puts: bool
    deletes: bool
    previous: bool
    after: int | None
    """The revision that it was asked to begin after; None: now."""
    asked: int
    """When it was asked for."""
    begun: int = -1
    """The revision after which it did begin; -1: it never got so far."""
    told: list[Told] = []
    upto: int = -1
    """The revision up to which it was told everything, all of it read; -1: it was given up before that."""
    error: str = ""


class Replica(msgspec.Struct):
    """What one node holds in the end."""

    node: str
    items: list[tuple[bytes, Versioned]]
    log: list[Event]
    leases: list[LeaseInfo]


class Round(msgspec.Struct):
    """Everything that happened between two moments in which nobody used the store."""

    number: int
    base: int
    """The revision that the store had at first."""
    initial: dict[bytes, Versioned]
    """What it had then."""
    calls: list[Call]
    watched: list[Watched]
    replicas: list[Replica]

    @property
    def log(self) -> list[Event]:
        """The history of the store in this round, as the first replica has it."""
        return self.replicas[0].log


def lines_of(round_: Round) -> Iterator[str]:
    """The round as lines of JSON, for people and programs that look for what went wrong.  Bytes are shown as texts."""
    yield _line("round", {"number": round_.number, "base": round_.base, "initial": list(round_.initial.items())})
    yield from _lines("call", sorted(round_.calls, key=lambda call: call.invoked))
    yield from _lines("watch", round_.watched)
    yield from _lines("replica", round_.replicas)


def _lines(kind: str, values: Iterable[Any]) -> Iterator[str]:
    return (_line(kind, value) for value in values)


def _line(kind: str, value: Any) -> str:
    plain = msgspec.to_builtins(value, builtin_types=(bytes,))
    return json.dumps({kind: plain}, default=lambda raw: raw.decode("ascii", "backslashreplace"))
