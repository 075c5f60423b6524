"""Where a node keeps what must outlive it: the vote file and the log, in one data directory."""

import logging
from pathlib import Path
from typing import NamedTuple

from phalanx.errors import ConfigurationError
from phalanx.group.beginning import lacks_beginning
from phalanx.group.messages import Record, Votes
from phalanx.model.machine import Journal
from phalanx.model.view import Name
from phalanx.runtime.contract import Disk, LogDisk
from phalanx.runtime.disk import FileDisk, MemoryDisk, VoteFile
from phalanx.runtime.logdisk import open_log
from phalanx.wire.codec import Codec

log = logging.getLogger("phalanx")

VOTES: Codec[Votes] = Codec(Votes)
"""What its vote file holds."""
RECORDS: Codec[Record] = Codec(Record)
"""What a node's log holds, in the directory `log` of its data."""


class Storage(NamedTuple):
    """Where a node keeps what must outlive it, and what is there."""

    disk: Disk
    votes: Votes | None
    log: LogDisk | None
    journal: Journal | None

    def close(self) -> None:
        """Let go of it, if no process has begun."""
        self.disk.close()
        if self.log is not None:
            self.log.close()


def open_storage(data: Path | str | None, name: Name) -> Storage:
    """The files of the node of that name, locked; None: nothing outlives the process.

    Raises OSError, `DataDirectoryInUse`, `DamagedVoteFile`, CodecError for what another version has written, and
    ConfigurationError if the directory is another node's.
    """
    if data is None:
        return Storage(MemoryDisk(), None, None, None)
    file = VoteFile(Path(data) / "votes")
    try:
        record = file.load()
        votes = None if record is None else VOTES.decode(record)
        if votes is not None and votes.name not in ("", name):
            raise ConfigurationError(
                f"{data} is the data directory of node {votes.name}, whose votes {name} must not give. Nothing changed: "
                f"start {votes.name} there, and {name} with a directory of its own"
            )
        log_disk, journal = open_log(
            Path(data) / "log",
            RECORDS,
            expected=record is not None,
            lacks_beginning=lambda records: lacks_beginning(records, name),
        )
        if record is None and any(True for _ in journal.records):
            raise ConfigurationError(f"{data} has a log and no votes: whose it is cannot be told; move the log away")
    except BaseException:
        file.close()
        raise
    for damage in file.damage:
        log.warning("%s: %s", file.path, damage)
    return Storage(FileDisk(file, VOTES), votes, log_disk, journal)
