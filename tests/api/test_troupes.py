"""Group calls in programs: what is called is executed once by every host, and errors say whether it happened."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, assert_type

import pytest

import phalanx
from phalanx.api import troupes
from phalanx.calls.procedures import ARGUMENTS_BYTES_MAX, RESULT_BYTES_MAX


class Sensor:
    """At each host another temperature."""

    def __init__(self, celsius: float) -> None:
        self.celsius = celsius
        self.asked: list[str] = []
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        self.cancelled = asyncio.Event()

    @phalanx.procedure
    def temperature(self, room: str) -> float:
        self.asked.append(room)
        return self.celsius

    @phalanx.procedure
    def least(self, celsius: float) -> float:
        if self.celsius < celsius:
            raise ValueError(f"{self.celsius} is too cold")
        return self.celsius

    @phalanx.procedure(combine=max)
    async def highest(self) -> float:
        return self.celsius

    @phalanx.procedure
    async def forever(self) -> None:
        self.begun.put_nowait(None)
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    @phalanx.procedure
    def leave(self) -> None:
        sys.exit(3)

    @phalanx.procedure
    async def leave_later(self) -> None:
        sys.exit(3)

    @phalanx.procedure
    def large(self, data: bytes, copies: int) -> bytes:
        return data * copies


Test = Callable[[phalanx.Cluster, dict[str, Sensor]], Coroutine[Any, Any, None]]


@asynccontextmanager
async def sensors(count: int = 3, hosts: str = "abc") -> AsyncIterator[tuple[phalanx.Cluster, dict[str, Sensor]]]:
    async with phalanx.local(count) as cluster:
        here = {name: Sensor(20.0 + index) for index, name in enumerate(hosts)}
        await asyncio.gather(*(cluster[name].serve(sensor) for name, sensor in here.items()))
        yield cluster, here


def run(test: Test, count: int = 3, hosts: str = "abc") -> None:
    async def inside() -> None:
        async with asyncio.timeout(60), sensors(count, hosts) as (cluster, here):
            await test(cluster, here)

    asyncio.run(inside())


def test_every_host_executes_once_and_answers() -> None:
    async def test(cluster: phalanx.Cluster, here: dict[str, Sensor]) -> None:
        replies = await cluster["a"].troupe(Sensor).call(Sensor.temperature, "attic")
        assert_type(replies, phalanx.Replies[float])
        assert replies == ({"a": 20.0, "b": 21.0, "c": 22.0}, {}, 3)
        assert [sensor.asked for sensor in here.values()] == [["attic"]] * 3

    run(test)


def test_a_process_that_is_no_host_calls_as_well() -> None:
    async def test(cluster: phalanx.Cluster, _: dict[str, Sensor]) -> None:
        troupe = cluster["d"].troupe(Sensor)
        assert (await troupe.call(Sensor.temperature, room="hall")).values == {"a": 20.0, "b": 21.0}
        highest = await troupe.combined(Sensor.highest)
        assert_type(highest, float)
        assert highest == 21.0
        first = await troupe.first(Sensor.temperature, "hall")
        assert_type(first, float)
        assert first in (20.0, 21.0)

    run(test, 4, "ab")


def test_what_is_raised_is_raised_at_the_caller() -> None:
    async def test(cluster: phalanx.Cluster, _: dict[str, Sensor]) -> None:
        replies = await cluster["a"].troupe(Sensor).call(Sensor.least, 21.5)
        assert replies.values == {"c": 22.0}
        assert {name: (type(error), str(error)) for name, error in replies.errors.items()} == {
            "a": (ValueError, "20.0 is too cold"),
            "b": (ValueError, "21.0 is too cold"),
        }
        with pytest.raises(ValueError, match="is too cold"):
            await cluster["a"].troupe(Sensor).first(Sensor.least, 100.0)

    run(test)


def test_a_procedure_that_exits_ends_its_call_and_no_process() -> None:
    async def test(cluster: phalanx.Cluster, here: dict[str, Sensor]) -> None:
        troupe = cluster["a"].troupe(Sensor)
        for procedure in (Sensor.leave, Sensor.leave_later):
            errors = (await troupe.call(procedure)).errors
            assert errors.keys() == here.keys() and all("SystemExit" in str(error) for error in errors.values())
        assert len((await troupe.call(Sensor.temperature, "hall")).values) == 3

    run(test)


def test_a_call_can_end_with_some_answers_or_with_a_vote() -> None:
    async def test(cluster: phalanx.Cluster, here: dict[str, Sensor]) -> None:
        here["a"].celsius = here["b"].celsius = 19.0
        troupe = cluster["a"].troupe(Sensor)
        assert len((await troupe.some(2).call(Sensor.temperature, "attic")).values) >= 2
        assert len((await troupe.majority.call(Sensor.temperature, "attic")).values) >= 2
        voted = await troupe.voted(Sensor.temperature, "attic")
        assert_type(voted, float)
        assert voted == 19.0

    run(test)


def test_without_a_majority_there_is_no_vote_and_the_error_has_the_answers() -> None:
    async def test(cluster: phalanx.Cluster, _: dict[str, Sensor]) -> None:
        with pytest.raises(phalanx.NoMajority, match="delivered to all its hosts; 3 of 3") as caught:
            await cluster["a"].troupe(Sensor).voted(Sensor.temperature, "attic")
        assert caught.value.values == {"a": 20.0, "b": 21.0, "c": 22.0}

    run(test)


def test_a_call_that_is_made_jointly_is_executed_once_and_answers_all() -> None:
    async def test(cluster: phalanx.Cluster, here: dict[str, Sensor]) -> None:
        calls = [p.troupe(Sensor).jointly("rooms", 1).call(Sensor.temperature, "attic") for p in cluster.processes]
        answers = await asyncio.gather(*calls)
        assert [each.values for each in answers] == [{"a": 20.0, "b": 21.0, "c": 22.0}] * 3
        assert [sensor.asked for sensor in here.values()] == [["attic"]] * 3

    run(test)


def test_too_few_answers_are_an_error_that_says_that_it_happened() -> None:
    async def test(cluster: phalanx.Cluster, here: dict[str, Sensor]) -> None:
        troupe = cluster["a"].troupe(Sensor)
        with pytest.raises(phalanx.RepliesMissing, match=r"delivered to all its hosts; \d of 3 hosts answered"):
            await troupe.some(4).call(Sensor.temperature, "attic")
        await troupe.call(Sensor.temperature, "hall")
        assert [sensor.asked for sensor in here.values()] == [["attic", "hall"]] * 3

    run(test)


def test_what_takes_longer_than_the_caller_waits_is_cancelled() -> None:
    async def test(cluster: phalanx.Cluster, here: dict[str, Sensor]) -> None:
        with pytest.raises(phalanx.RepliesMissing):
            await cluster["a"].troupe(Sensor).within(0.3).call(Sensor.forever)
        for sensor in here.values():
            await sensor.cancelled.wait()

    run(test)


def test_what_the_caller_does_not_want_any_more_is_cancelled_at_the_hosts() -> None:
    async def test(cluster: phalanx.Cluster, here: dict[str, Sensor]) -> None:
        call = asyncio.ensure_future(cluster["d"].troupe(Sensor).within(1000).call(Sensor.forever))
        for sensor in here.values():
            await sensor.begun.get()
        call.cancel()
        for sensor in here.values():
            await sensor.cancelled.wait()

    run(test, 4)


def test_orphans_are_cancelled_when_their_caller_has_failed() -> None:
    async def test(cluster: phalanx.Cluster, here: dict[str, Sensor]) -> None:
        call = asyncio.ensure_future(cluster["d"].troupe(Sensor).within(1000).call(Sensor.forever))
        for sensor in here.values():
            await sensor.begun.get()
        await cluster.kill("d")
        with pytest.raises(phalanx.OutcomeUnknown, match="closed"):
            await call
        for sensor in here.values():
            await sensor.cancelled.wait()

    run(test, 4)


def test_a_troupe_that_nobody_hosts_was_not_called() -> None:
    async def test(cluster: phalanx.Cluster, _: dict[str, Sensor]) -> None:
        with pytest.raises(phalanx.Unavailable, match="was not called"):
            await cluster["a"].troupe(Sensor, "others").within(0.1).call(Sensor.forever)

    run(test)


def test_limits_are_said() -> None:
    async def test(cluster: phalanx.Cluster, _: dict[str, Sensor]) -> None:
        troupe = cluster["a"].troupe(Sensor)
        with pytest.raises(phalanx.TooLarge, match="bytes of arguments, the limit is"):
            await troupe.call(Sensor.large, bytes(ARGUMENTS_BYTES_MAX), 1)
        replies = await troupe.call(Sensor.large, bytes(1024), RESULT_BYTES_MAX // 1024)
        assert not replies.values
        assert all("the limit is" in str(error) for error in replies.errors.values())

    run(test)


def test_a_host_runs_no_more_procedures_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(troupes, "RUNNING_MAX", 2)

    async def test(cluster: phalanx.Cluster, here: dict[str, Sensor]) -> None:
        troupe = cluster["a"].troupe(Sensor)
        two = [asyncio.ensure_future(troupe.call(Sensor.forever)) for _ in range(2)]
        for sensor in [*here.values()] * 2:
            await sensor.begun.get()
        replies = await troupe.call(Sensor.forever)
        assert {str(error) for error in replies.errors.values()} == {"2 procedures run at this host already"}
        for call in two:
            call.cancel()

    run(test)


def test_classes_and_calls_that_make_no_sense_are_refused() -> None:
    class Nothing:
        pass

    class Untyped:
        @phalanx.procedure
        def thing(self, x) -> int:  # type: ignore[no-untyped-def]  # that is the mistake
            return int(x)

    class Twice:
        @phalanx.procedure(name="one")
        def thing(self) -> int:
            return 1

        @phalanx.procedure(name="one")
        def other(self) -> int:
            return 1

    async def test(cluster: phalanx.Cluster, _: dict[str, Sensor]) -> None:
        process = cluster["a"]
        for instance, text in ((Nothing(), "no method marked"), (Untyped(), "type annotation"), (Twice(), "is also")):
            with pytest.raises(phalanx.ConfigurationError, match=text):
                await process.serve(instance)
        with pytest.raises(phalanx.ConfigurationError, match="already"):
            await process.serve(Sensor(1))
        with pytest.raises(phalanx.Refused, match="other settings: order=total there and fifo here"):
            await cluster["b"].serve(Sensor(1), order="fifo")
        with pytest.raises(phalanx.ConfigurationError, match="combine"):
            await process.troupe(Sensor).combined(Sensor.temperature, "attic")
        with pytest.raises(phalanx.ConfigurationError, match="is at least 1, not 0"):
            process.troupe(Sensor).some(0)
        with pytest.raises(phalanx.ConfigurationError, match="joint call"):
            process.troupe(Sensor).jointly("", 1)
        with pytest.raises(TypeError):
            await process.troupe(Sensor).call(Sensor.temperature)  # type: ignore[call-overload]  # that is the mistake

    run(test)
    with pytest.raises(phalanx.ConfigurationError, match="version"):
        phalanx.procedure(version=0)


def test_a_host_that_comes_later_executes_what_is_called_later() -> None:
    async def test(cluster: phalanx.Cluster, _: dict[str, Sensor]) -> None:
        troupe = cluster["a"].troupe(Sensor)
        await troupe.call(Sensor.temperature, "attic")
        late = Sensor(5.0)
        await cluster["c"].serve(late)
        assert (await troupe.call(Sensor.temperature, "hall")).values == {"a": 20.0, "b": 21.0, "c": 5.0}
        assert late.asked == ["hall"]

    run(test, 3, "ab")
