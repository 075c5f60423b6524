"""What an operator who accepts loss does to the data of a node that is not running (`group.lineage`)."""

import random
import time
from pathlib import Path

from phalanx.api.storage import RECORDS, VOTES
from phalanx.errors import ConfigurationError
from phalanx.group.lineage import Rescue, rescue
from phalanx.model.clock import stamp_of
from phalanx.model.machine import Journal
from phalanx.model.view import Name
from phalanx.runtime.disk import VoteFile
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import Log, look


def recover(data: Path, name: Name, *, really: bool) -> Rescue:
    """Have the node of that name go on alone, with what its log holds, as a new cluster; what that gives up, or, unless
    `really`, what it would.  May be repeated if it was interrupted: it goes on with the same new cluster.

    Raises ConfigurationError if these are not the data of such a node, DataDirectoryInUse, DamagedVoteFile, DamagedLog
    (`phalanx log repair` comes first), CodecError for what another version has written, and OSError.
    """
    if not (data / "votes").is_file():
        raise ConfigurationError(f"{data} holds no vote file: it is no node's data directory")
    file = VoteFile(data / "votes")
    try:
        record = file.load()
        if record is None:
            raise ConfigurationError(f"{data}: this node was never in a cluster")
        found = look(PosixFiles(data / "log", make=False))
        journal = Journal(map(RECORDS.decode, found.records), found.cuts, found.lost, found.begins)
        cluster = random.SystemRandom().getrandbits(56) | 1
        plan = rescue(name, VOTES.decode(record), journal, cluster, stamp_of(time.time_ns()))
        if really:
            if plan.record is not None:
                log = Log(PosixFiles(data / "log"))
                log.recover()
                log.append([RECORDS.encode(plan.record)])
                log.close()
            file.store(VOTES.encode(plan.votes))  # behind the log, as always
        return plan
    finally:
        file.close()
