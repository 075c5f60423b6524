"""Queues, counters, members, settings and partitions (SCENARIOS 30, 32, 33)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from phalanx.api import recipes
from phalanx.api.local import Cluster
from phalanx.api.recipes import Held
from phalanx.api.recipes.partitions import owner_of
from phalanx.api.store import Store
from phalanx.errors import ConfigurationError, Fenced, Refused
from phalanx.services.store import values as txn
from tests.api.cluster import in_cluster


def test_each_item_of_a_queue_is_taken_once_in_order_while_nodes_die() -> None:
    """SCENARIOS 30."""

    async def work(cluster: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        taken: list[bytes] = []

        async def take() -> None:
            async for item in queue:
                taken.append(item)

        takers = [asyncio.create_task(take()) for _ in range(3)]
        for n in range(20):
            await recipes.Queue(store, b"it").put(b"%d" % n) if n % 5 == 0 else await queue.put(b"%d" % n)
            if n == 10:
                await cluster.kill("a")
        while len(taken) < 20:
            await asyncio.sleep(0)
        for taker in takers:
            taker.cancel()
        await asyncio.wait(takers)
        assert sorted(taken) == sorted(b"%d" % n for n in range(20))
        assert await queue.count() == 0

    in_cluster(work)


def test_a_priority_queue_gives_the_least_first_and_the_older_of_equals() -> None:
    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.PriorityQueue(store, b"it")
        for name, priority in ((b"c", 7), (b"a", 1), (b"d", 7), (b"b", 1)):
            await queue.put(name, priority)
        assert [await queue.get() for _ in range(4)] == [b"a", b"b", b"c", b"d"]
        with pytest.raises(ConfigurationError, match="a priority is at "):
            await queue.put(b"", -1)
        with pytest.raises(ConfigurationError, match="no priorities"):
            await recipes.Queue(store, b"it").put(b"", 1)

    in_cluster(work, 1)


def test_what_comes_of_an_item_is_written_once_with_its_deletion() -> None:
    """SCENARIOS 32: a worker dies between writing its result and the end of its block, or comes too late to write it."""

    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        await queue.put(b"job")

        async def write(claim: recipes.Claim, result: bytes) -> bool:
            return (
                await store.transact([claim.compare], [txn.Put(b"result", result), txn.Delete(claim.key)])
            ).succeeded

        with pytest.raises(Fenced, match="claimed by another"):
            async with queue.claim(cancels=False) as late:
                (slept,) = [lease.id for lease in await store.leases()]
                await store.revoke(slept)  # it slept for too long
                with pytest.raises(ZeroDivisionError):
                    async with queue.claim() as claim:
                        assert await write(claim, b"second")
                        raise ZeroDivisionError
                assert not await write(late, b"first, too late")
        found = await store.get(b"result")
        assert found is not None and (found.value, found.version) == (b"second", 1)
        assert await queue.count() == 0

    in_cluster(work, 1)


def test_an_item_is_added_by_a_transaction_of_the_users_own_or_not_at_all() -> None:
    async def work(_: Cluster, store: Store) -> None:
        first, later = recipes.Queue(store, b"first"), recipes.PriorityQueue(store, b"later")
        await first.put(b"job")
        async with first.claim() as claim:
            handed_on = (txn.Delete(claim.key), later.item(b"half of " + claim.data, 3), later.item(b"urgent", 1))
            assert not (await store.transact([txn.Exists(claim.key, False)], handed_on)).succeeded
            assert await later.count() == 0
            assert (await store.transact([claim.compare], handed_on)).succeeded
        assert await first.count() == 0
        assert [await later.get(), await later.get()] == [b"urgent", b"half of job"]
        with pytest.raises(ConfigurationError, match="has no priorities"):
            first.item(b"", 1)
        with pytest.raises(ConfigurationError, match="a priority is at most"):
            later.item(b"", 1 << 32)

    in_cluster(work, 1)


def test_a_claimed_item_is_done_or_free_again() -> None:
    """SCENARIOS 32: a worker that dies, raises, or sleeps too long."""

    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        await queue.put(b"job")
        tokens = []
        with pytest.raises(ZeroDivisionError):
            async with queue.claim() as claim:
                tokens.append(claim.token)
                raise ZeroDivisionError
        done = asyncio.Event()
        claimed = asyncio.Event()

        async def another() -> None:
            async with queue.claim() as claim:
                tokens.append(claim.token)
                claimed.set()
                await done.wait()

        with pytest.raises(Fenced, match="claimed by another"):
            async with queue.claim(cancels=False) as claim:
                tokens.append(claim.token)
                [lease] = await store.leases()
                other = asyncio.create_task(another())
                await store.revoke(lease.id)
                await claimed.wait()
        assert tokens == sorted(set(tokens))
        assert await queue.count() == 1
        done.set()
        await other
        assert await queue.count() == 0

    in_cluster(work, 1)


def test_who_comes_too_late_for_an_item_tries_the_next_without_looking_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else many workers read the queue once for each item that another got."""

    async def work(_: Cluster, store: Store) -> None:
        queue, other = recipes.Queue(store, b"it"), recipes.Queue(store, b"it")
        for number in range(6):
            await queue.put(b"%d" % number)
        look, looks = queue._next, 0

        async def late() -> list[tuple[bytes, txn.Versioned]]:
            nonlocal looks
            looks += 1
            found = await look()
            await other.get()
            await other.get()
            return found

        monkeypatch.setattr(queue, "_next", late)
        assert await queue.get() == b"2"
        async with queue.claim() as claim:
            assert claim.data == b"5"
        assert looks == 2

    in_cluster(work, 1)


def test_tries_are_counted_whoever_claims_and_forgotten_with_the_item() -> None:
    """A block that raises, a lease that ends, and another item that is claimed once."""

    async def work(cluster: Cluster, store: Store) -> None:
        queue, same = recipes.PriorityQueue(store, b"it"), recipes.PriorityQueue(cluster.client().kv(), b"it")
        await queue.put(b"poison", 1)
        await queue.put(b"job", 2)
        tries = []
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                async with queue.claim() as claim:
                    tries.append((claim.data, claim.tries))
                    raise ZeroDivisionError
        async with queue.claim(cancels=False) as first, same.claim() as second:
            tries += [(each.data, each.tries) for each in (first, second)]
            assert (await store.transact([first.compare], [queue.item(b"again", 1), txn.Delete(first.key)])).succeeded
        async with same.claim() as claim:
            tries.append((claim.data, claim.tries))
        assert tries == [(b"poison", 1), (b"poison", 2), (b"poison", 3), (b"job", 1), (b"again", 1)]
        assert [key async for key, _ in store.items()] == []

    in_cluster(work, 1)


# --- numbers, members, settings, partitions -----------------------------------------------------------------------


def test_a_counter_counts_each_addition_once_and_ids_are_unique() -> None:
    """SCENARIOS 30."""

    async def work(cluster: Cluster, store: Store) -> None:
        async def count() -> None:
            for _ in range(5):
                await recipes.Counter(store, b"count").add(2)

        async def ids(block: int) -> list[int]:
            source = recipes.UniqueIds(store, b"ids", block=block)
            return [await anext(source) for _ in range(7)]

        counting = [asyncio.create_task(count()) for _ in range(4)]
        numbering = [asyncio.create_task(ids(block)) for block in (1, 3, 10)]
        await cluster.kill("b")
        await asyncio.gather(*counting)
        assert await recipes.Counter(store, b"count").value() == 40
        found = [number for task in numbering for number in await task]
        assert len(set(found)) == len(found) == 21 and min(found) == 1
        await store.put(b"count", b"many")
        with pytest.raises(Refused, match="holds no number"):
            await recipes.Counter(store, b"count").add()
        with pytest.raises(Refused, match="holds no number"):
            await recipes.Counter(store, b"count").value()

    in_cluster(work)


def test_members_come_change_and_go() -> None:
    async def work(_: Cluster, store: Store) -> None:
        async with recipes.watch_members(store, b"it") as changes:
            assert await anext(changes) == {}
            async with recipes.membership(store, b"it", b"me", b"1") as place:
                seen = await anext(changes)
                assert seen == {b"me": recipes.Member(b"1", place.created)}
                await place.update(b"2")
                assert (await anext(changes))[b"me"].data == b"2"
                with pytest.raises(Refused, match="has a member"):
                    async with recipes.membership(store, b"it", b"me"):
                        pass
            assert await anext(changes) == {}

    in_cluster(work, 1)


def test_settings_change_together_and_are_followed() -> None:
    async def work(_: Cluster, store: Store) -> None:
        config = recipes.Config(store, b"it")
        async with config.follow() as changes:
            assert await anext(changes) == {}
            await config.change({b"a": b"1", b"b": b"2"})
            assert await anext(changes) == {b"a": b"1", b"b": b"2"}
            await config.change({b"a": None, b"b": b"3"})
            assert await anext(changes) == {b"b": b"3"} == await config.read()

    in_cluster(work, 1)


def test_nobody_sees_a_part_of_a_change_that_comes_in_several_batches() -> None:
    """Nine values of 100 KB: more than a watch is sent before it has read some."""

    async def work(_: Cluster, store: Store) -> None:
        config = recipes.Config(store, b"it")
        names = [b"%d" % n for n in range(9)]
        async with config.follow() as changes:
            assert await anext(changes) == {}
            for value in (b"a" * 100_000, b"b" * 100_000, b"c" * 100_000):
                await config.change(dict.fromkeys(names, value))
                assert await anext(changes) == dict.fromkeys(names, value)

    in_cluster(work, 1)


def test_a_follower_that_is_too_slow_for_the_history_begins_with_what_there_is() -> None:
    """SCENARIOS 33."""

    async def work(_: Cluster, store: Store) -> None:
        config = recipes.Config(store, b"it")
        async with config.follow() as changes:
            assert await anext(changes) == {}
            for n in range(3):
                await config.change({b"a": b"%d" % n})
            await store.compact((await store.info()).revision)
            while (await anext(changes)).get(b"a") != b"2":
                pass

    in_cluster(work, 1)


def test_settings_of_many_pages_are_read_although_the_history_is_compacted_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second page of a revision that is forgotten is not to be had."""

    async def work(_: Cluster, store: Store) -> None:
        for n in range(3):
            await store.put(b"it/%d" % n, bytes(500 << 10))
        pages, page_of = 0, store.range

        async def compacted_behind(*args: Any, **options: Any) -> Any:
            nonlocal pages
            page, pages = await page_of(*args, **options), pages + 1
            if pages == 1:
                await store.put(b"it/new", b"")
                await store.compact((await store.info()).revision)
            return page

        monkeypatch.setattr(store, "range", compacted_behind)
        assert list(await recipes.Config(store, b"it").read()) == [b"0", b"1", b"2", b"new"]

    in_cluster(work, 1)


def test_a_partition_gives_each_item_to_one_member_and_hands_over_safely() -> None:
    async def work(_: Cluster, store: Store) -> None:
        items = [b"%d" % n for n in range(12)]
        owned: dict[bytes, dict[bytes, Held]] = {}
        shared: list[bytes] = []

        async def member(me: bytes, stop: asyncio.Event) -> None:
            async with recipes.partition(store, b"it", me, items) as shares:
                stopping = asyncio.create_task(stop.wait())
                while not stop.is_set():
                    share: asyncio.Task[Any] = asyncio.ensure_future(_next(shares))
                    await asyncio.wait((share, stopping), return_when=asyncio.FIRST_COMPLETED)
                    if stop.is_set():
                        share.cancel()
                        await asyncio.wait((share,))
                        break
                    owned[me] = share.result()
                    others = [item for who, held in owned.items() if who != me for item in held]
                    shared.extend(item for item in owned[me] if item in others)
                await stopping
                del owned[me]

        stops = {me: asyncio.Event() for me in (b"a", b"b", b"c")}
        tasks = {me: asyncio.create_task(member(me, stop)) for me, stop in stops.items()}

        async def settled(members: list[bytes]) -> None:
            expected = {me: {item for item in items if owner_of(item, members) == me} for me in members}
            while {me: set(held) for me, held in owned.items()} != {
                me: e for me, e in expected.items() if e or me in owned
            }:
                await asyncio.sleep(0)

        await settled([b"a", b"b", b"c"])
        before = {item: held.token for share in owned.values() for item, held in share.items()}
        stops[b"b"].set()
        await tasks[b"b"]
        await settled([b"a", b"c"])
        after = {item: held.token for share in owned.values() for item, held in share.items()}
        moved = [item for item in items if before[item] != after[item]]
        assert moved == [item for item in items if owner_of(item, [b"a", b"b", b"c"]) == b"b"], "no others moved"
        assert all(after[item] > before[item] for item in moved)
        assert shared == [], "nobody ever shares an item"
        for me in (b"a", b"c"):
            stops[me].set()
            await tasks[me]

    in_cluster(work, 1)


async def _next(shares: AsyncIterator[dict[bytes, Held]]) -> dict[bytes, Held]:
    return await anext(shares)


def test_a_get_that_is_cancelled_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the item is removed already, and the answer on its way."""

    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        for data in (b"first", b"second"):
            await queue.put(data)
        transact = store.transact

        async def cancelled_at_its_end(*args: Any) -> txn.Txn:
            monkeypatch.undo()
            done = await transact(*args)
            assert await queue.count() == 1
            getting.cancel()
            await asyncio.sleep(0)
            return done

        monkeypatch.setattr(store, "transact", cancelled_at_its_end)
        getting = asyncio.create_task(queue.get())
        await asyncio.wait([getting])
        assert getting.cancelled()
        assert [await queue.get(), await queue.get()] == [b"first", b"second"]

    in_cluster(work, 1)
