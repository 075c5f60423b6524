"""A backup into an empty store, in two passes: the first reads all of the file and changes nothing, the second loads it.

What is loaded is seen by nobody until the last step shows all of it (`services.store.loading`).  So a restoration that
fails before has not happened, and can be begun again; and if the answer to the last step is lost, the store has all or
nothing.

What was written after the backup was taken, and is lost, may still be known to somebody: so the store goes on at a
revision beyond all that can have been given out, and what was before is compacted.  A client that asks for a revision of
the lost time is told, and none is given out twice.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from phalanx.api.backup.files import in_thread
from phalanx.api.backup.format import Backup, Head, Keys, Leases, Record, Tail, backup_of, read, verify
from phalanx.errors import DamagedBackup, NotHappened, OutcomeUnknown, PhalanxError, Unavailable
from phalanx.services.store.kv import KV
from phalanx.services.store.limits import REVISIONS_AHEAD
from phalanx.services.store.values import Abandon, Begin, Finish, LoadKeys, LoadLeases

if TYPE_CHECKING:
    from phalanx.api.client import Replicated

ABANDON_S = 2.0
"""How long to try to have a load that failed forgotten.  If that fails, the next one takes its place."""


async def restore(store: "Replicated[KV]", path: Path, *, same_revision: bool) -> Backup:
    """Load the backup; see `Client.restore`."""
    expected = await in_thread(verify, path)
    records = read(path)
    try:
        head = await in_thread(next, records)
        assert isinstance(head, Head), "the first record is checked to be one"
        load, tail = await _load(store, head, records, 0 if same_revision else REVISIONS_AHEAD)
        if backup_of(head, tail) != expected:
            await _abandon(store, load)
            raise DamagedBackup(f"{path} has changed while it was read; nothing was restored")
    finally:
        await in_thread(records.close)
    await _show(store, Finish(load, tail.leases, tail.keys))
    return expected


async def _load(store: "Replicated[KV]", head: Head, records: Iterator[Record], ahead: int) -> tuple[int, Tail]:
    """Load everything, to be shown by `Finish`, at a revision that is so much larger; the load's id, and what should be
    there."""
    load = 0
    try:
        load = await store.call(KV.load, Begin(head.revision + ahead, head.origin, head.retain_ms))
        while True:
            match await in_thread(next, records):
                case Leases(leases):
                    await store.call(KV.load, LoadLeases(load, leases))
                case Keys(items):
                    await store.call(KV.load, LoadKeys(load, items))
                case Tail() as tail:
                    return load, tail
                case Head():
                    raise AssertionError("a second one is found to be damage")
                case other:
                    assert_never(other)
    except OutcomeUnknown as error:
        raise Unavailable(f"the store stopped answering; nothing was restored, begin again: {error}") from error
    except BaseException:
        await _abandon(store, load)
        raise


async def _show(store: "Replicated[KV]", finish: Finish) -> None:
    try:
        await store.call(KV.load, finish)
    except OutcomeUnknown as error:
        raise OutcomeUnknown(
            f"{error}; the store has all of the backup or is empty: begin again, it refuses if it is not empty"
        ) from error
    except NotHappened:
        await _abandon(store, finish.load)
        raise


async def _abandon(store: "Replicated[KV]", load: int) -> None:
    """Have the store forget what was loaded, as far as that is possible: the next load, or a write, does it as well."""
    if load:
        with suppress(PhalanxError):
            await store.within(ABANDON_S).call(KV.load, Abandon(load))
