"""Backups of stores that are written to, by nodes that fail; restored whole or not at all."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from phalanx.api.backup import restoring
from phalanx.api.backup.files import PartFile
from phalanx.api.backup.format import Backup, Head, Keys, Leases, Record, Tail, Writer, read, verify
from phalanx.api.client import Client, Replicated
from phalanx.api.local import Cluster, local
from phalanx.api.store import Store
from phalanx.errors import (
    Compacted,
    ConfigurationError,
    DamagedBackup,
    NotHappened,
    OutcomeUnknown,
    Refused,
    Unavailable,
)
from phalanx.runtime.loop import run
from phalanx.services.store.index import Index
from phalanx.services.store.kv import KV
from phalanx.services.store.limits import REVISIONS_AHEAD
from phalanx.services.store.values import Begin, Finish, LoadKeys, Put, Versioned
from tests.api.cluster import PATIENCE_S, PATIENT
from tests.api.test_backup_file import HEAD, KEYS, MORE, made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.backup"


def in_clusters(story: Any) -> None:
    """Run a test with a cluster of two stores, "KV" and "New", and a client."""

    async def limited() -> None:
        objects = {"KV": (KV, 0), "New": (KV, 0)}
        async with asyncio.timeout(PATIENCE_S), local(3, objects=objects, timing=PATIENT) as cluster:
            await story(cluster, cluster.client(PATIENCE_S))

    run(limited())


async def fill(store: Store, count: int) -> None:
    await asyncio.gather(*(store.put(b"key %05d" % n, b"%d" % n) for n in range(count)))


async def items_of(store: Store, at: int | None = None) -> list[tuple[bytes, Versioned]]:
    return [item async for item in store.items(at=at)]


def test_a_backup_taken_under_load_is_one_revision_and_its_restoration_goes_on_from_there(path: Path) -> None:
    async def story(_: Cluster, client: Client) -> None:
        store, new = client.kv(), client.kv("New")
        lease = await store.grant(30)
        await store.put(b"held", b"", lease=lease.id)
        await fill(store, 2_500)

        async def write() -> None:
            n = 0
            while True:
                n += 1
                await store.transact((), (Put(b"key %05d" % (n % 2_500), b"x"), Put(b"late %05d" % (n % 2_000), b"x")))

        writing = asyncio.create_task(write())
        taken = await client.backup(path)
        writing.cancel()
        assert (await store.info()).revision > taken.revision >= 2_501, "writes went on"
        expected = await items_of(store, taken.revision)
        assert (taken.keys, taken.leases, taken.store) == (len(expected), 1, "KV") and verify(path) == taken

        assert await client.restore(path, "New", same_revision=True) == taken
        assert await items_of(new) == expected and await items_of(new, taken.revision) == expected
        assert [info.id for info in await new.leases()] == [lease.id]
        kept = await new.keep_alive(lease.id)
        assert kept is not None and kept.ttl_ms == 30_000
        assert await new.put(b"after", b"") == taken.revision + 1
        await new.revoke(lease.id)
        assert await new.get(b"held") is None
        with pytest.raises(Refused, match="not empty"):
            await client.restore(path, "New")
        with pytest.raises(ConfigurationError, match="already"):
            await client.backup(path)
        again = await client.backup(path, "New", overwrite=True)
        assert again.revision == taken.revision + 2 and again.store == "New"

    in_clusters(story)


def test_no_revision_of_what_was_written_after_the_backup_is_given_out_again(path: Path) -> None:
    """Whoever knows one is told: see `etcdutl snapshot restore --bump-revision --mark-compacted`."""

    async def story(_: Cluster, client: Client) -> None:
        store, new = client.kv(), client.kv("New")
        await fill(store, 3)
        taken = await client.backup(path)
        lost = await store.transact((), (Put(b"key", b"lost"),))
        assert await client.restore(path, "New") == taken
        oldest = taken.revision + REVISIONS_AHEAD
        found = await new.get(b"key 00000", at=oldest)
        assert found is not None and found.modified <= taken.revision, "what is in the backup is as it was"
        for asked in (taken.revision, lost.revision):
            with pytest.raises(Compacted) as told:
                await new.get(b"key", at=asked)
            assert told.value.oldest == oldest
            async with new.watch(b"", b"\xff", after=asked) as changes:
                with pytest.raises(Compacted):
                    await anext(changes)
        again = await new.transact((), (Put(b"key", b"new"),))
        assert again.revision == oldest + 1 > lost.revision and again.token > lost.token

    in_clusters(story)


def test_a_backup_goes_on_at_another_node(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(cluster: Cluster, client: Client) -> None:
        await fill(client.kv(), 3_000)
        add = Writer.add

        def kill_then_add(self: Writer, record: Head | Leases | Keys) -> None:
            if isinstance(record, Keys) and not killed:
                killed.append(asyncio.run_coroutine_threadsafe(cluster.kill("a"), loop).result(PATIENCE_S))
            add(self, record)

        killed: list[None] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(Writer, "add", kill_then_add)
        taken = await client.backup(path)
        assert killed and taken.keys == 3_000
        assert [key for record in read(path) if isinstance(record, Keys) for key, _ in record.items] == [
            b"key %05d" % n for n in range(3_000)
        ]

    in_clusters(story)


def test_a_backup_that_is_outrun_by_compaction_fails_and_leaves_no_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(_: Cluster, client: Client) -> None:
        store = client.kv()
        await fill(store, 1_500)
        page = Index.page

        def compacted_then_page(self: Index, start: bytes, *rest: Any) -> Any:
            if start:
                raise Compacted(1_500, 1_600)
            return page(self, start, *rest)

        monkeypatch.setattr(Index, "page", compacted_then_page)
        with pytest.raises(Refused, match="revision 1500 was compacted while it was being backed up"):
            await client.backup(path)
        assert list(path.parent.iterdir()) == []

    in_clusters(story)


def test_a_backup_has_nothing_of_a_store_that_began_anew_meanwhile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its revisions are others, and a page of it would be taken for one of the store that was lost."""

    async def story(_: Cluster, client: Client) -> None:
        await fill(client.kv(), 10)
        call, asked = Replicated.call, list[int]()

        async def anew(self: Any, method: Any, *args: Any) -> Any:
            answer = await call(self, method, *args)
            if method is not KV.instant:
                return answer
            asked.append(answer.origin)
            return msgspec.structs.replace(answer, origin=answer.origin + len(asked))

        monkeypatch.setattr(Replicated, "call", anew)
        with pytest.raises(Refused, match="began anew: back up again"):
            await client.backup(path)
        assert len(asked) == 2 and list(path.parent.iterdir()) == []

    in_clusters(story)


def test_a_node_that_joins_in_the_middle_of_a_restoration_has_it_as_well(path: Path) -> None:
    async def story(cluster: Cluster, client: Client) -> None:
        await fill(client.kv(), 2_000)
        taken = await client.backup(path)
        handle = client.object(KV, "New")
        await cluster.kill("c")
        head, *records = read(path)
        assert isinstance(head, Head)
        load = await handle.call(KV.load, Begin(head.revision, head.origin, head.retain_ms))
        keys = [record for record in records if isinstance(record, Keys)]
        await handle.call(KV.load, LoadKeys(load, keys[0].items))
        cluster.start("c")
        await cluster.joined()
        for record in keys[1:]:
            await handle.call(KV.load, LoadKeys(load, record.items))
        await cluster.kill("a")
        await handle.call(KV.load, Finish(load, 0, taken.keys))
        cluster.start("a")
        await cluster.joined()
        await cluster.kill("b")
        await handle.call(KV.info)  # the two others are a view now, of which the joiner is the elder
        await cluster.kill("a")
        assert await items_of(client.kv("New")) == [item for record in keys for item in record.items]

    in_clusters(story)


def test_a_damaged_backup_changes_nothing_and_a_sound_one_can_be_restored_then(path: Path) -> None:
    async def story(_: Cluster, client: Client) -> None:
        await fill(client.kv(), 1_200)
        await client.backup(path)
        sound = path.read_bytes()
        path.write_bytes(sound[:-1])
        before = await client.kv("New").info()
        with pytest.raises(DamagedBackup):
            await client.restore(path, "New")
        assert await client.kv("New").info() == before
        path.write_bytes(sound)
        await client.restore(path, "New")
        assert await client.kv("New").count() == 1_200

    in_clusters(story)


@pytest.mark.parametrize("step", ["begin", "keys", "finish"])
def test_a_restoration_that_fails_says_what_holds_and_can_be_begun_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """As if the answer to that step were lost: after the last one nobody knows, before it nothing has happened."""

    async def story(_: Cluster, client: Client) -> None:
        await fill(client.kv(), 100)
        taken = await client.backup(path)
        call = Replicated.call
        kinds = {"begin": Begin, "keys": LoadKeys, "finish": Finish}

        async def losing(self: Any, method: Any, *args: Any) -> Any:
            answer = await call(self, method, *args)
            if args and isinstance(args[0], kinds[step]):
                raise OutcomeUnknown("no answer came")
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(Replicated, "call", losing)
            with pytest.raises(OutcomeUnknown if step == "finish" else Unavailable, match="begin again"):
                await client.restore(path, "New")
        if step == "finish":
            with pytest.raises(Refused, match="not empty"):
                await client.restore(path, "New")
        else:
            assert (await client.kv("New").info()).revision == 0
            assert await client.restore(path, "New") == taken
        assert await client.kv("New").count() == 100

    in_clusters(story)


def test_who_writes_meanwhile_ends_the_restoration_and_keeps_what_was_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(_: Cluster, client: Client) -> None:
        await fill(client.kv(), 100)
        await client.backup(path)
        load = restoring._load

        async def interrupted(*args: Any) -> Any:
            loaded = await load(*args)
            await client.kv("New").put(b"mine", b"")
            return loaded

        monkeypatch.setattr(restoring, "_load", interrupted)
        with pytest.raises(Refused, match="not empty"):
            await client.restore(path, "New")
        assert [key for key, _ in await items_of(client.kv("New"))] == [b"mine"]

    in_clusters(story)


def test_a_file_that_changes_between_the_passes_is_not_restored(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(_: Cluster, client: Client) -> None:
        path.write_bytes(made(HEAD, KEYS.__class__([KEYS.items[0]])))
        checked = verify(path)
        other = made(HEAD, MORE)

        def replaced(_: Path) -> Backup:
            path.write_bytes(other)
            return checked

        monkeypatch.setattr(restoring, "verify", replaced)
        with pytest.raises(NotHappened, match="changed while it was read"):
            await client.restore(path, "New")
        assert (await client.kv("New").info()).revision == 0

    in_clusters(story)


def test_a_full_disk_fails_the_backup_and_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(_: Cluster, client: Client) -> None:
        await fill(client.kv(), 10)

        def full(_: PartFile, __: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(PartFile, "write", full)
        with pytest.raises(OSError, match="No space"):
            await client.backup(path)
        assert list(path.parent.iterdir()) == []

    in_clusters(story)


def test_whoever_cancels_a_backup_has_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(_: Cluster, client: Client) -> None:
        await fill(client.kv(), 10)
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()
        add = Writer.add

        def slow(self: Writer, record: Record) -> None:
            loop.call_soon_threadsafe(begun.set)
            assert not isinstance(record, Tail)
            add(self, record)

        monkeypatch.setattr(Writer, "add", slow)
        backup = asyncio.create_task(client.backup(path))
        await begun.wait()
        backup.cancel()
        with pytest.raises(asyncio.CancelledError):
            await backup
        assert list(path.parent.iterdir()) == []

    in_clusters(story)
