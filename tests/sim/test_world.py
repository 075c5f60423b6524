"""The world keeps the machine contract (model/machine.py): release order, crashes, pauses, clocks."""

from itertools import pairwise
from typing import Any

import pytest

from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND, Instant
from phalanx.model.machine import Drop, LinkDown, LinkUp, Output, Received
from phalanx.sim.clocks import EPOCH_NS, Clocks
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node
from phalanx.sim.trace import Trace, show
from tests.sim.toys import Do, Scripted, obey, scripted, world_of

# --- release (model/machine.py) --------------------------------------------------------------------------------------


def test_an_eager_send_leaves_at_once_and_the_others_when_the_write_is_durable() -> None:
    world = world_of("a", "b")
    world.request("a", Do(write="w", send=(("b", "after"),), eager=(("b", "at once"),)))
    world.run_for(MILLISECOND - 100 * MICROSECOND)
    assert world.nodes["a"].durable is None
    world.run_for(10 * MILLISECOND)
    assert scripted(world, "b").messages == ["at once", "after"]
    assert world.nodes["a"].durable == "w"


def test_outputs_are_released_in_order_even_those_that_write_nothing() -> None:
    delivered: list[Any] = []
    world = world_of("a", deliver=lambda node, delivery: delivered.append((delivery, node.durable)))
    for number in range(4):
        world.request("a", Do(write=number if number % 2 == 0 else None, deliver=(number,)))
        world.run_for(100 * MICROSECOND)
    assert delivered == []
    world.run_for(5 * MILLISECOND)
    assert delivered == [(0, 0), (1, 0), (2, 2), (3, 2)], "each when its write is durable, none before an earlier one"


def test_outputs_made_during_a_write_share_the_next_one() -> None:
    world = world_of("a", trace=Trace())
    for number in range(5):
        world.request("a", Do(write=number))
        world.run_for(100 * MICROSECOND)
    world.run_for(2 * MILLISECOND)
    assert world.nodes["a"].durable == 4, "two writes of 1 ms, not five"


def test_a_send_to_the_own_address_comes_back_when_it_is_released() -> None:
    world = world_of("a")
    world.request("a", Do(write="vote", send=(("a", "my vote"),)))
    world.run_for(900 * MICROSECOND)
    assert scripted(world, "a").messages == []
    world.run_for(MILLISECOND)
    assert scripted(world, "a").events[-1] == Received("a", "my vote")


def test_what_the_application_answers_to_a_delivery_reaches_the_machine() -> None:
    world = world_of("a", deliver=lambda _, delivery: ["taken"] if delivery == "wanted" else None)
    world.request("a", Do(deliver=("wanted", "other")))
    world.run_for(MILLISECOND)
    assert scripted(world, "a").events[-1:] == ["taken"]


# --- crashes ---------------------------------------------------------------------------------------------------------


def outcomes_of_a_crash_in_write(seeds: range) -> set[tuple[Any, bool]]:
    seen = set()
    for seed in seeds:
        world = world_of("a", "b", seed=seed, conditions=Conditions(stagger_ns=0, release_spread_ns=MILLISECOND))
        world.crash_in_next_write("a", SECOND)
        world.request("a", Do(write="w", send=(("b", "durable"),)))
        world.run_for(500 * MILLISECOND)
        assert not world.nodes["a"].up
        seen.add((world.nodes["a"].durable, scripted(world, "b").messages == ["durable"]))
        world.run_for(SECOND)
        assert scripted(world, "a").setup.durable == world.nodes["a"].durable, "the next life starts with what survived"
    return seen


def test_a_crash_in_write_leaves_the_write_or_not_but_nothing_is_said_of_it() -> None:
    """SCENARIOS 2, 3."""
    assert outcomes_of_a_crash_in_write(range(30)) == {(None, False), ("w", False)}


def test_a_crash_loses_what_was_not_durable_and_not_what_was_sent() -> None:
    world = world_of("a", "b")
    world.request("a", Do(send=(("b", "hello"),)))
    world.run_for(5 * MILLISECOND)
    world.request("a", Do(write="old"))
    world.run_for(5 * MILLISECOND)
    world.request("a", "forgotten")
    world.crash("a")
    assert not world.request("a", "nobody hears it")
    world.start("a")
    world.run_for(5 * MILLISECOND)
    machine = scripted(world, "a")
    assert (machine.setup.durable, machine.setup.life, machine.events) == ("old", 2, [])
    assert list(map(show, scripted(world, "b").events)) == ["up a", "a: 'hello'", "down a"]


def test_a_lost_disk_starts_with_nothing() -> None:
    """SCENARIOS 7."""
    world = world_of("a")
    world.request("a", Do(write="kept"))
    world.run_for(5 * MILLISECOND)
    world.crash("a", wipe=True)
    world.start("a")
    assert scripted(world, "a").setup.durable is None


def test_an_application_may_restart_its_own_node_from_a_delivery() -> None:
    def deliver(node: Node, _: Any) -> None:
        world.restart(node.name, 10 * MILLISECOND)

    world = world_of("a", deliver=deliver)
    world.request("a", Do(deliver=("excluded", "twice")))
    world.run_for(5 * MILLISECOND)
    assert not world.nodes["a"].up
    world.run_for(20 * MILLISECOND)
    assert world.nodes["a"].life == 2


# --- pauses ----------------------------------------------------------------------------------------------------------


def test_after_a_pause_everything_is_there_at_once() -> None:
    """SCENARIOS 16."""
    delivered: list[Any] = []
    world = world_of("a", "b", deliver=lambda _, delivery: delivered.append(delivery))
    world.request("a", Do(write="w", deliver=("d",)))
    world.run_for(100 * MICROSECOND)
    world.pause("a")
    for number in range(3):
        world.request("b", Do(send=(("a", number),)))
        world.run_for(MILLISECOND)
    before = len(scripted(world, "a").steps)
    world.run_for(SECOND)
    assert len(scripted(world, "a").steps) == before
    assert (delivered, world.nodes["a"].durable) == ([], "w"), "the disk goes on, the process does not notice"
    world.resume("a")
    world.run_for(MILLISECOND)
    assert delivered == ["d"]
    [(events, now)] = scripted(world, "a").steps[before:]
    assert events == [LinkUp("b"), *(Received("b", number) for number in range(3))]
    assert now.mono - scripted(world, "a").setup.now.mono > SECOND, "monotonic time went on"


def test_a_deadline_that_passed_in_a_pause_is_met_after_it() -> None:
    world = world_of("a")
    scripted(world, "a").deadline = scripted(world, "a").setup.now.mono + 10 * MILLISECOND
    world.request("a", "look at the deadline")
    world.run_for(MILLISECOND)
    world.pause("a")
    world.run_for(SECOND)
    scripted(world, "a").react = lambda machine, _events, _now, _out: setattr(machine, "deadline", None)
    world.resume("a")
    world.run_for(MILLISECOND)
    assert scripted(world, "a").steps[-1][0] == []


# --- wrongs ----------------------------------------------------------------------------------------------------------


def test_an_assertion_in_a_machine_is_a_failure_with_its_place() -> None:
    def react(_machine: Scripted, events: Any, _now: Instant, _out: Output) -> None:
        assert "bad" not in events, "promised twice"

    world = world_of("a", react=react)
    world.request("a", "bad")
    world.run_for(SECOND)
    [failure] = world.failures
    assert failure.kind == "step AssertionError"
    assert "at a: promised twice" in failure.text
    assert "test_world.py:" in failure.text
    assert world.now < SECOND, "the run ends there"


def test_an_invariant_that_does_not_hold_is_a_failure_of_its_kind() -> None:
    world = world_of("a", after_step=lambda node, _: f"two leaders: {node.name} is one")
    world.request("a", "anything")
    world.run_for(SECOND)
    assert [str(failure) for failure in world.failures] == ["invariant two leaders: at a: a is one"]


def test_a_dropped_connection_breaks_and_comes_back_and_the_run_goes_on() -> None:
    def react(machine: Scripted, events: Any, now: Instant, out: Output) -> None:
        obey(machine, events, now, out)
        out.drops += [Drop(e.source, "garbage") for e in events if isinstance(e, Received) and e.message == "garbage"]

    world = world_of("a", "b", react=react)
    world.request("b", Do(send=(("a", "garbage"),)))
    world.run_for(100 * MILLISECOND)
    assert [type(event) for event in scripted(world, "a").events] == [LinkUp, Received, LinkDown, LinkUp]
    assert [type(event) for event in scripted(world, "b").events if not isinstance(event, Do)] == [
        LinkUp,
        LinkDown,
        LinkUp,
    ]
    assert (world.notes["sim.drop"], world.failures) == (1, [])


@pytest.mark.parametrize("fingerprints", [True, False])
def test_a_message_that_is_changed_after_it_was_sent_is_found(fingerprints: bool) -> None:
    message = ["promise"]
    conditions = Conditions(fingerprints=fingerprints, stagger_ns=0)
    world = world_of("a", "b", conditions=conditions)
    world.request("a", Do(send=(("b", message),)))
    world.run_for(5 * MILLISECOND)
    assert not world.failures
    world.request("a", Do(send=(("b", message),)))
    world.run_for(30 * MICROSECOND)
    message.append("no promise")
    world.run_for(5 * MILLISECOND)
    assert [failure.kind for failure in world.failures] == (["mutation"] if fingerprints else [])


def test_an_output_that_is_changed_while_it_waits_for_its_write_is_found() -> None:
    votes = ["mine"]
    world = world_of("a", conditions=Conditions(fingerprints=True, stagger_ns=0))
    world.request("a", Do(write=votes))
    world.run_for(50 * MICROSECOND)
    votes.append("another")
    world.run_for(5 * MILLISECOND)
    assert [failure.kind for failure in world.failures] == ["mutation"]


def test_messages_go_through_the_codec_if_the_conditions_say_so() -> None:
    world = world_of("a", "b", conditions=Conditions(codec=True, stagger_ns=0), codec=lambda message: message[::-1])
    world.request("a", Do(send=(("b", "abc"), ("a", "abc"))))
    world.run_for(5 * MILLISECOND)
    assert scripted(world, "b").messages == ["cba"]
    assert scripted(world, "a").messages == ["abc"], "a send to oneself is never encoded"


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_a_fast_clock_meets_its_deadlines_early_and_wall_time_may_jump_either_way() -> None:
    """SCENARIOS 26."""
    world = world_of("a")
    mono, wall = world.nodes["a"].clocks.read(world.now)
    assert wall == EPOCH_NS + world.now
    world.set_clock_rate("a", 100_000)
    world.nodes["a"].clocks.offset_ns = -SECOND
    world.run_for(10 * SECOND)
    later = world.nodes["a"].clocks.read(world.now)
    assert (later.mono - mono, later.wall - wall) == (11 * SECOND, 9 * SECOND)


@pytest.mark.parametrize("ppm", [0, 1, -1, 333_333, -333_333, 20_000])
def test_when_is_the_first_moment_at_which_monotonic_time_has_come(ppm: int) -> None:
    clocks = Clocks()
    clocks.reboot(1_234, 999)
    clocks.set_rate(5_678, ppm)
    for mono in range(10_000, 10_100):
        moment = clocks.when(mono)
        assert clocks.mono(moment) >= mono > clocks.mono(moment - 1)


def test_monotonic_time_never_jumps_when_the_rate_changes() -> None:
    clocks = Clocks()
    clocks.reboot(0, 50)
    readings = []
    for moment in range(0, 1_000_000, 1_000):
        if moment % 100_000 == 0:
            clocks.set_rate(moment, (moment // 1_000 - 500) * 1_000)
        readings.append(clocks.mono(moment))
    assert readings == sorted(readings)
    assert max(b - a for a, b in pairwise(readings)) <= 1_500
    with pytest.raises(ValueError, match="backwards"):
        clocks.set_rate(0, -1_000_000)
