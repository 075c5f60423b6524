"""What the log says of connections that were dropped: a few lines, however many they are and however long it goes on."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from phalanx.runtime import drops
from phalanx.runtime.drops import LINES_A_SECOND, LINES_MAX, SUMMARY_S, DropLog


class Clock:
    """A loop that has only a time and timers, which the test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def get_running_loop(self) -> "Clock":
        return self

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, act: Callable[[], None]) -> "Timer":
        self.timers.append((self.now + seconds, act))
        return Timer(self, self.timers[-1])

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for timer in [each for each in self.timers if each[0] <= self.now]:
            self.timers.remove(timer)
            timer[1]()


class Timer:
    def __init__(self, clock: Clock, timer: tuple[float, Callable[[], None]]) -> None:
        self._clock, self._timer = clock, timer

    def cancel(self) -> None:
        if self._timer in self._clock.timers:
            self._clock.timers.remove(self._timer)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(drops, "asyncio", clock)
    return clock


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged since the last time."""
    caplog.set_level(logging.WARNING)

    def taken() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return taken


def test_a_few_have_a_line_each(clock: Clock, lines: Callable[[], list[str]]) -> None:
    log = DropLog()
    for number in range(LINES_A_SECOND):
        log(f"n:{number}", "no handshake in time")
    assert lines() == [f"dropped the connection of n:{n}: no handshake in time" for n in range(LINES_A_SECOND)]
    log.sum_up()
    assert lines() == [] and clock.timers == []


def test_what_is_too_much_for_a_second_is_summed_up_though_nothing_follows(
    clock: Clock, lines: Callable[[], list[str]]
) -> None:
    log = DropLog()
    for number in range(LINES_A_SECOND + 3):
        log(f"n:{number}", f"a frame of {number} bytes; the limit here is 5")
    log("m:1", "not a Phalanx frame: it begins with b'GET /'")
    assert len(lines()) == LINES_A_SECOND
    clock.pass_by(SUMMARY_S)
    assert lines() == [
        "dropped 4 more connections: 3 such as that of n:22: a frame of 22 bytes; the limit here is 5; "
        "1 such as that of m:1: not a Phalanx frame: it begins with b'GET /'"
    ]
    clock.pass_by(SUMMARY_S)
    assert lines() == [] and clock.timers == []


@pytest.mark.parametrize("a_second", [1, 1000])
def test_a_storm_that_lasts_costs_two_lines_in_ten_seconds(
    a_second: int, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    log = DropLog()
    for _ in range(300):
        for number in range(a_second):
            log(f"n:{number}", "no handshake in time")
        clock.pass_by(1.0)
    lines()
    for _ in range(int(10 * SUMMARY_S)):
        for number in range(a_second):
            log(f"n:{number}", "no handshake in time")
        clock.pass_by(1.0)
    told = lines()
    assert len(told) <= 21
    assert sum(line.startswith("dropped the connection of n:") for line in told) <= 11
    assert any("more connections" in line for line in told)
    clock.pass_by(LINES_MAX * SUMMARY_S)
    lines()
    log("peer", "bad checksum")
    assert lines() == ["dropped the connection of peer: bad checksum"], "it is over"


def test_a_sum_is_a_line_of_bounded_length(clock: Clock, lines: Callable[[], list[str]]) -> None:
    log = DropLog()
    for _ in range(LINES_A_SECOND):
        log("n", "first")
    for number in range(500):
        log("n", chr(ord("a") + number % 26) * 1000)
    lines()
    clock.pass_by(SUMMARY_S)
    [line] = lines()
    assert len(line) < 3000 and line.startswith("dropped 500 more connections: 3")


def test_a_real_loop_runs_its_timer(lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drops, "SUMMARY_S", 0.001)

    async def work() -> None:
        log = DropLog()
        for _ in range(2 * LINES_A_SECOND + 1):
            log("n", "x")
        async with asyncio.timeout(20):
            while log._timer is not None:
                await asyncio.sleep(0)

    asyncio.run(work())
    assert any("more connections" in line for line in lines())
