"""What a log's thread does besides appending: it reads the log again for a process that begins anew, and looks how much
room there is."""

import asyncio
import os
from pathlib import Path

import pytest

from phalanx.model.machine import Journal
from phalanx.runtime.logdisk import FileLog, open_log
from phalanx.runtime.space import Left
from tests.runtime.test_forgetting import appended
from tests.runtime.toys import TEXT, Text, on_loop


async def reread(disk: FileLog) -> tuple[Journal | None, BaseException | None]:
    done: asyncio.Future[tuple[Journal | None, BaseException | None]] = asyncio.get_running_loop().create_future()
    disk.read(lambda journal, error: done.set_result((journal, error)))
    return await done


def test_a_log_in_use_is_read_again_with_what_this_process_has_appended(tmp_path: Path) -> None:
    """A durable node that was put out begins anew with it (ARCHITECTURE.md, decision 41)."""
    directory = tmp_path / "log"

    async def work() -> None:
        for life in range(2):
            disk, journal = open_log(directory, TEXT)
            before = list(journal.records)
            assert await appended(disk, f"{life}.0") is None
            disk.part()
            assert await appended(disk, f"{life}.1") is None
            found, error = await reread(disk)
            assert found is not None and error is None
            assert list(found.records) == [*before, Text(f"{life}.0"), Text(f"{life}.1")]
            assert list(found.records) == list(found.records), "it is read once, before anything else is appended"
            assert not found.lost and len(list(directory.iterdir())) == life + 2
            assert await appended(disk, f"{life}.2") is None, "and is in use as before"
            disk.close()

    on_loop(work)


def test_a_log_in_use_that_has_been_damaged_says_so_when_it_is_read_again(tmp_path: Path) -> None:
    async def work() -> None:
        disk, _ = open_log(tmp_path, TEXT)
        for n in range(3):
            disk.part()
            assert await appended(disk, f"{n}") is None
        first = min(tmp_path.iterdir())
        first.write_bytes(first.read_bytes()[:-5])
        found, error = await reread(disk)
        assert found is None and "damage" in f"{type(error).__name__}".lower()
        disk.close()

    on_loop(work)


def test_where_the_room_cannot_be_told_that_is_a_warning_and_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Path) -> os.statvfs_result:
        raise OSError(5, "Input/output error")

    async def work() -> None:
        disk, _ = open_log(tmp_path, TEXT)

        async def looked() -> Left | None:
            done: asyncio.Future[Left | None] = asyncio.get_running_loop().create_future()
            disk.look(done.set_result)
            return await done

        left = await looked()
        assert left is not None
        monkeypatch.setattr(os, "statvfs", fails)
        assert await looked() is None
        assert "how much room there is cannot be told" in caplog.text
        disk.close()

    on_loop(work)
