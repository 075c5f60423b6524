"""What drives a log off the loop, for a driver: group commit, and the two kinds of log that a node can have."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from phalanx.model.machine import Journal
from phalanx.runtime.contract import LogDisk, Stored
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.kernelsync import kernel_sync
from phalanx.runtime.log import Log, Recovery
from phalanx.runtime.segments import BEGINNING_LOST, DamagedLog, Records
from phalanx.runtime.space import RETRY_S, Left, Looked, NoRoom
from phalanx.wire.codec import Codec
from phalanx.wire.errors import CodecError

logger = logging.getLogger(__name__)

WRITTEN_AT_ONCE_MAX = 256 << 10
"""Bytes that are written on the loop, into the page cache; to copy more would keep the loop from its other work."""

FORGET_GAP_S = 0.1
"""From the end of one old segment to that of the next, at least: each holds up what is appended by ten milliseconds."""


class GroupCommit:
    """One append at a time; what is appended meanwhile shares the next.  Records are counted from 1, as machines do."""

    def __init__(
        self,
        disk: LogDisk | None,
        on_durable: Callable[[int], None],
        on_error: Callable[[BaseException], None],
        on_room: Callable[[NoRoom | None], None],
    ):
        """on_durable: told how many records are durable, whenever something was done.  on_error: told once, when it
        cannot be; nothing is done any more then.  on_room: told when there is no room for it, which is no error: it
        waits, and is tried again; and with None when an append was taken."""
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
        self._on_room = on_room
        self._retry: asyncio.TimerHandle | None = None
        """Set while what waits was refused for want of room."""

    def append(self, records: Sequence[Any], *, apart: bool = False) -> None:
        """Have them appended, from the next `begin` on.  apart: these and what follows are to be kept when all before is
        forgotten."""
        assert self._disk is not None, "a machine that appends has a log"
        if apart:
            self._disk.part()
        self._waiting += records
        self.appended += len(records)

    def forget(self, before: int) -> None:
        """Records with lower numbers are needed no more."""
        self._forget = before

    def read(self, reader: Callable[[Journal], None]) -> None:
        """Give the reader all that the log holds, once everything appended is durable."""
        self._reader = reader

    def begin(self) -> None:
        """With what was asked for, unless something is under way: its end begins the next."""
        if self.busy or self._failed or self._disk is None:
            return
        if self._retry is not None and self._forget is None:
            return  # until it is time, or something is forgotten, which makes room
        if not self._waiting and self._forget is None:
            if self._reader is not None:
                self.busy = True
                reader, self._reader = self._reader, None
                self._disk.read(lambda journal, error: self._read(reader, journal, error))
            return
        self.busy = True
        records, self._waiting = self._waiting, []
        forget, self._forget = self._forget, None
        self._disk.append(records, forget, lambda error: self._done(records, error))

    def _done(self, records: list[Any], error: BaseException | None) -> None:
        self.busy = False
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if isinstance(error, NoRoom):
            self._waiting[:0] = records
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._again)
            self._on_room(error)
            return
        if error is not None:
            self._failed = True
            self._on_error(error)
            return
        self.durable += len(records)
        count = self.durable
        if records:
            self._on_room(None)
        self.begin()
        self._on_durable(count)

    def _again(self) -> None:
        self._retry = None
        self.begin()

    def _read(self, reader: Callable[[Journal], None], journal: Journal | None, error: BaseException | None) -> None:
        self.busy = False
        if journal is None:
            self._failed = True
            self._on_error(error or OSError("the log cannot be read"))
            return
        self.begin()
        reader(journal)

    def close(self) -> None:
        """Let go of the log; not while an append is under way.  What was refused is lost, as in a crash."""
        if self._retry is not None:
            self._retry.cancel()
        if self._disk is not None:
            self._disk.close()


class FileLog:
    """A `LogDisk` in a directory.  A sync of what was appended is left to the kernel, where it can; what else blocks, a
    new segment or the end of an old one, is done in a thread of its own."""

    def __init__(self, log: Log, files: PosixFiles, codec: Codec[Any]) -> None:
        """`log` is in `files`, and has been recovered."""
        self._log = log
        self._files = files
        self._codec = codec
        self._base = log.next
        self._forget: int | None = None
        """Records with lower numbers are being removed, a segment at a time ..."""
        self._forget_at = 0.0
        """... of which this is the next one's, by the loop's clock."""
        self._kernel = kernel_sync()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="phalanx-log")

    @property
    def segments(self) -> int:
        """In how many files it is."""
        return self._log.segments

    @property
    def size(self) -> int:
        """Bytes that are durable."""
        return self._log.size

    def append(self, records: Sequence[Any], forget: int | None, done: Stored) -> None:
        if forget is not None:
            self._forget = self._base + forget - 1
        try:
            bodies = [self._codec.encode(record) for record in records]
            small = sum(map(len, bodies)) <= WRITTEN_AT_ONCE_MAX
            forgets = self._forget is not None and asyncio.get_running_loop().time() >= self._forget_at
            at_once = self._kernel is not None and not forgets and small
            written = at_once and self._log.write(bodies)
        except Exception as error:  # told as a thread's are: later, and not to our caller
            asyncio.get_running_loop().call_soon(done, error)
            return
        if not written:
            if forgets:
                self._forget_at = asyncio.get_running_loop().time() + FORGET_GAP_S
            self._in_thread(lambda: self._append(bodies, forgets), done)
            return

        def finished(error: BaseException | None) -> None:
            self._log.synced(error)
            done(error)

        assert self._kernel is not None
        try:
            self._kernel.sync(self._files.descriptor(self._log.newest), finished)
        except OSError as error:
            logger.info("%s: fsync by a thread from now on: %s", self._files.directory, error)
            self._kernel.close()
            self._kernel = None
            self._in_thread(lambda: self._files.sync(self._log.newest), finished)

    def _append(self, bodies: Sequence[bytes], forgets: bool) -> None:
        while True:
            if forgets and self._forget is not None and not self._log.forget(self._forget):
                self._forget = None
            try:
                if bodies:
                    self._log.append(bodies)
            except NoRoom:
                if self._forget is None:
                    raise
                forgets = True  # which makes room
            else:
                return

    def look(self, done: Looked) -> None:
        def finished(future: asyncio.Future[os.statvfs_result]) -> None:
            if (error := future.exception()) is not None:
                logger.warning("%s: how much room there is cannot be told: %s", self._files.directory, error)
                done(None)
            else:
                found = future.result()
                done(Left(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize))

        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._thread, os.statvfs, self._files.directory).add_done_callback(finished)

    def _in_thread(self, work: Callable[[], None], done: Stored) -> None:
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        future.add_done_callback(lambda finished: done(finished.exception()))

    def part(self) -> None:
        self._log.part()

    def read(self, done: Callable[[Journal | None, BaseException | None], None]) -> None:
        def finished(future: asyncio.Future[Journal]) -> None:
            error = future.exception()
            done(None if error is not None else future.result(), error)

        asyncio.get_running_loop().run_in_executor(self._thread, self._read).add_done_callback(finished)

    def _read(self) -> Journal:
        found = self._log.reread()
        return _journal(found, [self._codec.decode(record) for record in found.records])

    def close(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
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

    def part(self) -> None:
        """It forgets records one by one."""

    def read(self, done: Callable[[Journal | None, BaseException | None], None]) -> None:
        asyncio.get_running_loop().call_soon(done, Journal(tuple(self.records)), None)

    def look(self, done: Looked) -> None:
        """There is no disk."""

    def close(self) -> None:
        """Nothing to let go."""


def open_log(
    directory: Path,
    codec: Codec[Any],
    *,
    expected: bool = False,
    lacks_beginning: Callable[[Iterable[Any]], bool] = lambda _: False,
) -> tuple[FileLog, Journal]:
    """The log of a node, and what it holds.  `expected`: there was one before, so if it is missing, it is lost.
    `lacks_beginning`: whether records that are not from the first file on can only be what is left of a log.

    One that is damaged is set aside beside it, with a warning, and a new one is begun that says so: what its groups had
    must come from their other hosts, or an operator repairs it.

    The journal's records are read and decoded whenever it is iterated, which is to be done before anything is appended:
    what a machine makes of them need not be in memory beside them.

    Raises OSError, and CodecError for records of another version, as may iterating.
    """
    files = PosixFiles(directory)
    log = Log(files, lost=expected)
    try:
        found = log.recover()
        if not found.begins and lacks_beginning(Decoded(found.records, codec)):
            raise DamagedLog(BEGINNING_LOST)
    except CodecError:
        log.close()
        raise
    except DamagedLog as error:
        log.close()
        aside = next(path for n in range(1, 1 << 20) if not (path := directory.with_name(f"log.damaged.{n}")).exists())
        directory.rename(aside)
        logger.error(
            "%s: %s. It was moved to %s; its groups are fetched from their other hosts", directory, error, aside
        )
        files = PosixFiles(directory)
        log = Log(files, lost=True)
        found = log.recover()
    if found.lost and not found.records:
        logger.warning(
            "%s holds nothing of what this node had: its groups are fetched from their other hosts", directory
        )
    if found.unbegun:
        text = "%s: %s had no beginning, and is removed: it had just been begun, or possibly lost is what was in it"
        logger.warning(text, directory, found.unbegun)
    if found.torn:
        logger.warning("possibly lost: %s. What was acknowledged last may be known to the other hosts only", found.torn)
    try:
        for record in found.records:
            codec.decode(record)
            break
    except BaseException:
        log.close()
        raise
    return FileLog(log, files, codec), _journal(found, Decoded(found.records, codec))


def _journal(found: Recovery, records: Iterable[Any]) -> Journal:
    return Journal(records, found.cuts, found.lost, found.begins)


class Decoded:
    """What a log holds, decoded one by one whenever it is iterated.  Raises what iterating `Records` does, and
    CodecError."""

    def __init__(self, records: Records, codec: Codec[Any]) -> None:
        self._records = records
        self._codec = codec

    def __iter__(self) -> Iterator[Any]:
        return map(self._codec.decode, self._records)
