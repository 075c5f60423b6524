"""runtime.log: what was acknowledged is there after any crash, or the log says that it may not be (SCENARIOS 3 to 6)."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from phalanx.errors import TooLarge
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import Log
from phalanx.runtime.logdisk import open_log
from phalanx.runtime.segments import RECORD_BYTES_MAX, DamagedLog, read_segment
from phalanx.wire.errors import CodecError
from phalanx.wire.frame import Kind, encode_frame
from tests.runtime.logs import FIRST, SECOND, append, contents, filled, opened, read, record
from tests.runtime.power import PowerFiles
from tests.runtime.toys import TEXT, Text

# --- a log on a good disk ---------------------------------------------------------------------------------------------


def test_a_log_gives_back_its_records_in_order_over_lives_and_segments(tmp_path: Path) -> None:
    expected: list[bytes] = []
    for life in range(4):
        files = PosixFiles(tmp_path / "data" / "log")
        log, found = opened(files)
        assert (list(found.records), found.cuts, found.torn) == (expected, (), "")
        assert log.next == len(expected)
        for group in range(life * 3):
            records = [record(life * 100 + group * 10 + i) for i in range(3)]
            log.append(records)
            expected += records
        log.close()
    assert len(list((tmp_path / "data" / "log").iterdir())) > 3, "in several segments"


def test_looking_at_a_log_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no directory"):
        PosixFiles(tmp_path / "log", make=False)
    assert not (tmp_path / "log").exists()


def test_a_record_that_is_too_large_is_refused_and_nothing_is_written() -> None:
    files = PowerFiles()
    log, _ = opened(files)
    before = contents(files)
    with pytest.raises(TooLarge, match="the limit is"):
        log.append([b"small", bytes(RECORD_BYTES_MAX + 1)])
    assert contents(files) == before
    log.append([bytes(RECORD_BYTES_MAX)])
    assert list(read(contents(files)).records) == [bytes(RECORD_BYTES_MAX)]


def test_segments_whose_records_are_not_needed_are_removed_the_oldest_first() -> None:
    files = filled(30)
    log, found = opened(files)
    records = list(found.records)
    all_names = files.names()
    assert not log.forget(0)
    assert files.names() == all_names
    assert log.forget(17), "there are more"
    assert files.names() == all_names[1:], "one at a time"
    while log.forget(17):
        pass
    left = list(read(contents(files)).records)
    assert left == records[-len(left) :]
    assert 13 <= len(left) <= 17, "whole segments only"
    while log.forget(10**9):
        pass
    assert files.names() == all_names[-1:], "the one that is written stays"
    log.append([b"more"])
    assert opened(PowerFiles(contents(files)))[0].next == 31, "numbers go on"


def test_its_size_is_that_of_its_files() -> None:
    files = filled(30)
    for step in (None, b"more", 17, b"and more" * 9, 10**9):
        log, _ = opened(files)
        if isinstance(step, bytes):
            log.append([step] * 5)
        while isinstance(step, int) and log.forget(step):
            pass
        assert log.segments == len(files.names())
        assert log.size == sum(map(len, contents(files).values()))
    assert log.segments == 1


@pytest.mark.parametrize("by", [append, lambda log, _, records: log.append(records)], ids=["halves", "whole"])
def test_what_is_apart_goes_into_a_file_of_its_own_so_that_all_before_it_can_go(
    by: Callable[[Log, PowerFiles, list[bytes]], None],
) -> None:
    files = PowerFiles()
    log, _ = opened(files, 1 << 20)
    log.part()
    assert files.names() == [FIRST], "there is nothing before it yet"
    for round_ in range(4):
        for n in range(5):
            by(log, files, [record(n)])
        log.part()
        log.part()
        start = log.next
        by(log, files, [b"begins round %d" % round_])
        by(log, files, [b"in it"])
        assert len(files.names()) == 2
        log.forget(start)
        assert len(files.names()) == 1
        assert list(read(contents(files)).records) == [b"begins round %d" % round_, b"in it"]


class Spied(PowerFiles):
    """Notes which files are read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.reads: list[str] = []

    def read(self, name: str) -> bytes:
        self.reads.append(name)
        return super().read(name)


def test_records_are_read_a_file_at_a_time_and_as_often_as_wanted() -> None:
    files = Spied(contents(filled(20)))
    _, found = opened(files)
    names = [name for name in files.names() if files.files[name]]
    assert len(names) > 3
    for _ in range(2):
        files.reads.clear()
        seen = []
        for n, data in enumerate(found.records):
            assert data == record(n)
            seen.append(files.reads[-1])
        assert sorted(set(seen)) == files.reads == names, "none before the one in front of it was used up"


def test_a_record_that_rots_while_the_log_is_read_is_reported() -> None:
    files = filled(20)
    _, found = opened(files)
    files.files[SECOND][100] ^= 1
    with pytest.raises(DamagedLog, match=f"{SECOND}.*sound before"):
        list(found.records)


# --- bad disks --------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_is_reported_and_never_skipped() -> None:
    """SCENARIOS 6: in anything but the last write it is damage; there it is a record that is possibly lost."""
    files = filled(12, group=2)
    good = contents(files)
    whole = list(read(good).records)
    for name in good:
        for at in range(0, len(good[name]), 7):
            bad = dict(good)
            data = bytearray(bad[name])
            data[at] ^= 1 << at % 8
            bad[name] = bytes(data)
            try:
                found = read(bad)
            except DamagedLog as error:
                assert str(error), name
                continue
            assert found.torn, f"{name} at {at}"
            assert found.cuts == (len(found.records),)
            assert list(found.records) == whole[: len(found.records)]
            assert len(found.records) >= 10, "only the last write can pass for a torn one"


def test_a_file_cut_short_before_the_last_write_is_reported() -> None:
    """SCENARIOS 6."""
    good = contents(filled(12, group=2))
    for name in sorted(good)[:-1]:
        for size in range(0, len(good[name]), 11):
            with pytest.raises(DamagedLog):
                read(good | {name: good[name][:size]})


def test_a_segment_that_is_missing_in_the_middle_is_reported() -> None:
    good = contents(filled(20))
    assert len(good) > 3
    del good[SECOND]
    with pytest.raises(DamagedLog, match=f"{SECOND} is missing"):
        read(good)


def test_a_segment_under_another_name_is_reported() -> None:
    good = contents(filled(20))
    good[FIRST], good[SECOND] = good[SECOND], good[FIRST]
    with pytest.raises(DamagedLog, match="it says that it is"):
        read(good)


def test_a_write_that_went_to_the_wrong_place_is_reported() -> None:
    """A whole record in another's place, of the same file or of another, is not taken for that one's."""
    files = PowerFiles()
    log, _ = opened(files)
    for n in range(12):
        log.append([b"%04d" % n + bytes(150)])
    good = contents(files)
    size = len(encode_frame(Kind.RECORD, bytes(24 + 154)))
    segments = {name: read_segment(name, good[name]) for name in good}
    places = [(name, end - size) for name, segment in segments.items() if segment is not None for end in segment.ends]
    assert len(places) == 12
    for source, at in places:
        stray = good[source][at : at + size]
        for name, place in places:
            if (name, place) == (source, at):
                continue
            bad = bytearray(good[name])
            bad[place : place + size] = stray
            with pytest.raises(DamagedLog):
                read(good | {name: bytes(bad)})


def test_a_damaged_log_is_left_as_it_was() -> None:
    files = filled(12, group=2)
    files.files[FIRST][60] ^= 1
    before = contents(files)
    with pytest.raises(DamagedLog):
        opened(files)
    assert contents(files) == before


def test_after_a_failed_operation_every_later_one_fails() -> None:
    """A failed fsync may be forgotten by the kernel: whoever tries again believes too much."""
    for at in range(2, 12):
        files = PowerFiles()
        log, _ = opened(files)
        files.fail_at = len(files.done) + at
        with pytest.raises(OSError, match="Input/output error"):
            for n in range(12):
                log.append([record(n)])
        files.fail_at = None
        with pytest.raises(OSError, match="failed before"):
            log.append([b"again"])
        with pytest.raises(OSError, match="failed before"):
            log.forget(1)


def test_random_bytes_are_no_log() -> None:
    for seed in range(200):
        rng = random.Random(seed)
        data = rng.randbytes(rng.randrange(300))
        try:
            assert list(read({FIRST: data}).records) == []
        except DamagedLog:
            pass


# --- a node's log -------------------------------------------------------------------------------------------------------


def test_a_damaged_log_is_set_aside_and_its_successor_says_so(tmp_path: Path) -> None:
    """SCENARIOS 6: reported, kept for whoever wants to look, never answered from."""
    for life in range(2):
        disk, journal = open_log(tmp_path / "log", TEXT)
        assert journal.lost == (life > 0)
        assert list(journal.records) == []
        disk.close()
        log, _ = opened(PosixFiles(tmp_path / "log"), 200)
        for n in range(6):
            log.append([TEXT.encode(Text(f"{n}" * 100))])
        log.close()
        first = min((tmp_path / "log").iterdir())
        first.write_bytes(first.read_bytes()[:-50])
    disk, journal = open_log(tmp_path / "log", TEXT)
    disk.close()
    assert journal.lost
    assert {path.name for path in tmp_path.iterdir()} == {"log", "log.damaged.1", "log.damaged.2"}
    _, journal = open_log(tmp_path / "log", TEXT)
    assert journal.lost, "for good"


def test_a_log_that_cannot_be_read_is_not_taken_for_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SCENARIOS 8: it is all there when the disk answers again, and would count for nothing had it been set aside."""
    log, _ = opened(PosixFiles(tmp_path / "log"))
    log.append([TEXT.encode(Text("kept"))])
    log.close()

    def fails(_: PosixFiles, __: str) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(PosixFiles, "read", fails)
        with pytest.raises(OSError, match="Input/output"):
            open_log(tmp_path / "log", TEXT)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    disk, journal = open_log(tmp_path / "log", TEXT)
    assert (list(journal.records), journal.lost) == ([Text("kept")], False)
    disk.close()


def test_a_log_that_is_gone_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    """The vote file says that there was one: what it held is not known, which is not the same as nothing."""
    disk, journal = open_log(tmp_path / "log", TEXT, expected=True)
    disk.close()
    assert journal.lost
    disk, journal = open_log(tmp_path / "log", TEXT, expected=True)
    disk.close()
    assert journal.lost, "for good"
    disk, journal = open_log(tmp_path / "other", TEXT)
    disk.close()
    disk, journal = open_log(tmp_path / "other", TEXT, expected=True)
    disk.close()
    assert not journal.lost, "it is there, and empty"


@pytest.mark.parametrize("lives", [0, 1])
def test_that_another_log_was_lost_is_known_when_the_first_records_are_forgotten(lives: int) -> None:
    """Else a group of which the lost one held all, and this one nothing, would be taken for one that was not begun."""
    files = PowerFiles()
    log = Log(files, 1_000, lost=True)
    assert log.recover().lost
    for _ in range(lives):
        log.append([record(0)])
        log.close()
        log, found = opened(files)
        assert found.lost
    for number in range(40):
        log.append([record(number)])
    while log.forget(log.next):
        pass
    log.close()
    assert FIRST not in files.names()
    log, found = opened(files)
    assert found.lost, "for good"
    log.close()
    assert not Log(PowerFiles(), 1_000).recover().lost


def test_records_of_another_version_are_not_misread(tmp_path: Path) -> None:
    log, _ = opened(PosixFiles(tmp_path / "log"))
    log.append([b"something else"])
    log.close()
    with pytest.raises(CodecError):
        open_log(tmp_path / "log", TEXT)
