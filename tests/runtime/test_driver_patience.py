"""runtime.driver: a message that is not worth a turn waits for the next one (`model.machine.Patient`)."""

from typing import Any

import pytest

from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import Output, Patient, Received
from phalanx.runtime.clock import system_clock
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.driver import Driver
from phalanx.runtime.polling import BusyPoll
from tests.runtime.test_driver import Outbox, turns
from tests.runtime.toys import TEXT, Scripted, Text, on_loop

WAITS, GOES = (Received("you:2", Text(word)) for word in ("wait", "go"))


class Calm(Scripted, Patient):
    """Messages that say "wait" can wait."""

    def can_wait(self, event: Received) -> bool:
        self.asked.append(event)
        return event == WAITS

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[Received] = []


async def started(machine: Calm, busy_poll: int = 0) -> Driver:
    """A driver that has made its first turn."""
    driver = Driver(machine, TEXT, Outbox(), MemoryDisk(), print, busy_poll=busy_poll)
    driver.start()
    await turns(machine, 1)
    return driver


def say(driver: Driver, *events: Received) -> None:
    for event in events:
        driver.received(event.source, TEXT.encode(event.message))


def test_a_message_that_can_wait_is_in_the_next_turn_whatever_that_is_due_to() -> None:
    async def work() -> None:
        machine = Calm()
        driver = await started(machine)
        say(driver, WAITS, WAITS)
        assert not driver._turn_due
        say(driver, GOES, WAITS, GOES)
        await turns(machine, 2)
        assert machine.turns[1] == [WAITS, WAITS, GOES, WAITS, GOES]
        assert machine.asked == [WAITS, WAITS, GOES], "nobody asks when a turn is due"
        say(driver, WAITS)
        driver.submit("request")
        await turns(machine, 3)
        assert machine.turns[2] == [WAITS, "request"]
        await driver.close()

    on_loop(work)


def test_a_message_that_can_wait_does_so_no_longer_than_the_deadline() -> None:
    async def work() -> None:
        def step(events: list[Any], _: Output, now: Instant) -> None:
            machine.deadline = None if events else now.mono + 2 * MILLISECOND

        machine = Calm(step)
        driver = await started(machine)
        assert machine.deadline is not None
        due = machine.deadline
        say(driver, WAITS)
        await turns(machine, 2)
        assert machine.turns[1] == [WAITS]
        assert system_clock().mono >= due
        await driver.close()

    on_loop(work)


def test_for_busy_polling_a_message_that_waits_is_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the loop sleeps before what must follow has come."""

    async def work() -> None:
        seen: list[str] = []
        for what in ("begun", "ended"):
            monkeypatch.setattr(BusyPoll, what, lambda _, what=what: seen.append(what))
        machine = Calm()
        driver = await started(machine, busy_poll=MILLISECOND)
        assert seen == ["begun", "ended"]
        say(driver, WAITS)
        assert seen == 2 * ["begun", "ended"] and len(machine.turns) == 1
        say(driver, GOES, WAITS)
        assert len(seen) == 4, "a turn is due, which is told of by itself"
        await driver.close()

    on_loop(work)


def test_a_message_that_waits_when_the_driver_is_closed_is_gone_with_it() -> None:
    async def work() -> None:
        machine = Calm()
        driver = await started(machine)
        say(driver, WAITS)
        await driver.close()
        assert machine.turns == [[]]

    on_loop(work)
