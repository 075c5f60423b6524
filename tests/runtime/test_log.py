"""runtime.log: what was acknowledged is there after any crash, or the log says that it may not be (SCENARIOS 3 to 6)."""

import random
from pathlib import Path

import pytest

from phalanx.errors import TooLarge
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import RECORD_BYTES_MAX, DamagedLog, Log, Recovery, read_segment
from phalanx.runtime.logdisk import open_log
from phalanx.wire.errors import CodecError
from phalanx.wire.frame import Kind, encode_frame
from tests.runtime.power import PowerFiles
from tests.runtime.toys import TEXT, Text

FIRST, SECOND = "0000000000000001.log", "0000000000000002.log"


def record(number: int) -> bytes:
    return b"%d:" % number + bytes(number * 37 % 700)


def opened(files: PowerFiles | PosixFiles, segment_bytes: int = 1000) -> tuple[Log, Recovery]:
    log = Log(files, segment_bytes)
    return log, log.recover()


def filled(count: int, group: int = 3, segment_bytes: int = 1000) -> PowerFiles:
    """A log of that many records, written a group at a time."""
    files = PowerFiles()
    log, _ = opened(files, segment_bytes)
    for start in range(0, count, group):
        log.append([record(n) for n in range(start, min(start + group, count))])
    return files


def read(files: dict[str, bytes] | PowerFiles) -> Recovery:
    return opened(PowerFiles(files) if isinstance(files, dict) else files)[1]


def contents(files: PowerFiles) -> dict[str, bytes]:
    return {name: files.read(name) for name in files.names()}


# --- a log on a good disk ---------------------------------------------------------------------------------------------


def test_a_log_gives_back_its_records_in_order_over_lives_and_segments(tmp_path: Path) -> None:
    expected: list[bytes] = []
    for life in range(4):
        files = PosixFiles(tmp_path / "data" / "log")
        log, found = opened(files)
        assert (found.records, found.cuts, found.torn) == (expected, (), "")
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
    assert read(contents(files)).records == [bytes(RECORD_BYTES_MAX)]


def test_segments_whose_records_are_not_needed_are_removed_the_oldest_first() -> None:
    files = filled(30)
    log, found = opened(files)
    all_names = files.names()
    log.forget(0)
    assert files.names() == all_names
    log.forget(17)
    left = read(contents(files)).records
    assert left == found.records[-len(left) :]
    assert 13 <= len(left) <= 17, "whole segments only"
    log.forget(10**9)
    assert files.names() == all_names[-1:], "the one that is written stays"
    log.append([b"more"])
    assert opened(PowerFiles(contents(files)))[0].next == 31, "numbers go on"


# --- crashes ----------------------------------------------------------------------------------------------------------


def crashes(files: PowerFiles, acknowledged: list[int], life: int) -> None:
    """After every operation, several ways of losing what was not synced: what was acknowledged by then is there.
    `acknowledged[n]`: how many records were, after n operations."""
    for count in range(len(files.done) + 1):
        for luck in range(12):
            left = files.after_power_cut(count, random.Random(f"{life}/{count}/{luck}"))
            found = read(left)
            sure = acknowledged[count]
            assert found.records[:sure] == [record(n) for n in range(sure)], f"after {count} operations, luck {luck}"
            assert found.records == [record(n) for n in range(len(found.records))], "and nothing that was not written"


def test_what_was_acknowledged_survives_a_power_cut_after_any_operation() -> None:
    """SCENARIOS 3, 5: every crash point of appends, switches of segments and a second life, 12 times each."""
    files = PowerFiles()
    acknowledged = [0]

    def note(count: int) -> None:
        acknowledged.extend([acknowledged[-1]] * (len(files.done) + 1 - len(acknowledged)))
        acknowledged[-1] = count

    log, _ = opened(files)
    for start in range(0, 24, 3):
        log.append([record(n) for n in range(start, start + 3)])
        note(start + 3)
    log, _ = opened(files)
    note(24)
    for start in range(24, 30, 2):
        log.append([record(n) for n in range(start, start + 2)])
        note(start + 2)
    crashes(files, acknowledged, 1)


def test_power_cuts_one_after_the_other_lose_nothing_that_was_acknowledged() -> None:
    """SCENARIOS 1, 5: each life begins with what a cut in mid write left of the one before, and says so."""
    for seed in range(150):
        rng = random.Random(seed)
        left: dict[str, bytes] = {}
        sure: list[bytes] = []
        for life in range(6):
            files = PowerFiles(left)
            log, found = opened(files)
            assert found.records[: len(sure)] == sure
            sure = found.records
            assert not found.torn or found.cuts[-1] == len(sure)
            for group in range(rng.randrange(5)):
                records = [b"%d/%d/%d" % (life, group, i) + bytes(rng.randrange(600)) for i in range(rng.randint(1, 3))]
                log.append(records)
                sure = sure + records
            done = len(files.done)
            log.append([b"under way " * 90] * 3)
            left = files.after_power_cut(rng.randint(done, len(files.done) - 1), rng)


def test_a_cut_stays_on_record_for_all_later_lives() -> None:
    files = filled(4)
    name = files.names()[-1]
    files.files[name] = files.files[name][:-5]
    log, found = opened(files)
    assert found.torn.startswith(name)
    assert (len(found.records), found.cuts) == (3, (3,))
    log.append([b"later"])
    for _ in range(2):
        log, found = opened(files)
        assert (found.records[3:], found.cuts, found.torn) == ([b"later"], (3,), "")


class WithoutDirectorySync(PowerFiles):
    """The planted bug."""

    def sync_directory(self) -> None:
        """Skipped."""


def test_a_skipped_directory_fsync_is_noticed() -> None:
    """The planted bug of SCENARIOS 5: the test above can fail."""
    files = WithoutDirectorySync()
    log, _ = opened(files)
    acknowledged = [0]
    for start in range(0, 24, 3):
        log.append([record(n) for n in range(start, start + 3)])
        acknowledged.extend([acknowledged[-1]] * (len(files.done) + 1 - len(acknowledged)))
        acknowledged[-1] = start + 3
    with pytest.raises((AssertionError, DamagedLog)):
        crashes(files, acknowledged, 2)


class WithoutSync(PowerFiles):
    """Another."""

    def sync(self, name: str) -> None:
        """Skipped."""


def test_a_skipped_fsync_is_noticed() -> None:
    files = WithoutSync()
    log, _ = opened(files)
    log.append([record(0)])
    log.append([record(1)])
    with pytest.raises((AssertionError, DamagedLog)):
        crashes(files, [0] * (len(files.done)) + [2], 3)


# --- bad disks --------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_is_reported_and_never_skipped() -> None:
    """SCENARIOS 6: in anything but the last write it is damage; there it is a record that is possibly lost."""
    files = filled(12, group=2)
    good = contents(files)
    whole = read(good)
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
            assert found.records == whole.records[: len(found.records)]
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
            assert read({FIRST: data}).records == []
        except DamagedLog:
            pass


# --- a node's log -------------------------------------------------------------------------------------------------------


def test_a_damaged_log_is_set_aside_and_its_successor_says_so(tmp_path: Path) -> None:
    """SCENARIOS 6: reported, kept for whoever wants to look, never answered from."""
    for life in range(2):
        disk, journal = open_log(tmp_path / "log", TEXT)
        assert journal.lost == (life > 0)
        assert journal.records == []
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


def test_records_of_another_version_are_not_misread(tmp_path: Path) -> None:
    log, _ = opened(PosixFiles(tmp_path / "log"))
    log.append([b"something else"])
    log.close()
    with pytest.raises(CodecError):
        open_log(tmp_path / "log", TEXT)
