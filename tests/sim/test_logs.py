"""The simulated log: what a machine appended, and how much of it a crash leaves (model/machine.py)."""

from collections.abc import Iterable
from typing import Any

import pytest

from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import Journal, Logged, Output, Room, Space
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Setup
from phalanx.sim.world import World


class Scribe:
    """Does with its log what it is asked to, and keeps what it hears."""

    deadline = None

    def __init__(self, setup: Setup) -> None:
        self.journal = setup.journal
        self.heard: list[Any] = []

    def step(self, events: Iterable[Any], now: Instant) -> Output:  # noqa: ARG002  it needs no clock
        out = Output()
        for event in events:
            self.heard.append(event)
            match event:
                case ("append", *records):
                    out.appends += records
                case ("write", record):
                    out.writes.append(record)
                case ("forget", number):
                    out.forget = number
                case "read":
                    out.reread = True
        return out


def world_of(seed: int = 1) -> tuple[World, list[Scribe]]:
    lives: list[Scribe] = []

    def start(setup: Setup) -> Scribe:
        lives.append(Scribe(setup))
        return lives[-1]

    world = World(seed, start, conditions=Conditions(write_min_ns=MILLISECOND))
    world.add("a")
    world.run_for(SECOND)
    return world, lives


def test_what_is_logged_is_found_by_the_next_life_and_told_to_this_one() -> None:
    world, lives = world_of()
    world.request("a", ("append", "one", "two"))
    world.request("a", ("append", "three"))
    world.run_for(SECOND)
    assert lives[0].heard[-1] == Logged(3)
    world.crash("a")
    world.start("a")
    assert lives[1].journal == Journal(("one", "two", "three"), ())


def test_a_write_is_not_durable_before_what_was_logged_before_it() -> None:
    """SCENARIOS 4, at every instant of a crash."""
    for seed in range(200):
        world, _ = world_of(seed)
        world.request("a", ("append", "before"), ("write", "vote"))
        world.run_for(seed * 10_000)
        world.crash("a", host=True)
        node = world.nodes["a"]
        assert node.durable is None or node.log == ["before"], seed


def test_a_crash_in_mid_write_leaves_a_prefix_and_sometimes_a_torn_tail() -> None:
    seen = set()
    for seed in range(200):
        world, lives = world_of(seed)
        world.request("a", ("append", *"abcdef"))
        world.run_for(MILLISECOND // 2)
        world.crash("a", host=True)
        world.start("a")
        records, cuts = list(lives[1].journal.records), lives[1].journal.cuts
        assert records == list("abcdef")[: len(records)]
        assert cuts in ((), (len(records),))
        seen.add((len(records), bool(cuts)))
    assert {(count, torn) for count in range(6) for torn in (False, True)} <= seen


def test_a_machine_reads_its_log_again_once_all_of_it_is_durable() -> None:
    world, lives = world_of()
    world.request("a", ("append", "one"))
    world.request("a", "read")
    world.run_for(MILLISECOND // 2)
    assert not any(isinstance(event, Journal) for event in lives[0].heard)
    world.run_for(SECOND)
    assert lives[0].heard[-1] == Journal(("one",), ())
    world.request("a", "read")
    world.run_for(SECOND)
    assert lives[0].heard[-1] == Journal(("one",), ())


@pytest.mark.parametrize("seed", range(20))
def test_no_more_is_forgotten_than_was_asked(seed: int) -> None:
    world, _ = world_of(seed)
    world.request("a", ("append", *"abc"))
    world.run_for(SECOND)
    world.crash("a")
    world.start("a")
    world.request("a", ("append", *"def"))
    world.run_for(SECOND)
    world.request("a", ("forget", 2))  # the first that this life appended is d
    world.run_for(SECOND)
    left = "".join(world.nodes["a"].log)
    assert "abcdef".endswith(left)
    assert left.endswith("ef")


# --- bad disks --------------------------------------------------------------------------------------------------------


def written(*writes: int) -> tuple[World, list[Scribe]]:
    """A log of so many records, a write at a time."""
    world, lives = world_of()
    count = 0
    for records in writes:
        world.request("a", ("append", *range(count, count + records)))
        world.run_for(SECOND)
        count += records
    return world, lives


def reopened(world: World, lives: list[Scribe], *, power: bool = False) -> Journal:
    world.crash("a", host=power)
    world.start("a")
    return lives[-1].journal


def test_what_rots_in_the_last_write_is_cut_off_and_anywhere_else_the_log_is_of_no_use() -> None:
    """As runtime/log.py does: nobody can tell the one from a torn write, and of the other there is proof."""
    world, lives = written(5, 5)
    world.disks.rot(world.nodes["a"], 0.7)
    assert reopened(world, lives) == Journal((0, 1, 2, 3, 4, 5, 6), (7,))
    world, lives = written(5, 5)
    world.disks.rot(world.nodes["a"], 0.3)
    assert reopened(world, lives) == Journal((), (), lost=True)
    assert reopened(world, lives).lost, "for good"


def test_a_stray_write_costs_the_log() -> None:
    world, lives = written(5)
    world.nodes["a"].stray = 0.9
    world.request("a", ("append", "stray"))
    world.run_for(SECOND)
    assert reopened(world, lives) == Journal((), (), lost=True)


def test_a_bad_log_is_noticed_when_it_is_read_again() -> None:
    world, lives = written(5, 5)
    world.disks.rot(world.nodes["a"], 0.3)
    world.request("a", "read")
    world.run_for(SECOND)
    assert lives[-1].journal == Journal((), (), lost=True), "the process had to start anew"


def test_what_a_lying_disk_has_synced_is_gone_after_a_power_cut_and_only_then() -> None:
    lost = 0
    for seed in range(20):
        world, lives = world_of(seed)
        world.request("a", ("append", 0, 1, 2))
        world.run_for(SECOND)
        world.nodes["a"].lying = 1
        world.request("a", ("append", 3, 4, 5))
        world.run_for(SECOND)
        assert reopened(world, lives).records == tuple(range(6)), "a crash of the process alone loses nothing"
        records = list(reopened(world, lives, power=True).records)
        assert records == list(range(len(records)))
        assert len(records) >= 3
        lost += len(records) < 6
        world.nodes["a"].lying = 0
        world.request("a", ("append", "late"))
        world.run_for(SECOND)
        assert reopened(world, lives, power=True).records == (*records, "late")
    assert lost > 5


def test_a_full_disk_refuses_a_write_as_a_whole_and_takes_it_when_there_is_room() -> None:
    """SCENARIOS 8: the process is told why it waits; what it wrote before is there."""
    world, lives = world_of()
    node = world.nodes["a"]
    world.disks.fill(node, 2, warned=True)
    world.request("a", ("append", "one"))
    world.run_for(SECOND)
    assert rooms(lives[0]) == [Space.LOW]
    assert lives[0].heard[-1] == Logged(1)
    world.request("a", ("append", "two", "three"), ("write", "vote"))
    world.run_for(SECOND)
    assert rooms(lives[0]) == [Space.LOW, Space.FULL]
    assert node.log == ["one"] and node.durable is None
    world.disks.clear(node)
    world.run_for(SECOND)
    assert rooms(lives[0]) == [Space.LOW, Space.FULL, Space.AMPLE]
    assert node.log == ["one", "two", "three"] and world.nodes["a"].durable == "vote"
    assert lives[0].heard[-1] == Logged(3)


def test_a_process_that_starts_on_a_low_disk_is_told_and_what_was_refused_is_lost_with_it() -> None:
    world, lives = world_of()
    node = world.nodes["a"]
    world.request("a", ("append", "one"))
    world.run_for(SECOND)
    world.disks.fill(node, 0, warned=True)
    world.request("a", ("append", "two"))
    world.run_for(SECOND)
    world.crash("a", host=True)
    world.start("a")
    world.run_for(SECOND)
    assert lives[1].journal == Journal(("one",), ())
    assert rooms(lives[1]) == [Space.LOW]


def test_what_is_forgotten_makes_room_on_a_full_disk() -> None:
    for seed in range(20):
        world, lives = world_of(seed)
        node = world.nodes["a"]
        world.request("a", ("append", *"abcdef"))
        world.run_for(SECOND)
        world.disks.fill(node, 0, warned=False)
        world.request("a", ("append", "g"))
        world.run_for(SECOND)
        assert rooms(lives[0]) == [Space.FULL]
        world.request("a", ("forget", 7))
        world.run_for(SECOND)
        if "g" in node.log:
            break
    assert rooms(lives[0]) == [Space.FULL, Space.AMPLE]


def rooms(scribe: Scribe) -> list[Space]:
    return [event.space for event in scribe.heard if isinstance(event, Room)]
