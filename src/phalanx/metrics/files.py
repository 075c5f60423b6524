"""How long a node's files take: in place of its disks, to which everything is handed on."""

from collections.abc import Callable, Sequence
from typing import Any

from phalanx.metrics.histogram import Histogram
from phalanx.model.machine import Journal
from phalanx.runtime.clock import system_clock
from phalanx.runtime.contract import Disk, LogDisk, Stored
from phalanx.runtime.space import Looked


def _timed(done: Stored, durations: Histogram) -> Stored:
    began = system_clock().mono

    def finished(error: BaseException | None) -> None:
        if error is None:
            durations.observe(system_clock().mono - began)
        done(error)

    return finished


class TimedDisk:
    """A `Disk`."""

    def __init__(self, disk: Disk) -> None:
        self.durations = Histogram()
        self._disk = disk

    def store(self, record: Any, done: Stored) -> None:
        self._disk.store(record, _timed(done, self.durations))

    def close(self) -> None:
        self._disk.close()


class TimedLog:
    """A `LogDisk`."""

    def __init__(self, log: LogDisk) -> None:
        self.durations = Histogram()
        self.records = 0
        """How many are durable of those that this process appended."""
        self._log = log

    def append(self, records: Sequence[Any], forget: int | None, done: Stored) -> None:
        if not records:
            self._log.append(records, forget, done)
            return
        count = len(records)

        def finished(error: BaseException | None) -> None:
            if error is None:
                self.records += count
            done(error)

        self._log.append(records, forget, _timed(finished, self.durations))

    def part(self) -> None:
        self._log.part()

    def read(self, done: Callable[[Journal | None, BaseException | None], None]) -> None:
        self._log.read(done)

    def look(self, done: Looked) -> None:
        self._log.look(done)

    def close(self) -> None:
        self._log.close()
