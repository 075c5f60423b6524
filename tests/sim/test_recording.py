"""A recording says which message is which, and changes nothing (sim/recording.py)."""

from typing import Any

import pytest

from phalanx.model.clock import MILLISECOND
from phalanx.sim.conditions import Conditions
from phalanx.sim.network import WAITING_MAX
from phalanx.sim.node import Node
from phalanx.sim.recording import Failed, Flight, HandedOver, Recording, Stepped, Told
from phalanx.sim.run import Scenario, run_seed
from phalanx.sim.trace import Trace
from phalanx.sim.world import World
from tests.sim.toys import AskingScenario, DatagramScenario, Do, FifoScenario, GossipScenario, StoreScenario, world_of

SCENARIOS = (GossipScenario, StoreScenario, FifoScenario, DatagramScenario, AskingScenario)


def recorded(*names: str, conditions: Conditions | None = None) -> tuple[World, Recording]:
    recording = Recording()
    trace = Trace(recording=recording)
    if conditions is None:
        return world_of(*names, trace=trace), recording
    return world_of(*names, trace=trace, conditions=conditions), recording


def whys(recording: Recording) -> list[str]:
    return [loss.why for flight in recording.flights for loss in flight.losses]


@pytest.mark.parametrize("factory", SCENARIOS)
def test_a_run_is_the_same_with_and_without(factory: type[Scenario]) -> None:
    for seed in range(12):
        recording = Recording(lambda node: node.durable)
        assert run_seed(factory, seed, trace=True, recording=recording) == run_seed(factory, seed, trace=True)


@pytest.mark.parametrize("factory", SCENARIOS)
def test_every_message_arrives_or_is_lost_or_is_under_way(factory: type[Scenario]) -> None:
    for seed in range(12):
        recording = Recording()
        result = run_seed(factory, seed, trace=True, recording=recording)
        posted = [flight for flight in recording.flights if flight.target]
        assert len(posted) == result.sent
        for flight in recording.flights:
            ends = len(flight.arrivals) + len(flight.losses)
            assert ends <= flight.copies
            assert flight.is_settled == (ends == flight.copies)
            assert all(arrival.at_ns > flight.sent_ns for arrival in flight.arrivals)
            assert all(loss.at_ns >= flight.sent_ns for loss in flight.losses)
            assert flight.asked <= flight.line


@pytest.mark.parametrize("factory", SCENARIOS)
def test_lines_that_a_message_refers_to_show_it(factory: type[Scenario]) -> None:
    checked = 0
    for seed in range(6):
        recording = Recording()
        result = run_seed(factory, seed, trace=True, recording=recording)
        lines = result.trace.splitlines()
        assert len(lines) == len(recording.lines)
        assert all(line.endswith(kept.text) for line, kept in zip(lines, recording.lines, strict=True))
        for flight in recording.flights:
            assert f" {flight.source} " in lines[flight.line]
            assert repr(flight.received.message)[:100] in lines[flight.asked]
            for arrival in flight.arrivals:
                if arrival.line is not None and len(lines[arrival.line]) < 200:
                    assert repr(flight.received.message) in lines[arrival.line].partition(" -> ")[0]
                    checked += 1
    assert checked > 20


def test_a_message_that_waits_for_a_write_names_the_step_that_made_it_and_the_line_at_which_it_left() -> None:
    world, recording = recorded("a", "b")
    world.request("a", Do(write="w", send=(("b", "after"),), eager=(("b", "at once"),)))
    world.run_for(10 * MILLISECOND)
    eager, later = recording.flights
    assert (eager.received.message, later.received.message) == ("at once", "after")
    assert eager.line == eager.asked == later.asked
    assert "durable" in recording.lines[later.line].text
    assert later.sent_ns == recording.lines[later.line].at_ns


def test_reasons_of_losses() -> None:
    world, recording = recorded("a", "b")
    world.request("a", Do(send=(("nowhere", "x"),)))
    world.run_for(MILLISECOND)
    assert whys(recording) == ["nobody is there"]
    world.crash("b")
    world.request("a", Do(send=(("b", "x"),)))
    world.run_for(100 * MILLISECOND)
    assert whys(recording)[1:] == ["refused: nobody listens"]
    world.start("b")
    world.run_for(500 * MILLISECOND)
    world.request("a", Do(send=(("b", "x"),)))
    world.run_for(100 * MILLISECOND)
    assert [arrival.line is not None for arrival in recording.flights[-1].arrivals] == [True]
    world.network.block(world.nodes["a"], world.nodes["b"])
    world.request("a", Do(send=(("b", "waits"),)))
    world.run_for(MILLISECOND)
    assert not recording.flights[-1].is_settled
    world.crash("a")
    assert whys(recording)[2:] == ["its sender ended"]


def test_what_a_process_had_not_taken_when_it_ended_is_lost() -> None:
    world, recording = recorded("a", "b")
    world.request("a", Do(send=(("b", "hello"),)))
    world.run_for(5 * MILLISECOND)
    world.pause("b")
    world.request("a", Do(send=(("b", "x"),)))
    world.run_for(5 * MILLISECOND)
    [arrival] = recording.flights[-1].arrivals
    assert arrival.line is None
    world.crash("b")
    assert recording.flights[-1].arrivals == []
    assert whys(recording) == ["its receiver ended before it took it"]


def test_datagrams_are_lost_and_doubled() -> None:
    conditions = Conditions(write_min_ns=MILLISECOND, stagger_ns=0, lossy=True, duplicate=1.0)
    world, recording = recorded("a", "b", conditions=conditions)
    world.request("a", Do(send=(("b", "x"),)))
    world.run_for(5 * MILLISECOND)
    assert recording.flights[0].copies == len(recording.flights[0].arrivals) == 2
    world.network.loss = 1.0
    world.request("a", Do(send=(("b", "x"),)))
    world.run_for(5 * MILLISECOND)
    assert whys(recording) == ["lost on the way"]
    world.network.block(world.nodes["a"], world.nodes["b"])
    world.request("a", Do(send=(("b", "x"),)))
    world.run_for(MILLISECOND)
    assert whys(recording) == ["lost on the way", "cut off"]


def test_a_message_for_which_there_is_no_room_is_lost() -> None:
    world, recording = recorded("a", "b")
    world.network.block(world.nodes["a"], world.nodes["b"])
    world.request("a", Do(send=tuple(("b", number) for number in range(WAITING_MAX + 1))))
    world.run_for(5 * MILLISECOND)
    assert whys(recording) == ["too many wait"]


def test_entries_are_the_runs_events_in_order() -> None:
    recording = Recording()
    result = run_seed(GossipScenario, 8, trace=True, recording=recording)
    steps = [entry for entry in recording.entries if isinstance(entry, Stepped)]
    assert len(steps) == result.steps
    told = [entry for entry in recording.entries if isinstance(entry, Told)]
    assert len(told) == sum(count for what, count in result.notes.items() if what.startswith("sim."))
    assert any(isinstance(entry, HandedOver) for entry in recording.entries)
    assert [entry.at_ns for entry in recording.entries] == sorted(entry.at_ns for entry in recording.entries)


def test_a_failure_is_recorded() -> None:
    recording = Recording()
    result = run_seed(DatagramScenario, 2, trace=True, recording=recording)
    failed = [entry for entry in recording.entries if isinstance(entry, Failed)]
    assert [(entry.kind, entry.text) for entry in failed] == [tuple(failure) for failure in result.failures]
    assert failed


def test_a_state_is_recorded_when_it_is_new() -> None:
    recording = Recording(lambda node: node.durable)
    world = world_of("a", trace=Trace(recording=recording))
    for number in (1, 1, 2):
        world.request("a", Do(write=number))
        world.run_for(5 * MILLISECOND)
        world.request("a", Do())
        world.run_for(5 * MILLISECOND)
    states: list[Any] = [entry.state for entry in recording.entries if isinstance(entry, Stepped)]
    assert [state for state in states if state is not None] == [1, 2]


def test_a_full_recording_says_so_and_the_run_goes_on() -> None:
    recording = Recording(entries_max=40)
    result = run_seed(GossipScenario, 8, trace=True, recording=recording)
    assert recording.full
    assert max(len(recording.entries), len(recording.flights), len(recording.lines)) == 40
    assert result == run_seed(GossipScenario, 8, trace=True)


def test_a_recording_needs_the_trace() -> None:
    with pytest.raises(AssertionError, match="lines of the trace"):
        run_seed(GossipScenario, 8, recording=Recording())


def test_a_flight_is_settled_when_all_copies_are() -> None:
    node = Node("a", "a")
    recording = Recording()
    received: Any = object()
    recording.sent(node, "b", "b", received)
    recording.doubled("b", received)
    recording.arrived(5, "b", received)
    [flight] = recording.flights
    assert isinstance(flight, Flight)
    assert not flight.is_settled
    recording.lost(7, "b", received, "gone")
    assert recording.flights[0].is_settled
    recording.arrived(9, "b", received)
    assert len(flight.arrivals) == 1, "it is not awaited any more"
