"""A sorted map of any number of keys, without the long pauses of one large dictionary.

A dictionary that has grown full is copied into a larger one, in one go: 30 ms at 700,000 keys, and twice as long at twice
as many.  And where the garbage collector has to look into it, it does so as a whole: 75 ms at a million keys, and for
nothing, if they cannot be part of a cycle.  So the values are in many dictionaries, chosen by the hashes of the keys.
They are plain ones, since the collector looks into every instance of a subclass of `dict`, but until Python 3.14 not into
a plain one whose values are none of its business (structs with `gc=False`).  The order of the keys is kept apart.

Passive.
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from sortedcontainers import SortedList
from xxhash import xxh3_64_intdigest

SHARDS: Final = 256
"""Dictionaries: with ten million keys each has 40,000, and is copied in 2 ms.  A power of two.  (Whoever chooses keys of
one shard gets the pauses of one dictionary, not those of a chain: inside, Python's own hashes count.)"""

_LOW: Final = SHARDS - 1

_hash: Final = xxh3_64_intdigest  # ARCHITECTURE, decision 58

MARK_MAX: Final = (1 << 61) - 1
"""Marks, and sums of two, are small integers to compiled code."""

T = TypeVar("T")


def mark_of(key: bytes) -> int:
    """A hash of the key, the same everywhere, up to `MARK_MAX`."""
    found: int = _hash(key)
    return found & MARK_MAX


class Shards(Generic[T]):
    """See the module's text.  Costs: looking up a key and replacing its value O(1), all else O(log keys) and the answer.
    Whoever iterates must not change which keys there are meanwhile."""

    __slots__ = ("_keys", "_shards")

    def __init__(self) -> None:
        self._keys: SortedList[bytes] = SortedList()
        self._shards: list[dict[bytes, T]] = [{} for _ in range(SHARDS)]

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: bytes) -> bool:
        return key in self._shards[_hash(key) & _LOW]

    def __getitem__(self, key: bytes) -> T:
        return self._shards[_hash(key) & _LOW][key]

    def get(self, key: bytes) -> T | None:
        """Its value; None if it is not there."""
        return self._shards[_hash(key) & _LOW].get(key)

    def __setitem__(self, key: bytes, value: T) -> None:
        shard = self._shards[_hash(key) & _LOW]
        if key not in shard:
            self._keys.add(key)
        shard[key] = value

    def shard(self, mark: int) -> dict[bytes, T]:
        """The dictionary of the keys with that mark, for whoever needs a key more than once.  Keys that are there may be
        given other values in it, others must not be added."""
        return self._shards[mark & _LOW]

    def __delitem__(self, key: bytes) -> None:
        del self._shards[_hash(key) & _LOW][key]
        self._keys.remove(key)

    @property
    def last(self) -> bytes | None:
        """The last key; None if there is none."""
        key: bytes | None = self._keys[-1] if self._keys else None
        return key

    def before(self, key: bytes | None) -> int:
        """How many keys are before that one; None: all."""
        found: int = len(self._keys) if key is None else self._keys.bisect_left(key)
        return found

    def keys(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """From `start` up to but without `end` (None: to the last), in order."""
        if end is not None and end <= start:
            return iter(())
        found: Iterator[bytes] = self._keys.irange(start, end, inclusive=(True, False))
        return found

    def items(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, T]]:
        """The same keys, with their values."""
        shards = self._shards
        for key in self.keys(start, end):
            yield key, shards[_hash(key) & _LOW][key]

    def keys_after(self, key: bytes | None, last: bytes | None = None) -> Iterator[bytes]:
        """Those beyond that one, in order (None: all), up to and with `last` (None: to the last)."""
        found: Iterator[bytes] = self._keys.irange(key, last, inclusive=(False, True))
        return found
