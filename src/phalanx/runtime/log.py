"""A durable log of records in segments, and what a crash or a bad disk can leave of one (DESIGN section 8).

    0000000000000001.log    SEGMENT(sequence, first record, where the one before ends, whether that was cut off)
                            RECORD(sequence, offset, how much of this file was durable before it, bytes) ...
    0000000000000002.log    ...

One write at a time, and one fsync for all its records (group commit).  A new segment is begun between two writes, so the
one before is durable as a whole, and its end is written down in the new one: a file cut short, or missing in the middle,
cannot pass for a short log.

*A torn tail* is what a crash leaves of the last write.  It is not destroyed: the next life begins a new segment, which
says where the one before ends and that something behind it was cut off.  The same can be the work of a bit that flipped
in the last write *after* it was synced; nobody can tell (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based
Storage", FAST 2018).  So `Recovery.cuts` says where records are possibly lost, and such a log is no proof of absence.

*Damage* anywhere else is seen by what follows: each record says how much of its file was durable when it was written, so
a sound record that was written after a bad one had been synced proves that the bad one was acknowledged.  A record that a
disk has put in another's place is damage, too: each says where it belongs.  That raises `DamagedLog`; nothing of the log
may be believed but what its operator decides (`phalanx log repair`).

What a crashed process had written but not synced is still in the page cache: `recover` syncs before it believes it.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from phalanx.errors import PhalanxError, TooLarge
from phalanx.runtime.files import Files, PosixFiles
from phalanx.runtime.space import NoRoom, undone_if_refused
from phalanx.wire.frame import BODY_BYTES_MAX, HEADER_SIZE, Kind, encode_frame, scan

SEGMENT_BYTES = 64 << 20
"""A segment that has grown beyond this gets a successor: small enough that space comes back soon once its records are
covered by snapshots, large enough that a switch, which costs three fsyncs, is rare."""

_SEGMENT = struct.Struct("<QQQB")
_RECORD = struct.Struct("<QQQ")

RECORD_BYTES_MAX = BODY_BYTES_MAX - _RECORD.size
"""One record fits into one frame."""

SUFFIX = ".log"

CUT, LOST = 1, 2


class DamagedLog(PhalanxError):
    """A record that was durable cannot be read: the log's groups must be fetched from peers.  Nothing was changed."""


class Recovery(NamedTuple):
    """What a log holds."""

    records: list[bytes]
    cuts: tuple[int, ...]
    """Places in `records` before which a torn tail was cut off: records are possibly lost there."""
    torn: str
    """What was wrong behind the last record, and was cut off just now; "" if nothing."""
    lost: bool
    """There was another log before this one, and nothing of it is known."""


class Segment(NamedTuple):
    """What one file of a log holds, as far as it is sound."""

    name: str
    sequence: int
    first: int
    """Number of its first record."""
    previous_end: int
    """Bytes of the segment before it that count; 0 if it was the first of all."""
    mark: int
    """CUT: something behind that was cut off; LOST: a log was before this one, and is lost."""
    records: list[bytes]
    ends: list[int]
    """Offset behind each record."""
    begin: int
    """Offset of the first record."""
    fault: str
    """What is wrong behind the last of them; "" if nothing."""
    acknowledged: bool
    """What is wrong had been durable: it is damage, no torn write."""


def read_segment(name: str, data: bytes) -> Segment | None:
    """What the file holds up to the first thing that is not sound.  None: its beginning was never written whole.

    Raises DamagedLog if its beginning is bad, and sound records follow.
    """
    found = scan(data)
    if not found.frames or found.frames[0][0] != Kind.SEGMENT or len(found.frames[0][1]) != _SEGMENT.size:
        if _is_acknowledged(data, 0):
            raise DamagedLog(f"{name}: damaged at its beginning")
        return None
    sequence, first, previous_end, mark = _SEGMENT.unpack(found.frames[0][1])
    records, ends = [], []
    begin = at = HEADER_SIZE + _SEGMENT.size
    fault, end, misplaced = found.fault, found.end, False
    for kind, body in found.frames[1:]:
        if kind != Kind.RECORD or len(body) < _RECORD.size:
            fault, end = f"a frame of kind {kind} that is no record", at
            break
        of, place, _ = _RECORD.unpack_from(body)
        if (of, place) != (sequence, at):
            fault, end, misplaced = f"a record that belongs to offset {place} of segment {of}", at, True
            break
        at += HEADER_SIZE + len(body)
        records.append(bytes(body[_RECORD.size :]))
        ends.append(at)
    acknowledged = misplaced or (bool(fault) and _is_acknowledged(data, end))
    text = f"{fault} at offset {end}" if fault else ""
    return Segment(name, sequence, first, previous_end, mark, records, ends, begin, text, acknowledged)


def _is_acknowledged(data: bytes, bad: int) -> bool:
    """Some record behind the bad place was written when that place had been synced."""
    at = bad
    while (at := data.find(b"PX", at + 1)) >= 0:
        start = at - 4
        if start <= bad:
            continue
        length = int.from_bytes(data[start + HEADER_SIZE - 4 : start + HEADER_SIZE], "little")
        if length > BODY_BYTES_MAX:
            continue
        found = scan(data[start : start + HEADER_SIZE + length])
        if found.fault or len(found.frames) != 1:
            continue
        kind, body = found.frames[0]
        if kind == Kind.RECORD and len(body) >= _RECORD.size and _RECORD.unpack_from(body)[2] > bad:
            return True
    return False


def read_segments(files: Files) -> list[Segment]:
    """All segments, oldest first; a last file that was never begun is left out.

    Raises DamagedLog if one that was durable is missing, cut short, or damaged, and OSError.
    """
    names = [name for name in files.names() if name.endswith(SUFFIX)]
    segments: list[Segment] = []
    for name in names:
        segment = read_segment(name, files.read(name))
        if segment is None:
            if name != names[-1]:
                raise DamagedLog(f"{name}: damaged at its beginning")
            break
        segments.append(segment)
    for i, segment in enumerate(segments):
        _check(segment, segments[i + 1] if i + 1 < len(segments) else None)
    return [_upto(s, segments[i + 1].previous_end) if i + 1 < len(segments) else s for i, s in enumerate(segments)]


def _check(segment: Segment, following: Segment | None) -> None:
    if segment.name != _name(segment.sequence):
        raise DamagedLog(f"{segment.name}: it says that it is {_name(segment.sequence)}")
    if following is None:
        if segment.acknowledged:
            raise DamagedLog(f"{segment.name}: {segment.fault}, and sound records follow")
        return
    if following.sequence != segment.sequence + 1:
        raise DamagedLog(f"{_name(segment.sequence + 1)} is missing")
    end = following.previous_end
    if end != segment.begin and end not in segment.ends:
        raise DamagedLog(
            f"{segment.name}: {segment.fault or 'it ends'} before offset {end}, up to which it was durable"
        )
    if following.first != segment.first + (segment.ends.index(end) + 1 if end in segment.ends else 0):
        raise DamagedLog(f"{segment.name}: it has not the records that {following.name} follows")


def _upto(segment: Segment, end: int) -> Segment:
    count = segment.ends.index(end) + 1 if end in segment.ends else 0
    return segment._replace(records=segment.records[:count], ends=segment.ends[:count], fault="", acknowledged=False)


def _name(sequence: int) -> str:
    return f"{sequence:016d}{SUFFIX}"


def _recovery(segments: Sequence[Segment]) -> Recovery:
    records: list[bytes] = []
    cuts: list[int] = []
    for segment in segments:
        if segment.mark & CUT:
            cuts.append(len(records))
        records += segment.records
    torn = f"{segments[-1].name}: {segments[-1].fault}" if segments and segments[-1].fault else ""
    if torn:
        cuts.append(len(records))
    return Recovery(records, tuple(cuts), torn, any(segment.mark & LOST for segment in segments))


def _check_sizes(records: Sequence[bytes]) -> None:
    for record in records:
        if len(record) > RECORD_BYTES_MAX:
            raise TooLarge(f"a record of {len(record)} bytes; the limit is {RECORD_BYTES_MAX}")


class Log:
    """Appends records durably.  Call `recover` once, first.  One thread at a time; every method may block.

    After an OSError that is not NoRoom what is on the disk is unknown (Rebello et al., "Can Applications Recover from
    fsync Failures?", 2020): every later call fails too, and the process must stop.
    """

    def __init__(self, files: Files, segment_bytes: int = SEGMENT_BYTES, *, lost: bool = False) -> None:
        """lost: if there is none in `files`, this log takes the place of another, of which nothing is known."""
        self.files = files
        self._lost = lost
        self.next = 0
        """The number that the next record gets; it grows over all lives of the log."""
        self._segment_bytes = segment_bytes
        self._firsts: dict[int, int] = {}
        """By segment, the number of its first record."""
        self._sequence = 0
        self._end = 0
        self._failure: BaseException | None = None
        self._unsynced = 0, 0
        """Of what was written and is not synced, the bytes and the records."""

    def recover(self) -> Recovery:
        """All records, oldest first.  Raises DamagedLog, having changed nothing, and OSError."""
        for name in self.files.names():
            if name.endswith(SUFFIX):
                self.files.sync(name)
        segments = read_segments(self.files)
        found = _recovery(segments)
        names = {segment.name for segment in segments}
        for name in self.files.names():
            if name.endswith(SUFFIX) and name not in names:
                self.files.remove(name)  # begun by a life that did not get to use it
        self.files.sync_directory()
        self._firsts = {segment.sequence: segment.first for segment in segments}
        if segments:
            last = segments[-1]
            self.next = last.first + len(last.records)
            self._sequence, self._end = last.sequence, last.ends[-1] if last.ends else last.begin
        if found.torn or not segments:
            self._begin_segment(CUT if found.torn else LOST if self._lost else 0)
        return found._replace(lost=found.lost or (self._lost and not segments))

    def reread(self) -> Recovery:
        """All records, while the log is in use.  Raises DamagedLog, and OSError."""
        return _recovery(read_segments(self.files))

    def append(self, records: Sequence[bytes]) -> None:
        """They are durable on return, in this order after all before.  Raises TooLarge and NoRoom, with nothing done, and
        OSError, after which some of them may be durable."""
        _check_sizes(records)
        self._guarded(lambda: self._append(records))

    def _append(self, records: Sequence[bytes]) -> None:
        if self._end >= self._segment_bytes:
            self._begin_segment(0)
        self._write(records)
        self.files.sync(self.newest)
        self._have_synced()

    def write(self, records: Sequence[bytes]) -> bool:
        """The first half of `append`, for a caller who syncs the file `newest` himself and then calls `synced`, before
        anything else.  False: nothing was done, for a new segment is due, which `append` begins.  Raises as `append`."""
        _check_sizes(records)
        if self._end >= self._segment_bytes:
            return False
        self._guarded(lambda: self._write(records))
        return True

    def synced(self, error: BaseException | None) -> None:
        """What was written last is durable, or nobody knows."""
        if error is None:
            self._have_synced()
        else:
            self._failure = error

    @property
    def newest(self) -> str:
        """The file that `write` writes to."""
        return _name(self._sequence)

    def _write(self, records: Sequence[bytes]) -> None:
        data = bytearray()
        for record in records:
            prefix = _RECORD.pack(self._sequence, self._end + len(data), self._end)
            data += encode_frame(Kind.RECORD, prefix + record)
        with undone_if_refused(self.newest, lambda: self.files.truncate(self.newest, self._end)):
            self.files.write(self.newest, self._end, bytes(data))
        self._unsynced = len(data), len(records)

    def _have_synced(self) -> None:
        size, count = self._unsynced
        self._unsynced = 0, 0
        self._end += size
        self.next += count

    def _guarded(self, act: Callable[[], None]) -> None:
        if self._failure is not None:
            raise OSError("the log failed before") from self._failure
        try:
            act()
        except NoRoom:
            raise
        except OSError as error:
            self._failure = error
            raise

    def cut_off(self, kept: Sequence[Segment]) -> None:
        """Instead of `recover`: go on behind the last of these segments, whatever else is in it.  Raises OSError."""
        if kept:
            last = kept[-1]
            self.next = last.first + len(last.records)
            self._sequence, self._end = last.sequence, last.ends[-1] if last.ends else last.begin
        self._begin_segment(CUT if any(segment.records for segment in kept) else CUT | LOST)

    def _begin_segment(self, mark: int) -> None:
        sequence = self._sequence + 1
        name = _name(sequence)
        head = encode_frame(Kind.SEGMENT, _SEGMENT.pack(sequence, self.next, self._end, mark))
        with undone_if_refused(name, lambda: self.files.remove(name) if name in self.files.names() else None):
            self.files.create(name)
            self.files.write(name, 0, head)
        self.files.sync(name)
        self.files.sync_directory()
        self._firsts[sequence] = self.next
        self._sequence, self._end = sequence, len(head)

    def forget(self, before: int) -> None:
        """Records with lower numbers are needed no more: remove the segments that hold no others.  Raises OSError."""
        self._guarded(lambda: self._forget(before))

    def _forget(self, before: int) -> None:
        for sequence in sorted(self._firsts):
            if sequence + 1 not in self._firsts or self._firsts[sequence + 1] > before:
                return
            self.files.remove(_name(sequence))
            self.files.sync_directory()  # one by one: a gap would look like damage
            del self._firsts[sequence]

    def close(self) -> None:
        """Let go of the files.  Idempotent."""
        self.files.close()


def look(files: Files) -> Recovery:
    """What the log of a node that is not running holds; nothing is changed.  Raises DamagedLog, and OSError."""
    return _recovery(read_segments(files))


def repair(directory: Path, *, really: bool) -> list[str]:
    """Cut a log off before its first damage, and mark it as one whose end is possibly lost.  Files behind that are
    renamed, never removed.  What was, or unless `really` would be, done; [] if nothing is damaged.  Raises OSError."""
    files = PosixFiles(directory, make=False)
    names = [name for name in files.names() if name.endswith(SUFFIX)]
    kept: list[Segment] = []
    wrong = ""
    for i, name in enumerate(names):
        wrong = _damage(files, name, names[i + 1] if i + 1 < len(names) else None)
        segment = _segment_at(files, name)
        if segment is not None:
            kept.append(segment)
        if wrong:
            break
    if not wrong:
        return []
    aside = [name for name in names if name not in {segment.name for segment in kept}]
    upto = kept[-1].first + len(kept[-1].records) if kept else 0
    told = [f"damaged: {wrong}", f"kept: what is before record {upto}", *(f"set aside: {name}" for name in aside)]
    if really:
        for name in aside:
            (directory / name).rename(directory / (name + ".aside"))
        files.sync_directory()
        Log(files).cut_off(kept)
    files.close()
    return told


def _damage(files: Files, name: str, following: str | None) -> str:
    """What is wrong with a segment, by itself or by what the next one says of it; "" if nothing is that is not merely
    torn."""
    try:
        segment = read_segment(name, files.read(name))
        if segment is None:
            return f"{name}: its beginning cannot be read" if following is not None else ""
        _check(segment, _segment_at(files, following) if following is not None else None)
    except DamagedLog as error:
        return str(error)
    return ""


def _segment_at(files: Files, name: str) -> Segment | None:
    try:
        return read_segment(name, files.read(name))
    except DamagedLog:
        return None
