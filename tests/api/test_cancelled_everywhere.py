"""What users wait for, cancelled at each point at which it waits: it ends, and nothing of it is left behind."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import phalanx
from phalanx import recipes, txn
from phalanx.api.local import Cluster
from phalanx.replication.calls import End
from tests.api.cluster import in_cluster
from tests.api.test_cancelled import no_leases, until
from tests.cancelling import WAITING, WOKEN, cut_everywhere, run_cut

Work = Callable[[phalanx.Store], Coroutine[Any, Any, Any]]

TTL_S = 3_600
"""What is not given back stays."""

TWICE = ("lease", "lock", "double_barrier")
"""Cancelled once more on the way out; the others are made of these."""


async def hold(holding: Any) -> None:
    async with holding:
        await asyncio.sleep(0)


async def take_first(follow: Callable[[], Any]) -> None:
    async with follow() as changes:
        async for _ in changes:
            break


async def watch(store: phalanx.Store) -> None:
    async with store.watch(b"", prefix=True, after=0) as changes:
        await changes.begun()
        async for _ in changes.revisions():
            break


async def lead(store: phalanx.Store) -> None:
    async for term in recipes.lead(store, b"primary", ttl_s=TTL_S).terms():
        async with term:
            await asyncio.sleep(0)


async def partition(store: phalanx.Store) -> None:
    async with recipes.partition(store, b"shards", b"me", [b"1", b"2"], ttl_s=TTL_S) as shares:
        async for owned in shares:
            if len(owned) == 2:
                break


WORKS: dict[str, Work] = {
    "get": lambda store: store.get(b"x"),
    "transact": lambda store: store.transact([txn.Exists(b"x")], [txn.Put(b"x", b"1")]),
    "watch": watch,
    "lease": lambda store: hold(store.lease(TTL_S)),
    "lock": lambda store: hold(recipes.lock(store, b"door", ttl_s=TTL_S)),
    "read_lock": lambda store: hold(recipes.read_lock(store, b"book", ttl_s=TTL_S)),
    "write_lock": lambda store: hold(recipes.write_lock(store, b"book", ttl_s=TTL_S)),
    "semaphore": lambda store: hold(recipes.semaphore(store, b"seats", 1, ttl_s=TTL_S)),
    "membership": lambda store: hold(recipes.membership(store, b"workers", b"me", ttl_s=TTL_S)),
    "barrier": lambda store: hold(recipes.barrier(store, b"gate", ttl_s=TTL_S)),
    "double_barrier": lambda store: hold(recipes.double_barrier(store, b"step", 1, ttl_s=TTL_S)),
    "lead": lead,
    "observe": lambda store: take_first(lambda: recipes.observe(store, b"primary")),
    "watch_members": lambda store: take_first(lambda: recipes.watch_members(store, b"workers")),
    "partition": partition,
    "counter": lambda store: recipes.Counter(store, b"count").add(),
    "ids": lambda store: recipes.UniqueIds(store, b"ids", block=1).__anext__(),
    "config": lambda store: recipes.Config(store, b"config").change({b"colour": b"blue"}),
}


@pytest.mark.parametrize("name", WORKS)
def test_who_is_cancelled_at_any_point_ends_so_and_leaves_no_task_and_no_lease(name: str) -> None:
    async def work(cluster: Cluster, store: phalanx.Store) -> None:
        await store.put(b"x", b"")
        others = cluster.client().kv()
        await no_leases(others)
        before = asyncio.all_tasks()
        async for run in cut_everywhere(lambda: WORKS[name](store), again=name in TWICE):
            assert run.task.cancelled() == bool(run.cancelled), f"cancelled at {run.cuts}"
            await until(lambda: no_leases(others))
            for _ in range(100):
                if asyncio.all_tasks() <= before:
                    break
                await asyncio.sleep(0)
            assert asyncio.all_tasks() <= before, f"cancelled at {run.cuts}"

    in_cluster(work, 1)


@pytest.mark.parametrize("when", [WAITING, WOKEN])
def test_what_became_of_a_write_is_known_though_its_caller_was_cancelled(when: str) -> None:
    async def work(cluster: Cluster, store: phalanx.Store) -> None:
        await store.get(b"x")
        client = cluster.client()
        await client.kv().put(b"colour", b"blue")
        assert client.abandoned is None
        run = await run_cut(client.kv().put(b"colour", b"red"), {0: when})
        assert run.task.cancelled()
        await client.kv().get(b"colour")
        told = {WAITING: End.UNKNOWN, WOKEN: End.DONE}  # it had been sent, or was answered
        assert client.abandoned is told[when]

    in_cluster(work, 1)
