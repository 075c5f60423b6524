"""What is compared by `python -m bench.spread`: times of the same results."""

from collections.abc import Iterator

import pytest

from bench.spread import compared
from phalanx.sim.run import Result
from phalanx.sim.workers import Factory, Here, Task
from tests.sim.toys import HastyStoreScenario


class Lying(Here):
    """One seed comes out otherwise."""

    def run(self, factory: Factory, tasks: Iterator[Task], chunk: int) -> Iterator[tuple[int, Result]]:
        for at, result in super().run(factory, tasks, chunk):
            yield at, result._replace(steps=result.steps + (result.seed == 3))


def test_each_round_times_each_kind() -> None:
    times = compared(HastyStoreScenario, 5, 2, {"one": Here, "other": Here})
    assert {kind: len(seconds) for kind, seconds in times.items()} == {"one": 2, "other": 2}


def test_a_kind_that_comes_to_other_results_is_no_comparison() -> None:
    with pytest.raises(AssertionError, match="who runs a seed has changed what comes out"):
        compared(HastyStoreScenario, 5, 1, {"one": Here, "other": Lying})
