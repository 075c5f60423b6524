"""A store's snapshot: the slices in which it is saved, and restored."""

from collections.abc import Iterator
from typing import assert_never

import msgspec

from phalanx.services.store.frozen import ITEM_BYTES, Change
from phalanx.services.store.index import Index
from phalanx.services.store.leases import Lease, Leases
from phalanx.services.store.values import Versioned


class Settings(msgspec.Struct, array_like=True):
    """What is neither key, history nor lease: see `KV`."""

    origin: int
    retain_ms: int


class _Header(msgspec.Struct, array_like=True, tag="store"):
    """The first slice: all but what follows."""

    settings: Settings
    revision: int
    compacted: int
    now_ms: int
    stamped_ms: int


class _Leases(msgspec.Struct, array_like=True, tag="leases"):
    leases: list[Lease]


class _Keys(msgspec.Struct, array_like=True, tag="keys"):
    items: list[tuple[bytes, Versioned]]


class _History(msgspec.Struct, array_like=True, tag="history"):
    changes: list[Change]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Header | _Leases | _Keys | _History).decode


def slices(settings: Settings, index: Index, table: Leases, size: int) -> Iterator[bytes]:
    """The store as it is when the first is taken, in slices of about `size` bytes, while commands go on.  To freeze it
    takes a copy of the lists of leases and of retained changes, both bounded."""
    leases, frozen = table.leases(), index.freeze()
    try:
        yield _encode(_Header(settings, frozen.revision, frozen.compacted, *table.clock))
        step = max(1, size // ITEM_BYTES)
        for start in range(0, len(leases), step):
            yield _encode(_Leases(leases[start : start + step]))
        for items in frozen.live(size):
            yield _encode(_Keys(items))
        for changes in frozen.log(size):
            yield _encode(_History(changes))
    finally:
        index.thaw(frozen)


def restore(data: bytes, index: Index, table: Leases) -> Settings | None:
    """Give the next slice to a new index and table; the settings, if it has them."""
    match _decode(data):
        case _Header(settings, revision, compacted, now_ms, stamped_ms):
            index.begin_restoring(revision, compacted)
            table.begin_restoring(now_ms, stamped_ms)
            return settings
        case _Leases(leases):
            table.restore(leases)
        case _Keys(items):
            index.restore_live(items)
            for key, item in items:
                table.attach(key, item.lease)
        case _History(changes):
            index.restore_log(changes)
        case other:
            assert_never(other)
    return None
