"""A class is replaced while its object is in use: node by node, all at once, with clients and nodes that are behind."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import phalanx
from phalanx.api.joining import join
from phalanx.api.local import Cluster, local
from phalanx.node.status import GroupStatus
from phalanx.runtime.loop import run
from tests.api.accounts import Account, AccountV1, Alone, Failing
from tests.api.cluster import PATIENCE_S, TIMING


def hosting(cls: type[Any], *, durable: bool = True) -> dict[str, phalanx.Hosted]:
    return {"Account": phalanx.Hosted(cls, durable=durable)}


def in_cluster(work: Callable[[Cluster], Coroutine[Any, Any, None]], cls: type[Any] = AccountV1) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S), local(3, objects=hosting(cls), timing=TIMING) as cluster:
            await work(cluster)

    run(limited())


async def restart(cluster: Cluster, names: str, cls: type[Any]) -> None:
    """One by one, each with that code."""
    for name in names:
        await cluster.kill(name)
        cluster.start(name, hosting(cls))
        await cluster.joined()


def status(cluster: Cluster, name: str = "a") -> GroupStatus:
    return cluster[name].status.groups[0]


async def until(cluster: Cluster, holds: Callable[[], bool]) -> None:
    """Looks whenever a node has noted something."""
    noted = asyncio.Event()
    for process in cluster.processes:
        process.on_notes = lambda _: noted.set()
    while not holds():
        noted.clear()
        await noted.wait()


async def upgraded(cluster: Cluster, to: int = 2) -> None:
    names = [process.name for process in cluster.processes]
    await until(cluster, lambda: all(status(cluster, name).version == to for name in names))


def test_nodes_are_restarted_one_by_one_with_the_new_class_while_clients_go_on() -> None:
    async def story(cluster: Cluster) -> None:
        old, new = cluster.client().object(AccountV1, "Account"), cluster.client().object(Account)
        total = 0
        for name in "abc":
            assert status(cluster, "c").version == 1
            await restart(cluster, name, Account)
            total += 2
            assert await old.call(AccountV1.add, 1) == total - 1
            assert await new.call(Account.add, 1) == total
        await upgraded(cluster)
        assert status(cluster).versions == {"a": 2, "b": 2, "c": 2}
        assert await new.call(Account.add_cents, 1) == total * 100 + 1
        assert await old.call(AccountV1.add, 1) == total + 1
        assert await old.stale.call(AccountV1.read) == total + 1

    in_cluster(story)


def test_a_caller_is_told_which_of_the_two_is_behind_and_nothing_has_happened() -> None:
    async def story(cluster: Cluster) -> None:
        old, new = cluster.client().object(AccountV1, "Account"), cluster.client().object(Account)
        await old.call(AccountV1.add, 1)
        await restart(cluster, "ab", Account)
        with pytest.raises(phalanx.UpgradePending, match="still runs version 1, and the caller's class is version 2"):
            await new.call(Account.add_cents, 1)
        assert status(cluster).version == 1
        while status(cluster, "c").versions != {"a": 2, "b": 2, "c": 1}:  # as soon as they have said so in this view
            await asyncio.sleep(0)
        assert status(cluster, "c").upgrade == "Account is to go from version 1 to 2 once c can run that"
        await restart(cluster, "c", Account)
        await upgraded(cluster)
        with pytest.raises(phalanx.Outdated, match="runs version 2, and the caller's class is version 1"):
            await old.call(AccountV1.reset)
        assert await new.call(Account.add_cents, 0) == 100
        assert issubclass(phalanx.Outdated, phalanx.Refused) and issubclass(phalanx.UpgradePending, phalanx.NotHappened)

    in_cluster(story)


def test_all_nodes_are_stopped_and_started_with_the_new_class() -> None:
    async def story(cluster: Cluster) -> None:
        old, new = cluster.client().object(AccountV1, "Account"), cluster.client().object(Account)
        await old.call(AccountV1.add, 5)
        for name in "abc":
            await cluster.kill(name)
        for name in "abc":
            cluster.start(name, hosting(Account))
        await cluster.joined()
        assert await old.call(AccountV1.add, 1) == 6
        await upgraded(cluster)
        assert await new.call(Account.add_cents, 1) == 601
        for name in "abc":
            await cluster.kill(name)
        for name in "abc":
            cluster.start(name)
        await cluster.joined()
        assert await new.call(Account.add_cents, 1) == 602, "its log is from before and after"
        assert {status(cluster, name).version for name in "abc"} == {2}

    in_cluster(story)


def test_a_node_with_former_code_is_refused_and_the_others_go_on() -> None:
    async def story(cluster: Cluster) -> None:
        new = cluster.client().object(Account)
        await cluster.kill("c")
        await restart(cluster, "ab", Account)
        await upgraded(cluster)
        await new.call(Account.add_cents, 7)
        process = cluster.start("c")
        with pytest.raises(
            phalanx.Refused, match="at version 2 of the class, and this code has AccountV1 up to version 1"
        ):
            await process.joined()
        await process.leave()
        assert await new.call(Account.add_cents, 1) == 8
        await cluster.kill("c")
        cluster.start("c", hosting(Account))
        await cluster.joined()
        assert await new.call(Account.add_cents, 1) == 9

    in_cluster(story)


def test_former_code_at_all_nodes_loses_nothing() -> None:
    """By mistake, after a total restart: each node stops and says why, and its log stays."""

    async def story(cluster: Cluster) -> None:
        new = cluster.client().object(Account)
        await restart(cluster, "abc", Account)
        await upgraded(cluster)
        await new.call(Account.add_cents, 7)
        for name in "abc":
            await cluster.kill(name)
        processes = [cluster.start(name, hosting(AccountV1)) for name in "abc"]
        for process in processes:
            with pytest.raises(phalanx.Refused, match="Account cannot be hosted here: it is at version 2"):
                await process.joined()
                await process.wait()
        for name in "abc":
            with suppress(phalanx.Refused):  # of which it died
                await cluster.kill(name)
        for name in "abc":
            cluster.start(name, hosting(Account))
        await cluster.joined()
        assert await new.call(Account.add_cents, 1) == 8

    in_cluster(story)


def test_a_conversion_that_fails_leaves_the_object_as_it_is_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async def story(cluster: Cluster) -> None:
        handle = cluster.client().object(AccountV1, "Account")
        await handle.call(AccountV1.add, -1)
        await restart(cluster, "abc", Failing)
        await until(cluster, lambda: status(cluster).upgrade.endswith("ValueError: overdrawn"))
        assert status(cluster).version == 1
        assert "does not go over to version 2: the conversion fails at" in caplog.text
        await handle.call(AccountV1.add, 1)
        await restart(cluster, "c", Failing)  # a new view: it is tried again
        await upgraded(cluster)
        assert await handle.call(AccountV1.add, 1) == 1

    with caplog.at_level(logging.ERROR, "phalanx"):
        in_cluster(story)


def test_code_without_the_former_class_hosts_what_was_upgraded_and_not_what_was_not() -> None:
    async def story(cluster: Cluster) -> None:
        new = cluster.client().object(Account)
        await cluster.kill("c")
        process = cluster.start("c", hosting(Alone))
        with pytest.raises(phalanx.Refused, match="this code has Alone from version 2 on: start this node"):
            await process.joined()
        await process.leave()
        await cluster.kill("c")
        cluster.start("c", hosting(Account))
        await restart(cluster, "ab", Account)
        await upgraded(cluster)
        assert await new.call(Account.add_cents, 1) == 1

    in_cluster(story)


def test_an_object_in_memory_is_upgraded_too() -> None:
    async def story() -> None:
        async with asyncio.timeout(PATIENCE_S), local(2, objects={"Account": (AccountV1, 0)}, timing=TIMING) as cluster:
            old = cluster.client().object(AccountV1, "Account")
            await old.call(AccountV1.add, 5)
            for name in "ab":
                await cluster.kill(name)
                cluster.start(name, {"Account": (Account, 0)})
                await cluster.joined()
            await upgraded(cluster)
            assert await old.call(AccountV1.read) == 5
            for name in "ab":
                await cluster.kill(name)
            for name in "ab":
                cluster.start(name)
            await cluster.joined()
            await upgraded(cluster)
            assert await old.call(AccountV1.read) == 0, "it began anew"

    run(story())


def test_a_node_without_the_version_does_not_join(tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            asyncio.timeout(PATIENCE_S),
            join("a", bootstrap=True, objects={"Account": (Account, 0)}) as first,
        ):
            with pytest.raises(phalanx.Refused, match="a host it, and it is at version 2 of the class"):
                async with join("b", seeds=[first.address], objects={"Account": (AccountV1, 0)}, data=tmp_path):
                    pass
            async for view in first.views():
                if len(view.everyone) == 1:
                    break
            assert await first.client().object(Account).call(Account.add, 1) == 1

    run(story())


def test_a_new_node_with_the_new_class_takes_its_place_beside_hosts_of_the_former_one() -> None:
    """It has joined when it hosts the object, and not before; so has one that is asked to host it later."""

    async def story() -> None:
        former = {"Account": (AccountV1, 0)}
        async with asyncio.timeout(PATIENCE_S), join("a", bootstrap=True, objects=former) as first:
            await first.client().object(AccountV1, "Account").call(AccountV1.add, 5)
            seeds = [first.address]
            async with (
                join("b", seeds=seeds, objects={"Account": (Account, 0)}) as second,
                join("c", seeds=seeds) as third,
            ):
                assert second.view is not None and "b" in second.view.groups[0].hosts
                handle = await third.host(Account)
                assert await handle.call(Account.add, 1) == 6
                assert third.status.groups[0].hosts == ("a", "b", "c")
                assert third.status.groups[0].version == 1

    run(story())


def test_a_process_that_is_asked_to_host_what_it_has_no_code_for_says_so() -> None:
    async def story() -> None:
        objects = {"Account": (Alone, 0)}
        async with (
            asyncio.timeout(PATIENCE_S),
            join("a", bootstrap=True, objects=objects) as first,
            join("b", seeds=[first.address]) as second,
        ):
            with pytest.raises(phalanx.Refused, match="this code has AccountV1 up to version 1"):
                await second.host(AccountV1, "Account")
            assert (await second.host(Alone, "Account")).name == "Account"

    run(story())
