"""The store's client on a cluster: typed operations, watches, leases, and loss (SCENARIOS 32, 33, 34)."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from phalanx import txn
from phalanx.api.arguments import EPOCH
from phalanx.api.guard import Guard
from phalanx.api.local import Cluster
from phalanx.api.store import Store
from phalanx.errors import (
    Closed,
    Compacted,
    ConfigurationError,
    LeaseLost,
    Quota,
    Refused,
    StateLost,
    TooLarge,
    Unavailable,
)
from phalanx.runtime.loop import run
from phalanx.services.store.values import prefix_end
from tests.api.cluster import in_cluster


def test_a_time_means_the_revision_that_there_was() -> None:
    """DESIGN section 9: the same time is the same revision, whoever is asked; what is to come is refused."""

    async def work(_: Cluster, store: Store) -> None:
        async def time_of(revision: int) -> int:
            return next(e.time_ms for e in await store.history(b"k") if e.revision == revision)

        first = await store.put(b"k", b"1")
        then = await time_of(first)
        last = await store.put(b"k", b"2")
        while await time_of(last) == then:
            last = await store.put(b"k", b"2")
        moment = EPOCH + timedelta(milliseconds=then)
        expected = last - 1 if last > first + 1 else first
        assert await store.revision_at(moment) == expected
        found = await store.get(b"k", at=moment)
        assert found is not None and found.modified == expected
        assert (await store.range(b"k", at=moment)).revision == await store.revision_at(moment)
        assert await store.count(at=moment) == 1
        assert [item.modified async for _, item in store.items(at=moment)] == [expected]
        assert await store.count(at=timedelta(hours=1)) == 0, "it was empty then"
        now = EPOCH + timedelta(milliseconds=await time_of(last))
        assert await store.revision_at(now) == last, "which needs something to be ordered"
        with pytest.raises(Refused, match="to come"):
            await store.get(b"k", at=timedelta(hours=-1))
        with pytest.raises(Refused, match="not stale"):
            await store.stale.get(b"k", at=timedelta(hours=-1))
        with pytest.raises(ConfigurationError, match="time zone"):
            await store.get(b"k", at=datetime(2026, 11, 21))
        with pytest.raises(ConfigurationError, match="before any store"):
            await store.get(b"k", at=datetime(1960, 1, 1, tzinfo=UTC))
        await store.compact(last)
        with pytest.raises(Compacted):
            await store.get(b"k", at=moment)

    in_cluster(work)


def test_every_operation_reaches_the_store() -> None:
    async def work(_: Cluster, store: Store) -> None:
        assert await store.put(b"a", b"1") == 1
        assert await store.compare_and_set(b"b", None, b"2")
        done = await store.transact(
            [txn.Exists(b"a"), txn.Value(b"b", "==", b"2")],
            [txn.Put(b"a", b"3"), txn.Get(b"b"), txn.Scan(b"", None), txn.Delete(b"b")],
        )
        assert done.succeeded and [type(result) for result in done.results] == [
            txn.Written,
            txn.Found,
            txn.Scanned,
            txn.Deleted,
        ]
        assert done.token > done.revision == 3
        old = await store.get(b"a", at=1)
        assert old is not None and old.value == b"1"
        assert [event.revision for event in await store.history(b"a")] == [1, 3]
        assert [key async for key, _ in store.items(at=2)] == [b"a", b"b"]
        assert (await store.count(), await store.count(at=2)) == (1, 2)
        await store.compact(3)
        with pytest.raises(Compacted) as caught:
            await store.get(b"a", at=1)
        assert (caught.value.asked, caught.value.oldest) == (1, 3)
        assert await store.retain(60) == 3
        assert (await store.info()).keys == 1
        assert await store.delete_prefix(b"a") == 1
        with pytest.raises(TooLarge):
            await store.put(b"k" * 5000, b"")
        with pytest.raises(Refused, match="twice"):
            await store.transact((), [txn.Delete(b"a"), txn.Delete(b"a")])
        with pytest.raises(Refused, match="lasts from"):
            await store.grant(0.1)
        assert issubclass(Quota, Exception)

    in_cluster(work, 1)


def test_all_items_are_read_page_by_page_at_one_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phalanx.services.store.limits.RANGE_ITEMS_MAX", 3)

    async def work(_: Cluster, store: Store) -> None:
        for n in range(8):
            await store.put(b"p%d" % n, b"")
        await store.put(b"q", b"")
        seen = []
        async for key, _item in store.items(prefix=b"p"):
            seen.append(key)
            await store.delete(b"p7")
        assert seen == [b"p%d" % n for n in range(8)]

    in_cluster(work, 1)


def test_a_prefix_ends_where_the_next_one_begins() -> None:
    assert [prefix_end(p) for p in (b"", b"a", b"a\xff", b"\xff\xff")] == [None, b"b", b"b", None]


def test_what_has_a_prefix_can_be_read_and_counted() -> None:
    async def work(_: Cluster, store: Store) -> None:
        for key in (b"o", b"p", b"p1", b"p\xff", b"q"):
            await store.put(key, b"")
        assert [key for key, _item in (await store.range(prefix=b"p")).items] == [b"p", b"p1", b"p\xff"]
        assert (await store.range(prefix=b"p", limit=1)).more
        assert await store.count(prefix=b"p") == 3 and await store.count(prefix=b"") == await store.count() == 5
        assert await store.count(prefix=b"p", at=2) == 1

    in_cluster(work, 1)


def test_a_prefix_and_an_end_exclude_each_other() -> None:
    async def work(_: Cluster, store: Store) -> None:
        with pytest.raises(ConfigurationError, match="not both"):
            await store.range(b"a", prefix=b"b")
        with pytest.raises(ConfigurationError, match="not both"):
            await store.count(end=b"a", prefix=b"b")
        with pytest.raises(ConfigurationError, match="not both"):
            store.watch(b"a", b"b", prefix=True)
        with pytest.raises(ConfigurationError, match="not both"):
            await anext(store.items(b"a", prefix=b"b"))

    in_cluster(work, 1)


# --- watches ------------------------------------------------------------------------------------------------------


def test_a_watch_goes_on_at_another_node_without_loss_or_doubling() -> None:
    """SCENARIOS 33."""

    async def work(cluster: Cluster, store: Store) -> None:
        watching = Store(cluster.client().kv()._kv)
        seen: list[int] = []

        async def follow() -> None:
            async with watching.watch(b"k", prefix=True, after=0) as changes:
                async for event in changes:
                    seen.append(event.revision)
                    if event.key == b"k/last":
                        return

        task = asyncio.create_task(follow())
        for n in range(60):
            await store.put(b"k/%d" % n, b"")
            if n == 20:
                await cluster.kill("a")
            if n == 40:
                cluster.start("a")
                await cluster.joined()
                await cluster.kill("b")
        last = await store.put(b"k/last", b"")
        await task
        assert seen == list(range(1, last + 1))

    in_cluster(work)


def test_a_program_that_goes_on_where_its_watch_was_loses_nothing_that_it_had_not_read() -> None:
    """It saves `revision` after each change that it has dealt with; what had come and was not read is told again."""

    async def work(_: Cluster, store: Store) -> None:
        keys = [b"k/%d" % n for n in range(3)]
        for number in range(4):
            await store.transact((), [txn.Put(key, b"%d" % number) for key in keys])
        done: list[int] = []
        saved = 0
        for life in range(20):
            async with store.watch(b"k", prefix=True, after=saved) as changes:
                await changes.begun()
                read: list[int] = []
                while len(read) < min(life % 5, 12 - 3 * saved):
                    read.append((await anext(changes)).revision)
                    assert changes.revision == len(read) // 3 + saved, "a transaction counts once it is read as a whole"
                done += [revision for revision in read if revision <= changes.revision]
                saved = changes.revision
        assert done == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]

    in_cluster(work, 1)


def test_a_watch_can_leave_things_out_and_tell_what_was_before() -> None:
    async def work(_: Cluster, store: Store) -> None:
        for value in (b"1", b"2"):
            await store.put(b"k", value)
        await store.delete(b"k")
        async with store.watch(b"k", b"l", after=0, deletes=False) as changes:
            puts = [await anext(changes) for _ in range(2)]
        async with store.watch(b"k", b"l", after=0, puts=False, previous=True) as changes:
            deleted = await anext(changes)
        assert [(e.item.value, e.previous) for e in puts if e.item] == [(b"1", None), (b"2", None)]
        assert deleted.item is None and deleted.previous is not None and deleted.previous.value == b"2"

    in_cluster(work, 1)


def test_a_watch_ends_only_with_a_reason() -> None:
    """SCENARIOS 33."""

    async def work(cluster: Cluster, store: Store) -> None:
        for _ in range(5):
            await store.put(b"k", b"")
        await store.compact(4)
        async with store.watch(b"k", after=1) as changes:
            for _ in range(2):
                with pytest.raises(Compacted):
                    await anext(changes)
        async with store.watch(b"k") as closed:
            assert await closed.begun() == 5
        with pytest.raises(StopAsyncIteration):
            await anext(closed)
        async with store.watch(b"k", patience_s=0.3) as lonely, store.watch(b"k", after=5) as followed:
            await followed.begun()
            await cluster.kill("a")
            with pytest.raises(Unavailable, match="no node was heard"):
                await anext(lonely)
            cluster.start("a")
            with pytest.raises(StateLost):
                await anext(followed)

    in_cluster(work, 1)


def test_a_watch_of_a_client_that_is_closed_says_so() -> None:
    async def work(cluster: Cluster, _: Store) -> None:
        client = cluster.client()
        async with client.kv().watch(b"k") as changes:
            await changes.begun()
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            await client.close()
            with pytest.raises(Closed, match="the client was closed"):
                await waiting
        for late in (client.kv().get(b"k"), client.kv().put(b"k", b""), client.kv().watch(b"k").__aenter__()):
            with pytest.raises(Closed, match="the client is closed: nothing was sent; connect anew"):
                await late

    in_cluster(work, 1)


# --- leases -------------------------------------------------------------------------------------------------------


def test_a_lease_lives_as_long_as_its_block_and_outlives_the_loss_of_nodes() -> None:
    """SCENARIOS 34."""

    async def work(cluster: Cluster, store: Store) -> None:
        async with store.lease(1.5) as lease:
            await store.put(b"here", b"", lease=lease)
            assert await store.lease_keys(lease) == [b"here"]
            assert [info.id for info in await store.leases()] == [lease.id]
            await cluster.kill("a")
            until_s = asyncio.get_running_loop().time() + 2.0
            while asyncio.get_running_loop().time() < until_s:
                assert await store.get(b"here") is not None
            assert 0 < lease.remaining_s <= 1.5 and not lease.lost.is_set()
        assert await store.get(b"here") is None
        assert await store.lease_info(lease) is None
        with pytest.raises(LeaseLost):
            await store.put(b"here", b"", lease=lease)

    in_cluster(work)


def test_a_lost_lease_cancels_the_block_unless_it_is_asked_not_to() -> None:
    async def work(cluster: Cluster, store: Store) -> None:
        other = cluster.client().kv()
        with pytest.raises(LeaseLost, match="has ended"):
            async with store.lease(1.0) as lease:
                await other.revoke(lease)
                await asyncio.Event().wait()
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # a test runs in a task
        async with store.lease(1.0, cancels=False) as lease:
            await other.revoke(lease)
            await lease.lost.wait()
            assert lease.remaining_s == 0

    in_cluster(work, 1)


def test_a_holder_gives_up_by_its_own_clock_before_the_store_does() -> None:
    """SCENARIOS 32: cut off from all nodes."""

    async def work(cluster: Cluster, store: Store) -> None:
        with pytest.raises(LeaseLost, match="not kept alive in time"):
            async with store.within(0.2).lease(1.0):
                for name in "abc":
                    await cluster.kill(name)
                await asyncio.Event().wait()

    in_cluster(work)


def test_a_guard_leaves_other_cancellations_alone() -> None:
    async def main() -> None:
        entered = asyncio.Event()

        async def body(guard: Guard) -> None:
            guard.enter(True)
            try:
                entered.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                await guard.leave(type(error))
                raise

        guard = Guard()
        task = asyncio.create_task(body(guard))
        await entered.wait()
        task.cancel()
        guard.lose(LeaseLost("also"))
        with pytest.raises(asyncio.CancelledError):
            await task

        late = Guard()
        late.enter(True)
        late.lose(LeaseLost("too late for the block"))
        with pytest.raises(LeaseLost):
            await late.leave(None)
        await asyncio.sleep(0)  # nothing is left to be cancelled

    run(main())
