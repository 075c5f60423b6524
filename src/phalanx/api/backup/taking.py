"""A backup from a running store: its state at one revision, read page by page while writes go on.

The revision, and the leases at that moment, come from one linearizable query.  Everything else is read *at* that
revision, which no write changes any more.  What can come between is the compaction of the history, by which the revision
is forgotten: then the backup fails, and says so.  (So it does if all hosts of a store in memory are lost meanwhile, and
another store begins under its name, whose revisions are not those of the first: the origin of its tokens is another.)
"""

from pathlib import Path
from typing import TYPE_CHECKING

from phalanx.api.backup.files import PartFile, in_thread
from phalanx.api.backup.format import FORMAT, Backup, Head, Keys, Leases, Writer, backup_of
from phalanx.errors import Compacted, Refused
from phalanx.services.store.kv import KV
from phalanx.services.store.limits import LOAD_BYTES_MAX, LOAD_ITEMS_MAX, RANGE_ITEMS_MAX
from phalanx.services.store.values import Range, Versioned

if TYPE_CHECKING:
    from phalanx.api.client import Replicated


async def take(store: "Replicated[KV]", cluster: str, path: Path, overwrite: bool) -> Backup:
    """Back the store up; see `Client.backup`."""
    file = PartFile(path, overwrite)
    try:
        writer = Writer(file.write)
        moment = await store.call(KV.instant)
        head = Head(FORMAT, cluster, store.name, moment.revision, moment.time_ms, moment.origin, moment.retain_ms)
        await in_thread(writer.add, head)
        for at in range(0, len(moment.leases), LOAD_ITEMS_MAX):
            await in_thread(writer.add, Leases(moment.leases[at : at + LOAD_ITEMS_MAX]))
        await _take_keys(store, moment.revision, writer)
        if (await store.call(KV.instant)).origin != moment.origin:
            raise Refused("all hosts of the store failed while it was backed up, and it began anew: back up again")
        tail = writer.end()
        await in_thread(file.publish)
    except BaseException:
        await in_thread(file.abandon)
        raise
    return backup_of(head, tail)


async def _take_keys(store: "Replicated[KV]", revision: int, writer: Writer) -> None:
    start, more = b"", True
    while more:
        try:
            page: Range = await store.call(KV.range, start, None, RANGE_ITEMS_MAX, revision)
        except Compacted as error:
            raise Refused(
                f"revision {error.asked} was compacted while it was being backed up; the history begins at revision "
                f"{error.oldest} now: back up when less is written, and compact nothing meanwhile"
            ) from error
        more = page.more
        for items in pieces(page.items):
            await in_thread(writer.add, Keys(items))
        if page.items:
            start = page.items[-1][0] + b"\0"


def pieces(items: list[tuple[bytes, Versioned]]) -> list[list[tuple[bytes, Versioned]]]:
    """Cut into what one step of loading takes."""
    found: list[list[tuple[bytes, Versioned]]] = []
    room = 0
    for key, item in items:
        size = len(key) + len(item.value)
        if not found or size > room or len(found[-1]) >= LOAD_ITEMS_MAX:
            found.append([])
            room = LOAD_BYTES_MAX
        found[-1].append((key, item))
        room -= size
    return found
