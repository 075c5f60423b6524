"""A cluster inside the test, with a store, and clients of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from phalanx.api.local import Cluster, local
from phalanx.api.store import Store
from phalanx.group.config import Timing
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.runtime.loop import run
from phalanx.services.store.kv import KV

PATIENCE_S = 30.0
"""It stops what hangs and judges no speed."""

TIMING = Timing(
    heartbeat=20 * MILLISECOND,
    suspect_after=200 * MILLISECOND,
    demote_after=60 * MILLISECOND,
    patience=40 * MILLISECOND,
    resend_after=40 * MILLISECOND,
)

PATIENT = msgspec.structs.replace(TIMING, demote_after=30 * SECOND)
"""Nobody is demoted on a busy machine: for stories that need to know who is the eldest, or what is told."""

T = TypeVar("T")


@asynccontextmanager
async def store_cluster(count: int = 3) -> AsyncIterator[tuple[Cluster, Store]]:
    """A cluster of that many nodes, and a client's store."""
    async with local(count, objects={"KV": (KV, 0)}, timing=TIMING) as cluster:
        yield cluster, cluster.client().kv()


def in_cluster(work: Callable[[Cluster, Store], Coroutine[Any, Any, T]], count: int = 3) -> T:
    """Run a test's coroutine with a fresh cluster, for a limited time."""

    async def limited() -> T:
        async with asyncio.timeout(PATIENCE_S), store_cluster(count) as (cluster, store):
            return await work(cluster, store)

    return run(limited())


async def started(*tasks: "asyncio.Task[Any]") -> None:
    """Let tasks run up to where they wait for others."""
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
