"""What a log needs no more is removed a file at a time, so that nothing waits long behind it; without room, at once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from phalanx.runtime import logdisk
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import Log
from phalanx.runtime.logdisk import FileLog, open_log
from phalanx.runtime.space import NoRoom
from tests.runtime.toys import TEXT, Text, on_loop


def test_what_is_forgotten_makes_room_for_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of old segments comes before the append that needs their room."""
    order: list[str] = []

    def forget(*_: object) -> bool:
        order.append("forget")
        return False

    monkeypatch.setattr(Log, "append", lambda *_: order.append("append"))
    monkeypatch.setattr(Log, "forget", forget)

    async def work() -> None:
        disk, _ = open_log(tmp_path / "log", TEXT)
        done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        disk.append([Text("a")], 1, done.set_result)
        assert await done is None
        disk.close()

    on_loop(work)
    assert order == ["forget", "append"]


def filled(directory: Path, monkeypatch: pytest.MonkeyPatch) -> FileLog:
    """A log of which every record is in a file of its own."""
    files = PosixFiles(directory)
    log = Log(files, segment_bytes=1)
    log.recover()
    monkeypatch.setattr(logdisk, "kernel_sync", lambda: None)
    return FileLog(log, files, TEXT)


async def appended(disk: FileLog, text: str, forget: int | None = None) -> BaseException | None:
    done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    disk.append([Text(text)], forget, done.set_result)
    return await done


def test_a_large_log_is_forgotten_a_file_at_a_time_with_what_is_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        disk = filled(tmp_path, monkeypatch)
        monkeypatch.setattr(logdisk, "FORGET_GAP_S", 3600.0)
        for n in range(6):
            assert await appended(disk, f"{n}") is None
        before = len(list(tmp_path.iterdir()))
        assert await appended(disk, "6", forget=6) is None
        assert len(list(tmp_path.iterdir())) == before, "one more, and one less"
        assert await appended(disk, "7") is None
        assert len(list(tmp_path.iterdir())) == before + 1, "the next one has time"
        monkeypatch.setattr(logdisk, "FORGET_GAP_S", 0.0)
        disk._forget_at = 0.0
        for n in range(8, 14):
            assert await appended(disk, f"{n}") is None
        disk.close()

    on_loop(work)
    disk, journal = open_log(tmp_path, TEXT)
    disk.close()
    assert [record.text for record in journal.records] == [f"{n}" for n in range(5, 14)]


def test_a_log_without_room_forgets_all_it_may_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for room does not wait for its turn to be removed."""

    async def work() -> None:
        disk = filled(tmp_path, monkeypatch)
        for n in range(6):
            assert await appended(disk, f"{n}") is None
        append = Log.append

        def crowded(log: Log, records: Sequence[bytes]) -> None:
            if len(list(tmp_path.iterdir())) > room:
                raise NoRoom("the disk is full")
            append(log, records)

        monkeypatch.setattr(Log, "append", crowded)
        room = 3
        assert await appended(disk, "6", forget=6) is None
        room = 0
        assert isinstance(await appended(disk, "7"), NoRoom), "there is nothing more to forget"
        assert len(list(tmp_path.iterdir())) == 2
        disk.close()

    on_loop(work)
