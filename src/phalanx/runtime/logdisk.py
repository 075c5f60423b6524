"""What drives a log off the loop, for a driver: group commit, and the two kinds of log that a node can have."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from phalanx.model.machine import Journal
from phalanx.runtime.contract import LogDisk, Stored
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import DamagedLog, Log, Recovery
from phalanx.wire.codec import Codec

log = logging.getLogger(__name__)


class GroupCommit:
    """One append at a time; what is appended meanwhile shares the next.  Records are counted from 1, as machines do."""

    def __init__(
        self, disk: LogDisk | None, on_durable: Callable[[int], None], on_error: Callable[[BaseException], None]
    ):
        """on_durable: told how many records are durable, whenever something was done.  on_error: told once, when it
        cannot be; nothing is done any more then."""
        self.appended = 0
        self.durable = 0
        self.busy = False
        """An append is under way."""
        self._disk = disk
        self._on_durable = on_durable
        self._on_error = on_error
        self._waiting: list[Any] = []
        self._forget: int | None = None
        self._reader: Callable[[Journal], None] | None = None
        self._failed = False

    def append(self, records: Sequence[Any]) -> None:
        assert self._disk is not None, "a machine that appends has a log"
        self._waiting += records
        self.appended += len(records)
        if not self.busy:
            self._begin()

    def forget(self, before: int) -> None:
        """Records with lower numbers are needed no more."""
        self._forget = before
        if not self.busy:
            self._begin()

    def read(self, reader: Callable[[Journal], None]) -> None:
        """Give the reader all that the log holds, once everything appended is durable."""
        self._reader = reader
        if not self.busy:
            self._begin()

    def _begin(self) -> None:
        if self._failed or self._disk is None:
            return
        if not self._waiting and self._forget is None:
            if self._reader is not None:
                self.busy = True
                reader, self._reader = self._reader, None
                self._disk.read(lambda journal, error: self._read(reader, journal, error))
            return
        self.busy = True
        records, self._waiting = self._waiting, []
        forget, self._forget = self._forget, None
        count = self.durable + len(records)
        self._disk.append(records, forget, lambda error: self._done(count, error))

    def _done(self, count: int, error: BaseException | None) -> None:
        self.busy = False
        if error is not None:
            self._failed = True
            self._on_error(error)
            return
        self.durable = count
        self._begin()
        self._on_durable(count)

    def _read(self, reader: Callable[[Journal], None], journal: Journal | None, error: BaseException | None) -> None:
        self.busy = False
        if journal is None:
            self._failed = True
            self._on_error(error or OSError("the log cannot be read"))
            return
        self._begin()
        reader(journal)

    def close(self) -> None:
        """Let go of the log; not while an append is under way."""
        if self._disk is not None:
            self._disk.close()


class FileLog:
    """A `LogDisk` in a directory: encodes, writes and syncs in a thread of its own."""

    def __init__(self, files: Log, codec: Codec[Any]) -> None:
        """`files` has been recovered."""
        self._log = files
        self._codec = codec
        self._base = files.next
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="phalanx-log")

    def append(self, records: Sequence[Any], forget: int | None, done: Stored) -> None:
        def finished(future: asyncio.Future[None]) -> None:
            done(future.exception())

        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._thread, self._append, records, forget).add_done_callback(finished)

    def _append(self, records: Sequence[Any], forget: int | None) -> None:
        if records:
            self._log.append([self._codec.encode(record) for record in records])
        if forget is not None:
            self._log.forget(self._base + forget - 1)

    def read(self, done: Callable[[Journal | None, BaseException | None], None]) -> None:
        def finished(future: asyncio.Future[Journal]) -> None:
            error = future.exception()
            done(None if error is not None else future.result(), error)

        asyncio.get_running_loop().run_in_executor(self._thread, self._read).add_done_callback(finished)

    def _read(self) -> Journal:
        return _journal(self._log.reread(), self._codec)

    def close(self) -> None:
        self._thread.shutdown()
        self._log.close()


class MemoryLog:
    """A `LogDisk` that forgets with the process: for clusters inside one program, which can start a node again on it."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self._base = 0
        """How many of them there were when the present process began."""

    def journal(self) -> Journal:
        """What it holds, for a process that begins."""
        self._base = len(self.records)
        return Journal(tuple(self.records))

    def append(self, records: Sequence[Any], forget: int | None, done: Stored) -> None:
        self.records += records
        if forget is not None and (gone := max(0, self._base + forget - 1)):
            del self.records[:gone]
            self._base -= gone
        asyncio.get_running_loop().call_soon(done, None)

    def read(self, done: Callable[[Journal | None, BaseException | None], None]) -> None:
        asyncio.get_running_loop().call_soon(done, Journal(tuple(self.records)), None)

    def close(self) -> None:
        """Nothing to let go."""


def open_log(directory: Path, codec: Codec[Any], *, expected: bool = False) -> tuple[FileLog, Journal]:
    """The log of a node, and what it holds.  `expected`: there was one before, so if it is missing, it is lost.

    One that is damaged is set aside beside it, with a warning, and a new one is begun that says so: what its groups had
    must come from their other hosts, or an operator repairs it.

    Raises OSError, and CodecError for records of another version.
    """
    files = Log(PosixFiles(directory), lost=expected)
    try:
        found = files.recover()
    except DamagedLog as error:
        files.close()
        aside = next(path for n in range(1, 1 << 20) if not (path := directory.with_name(f"log.damaged.{n}")).exists())
        directory.rename(aside)
        log.error("%s: %s. It was moved to %s; its groups are fetched from their other hosts", directory, error, aside)
        files = Log(PosixFiles(directory), lost=True)
        found = files.recover()
    if found.lost and not found.records:
        log.warning("%s holds nothing of what this node had: its groups are fetched from their other hosts", directory)
    if found.torn:
        log.warning("possibly lost: %s. What was acknowledged last may be known to the other hosts only", found.torn)
    try:
        journal = _journal(found, codec)
    except BaseException:
        files.close()
        raise
    return FileLog(files, codec), journal


def _journal(found: Recovery, codec: Codec[Any]) -> Journal:
    return Journal([codec.decode(record) for record in found.records], found.cuts, found.lost)
