"""The node's small durable state on disk: `VoteFile`, and what drives it off the loop; `MemoryDisk` for none at all.

A promise that is forgotten is a broken promise, so the file takes three kinds of trouble apart:

- *A crash in the middle of a write.*  Records go to two slots in turn, so the one before is whole.
- *A flipped bit or a bad sector* must not look like a torn write, else the record before, with an older promise, would
  be taken for the newest.  Each slot is therefore kept in two copies, half a file apart, written before one fsync:
  one bad copy costs nothing, and only when both copies of a slot are bad was its write torn, hence never acknowledged.
- *Both slots bad:* `DamagedVoteFile`.  Never silently empty; the node must then come back as a new one.

    offset   0         size      2*size    3*size
             slot 0    slot 1    slot 0'   slot 1'        each a frame: sequence, size of a slot, record

Slots have a fixed size, a power of two, and never move; when a record outgrows them the file is replaced whole.
What a crashed process had written, or renamed, but not fsynced is still in the page cache: `load` fsyncs before it
believes it.
Compare Pillai et al., "All File Systems Are Not Created Equal" (2014); Alagappan et al., "Protocol-Aware Recovery"
(2018).
"""

import asyncio
import fcntl
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from phalanx.errors import DamagedVoteFile, DataDirectoryInUse
from phalanx.runtime.contract import Stored
from phalanx.runtime.files import make_directory, sync_directory
from phalanx.runtime.space import NoRoom, undone_if_refused
from phalanx.wire.codec import Codec
from phalanx.wire.frame import BODY_BYTES_MAX, HEADER_SIZE, Kind, encode_frame, scan

SLOT_BYTES_MIN = 4096
"""A slot is a whole number of pages and sectors, so that a torn write of one cannot touch the other."""

_PREFIX = struct.Struct("<QI")
_SLOT_SIZES = tuple(SLOT_BYTES_MIN << n for n in range(13))  # up to 16 MiB: holds the largest frame

_REMEDY = "what this node has promised is unknown: move its data directory away, and start it as a new node"


class _Copy(NamedTuple):
    """One whole copy of a slot, as found in a file."""

    sequence: int
    size: int
    record: bytes


def _copy_at(data: bytes, at: int) -> _Copy | None:
    """The slot copy at that offset, if it is whole and is where it says that it belongs."""
    length = int.from_bytes(data[at + HEADER_SIZE - 4 : at + HEADER_SIZE], "little")
    found = scan(data[at : at + HEADER_SIZE + min(length, BODY_BYTES_MAX)])
    if found.fault or len(found.frames) != 1:
        return None
    kind, body = found.frames[0]
    if kind != Kind.STATE or len(body) < _PREFIX.size:
        return None
    sequence, size = _PREFIX.unpack_from(body)
    return _Copy(sequence, size, bytes(body[_PREFIX.size :])) if at in _places(sequence, size) else None


def _places(sequence: int, size: int) -> tuple[int, int]:
    """Offsets of the two copies of the slot that the record of that sequence number goes to."""
    slot = sequence % 2
    return slot * size, (2 + slot) * size


class VoteFile:
    """One record that is replaced as a whole, and survives crashes, torn writes and a bad sector.  Holds a lock on the
    file until `close`.

    Raises DataDirectoryInUse if another process, or another VoteFile of this one, has it open, and OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: tuple[str, ...] = ()
        """What `load` found broken and has mended, or where there was no room for that, has left to the next records,
        which go over it."""
        self._file = -1
        self._size = SLOT_BYTES_MIN
        self._sequence = 0
        self._failure: OSError | None = None
        make_directory(path.parent)
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # flock, not lockf: a POSIX lock would not keep out this very process, and any close would release it.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise DataDirectoryInUse(f"{path.parent} is in use by another process") from None

    def load(self) -> bytes | None:
        """The record stored last; None if the file did not exist, or never held one.  Call it once, before `store`.

        Raises DamagedVoteFile if that record cannot be told, and OSError.
        """
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self._replace(0, b"")
            return None
        os.fsync(self._file)  # what we are about to read may be in the page cache only,
        sync_directory(self.path.parent)  # and so may be that it has this name: a replacement may not have come further
        data = self.path.read_bytes()
        newest = self._newest(data)
        self._size, self._sequence = newest.size, newest.sequence
        if self.damage:
            self._mend(newest, len(data))
        return newest.record if newest.sequence else None

    def _mend(self, newest: _Copy, size: int) -> None:
        """Write all anew.  That takes room; where there is none, a file in which records have their places does as it is:
        the next record does not go where this one is."""
        try:
            self._replace(newest.sequence + 1 if newest.sequence else 0, newest.record)
        except NoRoom:
            if size < 4 * newest.size:
                raise

    def _newest(self, data: bytes) -> _Copy:
        offsets = {place * size for size in _SLOT_SIZES for place in range(4) if place * size < len(data)}
        copies = {at: copy for at in offsets if (copy := _copy_at(data, at)) is not None}
        if not copies:
            raise DamagedVoteFile(f"{self.path}: no whole record in {len(data)} bytes; {_REMEDY}")
        newest = max(copies.values())
        other = _places(newest.sequence + 1, newest.size)
        if len(data) < 4 * newest.size and not copies.keys() & set(other):
            # A torn write does not shorten the file: what the other slot held may have been newer, and durable.
            raise DamagedVoteFile(f"{self.path}: cut off at {len(data)} of {4 * newest.size} bytes; {_REMEDY}")
        self.damage = tuple(
            f"slot {at // newest.size % 2}, copy {at // newest.size // 2}: not whole"
            for at in range(0, 4 * newest.size, newest.size)
            if at not in copies and (any(data[at : at + newest.size]) or at >= len(data) or at not in other)
        )
        if len(data) < 4 * newest.size:
            self.damage += (f"cut off at {len(data)} of {4 * newest.size} bytes",)
        return newest

    def store(self, record: bytes) -> None:
        """Replace the record; it is durable on return.  Blocks for one fsync, so call it off the loop.

        Raises TooLarge and NoRoom, after which the last record is as it was, and OSError; after such an error what is on
        the disk is unknown (Rebello et al., "Can Applications Recover from fsync Failures?", 2020), so every later call
        fails too.
        """
        if self._failure is not None:
            raise OSError(f"{self.path} failed before") from self._failure
        sequence = self._sequence + 1
        frame = _slot(sequence, self._size, record)
        try:
            if len(frame) > self._size:
                self._replace(sequence, record)
            else:
                with undone_if_refused(self.path.name, self._skip):
                    for place in _places(sequence, self._size):
                        _write_all(self._file, frame, place)
                _fdatasync(self._file)
        except NoRoom:
            raise
        except OSError as error:
            self._failure = error
            raise
        self._sequence = sequence

    def _skip(self) -> None:
        """A record was refused, by a file system that never writes in place.  Any part of it may be in its slot, where
        the last one is not; the next goes there too, under a number of its own, so the two cannot be confused."""
        self._sequence += 2

    def _replace(self, sequence: int, record: bytes) -> None:
        """Write the whole file anew, with slots that are large enough, and put it in the old one's place."""
        need = len(_slot(sequence, self._size, record))
        size = next(size for size in _SLOT_SIZES if size >= max(need, self._size))
        frame = _slot(sequence, size, record)
        data = bytearray(4 * size)
        for place in _places(sequence, size):
            data[place : place + len(frame)] = frame
        fresh = self.path.with_name(self.path.name + ".new")
        with undone_if_refused(fresh.name, lambda: fresh.unlink(missing_ok=True)):
            file = _written(fresh, data)
        try:
            os.fsync(file)
            fresh.replace(self.path)
            sync_directory(self.path.parent)
        except OSError:
            os.close(file)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size, self._sequence = file, size, sequence

    def close(self) -> None:
        """Release the file and its lock.  Idempotent."""
        for file in (self._file, self._lock):
            if file >= 0:
                os.close(file)
        self._file = self._lock = -1


def _slot(sequence: int, size: int, record: bytes) -> bytes:
    return encode_frame(Kind.STATE, _PREFIX.pack(sequence, size) + record)


def _written(path: Path, data: bytes | bytearray) -> int:
    """A new file with that in it, open."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(file, data, 0)
    except OSError:
        os.close(file)
        raise
    return file


def _write_all(file: int, data: bytes | bytearray, at: int) -> None:
    with memoryview(data) as rest:
        done = 0
        while done < len(rest):
            done += os.pwrite(file, rest[done:], at + done)


_fdatasync = getattr(os, "fdatasync", os.fsync)


class FileDisk:
    """A `Disk` on a `VoteFile`: encodes and stores in a thread of its own, so the loop never waits for an fsync."""

    def __init__(self, file: VoteFile, codec: Codec[Any]) -> None:
        self._file = file
        self._codec = codec
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="phalanx-disk")

    def store(self, record: Any, done: Stored) -> None:
        def finished(future: asyncio.Future[None]) -> None:
            done(future.exception())

        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._thread, self._store, record).add_done_callback(finished)

    def _store(self, record: Any) -> None:
        self._file.store(self._codec.encode(record))

    def close(self) -> None:
        self._thread.shutdown()
        self._file.close()


class MemoryDisk:
    """A `Disk` that forgets with the process: for `--diskless` nodes and clusters inside one program.  Such a node must
    never come back in its old identity."""

    def __init__(self, record: Any = None) -> None:
        self.record = record

    def store(self, record: Any, done: Stored) -> None:
        self.record = record
        done(None)

    def close(self) -> None:
        """Nothing to let go."""
