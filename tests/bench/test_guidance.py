"""What is compared by `python -m bench.guidance`: the same bug in both kinds of campaign, and an honest median."""

import pytest

from bench.guidance import (
    APART,
    NESTED,
    WAYS,
    NestedRecovery,
    bug_of,
    compared,
    corpus_of,
    median_of,
    row_of,
    runs_until_found,
)
from phalanx.lab.durable import DurableScenario
from phalanx.lab.groups import GroupScenario
from phalanx.lab.mutants import MUTANTS
from phalanx.sim.run import replay, run_seed


def test_a_bug_is_planted_where_it_can_be_found() -> None:
    assert bug_of(NESTED).factory is NestedRecovery
    assert bug_of("a row counts at once").factory is GroupScenario
    assert bug_of("a receipt is shown before it is on disk").factory is DurableScenario
    assert {bug_of(rule).rule for rule in MUTANTS} == MUTANTS.keys()
    with pytest.raises(ValueError, match="is neither"):
        bug_of("no such rule")


def test_a_planted_bug_is_found_and_gone_afterwards() -> None:
    bug = bug_of("a receipt is shown before it is on disk")
    count = runs_until_found(bug, "without", 0, 60)
    assert count is not None
    assert run_seed(DurableScenario, APART + count - 1).ok


def test_the_first_generation_shows_no_difference() -> None:
    bug = bug_of(NESTED)
    assert len({runs_until_found(bug, way, 5, 32) for way in ("without", "guided")}) == 1


def test_a_campaign_with_a_corpus_begins_with_it() -> None:
    rule = "a new group has the old id"
    corpus = corpus_of(GroupScenario, 0, 2)
    assert len(corpus) == 2
    assert all(replay(GroupScenario, plan, trace=False).ok for plan in corpus)
    with bug_of(rule).planted():
        failed = [not replay(GroupScenario, plan, trace=False).ok for plan in corpus]
    assert any(failed)
    assert runs_until_found(bug_of(rule), "corpus", 0, 2, 2) == failed.index(True) + 1


def test_a_row_tells_of_all_ways() -> None:
    bug = bug_of("a row counts at once")
    found: dict[str, list[int | None]] = dict(zip(WAYS, ([7, 9, None], [5, 5, 5], [None, None, 1]), strict=True))
    cells = ["9", "2 of 3", "5", "3 of 3", "> 10", "1 of 3", "7 9 -; 5 5 5; - - 1"]
    assert row_of(bug, found, 10) == cells
    assert row_of(bug_of(NESTED), found, 10)[4:6] == ["", ""], "there is no code without that bug"


def test_campaigns_are_compared_pair_by_pair() -> None:
    """Nine of ten: twice (1 + 10) / 1024.  None is longer than any, and no difference is no evidence."""
    pairs = [*[(5, 3)] * 8, (None, 7), (1, 2), (4, 4), (None, None)]
    assert compared(pairs) == "faster in 9, slower in 1, p = 0.021"
    assert compared([]) == "faster in 0, slower in 0, p = 1"


@pytest.mark.parametrize(
    ("found", "median"),
    [([3], "3"), ([1, 9, 5], "5"), ([1, None, 5], "5"), ([1, None, None], "> 99"), ([1, None], "1")],
)
def test_a_campaign_that_finds_nothing_counts_as_longer_than_any(found: list[int | None], median: str) -> None:
    assert median_of(found, 99) == median
