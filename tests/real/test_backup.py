"""Backups of real processes that are killed meanwhile, restored into others."""

import asyncio
from pathlib import Path

from phalanx.api.backup.format import Keys, read, verify
from phalanx.api.client import Client, connect
from phalanx.lab.processes import Processes
from phalanx.services.store.limits import REVISIONS_AHEAD
from phalanx.services.store.values import Event, Put, Versioned
from tests.real.cluster import PATIENCE_S, on_processes, one_status, real

pytestmark = real

KEYS = 3_000


async def write(client: Client, number: int, until: asyncio.Event) -> None:
    """Two keys in each revision, so that a backup between revisions would be seen."""
    store, n = client.kv(), 0
    while not until.is_set():
        n += 1
        key = (n * 37 + number) % KEYS
        await store.transact((), (Put(b"key %05d" % key, b"%d" % n), Put(b"key %05d" % (KEYS + key), b"%d" % n)))


async def follow(client: Client, events: list[Event], begun: asyncio.Event) -> None:
    async with client.kv().watch(b"", b"\xff", after=0) as changes:
        begun.set()
        async for event in changes:
            events.append(event)
            if event.key == b"last":
                return


def state_at(events: list[Event], revision: int) -> list[tuple[bytes, Versioned]]:
    items: dict[bytes, Versioned] = {}
    for event in events:
        if event.revision <= revision and event.item is not None:
            items[event.key] = event.item
    return sorted(items.items())


def test_a_backup_under_load_while_a_node_is_killed_is_the_history_at_its_revision_in_another_cluster(
    tmp_path: Path,
) -> None:
    """SCENARIOS 22, 33: the client goes on at another node, writers and watcher as well."""
    path = tmp_path / "kv.backup"

    async def story() -> None:
        async with Processes() as nodes:
            await one_status(nodes, 3)
            addresses = list(nodes.addresses.values())
            events: list[Event] = []
            done, begun = asyncio.Event(), asyncio.Event()
            async with connect(*addresses, timeout_s=PATIENCE_S) as client:
                store = client.kv()
                following = asyncio.create_task(follow(client, events, begun))
                await begun.wait()
                for n in range(0, 2 * KEYS, 100):
                    await store.transact((), [Put(b"key %05d" % m, bytes(100)) for m in range(n, n + 100)])
                writing = [asyncio.create_task(write(client, number, done)) for number in range(4)]
                backing = asyncio.create_task(client.backup(path))
                while not (path.with_name("kv.backup.part").exists() or backing.done()):
                    await asyncio.sleep(0)
                await nodes.kill("a")
                taken = await backing
                done.set()
                await asyncio.gather(*writing)
                await store.put(b"last", b"")
                await following
        expected = state_at(events, taken.revision)
        assert verify(path) == taken and taken.keys == len(expected) == 2 * KEYS
        assert [item for record in read(path) if isinstance(record, Keys) for item in record.items] == expected
        async with Processes() as others:
            await one_status(others, 3)
            async with connect(*others.addresses.values(), timeout_s=PATIENCE_S) as client:
                assert await client.restore(path) == taken
                await others.kill("b")
                assert [item async for item in client.kv().items()] == expected
                assert (await client.kv().info()).revision == taken.revision + REVISIONS_AHEAD

    on_processes(story())
