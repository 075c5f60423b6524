"""The scenario of durable groups: seeds that found something stay clean, planted bugs are caught (`lab.mutants`)."""

import pytest

from phalanx.lab.durable import DurableScenario
from phalanx.lab.mutants import planted
from phalanx.sim.run import run_seed

SEEDS = {
    61: "a round of snapshots forgot what was delivered while the application was asked",
    1962: "a group was suspended in a view that its only host crashed before installing",
    2201: "the same, with the group's other hosts gone for longer",
    2754: "the same for a founder of the group",
    2819: "the same after a torn write",
    1284: "a log with a snapshot forgot the fragments of a sender that was demoted in the middle of a large payload",
    702205: "a founder that never installed its first view, on a new disk, did not know that it had missed nothing",
    20014941: "(the oracle's error) a learner completed its state with what the only host died with undelivered",
    12000766: "a former learner reported what it had of a suspended group, and its promises were refused for ever",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_found_once_stays_mended(seed: int) -> None:
    result = run_seed(DurableScenario, seed)
    assert result.ok, f"{SEEDS[seed]}: {result}"


PLANTED = {
    "a receipt is shown before it is on disk": 55,
    "a batch shows that its author has it on disk": 60,
    "a group that nobody can go on with is given up": 0,
    "a group that goes on from logs is truncated": 0,
    "a log of an older view is taken for the group's": 18,
    "the wrong end of a torn log is cut off": 76,
    "a log's open view is taken for common with the group": 0,
    "a log's last view is not completed": 22,
    "a driver takes a refused append for a durable one": 0,
}
"""Where the search for each begins: few runs show it, and this one did when it was written."""


def first_caught(rule: str, seeds: range) -> int | None:
    with planted(rule):
        return next((seed for seed in seeds if not run_seed(DurableScenario, seed).ok), None)


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_durability_bug_is_caught(rule: str) -> None:
    seeds = range(PLANTED[rule], PLANTED[rule] + 300)
    assert first_caught(rule, seeds) is not None, f"{rule}: nobody noticed"
