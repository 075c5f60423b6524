"""runtime.polling: the loop stays awake while news come fast and the core is nobody else's, and no longer."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, cast

import pytest

from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.driver import Driver
from phalanx.runtime.memory import MemoryNetwork
from phalanx.runtime.polling import CROWDED, QUIET_MAX, QUIET_MIN, REASONS_MAX, BusyPoll
from tests.runtime.toys import TEXT, Scripted

MOMENT = 200 * MICROSECOND
LOOK = 5 * MICROSECOND
"""What one question to the kernel takes here."""


class Toy:
    """A loop, its clock and its core: time passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 7 * SECOND
        self.ready: list[Callable[[], None]] = []
        self.given_away = 0
        self.away = LOOK
        """How long others have the core, each time that it is given away."""
        self.poll = BusyPoll(cast("asyncio.AbstractEventLoop", self), MOMENT, lambda: self.now, self.give_away)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def give_away(self) -> None:
        self.given_away += 1
        self.now += self.away

    def turn(self, gap: int = 0, length: int = 50 * MICROSECOND) -> None:
        """One turn, so long after what came before."""
        self.now += gap
        self.poll.due()
        self.poll.begun()
        self.now += length
        self.poll.ended()

    def rest(self) -> int:
        """Nothing comes until the loop sleeps: how often it looked."""
        looks = 0
        while self.ready:
            self.ready.pop()()
            looks += 1
        return looks

    def gap(self, length: int) -> int:
        """As `rest`, and then a turn, so long after the one before."""
        began = self.now
        looks = self.rest()
        self.turn(max(0, length - (self.now - began)))
        return looks


def test_after_a_short_gap_the_loop_looks_for_the_moment_and_no_longer() -> None:
    toy = Toy()
    toy.turn()
    ended = toy.now
    assert toy.rest() > 1
    assert toy.given_away > 1, "whoever shares the core has it in between"
    assert MOMENT <= toy.now - ended <= MOMENT + 2 * LOOK


def test_news_prolong_it_and_the_core_is_not_given_away_for_a_look_that_found_some() -> None:
    toy = Toy()
    toy.turn()
    for _ in range(100):
        assert len(toy.ready) == 1, "one look is due, however many turns there were"
        toy.poll.due()  # it stands behind the look, which stood there when the loop asked the kernel
        toy.ready.pop()()
        toy.turn()
    assert toy.given_away == 0
    assert toy.rest() > 1
    assert toy.given_away > 1


def test_a_node_whose_news_are_far_apart_never_polls() -> None:
    toy = Toy()
    for _ in range(50):
        assert toy.gap(10 * MILLISECOND) == 0


def test_long_gaps_end_it_and_no_more_polls_are_in_vain_than_there_were_short_gaps() -> None:
    toy = Toy()
    for _ in range(3):
        toy.turn(MOMENT // 2)
    looks = [toy.gap(10 * MILLISECOND) for _ in range(10)]
    assert [bool(each) for each in looks] == [True] * 3 + [False] * 7
    for _ in range(100):
        toy.turn(MOMENT // 2)
    looks = [toy.gap(10 * MILLISECOND) for _ in range(20)]
    assert sum(map(bool, looks)) == REASONS_MAX


def test_on_a_crowded_core_it_sleeps_as_usual_and_tries_again_ever_later() -> None:
    toy = Toy()
    toy.away = 3 * MILLISECOND
    quiet: list[int] = []
    toy.turn()
    for _ in range(12):
        assert toy.rest() == 1, "the first question that finds nothing is enough to see it"
        began = toy.now
        while not toy.ready:
            toy.turn()
        quiet.append(toy.now - began)
    assert quiet[0] < 2 * QUIET_MIN
    for shorter, longer in itertools.pairwise(quiet):
        assert longer == pytest.approx(min(2 * shorter, QUIET_MAX), rel=0.02)
    assert quiet[-1] == pytest.approx(QUIET_MAX, rel=0.01)


def test_what_was_crowded_long_ago_is_forgiven() -> None:
    toy = Toy()

    def crowded() -> int:
        toy.away = 2 * CROWDED
        toy.turn()
        toy.rest()
        began = toy.now
        while not toy.ready:
            toy.turn()
        toy.rest()
        return toy.now - began

    for _ in range(5):
        last = crowded()
    assert last > 8 * QUIET_MIN
    toy.away = LOOK
    toy.gap(10 * SECOND)
    for _ in range(3):
        toy.turn()
    assert crowded() < 2 * QUIET_MIN


def quiet_after_stop(toy: Toy, where: str, stopped: int) -> int:
    """The process stands still so long while it polls: for how long it does not poll then."""
    assert toy.ready
    if where == "given away":
        toy.away = stopped
    else:
        toy.now += stopped
    assert toy.rest() == 1
    began = toy.now
    toy.away = LOOK
    while not toy.ready:
        toy.turn(length=stopped // 40)
    return toy.now - began


@pytest.mark.parametrize("where", ["given away", "between"])
def test_who_is_stopped_for_want_of_quota_again_and_again_does_not_use_it_up_any_more(where: str) -> None:
    toy = Toy()
    toy.turn()
    stopped = 50 * MILLISECOND
    quiet = [quiet_after_stop(toy, where, stopped) for _ in range(10)]
    for shorter, longer in itertools.pairwise(quiet):
        assert longer == pytest.approx(min(2 * shorter, 1000 * stopped), rel=0.02)
    assert quiet[-1] == pytest.approx(1000 * stopped, rel=0.01)


def test_a_single_stop_costs_no_more_than_ten_times_its_length() -> None:
    """A collection of garbage, a slow function of the application on this loop, a machine that starts ten programs."""
    toy = Toy()
    toy.turn()
    for _ in range(5):
        assert quiet_after_stop(toy, "between", 20 * MILLISECOND) == pytest.approx(200 * MILLISECOND, rel=0.02)
        toy.gap(2 * SECOND)
        toy.turn()
        toy.rest()
        toy.turn()


def test_who_was_paused_for_a_minute_polls_again_within_seconds() -> None:
    toy = Toy()
    toy.turn()
    assert quiet_after_stop(toy, "between", 60 * SECOND) < 20 * SECOND


def test_others_on_the_core_are_no_quota() -> None:
    """Whoever was stopped for long, and then shares its core, asks again within a second."""
    toy = Toy()
    toy.turn()
    for _ in range(6):
        quiet_after_stop(toy, "between", SECOND)
    assert quiet_after_stop(toy, "given away", 2 * CROWDED) == pytest.approx(QUIET_MAX, rel=0.02)


def test_a_long_turn_is_no_stop() -> None:
    toy = Toy()
    toy.turn()
    toy.poll.due()
    toy.ready.pop()()
    toy.turn(length=50 * MILLISECOND)
    assert toy.rest() > 1
    toy.turn()
    assert toy.ready


def test_a_neighbour_that_polls_as_well_is_no_crowd() -> None:
    toy = Toy()
    toy.away = CROWDED - 1
    for _ in range(5):
        toy.turn()
    for _ in range(3):
        toy.rest()
        toy.turn()
    assert toy.ready


def test_one_that_was_stopped_looks_no_more() -> None:
    toy = Toy()
    toy.turn()
    toy.poll.stop()
    assert toy.rest() == 1
    toy.turn()
    assert not toy.ready


@pytest.mark.parametrize("busy_poll", [0, 10 * SECOND])
def test_a_driver_keeps_its_loop_awake_only_if_told_to_and_lets_it_sleep_when_it_is_closed(busy_poll: int) -> None:
    async def work() -> list[int]:
        loop = asyncio.get_running_loop()
        transport = MemoryNetwork().transport("a:1")
        driver = Driver(Scripted(), TEXT, transport, MemoryDisk(), print, busy_poll=busy_poll)
        driver.start()
        if driver._poll is not None:  # on a core that is never crowded, whatever else runs on this machine
            driver._poll = BusyPoll(loop, busy_poll, lambda: 0, lambda: None)
        await asyncio.sleep(0)
        looks: list[int] = []
        for _ in range(2):
            looks.append(0)
            for _ in range(20):
                looks[-1] += any("BusyPoll" in repr(each) or "_look" in repr(each) for each in _ready(loop))
                await asyncio.sleep(0)
            await driver.close()
        return looks

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # the one that shows what is due
        awake, closed = runner.run(work())
    assert awake == (20 if busy_poll else 0)
    assert closed <= 1


def _ready(loop: Any) -> list[Any]:
    return list(loop._ready)
