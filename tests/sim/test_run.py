"""Storm, heal, progress: runs are functions of their plans, and planted bugs are found (sim/run.py, STYLE 9)."""

import os
import random
import subprocess
import sys
from collections.abc import Iterable

import pytest

from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Output
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node
from phalanx.sim.plan import Plan
from phalanx.sim.run import Call, Scenario, replay, run, run_seed
from phalanx.sim.swarm import draw
from phalanx.sim.trace import VALUE_MAX, Trace, show
from tests.sim.toys import (
    AskingScenario,
    DatagramScenario,
    FifoScenario,
    Gossip,
    GossipScenario,
    HastyStoreScenario,
    StoreScenario,
)
from tests.source import ROOT


def kinds(factory: type[Scenario], seeds: Iterable[int]) -> set[str]:
    return {kind for seed in seeds for kind in run_seed(factory, seed).kinds}


@pytest.mark.parametrize("factory", [GossipScenario, StoreScenario, FifoScenario])
def test_right_machines_survive_every_storm(factory: type[Scenario]) -> None:
    results = [run_seed(factory, seed) for seed in range(100)]
    assert [str(result) for result in results if not result.ok] == []
    troubles = ("sim.crash", "sim.power off", "sim.pause", "sim.fault")
    assert sum(result.notes.get(trouble, 0) for result in results for trouble in troubles) > 200, "there were storms"


def test_an_acknowledgement_before_the_write_is_durable_is_found() -> None:
    """SCENARIOS 3."""
    assert kinds(HastyStoreScenario, range(30)) == {"judge lost"}


def test_a_machine_that_relies_on_fifo_links_is_found_on_datagrams() -> None:
    """model/machine.py, `Received`."""
    assert kinds(DatagramScenario, range(5)) == {"step AssertionError"}


def test_a_machine_that_never_asks_again_is_found_stuck() -> None:
    results = [run_seed(AskingScenario, seed) for seed in range(30)]
    assert {result.stuck for result in results} == {None, "an answer is missing"}
    assert not any(result.failures for result in results)


def test_a_delivery_that_the_application_cannot_take_is_a_failure() -> None:
    class Deaf(GossipScenario):
        def deliver(self, node: Node, delivery: str) -> None:
            raise LookupError(f"{node.name} has no {delivery}")

    assert kinds(Deaf, range(3)) == {"deliver LookupError"}


def test_an_invariant_over_all_nodes_is_checked_after_every_step() -> None:
    class Watched(GossipScenario):
        looks = 0

        def after_step(self, node: Node, output: Output) -> str | None:
            Watched.looks += 1
            machines = [other.machine for other in self.world.nodes.values()]
            words = sum(len(machine.words) for machine in machines if isinstance(machine, Gossip))
            return f"too many: {words}, {output.writes} at {node.name}" if words >= 7 else None

    result = run_seed(Watched, 1)
    assert (result.kinds, Watched.looks) == (frozenset({"invariant too many"}), result.steps)


def test_a_call_on_a_node_that_is_down_is_skipped_and_one_that_raises_is_a_failure() -> None:
    class Calls(GossipScenario):
        def workload(self, rng: random.Random) -> Iterable[Call]:
            yield Call(10 * MILLISECOND, "nobody", rng.random())
            yield Call(20 * MILLISECOND, "n0", "word")

        def perform(self, node: Node, what: str) -> Iterable[str]:
            raise ValueError(f"{node.name} cannot {what}")

    result = run(Calls(), Plan(1, 1, Conditions(), heal_at_ns=SECOND))
    assert result.notes["sim.call skipped"] == 1
    assert result.kinds == {"perform ValueError"}


def test_the_same_seed_is_the_same_run_and_another_is_another() -> None:
    one, again, other = (run_seed(GossipScenario, seed, trace=True) for seed in (5, 5, 6))
    assert one == again
    assert one.trace
    assert one.trace != other.trace


def test_a_trace_changes_nothing_and_is_kept_only_when_asked_for() -> None:
    quiet, traced = run_seed(GossipScenario, 8), run_seed(GossipScenario, 8, trace=True)
    assert quiet.trace == ""
    assert quiet == traced._replace(trace="")


def test_a_trace_keeps_its_last_lines_and_shortens_long_values() -> None:
    """A limit on everything (STYLE 10): LINES_MAX, VALUE_MAX."""
    trace = Trace(lines_max=3)
    for number in range(5):
        trace.tell(number * SECOND + 1_500, "line", (number,))
    assert str(trace) == "   2.000001 --- line 2\n   3.000001 --- line 3\n   4.000001 --- line 4"
    assert len(show("x" * 1_000)) == VALUE_MAX


def test_a_run_does_not_depend_on_the_seed_of_hashes() -> None:
    """DESIGN section 3: CI proves it under two hash seeds."""
    program = (
        "from phalanx.sim.run import run_seed; from tests.sim.toys import *;"
        "print([run_seed(s, n, trace=True) for s in (GossipScenario, StoreScenario, FifoScenario) for n in range(6)])"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert len(said[0]) > 100_000


def test_a_plan_is_printed_and_read_and_replays_the_run_exactly() -> None:
    """STYLE 9."""
    first = run_seed(HastyStoreScenario, 4, trace=True)
    plan = Plan.load(first.plan.dump())
    assert plan == first.plan
    assert replay(HastyStoreScenario, plan) == first


def test_a_plan_names_the_calls_that_are_made() -> None:
    class Recording(GossipScenario):
        def perform(self, node: Node, what: str) -> Iterable[str]:
            self.world.history.append(what)
            return super().perform(node, what)

    plan = draw(1, GossipScenario.swarm)
    scenario = Recording()
    run(scenario, Plan(1, 3, plan.conditions, heal_at_ns=3 * SECOND, calls=(2, 5, 99)))
    called = [word for word in scenario.world.history if isinstance(word, str)]
    assert sorted(called) == ["word2", "word5"]


def test_swarms_cover_what_machines_note() -> None:
    covered = {note for seed in range(30) for note in run_seed(GossipScenario, seed).notes}
    assert {"gossip.new", "sim.crash", "sim.power off", "sim.pause", "sim.fault", "sim.heal"} <= covered
