"""Failure detectors: how soon a crash is noticed, and how often a live process is suspected.

Question: a fixed timeout, the product's adaptive detector, phi accrual: how do they trade speed for mistakes, when
heartbeats are lost and processes pause?

Method: a process sends heartbeats every 100 ms through the simulated network; a monitor runs all detectors on what
arrives. Heartbeats are lost by chance, or the process is paused by chance, from a seed; in the end it crashes. Counted
are mistakes (suspicions of a live process), the share of time that they last, and, after each heartbeat, how long a crash
would stay unnoticed at most. Phi accrual is also given gaps from a normal distribution, for which it is made.

Source: Chen, Toueg, Aguilera, "On the Quality of Service of Failure Detectors" (2002) for what is measured; Hayashibara
et al. 2004 for phi; Chandra and Toueg 1996 for completeness and accuracy;
docs/protocols/failure-detection.md for the product's.

Expected: all suspect a crash for ever (completeness). With a limit between m and m+1 intervals and losses of
probability p, a fixed timeout errs where m heartbeats in a row or more are lost: (1-p) p^m times for each. The adaptive
detector waits for its limit at least and twice that at most, so it errs only where the fixed one of the same limit does.
Phi accrual with threshold t errs with probability 10^-t for each heartbeat if gaps are normal.
"""

import itertools
import math
import random
from collections.abc import Iterator
from typing import NamedTuple

from phalanx.lab.experiments.result import Claim, Result, Table, equal, near
from phalanx.lab.figures.model import Lines, Series
from phalanx.lab.textbook.detectors import Adaptive, Detector, Fixed, Heart, Heartbeat, Monitor, PhiAccrual, Suspicion
from phalanx.lab.textbook.interposed import Interposed
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Machine
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

INTERVAL_NS = 100 * MILLISECOND
LIMITS_MS = (150, 250, 350, 550, 850)
THRESHOLDS = (1.0, 2.0, 4.0, 8.0, 12.0)
NORMAL_THRESHOLDS = (1.0, 2.0, 3.0)
PRODUCT = "docs/protocols/failure-detection.md"
QOS = "Chen, Toueg, Aguilera 2002"
PHI = "Hayashibara et al. 2004, section IV"


class Weather(NamedTuple):
    """What happens to heartbeats."""

    name: str
    loss: float = 0.0
    pause_every_s: float = 0.0
    """Mean time from one pause of the process to the next; 0: none."""
    pause_ms: tuple[int, int] = (0, 0)


WEATHERS = (
    Weather("calm"),
    Weather("a tenth lost", loss=0.1),
    Weather("a third lost", loss=1 / 3),
    Weather("pauses", pause_every_s=10, pause_ms=(100, 1500)),
)


class Record(NamedTuple):
    """One detector in one weather."""

    weather: Weather
    detector: str
    mistakes: int
    wrong: float
    """Share of its life during which the process was suspected."""
    patience_ms: float
    """How long a crash stays unnoticed at most, on average."""
    bounds_ms: tuple[float, float]
    """The least and the greatest patience."""
    complete: bool
    """It was suspected in the end, and remained so."""
    times: tuple[int, ...]
    """When mistakes began."""


class Run(NamedTuple):
    """One weather, with all detectors."""

    weather: Weather
    records: dict[str, Record]
    lost: tuple[bool, ...]
    """Of each heartbeat in order, whether it was lost."""


def run(full: bool) -> Result:
    """See the module's text."""
    seconds = 6_000 if full else 300
    runs = [observe(weather, seconds) for weather in WEATHERS]
    normal = [normal_gaps(threshold, 200_000 if full else 20_000) for threshold in NORMAL_THRESHOLDS]
    return Result(
        tables=(record_table(runs), normal_table(normal)),
        figures={"detectors-pauses": trade_figure(runs[-1]), "detectors-losses": trade_figure(runs[2])},
        claims=(*loss_claims(runs), *adaptive_claims(runs), *normal_claims(normal), complete_claim(runs)),
    )


# --- execution ----------------------------------------------------------------------------------------------------


def detectors() -> dict[str, Detector]:
    """All of them, new."""
    fixed: dict[str, Detector] = {f"fixed {limit} ms": Fixed(limit * MILLISECOND) for limit in LIMITS_MS}
    adaptive = {f"adaptive {limit} ms": Adaptive(limit * MILLISECOND) for limit in LIMITS_MS}
    return fixed | adaptive | {f"phi {threshold:g}": PhiAccrual(threshold) for threshold in THRESHOLDS}


def observe(weather: Weather, seconds: int) -> Run:
    """Run it for that long; then the process crashes, and a minute later it is over."""
    rng = random.Random(f"weather {weather.name}")
    lost: list[bool] = []
    changes: list[tuple[int, Suspicion]] = []
    monitor = Monitor(detectors())

    def arrives(message: object) -> bool:
        assert isinstance(message, Heartbeat)
        lost.append(rng.random() < weather.loss)
        return not lost[-1]

    def start(setup: Setup) -> Machine:
        if setup.name == "monitor":
            return monitor
        return Interposed(Heart("monitor", INTERVAL_NS), receives=lambda _: True, sends=arrives)

    def deliver(_: Node, delivery: Suspicion) -> None:
        changes.append((world.now, delivery))

    world = World(1, start, deliver=deliver, conditions=Conditions(stagger_ns=0))
    world.add("monitor")
    world.run_for(SECOND)
    world.add("process")
    at = 0
    while weather.pause_every_s:
        at += SECOND + int(rng.expovariate(1 / weather.pause_every_s) * SECOND)
        length = rng.randrange(*weather.pause_ms) * MILLISECOND
        if at + length > (seconds - 5) * SECOND:
            break
        world.schedule(at, world.pause, "process")
        world.schedule(at + length, world.resume, "process")
        at += length
    begun = world.now
    world.run_for(seconds * SECOND)
    crashed = world.now
    world.crash("process")
    world.run_for(60 * SECOND)
    assert not world.failures, world.failures
    records = {
        name: _record(
            weather, name, [(at, s.suspected) for at, s in changes if s.detector == name], patience, begun, crashed
        )
        for name, patience in monitor.patience.items()
    }
    return Run(weather, records, tuple(lost))


def _record(
    weather: Weather, name: str, changes: list[tuple[int, bool]], patience: list[int], begun: int, crashed: int
) -> Record:
    mistakes = [at for at, suspected in changes if suspected and at < crashed]
    wrong, since = 0, 0
    for at, suspected in [*changes, (crashed, False)]:
        if at <= crashed and suspected:
            since = at
        elif at <= crashed and since:
            wrong += at - since
            since = 0
    ms = [each / MILLISECOND for each in patience]
    complete = bool(changes) and changes[-1][1]
    share = wrong / (crashed - begun)
    return Record(weather, name, len(mistakes), share, sum(ms) / len(ms), (min(ms), max(ms)), complete, tuple(mistakes))


class Normal(NamedTuple):
    """Phi accrual on gaps from a normal distribution."""

    threshold: float
    heartbeats: int
    mistakes: int


def normal_gaps(threshold: float, heartbeats: int) -> Normal:
    """Mistakes once the window is full."""
    rng = random.Random(f"normal {threshold}")
    detector = PhiAccrual(threshold)
    now = mistakes = counted = 0
    for number in range(heartbeats + 1_000):
        overdue = detector.overdue_at()
        now += max(1, int(rng.gauss(100, 10) * MILLISECOND))
        if number >= 1_000:
            counted += 1
            mistakes += overdue is not None and now >= overdue
        detector.heard(now)
    return Normal(threshold, counted, mistakes)


# --- tables, figures, claims --------------------------------------------------------------------------------------


def record_table(runs: list[Run]) -> Table:
    """One row for each weather and detector."""
    columns = ("weather", "detector", "mistakes", "share of time suspected", "crash unnoticed for (ms, at most)")
    rows = tuple(
        (r.weather.name, r.detector, r.mistakes, r.wrong, r.patience_ms) for w in runs for r in w.records.values()
    )
    return Table("Mistakes about a live process, and how long a crash stays unnoticed", columns, rows)


def loss_claims(runs: list[Run]) -> Iterator[Claim]:
    """The fixed timeout, exactly and by chance."""
    for observed in runs:
        if not observed.weather.loss:
            continue
        p, n = observed.weather.loss, len(observed.lost)
        for limit in LIMITS_MS:
            needed = limit * MILLISECOND // INTERVAL_NS
            record = observed.records[f"fixed {limit} ms"]
            yield equal(
                f"{observed.weather.name}: a fixed timeout of {limit} ms errs where {needed} or more in a row are lost",
                QOS,
                gaps_of(observed.lost, needed),
                record.mistakes,
            )
            rate = (1 - p) * p**needed
            yield near(
                f"{observed.weather.name}: that is (1-p) p^{needed} of the heartbeats",
                QOS,
                n * rate,
                record.mistakes,
                4 * math.sqrt(n * rate) + 1,
            )


def gaps_of(lost: tuple[bool, ...], least: int) -> int:
    """How often so many or more in a row were lost, after the first that was not."""
    begun = lost.index(False)
    return sum(is_lost and len(list(group)) >= least for is_lost, group in itertools.groupby(lost[begun:]))


def adaptive_claims(runs: list[Run]) -> Iterator[Claim]:
    """Between its limit and twice that, so it errs only where the fixed one does."""
    outside = [
        f"{r.weather.name}, {r.detector}: {r.bounds_ms}"
        for observed in runs
        for limit in LIMITS_MS
        if not limit <= (r := observed.records[f"adaptive {limit} ms"]).bounds_ms[0] <= r.bounds_ms[1] <= 2 * limit
    ]
    yield equal("the adaptive detector waits for its limit at least and twice that at most", PRODUCT, [], outside)
    alone = [
        f"{observed.weather.name}, {limit} ms"
        for observed in runs
        for limit in LIMITS_MS
        if observed.records[f"adaptive {limit} ms"].mistakes > observed.records[f"fixed {limit} ms"].mistakes
    ]
    yield equal("the adaptive detector errs no more often than a fixed one of its limit", PRODUCT, [], alone)
    stormy = [observed for observed in runs if observed.weather != WEATHERS[0]]
    fewer = sum(
        observed.records[f"adaptive {limit} ms"].mistakes < observed.records[f"fixed {limit} ms"].mistakes
        for observed in stormy
        for limit in LIMITS_MS[:3]
    )
    yield equal("and less often where mistakes are frequent", PRODUCT, 3 * len(stormy), fewer)


def normal_table(normal: list[Normal]) -> Table:
    """Phi against what it promises."""
    rows = tuple((n.threshold, n.heartbeats, n.mistakes, n.mistakes / n.heartbeats, 10**-n.threshold) for n in normal)
    columns = ("threshold", "heartbeats", "mistakes", "share", "10^-threshold")
    return Table("Phi accrual, if gaps are normal", columns, rows)


def normal_claims(normal: list[Normal]) -> Iterator[Claim]:
    """Within four deviations of chance, and a tenth for what a window of 1,000 gaps does not know."""
    for each in normal:
        expected = 10**-each.threshold * each.heartbeats
        margin = 4 * math.sqrt(expected) + 0.1 * expected
        yield near(
            f"phi {each.threshold:g} errs with probability 10^-{each.threshold:g}", PHI, expected, each.mistakes, margin
        )


def complete_claim(runs: list[Run]) -> Claim:
    """A crash is suspected, and remains so."""
    missed = [f"{r.weather.name}, {r.detector}" for w in runs for r in w.records.values() if not r.complete]
    return equal("all suspect a crashed process for ever (completeness)", "Chandra and Toueg 1996", [], missed)


def trade_figure(observed: Run) -> Lines:
    """Speed against accuracy: lower left is better."""
    series = []
    for hue, kind in enumerate(("fixed", "adaptive", "phi")):
        points = sorted((r.patience_ms, r.wrong) for name, r in observed.records.items() if name.startswith(kind))
        name = f"{kind}{', the product' if kind == 'adaptive' else ''}"
        series.append(Series(name, tuple(points), True, hue))
    title = f"Speed against mistakes: {observed.weather.name}"
    return Lines(
        title, "a crash stays unnoticed for at most (ms, mean)", "share of time wrongly suspected", tuple(series), True
    )
