"""Rolling restarts of running clusters: the state outlives them, and what would stop the cluster is refused."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from typer.testing import CliRunner

import phalanx
from phalanx.api.rolling import statuses_of
from phalanx.cli.main import command_line
from tests.cli.node import a_node


class Counter:
    count: int

    def __init__(self) -> None:
        self.count = 0

    @phalanx.command
    def add(self, number: int) -> int:
        self.count += number
        return self.count

    @phalanx.query
    def get(self) -> int:
        return self.count


def run(members: int, test: Callable[[phalanx.Cluster], Coroutine[Any, Any, None]]) -> None:
    async def inside() -> None:
        async with asyncio.timeout(100), phalanx.local(members, objects={"Counter": (Counter, 0)}) as cluster:
            await test(cluster)

    asyncio.run(inside())


def tools(cluster: phalanx.Cluster) -> tuple[Any, Any]:
    async def restart(name: str) -> None:
        await cluster.kill(name)
        cluster.start(name)

    async def statuses() -> dict[str, phalanx.Status | None]:
        return {process.name: process.status for process in cluster.processes}

    return restart, statuses


def test_an_object_in_memory_outlives_the_restart_of_all_its_hosts() -> None:
    async def test(cluster: phalanx.Cluster) -> None:
        counter = cluster.client().object(Counter)
        for _ in range(10):
            await counter.call(Counter.add, 1)
        before = {process.name: process.me for process in cluster.processes}
        restart, statuses = tools(cluster)
        waits: list[str] = []
        restarted = await phalanx.rolling_restart(restart, statuses=statuses, on_wait=waits.append)
        assert restarted == ["c", "b", "a"]
        assert all(process.me.incarnation > before[process.name].incarnation for process in cluster.processes)
        assert any("is not back" in why for why in waits)
        assert await counter.call(Counter.get) == 10

    run(3, test)


def test_a_cluster_of_two_is_not_restarted() -> None:
    async def test(cluster: phalanx.Cluster) -> None:
        restart, statuses = tools(cluster)
        with pytest.raises(phalanx.RestartStopped, match=r"does not survive the failure of one; .* nobody") as caught:
            await phalanx.rolling_restart(restart, statuses=statuses, patience_s=0.3)
        assert caught.value.restarted == ()

    run(2, test)


def test_a_member_that_does_not_come_back_is_the_last() -> None:
    async def test(cluster: phalanx.Cluster) -> None:
        _, statuses = tools(cluster)

        async def fails(name: str) -> None:
            await cluster.kill(name)
            if name != "b":
                cluster.start(name)

        with pytest.raises(phalanx.RestartStopped, match="b is not back: it does not answer") as caught:
            await phalanx.rolling_restart(fails, statuses=statuses, patience_s=5.0)
        assert caught.value.restarted == ("c",)
        assert [process.name for process in cluster.processes] == ["a", "c"]

    run(3, test)


def test_options_that_make_no_sense_are_refused() -> None:
    async def nothing(name: str) -> None:
        raise AssertionError(name)

    async def test(cluster: phalanx.Cluster) -> None:
        _, statuses = tools(cluster)
        with pytest.raises(phalanx.ConfigurationError, match="endpoints"):
            await phalanx.rolling_restart(nothing)
        with pytest.raises(phalanx.ConfigurationError, match="positive"):
            await phalanx.rolling_restart(nothing, statuses=statuses, patience_s=0)
        with pytest.raises(phalanx.ConfigurationError, match="finite"):
            await phalanx.rolling_restart(nothing, statuses=statuses, patience_s=float("nan"))

    run(1, test)


# --- the command --------------------------------------------------------------------------------------------------


def shell(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command_line(["roll"]), ["roll", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_command_asks_the_nodes_and_refuses_a_cluster_of_one() -> None:
    with a_node() as address:
        found = asyncio.run(statuses_of(address, "127.0.0.1:1"))
        assert [(name, status is not None) for name, status in found.items()] == [("a", True)]
        status, text = shell("--endpoint", address, "--patience", "0.3")
        assert status == 1
        assert "waiting: a cannot be spared: a view of 1 does not survive" in text
        assert "restarted so far: nobody" in text
        status, text = shell("--endpoint", address, "--cluster", "c0ffee")
        assert status == 1 and "not of c0ffee" in text
        assert shell("--endpoint", address, "--cluster", "mine")[0] == 2, "no id"
        status, text = shell("--endpoint", address, "--name", "b")
        assert (status, text.splitlines()) == (
            1,
            ["stopped: no member or learner has the name b: there are a; restarted so far: nobody"],
        )


def test_nodes_of_two_clusters_that_have_one_name_are_told_apart() -> None:
    with a_node() as one, a_node() as other:
        for addresses in ((one, other), (other, one)):
            found = asyncio.run(statuses_of(*addresses))
            assert list(found) == ["a", f"a at {addresses[1]}"]
            words = [word for address in addresses for word in ("--endpoint", address)]
            status, text = shell(*words, "--patience", "0.3")
            assert status == 1 and f"a at {addresses[1]} is of cluster" in text


def test_the_command_runs_what_it_is_told_for_each_member(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two(restart: Any, *endpoints: str, **_: Any) -> list[str]:
        assert endpoints == ("here:1",)
        await restart("b c")
        await restart("a")
        return ["b c", "a"]

    monkeypatch.setattr("phalanx.cli.roll.rolling_restart", two)
    status, text = shell("--endpoint", "here:1", "--command", "test {name} != other")
    assert status == 0
    assert text.splitlines() == ["restarting b c", "restarting a", "restarted: b c a"], "a name is one word, no shell"
    status, text = shell("--endpoint", "here:1", "--command", "test {name} = other")
    assert status == 1
    assert "failed with exit status 1" in text
    status, text = shell("--endpoint", "here:1", "--command", "no-such-program {name}")
    assert (status, "stopped" in text) == (1, True)
    assert shell("--endpoint", "here:1", "--command", "restart everything")[0] == 2


def test_where_nobody_answers_the_command_says_why() -> None:
    words = ["roll", "-e", "127.0.0.1:9", "--patience", "0.1"]
    done = CliRunner().invoke(command_line(["roll"]), words)
    assert done.exit_code == 1
    assert "nobody answers: " in done.stderr and "127.0.0.1:9: nobody listens there" in done.stderr
