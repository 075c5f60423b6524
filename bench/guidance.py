"""How many runs it takes until a planted bug is found, with coverage guidance and without.

    python -m bench.guidance [--runs N] [--campaigns 5] [--rule RULE ...]

Each campaign begins with seeds of its own, and ends with the first run that fails, or after `--runs`.  Both kinds of
campaign have the same first generation, so a bug that a few seeds find shows no difference.  The figures are counts, the
same in every run and on every machine.  `--rule` names a rule of `phalanx sim --without`, or `nested recovery`, the
scenario in here: a bug that takes a chain of rare steps, which is what guidance is for.
"""

import argparse
import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from phalanx.lab.durable import DurableScenario
from phalanx.lab.groups import GroupScenario
from phalanx.lab.mutants import MUTANTS, planted
from phalanx.lab.mutants import durable as durable_mutants
from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import Output
from phalanx.sim.campaign import campaign, guided
from phalanx.sim.guided import Search
from phalanx.sim.node import Setup
from phalanx.sim.run import Result, Scenario
from phalanx.sim.swarm import Swarm
from phalanx.sim.workers import Here

APART = 1_000_000
"""Between the first seeds of two campaigns."""

RECOVERY_NS = 20 * MILLISECOND
NESTED_MAX = 3
"""Recoveries of recoveries that the machine of `NestedRecovery` stands."""


class Recovering:
    """Recovers after each start, for a while.  The bug: if it is killed meanwhile once too often, it is at a loss."""

    def __init__(self, setup: Setup) -> None:
        self.level: int = 0 if setup.durable is None else setup.durable + 1
        self.deadline: int | None = setup.now.mono
        self._end = setup.now.mono + RECOVERY_NS

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        del events
        out = Output()
        assert self.level <= NESTED_MAX, "a recovery is nested too deep"
        if now.mono < self._end:
            out.note(f"recovery.{self.level}")
            out.writes.append(self.level)
            self.deadline = self._end
        else:
            out.note("recovered")
            out.writes.append(-1)
            self.deadline = None
        return out


class NestedRecovery(Scenario):
    """A node is killed while it recovers, and again while it recovers from that, and so on."""

    swarm = Swarm(
        faults=("Crash", "Pause", "SlowDisk", "ClockRate"),
        sizes=(1, 2),
        storm_ns=10 * SECOND,
        calm_ns=SECOND,
        codec=0,
        fingerprints=0,
        lossy=0,
    )

    def start(self, setup: Setup) -> Recovering:
        return Recovering(setup)

    def finished(self) -> bool:
        return True


class Bug(NamedTuple):
    """What is planted (nothing, if the scenario has it itself), and where it is looked for."""

    rule: str
    factory: type[Scenario]
    runs: int = 200
    """After which a campaign gives up, unless something else is said: some 20 s."""

    def planted(self) -> Any:
        return planted(self.rule) if self.rule in MUTANTS else nullcontext()


NESTED = "nested recovery"

RULES = (NESTED, "a group that goes on from logs is truncated", "a log of an older view is taken for the group's")
"""Measured unless others are named.  Most other planted bugs are found within the first generation."""


def bug_of(rule: str) -> Bug:
    """Raises ValueError for a rule that there is not."""
    if rule == NESTED:
        return Bug(rule, NestedRecovery, 2_000)
    if rule not in MUTANTS:
        raise ValueError(f"{rule!r} is neither {NESTED!r} nor a rule of `phalanx sim --without`")
    durable = any(patch.wrong.__module__ == durable_mutants.__name__ for patch in MUTANTS[rule].patches)
    return Bug(rule, DurableScenario if durable else GroupScenario)


def without_guidance(factory: Callable[[], Scenario], first: int, runs: int) -> Iterator[Result]:
    """The seeds, one after the other."""
    return campaign(factory, first, runs, workers=Here())


def with_guidance(factory: Callable[[], Scenario], first: int, runs: int) -> Iterator[Result]:
    """The plans of a search that begins with these seeds."""
    return guided(factory, Search(factory().swarm, first), runs, workers=Here())


WAYS = (without_guidance, with_guidance)


def runs_until_found(bug: Bug, way: Callable[..., Iterator[Result]], number: int, runs: int) -> int | None:
    """In the campaign of that number; None if it took more than `runs`."""
    with bug.planted():
        results = way(bug.factory, (number + 1) * APART, runs)
        return next((count for count, result in enumerate(islice(results, runs), 1) if not result.ok), None)


def median_of(found: list[int | None], runs: int) -> str:
    """A campaign that found nothing counts as a longer one than any."""
    middle = statistics.median_low(runs + 1 if count is None else count for count in found)
    return f"> {runs}" if middle > runs else str(middle)


def row_of(bug: Bug, campaigns: int, runs: int) -> list[str]:
    """The cells of the table behind the bug's name."""
    ways = [[runs_until_found(bug, way, number, runs) for number in range(campaigns)] for way in WAYS]
    cells = []
    for found in ways:
        cells += [median_of(found, runs), f"{sum(count is not None for count in found)} of {len(found)}"]
    return [*cells, "; ".join(" ".join("-" if count is None else str(count) for count in found) for found in ways)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, help="most runs of a campaign (default: 200, for nested recovery 2000)")
    parser.add_argument("--campaigns", type=int, default=5, help="campaigns of each kind (default: %(default)s)")
    parser.add_argument("--rule", action="append", help="a planted bug; may be repeated")
    arguments = parser.parse_args()
    if arguments.campaigns < 1 or (arguments.runs is not None and arguments.runs < 1):
        parser.error("there must be at least one run and one campaign")
    try:
        bugs = [bug_of(rule) for rule in arguments.rule or RULES]
    except ValueError as error:
        parser.error(str(error))
    table = Table("planted bug", "without: median", "found", "guided: median", "found", "runs of each campaign")
    for bug in bugs:
        table.add_row(bug.rule, *row_of(bug, arguments.campaigns, arguments.runs or bug.runs))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
