"""Many seeds on several processes give what each gives alone (sim/campaign.py)."""

import multiprocessing
import os
from contextlib import closing

import pytest

from phalanx.sim.campaign import Summary, campaign, survey
from phalanx.sim.run import Result, Scenario, run_seed
from tests.sim.toys import GossipScenario, HastyStoreScenario


def dies() -> Scenario:
    """A factory that ends its process."""
    os._exit(7)


def test_every_seed_is_run_once_and_as_if_alone() -> None:
    results = sorted(campaign(HastyStoreScenario, 100, 20, jobs=2), key=lambda result: result.seed)
    assert results == [run_seed(HastyStoreScenario, seed) for seed in range(100, 120)]


def test_the_summary_counts_what_went_wrong_and_what_was_covered() -> None:
    seen: list[tuple[int, int]] = []

    def progress(summary: Summary, result: Result) -> None:
        seen.append((summary.seeds, result.seed))

    summary = survey(HastyStoreScenario, 0, 30, jobs=1, progress=progress)
    assert seen == [(seed + 1, seed) for seed in range(30)]
    assert str(summary) == f"seeds=30 violations={len(summary.failed)} stuck=0"
    assert summary.failed
    assert summary.notes["sim.heal"] == 30


def test_a_summary_keeps_only_the_first_failed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on everything (STYLE 10): FAILED_MAX."""
    monkeypatch.setattr("phalanx.sim.campaign.FAILED_MAX", 2)
    summary = survey(HastyStoreScenario, 0, 40, jobs=1)
    assert summary.violations > len(summary.failed) == 2


def test_a_campaign_without_end_ends_with_its_time() -> None:
    summary = survey(GossipScenario, 0, None, jobs=1, time_s=0.0)
    assert summary.seeds == 0


def test_closing_a_campaign_early_ends_its_workers() -> None:
    with closing(campaign(HastyStoreScenario, 0, None, jobs=2)) as results:
        assert next(results).steps > 0
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_is_an_error_and_not_a_hang() -> None:
    with pytest.raises(RuntimeError, match="exit code 7"):
        list(campaign(dies, 0, 20, jobs=2))
