"""runtime.disk: a promise is the newest or the node says that it does not know (SCENARIOS 2, 3, 5, 6, 8)."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phalanx.errors import DamagedVoteFile, DataDirectoryInUse
from phalanx.runtime.disk import SLOT_BYTES_MIN, FileDisk, VoteFile
from tests.runtime.toys import TEXT, Text, on_loop

SHARED_DIRECTORY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def written(path: Path, records: list[bytes]) -> bytes:
    """The bytes of a vote file after these records."""
    path.unlink(missing_ok=True)
    file = VoteFile(path)
    file.load()
    for record in records:
        file.store(record)
    file.close()
    return path.read_bytes()


def loaded(path: Path, data: bytes) -> tuple[bytes | None, bool]:
    """What a vote file of these bytes holds, and whether it reports damage."""
    path.write_bytes(data)
    file = VoteFile(path)
    try:
        return file.load(), bool(file.damage)
    finally:
        file.close()


def test_a_new_file_holds_nothing_and_then_the_last_record(tmp_path: Path) -> None:
    path = tmp_path / "data" / "votes"
    assert loaded_again(path) is None
    for record in (b"one", b"two", b"three" * 3000, b""):
        file = VoteFile(path)
        file.load()
        file.store(record)
        file.close()
        assert loaded_again(path) == record


def loaded_again(path: Path) -> bytes | None:
    file = VoteFile(path)
    try:
        return file.load()
    finally:
        assert file.damage == ()
        file.close()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_any_flipped_byte_leaves_the_newest_record(tmp_path: Path, count: int) -> None:
    """SCENARIOS 6: bit rot must not look like a torn write, or an old promise would come back."""
    path = tmp_path / "votes"
    records = [b"record %d" % n for n in range(count)]
    whole = written(path, records)
    expected = records[-1] if records else None
    used = [at for at in range(len(whole)) if whole[at]]
    for at in [*used, 100, SLOT_BYTES_MIN + 100, len(whole) - 1]:
        data = bytearray(whole)
        data[at] ^= 0xFF
        record, damaged = loaded(path, bytes(data))
        assert record == expected
        assert damaged or at not in used
        assert loaded(path, path.read_bytes()) == (expected, False), "the damage has been mended"


@pytest.mark.parametrize("place", range(4))
def test_a_record_that_a_disk_has_put_in_anothers_place_is_damage_and_costs_nothing(tmp_path: Path, place: int) -> None:
    """SCENARIOS 6: a misdirected write, of what is sound where it belongs."""
    path = tmp_path / "votes"
    whole = written(path, [b"older", b"newer"])
    for source in range(4):
        data = bytearray(whole)
        at, of = place * SLOT_BYTES_MIN, source * SLOT_BYTES_MIN
        data[at : at + SLOT_BYTES_MIN] = whole[of : of + SLOT_BYTES_MIN]
        stray = bytes(data) != whole
        assert loaded(path, bytes(data)) == (b"newer", stray)
        assert loaded(path, path.read_bytes()) == (b"newer", False), "the damage has been mended"


@SHARED_DIRECTORY
@given(st.integers(0, 5), st.integers(0, 4 * SLOT_BYTES_MIN - 1))
def test_a_file_cut_short_gives_the_newest_record_or_a_clear_error(tmp_path: Path, count: int, length: int) -> None:
    """SCENARIOS 6: a truncated file."""
    path = tmp_path / "votes"
    records = [b"record %d" % n for n in range(count)]
    whole = written(path, records)
    try:
        record, damaged = loaded(path, whole[:length])
    except DamagedVoteFile as error:
        assert "votes" in str(error)
    else:
        assert (record, damaged) == (records[-1] if records else None, True)


@SHARED_DIRECTORY
@given(st.integers(1, 5), st.integers(0, 3 * 512), st.integers(0, 3 * 512), st.booleans())
def test_a_power_cut_in_a_write_gives_the_old_record_or_the_new_one(
    tmp_path: Path, count: int, first: int, second: int, garbage: bool
) -> None:
    """SCENARIOS 3, 5: any prefix of either copy may have reached the disk."""
    path = tmp_path / "votes"
    records = [os.urandom(0) + b"record %d" % n * 150 for n in range(count + 1)]
    before, after = written(path, records[:-1]), written(path, records)
    slot = count + 1
    data = bytearray(before)
    for place, length in ((slot % 2 * SLOT_BYTES_MIN, first), ((2 + slot % 2) * SLOT_BYTES_MIN, second)):
        data[place : place + length] = after[place : place + length]
        if garbage:
            data[place + length : place + length + 512] = b"\xa5" * 512
    record, _ = loaded(path, bytes(data))
    assert record in records[-2:]


@pytest.mark.parametrize("data", [b"", b"\0" * 16384, b"garbage" * 3000, b"x"])
def test_a_file_without_a_whole_record_is_never_silently_empty(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DamagedVoteFile, match="no whole record"):
        loaded(tmp_path / "votes", data)


def test_a_damaged_vote_file_tells_the_operator_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "votes").write_bytes(bytes(100))
    file = VoteFile(tmp_path / "votes")
    with pytest.raises(DamagedVoteFile, match="move its data directory away, and start it as a new node"):
        file.load()
    file.close()


def test_only_one_may_work_in_a_data_directory(tmp_path: Path) -> None:
    first = VoteFile(tmp_path / "votes")
    with pytest.raises(DataDirectoryInUse, match="in use"):
        VoteFile(tmp_path / "votes")
    first.close()
    VoteFile(tmp_path / "votes").close()


def test_after_a_failed_fsync_nothing_is_stored_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SCENARIOS 8: full disk; Rebello et al. 2020."""

    def fails(file: int) -> None:
        raise OSError(28, f"no space left on device, file {file}")

    file = VoteFile(tmp_path / "votes")
    file.load()
    with monkeypatch.context() as patch:
        patch.setattr("phalanx.runtime.disk._fdatasync", fails)
        with pytest.raises(OSError, match="no space left"):
            file.store(b"promise")
    with pytest.raises(OSError, match="failed before"):
        file.store(b"promise")
    file.close()


def test_a_file_disk_stores_off_the_loop_and_reports_on_it(tmp_path: Path) -> None:
    async def work() -> None:
        file = VoteFile(tmp_path / "votes")
        file.load()
        disk = FileDisk(file, TEXT)
        done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        disk.store(Text("promise"), done.set_result)
        assert not done.done()
        assert await asyncio.wait_for(done, 20) is None
        disk.close()

    on_loop(work)
    stored = loaded_again(tmp_path / "votes")
    assert stored is not None
    assert TEXT.decode(stored) == Text("promise")
