"""Watches and leases on real processes that are killed and paused (SCENARIOS 16, 33, 34)."""

import asyncio

from phalanx.api.client import connect
from phalanx.api.store import Store
from phalanx.lab.processes import Processes
from phalanx.model.view import Name
from tests.real.cluster import PATIENCE_S, on_processes, one_status, real

pytestmark = real


async def _follow(store: Store, seen: list[tuple[int, bytes]]) -> None:
    """Everything from the beginning on, up to the key `last`."""
    async with store.watch(b"", b"\xff", after=0) as changes:
        async for event in changes:
            seen.append((event.revision, event.key))
            if event.key == b"last":
                return


async def _write(store: Store, prefix: bytes, count: int) -> None:
    for n in range(count):
        await store.put(prefix + b"%d" % n, b"")


def test_watches_equal_the_log_while_their_nodes_are_killed_and_paused() -> None:
    """SCENARIOS 33: one watcher prefers each node, so each fault strikes one."""

    async def story() -> None:
        async with Processes() as nodes:
            await one_status(nodes, 3)
            names: list[Name] = list(nodes.names)
            logs: list[list[tuple[int, bytes]]] = [[] for _ in names]

            async def watcher(number: int) -> None:
                order = names[number:] + names[:number]
                async with connect(*(nodes.addresses[name] for name in order)) as client:
                    await _follow(client.kv(), logs[number])

            watchers = [asyncio.create_task(watcher(number)) for number in range(3)]
            async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S) as client:
                store = client.kv()
                await _write(store, b"a", 100)
                await nodes.kill(names[0])
                await _write(store, b"b", 100)
                await nodes.start(names[0])
                await nodes.wait_until_full(3)
                nodes.pause(names[1])
                await _write(store, b"c", 100)
                nodes.resume(names[1])
                last = await store.put(b"last", b"")
            await asyncio.gather(*watchers)
            assert last == 301
            for log in logs:
                assert [revision for revision, _ in log] == list(range(1, last + 1)), (
                    "none lost, doubled or out of order"
                )
            assert logs[0] == logs[1] == logs[2]

    on_processes(story())


def test_a_lease_outlives_the_loss_of_a_node_and_ends_when_its_holder_is_gone() -> None:
    """SCENARIOS 34: also though nobody writes any more."""

    async def story() -> None:
        async with Processes() as nodes:
            before = await one_status(nodes, 3)
            addresses = list(nodes.addresses.values())
            async with (
                connect(*addresses) as client,
                connect(*addresses) as other,
                other.kv().watch(b"here") as changes,
            ):
                await changes.begun()
                async with client.kv().lease(2.0, cancels=False) as lease:
                    await client.kv().put(b"here", b"", lease=lease)
                    await nodes.kill(before.members[0].name)
                    assert (await anext(changes)).item is not None
                    assert await other.kv().get(b"here") is not None
                    await client.close()  # as if it had died: it says nothing any more
                    gone = await anext(changes)
                    assert gone.item is None and await other.kv().lease_info(lease) is None
                assert lease.lost.is_set(), "the holder knew before"

    on_processes(story())
