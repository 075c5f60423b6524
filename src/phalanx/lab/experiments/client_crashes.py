"""Client crashes: orphans, and what each way to be rid of them costs.

Question: a client crashes, and its servers go on computing for nobody. How long do these orphans live if they are
exterminated, if the client is reincarnated, gently or not, or if computations expire; and what else do these kill?

Method: clients a and b and three servers in the simulated network. Each client has one computation on one server, and
one that calls a second server. a crashes; it comes back or not, while a server, or b, is cut off, or the server in
between has crashed too. Counted are the seconds of orphans, the computations killed although their client lives, writes
to disks, and messages. Then expiration alone, with quanta of several lengths, for every phase of a crash and of a cut.
Last, the same plans with group calls of the product, which have none of these treatments, but views.

Source: Nelson 1981, orphans; Tanenbaum and van Steen, section 8.3.2, Client crashes; slides L-15 Fault Tolerance.

Expected: an orphan that has work W left, of a client that is away for D, lives for W untreated, and for D if it is
exterminated or its client reincarnated. Extermination does not find what was called by a server that is gone, and
neither finds a server that is cut off. Reincarnation needs no log, and kills the work of all others as well; gentle
reincarnation only that of clients that cannot be asked. None of them helps if the client stays away. Expiration does
always, and kills what cannot ask for more time: with quanta of T, of which the last m are for asking, an orphan lives for
T/2 + m on average, and a cut of length C kills (C-m)/T of the living. With views an orphan lives until the view without
its client, which takes a moment if a process crashes, wherever it runs; on a server that is cut off, until that is
connected again. Who is cut off is taken for failed, so its computations are killed.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from phalanx.lab.experiments.result import Cell, Claim, Result, Table, equal, near
from phalanx.lab.figures.model import Lines, Matrix, Series, Tone
from phalanx.lab.textbook.crashing import (
    BACK_S,
    CALLS,
    CRASH_S,
    QUANTUM_S,
    WORK_S,
    Observed,
    Plan,
    observe,
    observe_views,
)
from phalanx.lab.textbook.orphans import MARGIN_NS, Treatment
from phalanx.model.clock import SECOND

BOOK = "Tanenbaum and van Steen, section 8.3.2"
NELSON = "Nelson 1981"

SETTLED = 0.05
"""Seconds that messages, disks and turns may take in all, for one orphan."""


BACK_TOGETHER_S = 1.0
"""A server that was cut off learns within this time that it is out."""


PLANS = (
    Plan("a comes back"),
    Plan("a stays away", back_s=None),
    Plan("s2 is cut off", cut="s2", cut_s=(2.0, 8.0)),
    Plan("b is cut off", cut="b", cut_s=(4.0, 8.0)),
    Plan("s1 has crashed too", crash=("s1", 3.5)),
)


def run(full: bool) -> Result:
    """See the module's text."""
    found = {(plan, treatment): observe(plan, treatment) for plan in PLANS for treatment in Treatment}
    quanta = (0.5, 1.0, 2.0, 4.0) + ((8.0,) if full else ())
    trades = [trade(quantum, 40 if full else 20) for quantum in quanta]
    viewed = {plan: observe_views(plan) for plan in PLANS}
    return Result(
        tables=(orphan_table(found), trade_table(trades), view_table(viewed)),
        figures={"orphans-time": time_figure(found), "orphans-treated": matrix_figure(found, viewed)},
        claims=(
            *life_claims(found),
            *killed_claims(found),
            *cost_claims(found),
            *trade_claims(trades),
            *view_claims(viewed),
        ),
    )


Found = dict[tuple[Plan, Treatment], Observed]


Viewed = dict[Plan, Observed]


# --- the five treatments ------------------------------------------------------------------------------------------


def orphan_table(found: Found) -> Table:
    """One row for each run."""
    columns = ("what happens", "treatment", "seconds of orphans", "killed wrongly", "writes", "messages")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (plan.name, treatment.value, round(seen.orphan_s, 3), seen.wrongly, seen.writes, seen.messages)
        for (plan, treatment), seen in found.items()
    )
    return Table("a crashes while three computations run for it, and three for b", columns, rows)


def expected_orphan_s(plan: Plan, treatment: Treatment) -> float:
    """The closed form, for the three computations of a: two on s1, and one of s2 for s1."""
    left, away, quantum = WORK_S - CRASH_S, BACK_S - CRASH_S, QUANTUM_S - CRASH_S % QUANTUM_S
    direct, inner = left, left
    if treatment is Treatment.EXPIRATION:
        direct = inner = quantum
    elif treatment is not Treatment.NONE and plan.back_s is not None:
        direct = inner = away
        if plan.cut == "s2":
            inner = left  # it does not hear
        if plan.crash is not None and treatment is Treatment.EXTERMINATION:
            inner = left  # it is in the log of a server that is gone
    if plan.crash is not None:
        direct = min(direct, plan.crash[1] - CRASH_S)
    return 2 * direct + inner


def expected_wrongly(plan: Plan, treatment: Treatment) -> int:
    """How many of b's three computations are killed."""
    match treatment:
        case Treatment.REINCARNATION if plan.back_s is not None:
            return 2 if plan.cut == "s2" else 3
        case Treatment.GENTLE if plan.cut == "b":
            return 3
        case Treatment.EXPIRATION if plan.cut:
            return 1 if plan.cut == "s2" else 3
        case _:
            return 0


def life_claims(found: Found) -> Iterator[Claim]:
    """How long orphans live."""
    for (plan, treatment), seen in found.items():
        expected = expected_orphan_s(plan, treatment)
        text = f"{plan.name}, {treatment.value}: {expected:g} seconds of orphans"
        yield near(text, BOOK, expected, seen.orphan_s, 3 * SETTLED)


def killed_claims(found: Found) -> Iterator[Claim]:
    """What is killed that should not."""
    for treatment in Treatment:
        yield equal(
            f"{treatment.value}: computations of b that are killed, in each plan",
            BOOK,
            [expected_wrongly(plan, treatment) for plan in PLANS],
            [found[plan, treatment].wrongly for plan in PLANS],
        )


def cost_claims(found: Found) -> Iterator[Claim]:
    """Who writes to disks, and who sends when nothing happens to the client's calls."""
    calm = {treatment: found[PLANS[1], treatment] for treatment in Treatment}
    inside = sum(len(path) for calls in CALLS.values() for path in calls)
    alive = sum(len(path) for path in CALLS["b"])
    # a call is written down before it is sent, and again when it has been answered: s1 hears of the end at s2, a of none
    more = inside + alive + 1
    yield equal(
        "extermination: one write for each call, and one for each answer",
        NELSON,
        more,
        calm[Treatment.EXTERMINATION].writes - calm[Treatment.NONE].writes,
    )
    others = {t: seen.writes for t, seen in calm.items() if t is not Treatment.EXTERMINATION}
    yield equal("nothing else writes calls down", NELSON, 1, len(set(others.values())))
    asked = [t.value for t, seen in calm.items() if seen.messages > calm[Treatment.NONE].messages]
    yield equal("only expiration sends messages while nothing happens", BOOK, [Treatment.EXPIRATION.value], asked)


def time_figure(found: Found) -> Lines:
    """Orphans over time, when a comes back and s2 is cut off.  Treatments of one curve share it."""
    curves: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for treatment in Treatment:
        seen = found[PLANS[2], treatment]
        ends = {round(span.ended, 2) for span in seen.spans if span.call.owner == "a"}
        times = sorted({0.0, CRASH_S, WORK_S + 1, *ends})
        counts = [0, *(seen.orphans_at(time + SETTLED) for time in times)]
        pairs = zip(times, itertools.pairwise(counts), strict=True)
        steps = [((time, before), (time, count)) for time, (before, count) in pairs]
        curves.setdefault(tuple(dict.fromkeys(itertools.chain(*steps))), []).append(treatment.value)
    series = tuple(Series(", ".join(names), points, hue=hue) for hue, (points, names) in enumerate(curves.items()))
    title = f"Orphans alive: a crashes at {CRASH_S:g} s and comes back at {BACK_S:g} s, while s2 is cut off"
    return Lines(title, "seconds", "orphans", series)


def matrix_figure(found: Found, viewed: Viewed) -> Matrix:
    """All plans and treatments, and the product."""
    rows = []
    kinds = {t.value: {plan: found[plan, t] for plan in PLANS} for t in Treatment} | {"views, the product": viewed}
    for name, runs in kinds.items():
        cells = []
        for seen in runs.values():
            tone = Tone.BAD if seen.wrongly else Tone.GOOD if seen.orphan_s < WORK_S - CRASH_S else Tone.DOUBTFUL
            cells.append((f"{seen.orphan_s:.1f} s, {seen.wrongly} wrongly", tone))
        rows.append((name, tuple(cells)))
    title = "Seconds of orphans, and computations of others that were killed"
    return Matrix(title, tuple(plan.name for plan in PLANS), tuple(rows))


# --- the length of a quantum --------------------------------------------------------------------------------------


class Trade(NamedTuple):
    """Expiration with one length of quanta, over all phases of a crash and of a cut."""

    quantum_s: float
    orphan_s: float
    """How long an orphan lives, on average."""
    wrongly: float
    """Share of the living clients' computations that a cut kills."""
    phases: int


TRADE_CUT_S = 1.0


def trade(quantum_s: float, phases: int) -> Trade:
    """A crash of a, and a cut of b, at evenly spaced moments of a quantum."""
    lives, killed = 0.0, 0
    for phase in range(phases):
        moment = quantum_s * (phase + 0.5) / phases
        plan = Plan("trade", None, "b", (moment, moment + TRADE_CUT_S))
        seen = observe(plan, Treatment.EXPIRATION, moment, quantum_s, {"a": (("s1",),), "b": (("s3",),)})
        lives += seen.orphan_s
        killed += seen.wrongly
    return Trade(quantum_s, lives / phases, killed / phases, phases)


def expected_life(quantum_s: float) -> float:
    """To the end of the quantum, which is the next one if another was granted just before."""
    return quantum_s / 2 + MARGIN_NS / SECOND


def expected_killed(quantum_s: float) -> float:
    """It is killed if the cut lasts from when it first asks to the end of its quantum."""
    return max(0.0, min(1.0, (TRADE_CUT_S - MARGIN_NS / SECOND) / quantum_s))


def trade_table(trades: Sequence[Trade]) -> Table:
    """One row for each length."""
    columns = ("quantum T (s)", "an orphan lives for (s, mean)", "T/2 + m", "killed by the cut", "(C-m)/T")
    rows = tuple(
        (t.quantum_s, t.orphan_s, expected_life(t.quantum_s), t.wrongly, expected_killed(t.quantum_s)) for t in trades
    )
    return Table(f"Expiration: how long a quantum?  A cut of {TRADE_CUT_S:g} s", columns, rows)


def trade_claims(trades: Sequence[Trade]) -> Iterator[Claim]:
    """Short quanta kill orphans soon, and the living too."""
    for each in trades:
        yield near(
            f"quanta of {each.quantum_s:g} s: an orphan lives for T/2 + m, on average",
            BOOK,
            expected_life(each.quantum_s),
            each.orphan_s,
            SETTLED,
        )
        yield near(
            f"quanta of {each.quantum_s:g} s: a cut of length C kills (C-m)/T of the living",
            BOOK,
            expected_killed(each.quantum_s),
            each.wrongly,
            1 / each.phases,
        )
    pairs = itertools.pairwise(trades)
    yield equal(
        "what is shorter for orphans is worse for the living",
        BOOK,
        True,
        all(p.orphan_s < n.orphan_s and p.wrongly >= n.wrongly for p, n in pairs),
    )


# --- views --------------------------------------------------------------------------------------------------------


def view_table(viewed: Viewed) -> Table:
    """One row for each plan."""
    rows = tuple((plan.name, round(seen.orphan_s, 3), seen.wrongly) for plan, seen in viewed.items())
    return Table(
        "With views: no log, no epoch, no quanta", ("what happens", "seconds of orphans", "killed wrongly"), rows
    )


def view_claims(viewed: Viewed) -> Iterator[Claim]:
    """As long as it takes to agree that the client has crashed."""
    healed = PLANS[2].cut_s[1] - CRASH_S
    for plan, seen in viewed.items():
        expected, margin = (healed, BACK_TOGETHER_S) if plan.cut == "s2" else (0.0, 3 * SETTLED)
        yield near(
            f"{plan.name}, views: {expected:g} seconds of orphans",
            "docs/protocols/failure-detection.md",
            expected,
            seen.orphan_s,
            margin,
        )
    yield equal(
        "views: computations of b that are killed, in each plan",
        "docs/protocols/failure-detection.md",
        [{"s2": 1, "b": 3}.get(plan.cut, 0) for plan in PLANS],
        [seen.wrongly for seen in viewed.values()],
    )
