"""Items of queues that are for later (SCENARIOS 30, 32)."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from phalanx.api import recipes
from phalanx.api.arguments import EPOCH
from phalanx.api.local import Cluster
from phalanx.api.recipes import queues
from phalanx.api.store import Store
from phalanx.errors import ConfigurationError, Fenced
from phalanx.model.clock import MILLISECOND
from phalanx.runtime.clock import system_clock
from phalanx.services.store import values as txn
from tests.api.cluster import in_cluster, started
from tests.api.test_cancelled import STEPS, steps


def in_s(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def counted(monkeypatch: pytest.MonkeyPatch, queue: recipes.Queue, method: str) -> list[int]:
    """With what a method of it is called."""
    calls: list[int] = []
    plain = getattr(queue, method)

    async def counting(number: int) -> Any:
        calls.append(number)
        return await plain(number)

    monkeypatch.setattr(queue, method, counting)
    return calls


def clock_of(ahead_s: float) -> Callable[[], int]:
    """A machine's clock that is wrong by so much."""
    return lambda: system_clock().wall // MILLISECOND + round(ahead_s * 1000)


async def due_and_moved(store: Store) -> list[tuple[int, int]]:
    """Of each item that was for later and is not any more, in milliseconds: when it was due, and when it was moved."""
    async with store.watch(b"it/later/", prefix=True, after=0, puts=False) as changes:
        moved = []
        await changes.begun()
        while changes.revision < (await store.info()).revision or changes.pending:
            if changes.pending:
                event = await anext(changes)
                moved.append((int(event.key.split(b"/")[2], 16), event.time_ms))
            await asyncio.sleep(0)
        return moved


# --- when, and in which order -------------------------------------------------------------------------------------


def test_nobody_gets_an_item_before_its_time_and_who_waits_gets_it_then_while_nodes_die() -> None:
    async def work(cluster: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        waiting = [asyncio.create_task(recipes.Queue(store, b"it").get()) for _ in range(3)]
        await started(*waiting)
        await queue.put(b"3", not_before=in_s(0.9))
        await queue.put(b"2", delay_s=0.5)
        await queue.put(b"1", delay_s=0.2)
        assert await queue.count() == 3
        done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [b"1"]
        await cluster.kill("a")
        assert sorted([await task for task in others]) == [b"2", b"3"]
        moved = await due_and_moved(store)
        assert len(moved) == 3 and all(due < at for due, at in moved), "by the group's clock"
        assert await queue.count() == 0

    in_cluster(work)


def test_items_that_are_due_come_by_priority_and_then_as_they_were_put() -> None:
    """Whenever each was due, and together with those that were not for later."""

    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.PriorityQueue(store, b"it")
        await queue.put(b"b", 1, not_before=in_s(-10))
        await queue.put(b"d", 2, not_before=in_s(-20))
        await queue.put(b"e", 2)
        await queue.put(b"c", 1, not_before=in_s(-30))
        await queue.put(b"a", 0, not_before=in_s(-5))
        await queue.put(b"never", 0, delay_s=3_600)
        await queue.put(b"f", 2, not_before=EPOCH)
        assert b"".join([await queue.get() for _ in range(6)]) == b"abcdef"
        assert await queue.count() == 1

    in_cluster(work, 1)


def test_more_items_than_are_looked_at_together_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(_: Cluster, store: Store) -> None:
        monkeypatch.setattr(queues, "LOOKAHEAD", 3)
        queue = recipes.PriorityQueue(store, b"it")
        for n in range(10):
            await queue.put(b"%d" % n, 9 - n, not_before=in_s(n - 60))
        assert [await queue.get() for _ in range(10)] == [b"%d" % n for n in reversed(range(10))]

    in_cluster(work, 1)


def test_who_waits_does_not_ask_meanwhile_and_is_woken_by_what_is_due_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(_: Cluster, store: Store) -> None:
        queue, other = recipes.Queue(store, b"it"), recipes.Queue(store, b"it")
        looks = counted(monkeypatch, queue, "_until_due")
        await other.put(b"tomorrow", delay_s=86_400)
        getting = asyncio.create_task(queue.get())
        await started(getting)
        while not looks:
            await asyncio.sleep(0)
        await other.put(b"next week", delay_s=604_800)
        await other.put(b"soon", delay_s=0.3)
        assert await getting == b"soon"
        assert len(looks) <= 8, "once at first, once for what is due earlier, then when it is"

    in_cluster(work, 1)


def test_a_worker_whose_clock_is_ahead_gets_nothing_early_and_asks_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        await queue.put(b"job", not_before=in_s(1.2))
        monkeypatch.setattr(queues, "_now_ms", clock_of(3_600))
        asked = counted(monkeypatch, queue, "_is_past")
        assert await queue.get() == b"job"
        [(due, at)] = await due_and_moved(store)
        assert due < at and len(asked) <= 8

    in_cluster(work, 1)


def test_a_busy_worker_whose_clock_is_ahead_does_not_ask_for_each_item(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        await queue.put(b"not yet", delay_s=1_800)
        for n in range(20):
            await queue.put(b"%d" % n)
        monkeypatch.setattr(queues, "_now_ms", clock_of(3_600))
        monkeypatch.setattr(queues, "AGAIN_S_MOST", 60.0)
        asked = counted(monkeypatch, queue, "_is_past")
        assert [await queue.get() for _ in range(20)] == [b"%d" % n for n in range(20)]
        assert len(asked) == 2

    in_cluster(work, 1)


def test_a_worker_whose_clock_is_behind_is_woken_by_one_whose_clock_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(_: Cluster, store: Store) -> None:
        late, right = recipes.Queue(store, b"it"), recipes.Queue(store, b"it")
        for name in (b"1", b"2"):
            await right.put(name, delay_s=0.3)
        monkeypatch.setattr(queues, "_now_ms", clock_of(-3_600))
        getting = asyncio.create_task(late.get())
        await started(getting)
        for _turn in range(200):
            await asyncio.sleep(0)  # it waits for an hour by now
        monkeypatch.undo()
        assert sorted([await right.get(), await getting]) == [b"1", b"2"]

    in_cluster(work, 1)


# --- retries ------------------------------------------------------------------------------------------------------


def test_an_item_is_tried_again_later_with_its_tries_and_its_place() -> None:
    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.PriorityQueue(store, b"it")
        await queue.put(b"job", 1)
        await queue.put(b"younger", 1)
        tries: list[tuple[bytes, int]] = []
        tokens: list[int] = []
        for _turn in range(3):
            async with queue.claim() as claim:
                tries.append((claim.data, claim.tries))
                tokens.append(claim.token)
                await queue.retry(claim)
        for n in range(2):
            with pytest.raises(ZeroDivisionError):
                async with queue.claim() as claim:
                    tries.append((claim.data, claim.tries))
                    if n:
                        await queue.retry(claim, not_before=in_s(-1))
                    raise ZeroDivisionError
        for _turn in range(2):
            async with queue.claim() as claim:
                tries.append((claim.data, claim.tries))
        assert tries == [*((b"job", n) for n in range(1, 7)), (b"younger", 1)]
        assert tokens == sorted(set(tokens))

    in_cluster(work, 1)


def test_what_is_tried_again_is_nobody_elses_before_the_block_ends() -> None:
    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        await queue.put(b"job")
        async with queue.claim() as claim:
            await queue.retry(claim)
            other = asyncio.create_task(queue.get())
            for _turn in range(500):
                await asyncio.sleep(0)
            assert not other.done() and await queue.count() == 1
            with pytest.raises(Fenced, match="or done"):
                await queue.retry(claim, delay_s=1)
        assert await other == b"job"
        assert [key async for key, _ in store.items()] == []

    in_cluster(work, 1)


def test_a_worker_that_lost_its_claim_cannot_put_it_off() -> None:
    """SCENARIOS 32: it slept for too long, and another works on it, or has done it."""

    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        await queue.put(b"job")
        with pytest.raises(Fenced, match="not claimed here"):
            async with queue.claim(cancels=False) as late:
                [lease] = await store.leases()
                await store.revoke(lease)
                async with queue.claim() as claim:
                    assert (claim.data, claim.tries) == (b"job", 2)
                    with pytest.raises(Fenced):
                        await queue.retry(late, delay_s=60)
                await queue.retry(late)
        assert await queue.count() == 0

    in_cluster(work, 1)


# --- failures, misuse ---------------------------------------------------------------------------------------------


def test_an_item_for_later_is_added_by_a_transaction_of_the_users_own_or_not_at_all() -> None:
    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        adding = (queue.item(b"job", delay_s=3_600), txn.Put(b"cursor", b"1"))
        assert not (await store.transact([txn.Exists(b"cursor")], adding)).succeeded
        assert await queue.count() == 0
        assert (await store.transact([txn.Exists(b"cursor", False)], adding)).succeeded
        assert await queue.count() == 1

    in_cluster(work, 1)


def test_whoever_is_cancelled_while_it_waits_or_moves_what_is_due_loses_and_doubles_nothing() -> None:
    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        for count in STEPS:
            await queue.put(b"it", not_before=in_s(-1))
            getting = asyncio.create_task(queue.get())
            await steps(count)
            getting.cancel()
            try:
                assert await getting == b"it"
            except asyncio.CancelledError:
                assert await queue.get() == b"it"
            assert await queue.count() == 0

    in_cluster(work)


def test_many_workers_share_what_gets_due_while_nodes_die_and_each_item_is_taken_once() -> None:
    async def work(cluster: Cluster, store: Store) -> None:
        taken: list[bytes] = []

        async def take(own: recipes.Queue) -> None:
            async for item in own:
                taken.append(item)

        takers = [asyncio.create_task(take(recipes.Queue(cluster.client().kv(), b"it"))) for _ in range(3)]
        for n in range(20):
            await recipes.Queue(store, b"it").put(b"%d" % n, delay_s=0.3 + n % 3 / 5)
        await cluster.kill("a")
        while len(taken) < 20:
            await asyncio.sleep(0)
        for taker in takers:
            taker.cancel()
        await asyncio.wait(takers)
        assert sorted(taken) == sorted(b"%d" % n for n in range(20))
        assert await recipes.Queue(store, b"it").count() == 0

    in_cluster(work)


@pytest.mark.parametrize(
    ("when", "error", "text"),
    [
        ({"delay_s": -1.0}, ConfigurationError, "the delay of an item is from 0"),
        ({"delay_s": float("nan")}, ConfigurationError, "finite"),
        ({"delay_s": timedelta(seconds=1)}, TypeError, "a number of seconds, not timedelta"),
        ({"not_before": 5}, TypeError, "when an item is due is a datetime, not int"),
        ({"not_before": datetime(2030, 1, 1)}, ConfigurationError, "give it a time zone"),
        ({"not_before": EPOCH - timedelta(1)}, ConfigurationError, "before any store"),
        ({"delay_s": 1, "not_before": EPOCH}, ConfigurationError, "not both"),
    ],
)
def test_a_time_that_is_none_is_refused_at_once(when: dict[str, Any], error: type[Exception], text: str) -> None:
    async def work(_: Cluster, store: Store) -> None:
        queue = recipes.Queue(store, b"it")
        with pytest.raises(error, match=text):
            await queue.put(b"job", **when)
        await queue.put(b"job")
        with pytest.raises(error, match=text):
            async with queue.claim() as claim:
                await queue.retry(claim, **when)
        assert await queue.count() == 1

    in_cluster(work, 1)
