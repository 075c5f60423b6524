"""What was measured: samples of workloads, and what several rounds of them say together.

Each round measures every workload of every system once.  A machine's speed changes between rounds more than within one,
so two systems are compared round by round: a ratio is the median of the rounds' ratios, and its range is shown with it.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from phalanx.lab.loadgen.histogram import Histogram

OURS = "Phalanx"

MEMBERS = 3
"""Of a group, where nothing else is said: all peers are measured with so many."""

Figures = Mapping[str, float]
"""`ops_per_s`, `p50_us`, `p99_us`, `p999_us`, `gap_ms`; `client_cpu` and `member_cpu` are shares of one core, of the
process that makes the load, or of the busiest member where the members make it; `errors`: operations that failed;
`others_cores`: how many cores were in use before."""

PERCENTILES = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999}


def latencies_us(histogram: Histogram) -> dict[str, float]:
    """Of a histogram of nanoseconds."""
    return {name: round(histogram.percentile(share) / 1000, 1) for name, share in PERCENTILES.items()}


class What(StrEnum):
    """Kinds of workloads; the last ones are limits of the machine."""

    MULTICAST = "multicast"
    PUT = "put"
    DURABLE_PUT = "durable put"
    GET = "linearizable get"
    GAP = "write gap"
    GAP_OF_VICTIM = "write gap of the killed node's clients"
    STREAM = "stream"
    PING = "ping-pong"
    FSYNC = "fsync"


class Work(msgspec.Struct, frozen=True):
    """One workload.  size: of payloads; outstanding: operations under way, 0 for as many as there can be."""

    what: What
    size: int = 0
    senders: int = 1
    outstanding: int = 0
    members: int = MEMBERS
    groups: int = 1

    @property
    def figure(self) -> str:
        """What it is judged by."""
        if self.what in (What.GAP, What.GAP_OF_VICTIM):
            return "gap_ms"
        return "p50_us" if self.outstanding == 1 or self.what in (What.PING, What.FSYNC) else "ops_per_s"

    @property
    def is_more_better(self) -> bool:
        return self.figure == "ops_per_s"

    def place(self) -> tuple[int, ...]:
        """Where it stands in a list of all workloads."""
        kind = list(What).index(self.what)
        return kind, self.size, self.senders, self.outstanding, self.members, self.groups

    @property
    def text(self) -> str:
        """For people."""
        words = [self.what.value]
        if self.size:
            words.append(f"{self.size} B" if self.size < 1024 else f"{self.size // 1024} KiB")
        if self.what is What.MULTICAST and not self.outstanding:
            words.append(f"{self.senders} sender" + "s" * (self.senders > 1))
        if self.outstanding:
            words.append(f"{self.outstanding} under way")
        if self.members != MEMBERS:
            words.append(f"{self.members} members")
        if self.groups > 1:
            words.append(f"{self.groups} groups")
        return ", ".join(words)

    @property
    def limits(self) -> tuple["Work", ...]:
        """What the machine does with as much, without any protocol."""
        limits = []
        if self.what is What.MULTICAST and not self.outstanding:
            limits.append(Work(What.STREAM, self.size))
        if self.outstanding == 1:
            limits.append(Work(What.PING, 100))
            if self.what is What.DURABLE_PUT:
                limits.append(Work(What.FSYNC))
        return tuple(limits)

    @property
    def base(self) -> tuple["Work", str] | None:
        """The same with less of something, and of what it is a share then."""
        replace = msgspec.structs.replace
        if self.groups > 1:
            return replace(self, groups=1), "1 group"
        if self.members != MEMBERS:
            return replace(self, members=MEMBERS), f"{MEMBERS} members"
        return (replace(self, senders=1), "1 sender") if self.senders > 1 else None


class Sample(msgspec.Struct, frozen=True):
    """One measurement.  variant: how the system was set up, or where the load went, if that differs."""

    system: str
    work: Work
    figures: Figures
    round: int
    variant: str = ""


class Spread(msgspec.Struct, frozen=True):
    """Values of several rounds: `low` and `high` are the least and the greatest of them."""

    median: float
    low: float
    high: float
    times: int

    @property
    def share(self) -> float:
        """How far apart they are, as a share of the median: what the machine adds by itself."""
        return (self.high - self.low) / self.median


def spread_of(values: Iterable[float]) -> Spread | None:
    """None of no values."""
    found = sorted(values)
    return Spread(statistics.median(found), found[0], found[-1], len(found)) if found else None


def by_round(samples: Iterable[Sample], figure: str) -> dict[int, float]:
    """That figure in each round that has it; if it was measured several times in one, the median."""
    found: dict[int, list[float]] = {}
    for sample in samples:
        if figure in sample.figures:
            found.setdefault(sample.round, []).append(sample.figures[figure])
    return {each: statistics.median(values) for each, values in found.items()}


def ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Spread | None:
    """Ours to theirs, in the rounds that have both."""
    return spread_of(ours[each] / theirs[each] for each in ours.keys() & theirs.keys())


class Row(msgspec.Struct, frozen=True):
    """One system under one workload of ours, over all rounds.  ratio: of Phalanx's figure to this one, or, in its own
    rows, to that of its `base`.  limit: this is no system, but the machine without any protocol, and what it does."""

    work: Work
    system: str
    variant: str
    figures: Mapping[str, Spread]
    ratio: Spread | None
    base: str = ""
    limit: str = ""

    @property
    def judged(self) -> Spread:
        """The figure by which the workload is judged."""
        return self.figures[self.work.figure]


Key = tuple[Work, str, str]
"""Workload, system, variant."""


def rows_of(samples: Sequence[Sample]) -> list[Row]:
    """For each workload of ours: Phalanx, the limits, and of each other system the variant in which it did best."""
    index: dict[Key, list[Sample]] = {}
    for sample in samples:
        if sample.work.figure in sample.figures:
            index.setdefault((sample.work, sample.system, sample.variant), []).append(sample)
    rows: list[Row] = []
    for work in sorted((work for work, system, _ in index if system == OURS), key=Work.place):
        figure = work.figure
        ours = by_round(index[work, OURS, ""], figure)
        base, text = work.base or (work, "")
        of_base = by_round(index.get((base, OURS, ""), ()), figure) if text else {}
        compared = ratio(ours, of_base)
        rows.append(Row(work, OURS, "", _spreads(index[work, OURS, ""]), compared, text if compared else ""))
        limits = [(key, limit.what.value) for limit in work.limits for key in _best(limit, index)]
        for key, limit in (*limits, *((key, "") for key in _best(work, index) if key[1] != OURS)):
            compared = ratio(ours, by_round(index[key], figure))
            rows.append(Row(work, *key[1:], _spreads(index[key]), compared, limit=limit))
    return rows


def _spreads(samples: Iterable[Sample]) -> dict[str, Spread]:
    """Of each figure that there is."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.figures.items():
            values.setdefault(name, []).append(value)
    return {name: spread for name, found in values.items() if (spread := spread_of(found))}


def _best(work: Work, index: Mapping[Key, Sequence[Sample]]) -> list[Key]:
    """Of each system the variant in which it did best: peers are shown as they are at their best."""
    medians = {
        key: statistics.median(sample.figures[work.figure] for sample in samples)
        for key, samples in index.items()
        if key[0] == work
    }
    pick = max if work.is_more_better else min
    systems = dict.fromkeys(system for _, system, _ in medians)
    return [pick((key for key in medians if key[1] == system), key=medians.__getitem__) for system in systems]
