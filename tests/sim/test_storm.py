"""Every fault does what its text says, and ends; after `heal` nothing of it is left (sim/faults.py, sim/storm.py)."""

from collections.abc import Iterable
from typing import Any, get_args

import pytest

from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import Output, Received, Send
from phalanx.sim.clocks import EPOCH_NS
from phalanx.sim.conditions import Conditions
from phalanx.sim.faults import (
    KINDS,
    BadDisk,
    ClockOffset,
    ClockRate,
    Crash,
    CrashAll,
    CrashInWrite,
    DiskError,
    DiskLost,
    Fault,
    Flap,
    Loss,
    OneWay,
    Partition,
    Pause,
    Reset,
    Ring,
    SlowDisk,
    SlowLink,
    Spoiling,
    end_ns,
)
from phalanx.sim.node import Setup
from phalanx.sim.plan import Plan
from phalanx.sim.storm import Storm
from phalanx.sim.swarm import Swarm, draw
from phalanx.sim.world import World

NAMES = ["n0", "n1", "n2", "n3"]


class Beacon:
    """Sends its count to all every 5 ms; remembers from whom it last heard, and when; writes now and then."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.others = [name for name in NAMES if name != setup.name]
        self.deadline: int | None = setup.now.mono
        self.heard: dict[str, int] = {}
        self.count = 0

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        out = Output()
        for event in events:
            if isinstance(event, Received):
                self.heard[event.source] = now.mono
        assert self.deadline is not None
        if now.mono >= self.deadline:
            self.deadline = now.mono + 5 * MILLISECOND
            self.count += 1
            out.eager.append(Send(self.others, self.count))
            if self.count % 8 == 0:
                out.writes.append(self.count)
        return out


class Stage:
    """A world of beacons with one storm."""

    def __init__(self, *faults: Fault, names: list[str] = NAMES) -> None:
        conditions = Conditions(break_after_ns=50 * MILLISECOND, backoff_max_ns=5 * MILLISECOND, stagger_ns=0)
        self.world = World(1, Beacon, conditions=conditions)
        for name in names:
            self.world.add(name)
        self.storm = Storm(self.world, names, faults)

    def at(self, when_ms: int) -> "Stage":
        self.world.run_until(when_ms * MILLISECOND)
        assert not self.world.failures
        return self

    def hears(self, receiver: int, sender: int) -> bool:
        """Has the receiver heard the sender in the last 50 ms?"""
        node = self.world.nodes[NAMES[receiver]]
        assert isinstance(node.machine, Beacon)
        last = node.machine.heard.get(NAMES[sender])
        return last is not None and last > node.clocks.mono(self.world.now) - 50 * MILLISECOND

    def deaf(self) -> set[tuple[int, int]]:
        """Pairs (receiver, sender) that do not work."""
        pairs = {(i, j) for i in range(4) for j in range(4) if i != j}
        return {pair for pair in pairs if not self.hears(*pair)}

    @property
    def up(self) -> list[int]:
        return [index for index, name in enumerate(NAMES) if self.world.nodes[name].up]


T0 = 200 * MILLISECOND
LASTS = 300 * MILLISECOND


def both(*pairs: tuple[int, int]) -> set[tuple[int, int]]:
    return {way for a, b in pairs for way in ((a, b), (b, a))}


@pytest.mark.parametrize(
    ("fault", "cut"),
    [
        (Partition(T0, LASTS, ((0, 1), (2, 3))), both((0, 2), (0, 3), (1, 2), (1, 3))),
        (Partition(T0, LASTS, ((0, 1, 2), (2, 3))), both((0, 3), (1, 3))),
        (Partition(T0, LASTS, ((1, 2, 3),)), both((0, 1), (0, 2), (0, 3))),
        (Ring(T0, LASTS), both((0, 1), (1, 2), (2, 3), (3, 0))),
    ],
    ids=["halves", "bridge", "isolated", "ring"],
)
def test_a_partition_cuts_exactly_these_pairs_and_then_none(fault: Fault, cut: set[tuple[int, int]]) -> None:
    """SCENARIOS 14, 18."""
    stage = Stage(fault)
    assert stage.at(190).deaf() == set()
    assert stage.at(480).deaf() == cut
    assert stage.at(700).deaf() == set()


def test_overlapping_cuts_end_each_at_its_time() -> None:
    stage = Stage(Partition(T0, LASTS, ((0, 1), (2, 3))), Partition(T0 + LASTS // 2, LASTS, ((0,), (1, 2, 3))))
    assert stage.at(620).deaf() == both((0, 1), (0, 2), (0, 3))
    assert stage.at(800).deaf() == set()


def test_a_one_way_cut_leaves_the_other_way_until_the_connection_breaks() -> None:
    """SCENARIOS 14."""
    stage = Stage(Loss(0, SECOND, 0.0, 0.0), OneWay(T0, LASTS, (0,), (1, 2)))
    assert stage.at(480).deaf() == {(1, 0), (2, 0)}
    assert stage.at(700).deaf() == set()


def test_a_flapping_link_breaks_and_mends_again_and_again() -> None:
    """SCENARIOS 15."""
    stage = Stage(Flap(T0, 10 * LASTS, 0, 1, 400 * MILLISECOND))
    seen = [stage.at(when).hears(1, 0) for when in (390, 590, 790, 990, 1190)]
    assert seen == [False, True, False, True, False]
    assert stage.at(4000).deaf() == set()


def test_a_slow_link_slows_both_ways_and_ends() -> None:
    stage = Stage(SlowLink(T0, LASTS, 0, 1, 100 * MILLISECOND))
    assert stage.at(290).deaf() == both((0, 1)), "what was sent before has come, what was sent after has not"
    assert stage.at(480).deaf() == set()


def test_crashes_come_back_when_they_say_so_or_when_the_storm_is_over_or_never() -> None:
    stage = Stage(
        Crash(T0, 0, LASTS), Crash(T0, 1, None, host=True), Crash(T0, 2, None, for_good=True), Crash(T0, 2, LASTS)
    )
    assert stage.at(210).up == [3]
    assert stage.at(600).up == [0, 3]
    stage.storm.heal()
    assert stage.at(700).up == [0, 1, 3]
    assert stage.storm.gone == ["n2"]


def test_a_node_killed_for_good_is_not_brought_back_by_an_earlier_crash_or_its_application() -> None:
    stage = Stage(CrashInWrite(0, 0, LASTS), Crash(T0, 0, None, for_good=True))
    assert stage.at(100).up == [1, 2, 3], "down already"
    stage.at(250).world.restart("n0")
    stage.at(1000).storm.heal()
    assert stage.at(1100).up == [1, 2, 3]


def test_all_lose_power_and_come_back_one_by_one() -> None:
    """SCENARIOS 1, 9."""
    stage = Stage(CrashAll(T0, 100 * MILLISECOND, LASTS))
    assert [len(stage.at(when).up) for when in (210, 310, 410, 510, 610)] == [0, 1, 2, 3, 4]
    lives = {node.life for node in stage.world.nodes.values()}
    assert lives == {2}


def test_a_crash_in_write_waits_for_a_write() -> None:
    """SCENARIOS 2, 3."""
    stage = Stage(CrashInWrite(T0, 0, LASTS))
    beacon = stage.at(200).world.nodes["n0"].machine
    assert isinstance(beacon, Beacon)
    count = beacon.count
    stage.at(250)
    assert stage.up == [1, 2, 3]
    assert beacon.count % 8 == 0, "its last step wrote"
    assert beacon.count > count
    assert stage.world.nodes["n0"].durable in (beacon.count, beacon.count - 8)
    assert stage.at(700).up == [0, 1, 2, 3]


def test_a_lost_disk_comes_back_empty() -> None:
    """SCENARIOS 7."""
    stage = Stage(DiskLost(T0, 0, LASTS))
    assert stage.at(190).world.nodes["n0"].durable is not None
    beacon = stage.at(505).world.nodes["n0"].machine
    assert isinstance(beacon, Beacon)
    assert beacon.setup.durable is None


def test_a_pause_stops_a_node_and_it_goes_on() -> None:
    """SCENARIOS 16."""
    stage = Stage(Pause(T0, 0, LASTS))
    beacon = stage.at(210).world.nodes["n0"].machine
    assert isinstance(beacon, Beacon)
    count = beacon.count
    assert stage.at(490).world.nodes["n0"].machine is beacon
    assert beacon.count == count
    assert stage.at(600).deaf() == set()
    assert beacon.count > count


def test_clocks_go_wrong_and_right_again() -> None:
    """SCENARIOS 26."""
    stage = Stage(ClockOffset(T0, LASTS, 0, -5 * SECOND), ClockRate(T0, LASTS, 1, 10_000))
    clocks = [stage.world.nodes[name].clocks for name in NAMES]
    stage.at(210)
    assert [c.offset_ns for c in clocks] == [-5 * SECOND, 0, 0, 0]
    assert [c.rate_ppm for c in clocks] == [0, 10_000, 0, 0]
    assert clocks[0].read(stage.world.now).wall == EPOCH_NS + stage.world.now - 5 * SECOND
    stage.at(600)
    assert [(c.offset_ns, c.rate_ppm) for c in clocks] == [(0, 0)] * 4


def test_a_stalled_disk_holds_writes_back_while_eager_messages_go_on() -> None:
    """SCENARIOS 8."""
    stage = Stage(SlowDisk(T0, LASTS, 0, 10 * SECOND))
    durable = stage.at(210).world.nodes["n0"].durable
    assert stage.at(480).world.nodes["n0"].durable == durable
    assert stage.deaf() == set()


def test_a_failing_disk_stops_its_node_at_the_next_write_until_it_works_again() -> None:
    """After a failed fsync a node stops rather than guesses; with a disk that cannot be read none starts."""
    stage = Stage(DiskError(T0, LASTS, 0), DiskError(T0 + LASTS // 2, LASTS, 1), Crash(T0, 1, 50 * MILLISECOND))
    assert stage.at(340).up == [1, 2, 3]
    assert stage.at(480).up == [2, 3]
    assert stage.at(560).up == [0, 2, 3]
    assert stage.at(700).up == [0, 1, 2, 3]
    assert stage.world.notes["sim.disk failed"] >= 1
    assert stage.world.nodes["n0"].life == 2


def test_a_reset_breaks_one_connection_at_once() -> None:
    stage = Stage(Reset(T0, 0, 1))
    before = stage.at(199).world.network.pipe(*(stage.world.nodes[name] for name in NAMES[:2])).stream
    after = stage.at(300).world.network.pipe(*(stage.world.nodes[name] for name in NAMES[:2])).stream
    assert before is not None
    assert after is not None
    assert before is not after


def test_heal_ends_everything_that_is_under_way_and_drops_what_would_come() -> None:
    forever = 1000 * SECOND
    stage = Stage(
        Partition(T0, forever, ()),
        OneWay(T0, forever, (0,), (1,)),
        Flap(T0, forever, 0, 1, 10 * MILLISECOND),
        SlowLink(T0, forever, 0, 2, SECOND),
        Loss(T0, forever, 0.9, 0.5),
        Pause(T0, 3, forever),
        ClockOffset(T0, forever, 0, SECOND),
        ClockRate(T0, forever, 1, 500),
        SlowDisk(T0, forever, 1, SECOND),
        Crash(T0, 2, forever),
        Crash(2 * SECOND, 0, forever),
        Partition(2 * SECOND, forever, ()),
    )
    stage.at(1000).storm.heal()
    stage.at(2500)
    assert (stage.deaf(), stage.up) == (set(), [0, 1, 2, 3])
    network = stage.world.network
    assert (network.lossy, network.loss, network.duplicate) == (0, 0.0, 0.0)
    assert all(node.disk_extra_ns == node.paused == 0 for node in stage.world.nodes.values())
    assert stage.world.now < 5 * SECOND


def test_bad_disks_are_those_of_a_minority_and_leave_the_rest_of_a_plan_as_it_was() -> None:
    seen: dict[str, int] = {}
    for seed in range(300):
        plan, without = draw(seed, Swarm(bad_disks=1.0, full_disks=1.0)), draw(seed, Swarm())
        spoilt = {fault.node for fault in plan.faults if isinstance(fault, Spoiling)}
        assert 2 * len(spoilt) < plan.nodes
        assert set(without.faults) <= set(plan.faults)
        assert (plan.nodes, plan.conditions, plan.heal_at_ns) == (without.nodes, without.conditions, without.heal_at_ns)
        assert plan == Plan.load(plan.dump())
        for kind in {type(fault).__name__ for fault in plan.faults if isinstance(fault, BadDisk)}:
            seen[kind] = seen.get(kind, 0) + 1
    assert seen.keys() == {kind.__name__ for kind in get_args(BadDisk)}
    assert min(seen.values()) > 50


def test_clocks_of_several_nodes_step_together_and_leave_the_rest_of_a_plan_as_it_was() -> None:
    struck: set[tuple[int, int]] = set()
    for seed in range(100):
        swarm = Swarm(clock_steps=1.0, faults=("Crash",))
        plan, without = draw(seed, swarm), draw(seed, Swarm(faults=("Crash",)))
        steps = [fault for fault in plan.faults if isinstance(fault, ClockOffset)]
        assert [fault for fault in plan.faults if not isinstance(fault, ClockOffset)] == list(without.faults)
        assert swarm.refusal(plan) is None and plan == Plan.load(plan.dump())
        by = min(steps, key=lambda fault: abs(fault.by_ns)).by_ns
        struck.add((plan.nodes, len({fault.node for fault in steps if fault.by_ns == by})))
    assert {(nodes, count) for nodes in (3, 5) for count in range(2, nodes + 1)} <= struck


def test_faults_of_nodes_that_are_not_there_do_nothing() -> None:
    faults = draw(3, Swarm(sizes=(7,), faults_max=60)).faults
    stage = Stage(*faults, names=["n0"])
    stage.world.run_until(10 * SECOND)
    stage.storm.heal()
    assert stage.world.nodes["n0"].up
    assert not stage.world.failures


def test_every_kind_of_fault_is_drawn_and_no_storm_outlasts_its_bounds() -> None:
    """Groce et al. 2012: and most storms lack most kinds."""
    every = tuple(KINDS)
    assert not KINDS.keys() & {kind.__name__ for kind in get_args(BadDisk)}
    assert set(every) == {*Swarm().faults, "DiskLost"}
    seen: dict[str, int] = dict.fromkeys(every, 0)
    for seed in range(300):
        plan = draw(seed, Swarm(faults=every, deaths=True))
        kinds = {type(fault).__name__ for fault in plan.faults}
        for kind in kinds:
            seen[kind] += 1
        assert all(fault.at_ns < plan.heal_at_ns for fault in plan.faults)
        assert all(end_ns(fault) >= fault.at_ns for fault in plan.faults)
        dead = {fault.node for fault in plan.faults if isinstance(fault, Crash) and fault.for_good}
        wiped = {fault.node for fault in plan.faults if isinstance(fault, DiskLost)}
        assert 2 * len(dead) < plan.nodes, "a quorum survives"
        assert 2 * len(wiped) < plan.nodes
    assert min(seen.values()) > 20
    assert max(seen.values()) < 150
