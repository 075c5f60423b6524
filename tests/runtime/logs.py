"""Logs for tests, in files that can lose power."""

from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import Log, Recovery
from tests.runtime.power import PowerFiles

FIRST, SECOND = "0000000000000001.log", "0000000000000002.log"


def record(number: int) -> bytes:
    return b"%d:" % number + bytes(number * 37 % 700)


def opened(files: PowerFiles | PosixFiles, segment_bytes: int = 1000) -> tuple[Log, Recovery]:
    log = Log(files, segment_bytes)
    return log, log.recover()


def append(log: Log, files: PowerFiles, records: list[bytes]) -> None:
    """As a node does where the kernel syncs."""
    if log.write(records):
        files.sync(log.newest)
        log.synced(None)
    else:
        log.append(records)


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
