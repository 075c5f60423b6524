"""A durable log of records in segments, and what a crash or a bad disk can leave of one (DESIGN section 8).

One write at a time, and one fsync for all its records (group commit).  A new segment is begun between two writes, so the
one before is durable as a whole, and its end is written down in the new one: a file cut short, or missing in the middle,
cannot pass for a short log.  One is begun when the one before is large, and where whoever writes says that all before
may be forgotten soon (`Log.part`): only whole segments are removed.

*A torn tail* is what a crash leaves of the last write.  It is not destroyed: the next life begins a new segment, which
says where the one before ends and that something behind it was cut off.  The same can be the work of a bit that flipped
in the last write *after* it was synced; nobody can tell (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based
Storage", FAST 2018).  So `Recovery.cuts` says where records are possibly lost, and such a log is no proof of absence.

*Damage* anywhere else (runtime/segments.py says how it is told) raises `DamagedLog`; nothing of the log may be believed
but what its operator decides (`phalanx log repair`).

What a crashed process had written but not synced is still in the page cache: `recover` syncs before it believes it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from phalanx.errors import TooLarge
from phalanx.runtime.files import Files, PosixFiles
from phalanx.runtime.segments import (
    BEGINNING_LOST,
    CUT,
    LOST,
    RECORD_BYTES_MAX,
    SUFFIX,
    Records,
    Segment,
    encode_head,
    encode_records,
    examine,
    name_of,
    read_segments,
)
from phalanx.runtime.space import NoRoom, undone_if_refused

SEGMENT_BYTES = 16 << 20
"""A segment that has grown beyond this gets a successor: small enough to be read at once, large enough that a switch,
which costs three fsyncs, is rare."""


class Recovery(NamedTuple):
    """What a log holds."""

    records: Records
    cuts: tuple[int, ...]
    """Places in `records` before which a torn tail was cut off: records are possibly lost there."""
    torn: str
    """What was wrong behind the last record, and was cut off just now; "" if nothing."""
    lost: bool
    """There was another log before this one, and nothing of it is known."""
    begins: bool
    """Its oldest file is the first it ever had: nothing was forgotten."""
    unbegun: str = ""
    """The last file, if its beginning was never written whole, or is lost; "" if it is sound.  A crash may leave that,
    and the next life removes it."""


def _recovery(files: Files, segments: Sequence[Segment]) -> Recovery:
    records = Records(files, segments)
    cuts = [segment.first - segments[0].first for segment in segments if segment.mark & CUT]
    torn = f"{segments[-1].name}: {segments[-1].fault}" if segments and segments[-1].fault else ""
    if torn:
        cuts.append(len(records))
    names = [name for name in files.names() if name.endswith(SUFFIX)]
    unbegun = names[-1] if len(names) > len(segments) else ""
    lost = any(segment.mark & LOST for segment in segments)
    return Recovery(records, tuple(cuts), torn, lost, not segments or segments[0].sequence == 1, unbegun)


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
        """Another was before this one, and is lost: every segment says so, since the older ones will be forgotten."""
        self.next = 0
        """The number that the next record gets; it grows over all lives of the log."""
        self._segment_bytes = segment_bytes
        self._parts = self._parted = 0
        """How often a new segment was asked for, by `part` alone, and for how many of these it was seen to."""
        self._firsts: dict[int, int] = {}
        """By segment, the number of its first record."""
        self._sizes: dict[int, int] = {}
        """Of each segment before the newest, the bytes that count."""
        self._sequence = 0
        self._end = 0
        self._unbegun: int | None = None
        """The mark of a segment that is to be begun before anything is written, for there was no room when the log was
        recovered; None: there is none."""
        self._failure: BaseException | None = None
        self._unsynced = 0, 0
        """Of what was written and is not synced, the bytes and the records."""

    def recover(self) -> Recovery:
        """All records, oldest first.  Raises DamagedLog, having changed nothing, and OSError.

        Behind a torn tail, or in place of a lost log, a new segment is begun; where there is no room for that, with the
        first append: until then nothing is written, so the next life finds what this one has found."""
        for name in self.files.names():
            if name.endswith(SUFFIX):
                self.files.sync(name)
        segments = read_segments(self.files)
        found = _recovery(self.files, segments)
        names = {segment.name for segment in segments}
        for name in self.files.names():
            if name.endswith(SUFFIX) and name not in names:
                self.files.remove(name)  # begun by a life that did not get to use it
        self.files.sync_directory()
        self._firsts = {segment.sequence: segment.first for segment in segments}
        self._sizes = {segment.sequence: segment.end for segment in segments[:-1]}
        if segments:
            last = segments[-1]
            self.next, self._sequence, self._end = last.next, last.sequence, last.end
        self._lost = found.lost or (self._lost and not segments)
        if found.torn or not segments:
            mark = CUT if found.torn else 0
            try:
                self._begin_segment(mark)
            except NoRoom:
                if not mark and not self._lost:
                    raise  # nothing would say that it was begun, and the next life take it for lost
                self._unbegun = mark
        return found._replace(lost=self._lost)

    def reread(self) -> Recovery:
        """All records, while the log is in use.  Raises DamagedLog, and OSError."""
        return _recovery(self.files, read_segments(self.files))._replace(lost=self._lost)

    def append(self, records: Sequence[bytes]) -> None:
        """They are durable on return, in this order after all before.  Raises TooLarge and NoRoom, with nothing done, and
        OSError, after which some of them may be durable."""
        _check_sizes(records)
        self._guarded(lambda: self._append(records))

    def _append(self, records: Sequence[bytes]) -> None:
        asked = self._parts
        if self._is_due(asked):
            self._begin_segment(self._unbegun or 0)
            self._unbegun = None
        self._parted = asked
        self._write(records)
        self.files.sync(self.newest)
        self._have_synced()

    def write(self, records: Sequence[bytes]) -> bool:
        """The first half of `append`, for a caller who syncs the file `newest` himself and then calls `synced`, before
        anything else.  False: nothing was done, for a new segment is due, which `append` begins.  Raises as `append`."""
        _check_sizes(records)
        asked = self._parts
        if self._is_due(asked):
            return False
        self._parted = asked
        self._guarded(lambda: self._write(records))
        return True

    def _is_due(self, asked: int) -> bool:
        """A new segment is, if it was asked for so many times."""
        if self._unbegun is not None:
            return True
        begun = self.next > self._firsts[self._sequence]
        return self._end >= self._segment_bytes or (asked > self._parted and begun)

    def synced(self, error: BaseException | None) -> None:
        """What was written last is durable, or nobody knows."""
        if error is None:
            self._have_synced()
        else:
            self._failure = error

    @property
    def segments(self) -> int:
        """How many there are.  From any thread, as `size`."""
        return len(self._firsts)

    @property
    def size(self) -> int:
        """Bytes of all segments, as far as they are durable."""
        return sum(list(self._sizes.values())) + self._end

    @property
    def newest(self) -> str:
        """The file that `write` writes to."""
        return name_of(self._sequence)

    def _write(self, records: Sequence[bytes]) -> None:
        data = encode_records(records, self._sequence, self._end)
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
            self.next, self._sequence, self._end = last.next, last.sequence, last.end
        self._lost = any(segment.mark & LOST for segment in kept) or not any(segment.ends for segment in kept)
        self._begin_segment(CUT)

    def _begin_segment(self, mark: int) -> None:
        sequence = self._sequence + 1
        name = name_of(sequence)
        head = encode_head(sequence, self.next, self._end, mark | LOST if self._lost else mark)
        with undone_if_refused(name, lambda: self.files.remove(name) if name in self.files.names() else None):
            self.files.create(name)
            self.files.write(name, 0, head)
        self.files.sync(name)
        self.files.sync_directory()
        self._firsts[sequence] = self.next
        if self._sequence in self._firsts:
            self._sizes[self._sequence] = self._end
        self._sequence, self._end = sequence, len(head)

    def part(self) -> None:
        """Begin a new segment with the next record, so that all before it can be forgotten.  From any thread; while an
        `append` is under way, this may begin with that."""
        self._parts += 1

    def forget(self, before: int) -> bool:
        """Records with lower numbers are needed no more: remove the oldest segment, if it holds no others.  True if that
        may be said of another one: a caller who has other work does it in between, since each takes milliseconds.
        Raises OSError."""
        self._guarded(lambda: self._forget(before))
        return not self._is_needed(min(self._firsts), before)

    def _forget(self, before: int) -> None:
        oldest = min(self._firsts)
        if not self._is_needed(oldest, before):
            self.files.remove(name_of(oldest))
            self.files.sync_directory()  # one by one: a gap would look like damage
            del self._firsts[oldest]
            self._sizes.pop(oldest, None)

    def _is_needed(self, sequence: int, before: int) -> bool:
        return sequence + 1 not in self._firsts or self._firsts[sequence + 1] > before

    def close(self) -> None:
        """Let go of the files.  Idempotent."""
        self.files.close()


def _aside(directory: Path, name: str) -> Path:
    """Where to set a file aside: an earlier repair may have set aside one of that name."""
    names = (f"{name}.aside" if n == 1 else f"{name}.{n}.aside" for n in range(1, 1 << 20))
    return next(path for each in names if not (path := directory / each).exists())


def look(files: Files) -> Recovery:
    """What the log of a node that is not running holds; nothing is changed.  Raises DamagedLog, and OSError."""
    return _recovery(files, read_segments(files))


def repair(directory: Path, *, really: bool, lacks_beginning: Callable[[Records], bool] = lambda _: False) -> list[str]:
    """Cut a log off before its first damage, and mark it as one whose end is possibly lost.  Files behind that are
    renamed, never removed.  What was, or unless `really` would be, done; [] if nothing is damaged.  Raises OSError.

    `lacks_beginning`: whether records that are not from the first file on can only be what is left of a log.  Then
    nothing of it can be kept."""
    files = PosixFiles(directory, make=False)
    names = [name for name in files.names() if name.endswith(SUFFIX)]
    kept, fault = examine(files)
    wrong = [fault] if fault else []
    if kept and kept[0].sequence != 1 and lacks_beginning(Records(files, kept)):
        kept = []
        wrong.append(BEGINNING_LOST)
    if not wrong:
        return []
    aside = [name for name in names if name not in {segment.name for segment in kept}]
    upto = kept[-1].next if kept else 0
    told = [*(f"damaged: {each}" for each in wrong), f"kept: what is before record {upto}"]
    told += [f"set aside: {name}" for name in aside]
    if really:
        for name in aside:
            (directory / name).rename(_aside(directory, name))
        files.sync_directory()
        Log(files).cut_off(kept)
    files.close()
    return told
