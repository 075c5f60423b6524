"""How long writes stop when a member fails: killed, paused, or slowed down.  Three real nodes, real clients.

What is measured is the longest time without a successful write: of any client, of the clients of the other members (whose
nodes live on, so it is the view change alone), and of the clients of the victim (who have to find another node as well).
For each step of the view change the time since the fault is taken from the nodes' own logs.

Run it: python -m bench.failover [--rounds 20] [--fault kill] [--verbose]
"""

import argparse
import asyncio
import datetime
import random
import re
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from phalanx.lab.load import Load
from phalanx.lab.processes import Processes
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.view import Name
from phalanx.runtime.loop import run

CLIENTS = 9
CLIENT_PAUSE_S = 0.004
"""Together some 1,000 writes a second: gaps are seen to about 5 ms, and the machine is not kept busy by the clients."""

WARM_UP_S = 1.0
KILL_S = 0.8
PAUSE_S = 1.5
SLOW_PAUSE_S = 0.3
SLOW_PERIOD_S = 1.0
SLOW_PERIODS = 6

STEPS = ("gone", "suspects", "prepare", "propose", "accept", "decided", "installed")
"""Of a view change, by the notes that tell of them."""

TARGETS = {"kill": 50, "pause": 600, "slow": 300}
"""Milliseconds: of the others' longest gap (kill: its median).  A kill is seen at once by the broken connection; a pause
by silence (500 ms) and a little; a slowed member is to cost less than one of its pauses."""


class Round(NamedTuple):
    """Milliseconds: longest gaps, and when the first survivor came to each step."""

    victim: Name
    calm: float
    """Of the others in the time before the fault: what the machine does by itself."""
    anybody: float
    others: float
    slowest: float
    """The longest call of a client of the others."""
    of_victim: float
    stood_still: float
    """Of the others: the sum of all gaps above 50 ms."""
    steps: dict[str, float]


Fault = Callable[[Processes, Name], Awaitable[None]]


async def kill(nodes: Processes, victim: Name) -> None:
    """SIGKILL; its sockets are closed by the kernel."""
    await nodes.kill(victim)
    await asyncio.sleep(KILL_S)


async def pause(nodes: Processes, victim: Name) -> None:
    """SIGSTOP; its sockets stay open, so only silence tells."""
    nodes.pause(victim)
    await asyncio.sleep(PAUSE_S)


async def slow(nodes: Processes, victim: Name) -> None:
    """Alive, but standing still for 300 ms of every second."""
    for _ in range(SLOW_PERIODS):
        nodes.pause(victim)
        await asyncio.sleep(SLOW_PAUSE_S)
        nodes.resume(victim)
        await asyncio.sleep(SLOW_PERIOD_S - SLOW_PAUSE_S)


FAULTS: dict[str, Fault] = {"kill": kill, "pause": pause, "slow": slow}


async def one_round(nodes: Processes, fault: Fault, rng: random.Random) -> Round:
    """A fault at a random member of a new cluster under load."""
    await nodes.wait_until_full(3)
    victim = rng.choice(nodes.names)
    others = set(nodes.names) - {victim}
    async with Load(nodes.addresses, clients=CLIENTS, pause_s=CLIENT_PAUSE_S, seed=rng.getrandbits(32)) as load:
        await asyncio.sleep(WARM_UP_S)
        wall, since = time.time(), time.monotonic_ns()
        await fault(nodes, victim)
        until = time.monotonic_ns()
        nodes.resume(victim)
    records = load.records
    gaps = records.gaps(since, until, others)
    return Round(
        victim,
        records.longest_gap(since - SECOND // 2, since, others) / MILLISECOND,
        records.longest_gap(since, until) / MILLISECOND,
        max(gaps) / MILLISECOND,
        max(records.latencies(since, others), default=0) / MILLISECOND,
        records.longest_gap(since, until, {victim}) / MILLISECOND,
        sum(gap for gap in gaps if gap > 50 * MILLISECOND) / MILLISECOND,
        steps_after(nodes, others, wall),
    )


def steps_after(nodes: Processes, names: set[Name], wall: float) -> dict[str, float]:
    """For each step, how many milliseconds after that time the first of these nodes noted it."""
    found: dict[str, float] = {}
    for name in names:
        for at, what in notes_of(nodes, name):
            after = (at - wall) * 1000
            if what in STEPS and after >= -1:  # the log's times are whole milliseconds
                found[what] = min(after, found.get(what, after))
    return found


def notes_of(nodes: Processes, name: Name) -> Iterator[tuple[float, str]]:
    """The notes in a node's log, with their times in seconds since the epoch."""
    pattern = re.compile(rf"^(\S+ \S+),(\d\d\d) DEBUG phalanx {name} ([\w.]+)")
    for line in nodes.log_path(name).read_text(errors="replace").splitlines():
        if match := pattern.match(line):
            at = datetime.datetime.fromisoformat(match[1]).timestamp() + int(match[2]) / 1000
            yield at, match[3]


async def measure(name: str, rounds: int, seed: str = "") -> AsyncIterator[Round]:
    """One kind of fault, so often; the seed decides who is the victim."""
    rng = random.Random(name + seed)
    for _ in range(rounds):
        # A new cluster each time: the old one remembers who was slow, and takes it back later and later.
        async with Processes(options=["--verbose"]) as nodes:
            each = await one_round(nodes, FAULTS[name], rng)
        yield each


async def measure_all(name: str, rounds: int, console: Console, verbose: bool) -> list[Round]:
    """The same as a list, with a line for each round on the way."""
    found: list[Round] = []
    async for each in measure(name, rounds):
        found.append(each)
        if verbose:
            steps = " ".join(f"{step}={each.steps[step]:.0f}" for step in STEPS if step in each.steps)
            gaps = f"calm {each.calm:.0f}, anybody {each.anybody:.0f}, others {each.others:.0f}"
            more = f"slowest call {each.slowest:.0f}, its own {each.of_victim:.0f}, stood {each.stood_still:.0f}"
            console.print(
                f"{name} {len(found):2} {each.victim}: {gaps}, {more} | {steps}", highlight=False, soft_wrap=True
            )
    return found


def report(results: dict[str, list[Round]], console: Console) -> None:
    """The tables: medians and worst cases in milliseconds."""
    table = Table("fault", "rounds", "calm", "any", "others", "slowest", "its own", "stood", "target", box=None)
    for name, rounds in results.items():
        columns = [
            [getattr(r, field) for r in rounds]
            for field in ("calm", "anybody", "others", "slowest", "of_victim", "stood_still")
        ]
        cells = [f"{statistics.median(column):.0f} / {max(column):.0f}" for column in columns]
        table.add_row(name, str(len(rounds)), *cells, f"< {TARGETS[name]}")
    console.print("Longest time without a successful write by clients of ..., median / worst in ms:", highlight=False)
    console.print(table)
    table = Table("fault", *STEPS, box=None)
    for name, rounds in results.items():
        steps = [[r.steps[step] for r in rounds if step in r.steps] for step in STEPS]
        table.add_row(name, *(f"{statistics.median(times):.0f}" if times else "-" for times in steps))
    console.print("When the first survivor came to a step, median, in ms after the fault:", highlight=False)
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", choices=list(FAULTS), action="append", help="may be repeated; default: all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--verbose", action="store_true", help="a line for each round")
    options = parser.parse_args()
    console = Console()
    results = {
        name: run(measure_all(name, options.rounds, console, options.verbose)) for name in options.fault or list(FAULTS)
    }
    report(results, console)


if __name__ == "__main__":
    main()
