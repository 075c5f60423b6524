"""Another adversary for every seed (Groce et al., "Swarm Testing", ISSTA 2012).

A run in which every kind of fault happens all the time explores little: faults mask each other.  So each seed first
draws *which* kinds of fault there are at all, then how often and how long, and what network and disks are like.
"""

import random
from collections.abc import Callable
from typing import get_args

import msgspec

from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND
from phalanx.sim.conditions import Conditions
from phalanx.sim.faults import (
    KINDS,
    BitRot,
    ClockOffset,
    ClockRate,
    Crash,
    CrashAll,
    CrashInWrite,
    DiskError,
    DiskLost,
    Fault,
    Flap,
    FullDisk,
    Lapse,
    Loss,
    LostSync,
    OneWay,
    Partition,
    Pause,
    ReceiveOmission,
    ReceiveOverflow,
    Reset,
    Ring,
    SendOmission,
    SendOverflow,
    SlowDisk,
    SlowLink,
    SlowProcess,
    Spoiling,
    StrayWrite,
)
from phalanx.sim.plan import Plan


class Swarm(msgspec.Struct, frozen=True):
    """The range from which plans are drawn.  Times in nanoseconds; fault names are those of the classes in `faults`."""

    sizes: tuple[int, ...] = (1, 2, 3, 3, 3, 4, 5, 5, 6, 7)
    """One of them is the number of nodes.  Most failures show on three nodes or fewer (Yuan et al., OSDI 2014)."""
    storm_ns: int = 8 * SECOND
    """Longest storm."""
    calm_ns: int = 300 * SECOND
    """How long the run may take to finish after it.  A link may delay one message in ten by up to what is lag already,
    in the calm too, and a member that lagged again and again waits half a minute for each promotion
    (group/probation.py): five of them, and one more that holds, must have room."""
    quiet_start_ns: int = 0
    """No fault before that."""
    faults: tuple[str, ...] = tuple(kind for kind in KINDS if kind != DiskLost.__name__)
    """Kinds that may occur.  `DiskLost` must be asked for: few promises survive it without a condition."""
    faults_max: int = 24
    """Most faults in one storm."""
    deaths: bool = False
    """Some nodes, fewer than half, are killed for good: of those that may lose their disks, if some may."""
    disks_lost_max: int | None = None
    """Nodes that may lose their disks, if `DiskLost` is among the kinds; None: fewer than half."""
    bad_disks: float = 0.0
    """Fraction of runs in which disks fail, and those of a minority lose what was durable (`faults.BadDisk`)."""
    full_disks: float = 0.0
    """Fraction of runs in which disks fill up, and have room again later: of some nodes, or of all."""
    lapses: float = 0.0
    """Fraction of runs in which processes omit to send or to receive, overflow, or are slow (`failures.Lapse`)."""
    clock_steps: float = 0.0
    """Fraction of runs in which the clocks of some nodes, or of all, are wrong together, and are put right again."""
    clock_offset_max_ns: int = 10 * SECOND
    clock_rate_max_ppm: int = 20_000
    lossy: float = 0.25
    """Fraction of runs in which all messages are datagrams."""
    codec: float = 0.2
    """Fraction of runs in which messages go through the codec."""
    fingerprints: float = 0.05
    """Fraction of runs in which changes to sent messages are looked for: these runs are slow."""

    def refusal(self, plan: Plan) -> str | None:
        """Why no scenario with this swarm need stand up to the plan: what `draw` never draws.  None if it must."""
        minority = (plan.nodes - 1) // 2
        if plan.nodes not in self.sizes:
            return f"a cluster of {plan.nodes}"
        alien = {type(fault).__name__ for fault in plan.faults} - self._kinds
        if alien:
            return f"faults of the kind {', '.join(sorted(alien))}"
        if not all(self.quiet_start_ns <= fault.at_ns for fault in plan.faults):
            return f"a fault before {self.quiet_start_ns} ns"
        dead = {fault.node for fault in plan.faults if isinstance(fault, Crash) and fault.for_good}
        if len(dead) > (minority if self.deaths else 0):
            return f"{len(dead)} nodes killed for good"
        lost = {fault.node for fault in plan.faults if isinstance(fault, DiskLost)}
        most_lost = minority if self.disks_lost_max is None else min(plan.nodes, self.disks_lost_max)
        if len(lost) > most_lost:
            return f"{len(lost)} nodes that lose their disks"
        if lost and len(lost | dead) > max(minority, most_lost):
            return f"{len(lost | dead)} nodes that lose their disks or are killed for good"
        spoiled = {fault.node for fault in plan.faults if isinstance(fault, Spoiling)}
        if len(spoiled) > minority:
            return f"{len(spoiled)} nodes with disks that spoil what was durable"
        return None

    @property
    def _kinds(self) -> set[str]:
        """All that it may draw."""
        kinds = set(self.faults)
        if self.deaths:
            kinds.add(Crash.__name__)
        if self.bad_disks:
            kinds |= {kind.__name__ for kind in (BitRot, StrayWrite, DiskError, LostSync, Crash, CrashAll)}
        if self.full_disks:
            kinds |= {kind.__name__ for kind in (FullDisk, CrashAll)}
        if self.lapses:
            kinds |= {kind.__name__ for kind in get_args(Lapse)}
        if self.clock_steps:
            kinds.add(ClockOffset.__name__)
        return kinds


def draw(seed: int, swarm: Swarm) -> Plan:
    """The plan of a seed.  The same arguments give the same plan."""
    rng = random.Random(f"{seed}/swarm")
    nodes = rng.choice(swarm.sizes)
    conditions = _conditions(rng, swarm)
    begin_ns = swarm.quiet_start_ns
    storm_ns = int(swarm.storm_ns * rng.uniform(0.3, 1.0))
    kinds = [kind for kind in swarm.faults if rng.random() < 0.4]
    faults: list[Fault] = []
    doomed = None
    if kinds:
        weights = [rng.random() for _ in kinds]
        lasts_ns = int(storm_ns * rng.choice((0.02, 0.1, 0.4)))
        disaster = _Disaster(rng, swarm, nodes, lasts_ns)
        doomed = disaster.losers if DiskLost.__name__ in kinds else None
        for _ in range(rng.randint(1, swarm.faults_max)):
            [kind] = rng.choices(kinds, weights)
            fault = disaster.draw(kind, begin_ns + rng.randrange(storm_ns))
            if fault is not None:
                faults.append(fault)
    if swarm.deaths and nodes > 2 and rng.random() < 0.3:
        dying = rng.randint(1, (nodes - 1) // 2)
        for node in rng.sample(doomed, min(dying, len(doomed))) if doomed else rng.sample(range(nodes), dying):
            faults.append(Crash(begin_ns + rng.randrange(storm_ns), node, None, rng.random() < 0.5, for_good=True))
    faults += _bad_disks(seed, swarm, nodes, storm_ns)
    faults += _full_disks(seed, swarm, nodes, storm_ns)
    faults += _lapses(seed, swarm, nodes, storm_ns)
    faults += _clock_steps(seed, swarm, nodes, storm_ns)
    faults.sort(key=lambda fault: fault.at_ns)
    return Plan(seed, nodes, conditions, tuple(faults), begin_ns + storm_ns, swarm.calm_ns)


def draw_fault(rng: random.Random, swarm: Swarm, plan: Plan) -> Fault | None:
    """One more fault for the plan's storm, of any kind that the swarm lists.  None if the plan can have none of that
    kind."""
    storm_ns = plan.heal_at_ns - swarm.quiet_start_ns
    if not swarm.faults or storm_ns <= 0:
        return None
    lasts_ns = int(storm_ns * rng.choice((0.02, 0.1, 0.4)))
    disaster = _Disaster(rng, swarm, plan.nodes, lasts_ns)
    return disaster.draw(rng.choice(swarm.faults), swarm.quiet_start_ns + rng.randrange(storm_ns))


def _bad_disks(seed: int, swarm: Swarm, nodes: int, storm_ns: int) -> list[Fault]:
    """Drawn from chance of its own, so that it adds to the plan of a seed.  What spoils a disk strikes a minority; it is
    seen when the process starts again, so that mostly follows."""
    rng = random.Random(f"{seed}/bad disks")
    faults: list[Fault] = []
    if rng.random() >= swarm.bad_disks:
        return faults
    losers = rng.sample(range(nodes), (nodes - 1) // 2)
    losing = losers[: rng.randint(0, len(losers))]
    for _ in range(rng.randint(1, 6)):
        at_ns = swarm.quiet_start_ns + rng.randrange(storm_ns)
        lasts_ns = int(rng.expovariate(1.0) * storm_ns / 5) + 1
        kind = rng.choice((BitRot, StrayWrite, DiskError, LostSync))
        if kind is DiskError:
            faults.append(DiskError(at_ns, lasts_ns, rng.randrange(nodes)))
            continue
        if not losing:
            continue
        node, down_ns = rng.choice(losing), int(rng.expovariate(1.0) * storm_ns / 20)
        if kind is LostSync:
            faults.append(LostSync(at_ns, lasts_ns, node))
        else:
            place = rng.choice((rng.random(), 1 - rng.random() / 20))
            faults.append(BitRot(at_ns, node, place) if kind is BitRot else StrayWrite(at_ns, node, place))
        if rng.random() < 0.8:
            ends_ns = at_ns + rng.randrange(lasts_ns)
            everybody = CrashAll(ends_ns, down_ns, down_ns)
            faults.append(everybody if rng.random() < 0.4 else Crash(ends_ns, node, down_ns, host=True))
    return faults


def _full_disks(seed: int, swarm: Swarm, nodes: int, storm_ns: int) -> list[Fault]:
    """Drawn from chance of their own, too.  Often all lose power before there is room again, or soon after."""
    rng = random.Random(f"{seed}/full disks")
    if rng.random() >= swarm.full_disks:
        return []
    faults: list[Fault] = []
    for _ in range(rng.randint(1, 4)):
        at_ns = swarm.quiet_start_ns + rng.randrange(storm_ns)
        most = nodes if rng.random() < 0.3 else (nodes + 1) // 2
        for node in rng.sample(range(nodes), rng.randint(1, most)):
            lasts_ns = int(rng.expovariate(1.0) * storm_ns / 3) + 1
            left, warned = rng.choice((0, 5, 50, 500)), rng.random() < 0.7
            faults.append(FullDisk(at_ns + rng.randrange(storm_ns // 20), lasts_ns, node, left, warned))
        if rng.random() < 0.5:
            down_ns = int(rng.expovariate(1.0) * storm_ns / 20)
            faults.append(CrashAll(at_ns + int(rng.expovariate(1.0) * storm_ns / 3), down_ns, down_ns))
    return faults


def _lapses(seed: int, swarm: Swarm, nodes: int, storm_ns: int) -> list[Fault]:
    """Drawn from chance of their own, too.  Some runs have one kind only, and some nodes several at once."""
    rng = random.Random(f"{seed}/lapses")
    if rng.random() >= swarm.lapses:
        return []
    every = get_args(Lapse)
    kinds = rng.sample(every, rng.randint(1, len(every)))
    faults: list[Fault] = []
    for _ in range(rng.randint(1, 8)):
        at_ns, node = swarm.quiet_start_ns + rng.randrange(storm_ns), rng.randrange(nodes)
        lasts_ns = int(rng.expovariate(1.0) * storm_ns / 3) + 1
        share = rng.choice((0.02, 0.3, 1.0))
        kind = rng.choice(kinds)
        if kind in (SendOmission, ReceiveOmission):
            faults.append(kind(at_ns, lasts_ns, node, share))
        elif kind is SendOverflow:
            each_ns = rng.choice((50, 500, 5_000)) * MICROSECOND
            faults.append(SendOverflow(at_ns, lasts_ns, node, rng.choice((1, 10, 100)), each_ns))
        elif kind is ReceiveOverflow:
            faults.append(ReceiveOverflow(at_ns, lasts_ns, node, rng.choice((1, 5, 50))))
        else:
            faults.append(SlowProcess(at_ns, lasts_ns, node, rng.choice((1, 20, 300)) * MILLISECOND))
    return faults


def _clock_steps(seed: int, swarm: Swarm, nodes: int, storm_ns: int) -> list[Fault]:
    """Drawn from chance of their own, too.  Clocks go wrong by the same, and are put right together, or one by one."""
    rng = random.Random(f"{seed}/clock steps")
    if rng.random() >= swarm.clock_steps:
        return []
    faults: list[Fault] = []
    for _ in range(rng.randint(1, 3)):
        at_ns = swarm.quiet_start_ns + rng.randrange(storm_ns)
        lasts_ns = int(rng.expovariate(1.0) * storm_ns / 3) + 1
        by_ns = rng.choice((1, 1, -1)) * rng.choice((600 * MILLISECOND, 5 * SECOND, 3_600 * SECOND))
        apart_ns = rng.choice((1, storm_ns // 5))
        for node in rng.sample(range(nodes), rng.randint(min(2, nodes), nodes)):
            faults.append(ClockOffset(at_ns + rng.randrange(apart_ns), lasts_ns + rng.randrange(apart_ns), node, by_ns))
    return faults


def _conditions(rng: random.Random, swarm: Swarm) -> Conditions:
    lossy = rng.random() < swarm.lossy
    return Conditions(
        delay_min_ns=rng.choice((10, 100, 1_000, 20_000)) * MICROSECOND,
        delay_spread_ns=rng.choice((0, 100, 2_000, 20_000)) * MICROSECOND,
        delay_tail=rng.choice((0.0, 0.0, 0.01, 0.1)),
        delay_tail_ns=rng.choice((5, 50, 300)) * MILLISECOND,
        lossy=lossy,
        duplicate=rng.choice((0.0, 0.05, 0.5)) if lossy else 0.0,
        late=rng.choice((0.0, 0.01, 0.2)) if lossy else 0.0,
        late_ns=rng.choice((10, 200, 3_000)) * MILLISECOND,
        keep_unsent=rng.choice((1.0, 1.0, 0.5, 0.0)),
        break_after_ns=rng.choice((50, 500, 5_000, 60_000)) * MILLISECOND,
        backoff_max_ns=rng.choice((20, 200, 1_000)) * MILLISECOND,
        turn_ns=rng.choice((0, 20, 500)) * MICROSECOND,
        grouped=rng.choice((0.0, 0.5, 0.9, 1.0)),
        timer_late_ns=rng.choice((0, 0, 1_000, 20_000)) * MICROSECOND,
        write_min_ns=rng.choice((0, 100, 2_000)) * MICROSECOND,
        write_spread_ns=rng.choice((10, 500, 20_000)) * MICROSECOND,
        release_spread_ns=rng.choice((0, 50, 5_000)) * MICROSECOND,
        stagger_ns=rng.choice((0, 5, 1_000)) * MILLISECOND,
        codec=rng.random() < swarm.codec,
        fingerprints=rng.random() < swarm.fingerprints,
    )


class _Disaster:
    """Draws faults of one storm."""

    def __init__(self, rng: random.Random, swarm: Swarm, nodes: int, lasts_ns: int) -> None:
        self._rng = rng
        self._swarm = swarm
        self._nodes = nodes
        self._lasts_ns = lasts_ns
        fewest = (nodes - 1) // 2 if swarm.disks_lost_max is None else min(nodes, swarm.disks_lost_max)
        self.losers = rng.sample(range(nodes), fewest)
        """Whose disks may be lost."""
        self._kinds: dict[str, Callable[[int], Fault | None]] = {
            "Crash": self._crash,
            "CrashInWrite": lambda at: CrashInWrite(at, self._node(), self._short()),
            "CrashAll": lambda at: CrashAll(at, self._short(), self._short()),
            "DiskLost": lambda at: DiskLost(at, rng.choice(self.losers), self._short()) if self.losers else None,
            "Pause": lambda at: Pause(at, self._node(), self._short()),
            "Partition": lambda at: Partition(at, self._short(), self._groups()),
            "OneWay": self._one_way,
            "Ring": lambda at: Ring(at, self._short()),
            "Flap": lambda at: Flap(at, self._short(), *self._pair(), rng.choice((2, 50, 700)) * MILLISECOND),
            "Reset": lambda at: Reset(at, *self._pair()),
            "SlowLink": lambda at: SlowLink(at, self._short(), *self._pair(), rng.choice((5, 100, 900)) * MILLISECOND),
            "Loss": lambda at: Loss(at, self._short(), rng.choice((0.02, 0.3, 0.8)), rng.choice((0.0, 0.3))),
            "ClockOffset": self._clock_offset,
            "ClockRate": self._clock_rate,
            "SlowDisk": lambda at: SlowDisk(at, self._short(), self._node(), rng.choice((5, 100, 3_000)) * MILLISECOND),
        }

    def draw(self, kind: str, at_ns: int) -> Fault | None:
        """None if a cluster of that size cannot have it.  Raises KeyError for an unknown kind."""
        if self._nodes == 1 and kind in ("Partition", "OneWay", "Ring", "Flap", "Reset", "SlowLink"):
            return None
        return self._kinds[kind](at_ns)

    def _node(self) -> int:
        return self._rng.randrange(self._nodes)

    def _pair(self) -> tuple[int, int]:
        a, b = self._rng.sample(range(self._nodes), 2)
        return a, b

    def _short(self) -> int:
        """Mostly well below the run's usual length, sometimes well above."""
        return max(MILLISECOND, int(self._rng.expovariate(1.0) * self._lasts_ns))

    def _crash(self, at_ns: int) -> Crash:
        down_ns = self._rng.choice((0, self._short(), self._short(), None))
        return Crash(at_ns, self._node(), down_ns, self._rng.random() < 0.3)

    def _groups(self) -> tuple[tuple[int, ...], ...]:
        rng, everyone = self._rng, list(range(self._nodes))
        rng.shuffle(everyone)
        cut = rng.randint(1, self._nodes - 1)
        one, other = everyone[:cut], everyone[cut:]
        shape = rng.random()
        if shape < 0.2:  # one is alone
            one, other = everyone[:1], everyone[1:]
        elif shape < 0.4:  # a bridge: the last of the one side is in the other, too
            other = [one[-1], *other]
        elif shape < 0.5:  # nobody talks to anybody
            return ()
        return tuple(sorted(one)), tuple(sorted(other))

    def _one_way(self, at_ns: int) -> OneWay:
        everyone = tuple(range(self._nodes))
        node = (self._node(),)
        sources, targets = self._rng.choice(((node, everyone), (everyone, node), tuple((n,) for n in self._pair())))
        return OneWay(at_ns, self._short(), sources, targets)

    def _clock_offset(self, at_ns: int) -> ClockOffset:
        by_ns = int(self._rng.choice((0.001, 0.05, 1.0)) * self._swarm.clock_offset_max_ns)
        return ClockOffset(at_ns, self._short(), self._node(), self._rng.choice((-by_ns, by_ns)))

    def _clock_rate(self, at_ns: int) -> ClockRate:
        ppm = int(self._rng.choice((0.01, 1.0)) * self._swarm.clock_rate_max_ppm)
        return ClockRate(at_ns, self._short(), self._node(), self._rng.choice((-ppm, ppm)))
