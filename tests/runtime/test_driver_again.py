"""runtime.driver: a turn of two steps (`Output.again`), and what leaves before deliveries are handed on."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from phalanx.model.clock import Instant
from phalanx.model.machine import Output, Received, Send
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.driver import Driver
from tests.runtime.test_driver import Outbox, say, turns
from tests.runtime.toys import TEXT, ManualDisk, ManualLog, Scripted, Text, on_loop


def test_a_machine_that_asks_is_stepped_again_in_its_turn_when_what_it_said_is_on_its_way() -> None:
    """model/machine.py: `Output.again`."""

    async def work() -> None:
        seen: list[tuple[int, list[str], Instant]] = []

        def step(events: list[Any], output: Output, now: Instant) -> None:
            seen.append((transport.flushes, list(delivered), now))
            if events == ["go"]:
                output.eager += say("receipt")
                output.deliveries.append("first")
                output.again = True
            elif len(seen) == 3:
                output.deliveries.append("second")

        machine, transport = Scripted(step), Outbox()
        delivered: list[str] = []
        flushed_before: list[int] = []

        def take(deliveries: list[Any]) -> None:
            delivered.extend(deliveries)
            flushed_before.append(transport.flushes)

        driver = Driver(machine, TEXT, transport, MemoryDisk(), take)
        driver.start()
        await turns(machine, 1)
        driver.submit("go")
        await asyncio.sleep(0)  # one turn
        assert machine.turns == [[], ["go"], []]
        assert transport.sent == [(("you:2",), "receipt")]
        (_, _, _), (flushes, before, now), (flushes_then, then, now_then) = seen
        assert (before, then, now_then) == ([], ["first"], now)
        assert flushes_then == flushed_before[0] == flushes + 1, "it left before anything was delivered here"
        assert delivered == ["first", "second"]
        await driver.close()

    on_loop(work)


def test_what_comes_meanwhile_waits_for_a_turn_with_the_clocks_read_anew() -> None:
    async def work() -> None:
        seen: list[tuple[list[Any], Instant]] = []

        def step(events: list[Any], output: Output, now: Instant) -> None:
            seen.append((events, now))
            if events == ["go"]:
                output.eager += [Send(("me:1",), Text("to myself"))]
                output.deliveries.append("first")
                output.again = True

        machine = Scripted(step)
        driver = Driver(machine, TEXT, Outbox(), MemoryDisk(), lambda _: driver.submit("wish"))
        driver.start()
        await turns(machine, 1)
        driver.submit("go")
        await turns(machine, 4)
        (_, _), (_, before), (nothing, then), (events, later) = seen
        assert (nothing, then) == ([], before)
        assert events == [Received("me:1", Text("to myself")), "wish"]
        assert later.mono > before.mono
        await driver.close()

    on_loop(work)


def test_nothing_is_delivered_once_an_append_has_failed() -> None:
    class Broken(ManualLog):
        def append(self, records: Sequence[Any], forget: int | None, done: Any) -> None:  # noqa: ARG002  whatever it is
            done(OSError("the disk is gone"))

    async def work() -> None:
        def step(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            output.appends.append("record")
            output.deliveries.append("message")

        delivered: list[Any] = []
        driver = Driver(Scripted(step), TEXT, Outbox(), MemoryDisk(), delivered.extend, log_disk=Broken())
        driver.start()
        with pytest.raises(OSError, match="the disk is gone"):
            await driver.closed
        assert delivered == []

    on_loop(work)


def test_a_machine_is_not_stepped_again_once_the_driver_has_stopped() -> None:
    async def work() -> None:
        def step(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            output.writes.append("record")
            output.again = True

        class Broken(ManualDisk):
            def store(self, record: Any, done: Any) -> None:  # noqa: ARG002  it fails whatever it is
                done(OSError("the disk is gone"))

        machine = Scripted(step)
        driver = Driver(machine, TEXT, Outbox(), Broken(), print)
        driver.start()
        with pytest.raises(OSError, match="the disk is gone"):
            await driver.closed
        assert machine.turns == [[]]

    on_loop(work)
