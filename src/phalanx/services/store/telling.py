"""What others see of the index's entries: the values that are told of them, and the marks that a digest is the sum of.

Passive.
"""

from typing import Final

from msgspec.structs import astuple
from xxhash import xxh3_64_intdigest

from phalanx.services.store.entries import Item, Record
from phalanx.services.store.shards import MARK_MAX, mark_of
from phalanx.services.store.values import Event, Versioned

# Final: ARCHITECTURE, decision 58.
_fields_of: Final = astuple
_hash: Final = xxh3_64_intdigest
_versioned: Final = Versioned

_Fields = tuple[bytes, int, int, int, int, int]


def versioned(item: Item) -> Versioned:
    """As it is told."""
    fields: _Fields = _fields_of(item)
    value, created, modified, version, lease, _ = fields
    return _versioned(value, created, modified, version, lease)


def event(record: Record, *, previous: bool) -> Event:
    """As it is told, with what was there before or without."""
    item, former = record.item, record.previous if previous else None
    return Event(
        record.key,
        record.revision,
        record.index,
        record.time_ms,
        versioned(item) if item is not None else None,
        versioned(former) if former is not None else None,
    )


def mark_of_record(record: Record) -> int:
    """Revisions are unique, so they stand for the order of changes."""
    if record.item is not None:
        return mark_of_item(mark_of(record.key), record.item)
    found: int = _hash(record.key, record.revision)
    return found & MARK_MAX


def mark_of_item(mark: int, item: Item) -> int:
    """Of a key with that mark and what it has."""
    fields: _Fields = _fields_of(item)
    value, created, modified, version, lease, _ = fields
    return mark_of_fields(mark, value, created, modified, version, lease)


def mark_of_fields(mark: int, value: bytes, created: int, modified: int, version: int, lease: int) -> int:
    """The same: all that others see of it, since any of that may diverge.  The numbers are weighed so that nothing but
    chance makes two that differ alike, and their sum is a small integer to compiled code."""
    numbers = modified * 1_000_003 + created * 536_870_909 + version * 65_537 + lease * 31
    found: int = _hash(value, mark + numbers)
    return found & MARK_MAX
