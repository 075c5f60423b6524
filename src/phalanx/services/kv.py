"""A map from bytes to versioned bytes.

Every change gives the store the next *revision*.  A key remembers the revision that created it, the one that last
changed it, and its version: 1 at creation, one more with each put, gone with the key.  All commands are atomic: they
check first and then change.  Costs: get O(1), put and delete O(log n), range O(log n + answer).
"""

import hashlib

import msgspec
from sortedcontainers import SortedDict

from phalanx.errors import PhalanxError, TooLarge
from phalanx.model.replicated import command, query

KEY_BYTES_MAX = 4_096
"""A key is a name, and kept in memory by every host."""

VALUE_BYTES_MAX = 512 << 10
"""A value travels in one frame with room to spare."""

STORE_BYTES_MAX = 1 << 30
"""Keys and values together: what every host is ready to keep in memory and to transfer."""

RANGE_ITEMS_MAX = 1_000
RANGE_BYTES_MAX = 1 << 20
"""A range answers no more than so many items and bytes (but at least one item), and says that there is more."""

_HASH_BITS = 128


class Quota(PhalanxError):
    """The store is full; it has not changed."""


class Versioned(msgspec.Struct, frozen=True, array_like=True):
    """A value and when it came.  `created` and `modified` are revisions of the store."""

    value: bytes
    created: int
    modified: int
    version: int


class Range(msgspec.Struct, frozen=True, array_like=True):
    """Part of the store, in the order of keys, as it was at `revision`.  `more`: the limit was reached before the end;
    go on from the last key + b"\\0"."""

    items: list[tuple[bytes, Versioned]]
    more: bool
    revision: int


class _Image(msgspec.Struct, array_like=True):
    revision: int
    items: list[tuple[bytes, Versioned]]


class KV:
    """The store.

    >>> store = KV()
    >>> store.put(b"a", b"1"), store.put(b"a", b"2")
    (1, 2)
    >>> store.get(b"a")
    Versioned(value=b'2', created=1, modified=2, version=2)
    """

    def __init__(self) -> None:
        self._items: SortedDict[bytes, Versioned] = SortedDict()
        self._revision = 0
        self._bytes = 0
        self._hash = 0  # the sum of the hashes of all items: it does not depend on how the store came to hold them

    # --- commands -------------------------------------------------------------------------------------------------

    @command(atomic=True, raises=(TooLarge, Quota))
    def put(self, key: bytes, value: bytes) -> int:
        """Set the key; the new revision.  Raises `TooLarge` or `Quota`."""
        self._check(key, value)
        return self._set(key, value)

    @command(atomic=True)
    def delete(self, key: bytes) -> bool:
        """Remove the key; whether it was there."""
        if key not in self._items:
            return False
        self._remove(key)
        return True

    @command(atomic=True, raises=(TooLarge, Quota))
    def compare_and_set(self, key: bytes, expected: bytes | None, value: bytes | None) -> bool:
        """Set the key to `value` if it has the value `expected`; None is absence, on both sides.  Whether it did.
        Raises `TooLarge` or `Quota`."""
        found = self._items.get(key)
        return self._set_if((found.value if found else None) == expected, key, value)

    @command(atomic=True, raises=(TooLarge, Quota))
    def compare_version_and_set(self, key: bytes, version: int, value: bytes | None) -> bool:
        """The same, if the key is at that version; 0 is absence.  A key that was deleted and created again may have the
        version it had before: compare `modified` by a read to rule that out.  Raises `TooLarge` or `Quota`."""
        found = self._items.get(key)
        return self._set_if((found.version if found else 0) == version, key, value)

    # --- queries --------------------------------------------------------------------------------------------------

    @query
    def get(self, key: bytes) -> Versioned | None:
        """The key's value; None if it is absent."""
        found: Versioned | None = self._items.get(key)
        return found

    @query
    def range(self, start: bytes = b"", end: bytes | None = None, limit: int = RANGE_ITEMS_MAX) -> Range:
        """Keys from `start` up to but without `end` (None: to the last), at most `limit`."""
        items: list[tuple[bytes, Versioned]] = []
        size = 0
        for key in self._items.irange(start, end, inclusive=(True, False)):
            item = self._items[key]
            size += len(key) + len(item.value)
            if len(items) >= min(limit, RANGE_ITEMS_MAX) or (items and size > RANGE_BYTES_MAX):
                return Range(items, True, self._revision)
            items.append((key, item))
        return Range(items, False, self._revision)

    @query
    def revision(self) -> int:
        """How many changes there have been."""
        return self._revision

    @query
    def count(self) -> int:
        """How many keys there are."""
        return len(self._items)

    # --- state ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The whole store, encoded in one pass."""
        return msgspec.msgpack.encode(_Image(self._revision, list(self._items.items())))

    def restore(self, data: bytes) -> None:
        """Become what `snapshot` saved."""
        image = msgspec.msgpack.decode(data, type=_Image)
        self._revision = image.revision
        self._items = SortedDict(image.items)
        self._bytes = sum(len(key) + len(item.value) for key, item in image.items)
        self._hash = sum(_hash(key, item) for key, item in image.items) % (1 << _HASH_BITS)

    def digest(self) -> bytes:
        """Kept up to date by every change, so an audit costs nothing."""
        return self._hash.to_bytes(_HASH_BITS // 8, "big") + self._revision.to_bytes(8, "big")

    # --- changes, when all checks have passed ---------------------------------------------------------------------

    def _set_if(self, holds: bool, key: bytes, value: bytes | None) -> bool:
        if value is not None:
            self._check(key, value)
        if holds and value is not None:
            self._set(key, value)
        elif holds and key in self._items:
            self._remove(key)
        return holds

    def _check(self, key: bytes, value: bytes) -> None:
        if len(key) > KEY_BYTES_MAX:
            raise TooLarge(f"a key of {len(key)} bytes; the limit is {KEY_BYTES_MAX}")
        if len(value) > VALUE_BYTES_MAX:
            raise TooLarge(f"a value of {len(value)} bytes; the limit is {VALUE_BYTES_MAX}")
        if self._bytes + self._growth(key, value) > STORE_BYTES_MAX:
            raise Quota(f"the store holds {self._bytes} bytes; the limit is {STORE_BYTES_MAX}")

    def _growth(self, key: bytes, value: bytes) -> int:
        found = self._items.get(key)
        return len(value) - len(found.value) if found else len(key) + len(value)

    def _set(self, key: bytes, value: bytes) -> int:
        self._bytes += self._growth(key, value)
        self._revision += 1
        found = self._items.get(key)
        if found is None:
            item = Versioned(value, self._revision, self._revision, 1)
        else:
            item = Versioned(value, found.created, self._revision, found.version + 1)
            self._hash -= _hash(key, found)
        self._items[key] = item
        self._hash = (self._hash + _hash(key, item)) % (1 << _HASH_BITS)
        return self._revision

    def _remove(self, key: bytes) -> None:
        found = self._items.pop(key)
        self._revision += 1
        self._bytes -= len(key) + len(found.value)
        self._hash = (self._hash - _hash(key, found)) % (1 << _HASH_BITS)


def _hash(key: bytes, item: Versioned) -> int:
    """Revisions are unique, so they stand for the order of changes; the value is hashed too, for values may diverge."""
    data = msgspec.msgpack.encode((key, item))
    return int.from_bytes(hashlib.blake2b(data, digest_size=_HASH_BITS // 8).digest(), "big")
