"""runtime.kernelsync, and the log that leaves its fsync to the kernel: what is durable, and what failed, is told."""

import asyncio
import os
from pathlib import Path

import pytest

from phalanx.runtime import logdisk
from phalanx.runtime.contract import Stored
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.kernelsync import KernelSync, kernel_sync
from phalanx.runtime.log import Log
from phalanx.runtime.logdisk import WRITTEN_AT_ONCE_MAX, FileLog, open_log
from tests.runtime.power import PowerFiles
from tests.runtime.toys import TEXT, Text

EIO = OSError(5, "Input/output error")


class Kernel(KernelSync):
    """Stands for the kernel: takes no request, or answers with what it was made with."""

    def __init__(self, answer: OSError | None, *, takes: bool = True) -> None:
        self.answer = answer
        self.takes = takes
        self.asked = 0
        self.closed = False

    def sync(self, file: int, done: Stored) -> None:
        self.asked += 1
        if not self.takes:
            raise OSError("the kernel does not take an fsync: none of that here")
        os.fsync(file)
        asyncio.get_running_loop().call_soon(done, self.answer)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def real() -> KernelSync:
    kernel = kernel_sync()
    if kernel is None:
        pytest.skip("this system has no asynchronous fsync, or does not let us have it")
    return kernel


async def appended(disk: FileLog, *texts: str, forget: int | None = None) -> BaseException | None:
    told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    disk.append([Text(text) for text in texts], forget, told.set_result)
    assert not told.done(), "later, never to the caller itself"
    return await told


def kept(directory: Path) -> list[str]:
    disk, journal = open_log(directory, TEXT)
    disk.close()
    return [record.text for record in journal.records]


def with_kernel(monkeypatch: pytest.MonkeyPatch, kernel: KernelSync | None) -> None:
    monkeypatch.setattr(logdisk, "kernel_sync", lambda: kernel)


def test_a_file_is_synced_and_the_loop_is_told(real: KernelSync, tmp_path: Path) -> None:
    async def story() -> list[BaseException | None]:
        told: asyncio.Queue[BaseException | None] = asyncio.Queue()
        with (tmp_path / "file").open("wb") as file:
            for _ in range(3):
                file.write(b"data")
                file.flush()
                real.sync(file.fileno(), told.put_nowait)
            found = [await told.get() for _ in range(3)]
        real.close()
        real.close()
        return found

    assert asyncio.run(story()) == [None, None, None]


def test_what_cannot_be_synced_is_told_or_refused(real: KernelSync) -> None:
    async def story() -> None:
        reading, writing = os.pipe()
        told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        try:
            real.sync(writing, told.set_result)
            error = await told
        except OSError as refused:
            error = refused
        finally:
            real.close()
            os.close(reading)
            os.close(writing)
        assert isinstance(error, OSError)

    asyncio.run(story())


def test_the_log_of_a_node_uses_what_the_system_has(real: KernelSync, tmp_path: Path) -> None:
    real.close()

    async def story() -> None:
        disk, _ = open_log(tmp_path / "log", TEXT)
        for n in range(5):
            assert await appended(disk, f"{n}", f"{n} again") is None
        assert await appended(disk, "large" * (WRITTEN_AT_ONCE_MAX // 4)) is None, "a thread writes it"
        assert await appended(disk, "last", forget=3) is None
        disk.close()

    asyncio.run(story())
    texts = kept(tmp_path / "log")
    assert texts[:2] == ["0", "0 again"]
    assert texts[-1] == "last"
    assert len(texts) == 12


@pytest.mark.parametrize("takes", [True, False], ids=["none at all", "it refuses"])
def test_without_the_kernel_a_thread_syncs(takes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = None if takes else Kernel(None, takes=False)
    with_kernel(monkeypatch, kernel)

    async def story() -> None:
        disk, _ = open_log(tmp_path / "log", TEXT)
        for n in range(3):
            assert await appended(disk, f"{n}") is None
        disk.close()

    asyncio.run(story())
    if kernel is not None:
        assert kernel.asked == 1, "it is not asked again"
        assert kernel.closed
    assert kept(tmp_path / "log") == ["0", "1", "2"]


def test_after_a_failed_sync_nothing_is_appended_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebello et al., "Can Applications Recover from fsync Failures?", 2020: no."""
    kernel = Kernel(None)
    with_kernel(monkeypatch, kernel)

    async def story() -> None:
        disk, _ = open_log(tmp_path / "log", TEXT)
        assert await appended(disk, "sound") is None
        kernel.answer = EIO
        assert await appended(disk, "who knows") is EIO
        kernel.answer = None
        error = await appended(disk, "never")
        assert isinstance(error, OSError)
        assert error.__cause__ is EIO
        disk.close()

    asyncio.run(story())
    assert "never" not in kept(tmp_path / "log")


def test_what_is_no_record_is_told_as_everything_else(tmp_path: Path) -> None:
    async def story() -> None:
        disk, _ = open_log(tmp_path / "log", TEXT)
        told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        disk.append([object()], None, told.set_result)
        assert isinstance(await told, TypeError)
        disk.close()

    asyncio.run(story())


def test_both_halves_of_an_append_do_what_the_whole_does() -> None:
    """So the tests of every power cut in test_log.py speak of both."""
    whole, halves = PowerFiles(), PowerFiles()
    one, other = Log(whole, 300), Log(halves, 300)
    one.recover()
    other.recover()
    for n in range(20):
        records = [bytes([n]) * 30, b"more"]
        one.append(records)
        if other.write(records):
            halves.sync(other.newest)
            other.synced(None)
        else:
            other.append(records)
        assert one.next == other.next
    assert whole.done == halves.done
    assert len(whole.names()) > 3, "over several segments"


def test_files_and_log_name_the_same_file(tmp_path: Path) -> None:
    files = PosixFiles(tmp_path / "log")
    log = Log(files)
    log.recover()
    assert log.write([b"record"])
    os.fsync(files.descriptor(log.newest))
    log.synced(None)
    log.close()
    assert list(Log(PosixFiles(tmp_path / "log")).recover().records) == [b"record"]
