"""What `bench.peers` has measured, for people: tables in Markdown, figures as SVG; and for programs, as JSON."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.samples import MEMBERS, OURS, Row, Sample, Spread, What, Work, rows_of, spread_of
from phalanx.cli.bench import BUSY
from phalanx.lab.figures.model import Bars, Figure, Lines, Series
from phalanx.lab.figures.svg import svg

MUCH = 0.25
"""Spread of the ping-pong, as a share, above which the machine was not quiet."""

CORES = 0.1
"""That others use, above which it was not either."""


class Report(msgspec.Struct):
    """All that a run has found.  about: the machine and what was asked for; notes: what could not be measured."""

    about: dict[str, str]
    samples: list[Sample]
    notes: list[str]

    def write(self, directory: Path) -> list[Path]:
        """The tables, the figures, and all samples and rows; the files."""
        directory.mkdir(parents=True, exist_ok=True)
        rows = rows_of(self.samples)
        files = {f"{name}.svg": svg(figure) for name, figure in figures_of(rows, self.samples).items()}
        everything = {**msgspec.to_builtins(self), "rows": msgspec.to_builtins(rows)}
        files["peers.json"] = msgspec.json.format(msgspec.json.encode(everything)).decode() + "\n"
        files["peers.md"] = self.as_markdown(rows, sorted(name for name in files if name.endswith(".svg")))
        for name, text in files.items():
            (directory / name).write_text(text, "utf-8")
        return [directory / name for name in sorted(files)]

    def as_markdown(self, rows: Sequence[Row], pictures: Sequence[str] = ()) -> str:
        """The page."""
        lines = ["# Phalanx and its peers, side by side", "", LEGEND, ""]
        lines += [f"- {name}: {value}" for name, value in self.about.items()]
        lines += [f"- {quiet_text(self.samples)}", *(f"- **{note}**" for note in self.notes)]
        for section in SECTIONS:
            chosen = [row for row in rows if section.has(row, rows)]
            if chosen:
                lines += ["", f"## {section.title}", "", section.note, "", *table_of(chosen)]
        lines += ["", *(f"![{name.removesuffix('.svg')}]({name})" for name in pictures)]
        return "\n".join(lines).rstrip() + "\n"


LEGEND = f"""\
Medians over the rounds. *spread*: how far the greatest and the least of them are apart, as a share of the median, of
the figure by which the workload is judged: with one under way that is p50, else operations per second. *client*: the
share of a core that the process took which made the load, `bottleneck` from {BUSY:.0%} on; `member`: the members make
it themselves, and this is the busiest; a dash: nobody could see. *Phalanx / it*: the ratio of the two figures, round by
round, its median (and range); above 1 is better for operations per second, below 1 for latencies and gaps. *Limits* are
of the machine without any protocol. Of each system the variant is shown in which it did best."""


def quiet_text(samples: Iterable[Sample]) -> str:
    """How the machine was, by what ran before each turn, and the ping-pong of our own that was played then."""
    probes = [sample.figures for sample in samples if sample.system == UVLOOP]
    trips = spread_of(figures["p50_us"] for figures in probes)
    others = spread_of(figures["others_cores"] for figures in probes if "others_cores" in figures)
    if trips is None:
        return "noise: not measured"
    values = f"{trips.median:.1f} us, from {trips.low:.1f} to {trips.high:.1f} in {trips.times} games"
    used = (
        f"; before these others used {others.median:.2f} cores, from {others.low:.2f} to {others.high:.2f}"
        if others
        else ""
    )
    is_quiet = trips.share <= MUCH and (others is None or others.median <= CORES)
    verdict = "" if is_quiet else " **The machine was not quiet.**"
    return f"noise: p50 of a ping-pong on uvloop {values}{used}.{verdict}"


UVLOOP = "uvloop"
"""Who plays it."""

# --- tables -------------------------------------------------------------------------------------------------------


class Section(NamedTuple):
    """A table: which rows are in it, out of all that there are."""

    title: str
    note: str
    has: Callable[[Row, Sequence[Row]], bool]


def _is_usual(work: Work) -> bool:
    return work.members == MEMBERS and work.groups == 1


def _is(*kinds: What, under_load: bool | None = None) -> Callable[[Row, Sequence[Row]], bool]:
    """Rows of such workloads.  under_load: only those with so much under way, or only the others."""

    def has(row: Row, _: Sequence[Row]) -> bool:
        work = row.work
        return work.what in kinds and _is_usual(work) and under_load in (None, work.outstanding > 0)

    return has


def _grows(field: str) -> Callable[[Row, Sequence[Row]], bool]:
    """Rows of ours whose workloads were measured with several values of that."""

    def has(row: Row, rows: Sequence[Row]) -> bool:
        def rest(work: Work) -> Work:
            return msgspec.structs.replace(work, **{field: 0})

        others = (each.work for each in rows if each.work != row.work)
        return row.system == OURS and any(rest(other) == rest(row.work) for other in others)

    return has


UNIFORM = """\
Phalanx's delivery is uniform, and so is that of Spread if it is safe; what others deliver may be lost with its sender."""

SECTIONS = (
    Section(
        "Multicast: throughput",
        f"Total order; deliveries per second at the member that had the fewest. {UNIFORM}",
        _is(What.MULTICAST, under_load=False),
    ),
    Section(
        "Multicast: latency, and latency against load",
        f"Until the sender's own delivery, with so many messages kept under way by one sender. {UNIFORM}",
        _is(What.MULTICAST, under_load=True),
    ),
    Section("Store, in memory: puts", "Keys of 16 bytes, values of 128, three nodes.", _is(What.PUT)),
    Section("Store, durable: puts", "Answered once on the disks of all nodes, or of a quorum.", _is(What.DURABLE_PUT)),
    Section("Store: linearizable gets", "Spread over the nodes.", _is(What.GET)),
    Section(
        "Writes after `kill -9`",
        "The longest time without an acknowledged write. Peers: of one client of a survivor, when the leader is killed. "
        "Phalanx: of all clients of survivors together, or of one call of theirs, whichever is more, when a member "
        "chosen by chance is killed; and of the clients that the killed node had.",
        _is(What.GAP, What.GAP_OF_VICTIM),
    ),
    Section("More members", "Ratios are to a group of three.", _grows("members")),
    Section("More groups", "One sender that sends to each in turn. Ratios are to one group.", _grows("groups")),
)

Pick = Callable[[Spread], float]

COLUMNS: dict[str, tuple[str, Pick]] = {
    "per second": ("ops_per_s", lambda spread: spread.median),
    "p50 us": ("p50_us", lambda spread: spread.median),
    "p99 us": ("p99_us", lambda spread: spread.median),
    "p99.9 us": ("p999_us", lambda spread: spread.median),
    "median ms": ("gap_ms", lambda spread: spread.median),
    "worst ms": ("gap_ms", lambda spread: spread.high),
}


def table_of(rows: Sequence[Row]) -> list[str]:
    """In Markdown; columns that nobody has are left out."""
    columns = {title: of for title, of in COLUMNS.items() if any(of[0] in row.figures for row in rows)}
    head = ["workload", "system", *columns, "spread", "client", f"{OURS} / it"]
    lines = [f"| {' | '.join(head)} |", f"|---|---|{'--:|' * (len(head) - 2)}"]
    before: Work | None = None
    for row in rows:
        figures = [number(pick(row.figures[name])) if name in row.figures else "" for name, pick in columns.values()]
        cells = [row.work.text if row.work != before else "", _name(row), *figures]
        spread = f"{row.judged.share:.0%}" if row.judged.times > 1 else "-"
        cells += [spread, client_text(row.figures), ratio_text(row)]
        lines.append(f"| {' | '.join(cells)} |")
        before = row.work
    return lines


def _name(row: Row) -> str:
    if row.system == OURS:
        return f"**{OURS}**"
    variant = f" ({row.variant})" if row.variant else ""
    return f"limit: {row.system}, {row.limit}{variant}" if row.limit else f"{row.system}{variant}"


def number(value: float) -> str:
    """Three digits, or the whole number if that is longer."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def client_text(figures: Mapping[str, Spread]) -> str:
    """How busy was what made the load."""
    if client := figures.get("client_cpu"):
        return f"{client.median:.2f}" + (" **bottleneck**" if client.median >= BUSY else "")
    member = figures.get("member_cpu")
    return f"member {member.median:.2f}" if member else "-"


def ratio_text(row: Row) -> str:
    """Its median, and its range where there were several rounds."""
    if row.ratio is None:
        return ""
    base = f" of {row.base}" if row.base else ""
    between = f" ({row.ratio.low:.2f} to {row.ratio.high:.2f})" if row.ratio.times > 1 else ""
    return f"{row.ratio.median:.2f}{base}{between}"


# --- figures ------------------------------------------------------------------------------------------------------


def figures_of(rows: Sequence[Row], samples: Sequence[Sample]) -> dict[str, Figure]:
    """By the names of their files; those for which nothing was measured are left out."""
    found: dict[str, Figure] = {}
    for name, lines in _lines(rows, samples):
        if any(series.points for series in lines.series):
            found[name] = lines
    for name, bars in _bars(rows):
        if bars.groups:
            found[name] = bars
    return found


def _lines(rows: Sequence[Row], samples: Sequence[Sample]) -> Iterator[tuple[str, Lines]]:
    for senders in dict.fromkeys(row.work.senders for row in rows):
        chosen = [r for r in rows if _is(What.MULTICAST, under_load=False)(r, rows) and r.work.senders == senders]
        yield f"throughput-{senders}", _throughput(senders, chosen, samples)
    for name, what in LOADED.items():
        # Of multicasts, with that size of payloads of which there are many loads.
        loaded = [r for r in rows if _is(what, under_load=True)(r, rows) and r.work.size in (0, 100) and not r.limit]
        ours = [row for row in loaded if row.system == OURS]
        title = f"{what.value.capitalize()}: latency against load"
        yield f"{name}-load", Lines(f"{title}, {OURS}", *LOAD_AXES, _percentiles(ours), log_x=True, log_y=True)
        if any(row.system != OURS and row.work.outstanding > 1 for row in loaded):
            text = f"{title}: p50, and p99 as marks"
            yield f"{name}-peers", Lines(text, *LOAD_AXES, _by_system(loaded), log_x=True, log_y=True)


LOADED = {
    "multicast": What.MULTICAST,
    "put": What.PUT,
    "durable-put": What.DURABLE_PUT,
    "get": What.GET,
}

LOAD_AXES = ("operations per second", "us")


def _percentiles(rows: Sequence[Row]) -> tuple[Series, ...]:
    """A line for each."""
    names = {"p50": "p50_us", "p99": "p99_us", "p99.9": "p999_us"}
    return tuple(Series(text, _latencies(rows, name), hue=hue) for hue, (text, name) in enumerate(names.items()))


def _by_system(rows: Sequence[Row]) -> tuple[Series, ...]:
    """Of each system p50 as a line, and p99 as marks."""
    found: list[Series] = []
    for hue, system in enumerate(dict.fromkeys(row.system for row in rows)):
        of_system = [row for row in rows if row.system == system]
        found.append(Series(system, _latencies(of_system, "p50_us"), hue=hue))
        found.append(Series(f"{system}, p99", _latencies(of_system, "p99_us"), marks=True, hue=hue))
    return tuple(found)


def _latencies(rows: Sequence[Row], name: str) -> tuple[tuple[float, float], ...]:
    """Against operations per second, in the order of what was under way."""
    both = (row.figures for row in rows if {"ops_per_s", name} <= row.figures.keys())
    return tuple((figures["ops_per_s"].median, figures[name].median) for figures in both)


def _throughput(senders: int, rows: Sequence[Row], samples: Sequence[Sample]) -> Lines:
    """A line for each system and limit through the medians, and a mark for each of our rounds."""
    of_system: dict[str, list[Row]] = {}
    for row in rows:
        of_system.setdefault(f"limit: {row.system}" if row.limit else row.system, []).append(row)
    series = [
        Series(name, tuple((float(row.work.size), row.judged.median) for row in of), hue=hue)
        for hue, (name, of) in enumerate(of_system.items())
    ]
    works = {row.work for row in rows}
    rounds = [(float(s.work.size), s.figures["ops_per_s"]) for s in samples if s.system == OURS and s.work in works]
    series.append(Series(f"{OURS}, each round", tuple(rounds), marks=True))
    title = f"Multicast: throughput, {senders} sender{'s' * (senders > 1)}"
    y = "deliveries per second at each member"
    return Lines(title, "bytes of a payload", y, tuple(series), log_x=True, log_y=True)


def _bars(rows: Sequence[Row]) -> Iterator[tuple[str, Bars]]:
    most = [row for row in rows if row.work.what in STORE and row.work.outstanding == MOST and not row.limit]
    yield "store", _side_by_side(f"Store, {MOST} operations under way", "operations per second", most)
    gaps = [row for row in rows if row.work.what is What.GAP]
    yield "gaps", _side_by_side("The longest time without a write after kill -9, median", "ms", gaps)
    for field, base in (("members", MEMBERS), ("groups", 1)):
        grown = [row for row in rows if _grows(field)(row, rows)]
        counts = sorted({getattr(row.work, field) for row in grown})
        values: dict[str, dict[int, float]] = {}
        for row in grown:
            share = row.ratio.median if row.base and row.ratio else 1.0
            values.setdefault(_short(row.work), {})[getattr(row.work, field)] = share
        groups = tuple((text, tuple(of.get(count, 0.0) for count in counts)) for text, of in values.items())
        names = tuple(f"{count} {field if count > 1 else field[:-1]}" for count in counts)
        yield field, Bars(f"More {field}", f"of what it is with {base}", names, groups)


STORE = (What.PUT, What.DURABLE_PUT, What.GET)
MOST = 256
"""Operations under way, with which all stores are measured."""


def _short(work: Work) -> str:
    """What there is room for below bars."""
    size = f" {work.size} B" if work.size else ""
    return f"{work.what.value}{size}{'' if work.is_more_better else ': p50'}"


def _side_by_side(title: str, y: str, rows: Sequence[Row]) -> Bars:
    """A bar for each system; none, of no height, where it was not measured."""
    systems = tuple(dict.fromkeys(row.system for row in rows))
    values = {(row.work, row.system): row.judged.median for row in rows}
    works = dict.fromkeys(row.work for row in rows)
    groups = tuple((work.what.value, tuple(values.get((work, each), 0.0) for each in systems)) for work in works)
    return Bars(title, y, systems, groups)
