"""Which calls the clients make: every operation of the store, on few keys, so that calls meet."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from phalanx.lab.soak.projection import LEASED
from phalanx.lab.soak.records import OTHERWISE, THEN
from phalanx.services.store.kv import KV
from phalanx.services.store.values import (
    Append,
    Compare,
    Created,
    Delete,
    DeleteRange,
    Exists,
    Get,
    Modified,
    Operation,
    Put,
    Scan,
    Txn,
    Value,
    Version,
    Versioned,
    prefix_end,
)

KEYS = 6
"""That all clients share."""

LEASED_KEYS = 4
LEDGER = b"ledger/"
TTLS_MS = (1_000, 1_500, 3_000)
RANGE_LIMITS = (1, 3, 100)
VALUE_BYTES = (0, 0, 0, 40, 400, 4_000)
"""What values are filled up with."""


class Wish(NamedTuple):
    """A call to be made."""

    method: Callable[..., Any]
    arguments: tuple[Any, ...]

    @property
    def f(self) -> str:
        """As in `Call`."""
        return self.method.__name__


def room(number: int) -> bytes:
    """What the keys of a round begin with."""
    return b"r%06d/" % number


class Caller:
    """What one client does next, given what it has seen."""

    def __init__(self, name: str, number: int, rng: random.Random) -> None:
        self._name = name.encode()
        self._room = room(number)
        self._rng = rng
        self._numbers = itertools.count(1)
        self._seen: dict[bytes, Versioned | None] = {}
        self._revision = 0
        self._leases: list[int] = []

    def draw(self) -> Wish:
        """The next call."""
        kinds = {
            self._ledger: 22,
            self._put: 12,
            self._get: 14,
            self._cas: 12,
            self._delete: 4,
            self._range: 6,
            self._count: 3,
            self._transaction: 12,
            self._reading: 3,
            self._lease: 12,
        }
        return self._rng.choices(list(kinds), list(kinds.values()))[0]()

    def took(self, wish: Wish, result: Any) -> None:
        """The answer to a call."""
        match wish.f, result:
            case "get", _ if len(wish.arguments) == 1:
                self._seen[wish.arguments[0]] = result
            case "put", int(revision):
                self._revision = max(self._revision, revision)
            case "transact", Txn():
                self._revision = max(self._revision, result.revision)
            case "grant", _:
                self._leases.append(result.id)
            case "keep_alive", None:
                self._leases.remove(wish.arguments[0])

    def lost(self, lease: int) -> None:
        """The store said that the lease has ended."""
        if lease in self._leases:
            self._leases.remove(lease)

    # --- keys ---------------------------------------------------------------------------------------------------------

    def _key(self) -> bytes:
        return self._room + b"key/%d" % self._rng.randrange(KEYS)

    def _span(self) -> tuple[bytes, bytes | None]:
        one, other = sorted((self._key(), self._key()))
        return self._rng.choice(((one, other), (one, other), (self._room + b"key/", self._room + b"key0")))

    def _value(self, end: bytes = b"") -> bytes:
        filling = b"." * self._rng.choice(VALUE_BYTES)
        return b"%s#%d%s" % (self._name, next(self._numbers), filling) + end

    def _ledger(self) -> Wish:
        value = self._value()
        return Wish(KV.put, (self._room + LEDGER + value[:40], value))

    def _put(self) -> Wish:
        return Wish(KV.put, (self._key(), self._value()))

    def _get(self) -> Wish:
        if self._revision and self._rng.random() < 0.15:
            return Wish(KV.get, (self._key(), self._revision))
        return Wish(KV.get, (self._key(),))

    def _cas(self) -> Wish:
        key = self._key()
        seen = self._seen.get(key)
        value = None if self._rng.random() < 0.15 else self._value()
        return Wish(KV.compare_and_set, (key, seen.value if seen else None, value))

    def _delete(self) -> Wish:
        if self._rng.random() < 0.3:
            return Wish(KV.delete_range, self._span())
        return Wish(KV.delete, (self._key(),))

    def _range(self) -> Wish:
        if self._rng.random() < 0.2:
            return Wish(KV.range, (self._room + LEASED, prefix_end(self._room + LEASED), 100))
        return Wish(KV.range, (*self._span(), self._rng.choice(RANGE_LIMITS)))

    def _count(self) -> Wish:
        return Wish(KV.count, self._span())

    # --- transactions -------------------------------------------------------------------------------------------------

    def _reading(self) -> Wish:
        one, other = self._two_keys()
        return Wish(KV.transact, ((), (Get(one), Get(other), Scan(self._room + b"key/", self._room + b"key0")), ()))

    def _two_keys(self) -> list[bytes]:
        return [self._room + b"key/%d" % number for number in self._rng.sample(range(KEYS), 2)]

    def _transaction(self) -> Wish:
        value = self._value()
        when = tuple(self._compare() for _ in range(self._rng.randrange(3)))
        return Wish(KV.transact, (when, self._branch(value + THEN), self._branch(value + OTHERWISE)))

    def _compare(self) -> Compare:
        key = self._key()
        seen = self._seen.get(key)
        return self._rng.choice(
            (
                Exists(key, seen is not None),
                Value(key, "==", seen.value if seen else b""),
                Version(key, self._rng.choice(("<", ">", "==", "!=")), self._rng.randrange(4)),
                Created(key, "<", self._revision + 1),
                Modified(key, "==", seen.modified if seen else 0),
            )
        )

    def _branch(self, value: bytes) -> tuple[Operation, ...]:
        """At least one put, so that it can be found in the history."""
        one, other = self._two_keys()
        deleting = (Delete(other), DeleteRange(other, other + b"\0"))
        third = self._rng.choice((Put(other, value), Append(other, value), Get(other), *deleting))
        reads = (Get(one), Get(other), Scan(self._room + b"key/", self._room + b"key0"))
        return (self._rng.choice(reads), Put(one, value), third, Get(one))

    # --- leases -------------------------------------------------------------------------------------------------------

    def _lease(self) -> Wish:
        rng = self._rng
        if not self._leases or (len(self._leases) < 3 and rng.random() < 0.1):
            return Wish(KV.grant, (rng.choice(TTLS_MS),))
        lease = rng.choice(self._leases)
        draw = rng.random()
        if draw < 0.55:
            return Wish(KV.keep_alive, (lease,))
        if draw < 0.9:
            key = self._room + LEASED + b"%d" % rng.randrange(LEASED_KEYS)
            return Wish(KV.put, (key, self._value(), lease))
        if draw < 0.96:
            self._leases.remove(lease)
            return Wish(KV.revoke, (lease,))
        self._leases.remove(lease)  # it is left to itself
        return Wish(KV.grant, (rng.choice(TTLS_MS),))


def stale_reads(number: int, rng: random.Random) -> Iterator[Wish]:
    """What a client reads again and again that does not mind old answers."""
    keys = room(number) + b"key/"
    while True:
        if rng.random() < 0.5:
            yield Wish(KV.get, (keys + b"%d" % rng.randrange(KEYS),))
        else:
            yield Wish(KV.range, (keys, prefix_end(keys), 100))
