"""The file of a backup: sound, or refused, whatever has happened to it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from phalanx.api.backup import format as file_format
from phalanx.api.backup.files import PartFile
from phalanx.api.backup.format import Backup, Head, Keys, Leases, Tail, Writer, read, verify
from phalanx.api.backup.taking import pieces
from phalanx.errors import (
    ConfigurationError,
    DamagedBackup,
    Refused,
)
from phalanx.services.store import limits
from phalanx.services.store.values import LeaseInfo, Versioned
from phalanx.wire.frame import HEADER_SIZE, Kind, encode_frame

HEAD = Head(1, "c1", "KV", 9, 5_000, 3, 60_000)
LEASES = Leases([LeaseInfo(4, 5_000, 100), LeaseInfo(6, 5_000, 100)])
KEYS = Keys([(b"a", Versioned(b"1", 1, 1, 1)), (b"b", Versioned(b"22", 2, 9, 4, 6))])
MORE = Keys([(b"c", Versioned(b"", 3, 3, 1))])
CONTENT: list[Head | Leases | Keys] = [HEAD, LEASES, KEYS, MORE]


def made(*records: Head | Leases | Keys) -> bytes:
    parts: list[bytes] = []
    writer = Writer(parts.append)
    for record in records:
        writer.add(record)
    writer.end()
    return b"".join(parts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.backup"


def test_what_is_written_is_read(path: Path) -> None:
    path.write_bytes(made(*CONTENT))
    *records, tail = read(path)
    assert records == CONTENT and isinstance(tail, Tail)
    assert verify(path) == Backup("c1", "KV", 9, 5_000, 2, 3, tail.digest.hex())


def test_an_altered_byte_is_found_wherever_it_is(path: Path) -> None:
    sound = made(*CONTENT)
    for at in range(len(sound)):
        for flip in (1, 0x80, 0xFF):
            path.write_bytes(sound[:at] + bytes([sound[at] ^ flip]) + sound[at + 1 :])
            with pytest.raises(DamagedBackup, match="at byte"):
                verify(path)


def test_a_file_that_is_cut_short_is_found_wherever_it_was_cut(path: Path) -> None:
    sound = made(*CONTENT)
    for end in range(len(sound)):
        path.write_bytes(sound[:end])
        with pytest.raises(DamagedBackup):
            verify(path)
    path.write_bytes(sound + b"\0")
    with pytest.raises(DamagedBackup, match=f"at byte {len(sound)}: the data ends inside a header"):
        verify(path)


def test_a_record_that_is_missing_doubled_or_elsewhere_is_found(path: Path) -> None:
    """Each frame is sound by itself."""
    sound = made(*CONTENT)
    frames = list(frames_of(sound))
    assert b"".join(frames) == sound
    for n in range(len(frames)):
        for other in (frames[:n] + frames[n + 1 :], frames[: n + 1] + frames[n:], frames[n:] + frames[:n]):
            if other != frames:
                path.write_bytes(b"".join(other))
                with pytest.raises(DamagedBackup):
                    verify(path)


def frames_of(data: bytes) -> Iterator[bytes]:
    while data:
        size = HEADER_SIZE + int.from_bytes(data[8:12], "little")
        yield data[:size]
        data = data[size:]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([HEAD, LEASES, MORE, KEYS], "key b'a' is out of order"),
        ([HEAD, Leases(LEASES.leases[::-1])], "lease 4 is out of order"),
        ([HEAD, MORE, LEASES], "lease 4 is out of order"),
        ([HEAD, KEYS], "under lease 6, which is not there"),
        ([HEAD, Keys([(b"a", Versioned(b"", 1, 10, 1))])], "later than the backup"),
        ([HEAD, HEAD], "a second backup"),
        ([KEYS], "does not begin"),
        ([], "does not begin"),
    ],
)
def test_what_no_store_was_is_damage_though_all_checksums_are_right(
    path: Path, content: list[Head | Leases | Keys], why: str
) -> None:
    path.write_bytes(made(*content))
    with pytest.raises(DamagedBackup, match=why):
        verify(path)


def test_counts_of_the_tail_are_compared(path: Path) -> None:
    tail = Tail(2, 4, b"")
    frames = list(frames_of(made(*CONTENT)))
    path.write_bytes(b"".join(frames[:-1]) + encode_frame(Kind.BACKUP, file_format._CODEC.encode(tail)))
    with pytest.raises(DamagedBackup, match="should have 4 keys and 2 leases"):
        verify(path)


def test_other_files_are_no_backups_and_later_formats_are_refused(path: Path) -> None:
    for other in (b"", b"hello", bytes(5_000), encode_frame(Kind.RECORD, file_format._CODEC.encode(HEAD))):
        path.write_bytes(other)
        with pytest.raises(DamagedBackup):
            verify(path)
    path.write_bytes(encode_frame(Kind.BACKUP, b"\xc0"))
    with pytest.raises(DamagedBackup, match="not a message"):
        verify(path)
    path.write_bytes(made(Head(2, "c1", "KV", 9, 5_000, 3, 60_000)))
    with pytest.raises(Refused, match="format 2; this version of Phalanx reads format 1"):
        verify(path)
    with pytest.raises(FileNotFoundError):
        verify(path.parent / "none")


def test_a_length_that_is_merely_claimed_is_not_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_format, "READ_BYTES", 10)
    path.write_bytes(made(*CONTENT))
    assert verify(path).keys == 3, "records may lie across what is read at a time"
    path.write_bytes(encode_frame(Kind.BACKUP, bytes(file_format.RECORD_BYTES_MAX + 1)))
    with pytest.raises(DamagedBackup, match="at byte 0: a frame of"):
        verify(path)


def test_the_largest_piece_fits_into_a_record_and_into_a_command() -> None:
    large = (b"k" * limits.KEY_BYTES_MAX, Versioned(bytes(limits.VALUE_BYTES_MAX), 1 << 39, 1 << 40, 1 << 38, 1 << 62))
    small = [(b"%0128d" % n, Versioned(bytes(128), 1 << 39, 1 << 40, 1 << 38, 1 << 62)) for n in range(3_000)]
    found = pieces([large, *small, large])
    assert [item for piece in found for item in piece] == [large, *small, large]
    sizes: list[int] = []
    writer = Writer(lambda data: sizes.append(len(data)))
    for piece in found:
        writer.add(Keys(piece))
        assert len(piece) <= limits.LOAD_ITEMS_MAX
    assert max(sizes) <= file_format.RECORD_BYTES_MAX < 1 << 20


def test_a_file_has_its_name_only_when_it_is_whole(path: Path) -> None:
    part = path.with_name("store.backup.part")
    file = PartFile(path, overwrite=False)
    file.write(b"new")
    assert part.exists() and not path.exists() and part.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigurationError, match=r"store\.backup\.part is there"):
        PartFile(path, overwrite=False)
    path.write_bytes(b"old")
    with pytest.raises(ConfigurationError, match="is there already"):
        file.publish()
    file.abandon()
    assert path.read_bytes() == b"old" and not part.exists()
    with pytest.raises(ConfigurationError, match="is there already"):
        PartFile(path, overwrite=False)
    part.write_bytes(b"of a backup that was interrupted")
    file = PartFile(path, overwrite=True)
    file.write(b"new")
    file.publish()
    assert path.read_bytes() == b"new" and not part.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_there_and_is_no_file_is_left_as_it_is(overwrite: bool, tmp_path: Path) -> None:
    """A file would take the place of /dev/null for every program of the machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, tmp_path, Path()):
        with pytest.raises(ConfigurationError, match="is no file"):
            PartFile(place, overwrite)
    assert pipe.is_fifo() and [path.name for path in tmp_path.iterdir()] == ["pipe"]
