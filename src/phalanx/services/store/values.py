"""What goes into the store and comes out of it: frozen values that travel."""

from typing import Literal

import msgspec

from phalanx.services.store.entries import Record


class Versioned(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value and when it came.  `created` and `modified` are revisions of the store; `version` is 1 at creation, one
    more with each put, and gone with the key.  `lease`: the key goes when that lease does; 0: it stays."""

    value: bytes
    created: int
    modified: int
    version: int
    lease: int = 0


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of one key.

    revision: what the change made the store's revision.  index: its place among the changes of that revision.
    item: what the key has from then on; None: it was deleted.  previous: what it had before; None: it was absent, or
    the watch did not ask.  time_ms: milliseconds since the epoch by the group's clock, which never goes back.
    """

    key: bytes
    revision: int
    index: int
    time_ms: int
    item: Versioned | None
    previous: Versioned | None


class Range(msgspec.Struct, frozen=True, array_like=True):
    """Part of the store, in the order of keys, as it was at `revision`.  `more`: the limit was reached before the end;
    go on from the last key + b"\\0", at that revision."""

    items: list[tuple[bytes, Versioned]]
    more: bool
    revision: int


class Info(msgspec.Struct, frozen=True, array_like=True):
    """What there is.  `compacted`: the least revision that can be read.  `bytes`: present keys and values;
    `history_bytes`: keys and superseded values of the history."""

    revision: int
    compacted: int
    keys: int
    bytes: int
    history_bytes: int
    leases: int


# --- transactions -------------------------------------------------------------------------------------------------

Op = Literal["==", "!=", "<", ">"]


class Exists(msgspec.Struct, frozen=True, array_like=True, tag="exists"):
    """The key is present (or, with `holds` False, absent)."""

    key: bytes
    holds: bool = True


class Value(msgspec.Struct, frozen=True, array_like=True, tag="value"):
    """The key's value compares so with `value`, byte by byte.  Never true of an absent key, whatever `op` is."""

    key: bytes
    op: Op
    value: bytes


class Version(msgspec.Struct, frozen=True, array_like=True, tag="version"):
    """The key's version compares so with `number`.  An absent key has version 0."""

    key: bytes
    op: Op
    number: int


class Created(msgspec.Struct, frozen=True, array_like=True, tag="created"):
    """The revision that created the key compares so with `revision`.  Of an absent key it is 0.  A key that was deleted
    and created again has another one: this is how to fence off former holders."""

    key: bytes
    op: Op
    revision: int


class Modified(msgspec.Struct, frozen=True, array_like=True, tag="modified"):
    """The revision that last changed the key compares so with `revision`.  Of an absent key it is 0."""

    key: bytes
    op: Op
    revision: int


Compare = Exists | Value | Version | Created | Modified


class Put(msgspec.Struct, frozen=True, array_like=True, tag="put"):
    """Set a key, under a lease if one is named.  Result: `Written`."""

    key: bytes
    value: bytes
    lease: int = 0


class Append(msgspec.Struct, frozen=True, array_like=True, tag="append"):
    """Set a new key, under a lease if one is named: `prefix` and 18 hexadecimal digits, which grow from one `Append` to
    the next, so the keys of one prefix sort in the order in which they were made.  (Sequence nodes of ZooKeeper.)
    Result: `Appended`."""

    prefix: bytes
    value: bytes
    lease: int = 0


class Get(msgspec.Struct, frozen=True, array_like=True, tag="get"):
    """Read a key.  Result: `Found`."""

    key: bytes


class Scan(msgspec.Struct, frozen=True, array_like=True, tag="scan"):
    """Read keys from `start` up to but without `end` (None: to the last).  Result: `Range`, in `Scanned`."""

    start: bytes
    end: bytes | None
    limit: int = 1_000


class Delete(msgspec.Struct, frozen=True, array_like=True, tag="delete"):
    """Remove a key.  Result: `Deleted`."""

    key: bytes


class DeleteRange(msgspec.Struct, frozen=True, array_like=True, tag="delete range"):
    """Remove keys from `start` up to but without `end` (None: to the last).  Result: `Deleted`."""

    start: bytes
    end: bytes | None


Operation = Put | Append | Get | Scan | Delete | DeleteRange


class Written(msgspec.Struct, frozen=True, array_like=True, tag="written"):
    """A `Put` was done: the revision that created the key (this one, if the key was absent), and its version now.
    Whoever wants what it had before puts a `Get` before the `Put`."""

    created: int
    version: int


class Appended(msgspec.Struct, frozen=True, array_like=True, tag="appended"):
    """An `Append` was done: the key that it made."""

    key: bytes


class Found(msgspec.Struct, frozen=True, array_like=True, tag="found"):
    """A `Get`'s answer; None: the key is absent."""

    item: Versioned | None


class Scanned(msgspec.Struct, frozen=True, array_like=True, tag="scanned"):
    """A `Scan`'s answer."""

    range: Range


class Deleted(msgspec.Struct, frozen=True, array_like=True, tag="deleted"):
    """A `Delete` or `DeleteRange` removed so many keys."""

    count: int


Result = Written | Appended | Found | Scanned | Deleted


class Txn(msgspec.Struct, frozen=True, array_like=True):
    """How a transaction ended.

    succeeded: all compares held, so `then` was done; else `otherwise`.  results: one for each operation done.
    revision: of the store afterwards; all changes of the transaction have this one.
    token: a fencing token: greater than that of every earlier transaction that changed anything, even if the group was
        lost and founded anew in between.
    """

    succeeded: bool
    results: list[Result]
    revision: int
    token: int


# --- leases -------------------------------------------------------------------------------------------------------


class LeaseInfo(msgspec.Struct, frozen=True, array_like=True):
    """A lease: `ttl_ms` is what each sign of life renews it to, `remaining_ms` what was left of it when this was made.
    Its id only grows from one to the next, so it is a fencing token as well."""

    id: int
    ttl_ms: int
    remaining_ms: int


# --- backups ------------------------------------------------------------------------------------------------------


class Moment(msgspec.Struct, frozen=True, array_like=True):
    """All of a store that a read `at` its `revision` does not tell, at one moment.  time_ms: of the last message that was
    ordered before it, by the group's clock.  origin: see `KV`; with `revision` it makes the last fencing token."""

    revision: int
    time_ms: int
    origin: int
    retain_ms: int
    leases: list[LeaseInfo]


class Begin(msgspec.Struct, frozen=True, array_like=True, tag="begin"):
    """A backup of that revision is to be loaded.  It takes the place of one that has not come to its end."""

    revision: int
    origin: int
    retain_ms: int


class LoadLeases(msgspec.Struct, frozen=True, array_like=True, tag="leases"):
    """Leases of the backup, in the order of their ids, all before the first keys."""

    load: int
    leases: list[LeaseInfo]


class LoadKeys(msgspec.Struct, frozen=True, array_like=True, tag="keys"):
    """Keys of the backup, in their order."""

    load: int
    items: list[tuple[bytes, Versioned]]


class Finish(msgspec.Struct, frozen=True, array_like=True, tag="finish"):
    """That was all: so many leases and keys.  The store is now what was backed up."""

    load: int
    leases: int
    keys: int


class Abandon(msgspec.Struct, frozen=True, array_like=True, tag="abandon"):
    """Forget what was loaded."""

    load: int


LoadStep = Begin | LoadLeases | LoadKeys | Finish | Abandon


# --- watches ------------------------------------------------------------------------------------------------------


class Feed(msgspec.Struct, frozen=True, array_like=True):
    """Changes that a watch is told, in the order of (revision, index): all that concern it after where it was, up to
    `position`.  `position` is opaque but for its order; `more`: there are further ones at once."""

    events: list[Event]
    position: int
    more: bool


INDEX_BITS = 20
"""Low bits of a position: the change within its revision."""


def position_after(revision: int) -> int:
    """The position of a watch that has been told everything up to that revision, and nothing beyond."""
    return ((revision + 1) << INDEX_BITS) - 1


def position_of(event: Event | Record) -> int:
    """The position of a watch that has been told everything up to that change."""
    return (event.revision << INDEX_BITS) + event.index


def revision_of(position: int) -> int:
    """The last revision that a watch at that position has been told completely."""
    return ((position + 1) >> INDEX_BITS) - 1


def prefix_end(prefix: bytes) -> bytes | None:
    """The end of the range of all keys that begin with `prefix`: the first key after them; None if there is none.

    >>> prefix_end(b"a/"), prefix_end(b"a\\xff"), prefix_end(b"\\xff")
    (b'a0', b'b', None)
    """
    shorter = prefix.rstrip(b"\xff")
    return shorter[:-1] + bytes([shorter[-1] + 1]) if shorter else None
