"""When the world steps a machine (model/machine.py): turns, deadlines, and second steps of a turn."""

from typing import Any

import pytest

from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import Machine, Output, Received, Send
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Setup
from phalanx.sim.world import World
from tests.sim.toys import Do, Scripted, obey, scripted, world_of


def test_a_machine_is_stepped_at_its_deadline_and_not_before() -> None:
    ticks: list[int] = []

    def every_second(machine: Scripted, events: Any, now: Instant, _out: Output) -> None:
        assert not events
        ticks.append(world.now)
        machine.deadline = now.mono + SECOND

    def start(setup: Setup) -> Machine:
        machine = Scripted(setup, every_second)
        machine.deadline = setup.now.mono + SECOND
        return machine

    world = World(1, start, conditions=Conditions(stagger_ns=0))
    world.add("a")
    world.run_until(3 * SECOND)
    assert ticks == [SECOND, 2 * SECOND, 3 * SECOND]


def test_a_deadline_that_moves_away_is_not_met_early_and_one_that_comes_nearer_is_not_met_late() -> None:
    ticks: list[int] = []

    def react(machine: Scripted, events: Any, now: Instant, _out: Output) -> None:
        if events:
            machine.deadline = now.mono + events[0]
        else:
            ticks.append(round(world.now / MILLISECOND))
            machine.deadline = None

    world = world_of("a", react=react)
    world.request("a", 500 * MILLISECOND)
    world.run_for(9 * MILLISECOND)
    world.request("a", 90 * MILLISECOND)
    world.run_for(10 * MILLISECOND)
    world.request("a", 180 * MILLISECOND)
    world.run_for(SECOND)
    assert ticks == [200]


def test_events_that_wait_are_taken_together_or_one_by_one() -> None:
    def sizes(grouped: float) -> set[int]:
        seen = set()
        for seed in range(10):
            world = world_of("a", seed=seed, conditions=Conditions(grouped=grouped, stagger_ns=0))
            world.request("a", *range(6))
            world.run_for(MILLISECOND)
            assert scripted(world, "a").events == list(range(6))
            seen |= {len(events) for events, _ in scripted(world, "a").steps}
        return seen

    assert sizes(1.0) == {6}
    assert {1, 2} < sizes(0.0)


def test_a_machine_that_spins_is_found() -> None:
    def spin(machine: Scripted, _events: Any, now: Instant, _out: Output) -> None:
        machine.deadline = now.mono

    world = world_of("a", react=spin)
    world.request("a", "go")
    world.run_for(SECOND)
    assert [failure.kind for failure in world.failures] == ["spin"]


def test_a_storm_of_messages_that_feeds_itself_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phalanx.sim.world.STEPS_MAX", 1_000)

    def echo(_machine: Scripted, events: Any, _now: Instant, out: Output) -> None:
        out.sends += [Send((event.source,), "again") for event in events if isinstance(event, Received)]
        obey(_machine, events, _now, out)

    world = world_of("a", "b", react=echo)
    world.request("a", Do(send=(("b", "first"),)))
    world.run_for(10 * SECOND)
    assert [failure.kind for failure in world.failures] == ["runaway"]


def test_a_machine_that_asks_is_stepped_again_at_the_same_instant_and_its_outputs_are_released_in_order() -> None:
    """model/machine.py: `Output.again`."""

    def react(machine: Scripted, events: Any, now: Instant, out: Output) -> None:
        obey(machine, events, now, out)
        if any(isinstance(event, Do) for event in events):
            out.again = True
        elif len(machine.steps) > 1 and machine.steps[-2][1] == now and not events:
            out.deliveries.append("rest of it")

    delivered: list[Any] = []
    world = world_of("a", "b", react=react, deliver=lambda _node, delivery: delivered.append(delivery))
    world.request("a", Do(write="w", eager=(("b", "at once"),), deliver=("first",)))
    world.request("a", "next")
    world.run_for(MILLISECOND // 2)
    steps = scripted(world, "a").steps
    asked = next(i for i, (events, _) in enumerate(steps) if any(isinstance(event, Do) for event in events))
    assert steps[asked + 1] == ([], steps[asked][1])
    assert delivered == [], "neither before the write is durable"
    world.run_for(10 * MILLISECOND)
    assert delivered == ["first", "rest of it"]


def test_a_machine_that_asks_for_ever_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phalanx.sim.world.STEPS_MAX", 1_000)

    def react(_machine: Scripted, _events: Any, _now: Instant, out: Output) -> None:
        out.again = True

    world = world_of("a", react=react)
    world.request("a", "go")
    world.run_for(SECOND)
    assert {failure.kind for failure in world.failures} == {"runaway"}
