"""What is compared by `python -m bench.guidance`: the same bug in both kinds of campaign, and an honest median."""

import pytest

from bench.guidance import (
    APART,
    NESTED,
    WAYS,
    NestedRecovery,
    bug_of,
    median_of,
    row_of,
    runs_until_found,
    without_guidance,
)
from phalanx.lab.durable import DurableScenario
from phalanx.lab.groups import GroupScenario
from phalanx.sim.run import run_seed


def test_a_bug_is_planted_where_it_can_be_found() -> None:
    assert bug_of(NESTED).factory is NestedRecovery
    assert bug_of("a row counts at once").factory is GroupScenario
    assert bug_of("a receipt is shown before it is on disk").factory is DurableScenario
    with pytest.raises(ValueError, match="is neither"):
        bug_of("no such rule")


def test_a_planted_bug_is_found_and_gone_afterwards() -> None:
    bug = bug_of("a receipt is shown before it is on disk")
    count = runs_until_found(bug, without_guidance, 0, 60)
    assert count is not None
    assert run_seed(DurableScenario, APART + count - 1).ok


def test_the_first_generation_shows_no_difference() -> None:
    bug = bug_of(NESTED)
    assert len({runs_until_found(bug, way, 5, 32) for way in WAYS}) == 1
    assert row_of(bug, 1, 1) == ["> 1", "0 of 1", "> 1", "0 of 1", "-; -"]


@pytest.mark.parametrize(
    ("found", "median"),
    [([3], "3"), ([1, 9, 5], "5"), ([1, None, 5], "5"), ([1, None, None], "> 99"), ([1, None], "1")],
)
def test_a_campaign_that_finds_nothing_counts_as_longer_than_any(found: list[int | None], median: str) -> None:
    assert median_of(found, 99) == median
