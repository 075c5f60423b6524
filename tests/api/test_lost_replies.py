"""What was done and its reply was lost, and what two do at one instant (SCENARIOS 30, 32)."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from phalanx.api import recipes
from phalanx.api.hosted import Hosted
from phalanx.api.local import Cluster, local
from phalanx.api.recipes import Held
from phalanx.api.store import Store
from phalanx.errors import OutcomeUnknown, Unavailable
from phalanx.model.clock import Instant
from phalanx.model.machine import Output, Received
from phalanx.replication.client import ClientMachine
from phalanx.replication.messages import Reply
from phalanx.runtime.loop import run
from phalanx.services.store import values as txn
from phalanx.services.store.kv import KV
from tests.api.cluster import PATIENCE_S, TIMING, in_cluster

Maker = Callable[[Store], AbstractAsyncContextManager[Held]]

HELD: dict[str, Maker] = {
    "lock": lambda store: recipes.lock(store, b"it"),
    "read_lock": lambda store: recipes.read_lock(store, b"it"),
    "write_lock": lambda store: recipes.write_lock(store, b"it"),
    "semaphore": lambda store: recipes.semaphore(store, b"it", 1),
    "lead": lambda store: recipes.lead(store, b"it"),
    "barrier": lambda store: recipes.barrier(store, b"it"),
    "double_barrier": lambda store: recipes.double_barrier(store, b"it", 1),
    "membership": lambda store: recipes.membership(store, b"it", b"me"),
}
each_held = pytest.mark.parametrize("make", HELD.values(), ids=list(HELD))


class Losing:
    """Clients that do not get some replies: the first `passes` come, and then so many are lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes = 0
        self.lost = self.losses = 0
        step = ClientMachine.step

        def deaf(machine: ClientMachine, events: Iterable[Any], now: Instant) -> Output:
            return step(machine, [event for event in events if not self._loses(event)], now)

        monkeypatch.setattr(ClientMachine, "step", deaf)

    def begin(self, passes: int, losses: int) -> None:
        self.passes, self.losses, self.lost = passes, losses, 0

    def _loses(self, event: Any) -> bool:
        if not isinstance(event, Received) or not isinstance(event.message, Reply):
            return False
        self.passes -= 1
        if self.passes >= 0 or self.lost >= self.losses:
            return False
        self.lost += 1
        return True


async def places(store: Store) -> list[bytes]:
    """Entries of whoever holds or waits: keys under leases."""
    return [key async for key, item in store.items(prefix=b"it/") if item.lease]


@each_held
def test_what_was_created_though_the_reply_was_lost_is_held_once_and_left_whole(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SCENARIOS 32: any reply on the way in, one after the other.  A second entry would be waited for for ever."""
    losing = Losing(monkeypatch)

    async def work(_: Cluster, store: Store) -> None:
        lost = 0
        for passes in range(6):
            losing.begin(passes, 1)
            async with make(store) as held:
                lost += losing.lost
                losing.begin(0, 0)
                assert await places(store) == [held.key]
                assert await held.put(b"guarded", b"%d" % passes) > 0
            assert await places(store) == []
            assert await store.leases() == []
        assert lost >= 2, "of the lease, and of the entry"

    in_cluster(work)


@each_held
def test_a_try_whose_outcome_is_unknown_leaves_nothing_behind_and_can_be_repeated(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SCENARIOS 32: as docs/recipes.md has it."""
    losing = Losing(monkeypatch)

    async def work(_: Cluster, store: Store) -> None:
        hurried = store.within(0.3)
        for passes in range(2):  # the lease is not known, or the entry
            losing.begin(passes, 1 << 30)
            with pytest.raises((OutcomeUnknown, Unavailable)):  # of a write, or of a read
                async with make(hurried):
                    raise AssertionError("it cannot know that it is in")
            losing.begin(0, 0)
            while await places(store):
                pass
            async with make(store) as held:
                assert await places(store) == [held.key]

    in_cluster(work)


def test_two_workers_that_see_an_item_free_do_not_both_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one looks, the other claims, and then the one does."""

    async def work(_: Cluster, store: Store) -> None:
        queue, other = recipes.Queue(store, b"it"), recipes.Queue(store, b"it")
        look = queue._next
        for number in range(3):
            await queue.put(b"%d" % number)
        async with other.claim() as first:
            seen = [(first.key, item) async for key, item in store.items(prefix=b"it/items/") if key == first.key]

            async def earlier() -> list[tuple[bytes, txn.Versioned]]:
                return seen + await look()

            monkeypatch.setattr(queue, "_next", earlier)
            async with queue.claim() as second:
                assert (first.data, second.data) == (b"0", b"1")
                assert await queue.get() == b"2"
            assert (await store.transact([first.compare], [txn.Put(b"done", first.data)])).succeeded

    in_cluster(work, 1)


def test_settings_of_many_pages_are_those_of_one_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """They change together while they are read."""

    async def work(_: Cluster, store: Store) -> None:
        config, page_of = recipes.Config(store, b"it"), store.range
        for n in range(1, 4):
            await store.put(b"it/%d" % n, bytes(500 << 10))
        await config.change({b"0": b"old", b"9": b"old"})
        pages = 0

        async def changed_behind(*args: Any, **options: Any) -> Any:
            nonlocal pages
            page, pages = await page_of(*args, **options), pages + 1
            if pages == 1:
                await config.change({b"0": b"new", b"9": b"new"})
            return page

        monkeypatch.setattr(store, "range", changed_behind)
        for expected in (b"old", b"new"):
            read = await config.read()
            assert (read[b"0"], read[b"9"]) == (expected, expected)
        assert pages > 2

    in_cluster(work, 1)


def test_a_retry_after_a_total_restart_happens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCENARIOS 30: it was done, nobody was told, all nodes lost what they had in memory, and it is sent again."""
    losing = Losing(monkeypatch)

    async def story() -> None:
        objects = {"KV": Hosted(KV, durable=True)}
        async with asyncio.timeout(PATIENCE_S), local(3, objects=objects, timing=TIMING) as cluster:
            store = cluster.client(timeout_s=PATIENCE_S).kv()
            await store.transact(then=[txn.Append(b"jobs/", b"first")])
            losing.begin(0, 1 << 30)
            retried = asyncio.create_task(store.transact(then=[txn.Append(b"jobs/", b"second")]))
            while not losing.lost:
                await asyncio.sleep(0)
            for process in list(cluster.processes):
                await cluster.kill(process.name)
            losing.begin(0, 0)
            assert not retried.done()
            for name in "abc":
                cluster.start(name)
            assert (await retried).succeeded
            assert [item.value async for _, item in store.items(prefix=b"jobs/")] == [b"first", b"second"]

    run(story())
