"""Weak failure detectors: consensus with an eventually weak detector, through the reduction to an eventually strong one.

Question: it is enough for consensus that whoever crashes is in the end suspected by *some* process that lives, and that
some process that lives is in the end suspected by nobody. How, if the algorithm waits for messages of processes that only
others suspect?

Method: the processes of Chandra and Toueg run in the simulated network. Their detector is a ring, in which each process
polls its nearest successor that it does not suspect: one process notices a crash. The algorithm is told what the ring
says, or what the reduction makes of it, in which all tell all whom they suspect. Processes crash at the beginning, the
first coordinators among them; timeouts are too short at first, and doubled by each mistake.

Source: Chandra and Toueg 1996, sections 2, 3 and 6.2; Larrea, Arevalo, Fernandez 1999 for the ring.

Expected: the ring is weakly complete, and not strongly. Through the reduction all that live suspect whoever crashed, and
in the end nobody suspects anybody else; all decide, and alike. Without it the crash of a coordinator leaves those waiting
that do not watch it.
"""

import itertools
from collections.abc import Iterator

from phalanx.lab.experiments.result import Claim, Result, Table, equal
from phalanx.lab.figures.model import Bars
from phalanx.lab.textbook.weak import Weakly, in_network

CT = "Chandra and Toueg 1996"

THREE = ("P1", "P2", "P3")
FIVE = (*THREE, "P4", "P5")
LIMIT_MS = 50

CASES = (
    (THREE, (0, 1, 1), ()),
    (THREE, (0, 1, 1), ("P1",)),
    (FIVE, (0, 1, 1, 0, 1), ("P1", "P2")),
    (FIVE, (0, 1, 1, 0, 1), ("P1", "P3")),
)
"""Processes, what they propose, and who crashes."""


def run(full: bool) -> Result:
    """See the module's text."""
    runs = rings((1, 5, 20, 100, 200, 400) if full else (5, 100))
    return Result(
        tables=(ring_table(runs),),
        figures={"weak-detectors": ring_figure(runs)},
        claims=tuple(ring_claims(runs)),
    )


def rings(delays_ms: tuple[int, ...]) -> list[Weakly]:
    """Each case, as it is and through the reduction."""
    every = itertools.product(CASES, delays_ms, (False, True))
    return [in_network(*case[:2], LIMIT_MS, ms, case[2], reduced) for case, ms, reduced in every]


def ring_table(runs: list[Weakly]) -> Table:
    """One row for each run."""
    columns = (
        "processes",
        "crashed",
        "messages take (ms)",
        "detector",
        "decided",
        "after (s)",
        "suspected by",
        "wrongly",
    )
    rows = tuple(
        (
            run.processes,
            " ".join(run.crashed) or "none",
            f"{run.delay_ms} to {run.delay_ms * 5 // 4}",
            "weak, reduced" if run.reduced else "weak",
            " or ".join(map(str, sorted(run.values))) if run.decided else "not by all",
            run.at_s,
            ", ".join(map(str, run.by_output if run.reduced else run.by_detectors)) or "-",
            run.wrongly,
        )
        for run in runs
    )
    return Table("A ring of watchers: how many of the living suspect each that crashed, in the end", columns, rows)


def living(run: Weakly) -> int:
    """How many did not crash."""
    return run.processes - len(run.crashed)


def ring_claims(runs: list[Weakly]) -> Iterator[Claim]:
    """Section 3, and what the algorithm of section 6.2 makes of it."""
    crashed = [run for run in runs if run.crashed]
    weak = [all(0 < by < living(run) for by in run.by_detectors) for run in crashed]
    yield equal(
        "in a ring whoever crashed is suspected by some, not by all", f"{CT}, section 2", [True] * len(weak), weak
    )
    reduced = [run for run in crashed if run.reduced]
    yield equal(
        "the reduction makes it strongly complete: all that live suspect whoever crashed",
        f"{CT}, section 3",
        [(living(run),) * len(run.crashed) for run in reduced],
        [run.by_output for run in reduced],
    )
    wrongly = sum(run.wrongly for run in runs)
    yield equal("and keeps its accuracy: nobody who lives is suspected in the end", f"{CT}, section 3", 0, wrongly)
    mistaken = [run.mistakes > 0 for run in runs if run.delay_ms > LIMIT_MS]
    yield equal(
        "though there were mistakes where messages are slow", f"{CT}, section 9.1", [True] * len(mistaken), mistaken
    )
    yield equal(
        "with the reduction all decide, and alike",
        f"{CT}, sections 3 and 6.2",
        [(True, 1)] * (len(runs) // 2),
        [(run.decided, len(run.values)) for run in runs if run.reduced],
    )
    stopped = [run.decided for run in crashed if not (run.reduced or run.mistakes)]  # mistakes may help it
    yield equal(
        "without it the crash of the first coordinator stops those that do not watch it",
        f"{CT}, section 6.2: strong completeness",
        [False] * max(len(stopped), len(CASES) - 1),
        stopped,
    )


def ring_figure(runs: list[Weakly]) -> Bars:
    """Completeness: what the ring says, and what the reduction makes of it."""
    slowest = max(run.delay_ms for run in runs)
    groups = []
    for run in runs:
        if run.reduced and run.crashed and run.delay_ms == slowest:
            for name, weak, strong in zip(run.crashed, run.by_detectors, run.by_output, strict=True):
                bars = tuple(count / living(run) for count in (weak, strong))
                groups.append((f"{name} of {run.processes} ({'+'.join(run.crashed)})", bars))
    title = "Share of the living that suspect a crashed process in the end"
    return Bars(title, "share", ("ring", "through the reduction"), tuple(groups))
