"""runtime.driver: facts in once per turn, words out no earlier than they are true (DESIGN section 3)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from phalanx.errors import ClusterSuperseded
from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import Drop, LinkDown, Output, Received, Send
from phalanx.runtime.clock import system_clock
from phalanx.runtime.contract import Receiver
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.driver import Driver
from phalanx.runtime.memory import MemoryNetwork
from phalanx.wire.errors import CodecError
from tests.runtime.toys import PATIENCE_S, TEXT, ManualDisk, Scripted, Text, on_loop


class Outbox:
    """A transport that keeps what it is given."""

    address = "me:1"

    def __init__(self) -> None:
        self.sent: list[tuple[tuple[str, ...], str]] = []
        self.flushes = 0
        self.dropped: list[tuple[str, str]] = []
        self.is_closed = False

    def start(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def connect(self, address: str) -> None:
        raise NotImplementedError

    def send(self, to: Sequence[str], body: bytes) -> None:
        self.sent.append((tuple(to), TEXT.decode(body).text))

    def flush(self) -> None:
        self.flushes += 1

    def drop(self, address: str, reason: str) -> None:
        self.dropped.append((address, reason))

    async def close(self) -> None:
        self.is_closed = True


async def turns(machine: Scripted, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(machine.turns) < count:
            await asyncio.sleep(0)


def say(*words: str) -> list[Send]:
    return [Send(("you:2",), Text(word)) for word in words]


def test_all_events_of_a_turn_make_one_step_and_the_clock_is_read_after_them() -> None:
    async def work() -> None:
        readings: list[int] = []

        def clock() -> Instant:
            readings.append(len(driver._events))
            return system_clock()

        machine, transport = Scripted(), Outbox()
        driver = Driver(machine, TEXT, transport, MemoryDisk(), print, clock=clock)
        driver.start()
        await turns(machine, 1)
        driver.submit("request")
        driver.received("you:2", TEXT.encode(Text("hi")))
        driver.link(LinkDown("you:2"))
        await turns(machine, 2)
        assert machine.turns == [[], ["request", Received("you:2", Text("hi")), LinkDown("you:2")]]
        assert readings == [0, 0]
        await driver.close()

    on_loop(work)


def test_what_depends_on_a_write_leaves_after_its_fsync_in_order_and_one_fsync_serves_many() -> None:
    """SCENARIOS 2, 3; model/machine.py: release discipline and group commit."""

    async def work() -> None:
        def step(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            for event in events:
                output.eager += say(f"eager {event}")
                output.sends += say(f"send {event}")
                output.deliveries.append(event)
                if event != "c":
                    output.writes += [f"old {event}", f"record {event}"]

        machine, transport, disk = Scripted(step), Outbox(), ManualDisk()
        delivered: list[Any] = []
        driver = Driver(machine, TEXT, transport, disk, delivered.extend)
        driver.start()
        for number, event in enumerate("abcd"):
            await turns(machine, number + 1)
            driver.submit(event)
        await turns(machine, 5)

        def sent() -> list[str]:
            return [text for _, text in transport.sent]

        eager = [f"eager {event}" for event in "abcd"]
        assert (sent(), delivered) == (eager, [])
        assert [record for record, _ in disk.under_way] == ["record a"]
        disk.finish()
        assert (sent(), delivered) == ([*eager, "send a"], ["a"])
        assert [record for record, _ in disk.under_way] == ["record d"]
        disk.finish()
        assert (sent(), delivered) == ([*eager, "send a", "send b", "send c", "send d"], ["a", "b", "c", "d"])
        assert disk.stored == ["record a", "record d"]
        await driver.close()

    on_loop(work)


def test_a_machine_hears_its_own_vote_only_when_it_is_durable() -> None:
    """ARCHITECTURE: a vote counts when it is durable."""

    async def work() -> None:
        def step(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            if events == ["vote"]:
                output.writes.append("voted")
                output.sends.append(Send(("you:2", "me:1"), Text("yes")))

        machine, transport, disk = Scripted(step), Outbox(), ManualDisk()
        driver = Driver(machine, TEXT, transport, disk, print)
        driver.submit("vote")
        driver.start()
        await turns(machine, 1)
        assert transport.sent == []
        disk.finish()
        await turns(machine, 2)
        assert machine.turns == [["vote"], [Received("me:1", Text("yes"))]]
        assert transport.sent == [(("you:2",), "yes")]
        await driver.close()

    on_loop(work)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("other_error", [False, True])
def test_a_failed_fsync_stops_the_driver_and_nothing_held_ever_leaves(other_error: bool) -> None:
    """SCENARIOS 8: full disk."""

    async def work() -> None:
        def step(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            assert events != ["bug"], "a bug"
            if events:
                output.writes.append("record")
                output.sends += say("promise")

        machine, transport, disk = Scripted(step), Outbox(), ManualDisk()
        driver = Driver(machine, TEXT, transport, disk, print)
        driver.submit("go")
        driver.start()
        await turns(machine, 1)
        if other_error:
            driver.submit("bug")
            with pytest.raises(AssertionError, match="a bug"):
                await driver.closed
            assert not disk.is_closed
            disk.finish()
        else:
            disk.finish(OSError("no space left on device"))
            with pytest.raises(OSError, match="no space left"):
                await driver.closed
        driver.submit("more")
        with pytest.raises((OSError, AssertionError)):
            await driver.close()
        assert transport.sent == []
        assert transport.is_closed
        assert disk.is_closed
        assert len(machine.turns) == 1

    on_loop(work)


def test_what_a_machine_drops_costs_the_connection_it_came_from_and_the_others_of_that_turn_are_heard() -> None:
    """model/machine.py: `Output.drops`."""

    async def work() -> None:
        def step(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            output.drops += [Drop(event.source, "a lie") for event in events if event.message.text == "lie"]

        machine, transport = Scripted(step), Outbox()
        driver = Driver(machine, TEXT, transport, MemoryDisk(), print)
        driver.start()
        for source, text in (("a:1", "one"), ("b:1", "lie"), ("c:1", "two")):
            driver.received(source, TEXT.encode(Text(text)))
        await turns(machine, 1)
        assert transport.dropped == [("b:1", "a lie")]
        assert [event.source for turn in machine.turns for event in turn] == ["a:1", "b:1", "c:1"]
        with pytest.raises(CodecError):
            driver.received("d:1", b"\xc1")
        await driver.close()

    on_loop(work)


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, GeneratorExit])
def test_whatever_the_application_raises_stops_the_driver_too(error: type[BaseException]) -> None:
    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # it is told of what is no Exception

        def step(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            output.deliveries += events

        def take(deliveries: list[Any]) -> None:
            raise error(deliveries)

        driver = Driver(Scripted(step), TEXT, Outbox(), MemoryDisk(), take)
        driver.start()
        driver.submit("x")
        await asyncio.wait((driver.closed,), timeout=PATIENCE_S)
        with pytest.raises(error, match="x"):
            driver.closed.result()

    on_loop(work)


def test_the_machine_is_stepped_at_its_deadline_and_not_before() -> None:
    """A deadline that moves away, and one that comes nearer."""

    async def work() -> None:
        at: list[tuple[int, int | None]] = []

        def step(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            at.append((now.mono, machine.deadline))
            for event in events:
                machine.deadline = now.mono + event * MILLISECOND
            if not events:
                machine.deadline = None

        machine = Scripted(step)
        driver = Driver(machine, TEXT, Outbox(), MemoryDisk(), print)
        driver.start()
        for number, milliseconds in enumerate((3_600_000, 4, 12)):
            await turns(machine, number + 1)
            driver.submit(milliseconds)
        await turns(machine, 5)
        assert machine.turns == [[], [3_600_000], [4], [12], []]
        woken, deadline = at[-1]
        assert deadline is not None
        assert woken >= deadline
        await driver.close()

    on_loop(work)


def test_an_orderly_end_waits_for_the_disk_and_says_what_was_promised() -> None:
    async def work() -> None:
        def step(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            if events:
                output.writes.append("record")
                output.sends += say("promise")

        machine, transport, disk = Scripted(step), Outbox(), ManualDisk()
        driver = Driver(machine, TEXT, transport, disk, print)
        driver.submit("go")
        driver.start()
        await turns(machine, 1)
        closing = asyncio.ensure_future(driver.close())
        await asyncio.sleep(0)
        assert (disk.under_way != [], disk.is_closed, transport.sent) == (True, False, [])
        disk.finish()
        await closing
        assert transport.sent == [(("you:2",), "promise")]
        assert disk.is_closed
        assert transport.is_closed

    on_loop(work)


@pytest.mark.parametrize("is_bug", [True, False])
def test_only_a_bug_has_a_traceback_in_the_log(caplog: pytest.LogCaptureFixture, is_bug: bool) -> None:
    """What an operator has decided has none: its text says all."""
    error = ValueError("a bug") if is_bug else ClusterSuperseded("start it as a new node")

    async def work() -> None:
        def step(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            raise error

        driver = Driver(Scripted(step), TEXT, Outbox(), MemoryDisk(), print)
        driver.submit("go")
        driver.start()
        with pytest.raises(type(error)):
            await driver.closed
        with pytest.raises(type(error)):
            await driver.close()

    on_loop(work)
    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert str(error) in record.getMessage()
    assert bool(record.exc_info) == is_bug


def test_two_drivers_on_a_memory_network_talk() -> None:
    async def work() -> None:
        network = MemoryNetwork()
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def ask(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            for event in events:
                if event == "go":
                    output.sends.append(Send(("b",), Text("ping")))
                elif isinstance(event, Received):
                    output.deliveries.append(event.message.text)

        def answer(events: list[Any], output: Output, now: Instant) -> None:  # noqa: ARG001  the contract of a step
            output.sends += [Send((e.source,), Text(e.message.text + "!")) for e in events if isinstance(e, Received)]

        two = Driver(Scripted(answer), TEXT, network.transport("b"), MemoryDisk(), print)
        one = Driver(Scripted(ask), TEXT, network.transport("a"), MemoryDisk(), lambda d: done.set_result(d[0]))
        two.start()
        one.start()
        one.submit("go")
        assert await asyncio.wait_for(done, PATIENCE_S) == "ping!"
        await one.close()
        await two.close()

    on_loop(work)
