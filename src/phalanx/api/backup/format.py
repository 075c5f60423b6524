"""The file of a backup: frames of the wire (`wire.frame`), each with one record in msgpack.

    Head      what it is a backup of: format, cluster, store, revision, time, settings
    Leases    in the order of their ids, in pieces; none if there are none
    Keys      in their order, in pieces: with value, revisions, version and lease
    Tail      how many leases and keys there should be, and a digest of the records before

A frame's checksum finds what was altered, the tail what is missing, doubled or in another place, and nothing may follow
the tail.  A piece is what one step of loading takes (`services.store.limits`), so neither writer nor reader holds more.
"""

from collections.abc import Callable, Generator
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NoReturn, assert_never

import msgspec

from phalanx.errors import DamagedBackup, Refused
from phalanx.services.store.limits import KEY_BYTES_MAX, LOAD_BYTES_MAX, LOAD_ITEMS_MAX, VALUE_BYTES_MAX
from phalanx.services.store.values import LeaseInfo, Versioned
from phalanx.wire.codec import Codec
from phalanx.wire.errors import CodecError
from phalanx.wire.frame import HEADER_SIZE, Kind, encode_frame, scan

FORMAT = 1
"""Of the records.  A reader refuses a later one."""

READ_BYTES = 1 << 20
"""What is read at a time."""

ITEM_OVERHEAD = 128
"""What an encoded key or lease has besides its bytes, at most."""

RECORD_BYTES_MAX = LOAD_BYTES_MAX + KEY_BYTES_MAX + VALUE_BYTES_MAX + LOAD_ITEMS_MAX * ITEM_OVERHEAD
"""No piece is larger, so a length beyond it is damage, and nothing is read on the strength of it."""


class Head(msgspec.Struct, frozen=True, array_like=True, tag="phalanx backup"):
    """The first record.  cluster: the id as `Status` has it.  time_ms, origin, retain_ms: see `Moment`."""

    format: int
    cluster: str
    store: str
    revision: int
    time_ms: int
    origin: int
    retain_ms: int


class Leases(msgspec.Struct, frozen=True, array_like=True, tag="leases"):
    """Some leases, as they were at the revision."""

    leases: list[LeaseInfo]


class Keys(msgspec.Struct, frozen=True, array_like=True, tag="keys"):
    """Some keys, as they were at the revision."""

    items: list[tuple[bytes, Versioned]]


class Tail(msgspec.Struct, frozen=True, array_like=True, tag="end"):
    """The last record.  digest: BLAKE2b, of 16 bytes, of the bodies of all frames before."""

    leases: int
    keys: int
    digest: bytes


Record = Head | Leases | Keys | Tail
_CODEC: Codec[Record] = Codec(Record)


class Backup(msgspec.Struct, frozen=True):
    """What a backup is.

    cluster, store: of which cluster, by its id, and of which store in it.
    revision: the one that it shows.
    time_ms: when that was: milliseconds since the epoch by the group's clock.
    leases, keys: how many there were.
    digest: of the content, in hexadecimal.
    """

    cluster: str
    store: str
    revision: int
    time_ms: int
    leases: int
    keys: int
    digest: str


def backup_of(head: Head, tail: Tail) -> Backup:
    """What those two records say."""
    about = (head.cluster, head.store, head.revision, head.time_ms)
    return Backup(*about, tail.leases, tail.keys, tail.digest.hex())


class Writer:
    """Writes the records of a backup one after the other.  `write` is the file's; it may raise OSError."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._digest = blake2b(digest_size=16)
        self._leases = self._keys = 0

    def add(self, record: Head | Leases | Keys) -> None:
        """The next record."""
        match record:
            case Leases(leases):
                self._leases += len(leases)
            case Keys(items):
                self._keys += len(items)
            case Head():
                pass
            case other:
                assert_never(other)
        body = _CODEC.encode(record)
        self._digest.update(body)
        self._write(encode_frame(Kind.BACKUP, body))

    def end(self) -> Tail:
        """The last record."""
        tail = Tail(self._leases, self._keys, self._digest.digest())
        self._write(encode_frame(Kind.BACKUP, _CODEC.encode(tail)))
        return tail


class _Check:
    """What may follow what, and the tail's counts and digest."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self._tail: Tail | None = None
        self._leases: set[int] = set()
        self._last_lease = 0
        self._keys = 0
        self._last_key: bytes | None = None
        self._digest = blake2b(digest_size=16)

    def take(self, record: Record, body: memoryview) -> str:
        """What is wrong with the next record; empty if nothing is.  Raises `Refused` for a later format."""
        if self._tail is not None:
            return "something follows the last record"
        match record:
            case Head() if self.head is None:
                self.head = record
                if record.format != FORMAT:
                    raise Refused(f"a backup of format {record.format}; this version of Phalanx reads format {FORMAT}")
            case _ if self.head is None:
                return "it does not begin as a backup does"
            case Head():
                return "a second backup begins"
            case Leases(leases):
                for lease in leases:
                    if lease.id <= self._last_lease or self._keys:
                        return f"lease {lease.id} is out of order"
                    self._last_lease = lease.id
                    self._leases.add(lease.id)
            case Keys(items):
                if wrong := self._take_keys(items, self.head.revision):
                    return wrong
            case Tail():
                if (record.leases, record.keys) != (len(self._leases), self._keys):
                    return f"it should have {record.keys} keys and {record.leases} leases, and has others"
                if record.digest != self._digest.digest():
                    return "its records are not those that were written"
                self._tail = record
            case other:
                assert_never(other)
        self._digest.update(body)
        return ""

    def _take_keys(self, items: list[tuple[bytes, Versioned]], revision: int) -> str:
        for key, item in items:
            if self._last_key is not None and key <= self._last_key:
                return f"key {key[:100]!r} is out of order"
            if item.modified > revision:
                return f"key {key[:100]!r} is later than the backup"
            if item.lease and item.lease not in self._leases:
                return f"key {key[:100]!r} is under lease {item.lease}, which is not there"
            self._last_key = key
            self._keys += 1
        return ""

    @property
    def is_whole(self) -> bool:
        """Whether the last record was read."""
        return self._tail is not None


def read(path: Path) -> Generator[Record, None, None]:
    """The records of a backup, in their order, each checked; the last is a `Tail` if this comes to its end.  Raises
    `DamagedBackup` where it is damaged or cut short, `Refused` if it is of a later format, and OSError."""
    with path.open("rb") as file:
        yield from _checked(path, file)


def verify(path: Path) -> Backup:
    """Read all of it; what it is.  Raises as `read`."""
    head: Head | None = None
    for record in read(path):
        if isinstance(record, Head):
            head = record
        elif isinstance(record, Tail) and head is not None:
            found = backup_of(head, record)
    return found


def _checked(path: Path, file: BinaryIO) -> Generator[Record, None, None]:
    check = _Check()
    held, at, more = b"", 0, True
    while more:
        data = file.read(READ_BYTES)
        held, more = held + data, bool(data)
        found = scan(held, RECORD_BYTES_MAX)
        for kind, body in found.frames:
            try:
                record = _CODEC.decode(body)
            except CodecError as error:
                _damaged(path, at, str(error))
            if wrong := "it is no record of a backup" if kind != Kind.BACKUP else check.take(record, body):
                _damaged(path, at, wrong)
            yield record
            at += HEADER_SIZE + len(body)
        held = held[found.end :]
        if found.fault and not (found.torn and more):
            _damaged(path, at, found.fault)
    if not check.is_whole:
        _damaged(path, at, "it ends without its last record: it was cut short")


def _damaged(path: Path, at: int, why: str) -> NoReturn:
    raise DamagedBackup(f"{path} is damaged, or no backup, at byte {at}: {why}")
