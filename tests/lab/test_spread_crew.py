"""Who gets which order (lab/spread/crew.py, driver.py), with a Dask in which everything can be made to happen.

What a real one does is in tests/real/test_spread.py."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import CancelledError
from contextlib import closing, suppress
from functools import partial
from typing import Any

import pytest

from phalanx.errors import ConfigurationError
from phalanx.lab.spread import crew, driver
from phalanx.lab.spread.driver import UNDER_WAY, Spread
from phalanx.lab.spread.work import Unfit, carry_out, decode_order, encode, fresh_credentials
from phalanx.sim.run import Result, run_seed
from phalanx.sim.workers import WorkersLost
from tests.sim.toys import HastyStoreScenario

HERE = "sim://scheduler"


class Given:
    """An order, as a future of Dask; what it waits for, a test decides."""

    def __init__(self, dask: "FakeDask", order: bytes, workers: list[str]) -> None:
        self.dask = dask
        self.order = order
        self.workers = workers
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.released = False

    def __await__(self) -> Generator[Any, None, bytes]:
        return self.answer.__await__()

    def carry_out(self, address: str = "a") -> None:
        self.answer.set_result(encode(carry_out(decode_order(self.order), address, lambda: True)))

    async def cancel(self) -> None:
        self.answer.set_exception(CancelledError())

    def release(self) -> None:
        self.released = True
        self.dask.outstanding.discard(self)


class FakeDask:
    """In place of its client: the workers that there are, by address, with their threads."""

    def __init__(self, **workers: int) -> None:
        self.workers = workers
        self.outstanding: set[Given] = set()
        self.given: list[Given] = []
        self.keys: set[str] = set()
        self.most = 0
        self.silent: set[str] = set()
        """They do not say what they are."""
        self.inspected: set[str] = set()
        self.hung = False
        """The scheduler answers nothing."""
        self.on_order: Callable[[Given], None] = Given.carry_out
        self.on_look: Callable[[], Awaitable[None]] = partial(asyncio.sleep, 0)

    def __call__(self, *_: object, **__: object) -> "FakeDask":
        return self

    def __await__(self) -> Generator[Any, None, "FakeDask"]:
        async def itself() -> FakeDask:
            return self

        return itself().__await__()

    async def run_on_scheduler(self, function: Callable[[], None]) -> None:
        if self.hung:
            await asyncio.Event().wait()
        function()

    async def nthreads(self) -> dict[str, int]:
        await self.on_look()
        return dict(self.workers)

    async def run(self, _: object, scenario: str, workers: list[str]) -> dict[str, bytes]:
        if self.silent & set(workers):
            await asyncio.Event().wait()
        self.inspected |= set(workers)
        return {address: encode(fresh_credentials(scenario)) for address in workers}

    def submit(self, _: object, order: bytes, *, key: str, workers: list[str], pure: bool) -> Awaitable[bytes]:
        assert not pure
        assert key not in self.keys, "it would be the same task"
        self.keys.add(key)
        given = Given(self, order, sorted(workers))
        self.given.append(given)
        self.outstanding.add(given)
        self.most = max(self.most, len(self.outstanding))
        asyncio.get_running_loop().call_soon(self.on_order, given)
        return given

    async def close(self, _: float = 0.0) -> None:
        for each in self.outstanding:
            each.answer.cancel()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "POLL_S", 0.001)
    monkeypatch.setattr(driver, "WAKE_S", 0.001)


def spread_on(dask: FakeDask, monkeypatch: pytest.MonkeyPatch, told: list[str] | None = None) -> Spread:
    monkeypatch.setattr(driver, "Client", dask)
    return Spread(HERE, ([] if told is None else told).append)


def results_of(spread: Spread, count: int = 10, chunk: int = 1) -> list[Result]:
    with closing(spread):
        return [
            result
            for _, result in sorted(spread.run(HastyStoreScenario, iter(range(count)), chunk), key=lambda x: x[0])
        ]


EXPECTED = [run_seed(HastyStoreScenario, seed) for seed in range(10)]


def test_orders_go_to_all_workers_that_are_fit_and_to_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    dask = FakeDask(a=1, b=4, c=1)
    told: list[str] = []
    assert results_of(spread_on(dask, monkeypatch, told)) == EXPECTED
    assert {tuple(given.workers) for given in dask.given} == {("a", "c")}
    [line] = told
    assert line.startswith("the worker b is refused: it has 4 threads")
    assert "start it with --nthreads 1, and as many as the machine has cores with --nworkers" in line
    assert all(given.released for given in dask.given)


def test_there_are_only_so_many_orders_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on everything (STYLE 10): UNDER_WAY."""
    dask = FakeDask(a=1, b=1)
    asked: list[int] = []

    def seeds() -> Iterator[int]:
        for seed in range(40):
            asked.append(seed)
            yield seed

    def answer_later(given: Given) -> None:
        asyncio.get_running_loop().call_later(0.001, given.carry_out)

    dask.on_order = answer_later
    with closing(spread_on(dask, monkeypatch)) as spread:
        results = spread.run(HastyStoreScenario, seeds(), 2)
        for count in range(1, 21):
            next(results)
            assert len(asked) <= count + 2 * (2 * UNDER_WAY + 1), "seeds are asked for when somebody can run them"
    assert dask.most == 2 * UNDER_WAY


def test_an_order_whose_workers_are_all_gone_is_given_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    dask = FakeDask(a=1)

    def lose(given: Given) -> None:
        if given.workers == ["a"]:
            dask.workers = {"b": 1}
        else:
            given.carry_out()

    dask.on_order = lose
    told: list[str] = []
    assert results_of(spread_on(dask, monkeypatch, told)) == EXPECTED
    assert {tuple(given.workers) for given in dask.given} == {("a",), ("b",)}


def test_an_order_stays_where_one_of_its_workers_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of them does it is Dask's affair: it may have begun."""
    dask = FakeDask(a=1, b=1)

    async def end_them() -> None:
        while "c" not in dask.inspected:
            await asyncio.sleep(0)
        dask.on_order = Given.carry_out
        for given in list(dask.outstanding):
            given.carry_out()

    tasks = []

    def lose_one(_: Given) -> None:
        if dask.workers.pop("a", None):
            dask.workers["c"] = 1
            tasks.append(asyncio.create_task(end_them()))

    dask.on_order = lose_one
    assert results_of(spread_on(dask, monkeypatch)) == EXPECTED
    assert len(dask.given) == 10, "none was given twice"
    assert dask.given[-1].workers == ["b", "c"], "one that joins gets its share"


def test_one_that_is_started_anew_with_other_files_gets_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the same address, between two looks."""
    dask = FakeDask(a=1, b=1)

    def changed(given: Given) -> None:
        if "b" in given.workers:
            given.answer.set_result(encode(Unfit("b", "it is another")))
        else:
            given.carry_out()

    dask.on_order = changed
    told: list[str] = []
    spread = spread_on(dask, monkeypatch, told)
    assert results_of(spread) == EXPECTED
    assert told == ["the worker b is refused: it is another"]
    assert spread.count == 1


def test_a_campaign_ends_when_all_is_done_whoever_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    dask = FakeDask(a=1)

    def last(given: Given) -> None:
        given.carry_out()
        if len(dask.given) == 10:
            dask.workers = {}

    dask.on_order = last
    assert results_of(spread_on(dask, monkeypatch)) == EXPECTED


def test_a_campaign_that_nobody_runs_any_more_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on everything: PATIENCE_S."""
    monkeypatch.setattr(crew, "PATIENCE_S", 0.01)
    dask = FakeDask(a=1)
    dask.on_order = lambda _: dask.workers.clear()
    told: list[str] = []
    with pytest.raises(WorkersLost, match="sim://scheduler has had no worker to use for 0 s"):
        results_of(spread_on(dask, monkeypatch, told))
    assert told == ["all workers of sim://scheduler are gone: waiting 0 s for others"]


def test_a_campaign_for_which_nobody_is_fit_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "PATIENCE_S", 0.01)
    for workers, why, what in (
        ({"a": 2}, "none of the workers of sim://scheduler can be used, see above; nothing was run", "refused"),
        (
            {},
            "sim://scheduler has had no worker to use for 0 s; nothing was run",
            "has no workers yet: waiting 0 s for some",
        ),
    ):
        dask = FakeDask(**workers)
        told: list[str] = []
        with pytest.raises(ConfigurationError, match=why):
            results_of(spread_on(dask, monkeypatch, told))
        assert what in told[0]
        assert dask.given == []


def test_a_campaign_does_not_wait_for_a_worker_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on everything: INSPECTION_S."""
    monkeypatch.setattr(crew, "INSPECTION_S", 0.01)
    dask = FakeDask(a=1, b=1)
    dask.silent = {"b"}
    assert results_of(spread_on(dask, monkeypatch)) == EXPECTED
    assert {tuple(given.workers) for given in dask.given} == {("a",)}


def test_a_scheduler_that_says_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on everything: ANSWER_S."""
    monkeypatch.setattr(crew, "ANSWER_S", 0.01)
    dask = FakeDask(a=1)
    dask.hung = True
    with pytest.raises(ConfigurationError, match="sim://scheduler does not answer; nothing was run"):
        results_of(spread_on(dask, monkeypatch))


@pytest.mark.parametrize("turns", [*range(12), None])
def test_a_campaign_ends_whatever_becomes_of_the_look_that_it_cancels(
    turns: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask may swallow the cancellation, as asyncio.wait_for does before Python 3.12 if it comes with the answer."""
    dask = FakeDask(a=1)

    async def look() -> None:
        looking.set()
        if turns is None:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        else:
            for _ in range(turns):
                await asyncio.sleep(0)

    async def carry_out_during_a_look(given: Given) -> None:
        dask.on_look = look
        await looking.wait()
        given.carry_out()

    looking = asyncio.Event()
    tasks = []
    dask.on_order = lambda given: tasks.append(asyncio.create_task(carry_out_during_a_look(given)))
    assert results_of(spread_on(dask, monkeypatch), 1) == EXPECTED[:1]
    assert looking.is_set()


def test_a_lost_connection_is_a_lost_scheduler_and_what_came_before_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    dask = FakeDask(a=1)

    def lose(given: Given) -> None:
        if len(dask.given) < 5:
            given.carry_out()
        else:
            given.answer.set_exception(OSError("broken pipe"))

    dask.on_order = lose
    with closing(spread_on(dask, monkeypatch)) as spread:
        results = spread.run(HastyStoreScenario, iter(range(10)), 1)
        assert sorted(at for at, _ in (next(results) for _ in range(4))) == [0, 1, 2, 3]
        with pytest.raises(WorkersLost, match="the scheduler sim://scheduler is gone"):
            next(results)
