"""Locks, semaphores, elections and barriers, against each other and against loss (SCENARIOS 30, 32)."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from phalanx.api import recipes
from phalanx.api.local import Cluster
from phalanx.api.recipes import Held
from phalanx.api.store import Store
from phalanx.errors import ConfigurationError, Fenced, LeaseLost, Refused
from tests.api.cluster import in_cluster

Maker = Callable[[Store], AbstractAsyncContextManager[Held]]

EXCLUSIVE: dict[str, Maker] = {
    "lock": lambda store: recipes.lock(store, b"it", ttl_s=1.0, cancels=False),
    "write_lock": lambda store: recipes.write_lock(store, b"it", ttl_s=1.0, cancels=False),
    "semaphore": lambda store: recipes.semaphore(store, b"it", 1, ttl_s=1.0, cancels=False),
    "lead": lambda store: recipes.lead(store, b"it", ttl_s=1.0, cancels=False),
}
each_exclusive = pytest.mark.parametrize("make", EXCLUSIVE.values(), ids=list(EXCLUSIVE))


class Inside:
    """Counts who is inside at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.tokens: list[int] = []

    async def visit(self, held: Held, turns: int = 3) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.tokens.append(held.token)
        for _ in range(turns):
            await asyncio.sleep(0)
        self.now -= 1


@each_exclusive
def test_one_at_a_time_with_growing_tokens_while_nodes_die(make: Maker) -> None:
    """SCENARIOS 30, 32."""

    async def work(cluster: Cluster, store: Store) -> None:
        inside = Inside()

        async def contend() -> None:
            for _ in range(3):
                async with make(store) as held:
                    await inside.visit(held)

        tasks = [asyncio.create_task(contend()) for _ in range(5)]
        while len(inside.tokens) < 6:
            await asyncio.sleep(0)
        await cluster.kill("a")
        await asyncio.gather(*tasks)
        assert (inside.most, len(inside.tokens)) == (1, 15)
        assert inside.tokens == sorted(set(inside.tokens))
        assert await store.leases() == [], "nothing is left behind"

    in_cluster(work)


def test_a_lock_is_kept_by_a_client_whose_node_is_cut_off() -> None:
    """SCENARIOS 32: the node is fenced and sends its clients elsewhere; the lease goes on there."""

    async def work(cluster: Cluster, store: Store) -> None:
        async with recipes.lock(store, b"it", ttl_s=3.0) as held:
            for other in "bc":
                cluster.cut("a", other)
            async with asyncio.timeout(20):
                while cluster["b"].status.members and len(cluster["b"].status.members) == 3:
                    await held.put(b"guarded", b"still mine")
            assert await held.put(b"guarded", b"still mine") > 0
            assert not held.lease.lost.is_set()
            for other in "bc":
                cluster.heal("a", other)

    in_cluster(work)


@each_exclusive
def test_a_holder_that_slept_past_its_lease_is_fenced_off(make: Maker) -> None:
    """SCENARIOS 32: it still believes that it holds; the next token is greater; the store refuses the old holder."""

    async def work(_: Cluster, store: Store) -> None:
        async with make(store) as old:
            await old.put(b"guarded", b"old")
            await store.revoke(old.lease)  # what the store does when the lease runs out
            async with make(store) as new:
                assert new.token > old.token
                await new.put(b"guarded", b"new")
                with pytest.raises(Fenced):
                    await old.put(b"guarded", b"late")
            found = await store.get(b"guarded")
            assert found is not None and found.value == b"new"

    in_cluster(work, 1)


def test_a_lost_lock_cancels_the_body_and_the_next_in_line_gets_it() -> None:
    """SCENARIOS 32.  At once: the next sign of life would be a hundred seconds later."""

    async def work(_: Cluster, store: Store) -> None:
        holds = asyncio.Event()
        got: list[Held] = []

        async def holder() -> None:
            async with recipes.lock(store, b"it", ttl_s=300) as held:
                got.append(held)
                holds.set()
                await asyncio.Event().wait()

        async def waiter() -> None:
            async with recipes.lock(store, b"it") as held:
                got.append(held)

        first = asyncio.create_task(holder())
        await holds.wait()
        second = asyncio.create_task(waiter())
        while await store.count(b"it/", b"it0") < 2:
            pass
        await store.revoke(got[0].lease)
        with pytest.raises(LeaseLost):
            await first
        await second
        assert got[1].token > got[0].token

    in_cluster(work, 1)


def test_whoever_gives_up_waiting_leaves_the_line() -> None:
    async def work(_: Cluster, store: Store) -> None:
        async with recipes.lock(store, b"it"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), recipes.lock(store, b"it"):
                    raise AssertionError("two hold it")
            assert await store.count(b"it/", b"it0") == 1
        async with recipes.lock(store, b"it"):
            pass

    in_cluster(work, 1)


def test_readers_share_and_writers_are_not_overtaken() -> None:
    async def work(_: Cluster, store: Store) -> None:
        order: list[str] = []
        go = asyncio.Event()

        async def one(name: str, make: Callable[..., AbstractAsyncContextManager[Held]]) -> None:
            async with make(store, b"it"):
                order.append(name)
                await go.wait()

        async def place(name: str, make: Callable[..., AbstractAsyncContextManager[Held]]) -> asyncio.Task[None]:
            there = await store.count(b"it/", b"it0")
            task = asyncio.create_task(one(name, make))
            while await store.count(b"it/", b"it0") == there:
                pass
            return task

        tasks = [await place(name, recipes.read_lock) for name in ("r1", "r2")]
        while len(order) < 2:
            await asyncio.sleep(0)
        tasks.append(await place("w1", recipes.write_lock))
        tasks.append(await place("r3", recipes.read_lock))
        assert sorted(order) == ["r1", "r2"]
        go.set()
        await asyncio.gather(*tasks)
        assert order[2:] == ["w1", "r3"]

    in_cluster(work, 1)


def test_a_semaphore_lets_so_many_in_and_their_number_is_agreed() -> None:
    async def work(_: Cluster, store: Store) -> None:
        inside = Inside()

        async def contend() -> None:
            async with recipes.semaphore(store, b"it", 2) as held:
                await inside.visit(held, 200)

        await asyncio.gather(*(contend() for _ in range(6)))
        assert (inside.most, len(inside.tokens)) == (2, 6)
        with pytest.raises(Refused, match="has 2 permits, not 3"):
            async with recipes.semaphore(store, b"it", 3):
                pass
        with pytest.raises(ConfigurationError):
            async with recipes.semaphore(store, b"it", 0):
                pass

    in_cluster(work, 1)


def test_observers_see_every_leader_and_its_end() -> None:
    async def work(_: Cluster, store: Store) -> None:
        async with recipes.observe(store, b"it") as leaders:
            assert await anext(leaders) is None
            for name in (b"a", b"b"):
                async with recipes.lead(store, b"it", name) as held:
                    leader = await anext(leaders)
                    assert leader is not None and (leader.data, leader.term) == (name, held.created)
                assert await anext(leaders) is None

    in_cluster(work, 1)


def test_observers_are_told_of_changes_only() -> None:
    """Not of those who wait for their turn, nor of their leaving."""

    async def work(_: Cluster, store: Store) -> None:
        async with recipes.observe(store, b"it") as leaders, recipes.lead(store, b"it", b"a"):
            seen = [await anext(leaders)]
            while seen[-1] is None:
                seen.append(await anext(leaders))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), recipes.lead(store, b"it", b"b"):
                    raise AssertionError("two lead")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await anext(leaders)

    in_cluster(work, 1)


def test_a_barrier_holds_others_while_it_is_up() -> None:
    async def work(_: Cluster, store: Store) -> None:
        await recipes.pass_barrier(store, b"it")
        async with recipes.barrier(store, b"it") as held:
            passing = asyncio.create_task(recipes.pass_barrier(store, b"it"))
            with pytest.raises(Refused, match="is up"):
                async with recipes.barrier(store, b"it"):
                    pass
            assert held.token > 0 and not passing.done()
        await passing

    in_cluster(work, 1)


def test_a_double_barrier_begins_and_ends_together_round_after_round() -> None:
    async def work(_: Cluster, store: Store) -> None:
        log: list[tuple[str, int]] = []

        async def one(number: int) -> None:
            for round_ in range(3):
                async with recipes.double_barrier(store, b"it", 3):
                    log.append(("in", round_))
                    for _ in range(number * 10):
                        await asyncio.sleep(0)
                    log.append(("work", round_))
                log.append(("out", round_))

        await asyncio.gather(*(one(number) for number in range(3)))
        for round_ in range(3):
            of_round = [what for what, n in log if n == round_]
            assert sorted(of_round[:6]) == ["in"] * 3 + ["work"] * 3 and of_round[6:] == ["out"] * 3
        assert await store.count(b"it/", b"it0") == 0

    in_cluster(work, 1)


def test_nobody_leaves_a_double_barrier_before_all_have() -> None:
    async def work(_: Cluster, store: Store) -> None:
        left = asyncio.Event()

        async def quick() -> None:
            async with recipes.double_barrier(store, b"it", 2):
                pass
            left.set()

        async def asked_again_and_again() -> None:
            for _ in range(20):
                await store.count()

        task = asyncio.create_task(quick())
        async with recipes.double_barrier(store, b"it", 2):
            while await store.count(b"it/in/", b"it/in0") == 2:
                pass
            await asked_again_and_again()  # the other one has left its block, and has the time to end
            assert not left.is_set()
        await task

    in_cluster(work, 1)


def test_a_double_barrier_does_not_wait_for_the_dead() -> None:
    async def work(_: Cluster, store: Store) -> None:
        began = asyncio.Event()
        entered: list[Held] = []

        async def dies() -> None:
            async with recipes.double_barrier(store, b"it", 2) as held:
                entered.append(held)
                began.set()
                await asyncio.Event().wait()

        dying = asyncio.create_task(dies())
        async with recipes.double_barrier(store, b"it", 2):
            await began.wait()
            await store.revoke(entered[0].lease)
        with pytest.raises(LeaseLost):
            await dying

    in_cluster(work, 1)
