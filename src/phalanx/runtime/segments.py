"""What the files of a durable log hold, read one at a time: a log of any size is read with the memory of one segment.

    0000000000000001.log    SEGMENT(sequence, first record, where the one before ends, whether that was cut off)
                            RECORD(sequence, offset, how much of this file was durable before it, bytes) ...
    0000000000000002.log    ...

A *torn tail* is what a crash leaves of the last write.  *Damage* is seen by what follows: each record says how much of
its file was durable when it was written, so a sound record that was written after a bad one had been synced proves that
the bad one was acknowledged.  A record that a disk has put in another's place is damage, too: each says where it belongs.

All of a log is checked before anything of it is believed (`read_segments`); its records are read again when they are
asked for (`Records`), so that they need not be kept meanwhile.
"""

import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from phalanx.errors import PhalanxError
from phalanx.runtime.files import Files
from phalanx.wire.errors import FrameError
from phalanx.wire.frame import BODY_BYTES_MAX, Kind, encode_frame, read_frame

_SEGMENT = struct.Struct("<QQQB")
_RECORD = struct.Struct("<QQQ")

RECORD_BYTES_MAX = BODY_BYTES_MAX - _RECORD.size
"""One record fits into one frame."""

SUFFIX = ".log"

BEGINNING_LOST = "its oldest files are missing, and no snapshots stand for them"
"""What is wrong with a log that was not shortened by its node."""

CUT, LOST = 1, 2


class DamagedLog(PhalanxError):
    """A record that was durable cannot be read: the log's groups must be fetched from peers.  Nothing was changed."""


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
    ends: "array[int]"
    """Offset behind each record."""
    begin: int
    """Offset of the first record."""
    fault: str
    """What is wrong behind the last of them; "" if nothing."""
    acknowledged: bool
    """What is wrong had been durable: it is damage, no torn write."""

    @property
    def end(self) -> int:
        """Offset behind the last record."""
        return self.ends[-1] if self.ends else self.begin

    @property
    def next(self) -> int:
        """Number of the record that follows the last."""
        return self.first + len(self.ends)


def encode_head(sequence: int, first: int, previous_end: int, mark: int) -> bytes:
    """What a segment begins with; see `Segment`."""
    return encode_frame(Kind.SEGMENT, _SEGMENT.pack(sequence, first, previous_end, mark))


HEAD_BYTES = len(encode_head(0, 0, 0, 0))


def encode_records(records: Sequence[bytes], sequence: int, end: int) -> bytearray:
    """What is written at that end of a segment, all of which is durable, to append the records."""
    data = bytearray()
    for record in records:
        data += encode_frame(Kind.RECORD, _RECORD.pack(sequence, end + len(data), end) + record)
    return data


def read_segment(name: str, data: bytes) -> Segment | None:
    """What the file holds up to the first thing that is not sound.  None: its beginning was never written whole.

    Raises DamagedLog if its beginning is bad, and something was written behind it.
    """
    try:
        (kind, head), begin = read_frame(data, 0)
    except FrameError:
        kind, head, begin = 0, memoryview(b""), 0
    if kind != Kind.SEGMENT or len(head) != _SEGMENT.size:
        if len(data) > HEAD_BYTES:  # it was synced before anything was written behind it
            raise DamagedLog(f"{name}: damaged at its beginning")
        return None
    sequence, first, previous_end, mark = _SEGMENT.unpack(head)
    ends = array("Q")
    fault, misplaced, at = "", False, begin
    while at < len(data):
        try:
            (kind, body), end = read_frame(data, at)
        except FrameError as error:
            fault = str(error)
            break
        if kind != Kind.RECORD or len(body) < _RECORD.size:
            fault = f"a frame of kind {kind} that is no record"
            break
        of, place, _ = _RECORD.unpack_from(body)
        if (of, place) != (sequence, at):
            fault, misplaced = f"a record that belongs to offset {place} of segment {of}", True
            break
        at = end
        ends.append(at)
    acknowledged = misplaced or (bool(fault) and _is_acknowledged(data, sequence, at))
    text = f"{fault} at offset {at}" if fault else ""
    return Segment(name, sequence, first, previous_end, mark, ends, begin, text, acknowledged)


def _is_acknowledged(data: bytes, sequence: int, bad: int) -> bool:
    """Some record behind the bad place was written when that place had been synced.  One that is somewhere else than it
    says may be part of another: what is stored can be a log."""
    at = bad
    while (at := data.find(b"PX", at + 1)) >= 0:
        start = at - 4
        if start <= bad:
            continue
        try:
            (kind, body), _ = read_frame(data, start)
        except FrameError:
            continue
        if kind == Kind.RECORD and len(body) >= _RECORD.size:
            of, place, durable = _RECORD.unpack_from(body)
            if (of, place) == (sequence, start) and durable > bad:
                return True
    return False


def read_segments(files: Files) -> list[Segment]:
    """All segments, oldest first; a last file that was never begun is left out.

    Raises DamagedLog if one that was durable is missing, cut short, or damaged, and OSError.
    """
    segments, wrong = examine(files)
    if wrong:
        raise DamagedLog(wrong)
    return [_upto(s, segments[i + 1].previous_end) if i + 1 < len(segments) else s for i, s in enumerate(segments)]


def examine(files: Files) -> tuple[list[Segment], str]:
    """The segments up to the first damage, oldest first, the damaged one with what of it is sound; and what is wrong: ""
    if nothing is, which is all of them, but for a last file that was never begun.  Raises OSError."""
    names = [name for name in files.names() if name.endswith(SUFFIX)]
    segments: list[Segment] = []
    wrong = ""
    for name in names:
        try:
            segment = read_segment(name, files.read(name))
        except DamagedLog as error:
            wrong = str(error)
            break
        if segment is None:
            wrong = f"{name}: damaged at its beginning" if name != names[-1] else ""
            break
        segments.append(segment)
    for i, segment in enumerate(segments):
        if segment.name != name_of(segment.sequence):
            return segments[:i], f"{segment.name}: it says that it is {name_of(segment.sequence)}"
        if lacks := _lacks(segment, segments[i + 1] if i + 1 < len(segments) else None):
            return segments[: i + 1], lacks
    return segments, wrong


def _lacks(segment: Segment, following: Segment | None) -> str:
    """What is not there though it was durable, as far as the segment and the one behind it say; "" if all is."""
    if following is None:
        return f"{segment.name}: {segment.fault}, and sound records follow" if segment.acknowledged else ""
    if following.sequence != segment.sequence + 1:
        return f"{name_of(segment.sequence + 1)} is missing"
    end = following.previous_end
    if end != segment.begin and end not in segment.ends:
        return f"{segment.name}: {segment.fault or 'it ends'} before offset {end}, up to which it was durable"
    if following.first != segment.first + (segment.ends.index(end) + 1 if end in segment.ends else 0):
        return f"{segment.name}: it has not the records that {following.name} follows"
    return ""


def _upto(segment: Segment, end: int) -> Segment:
    count = segment.ends.index(end) + 1 if end in segment.ends else 0
    return segment._replace(ends=segment.ends[:count], fault="", acknowledged=False)


def name_of(sequence: int) -> str:
    """Of a segment's file."""
    return f"{sequence:016d}{SUFFIX}"


class Records:
    """The records of segments that were found sound, oldest first; they are read from the files whenever this is
    iterated, a segment at a time.  Only until the log is written to, for then segments are removed.

    Iterating raises OSError, and DamagedLog if a record cannot be read any more.
    """

    def __init__(self, files: Files, segments: Sequence[Segment]) -> None:
        self._files = files
        self._parts = [(s.name, s.begin, len(s.ends)) for s in segments]
        self._count = sum(count for _, _, count in self._parts)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        for name, begin, count in self._parts:
            yield from self._of(name, begin, count)

    def _of(self, name: str, begin: int, count: int) -> Iterator[bytes]:
        if not count:
            return
        data, at = self._files.read(name), begin
        for _ in range(count):
            try:
                (_, body), at = read_frame(data, at)
            except FrameError as error:
                raise DamagedLog(f"{name}: {error} at offset {at}, where it was sound before") from error
            yield bytes(body[_RECORD.size :])
