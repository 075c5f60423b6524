"""runtime.log: what was acknowledged is there after a power cut at any operation on files (SCENARIOS 1, 3, 5)."""

import random

import pytest

from phalanx.runtime.segments import DamagedLog
from tests.runtime.logs import FIRST, filled, opened, read, record
from tests.runtime.power import PowerFiles


def crashes(files: PowerFiles, acknowledged: list[int], life: int) -> None:
    """After every operation, several ways of losing what was not synced: what was acknowledged by then is there.
    `acknowledged[n]`: how many records were, after n operations."""
    for count in range(len(files.done) + 1):
        for luck in range(12):
            left = files.after_power_cut(count, random.Random(f"{life}/{count}/{luck}"))
            found = read(left)
            sure, records = acknowledged[count], list(found.records)
            assert records[:sure] == [record(n) for n in range(sure)], f"after {count} operations, luck {luck}"
            assert records == [record(n) for n in range(len(records))], "and nothing that was not written"


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
            records = list(found.records)
            assert records[: len(sure)] == sure
            sure = records
            assert not found.torn or found.cuts[-1] == len(sure)
            for group in range(rng.randrange(5)):
                records = [b"%d/%d/%d" % (life, group, i) + bytes(rng.randrange(600)) for i in range(rng.randint(1, 3))]
                log.append(records)
                sure = sure + records
            done = len(files.done)
            log.append([b"under way " * 90] * 3)
            left = files.after_power_cut(rng.randint(done, len(files.done) - 1), rng)


def test_a_torn_write_of_what_is_itself_a_log_is_torn_and_no_damage() -> None:
    """Somebody keeps copies of logs in a store: the records in them are sound, and say that much was durable."""
    copy = filled(12, segment_bytes=100_000).read(FIRST)
    files = filled(3)
    log, _ = opened(files)
    end = len(files.read(FIRST))
    log.append([copy])
    files.files[FIRST][end : end + 20] = bytes(20)  # its first sector is lost
    found = read(files)
    assert list(found.records) == [record(n) for n in range(3)]
    assert (found.torn != "", found.cuts) == (True, (3,))


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
        assert (list(found.records)[3:], found.cuts, found.torn) == ([b"later"], (3,), "")


def rounds(files: PowerFiles) -> list[tuple[int, int, int]]:
    """Appends and rounds of snapshots, as a node makes them: after each operation, the first record that is needed then,
    up to which all is acknowledged, and up to which all is written."""
    states = [(0, 0, 0)]

    def note(state: tuple[int, int, int]) -> None:
        states.extend([states[-1]] * (len(files.done) + 1 - len(states)))
        states[-1] = state

    needed = start = 0
    for _ in range(2):
        log, _ = opened(files, 3000)
        for _ in range(3):
            for what in ("batches", "batches", "batches", "round", "batches", "forget"):
                done = log.next
                if what == "forget":
                    needed = start
                    states[-1] = (needed, done, done)  # whatever is removed, now or never
                    while log.forget(start):
                        pass
                    note((needed, done, done))
                    continue
                if what == "round":
                    log.part()
                    start = log.next
                states[-1] = (needed, done, done + 3)
                log.append([record(n) for n in range(done, done + 3)])
                note((needed, done + 3, done + 3))
    return states


def survive_rounds(files: PowerFiles) -> None:
    """Power cuts after every operation of them."""
    states = rounds(files)
    assert len(states) == len(files.done) + 1
    assert sum(operation.what == "remove" for operation in files.done) > 6
    for count, (needed, sure, written) in enumerate(states):
        for luck in range(12):
            left = files.after_power_cut(count, random.Random(f"rounds/{count}/{luck}"))
            found = [int(data.split(b":")[0]) for data in read(left).records]
            where = f"after {count} operations, luck {luck}"
            assert found == list(range(found[0], found[-1] + 1)) if found else sure == 0, where
            assert not found or (found[0] <= needed and sure <= found[-1] + 1 <= written), where


def test_what_is_needed_survives_a_power_cut_at_any_operation_of_rounds_of_snapshots() -> None:
    """SCENARIOS 5: a crash between writing a snapshot and dropping old segments, and in the middle of a switch."""
    survive_rounds(PowerFiles())


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


def test_a_skipped_directory_fsync_in_rounds_of_snapshots_is_noticed() -> None:
    """A removal that is durable before an earlier one leaves a gap; a new file that is not there has lost a round."""
    with pytest.raises((AssertionError, DamagedLog)):
        survive_rounds(WithoutDirectorySync())


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
