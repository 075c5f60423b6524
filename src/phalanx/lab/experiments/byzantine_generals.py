"""Byzantine generals: how many traitors can be borne, with oral and with signed messages.

Question: generals, some of them traitors, must agree on the order of their commander. How many must there be?

Method: OM(m), SM(m) and the slides' four-phase algorithm run as machines in lock step. Traitors do whatever their
messages allow: another value to each, or silence; they collude, and hear of each round before they speak in it. With
signatures (Ed25519) they withhold, come late, replay, and forge. All their behaviours are gone through (with 6 and 7
generals without silence, which counts as retreat). A behaviour that breaks IC1 (all loyal lieutenants obey the same
order) or IC2 (if the commander is loyal, they obey it) is printed as a story. Messages are counted in runs without
traitors.

Source: Lamport, Shostak, Pease, "The Byzantine Generals Problem", ACM TOPLAS 4(3), 1982, sections 2 to 4, theorems 1 and
2, figures 1 and 2; slides L-15 Fault Tolerance, "Byzantine Agreement Algorithm" (oral messages) and (signed messages).

Expected: OM(m) holds with n = 3m + 1 and is broken with n = 3m. SM(m) holds with any n as long as there are at most m
traitors, and is broken by m + 1. The four phases teach the true values of correct processes with 4, not with 3; on the
traitor's own value correct processes may still disagree, as the slides' note admits. Messages: OM(m) sends the sum over
k = 1 ... m+1 of (n-1)(n-2)...(n-k); SM(m) sends (n-1)^2 with a loyal commander and m > 0; the four phases 2n(n-1).
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from phalanx.lab.experiments.result import Claim, Result, Story, Table, equal
from phalanx.lab.figures.model import Arrow, Figure, Lines, Messages, Remark, Series, Tone
from phalanx.lab.textbook import signatures
from phalanx.lab.textbook.oral import OralGeneral, Value
from phalanx.lab.textbook.rounds import Letter, Rounds
from phalanx.lab.textbook.signed import SignedGeneral
from phalanx.lab.textbook.traitors import oral_slots, signed_slots, vector_slots
from phalanx.lab.textbook.treason import Behaviours, General, behaviours
from phalanx.lab.textbook.vectors import VectorProcess
from phalanx.model.view import Name

PAPER = "Lamport, Shostak, Pease 1982"
SLIDES = "L-15, Byzantine Agreement Algorithm (oral messages)"

GENERALS = tuple("ABCDEFGHIJ")
COMMANDER = GENERALS[0]

ALGORITHMS: dict[str, type[OralGeneral | SignedGeneral]] = {"OM": OralGeneral, "SM": SignedGeneral}


class Siege(NamedTuple):
    """Who is there, and what they run.  Lieutenants are alike, so it matters only whether the commander is a traitor."""

    algorithm: str
    n: int
    m: int
    traitors: tuple[Name, ...]
    silence: bool = True
    """Traitors may also say nothing, with oral messages; with signed ones they always may."""

    @property
    def generals(self) -> tuple[Name, ...]:
        return GENERALS[: self.n]

    @property
    def loyal(self) -> tuple[Name, ...]:
        return tuple(name for name in self.generals if name not in self.traitors)

    @property
    def name(self) -> str:
        return f"{self.algorithm}({self.m})"


SHORT = (
    Siege("OM", 3, 1, ("A",)),
    Siege("OM", 3, 1, ("C",)),
    Siege("OM", 4, 1, ("A",)),
    Siege("OM", 4, 1, ("D",)),
    Siege("OM", 6, 2, ("A", "F"), silence=False),
    Siege("OM", 6, 2, ("E", "F"), silence=False),
    Siege("SM", 3, 1, ("A",)),
    Siege("SM", 3, 1, ("C",)),
    Siege("SM", 4, 1, ("A",)),
    Siege("SM", 4, 1, ("D",)),
    Siege("SM", 4, 1, ("A", "D")),
)
FULL = (
    *SHORT,
    Siege("OM", 7, 2, ("A", "G"), silence=False),
    Siege("OM", 7, 2, ("F", "G"), silence=False),
    Siege("SM", 4, 2, ("A", "D")),
)


class Outcome(NamedTuple):
    """What came of all behaviours of a siege, or of those up to the first that breaks the conditions."""

    siege: Siege
    covered: int
    tried: int
    broken: "Breach | None"


class Breach(NamedTuple):
    """A behaviour that breaks a condition."""

    condition: str
    order: Value | None
    decisions: dict[Name, Any]
    letters: tuple[tuple[Letter, ...], ...]
    """By round."""


def run(full: bool) -> Result:
    """See the module's text."""
    signatures.require()
    outcomes = [lay(siege) for siege in (FULL if full else SHORT)]
    vectors = [four_phases(n) for n in (3, 4)]
    counts = [*count_messages(7 if full else 6)]
    stories = tuple(story(o) for o in outcomes if o.broken is not None and len(o.siege.generals) <= 4)
    figures: dict[str, Figure] = {
        "byzantine-oral": diagram(next((o for o in outcomes if o.broken is not None), outcomes[0])),
        "byzantine-messages": message_figure(counts),
    }
    return Result(
        tables=(siege_table(outcomes), vector_table(vectors), count_table(counts)),
        figures=figures,
        claims=(*siege_claims(outcomes), *vector_claims(vectors), *count_claims(counts)),
        stories=stories,
    )


# --- a commander and lieutenants ----------------------------------------------------------------------------------


def make(siege: Siege, order: Value | None) -> Callable[[], Mapping[Name, General]]:
    """The loyal generals of the siege.  `order` is None if the commander is a traitor."""
    kind = ALGORITHMS[siege.algorithm]
    return lambda: {
        name: kind(name, siege.generals, COMMANDER, siege.m, order if name == COMMANDER else None)
        for name in siege.loyal
    }


def lay(siege: Siege) -> Outcome:
    """Go through all behaviours of the traitors, up to the first that breaks IC1 or IC2."""
    if siege.algorithm == "OM":
        options = (*Value, None) if siege.silence else tuple(Value)
        slots = oral_slots(siege.generals, COMMANDER, siege.traitors, options)
    else:
        slots = signed_slots(siege.generals, COMMANDER, siege.traitors)
    covered = tried = 0
    for order in (None,) if COMMANDER in siege.traitors else tuple(Value):
        for found in behaviours(make(siege, order), slots):
            covered += found.covered
            tried += found.tried
            if (breach := breach_of(found, order)) is not None:
                return Outcome(siege, covered, tried, breach)
    return Outcome(siege, covered, tried, None)


def breach_of(found: Behaviours[Value], order: Value | None) -> Breach | None:
    """Does one of these behaviours break a condition?"""
    for name, decisions in found.ends.items():
        for decision, last in decisions.items():
            if order is not None and decision is not order:
                return Breach("IC2", order, {name: decision}, (*found.letters, last))
    for (one, mine), (other, theirs) in itertools.combinations(found.ends.items(), 2):
        for this, that in itertools.product(mine, theirs):
            if this is not that:
                letters = (*found.letters, (*mine[this], *theirs[that]))
                return Breach("IC1", order, {one: this, other: that}, letters)
    return None


def siege_table(outcomes: list[Outcome]) -> Table:
    """One row for each siege."""
    return Table(
        "All behaviours of the traitors",
        ("algorithm", "generals", "traitors", "behaviours", "runs", "IC1 and IC2"),
        tuple(
            (
                o.siege.name,
                o.siege.n,
                " ".join("commander" if name == COMMANDER else f"lieutenant {name}" for name in o.siege.traitors),
                o.covered,
                o.tried,
                "hold" if o.broken is None else f"{o.broken.condition} broken",
            )
            for o in outcomes
        ),
    )


def siege_claims(outcomes: list[Outcome]) -> Iterator[Claim]:
    """The bounds of the paper, each against all its sieges."""
    kinds: dict[tuple[str, int, int, int], list[Outcome]] = {}
    for outcome in outcomes:
        siege = outcome.siege
        kinds.setdefault((siege.algorithm, siege.n, siege.m, len(siege.traitors)), []).append(outcome)
    for (algorithm, n, m, traitors), group in kinds.items():
        if algorithm == "OM":
            expected, source = n > 3 * traitors, "section 2 and theorem 1"
        else:
            expected, source = traitors <= m, "section 4, theorem 2"
        count = f"{traitors} traitor{'s' * (traitors > 1)}"
        yield equal(
            f"{algorithm}({m}) with {n} generals, {count}: the conditions {'hold' if expected else 'can be broken'}",
            f"{PAPER}, {source}",
            "hold" if expected else "broken",
            "hold" if all(o.broken is None for o in group) else "broken",
        )


def story(outcome: Outcome) -> Story:
    """The breach, message by message."""
    siege, breach = outcome.siege, outcome.broken
    assert breach is not None
    lines = []
    for number, letters in enumerate(breach.letters, 1):
        for letter in letters:
            mark = " (traitor)" if letter.source in siege.traitors else ""
            lines.append(f"round {number}: {letter.source}{mark} tells {letter.target}: {letter.message}")
    lines += [f"{name}, loyal, decides to {decision}" for name, decision in breach.decisions.items()]
    lines.append(
        f"{breach.condition} is broken: "
        + (f"the loyal commander ordered to {breach.order}" if breach.condition == "IC2" else "they do not agree")
    )
    return Story(f"{siege.name} with {siege.n} generals, traitors {' '.join(siege.traitors)}", tuple(lines))


def diagram(outcome: Outcome) -> Messages:
    """The breach as a diagram; without one, only the generals."""
    siege, breach = outcome.siege, outcome.broken
    labels = {n: f"{n}{', commander' * (n == COMMANDER)}{', traitor' * (n in siege.traitors)}" for n in siege.generals}
    events: list[Arrow | Remark] = []
    for letters in breach.letters if breach is not None else ():
        for letter in letters:
            tone = Tone.BAD if letter.source in siege.traitors else Tone.PLAIN
            events.append(Arrow(labels[letter.source], labels[letter.target], str(letter.message), tone))
    for name, decision in breach.decisions.items() if breach is not None else ():
        events.append(Remark(labels[name], f"decides to {decision}", Tone.BAD))
    return Messages(
        f"{siege.name} with {siege.n} generals: {'broken' if breach else 'holds'}",
        tuple(labels.values()),
        tuple(events),
    )


# --- the four phases of the slides --------------------------------------------------------------------------------

LIES = (7, 8, 9)


class Strengths(NamedTuple):
    """What came of all behaviours of one traitor among n processes."""

    n: int
    covered: int
    tried: int
    wrong: str
    """A result that lacks the true value of a correct process; "" if there is none."""
    apart: bool
    """Two correct processes can have different values for the traitor."""


def four_phases(n: int) -> Strengths:
    """The last of the n processes is a traitor; the others have the values 1, 2, ..."""
    names = tuple(f"P{number}" for number in range(1, n + 1))
    truth = tuple(range(1, n + 1))
    *correct, traitor = names
    covered = tried = 0
    wrong, apart = "", False
    slots = vector_slots(names, truth, traitor, LIES)
    for found in behaviours(
        lambda: {name: VectorProcess(name, names, value) for name, value in zip(correct, truth, strict=False)}, slots
    ):
        covered += found.covered
        tried += found.tried
        for name, decisions in found.ends.items():
            for vector in decisions:
                if vector[:-1] != truth[:-1]:
                    wrong = wrong or f"{name} ends with {vector}"
        own = [{vector[-1] for vector in decisions} for decisions in found.ends.values()]
        apart = apart or any(len(one | other) > 1 for one, other in itertools.combinations(own, 2))
    return Strengths(n, covered, tried, wrong, apart)


def vector_table(found: list[Strengths]) -> Table:
    """One row for each number of processes."""
    columns = ("processes", "traitors", "behaviours", "runs", "true values of correct ones", "value of the traitor")
    rows = ((s.n, 1, s.covered, s.tried, s.wrong or "always", "may differ" if s.apart else "the same") for s in found)
    return Table("The four phases (0 is UNKNOWN; the last process is the traitor)", columns, tuple(rows))


def vector_claims(found: list[Strengths]) -> Iterator[Claim]:
    """The slides' two statements."""
    for s in found:
        enough = s.n > 3
        yield equal(
            f"four phases, {s.n} processes, 1 traitor: correct processes {'' if enough else 'do not always '}learn each "
            "other's true values",
            f"{SLIDES} 4; figure 8-5",
            enough,
            not s.wrong,
        )
    yield equal(
        "four phases, 4 processes: no more than that; on the traitor's own value they may differ",
        f"{SLIDES} 4, note",
        True,
        next(s.apart for s in found if s.n == 4),
    )


# --- how many messages --------------------------------------------------------------------------------------------


class Count(NamedTuple):
    """Messages of one run without traitors, and the closed form."""

    algorithm: str
    n: int
    m: int
    sent: int
    formula: int


def count_messages(most: int) -> Iterator[Count]:
    """Run each algorithm with up to so many generals."""
    for n in range(3, most + 1):
        for m in range(1, min(3, n - 1)):
            oral = sum(math.perm(n - 1, k) for k in range(1, m + 2))
            yield Count("OM", n, m, _sent(Siege("OM", n, m, ())), oral)
        yield Count("SM", n, 1, _sent(Siege("SM", n, 1, ())), (n - 1) ** 2)
        names = GENERALS[:n]
        rounds = Rounds({name: VectorProcess(name, names, 1) for name in names})
        yield Count("four phases", n, 1, _run(rounds, 2), 2 * n * (n - 1))


def _sent(siege: Siege) -> int:
    return _run(Rounds(make(siege, Value.ATTACK)()), siege.m + 1)


def _run(rounds: Rounds[Any], last: int) -> int:
    letters: list[Letter] = []
    for _ in range(last + 1):
        letters = rounds.turn(letters)
    assert len(rounds.decided) == len(rounds.machines)
    return rounds.sent


def count_table(counts: list[Count]) -> Table:
    """One row for each run."""
    columns = ("algorithm", "m", "generals", "messages", "closed form")
    return Table(
        "Messages of a run without traitors", columns, tuple((c.algorithm, c.m, c.n, c.sent, c.formula) for c in counts)
    )


def count_claims(counts: list[Count]) -> Iterator[Claim]:
    """One for each algorithm."""
    formulas = {
        "OM": "sum of (n-1)...(n-k) for k = 1 ... m+1",
        "SM": "(n-1)^2",
        "four phases": "2n(n-1)",
    }
    for algorithm, formula in formulas.items():
        mine = [c for c in counts if c.algorithm == algorithm]
        yield equal(
            f"{algorithm} {'send' if algorithm.endswith('s') else 'sends'} {formula} messages",
            SLIDES if algorithm == "four phases" else f"{PAPER}, sections 3, 4 and 6",
            [c.formula for c in mine],
            [c.sent for c in mine],
        )


def message_figure(counts: list[Count]) -> Lines:
    """Growth with the number of generals."""
    kinds = dict.fromkeys((c.algorithm, c.m) for c in counts)
    series = []
    for hue, (algorithm, m) in enumerate(kinds):
        mine = [c for c in counts if (c.algorithm, c.m) == (algorithm, m)]
        name = algorithm if algorithm == "four phases" else f"{algorithm}({m})"
        series.append(Series(name, tuple((float(c.n), float(c.sent)) for c in mine), True, hue))
        series.append(Series(f"{name}, closed form", tuple((float(c.n), float(c.formula)) for c in mine), False, hue))
    return Lines("Messages of a run without traitors", "generals", "messages", tuple(series), log_y=True)
