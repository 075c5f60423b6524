"""A store's snapshot: the slices in which it is saved, and restored."""

from collections.abc import Iterator
from typing import assert_never

import msgspec

from phalanx.services.store.frozen import ITEM_BYTES, Change
from phalanx.services.store.index import Index
from phalanx.services.store.leases import Lease, Leases
from phalanx.services.store.loading import Loading
from phalanx.services.store.values import Begin, Versioned


class Settings(msgspec.Struct, array_like=True):
    """What is neither key, history nor lease: see `KV`."""

    origin: int
    retain_ms: int


class _Header(msgspec.Struct, array_like=True, tag="store"):
    """The first slice: all but what follows."""

    settings: Settings
    revision: int
    compacted: int
    loaded: int
    now_ms: int
    stamped_ms: int
    steady_ms: int


class _Leases(msgspec.Struct, array_like=True, tag="leases"):
    leases: list[Lease]


class _Keys(msgspec.Struct, array_like=True, tag="keys"):
    items: list[tuple[bytes, Versioned]]


class _History(msgspec.Struct, array_like=True, tag="history"):
    changes: list[Change]


class _Loading(msgspec.Struct, array_like=True, tag="loading"):
    """A backup that is being loaded; its leases and keys follow."""

    id: int
    begin: Begin


class _Loaded(msgspec.Struct, array_like=True, tag="loaded"):
    """Some of its leases, or of its keys."""

    leases: list[Lease]
    items: list[tuple[bytes, Versioned]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Header | _Leases | _Keys | _History | _Loading | _Loaded).decode


def slices(
    settings: Settings, index: Index, table: Leases, loading: Loading | None, size: int
) -> Iterator[bytes | None]:
    """The store as it is when the first is taken, in slices of about `size` bytes, while commands go on (None: none yet,
    in another turn).  To freeze it takes a copy of the lists of leases and of retained changes, both bounded."""
    leases, frozen = table.leases(), index.freeze()
    coming = (loading, loading.leases.leases(), loading.index.freeze()) if loading is not None else None
    try:
        yield _encode(_Header(settings, frozen.revision, frozen.compacted, frozen.loaded, *table.clock))
        for some in _pieces(leases, size):
            yield _encode(_Leases(some))
        for items in frozen.live(size):
            yield _encode(_Keys(items)) if items is not None else None
        for changes in frozen.log(size):
            yield _encode(_History(changes))
        if coming is not None:
            yield _encode(_Loading(coming[0].id, coming[0].begin))
            for some in _pieces(coming[1], size):
                yield _encode(_Loaded(some, []))
            for items in coming[2].live(size):
                yield _encode(_Loaded([], items)) if items is not None else None
    finally:
        index.thaw(frozen)
        if coming is not None:
            coming[0].index.thaw(coming[2])


def _pieces(leases: list[Lease], size: int) -> Iterator[list[Lease]]:
    step = max(1, size // ITEM_BYTES)
    return (leases[start : start + step] for start in range(0, len(leases), step))


def restore(data: bytes, index: Index, table: Leases, loading: Loading | None) -> Settings | Loading | None:
    """Give the next slice to a new index and table, or to what was being loaded; the settings, or what was being loaded,
    if it begins with this slice."""
    match _decode(data):
        case _Header(settings, revision, compacted, loaded, now_ms, stamped_ms, steady_ms):
            index.begin_restoring(revision, compacted, loaded)
            table.begin_restoring(now_ms, stamped_ms, steady_ms)
            return settings
        case _Leases(leases):
            table.restore(leases)
        case _Keys(items):
            _restore_keys(items, index, table)
        case _History(changes):
            index.restore_log(changes)
        case _Loading(load, begin):
            return Loading(load, begin, index.revision)
        case _Loaded(leases, items):
            assert loading is not None, "it begins before it goes on"
            loading.leases.restore(leases)
            _restore_keys(items, loading.index, loading.leases)
        case other:
            assert_never(other)
    return None


def _restore_keys(items: list[tuple[bytes, Versioned]], index: Index, table: Leases) -> None:
    index.restore_live(items)
    for key, item in items:
        table.attach(key, item.lease)
