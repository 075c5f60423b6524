"""How many runs it takes until a planted bug is found: by seeds, by guided campaigns, and by those that have a corpus.

    python -m bench.guidance [--runs N] [--campaigns 10] [--jobs N] [--rule RULE ...] [--all]

Each campaign begins with seeds of its own, and ends with the first run that fails, or after `--runs`.  A guided campaign
begins with the same seeds as one without guidance, so a bug that a few seeds find shows no difference.  The corpus is
what a guided campaign of `--corpus` other seeds leaves that runs the code without the bug: what one has from last time.
The figures are counts, the same in every run and on every machine.  `--rule` names a rule of `phalanx sim
--without`, `--all` takes all of them; `nested recovery` is the scenario in here: a bug that takes a chain of rare steps.
"""

import argparse
import math
import multiprocessing
import statistics
from collections.abc import Iterable, Iterator, Sequence
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
from phalanx.sim.guided import Search, most_first
from phalanx.sim.node import Setup
from phalanx.sim.plan import Plan
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

RULES = (
    NESTED,
    "a receipt is shown before it is on disk",
    "a batch shows that its author has it on disk",
    "a group that nobody can go on with is given up",
    "a group that goes on from logs is truncated",
    "a log of an older view is taken for the group's",
    "the wrong end of a torn log is cut off",
    "a log's open view is taken for common with the group",
    "a log's last view is not completed",
    "a driver takes a refused append for a durable one",
    "a new group has the old id",
    "a restarted host has received nothing",
    "a row counts at once",
    "the rest of a causal cut is delivered as it stands",
)
"""Measured unless others are named: those that some hundred seeds find."""

CORPUS_RUNS = 160
"""Runs of the campaign that leaves the corpus, some 15 s."""

WAYS = ("without", "guided", "corpus")
"""Kinds of campaigns."""


def bug_of(rule: str) -> Bug:
    """Raises ValueError for a rule that there is not."""
    if rule == NESTED:
        return Bug(rule, NestedRecovery, 2_000)
    if rule not in MUTANTS:
        raise ValueError(f"{rule!r} is neither {NESTED!r} nor a rule of `phalanx sim --without`")
    wrongs = (getattr(patch.wrong, "__module__", None) for patch in MUTANTS[rule].patches)
    return Bug(rule, DurableScenario if durable_mutants.__name__ in wrongs else GroupScenario)


_corpora: dict[tuple[str, int, int], Sequence[Plan]] = {}
"""Those that this process has made."""


def corpus_of(factory: type[Scenario], number: int, runs: int) -> Sequence[Plan]:
    """What a guided campaign of so many runs leaves, as the next one begins with it."""
    key = factory.__name__, number, runs
    if key not in _corpora:
        search = Search(factory().swarm, number * APART + APART // 2)
        for _ in guided(factory, search, runs, workers=Here()):
            pass
        _corpora[key] = most_first((entry.plan, entry.reach) for entry in search.corpus)
    return _corpora[key]


def results_of(bug: Bug, way: str, number: int, runs: int, corpus: Sequence[Plan]) -> Iterator[Result]:
    """Of the campaign of that number."""
    first = (number + 1) * APART
    if way == "without":
        return campaign(bug.factory, first, runs, workers=Here())
    return guided(bug.factory, Search(bug.factory().swarm, first, corpus), runs, workers=Here())


def runs_until_found(bug: Bug, way: str, number: int, runs: int, corpus_runs: int = CORPUS_RUNS) -> int | None:
    """In the campaign of that number; None if it took more than `runs`, or if there is no code without that bug."""
    corpus: Sequence[Plan] = ()
    if way == "corpus":
        if bug.rule == NESTED:
            return None
        corpus = corpus_of(bug.factory, number, corpus_runs)
    with bug.planted():
        results = results_of(bug, way, number, runs, corpus)
        return next((count for count, result in enumerate(islice(results, runs), 1) if not result.ok), None)


Found = dict[str, list[int | None]]
"""By the way: what each campaign took."""


class Wish(NamedTuple):
    """What is measured by one process at a time: all bugs, in the campaigns of one number."""

    number: int
    rules: tuple[str, ...]
    runs: int | None
    corpus_runs: int


def measure(wish: Wish) -> list[dict[str, int | None]]:
    """Of each rule, by the way."""
    rows = []
    for bug in map(bug_of, wish.rules):
        runs = wish.runs or bug.runs
        rows.append({way: runs_until_found(bug, way, wish.number, runs, wish.corpus_runs) for way in WAYS})
    return rows


def median_of(found: list[int | None], runs: int) -> str:
    """A campaign that found nothing counts as a longer one than any."""
    middle = statistics.median_low(runs + 1 if count is None else count for count in found)
    return f"> {runs}" if middle > runs else str(middle)


def row_of(bug: Bug, found: Found, runs: int) -> list[str]:
    """The cells of the table behind the bug's name."""
    cells = []
    for way in WAYS:
        if way == "corpus" and bug.rule == NESTED:
            cells += ["", ""]
        else:
            count = sum(each is not None for each in found[way])
            cells += [median_of(found[way], runs), f"{count} of {len(found[way])}"]
    return [*cells, "; ".join(" ".join("-" if each is None else str(each) for each in found[way]) for way in WAYS)]


def compared(pairs: Iterable[tuple[int | None, int | None]]) -> str:
    """Of campaigns without and with guidance: which were faster, and how likely such a difference is by chance alone (a
    sign test, two-sided).  Pairs in which neither found anything, or both took as long, say nothing."""
    never = 1 << 30
    signs = [(a or never) - (b or never) for a, b in pairs]
    faster, slower = sum(sign > 0 for sign in signs), sum(sign < 0 for sign in signs)
    told = faster + slower
    tail = sum(math.comb(told, few) for few in range(min(faster, slower) + 1)) / 2**told
    return f"faster in {faster}, slower in {slower}, p = {min(1.0, 2 * tail):.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, help="most runs of a campaign (default: 200, for nested recovery 2000)")
    parser.add_argument("--campaigns", type=int, default=10, help="campaigns of each kind (default: %(default)s)")
    parser.add_argument(
        "--corpus", type=int, default=CORPUS_RUNS, help="runs that leave a corpus (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--rule", action="append", help="a planted bug; may be repeated")
    parser.add_argument("--all", action="store_true", help="all planted bugs: that takes hours")
    arguments = parser.parse_args()
    if min(arguments.campaigns, arguments.jobs, arguments.corpus, arguments.runs or 1) < 1:
        parser.error("there must be at least one run, one campaign and one process")
    rules = tuple(arguments.rule or ((NESTED, *MUTANTS) if arguments.all else RULES))
    try:
        bugs = [bug_of(rule) for rule in rules]
    except ValueError as error:
        parser.error(str(error))
    wishes = [Wish(number, rules, arguments.runs, arguments.corpus) for number in range(arguments.campaigns)]
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        campaigns = pool.map(measure, wishes, chunksize=1)
    founds: list[Found] = [{way: [rows[at][way] for rows in campaigns] for way in WAYS} for at in range(len(bugs))]
    heads = [head for way in WAYS for head in (f"{way}: median", "found")]
    table = Table("planted bug", *heads, "runs of each campaign")
    for bug, found in zip(bugs, founds, strict=True):
        table.add_row(bug.rule, *row_of(bug, found, arguments.runs or bug.runs))
    console = Console(width=160)
    console.print(table)
    for way in WAYS[1:]:
        fair = [found for bug, found in zip(bugs, founds, strict=True) if way != "corpus" or bug.rule != NESTED]
        pairs = [pair for found in fair for pair in zip(found["without"], found[way], strict=True)]
        console.print(f"{way}, of {len(pairs)} campaigns: {compared(pairs)}")


if __name__ == "__main__":
    main()
