"""What clients notice of a recovery with loss (`phalanx recover`, DESIGN sections 8 and 9): numbers that the others gave
out in the time that is lost are not given out again, and whoever knows of that time is told.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import phalanx
from phalanx.api.client import Client, Replicated
from phalanx.api.events import Recovered
from phalanx.api.hosted import Hosted
from phalanx.api.local import Cluster, local
from phalanx.errors import ClusterRecovered, Compacted, LeaseLost, OutcomeUnknown, StateLost
from phalanx.group.lineage import FENCE_AHEAD, rescue
from phalanx.model.clock import stamp_of
from phalanx.model.machine import Journal
from phalanx.model.replicated import OUTSIDE, Context, command, query
from phalanx.runtime.clock import system_clock
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.logdisk import MemoryLog
from phalanx.runtime.loop import run
from phalanx.services.store.kv import KV
from phalanx.services.store.limits import REVISIONS_AHEAD
from phalanx.services.store.values import Modified, Put
from tests.api.cluster import PATIENCE_S, started
from tests.api.test_durable import QUICK


class Tickets:
    """Gives out numbers, as users' classes do."""

    last: int = 0
    recoveries: int = 0

    @command
    def take(self) -> int:
        self.last += 1
        return self.last

    @command
    def token(self, *, context: Context = OUTSIDE) -> int:
        return context.token

    @query
    def counted(self) -> tuple[int, int]:
        return self.last, self.recoveries

    def recovered(self, context: Context) -> None:
        assert context.token > FENCE_AHEAD
        self.last += 1_000
        self.recoveries += 1


OBJECTS = {"KV": Hosted(KV, durable=True), "Tickets": Hosted(Tickets, durable=True), "Memory": Hosted(Tickets)}


def in_a_durable_cluster(
    story: Callable[[Cluster, Client], Awaitable[None]], objects: dict[str, Hosted] = OBJECTS
) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S), local(3, objects=objects, timing=QUICK) as cluster:
            await story(cluster, cluster.client(PATIENCE_S))

    run(limited())


async def recover(cluster: Cluster, name: str = "c") -> None:
    """All are down but that one, which was down before: what the command does to its data, and its start."""
    disk, log = cluster._disks[name], cluster._logs[name]
    now = stamp_of(system_clock().wall)
    plan = rescue(name, disk.record, Journal(tuple(log.records)), 0xBEEF, now)
    assert plan.record is not None
    log.records.append(plan.record)
    disk.record = plan.votes
    cluster.start(name)
    await cluster.joined()


async def without_c(cluster: Cluster) -> None:
    await cluster.kill("c")
    await cluster.joined()


async def all_gone(cluster: Cluster) -> None:
    for process in list(cluster.processes):
        await cluster.kill(process.name)


class Seen(NamedTuple):
    """What a program remembers of the time that is lost."""

    revision: int
    token: int
    lease: int


async def seen(client: Client, times: int = 3) -> Seen:
    store = client.kv()
    for _ in range(times):
        last = await store.transact((), (Put(b"other", b"lost"),))
    lease = await store.grant(10)
    return Seen(last.revision, last.token, lease.id)


def test_nothing_that_was_given_out_in_the_time_that_is_lost_is_given_out_again() -> None:
    async def story(cluster: Cluster, client: Client) -> None:
        store, memory = client.kv(), client.object(Tickets, "Memory")
        first = await store.transact((), (Put(b"key", b"1"),))
        await without_c(cluster)
        lost = await seen(client)
        session = client._machine._lanes["KV"].session
        fenced = await memory.call(Tickets.token)
        await all_gone(cluster)
        await recover(cluster)
        with pytest.raises(ClusterRecovered, match="was recovered by its operator as beef"):
            await store.get(b"key")
        again = await store.transact((), (Put(b"key", b"2"),))
        assert again.revision == first.revision + REVISIONS_AHEAD + 1 > lost.revision
        assert again.token > lost.token + FENCE_AHEAD
        assert (await store.grant(10)).id > lost.lease + FENCE_AHEAD
        assert client._machine._lanes["KV"].session > session + FENCE_AHEAD
        assert await client.object(Tickets, "Memory").call(Tickets.token) > fenced + FENCE_AHEAD, "it began anew"

    in_a_durable_cluster(story)


def test_the_same_numbers_hold_at_whoever_joins_and_after_further_restarts_and_recoveries() -> None:
    async def story(cluster: Cluster, client: Client) -> None:
        await client.kv().put(b"key", b"1")
        await without_c(cluster)
        await all_gone(cluster)
        await recover(cluster)
        client = cluster.client(PATIENCE_S)
        one = await client.kv().transact((), (Put(b"key", b"2"),))
        await cluster.kill("c")
        cluster.start("c")  # from its log
        await cluster.joined()
        two = await client.kv().transact((), (Put(b"key", b"3"),))
        assert (two.revision, two.token) == (one.revision + 1, one.token + 1)
        await client.object(Tickets).call(Tickets.take)
        assert await client.object(Tickets).call(Tickets.counted) == (1_001, 1)
        await cluster.kill("c")
        await recover(cluster)
        client = cluster.client(PATIENCE_S)
        three = await client.kv().transact((), (Put(b"key", b"4"),))
        assert three.revision == two.revision + REVISIONS_AHEAD + 1 and three.token > two.token + FENCE_AHEAD
        assert await client.object(Tickets).call(Tickets.counted) == (2_001, 2)
        cluster._disks["a"], cluster._logs["a"] = MemoryDisk(), MemoryLog()
        cluster.start("a")  # a new node
        await cluster.joined()
        client = cluster.client(PATIENCE_S, ["a"])
        four = await client.kv().transact((), (Put(b"key", b"5"),))
        assert (four.revision, four.token) == (three.revision + 1, three.token + 1)
        assert await client.object(Tickets).call(Tickets.counted) == (2_001, 2)

    in_a_durable_cluster(story)


def test_who_remembers_a_revision_is_told_that_it_means_nothing_any_more() -> None:
    """As by `etcdutl snapshot restore --bump-revision --mark-compacted`.  The client is a new one: its program was
    restarted, and wrote down where it was."""

    async def story(cluster: Cluster, client: Client) -> None:
        before = await client.kv().put(b"key", b"kept")
        await without_c(cluster)
        lost = await seen(client)
        await all_gone(cluster)
        await recover(cluster)
        store = cluster.client(PATIENCE_S).kv()
        oldest = before + REVISIONS_AHEAD
        for asked in (before, lost.revision):
            with pytest.raises(Compacted) as told:
                await store.get(b"key", at=asked)
            assert told.value.oldest == oldest
            async with store.watch(b"", b"\xff", after=asked) as changes:
                with pytest.raises(Compacted):
                    await anext(changes)
            unchanged = await store.transact((Modified(b"key", "==", asked),), (Put(b"key", b"wrong"),))
            assert not unchanged.succeeded, "a compare with a revision of before never holds"
        found = await store.get(b"key")
        assert found is not None and (found.value, found.created, found.modified) == (b"kept", oldest, oldest)
        async with store.watch(b"", b"\xff", after=oldest) as changes:
            await store.put(b"key", b"new")
            assert (await anext(changes)).revision == oldest + 1

    in_a_durable_cluster(story)


def test_a_backup_is_restored_into_a_store_that_was_recovered_empty(tmp_path: Path) -> None:
    async def story(cluster: Cluster, client: Client) -> None:
        await client.kv().put(b"key", b"kept")
        taken = await client.backup(tmp_path / "kv.backup")
        await without_c(cluster)
        lost = await client.kv("New").put(b"key", b"lost")
        await all_gone(cluster)
        await recover(cluster)
        client = cluster.client(PATIENCE_S)
        new = client.kv("New")
        assert await client.restore(tmp_path / "kv.backup", "New") == taken
        found = await new.get(b"key")
        assert found is not None and found.value == b"kept" and found.modified > lost
        again = await new.put(b"key", b"new")
        assert again == taken.revision + 2 * REVISIONS_AHEAD + 1

    in_a_durable_cluster(story, {name: Hosted(KV, durable=True) for name in ("KV", "New")})


def test_a_client_and_its_watches_are_told_once_and_then_go_on() -> None:
    async def story(cluster: Cluster, client: Client) -> None:
        store, tickets = client.kv(), client.object(Tickets)
        await store.put(b"key", b"1")
        async with store.watch(b"key") as changes, store.watch(b"key") as others:
            await asyncio.gather(changes.begun(), others.begun())
            await without_c(cluster)
            await asyncio.gather(store.put(b"key", b"lost"), tickets.call(Tickets.take))
            assert (await anext(changes)).item is not None and (await anext(others)).item is not None
            await all_gone(cluster)
            await recover(cluster)
            outcomes = await asyncio.gather(
                store.get(b"key"), tickets.call(Tickets.take), anext(changes), anext(others), return_exceptions=True
            )
            assert {type(outcome) for outcome in outcomes[2:]} == {StateLost}
            told = [outcome for outcome in outcomes[:2] if isinstance(outcome, ClusterRecovered | OutcomeUnknown)]
            assert told, outcomes
            assert all("was recovered by its operator" in str(each) for each in told), "unknown: it had been sent"
        found = await store.get(b"key")
        assert found is not None and found.value == b"1"
        assert await tickets.call(Tickets.take) >= 1_001

    in_a_durable_cluster(story)


def test_a_lease_of_before_is_lost_to_its_holder_and_protects_what_it_held_for_its_whole_length() -> None:
    async def story(cluster: Cluster, client: Client) -> None:
        store = client.kv()
        with pytest.raises(LeaseLost):
            async with store.lease(ttl_s=2) as lease:
                await store.put(b"held", b"", lease=lease)
                await without_c(cluster)
                await all_gone(cluster)
                await recover(cluster)
                other = cluster.client(PATIENCE_S).kv()
                assert await other.get(b"held") is not None, "nobody else gets it at once"
                assert [each.id for each in await other.leases()] == [1]
                await asyncio.Event().wait()
        async with other.watch(b"held", after=(await other.info()).revision) as changes:
            if await other.get(b"held") is not None:
                assert (await anext(changes)).item is None
        with pytest.raises(LeaseLost):
            await other.put(b"held", b"", lease=lease.id)

    in_a_durable_cluster(story)


def test_a_program_that_reads_a_durable_group_is_told() -> None:
    async def story() -> None:
        async with asyncio.timeout(3), local(1, timing=QUICK) as cluster:
            state = list[bytes]()
            group = await cluster["a"].group("log", durable=True, snapshot=bytes, restore=state.append)
            await group.send(b"one", delivered=True)
            await cluster.kill("a")
            await recover(cluster, "a")
            group = await cluster["a"].group("log", durable=True, snapshot=bytes, restore=state.append)
            found = []
            async for event in group.events():
                if isinstance(event, phalanx.Message | Recovered):
                    found.append(event.payload if isinstance(event, phalanx.Message) else event.id)
                if len(found) == 2:
                    break
            assert found == [b"one", group.id]

    run(story())


def test_a_client_that_names_a_cluster_that_was_recovered_is_told_and_then_served() -> None:
    async def story(cluster: Cluster, client: Client) -> None:
        await client.kv().put(b"key", b"value")
        known = client.cluster
        await without_c(cluster)
        await all_gone(cluster)
        await recover(cluster)
        late = Client(("c",), cluster._network.client(), PATIENCE_S, cluster=known)
        with pytest.raises(ClusterRecovered):
            await late.kv().get(b"key")
        assert await late.kv().get(b"key") is not None and late.cluster == "beef"
        await late.close()

    in_a_durable_cluster(story)


async def take(tickets: "Replicated[Tickets]") -> int:
    return await tickets.call(Tickets.take)


def test_a_command_under_way_is_never_answered_with_what_was_answered_before() -> None:
    """Its session is not known any more: it did happen in the time that is lost, or not, and nothing says which."""

    async def story(cluster: Cluster, client: Client) -> None:
        tickets = client.object(Tickets)
        assert [await take(tickets) for _ in range(3)] == [1, 2, 3]
        await without_c(cluster)
        for process in cluster.processes:
            cluster.pause(process.name)
        under_way = asyncio.create_task(take(tickets))
        await started(under_way)
        await all_gone(cluster)
        await recover(cluster)
        with pytest.raises((OutcomeUnknown, ClusterRecovered)):
            await under_way
        assert await take(tickets) == 1_004

    in_a_durable_cluster(story)
