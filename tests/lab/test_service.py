"""Replicated objects and their clients in the simulator: clean as they are, and not with a rule taken out.

SCENARIOS 29 and 30: reads and retries across node loss, view changes, pauses, cuts and state transfer.
"""

from collections.abc import Callable
from typing import Any

import pytest

from phalanx.lab.service import ServiceScenario
from phalanx.replication.client import ClientMachine
from phalanx.sim.run import run_seed
from tests.without import without_memory, without_questions

SEEDS_MAX = 60
"""Within which a planted bug must have been found."""


def found(first: int) -> str:
    """What is found first; "" if nothing is."""
    for seed in range(first, first + SEEDS_MAX):
        result = run_seed(ServiceScenario, seed)
        if not result.ok:
            return str(result)
    return ""


@pytest.mark.parametrize("seed", [*range(12), 193])
def test_calls_happen_once_and_reads_are_current_whatever_goes_wrong(seed: int) -> None:
    result = run_seed(ServiceScenario, seed)
    assert result.ok, str(result)


def test_the_scenario_reaches_what_it_is_for() -> None:
    """Silent nodes, held commands, exclusions, transfers, lost sessions: or a clean run shows nothing."""
    seen: set[str] = set()
    for seed in range(50):
        seen |= run_seed(ServiceScenario, seed).notes.keys()
    assert seen >= {"client.silence", "gateway.held", "gateway.dropped", "gateway.restored", "node.excluded", "lag"}


def with_new_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that resends a command gives it another number."""
    send = ClientMachine._send_again  # the rule that is broken has no public name

    def renumbering(client: ClientMachine, lane: Any) -> None:
        send(client, lane)
        for work in lane.waiting:
            lane.unsettled.pop(work.number, None)
            work.number = 0

    monkeypatch.setattr(ClientMachine, "_send_again", renumbering)


@pytest.mark.parametrize(("plant", "first"), [(without_memory, 10), (without_questions, 4), (with_new_numbers, 10)])
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert "violation of linearizability" in found(first)
