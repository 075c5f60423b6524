"""What a message and an operation cost, in counts that are the same in every run: steps, frames, bytes, fsyncs,
instructions, memory.  No clock is read, so a busy machine changes nothing, and CI can hold the figures.

    python -m bench.counts                  count, and fail if a figure is worse than bench/counts.toml allows
    python -m bench.counts --write          write the figures there, and into docs/performance.md
    python -m bench.counts --members 2-9    what they are in groups of other sizes
    python -m bench.counts --only durable   only workloads with that in their names
    python -m bench.counts --where          in which modules the instructions are
    python -m bench.counts --callgrind      machine instructions, of the present modules and C; needs valgrind

Nodes and clients are the real machines (`bench.lockstep`), under the loads of `bench.workloads`.  Figures are for each
message or operation, of all members together:

    ticks          one-way delays (or fsyncs) from the request to the sender's own delivery, or to the answer, shared by
                   all that was under way: with one under way, the latency in one-way delays
    steps          turns of all nodes' loops
    frames, bytes  messages between nodes, one for each receiver, and their bytes with headers; `client`: with clients
    socket writes  system calls that send: one for each connection that something goes out on in a turn
    appends        records put into logs, `log bytes` their size; `fsyncs`: how often a log was made durable
    stores         writes of the small durable state: none, while views do not change
    instructions   of bytecode, in all nodes' work, and `calls` of Python functions
    blocks         of memory that outlive the piece of work (a step, decoding, encoding) in which they were allocated
    kept           blocks that are there in the end: the growth of state

The last three depend on Python's version, so each version has its own.

The ratchet holds what the protocol decides exactly, bytes to 1%, instructions and calls to 2%, memory to 5 or 7%
(`SLACKS` has the reasons).  Hash seeds change only memory, by single blocks; so did patch releases 3.11.2 and 3.11.7
of CPython.
"""

import argparse
import contextlib
import gc
import multiprocessing
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.callgrind import is_installed, machine_instructions
from bench.lockstep import Meter
from bench.meters import Blocks, Instructions, Places, allocated
from bench.page import PAGE, text_of, with_table
from bench.workloads import NAMES, WORKLOADS, Workload
from phalanx.runtime.compiled import PURE, is_compiled

RATCHET = Path(__file__).with_name("counts.toml")

VERSION = f"python {sys.version_info.major}.{sys.version_info.minor}"

Figures = dict[str, float]
Ratchet = Mapping[str, Mapping[str, Figures]]
"""By workload, then "protocol" or a version of Python: the figures."""


class Slack(NamedTuple):
    """By how much a figure may differ from the ratchet: that share of it, or that much if this is more."""

    share: float
    least: float


# fmt: off
PROTOCOL = (
    "ticks", "steps", "frames", "bytes", "socket writes", "client frames", "client bytes", "appends", "log bytes",
    "fsyncs", "stores",
)
INTERPRETER = ("instructions", "calls", "client instructions", "blocks", "kept")
# fmt: on

DIGITS = 5
"""Of figures, behind the point: a frame for each turn of 19,200 messages is to be seen."""

ROUNDING = 1.5 * 10**-DIGITS

EXACT = Slack(0.0, ROUNDING)
"""Of what the protocol decides: only what figures are rounded to."""

SLACKS = {
    "bytes": Slack(0.01, ROUNDING),  # numbers that grow take more bytes in msgpack
    "client bytes": Slack(0.01, ROUNDING),
    "log bytes": Slack(0.01, ROUNDING),
    "instructions": Slack(0.02, ROUNDING),  # patch releases of Python, and of libraries in Python, differ a little
    "client instructions": Slack(0.02, ROUNDING),
    "calls": Slack(0.02, ROUNDING),
    "blocks": Slack(0.05, 0.1),  # free lists, and tables that grow at their own pace
    "kept": Slack(0.07, 0.9),  # of what was there before, some 100 blocks may come or go; a leak is 1 for each message
}

PLACES = 15
"""Modules that `--where` names."""


class Difference(NamedTuple):
    """A figure that is not what the ratchet says."""

    workload: str
    figure: str
    held: float
    found: float

    @property
    def is_worse(self) -> bool:
        return self.found > self.held


def count(workload: Workload, members: int = 3) -> Figures:
    """The figures of one workload, for each message or operation."""
    found = _run(workload, members, Instructions()) | _run(workload, members, Blocks())
    return {name: round(found.get(name, 0.0), DIGITS) for name in (*PROTOCOL, *INTERPRETER)}


def _run(workload: Workload, members: int, meter: Meter) -> Figures:
    gc.collect()
    gc.disable()  # it would free blocks at moments that depend on what was allocated long before
    try:
        load = workload(members)
        load.run(max(1, load.rounds // 5))
        began, before, kept = load.done(), load.world.counts.copy(), allocated()
        load.world.meter = meter
        load.run(load.rounds)
        after = {**load.world.counts, **meter.counts, "kept": before["kept"] + allocated() - kept}
    finally:
        gc.enable()
    return {name: (value - before[name]) / (load.done() - began) for name, value in after.items()}


def _count_named(name: str) -> Figures:
    return count(WORKLOADS[name])


@contextlib.contextmanager
def counting(names: Sequence[str]) -> Iterator[Iterator[Figures]]:
    """The figures of each of these, on all cores.  Each is counted in a process of its own, in which nothing was before
    it, so that its memory does not depend on what else is counted."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.counts"])
    with ProcessPoolExecutor(mp_context=context, max_tasks_per_child=1) as pool:
        yield pool.map(_count_named, names)


def run_bare(workload: Workload, members: int, rounds: int) -> None:
    """The load without measuring anything, for who looks on from outside."""
    workload(members).run(rounds)


def compare(found: Mapping[str, Figures], ratchet: Ratchet) -> list[Difference]:
    """Where the figures differ from the ratchet by more than the slack, in either direction.  What the ratchet does not
    have, such as figures of this version of Python, differs from nothing."""
    differences = []
    for workload, figures in found.items():
        held = {**ratchet.get(workload, {}).get("protocol", {}), **ratchet.get(workload, {}).get(VERSION, {})}
        for name, limit in held.items():
            slack = SLACKS.get(name, EXACT)
            if abs(figures[name] - limit) > max(slack.least, slack.share * abs(limit)):
                differences.append(Difference(workload, name, limit, figures[name]))
    return differences


def merged(found: Mapping[str, Figures], ratchet: Ratchet) -> dict[str, dict[str, Figures]]:
    """The ratchet with these figures in it.  Figures of other versions of Python stay."""
    result = {name: {part: dict(figures) for part, figures in parts.items()} for name, parts in ratchet.items()}
    for name, figures in found.items():
        parts = result.setdefault(name, {})
        parts["protocol"] = {figure: figures[figure] for figure in PROTOCOL}
        parts[VERSION] = {figure: figures[figure] for figure in INTERPRETER}
    return {name: result[name] for name in WORKLOADS if name in result}


def as_toml(ratchet: Ratchet) -> str:
    """The text of `bench/counts.toml`."""
    lines = ["# Written by `python -m bench.counts --write`, which also says what the figures mean."]
    for workload, parts in ratchet.items():
        for part, figures in sorted(parts.items()):
            lines += ["", f'["{workload}"."{part}"]']
            lines += [f'"{name}" = {value!r}' for name, value in figures.items()]
    return "\n".join(lines) + "\n"


def read_ratchet() -> Ratchet:
    """What is held; nothing, if it was never written."""
    return tomllib.loads(RATCHET.read_text("utf-8")) if RATCHET.exists() else {}


# --- what is printed ----------------------------------------------------------------------------------------------


def show(found: Mapping[str, Figures], console: Console) -> None:
    """A row for each workload, in two tables, for they are wide."""
    for title, names in (("protocol", PROTOCOL), (f"interpreter ({VERSION})", INTERPRETER)):
        table = Table("per message or operation", title=title, title_justify="left")
        for name in names:
            table.add_column(name, justify="right")
        for workload, figures in found.items():
            table.add_row(workload, *(text_of(figures[name]) for name in names))
        console.print(table)


def judge(found: Mapping[str, Figures], ratchet: Ratchet, console: Console) -> int:
    """Say what differs from the ratchet, and give the exit status."""
    unheld = [name for name in found if VERSION not in ratchet.get(name, {})]
    if unheld:
        console.print(f"not held for {VERSION}, of: {'; '.join(unheld)}. To hold it: --write")
    differences = compare(found, ratchet)
    if not differences:
        console.print("All that is held is as the ratchet says.")
        return 0
    table = Table("workload", "figure", "ratchet", "now", "", "slack")
    for each in differences:
        change = f"{(each.found / each.held - 1):+.1%}" if each.held else "new"
        verdict = f"[red]worse {change}[/red]" if each.is_worse else f"[green]better {change}[/green]"
        slack = f"{SLACKS.get(each.figure, EXACT).share:.0%}"
        table.add_row(each.workload, each.figure, text_of(each.held), text_of(each.found), verdict, slack)
    console.print(table)
    if any(each.is_worse for each in differences):
        console.print("Some figures are worse than the ratchet. If they have to be, say why where you --write them.")
    else:
        console.print("Some figures are better: lower the ratchet with --write, so that it stays so.")
    return 1


def show_sizes(names: Sequence[str], sizes: Sequence[int], console: Console) -> None:
    """What each workload costs in groups of these sizes."""
    columns = ("ticks", "steps", "frames", "bytes", "socket writes", "fsyncs", "instructions")
    for name in names:
        table = Table("members", *columns, title=name, title_justify="left")
        for size in sizes:
            figures = count(WORKLOADS[name], size)
            table.add_row(str(size), *(text_of(figures[column]) for column in columns))
        console.print(table)


def places_of(workload: str) -> tuple[float, Counter[str]]:
    """The instructions of nodes for one message or operation, and how many of a whole run are in which module."""
    meter = Places()
    return _run(WORKLOADS[workload], 3, meter)["instructions"], meter.places


def show_places(names: Sequence[str], console: Console) -> None:
    """In which modules the instructions are."""
    for name in names:
        instructions, places = places_of(name)
        whole = places.total()
        table = Table("module", "instructions", "share", title=name, title_justify="left")
        for path, number in places.most_common(PLACES):
            table.add_row(path, text_of(number * instructions / whole), f"{number / whole:.0%}")
        console.print(table)


def show_callgrind(names: Sequence[str], members: int, console: Console) -> int:
    """Machine instructions; the exit status."""
    if not is_installed():
        console.print("valgrind is not installed: machine instructions cannot be counted here")
        return 0
    kind = "compiled modules" if is_compiled() else "Python sources"
    table = Table("workload", f"machine instructions, {kind}, with the lockstep's")
    for name in track(names, console=console, transient=True):
        per_round = WORKLOADS[name](members).per_round
        table.add_row(name, f"{machine_instructions(name, members, per_round):,.0f}")
    console.print(table)
    return 0


# --- the command --------------------------------------------------------------------------------------------------


def sizes_of(text: str) -> range:
    """Of groups, as a command has them: N or N-M."""
    low, _, high = text.partition("-")
    if not (low.isdecimal() and (high or low).isdecimal() and 2 <= int(low) <= int(high or low) <= len(NAMES)):
        raise argparse.ArgumentTypeError(f"{text!r} is no size of a group, or range of sizes, from 2 to {len(NAMES)}")
    return range(int(low), int(high or low) + 1)


def _settle(sources: bool) -> None:
    """Begin anew where the run would not be the same each time: with random hashes, or (if `sources`) with compiled
    modules, whose instructions nobody sees."""
    wanted = {"PYTHONHASHSEED": "0"} | ({PURE: "1"} if sources and is_compiled() else {})
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, "-m", "bench.counts", *sys.argv[1:]], os.environ | wanted)


def main() -> int:
    """Count, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the figures into the ratchet")
    parser.add_argument("--members", type=sizes_of, metavar="N[-M]", help="only print, in groups of these sizes")
    parser.add_argument("--only", default="", metavar="TEXT", help="only workloads with this in their names")
    parser.add_argument("--where", action="store_true", help="only print in which modules the instructions are")
    parser.add_argument("--callgrind", action="store_true", help="only print machine instructions")
    parser.add_argument("--bare", type=int, metavar="ROUNDS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    _settle(sources=not options.callgrind and options.bare is None)
    names = [options.only] if options.only in WORKLOADS else [name for name in WORKLOADS if options.only in name]
    if not names:
        parser.error(f"no workload has {options.only!r} in its name; there are: {'; '.join(WORKLOADS)}")
    console = Console(width=None if sys.stdout.isatty() else 160)
    sizes = options.members or range(3, 4)
    if options.bare is not None:
        for name in names:
            run_bare(WORKLOADS[name], sizes[0], options.bare)
        return 0
    if options.callgrind:
        return show_callgrind(names, sizes[0], console)
    if options.where:
        show_places(names, console)
        return 0
    if options.members:
        show_sizes(names, sizes, console)
        return 0
    with counting(names) as figures:
        progress = track(names, "counting", console=console, transient=True, disable=not sys.stdout.isatty())
        found = {name: next(figures) for name in progress}
    show(found, console)
    if options.write:
        ratchet = merged(found, read_ratchet())
        RATCHET.write_text(as_toml(ratchet), "utf-8")
        PAGE.write_text(with_table(PAGE.read_text("utf-8"), ratchet), "utf-8")
        console.print(f"written to {RATCHET.name} and {PAGE.name}")
        return 0
    return judge(found, read_ratchet(), console)


if __name__ == "__main__":
    sys.exit(main())
