"""Watches by whole revisions: nobody sees a part of a transaction (SCENARIOS 33)."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from phalanx import txn
from phalanx.api.local import Cluster
from phalanx.api.store import Store
from phalanx.api.watch import Watch
from phalanx.errors import Compacted
from phalanx.replication.following import Fed
from phalanx.runtime.loop import run
from phalanx.services.store.values import Event, Feed, Versioned, position_of
from tests.api.cluster import in_cluster
from tests.api.test_cancelled import STEPS, steps

KEYS = [b"k/%d" % n for n in range(9)]
LARGE = bytes(100_000)
"""More than a batch: each change comes in one of its own, and no more than four before one is read."""


async def change(store: Store, number: int, size: int = len(LARGE)) -> int:
    """All keys at once; the revision."""
    value = b"%d " % number + LARGE[:size]
    return (await store.transact(then=[txn.Put(key, value) for key in KEYS])).revision


def told(events: Sequence[Event]) -> list[tuple[bytes, int]]:
    return [(event.key, event.revision) for event in events]


def whole(revision: int) -> list[tuple[bytes, int]]:
    return [(key, revision) for key in KEYS]


async def some_came(changes: Watch) -> None:
    """And was not read yet."""
    while not changes.pending:
        await asyncio.sleep(0)


def test_a_mirror_never_shows_half_a_transaction_while_the_nodes_that_feed_it_die() -> None:
    """Each time when a part of one has come; the rest comes from another node."""

    async def work(cluster: Cluster, store: Store) -> None:
        watching = cluster.client().kv()
        parts = 0
        async with watching.watch(b"k/", prefix=True, after=0) as changes:
            revisions = changes.revisions()
            await changes.begun()
            for number, victim in enumerate("abcabc"):
                revision = await change(store, number)
                await some_came(changes)
                await cluster.kill(victim)
                parts += changes.revision < revision
                events = await anext(revisions)
                mirror = {event.key: event.item.value for event in events if event.item is not None}
                assert set(mirror) == set(KEYS) and len(set(mirror.values())) == 1, "half of it"
                assert told(events) == whole(revision) and changes.revision >= revision and not changes.pending
                cluster.start(victim)
                await cluster.joined()
        assert parts == 6

    in_cluster(work)


def test_many_transactions_of_any_size_come_each_as_a_whole_and_none_is_lost_or_doubled() -> None:
    """Against the history, with nodes that die and come back while it is read."""

    async def work(cluster: Cluster, store: Store) -> None:
        rng = random.Random(7)
        expected: list[list[tuple[bytes, int]]] = []

        async def write() -> None:
            for number in range(40):
                keys = sorted(rng.sample(KEYS, rng.randint(1, len(KEYS))))
                value = bytes(rng.choice((0, 10, 20_000, 70_000)))
                done = await store.transact(then=[txn.Put(key, value) for key in (*keys, b"elsewhere")])
                expected.append([(key, done.revision) for key in keys])
                if number % 13 == 12:
                    victim = "abc"[number // 13]
                    await cluster.kill(victim)
                    cluster.start(victim)
                    await cluster.joined()

        writing = asyncio.create_task(write())
        found: list[list[tuple[bytes, int]]] = []
        async with cluster.client().kv().watch(b"k/", prefix=True, after=0) as changes:
            async for events in changes.revisions():
                found.append(told(events))
                if len(found) == 40:
                    break
        await writing
        assert found == expected

    in_cluster(work)


def test_who_is_cancelled_while_it_waits_for_the_rest_loses_nothing_and_may_go_on_otherwise() -> None:
    async def work(cluster: Cluster, store: Store) -> None:
        async with cluster.client().kv().watch(b"k/", prefix=True, after=0) as changes:
            revisions, expected = changes.revisions(), []
            for number, count in enumerate(STEPS):
                expected.append(await change(store, number))
                getting = asyncio.ensure_future(anext(revisions))
                await steps(count)
                before = changes.revision
                getting.cancel()
                try:
                    events = list(await getting)
                except asyncio.CancelledError:
                    assert before < expected[-1], "it was not told"
                    if number % 2:
                        events = list(await anext(changes.revisions()))
                    else:
                        events = [await anext(changes) for _ in KEYS]
                assert told(events) == whole(expected[-1])

    in_cluster(work, 1)


def test_a_part_whose_rest_is_forgotten_is_not_told() -> None:
    async def work(cluster: Cluster, store: Store) -> None:
        async with cluster.client().kv().watch(b"k/", prefix=True, after=0) as changes:
            first = await change(store, 1, 10)
            await change(store, 2)
            await some_came(changes)
            await store.compact(await change(store, 3, 10))
            revisions = changes.revisions()
            assert told(await anext(revisions)) == whole(first)
            for _ in range(2):
                with pytest.raises(Compacted):
                    await anext(revisions)
            assert changes.revision == first

    in_cluster(work, 1)


def test_the_last_revision_comes_at_once_and_the_end_of_the_block_is_the_end() -> None:
    """Nothing needs to follow it."""

    async def work(_: Cluster, store: Store) -> None:
        async with store.watch(b"k/", prefix=True, after=0, puts=False) as changes:
            await change(store, 1, 0)
            revision = (
                await store.transact(then=[txn.Delete(KEYS[3]), txn.Put(KEYS[4], b""), txn.Delete(KEYS[5])])
            ).revision
            async for events in changes.revisions():
                assert told(events) == [(KEYS[3], revision), (KEYS[5], revision)], "only what concerns the watch"
                changes.close()
        with pytest.raises(StopAsyncIteration):
            await anext(changes.revisions())
        with pytest.raises(RuntimeError, match="has not begun"):
            await anext(store.watch(b"k").revisions())

    in_cluster(work, 1)


def test_where_to_go_on_is_before_a_revision_of_which_some_was_given_up_and_not_read() -> None:
    """Who waits for the whole of it gives up when two batches of it have come, and reads one by one when others have."""

    class Operation:
        """Of which a batch is itself."""

        def read(self, data: Any) -> Any:
            return data

    def event(key: bytes, revision: int, index: int) -> Event:
        return Event(key, revision, index, 0, Versioned(b"", revision, revision, 1), None)

    async def main() -> None:
        of_watch: Any = Operation()
        watch = Watch(lambda _: None, 1, of_watch, lambda: None)

        def come(*events: Event) -> None:
            data: Any = Feed(list(events), position_of(events[-1]), True)
            watch.take(Fed(1, 0, position_of(events[-1]), data))

        async with watch as changes:
            come(event(b"a", 5, 0))
            come(event(b"b", 5, 1))
            waiting = asyncio.ensure_future(anext(changes.revisions()))
            await steps(3)
            waiting.cancel()
            await asyncio.wait([waiting])
            come(event(b"a", 6, 0))
            read = [((await anext(changes)).revision, changes.revision) for _ in range(3)]
            assert read == [(5, 4), (5, 5), (6, 5)]

    run(main())
