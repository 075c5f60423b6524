"""Places that are taken again after a loss, term after term (SCENARIOS 32)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from phalanx import txn
from phalanx.api import recipes
from phalanx.api.client import Client
from phalanx.api.local import Cluster
from phalanx.api.recipes import Held, Holding, terms
from phalanx.api.store import Store
from phalanx.errors import Closed, Fenced, LeaseLost, Refused, Unavailable
from tests.api.cluster import in_cluster
from tests.api.test_cancelled import STEPS, ends, no_leases, steps, until
from tests.api.test_recovery import all_gone, in_a_durable_cluster, recover, without_c

Maker = Callable[[Store], Holding[Any]]

KINDS: dict[str, Maker] = {
    "lock": lambda store: recipes.lock(store, b"it", ttl_s=3_600),
    "read_lock": lambda store: recipes.read_lock(store, b"it", ttl_s=3_600),
    "write_lock": lambda store: recipes.write_lock(store, b"it", ttl_s=3_600),
    "semaphore": lambda store: recipes.semaphore(store, b"it", 1, ttl_s=3_600),
    "lead": lambda store: recipes.lead(store, b"it", ttl_s=3_600),
    "membership": lambda store: recipes.membership(store, b"it", b"me", ttl_s=3_600),
    "partition": lambda store: recipes.partition(store, b"it", b"me", [b"1", b"2"], ttl_s=3_600),
}
each_kind = pytest.mark.parametrize("make", KINDS.values(), ids=list(KINDS))


async def place_of(held: Any) -> Held:
    """What stands for it in the store: of a share, one item."""
    if isinstance(held, Held):
        return held
    shares: AsyncIterator[dict[bytes, Held]] = held
    return next(iter((await anext(shares)).values()))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "AGAIN_S", 0.01)


# --- another term -------------------------------------------------------------------------------------------------


@each_kind
def test_what_was_lost_is_taken_again_and_nothing_of_before_passes_for_it(make: Maker) -> None:
    async def work(_: Cluster, store: Store) -> None:
        had: list[Held] = []
        away: list[str] = []
        async for term in make(store).terms():
            async with term as held:
                had.append(await place_of(held))
                away.append(type(term.after).__name__)
                for former in had[:-1]:
                    with pytest.raises(Fenced):
                        await former.put(b"guarded", b"by a former term")
                await had[-1].put(b"guarded", b"by this term")
                if len(had) < 3:
                    await store.revoke(had[-1].lease)  # what the store does when this process has slept too long
                    await asyncio.Event().wait()
        assert away == ["NoneType", "LeaseLost", "LeaseLost"]
        assert [held.token for held in had] == sorted({held.token for held in had}) and len(had) == 3
        assert len({held.lease.id for held in had}) == len({held.created for held in had}) == 3
        assert await store.leases() == [], "nothing is left behind"
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0

    in_cluster(work, 1)


def test_a_block_that_comes_to_its_end_is_the_last_and_one_that_raises_leaves_the_loop() -> None:
    async def work(_: Cluster, store: Store) -> None:
        count = 0
        with pytest.raises(ZeroDivisionError):
            async for term in recipes.lock(store, b"it").terms():
                async with term:
                    raise ZeroDivisionError
        async for term in recipes.lock(store, b"it").terms():
            count += 1
            try:
                async with term:
                    if count < 3:
                        raise ZeroDivisionError
            except ZeroDivisionError as error:
                assert term.ended_by is error
            else:
                assert term.ended_by is None
        assert count == 3 and await store.leases() == []

    in_cluster(work, 1)


def test_a_loss_that_a_write_notices_first_is_one_and_a_fence_of_another_holder_is_an_error() -> None:
    """`Fenced` may come before the watch on one's own entry tells of its end; also out of a TaskGroup."""

    async def work(_: Cluster, store: Store) -> None:
        tokens: list[int] = []
        async for term in recipes.lead(store, b"it", cancels=False).terms():
            async with term as held:
                tokens.append(held.token)
                if len(tokens) == 1:
                    await store.revoke(held.lease)
                    await held.put(b"guarded", b"late")
                if len(tokens) == 2:
                    await store.revoke(held.lease)
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(held.put(b"guarded", b"late"))
        assert len(tokens) == 3
        with pytest.raises(Fenced):
            async for term in recipes.lead(store, b"it").terms():
                async with term, recipes.lock(store, b"other", cancels=False) as other:
                    tokens.append(0)
                    await store.revoke(other.lease)
                    await other.put(b"guarded", b"late")
        assert len(tokens) == 4, "this one led to the end"

    in_cluster(work, 1)


def test_a_block_that_is_not_cancelled_and_ends_after_a_loss_is_followed_by_another_term() -> None:
    async def work(_: Cluster, store: Store) -> None:
        count = 0
        async for term in recipes.lock(store, b"it", cancels=False).terms():
            async with term as held:
                count += 1
                if count == 1:
                    await store.revoke(held.lease)
                    await held.lease.lost.wait()
            assert isinstance(term.ended_by, LeaseLost) == (count == 1)
        assert count == 2

    in_cluster(work, 1)


def test_a_term_is_for_one_block_and_none_is_left_out() -> None:
    async def work(_: Cluster, store: Store) -> None:
        with pytest.raises(RuntimeError, match="each turn needs its `async with term`"):
            async for _term in recipes.lock(store, b"it").terms():
                pass
        async for term in recipes.lock(store, b"it").terms():
            async with term:
                assert "under" in repr(term)
            with pytest.raises(RuntimeError, match="the iteration gives the next"):
                await term.__aenter__()
        once = recipes.lock(store, b"it")
        async with once:
            pass
        with pytest.raises(RuntimeError, match="make a new one"):
            await once.__aenter__()

    in_cluster(work, 1)


# --- failures -----------------------------------------------------------------------------------------------------


def test_a_client_that_was_cut_off_leads_again_after_another_has_with_greater_tokens() -> None:
    """It gives up by its own clock, and can tell nobody; it stands again as soon as somebody hears it."""

    async def work(cluster: Cluster, store: Store) -> None:
        other = cluster.client().kv()
        led: list[tuple[str, int]] = []
        until_led, until_over = asyncio.Event(), asyncio.Event()

        async def lead() -> None:
            async for term in recipes.lead(store.within(0.2), b"it", b"one", ttl_s=1.0).terms():
                async with term as held:
                    led.append(("one", held.token))
                    if len(led) == 1:
                        until_led.set()
                        await asyncio.Event().wait()

        leading = asyncio.create_task(lead())
        await until_led.wait()
        cluster._network.hang("~1")  # the first client
        async with recipes.lead(other, b"it", b"two") as held:
            led.append(("two", held.token))
            cluster._network.go_on("~1")
            while await other.count(prefix=b"it/") < 2:  # it stands again: nobody else is in line
                await asyncio.sleep(0)
            until_over.set()
        await leading
        assert [who for who, _ in led] == ["one", "two", "one"]
        assert [token for _, token in led] == sorted(token for _, token in led)

    in_cluster(work)


def test_one_leads_at_a_time_while_leases_are_revoked_and_nodes_die() -> None:
    """SCENARIOS 30, 32: three stand, each until it has led to the end once; whoever leads loses it now and then."""

    async def work(cluster: Cluster, store: Store) -> None:
        tokens: list[int] = []
        inside = 0

        async def stand(number: int) -> None:
            nonlocal inside
            async for term in recipes.lead(store, b"it").terms():
                async with term as held:
                    assert not inside
                    inside += 1
                    try:
                        tokens.append(held.token)
                        if len(tokens) == 3:
                            await cluster.kill("a")
                        await held.put(b"guarded", b"%d" % number)
                        if len(tokens) % 2:
                            await store.revoke(held.lease)
                            await asyncio.Event().wait()
                    finally:
                        inside -= 1

        await asyncio.gather(*(stand(number) for number in range(3)))
        assert len(tokens) == 6 and tokens == sorted(set(tokens))
        assert await store.leases() == []

    in_cluster(work)


def test_who_was_cut_off_registers_again_at_once_although_its_old_entry_is_there() -> None:
    """The store still has it: nobody could tell it that its holder has given up."""

    async def work(_: Cluster, store: Store) -> None:
        places: list[Held] = []
        async with asyncio.timeout(20):
            async for term in recipes.membership(store, b"it", b"me", ttl_s=3_600).terms():
                async with term as place:
                    places.append(place)
                    if len(places) == 1:
                        place.lease.guard.lose(LeaseLost("not kept alive in time, as this process saw it"))
                        await asyncio.Event().wait()
                    with pytest.raises(Refused, match="has a member"):
                        async with recipes.membership(store, b"it", b"me"):
                            pass
        assert places[0].created < places[1].created

    in_cluster(work, 1)


def test_an_outage_is_waited_out_after_a_loss_and_told_before() -> None:
    async def work(cluster: Cluster, store: Store) -> None:
        hasty = store.within(0.05)
        cluster.pause("a")
        with pytest.raises(Unavailable):
            async for term in recipes.membership(hasty, b"it", b"me").terms():
                async with term:
                    raise AssertionError("nobody could let it in")
        cluster.resume("a")
        count = 0
        async for term in recipes.membership(store, b"it", b"me", ttl_s=1.0).terms():
            async with term as place:
                count += 1
                if count == 1:
                    term._holding._store = hasty  # from now on it is told of outages soon
                    cluster.pause("a")
                    asyncio.get_running_loop().call_later(1.5, cluster.resume, "a")
                    place.lease.guard.lose(LeaseLost("not kept alive in time"))
                    await asyncio.Event().wait()
        assert count == 2

    in_cluster(work, 1)


def test_a_ghost_of_before_is_outlived_and_another_of_that_name_is_told() -> None:
    """In a cluster that was recovered the former entry goes with a lease that nobody can revoke."""

    async def work(_: Cluster, store: Store) -> None:
        count = 0
        lost_at = 0.0
        with pytest.raises(Refused, match="has a member"):
            async for term in recipes.membership(store, b"it", b"me", ttl_s=1.0).terms():
                async with term as place:
                    count += 1
                    lost_at = asyncio.get_running_loop().time()
                    orphan = await store.grant(1.0)
                    await store.transact(then=[txn.Delete(place.key)])
                    await store.put(place.key, b"of before", lease=orphan if count == 1 else 0)
                    await asyncio.Event().wait()
        assert count == 2
        assert asyncio.get_running_loop().time() - lost_at >= 4 * 1.0, "as long as an entry of its own may be there"

    in_cluster(work, 1)


def test_who_was_registered_is_registered_again_in_a_cluster_that_was_recovered() -> None:
    """Its operator had it go on with what one node knew: the former entry runs out there."""

    async def story(cluster: Cluster, client: Client) -> None:
        places: list[Held] = []
        async for term in recipes.membership(client.kv(), b"it", b"me", ttl_s=2.0).terms():
            async with term as place:
                places.append(place)
                if len(places) == 1:
                    await without_c(cluster)
                    await all_gone(cluster)
                    await recover(cluster)
                    await asyncio.Event().wait()
        assert places[0].token < places[1].token and places[0].created < places[1].created

    in_a_durable_cluster(story)


def test_a_client_that_is_closed_tries_no_more() -> None:
    async def work(cluster: Cluster, _: Store) -> None:
        client = cluster.client()
        with pytest.raises(Closed):
            async for term in recipes.membership(client.kv(), b"it", b"me").terms():
                async with term as place:
                    await client.close()
                    place.lease.guard.lose(LeaseLost("nobody is heard"))
                    await asyncio.Event().wait()

    in_cluster(work, 1)


@pytest.mark.parametrize("make", [KINDS["lead"], KINDS["partition"]], ids=["lead", "partition"])
def test_who_is_cancelled_wherever_it_is_leaves_and_nothing_stays_behind(make: Maker) -> None:
    async def work(_: Cluster, store: Store) -> None:
        async def stand() -> None:
            async for term in make(store).terms():
                async with term as held:
                    place = await place_of(held)
                    await store.revoke(place.lease)
                    await asyncio.Event().wait()

        for count in (*STEPS, *range(60, 200, 20)):
            standing = asyncio.create_task(stand())
            await steps(count)
            for _again in range(2):
                standing.cancel()
                await steps(1)
            await ends(standing)
        await until(lambda: no_leases(store))

    in_cluster(work, 1)


def test_a_cancellation_that_meets_a_loss_is_not_lost_in_it() -> None:
    """Whoever cancels the task is heard, as with one block."""

    async def work(_: Cluster, store: Store) -> None:
        holds = asyncio.Event()

        async def stand() -> None:
            async for term in recipes.lock(store, b"it").terms():
                async with term as held:
                    held.lease.guard.lose(LeaseLost("in the same moment"))
                    holds.set()
                    asyncio.current_task().cancel()  # type: ignore[union-attr]  # it runs in a task
                    await asyncio.Event().wait()

        await ends(asyncio.create_task(stand()))

    in_cluster(work, 1)
