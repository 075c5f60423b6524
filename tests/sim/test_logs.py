"""The simulated log: what a machine appended, and how much of it a crash leaves (model/machine.py)."""

from collections.abc import Iterable
from typing import Any

import pytest

from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import Journal, Logged, Output
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
        records, cuts = lives[1].journal.records, lives[1].journal.cuts
        assert list(records) == list("abcdef")[: len(records)]
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
