"""Who has left, was closed, broke or is of another loop says so; what is left in the middle goes on there."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import phalanx
from phalanx.api.local import Cluster
from phalanx.errors import Closed
from phalanx.runtime.loop import run
from tests.api.cluster import PATIENCE_S
from tests.api.test_arguments import Counter, among, ignore, next_of
from tests.api.test_process_arguments import OwnBytes, Sensor, Stray


def test_calls_under_way_end_with_a_client_or_a_node_that_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError("on fire")

    async def work(cluster: Cluster) -> None:
        client, process = cluster.client(), cluster["a"]
        call = asyncio.create_task(client.object(Counter, "nowhere").call(Counter.add, 1))
        troupe = asyncio.create_task(process.troupe(Sensor, "nobody").call(Sensor.measure, "attic"))
        await asyncio.sleep(0)
        monkeypatch.setattr(client._machine, "step", broken)
        monkeypatch.setattr(process._node, "step", broken)
        for under_way in (call, troupe):
            with pytest.raises(phalanx.OutcomeUnknown, match="has stopped: on fire"):
                await under_way
        for end in (client.close, lambda: cluster.kill("a")):
            with pytest.raises(OSError, match="on fire"):
                await end()
        cluster._clients.clear()

    among(1, work)


# --- the life of a process --------------------------------------------------------------------------------------------


async def read(group: phalanx.Group) -> None:
    async for _ in group:
        pass


def test_who_has_left_or_was_closed_says_so_and_keeps_nobody_waiting() -> None:
    async def work(cluster: Cluster) -> None:
        process = cluster["a"]
        group = await process.group("log")
        reading = asyncio.create_task(read(group))
        await process.leave()
        await reading
        with pytest.raises(phalanx.Unavailable, match="nothing was sent"):
            await group.send(b"late")
        for _ in range(2):
            for ask in (
                lambda: process.group("more"),
                lambda: process.host(Counter),
                lambda: process.serve(Sensor()),
                lambda: process.troupe(Sensor).call(Sensor.measure, "attic"),
                process.joined,
            ):
                with pytest.raises(Closed, match="process a has left the cluster or was closed"):
                    await ask()
            await process.close()
        with pytest.raises(Closed, match="process a was closed, and its client"):
            process.client()

    among(2, work)


@pytest.mark.parametrize("debug", [False, True])
def test_a_process_and_its_groups_are_of_their_loop(debug: bool) -> None:
    async def work() -> None:
        async with asyncio.timeout(PATIENCE_S), phalanx.local(1) as cluster:
            process = cluster["a"]
            group = await process.group("log")
            asks: list[Callable[[], Any]] = [
                lambda: process.group("more"),
                lambda: process.host(Counter),
                lambda: process.serve(Sensor()),
                lambda: process.troupe(Sensor).call(Sensor.measure, "attic"),
                lambda: group.send(b"x"),
                lambda: read(group),
                group.global_state,
                process.joined,
                process.wait,
                process.leave,
                process.close,
                lambda: cluster.kill("a"),
                lambda: as_coroutine(cluster.client),
                lambda: as_coroutine(process.client),
            ]

            def elsewhere() -> None:
                for ask in asks:
                    with pytest.raises(RuntimeError, match="of another event loop"):
                        run(ask())

            await asyncio.to_thread(elsewhere)
            await group.send(b"good", delivered=True)

    run(work(), debug=debug)


async def as_coroutine(call: Callable[[], Any]) -> Any:
    return call()


def test_hosting_twice_at_once_gives_two_handles() -> None:
    async def work(cluster: Cluster) -> None:
        process = cluster["a"]
        one, other = await asyncio.gather(process.host(Counter), process.host(Counter))
        assert await one.call(Counter.add, 1) == 1 and await other.call(Counter.add, 1) == 2
        given_up, kept = asyncio.create_task(process.host(Stray)), asyncio.create_task(process.host(Stray))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await (await kept).call(Stray.add, 1) == 1

    among(1, work)


def test_a_troupe_whose_founding_was_given_up_can_be_served() -> None:
    async def work(cluster: Cluster) -> None:
        process = cluster["a"]
        serving = asyncio.create_task(process.serve(Sensor()))
        await asyncio.sleep(0)
        serving.cancel()
        await asyncio.wait((serving,))
        await process.serve(Sensor())
        assert await process.troupe(Sensor).first(Sensor.measure, "attic") == 5

    among(1, work)


# --- iterations that are left -----------------------------------------------------------------------------------------


def test_an_iteration_that_is_left_loses_nothing_and_the_next_begins_at_once() -> None:
    async def work(cluster: Cluster) -> None:
        a, b = [await process.group("log") for process in cluster.processes]
        for number in range(6):  # in one batch
            await a.send(b"%d" % number)
        await a.send(b"last", delivered=True)
        assert [await next_of(b) for _ in range(7)] == [b"0", b"1", b"2", b"3", b"4", b"5", b"last"]

    among(2, work)


def test_what_is_read_bit_by_bit_is_room_for_the_senders() -> None:
    async def work(cluster: Cluster) -> None:
        a, b = [await process.group("log") for process in cluster.processes]
        reading = asyncio.create_task(read(a))
        for number in range(60):
            for _ in range(4):
                await a.send(bytes(1024))
            await a.send(b"%d" % number)
            while await next_of(b) != b"%d" % number:
                pass
        reading.cancel()

    among(2, work, limits=phalanx.Limits(window=16 << 10, queue=16 << 10))


def test_a_group_that_is_being_read_has_one_reader() -> None:
    async def work(cluster: Cluster) -> None:
        group = await cluster["a"].group("log")
        reading = asyncio.create_task(read(group))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="is iterated already"):
            await next_of(group)
        reading.cancel()

    among(1, work)


def test_a_state_that_could_not_be_restored_is_restored_by_the_next_iteration() -> None:
    async def work(cluster: Cluster) -> None:
        given: list[bytes] = []

        def restore(data: bytes) -> None:
            given.append(data)
            if len(given) == 1:
                raise OSError("no room")

        first = await cluster["a"].group("log", snapshot=lambda: b"state", restore=ignore)
        reading = asyncio.create_task(read(first))
        second = await cluster["b"].group("log", snapshot=bytes, restore=restore)
        with pytest.raises(OSError, match="no room"):
            await read(second)
        await first.send(b"more")
        assert await next_of(second) == b"more"
        assert given == [b"state", b"state"]
        reading.cancel()

    among(2, work)


def test_bytes_of_a_class_of_their_own_are_sent_as_bytes() -> None:
    async def work(cluster: Cluster) -> None:
        a, b = [await process.group("log") for process in cluster.processes]
        await a.send(OwnBytes(b"own"))
        assert await next_of(b) == b"own"

    among(2, work)
