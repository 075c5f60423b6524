"""runtime.driver with a log: appends gate nothing, and votes are never ahead of them (model/machine.py)."""

import asyncio
from typing import Any

import pytest

from phalanx.model.clock import Instant
from phalanx.model.machine import Journal, Logged, Output
from phalanx.runtime.contract import Disk
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.driver import Driver
from tests.runtime.test_driver import Outbox, say, turns
from tests.runtime.toys import PATIENCE_S, TEXT, ManualDisk, ManualLog, Scripted, on_loop


def appender(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
    """A machine that logs what it is asked to, and votes when told."""
    for event in events:
        match event:
            case ("log", record):
                output.appends.append(record)
                output.eager += say(f"eager {record}")
                output.sends += say(f"send {record}")
            case ("vote", record):
                output.writes.append(record)
                output.sends += say(f"voted {record}")
            case ("apart", record):
                output.apart = True
                output.appends.append(record)
            case ("forget", number):
                output.forget = number
            case "read":
                output.reread = True


def begun(disk: Disk) -> tuple[Scripted, Outbox, ManualLog, Driver]:
    """An `appender` and its driver, which has begun."""
    machine, transport, log = Scripted(appender), Outbox(), ManualLog()
    driver = Driver(machine, TEXT, transport, disk, print, log_disk=log)
    driver.start()
    return machine, transport, log, driver


def test_appends_gate_nothing_share_an_fsync_and_are_told_when_durable() -> None:
    """model/machine.py: memory groups never wait for another group's fsync."""

    async def work() -> None:
        machine, transport, log, driver = begun(MemoryDisk())
        for number, record in enumerate("abc"):
            await turns(machine, number + 1)
            driver.submit(("log", record))
        await turns(machine, 4)
        assert [text for _, text in transport.sent] == [f"{how} {r}" for r in "abc" for how in ("eager", "send")]
        assert log.under_way[0][0] == ["a"]
        log.finish()
        assert log.under_way[0][0] == ["b", "c"], "one fsync for both"
        log.finish()
        await turns(machine, 5)
        assert [e for turn in machine.turns for e in turn if isinstance(e, Logged)] == [Logged(1), Logged(3)]
        await driver.close()
        assert log.is_closed

    on_loop(work)


def test_a_vote_is_not_stored_before_all_that_was_logged_before_it() -> None:
    """SCENARIOS 4: the small state is never ahead of the log."""

    async def work() -> None:
        disk = ManualDisk()
        machine, transport, log, driver = begun(disk)
        await turns(machine, 1)
        for event in (("log", "a"), ("vote", "v"), ("log", "b")):
            driver.submit(event)
        await turns(machine, 2)
        driver.submit(("log", "c"))
        await turns(machine, 3)
        assert not disk.under_way
        log.finish()
        assert [record for record, _ in disk.under_way] == ["v"], "what was logged later does not hold it up"
        assert log.under_way, "and goes on meanwhile"
        disk.finish()
        assert "voted v" in [text for _, text in transport.sent]
        log.finish()
        await driver.close()

    on_loop(work)


def test_a_log_that_fails_stops_the_driver_and_no_vote_is_stored_after_it() -> None:
    """SCENARIOS 8: full disk, or a failed fsync."""

    async def work() -> None:
        disk = ManualDisk()
        machine, transport, log, driver = begun(disk)
        await turns(machine, 1)
        driver.submit(("log", "a"))
        driver.submit(("vote", "v"))
        await turns(machine, 2)
        log.finish(OSError(28, "No space left on device"))
        with pytest.raises(OSError, match="No space left"):
            await driver.closed
        assert not disk.under_way
        assert disk.is_closed
        assert log.is_closed
        assert "voted v" not in [text for _, text in transport.sent]
        with pytest.raises(OSError, match="No space left"):
            await driver.close()

    on_loop(work)


def test_a_log_is_told_to_part_before_it_is_given_what_is_to_be_apart() -> None:
    async def work() -> None:
        machine, _, log, driver = begun(MemoryDisk())
        await turns(machine, 1)
        for number, event in enumerate((("log", "a"), ("log", "b"), ("apart", "c"), ("log", "d"))):
            driver.submit(event)
            await turns(machine, number + 2)
        assert log.parted == [1], "with b still waiting: what comes before in the same append may go with c"
        log.finish()
        log.finish()
        assert log.records == list("abcd")
        await driver.close()

    on_loop(work)


def test_a_machine_reads_its_log_again_once_all_of_it_is_durable() -> None:
    async def work() -> None:
        machine, _, log, driver = begun(MemoryDisk())
        await turns(machine, 1)
        for event in (("log", "a"), "read"):
            driver.submit(event)
        await turns(machine, 2)
        driver.submit(("forget", 1))
        await turns(machine, 3)
        assert log.reads == 0
        log.finish()
        assert log.under_way[0][:2] == ([], 1)
        log.finish()
        await turns(machine, 4)
        heard = [event for turn in machine.turns for event in turn]
        assert Journal(("a",)) in heard
        await driver.close()

    on_loop(work)


def test_a_log_that_cannot_be_read_again_stops_the_driver() -> None:
    """SCENARIOS 8: a machine that is not given its log would wait for ever."""

    async def work() -> None:
        machine, _, log, driver = begun(MemoryDisk())
        await turns(machine, 1)
        log.unreadable = OSError(5, "Input/output error")
        driver.submit("read")
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(OSError, match="Input/output"):
                await driver.closed
        assert log.is_closed

    on_loop(work)


def test_closing_waits_for_what_is_on_its_way_to_the_log() -> None:
    async def work() -> None:
        disk = ManualDisk()
        machine, _, log, driver = begun(disk)
        await turns(machine, 1)
        driver.submit(("log", "a"))
        driver.submit(("vote", "v"))
        await turns(machine, 2)
        closing = asyncio.ensure_future(driver.close())
        await asyncio.sleep(0)
        log.finish()
        disk.finish()
        await closing
        assert (log.records, disk.stored) == (["a"], ["v"])

    on_loop(work)


def test_closing_waits_for_a_log_that_only_forgets() -> None:
    async def work() -> None:
        machine, _, log, driver = begun(MemoryDisk())
        await turns(machine, 1)
        driver.submit(("forget", 1))
        await turns(machine, 2)
        closing = asyncio.ensure_future(driver.close())
        await asyncio.sleep(0)
        log.finish()
        async with asyncio.timeout(PATIENCE_S):
            await closing
        assert log.is_closed

    on_loop(work)
