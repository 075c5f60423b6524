"""Durable groups through the public interface, in a cluster inside this program (DESIGN section 8)."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from phalanx.api.hosted import Hosted
from phalanx.api.joining import join
from phalanx.api.local import Cluster, local
from phalanx.api.store import Store
from phalanx.errors import ConfigurationError, Refused, Unavailable
from phalanx.group.config import Limits, Timing
from phalanx.model.clock import MILLISECOND
from phalanx.runtime.loop import run
from phalanx.services.store.kv import KV

PATIENCE_S = 30.0
QUICK = Timing(
    heartbeat=20 * MILLISECOND,
    suspect_after=200 * MILLISECOND,
    demote_after=100 * MILLISECOND,
    patience=40 * MILLISECOND,
    resend_after=40 * MILLISECOND,
)
STORE = {"KV": Hosted(KV, durable=True)}


def on_loop(work: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await work

    run(limited())


async def value_of(store: Store, key: bytes) -> bytes | None:
    found = await store.get(key)
    return found.value if found is not None else None


async def kill_all(cluster: Cluster) -> None:
    for process in list(cluster.processes):
        await cluster.kill(process.name)


def test_a_durable_store_survives_the_loss_of_all_processes_again_and_again() -> None:
    """SCENARIOS 1."""

    async def story() -> None:
        async with local(3, objects=STORE, timing=QUICK) as cluster:
            for life in range(3):
                client = cluster.client(timeout_s=PATIENCE_S)
                store = client.kv()
                for before in range(life):
                    assert await value_of(store, b"key %d" % before) == b"value"
                await store.put(b"key %d" % life, b"value")
                await client.close()
                await kill_all(cluster)
                for name in "abc":
                    cluster.start(name)
                await cluster.joined()

    on_loop(story())


def test_a_log_is_kept_short_by_snapshots_and_brings_back_everything() -> None:
    """SCENARIOS 5."""

    async def story() -> None:
        async with local(2, objects=STORE, timing=QUICK, limits=Limits(log=2_000)) as cluster:
            client = cluster.client(timeout_s=PATIENCE_S)
            for n in range(300):
                await client.kv().put(b"key %d" % (n % 20), b"%d" % n)
            await client.close()
            records = len(cluster._logs["a"].records)
            assert records < 300, "older ones are covered by snapshots"
            await kill_all(cluster)
            for name in "ab":
                cluster.start(name)
            await cluster.joined()
            again = cluster.client(timeout_s=PATIENCE_S)
            values = [await value_of(again.kv(), b"key %d" % n) for n in range(20)]
            assert values == [b"%d" % (280 + n) for n in range(20)]

    on_loop(story())


def test_a_log_is_kept_short_at_nodes_that_never_live_long() -> None:
    """Each process writes less than the limit, so none would shorten the log on its own account."""

    async def story() -> None:
        lives, puts = 8, 40
        async with local(2, objects=STORE, timing=QUICK, limits=Limits(log=20_000)) as cluster:
            for life in range(lives):
                client = cluster.client(timeout_s=PATIENCE_S)
                for n in range(puts):
                    await client.kv().put(b"key %d" % (n % 5), b"%d/%d" % (life, n))
                await client.close()
                await kill_all(cluster)
                for name in "ab":
                    cluster.start(name)
                await cluster.joined()
            assert len(cluster._logs["a"].records) < lives * puts, "older ones are covered by snapshots"
            again = cluster.client(timeout_s=PATIENCE_S)
            assert await value_of(again.kv(), b"key 4") == b"%d/%d" % (lives - 1, puts - 1)

    on_loop(story())


def test_a_process_that_was_excluded_reads_its_log_again_and_returns() -> None:
    """It is the only host, so its log is all that there is of the group (counter-example 3)."""

    async def story() -> None:
        async with local(3, timing=QUICK) as cluster:
            process = cluster["c"]
            before = process.me
            await process.host(KV, durable=True)
            client = cluster.client(timeout_s=PATIENCE_S)
            await client.kv().put(b"key", b"value")
            for other in "ab":
                cluster.cut("c", other)
            async for view in cluster["a"].views():
                if len(view.members) == 2:
                    break
            assert [s.waits_for for s in cluster["a"].status.suspended] == [("c",)]
            with pytest.raises(Unavailable, match=r"a#.* says that group 'KV' waits for the log of one of c"):
                await cluster.client(timeout_s=0.5).kv().get(b"key")
            for other in "ab":
                cluster.heal("c", other)
            await cluster.joined()
            assert process.me.incarnation > before.incarnation
            assert await value_of(client.kv(), b"key") == b"value"
            await client.kv().put(b"key", b"again")
            assert await value_of(client.kv(), b"key") == b"again"
            await kill_all(cluster)
            for name in "abc":
                cluster.start(name)
            await cluster.joined()
            await cluster["c"].host(KV, durable=True)
            assert await value_of(client.kv(), b"key") == b"again"

    on_loop(story())


def test_an_application_gets_the_messages_of_its_group_again_from_where_its_log_begins() -> None:
    """`Process.group`: restore with b"" for the empty state, then what was delivered, in order."""

    async def story() -> None:
        async with local(2, timing=QUICK) as cluster:

            async def member(name: str) -> tuple[Any, list[bytes]]:
                state: list[bytes] = []

                def restore(data: bytes) -> None:
                    state[:] = data.split(b",") if data else []

                group = await cluster[name].group("g", durable=True, snapshot=lambda: b",".join(state), restore=restore)

                async def read() -> None:
                    async for message in group:
                        state.append(message.payload)

                readers.append(asyncio.ensure_future(read()))
                return group, state

            readers: list[asyncio.Future[None]] = []
            (one, at_a), (_, at_b) = await asyncio.gather(member("a"), member("b"))
            for n in range(5):
                await one.send(b"%d" % n, delivered=True)
            await kill_all(cluster)
            for name in "ab":
                cluster.start(name)
            await cluster.joined()
            (one, at_a), (_, at_b) = await asyncio.gather(member("a"), member("b"))
            await one.send(b"last", delivered=True)
            while len(at_a) < 6 or len(at_b) < 6:
                await asyncio.sleep(0)
            assert at_a == at_b == [b"0", b"1", b"2", b"3", b"4", b"last"]
            for reader in readers:
                reader.cancel()

    on_loop(story())


def test_what_makes_no_sense_is_refused_with_a_reason() -> None:
    async def story() -> None:
        with pytest.raises(ConfigurationError, match="needs a data directory"):
            async with join("a", bootstrap=True, objects=STORE):
                pass
        async with join("a", bootstrap=True, timing=QUICK) as process:
            with pytest.raises(ConfigurationError, match="needs snapshot and restore"):
                await process.group("g", durable=True)
            with pytest.raises(Refused, match="keeps no log"):
                await process.group("g", durable=True, snapshot=bytes, restore=print)
            with pytest.raises(ConfigurationError, match="durable copies"):
                await process.group("g", min_copies=3)

    on_loop(story())
