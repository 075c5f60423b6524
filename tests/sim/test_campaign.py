"""Many seeds on several processes give what each gives alone (sim/campaign.py, sim/workers.py)."""

import multiprocessing
import os
import random
from contextlib import closing

import pytest

from phalanx.sim.campaign import Frontier, Summary, campaign, survey
from phalanx.sim.run import Result, Scenario, run_seed
from phalanx.sim.workers import Here, Processes, chunks_of, local
from tests.sim.toys import GossipScenario, HastyStoreScenario


def dies() -> Scenario:
    """A factory that ends its process."""
    os._exit(7)


def test_every_seed_is_run_once_and_as_if_alone() -> None:
    results = sorted(campaign(HastyStoreScenario, 100, 20, workers=local(2)), key=lambda result: result.seed)
    assert results == [run_seed(HastyStoreScenario, seed) for seed in range(100, 120)]


def test_the_summary_counts_what_went_wrong_and_what_was_covered() -> None:
    seen: list[tuple[int, int]] = []

    def progress(summary: Summary, result: Result) -> None:
        seen.append((summary.seeds, result.seed))

    summary = survey(HastyStoreScenario, 0, 30, workers=local(1), progress=progress)
    assert seen == [(seed + 1, seed) for seed in range(30)]
    assert str(summary) == f"seeds=30 violations={len(summary.failed)} stuck=0"
    assert summary.failed
    assert summary.notes["sim.heal"] == 30


def test_a_summary_keeps_only_the_first_failed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on everything (STYLE 10): FAILED_MAX."""
    monkeypatch.setattr("phalanx.sim.campaign.FAILED_MAX", 2)
    summary = survey(HastyStoreScenario, 0, 40, workers=local(1))
    assert summary.violations > len(summary.failed) == 2


def test_a_campaign_without_end_ends_with_its_time() -> None:
    summary = survey(GossipScenario, 0, None, workers=local(1), time_s=0.0)
    assert summary.seeds == 0


def test_closing_a_campaign_early_ends_its_workers() -> None:
    with closing(campaign(HastyStoreScenario, 0, None, workers=local(2))) as results:
        assert next(results).steps > 0
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_is_an_error_and_not_a_hang() -> None:
    with pytest.raises(RuntimeError, match="exit code 7"):
        list(campaign(dies, 0, 20, workers=local(2)))


def test_one_worker_is_this_process_and_little_work_is_done_here() -> None:
    assert isinstance(local(1), Here)
    workers = local(2)
    assert isinstance(workers, Processes)
    assert workers.count == 2
    assert len(list(workers.run(HastyStoreScenario, iter(range(3)), 8))) == 3
    assert multiprocessing.active_children() == [], "what one chunk holds is not worth a process"


def test_no_more_processes_are_started_than_there_are_chunks() -> None:
    with closing(local(5)) as workers:
        results = workers.run(HastyStoreScenario, iter(range(9)), 3)
        next(results)
        assert len(multiprocessing.active_children()) == 3
        assert len(list(results)) == 8
        assert len(list(workers.run(HastyStoreScenario, iter(range(9)), 2))) == 9, "they can be given more"
        assert len(multiprocessing.active_children()) == 5


def test_chunks_are_cut_only_when_they_are_asked_for() -> None:
    seeds = iter(range(5))
    chunks = chunks_of(seeds, 2)
    assert next(chunks) == (0, (0, 1))
    assert next(seeds) == 2, "no further one was taken"
    assert list(chunks) == [(2, (3, 4))]


def test_the_frontier_is_the_first_seed_that_was_not_run() -> None:
    for order in range(50):
        rng = random.Random(order)
        seeds = list(range(7, 27))
        rng.shuffle(seeds)
        frontier = Frontier(7)
        assert frontier.next == 7
        for count, seed in enumerate(seeds, 1):
            frontier.add(seed)
            done = set(seeds[:count])
            assert frontier.next == next(each for each in range(7, 28) if each not in done)


def test_an_interrupted_survey_leaves_what_came_out() -> None:
    def interrupt(summary: Summary, _: Result) -> None:
        if summary.seeds == 5:
            raise KeyboardInterrupt

    summary = Summary()
    with pytest.raises(KeyboardInterrupt):
        survey(HastyStoreScenario, 0, 40, workers=local(2), summary=summary, progress=interrupt)
    assert summary.seeds == 5
    assert multiprocessing.active_children() == []
