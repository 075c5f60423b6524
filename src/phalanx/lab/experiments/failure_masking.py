"""Failure masking: modular redundancy with voters.

Question: how reliable are n modules with a voter, compared with one? What if voters fail, and what if faults are not
independent?

Method: modules and voters run as machines in lock step, once for every set of components that may fail. Sums over the
sets in which the result is right give the reliability as an exact fraction, for any reliability of the components.

Source: slides L-15 Fault Tolerance, "Failure Masking by Redundancy"; Lyons and Vanderkulk, IBM Journal 6(2), 1962; for
common causes the beta factor: Fleming, "A Reliability Model for Common Mode Failures in Redundant Safety Systems", 1975.

Expected: let M(r) be the probability that more than half of n components work that work with probability r; for n = 3
it is 3r^2 - 2r^3. One stage has M(r), worse than one module alone below r = 1/2. A single voter is a single point of
failure: s stages have (M(r) v)^s. With a voter in each lane they have M(r) M(rv)^(s-1) M(v). If a share b of the faults
q = 1 - r strikes all modules at once, there is (1 - bq) M(1 - (1-b)q), so more modules do not help against that share. n
modules mask n - 1 omissions if the first value counts, and (n-1)/2 wrong values if the majority does.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from phalanx.lab.exhaustive import Choices, every
from phalanx.lab.experiments.result import Claim, Result, Table, equal
from phalanx.lab.figures.model import Lines, Series
from phalanx.lab.textbook.redundancy import Fault, Faulty, Module, Reading, Voter
from phalanx.lab.textbook.rounds import Letter, Rounds
from phalanx.model.machine import Machine
from phalanx.model.view import Name

PAPER = "Lyons and Vanderkulk 1962"
SLIDE = "L-15, Failure Masking by Redundancy"
TANENBAUM = "Tanenbaum and van Steen, section 8.2"

INPUT = 5
TENTHS = tuple(Fraction(k, 20) for k in range(21))
"""Reliabilities at which polynomials are compared: more points than their degree, so equal there is equal everywhere."""


class Design(NamedTuple):
    """So many stages of n modules, each with n voters or one."""

    n: int
    stages: int
    voters: int
    voters_fail: bool
    common: bool = False
    """A common cause may strike all modules at once."""


class Pattern(NamedTuple):
    """Which faults there are: how many modules and voters that fail by themselves, and whether the common cause
    strikes."""

    modules: int
    voters: int
    common: bool


class Survey(NamedTuple):
    """In how many sets of faults the result is right, for each pattern."""

    design: Design
    right: Counter[Pattern]
    runs: int

    def reliability(self, r: Fraction, v: Fraction = Fraction(1), b: Fraction = Fraction(0)) -> Fraction:
        """The probability that the result is right, if modules work with probability r, voters with v, and a share b of
        the faults of modules has a common cause."""
        modules, voters = self.design.n * self.design.stages, self.design.voters * self.design.stages
        shared = b * (1 - r) if self.design.common else Fraction(0)
        alone = (1 - b) * (1 - r) if self.design.common else 1 - r
        total = Fraction(0)
        for pattern, count in self.right.items():
            chance = shared if pattern.common else 1 - shared
            chance *= alone**pattern.modules * (1 - alone) ** (modules - pattern.modules)
            if self.design.voters_fail:
                chance *= (1 - v) ** pattern.voters * v ** (voters - pattern.voters)
            total += count * chance
        return total


def run(full: bool) -> Result:
    """See the module's text."""
    single = [survey(Design(n, 1, 1, voters_fail=False)) for n in ((1, 3, 5, 7, 9) if full else (1, 3, 5))]
    stages = 3 if full else 2
    voters = [survey(Design(3, stages, count, voters_fail=True)) for count in (1, 3)]
    common = [survey(Design(n, 1, 1, voters_fail=False, common=True)) for n in ((3, 5, 7) if full else (3, 5))]
    most = 7 if full else 5
    masked = [(fault, n, masks(n, fault)) for fault in Fault for n in range(1, most + 1)]
    return Result(
        tables=(reliability_table(single), voter_table(voters), common_table(common), masked_table(masked)),
        figures={"masking-reliability": reliability_figure(single), "masking-common": common_figure(common)},
        claims=(*reliability_claims(single), *voter_claims(voters), *common_claims(common), *masked_claims(masked)),
    )


# --- execution ----------------------------------------------------------------------------------------------------


def result_of(design: Design, broken: dict[Name, Fault], enough: int | None = None) -> int | None:
    """What the reader gets if these components fail; None: undefined."""
    lanes, last = range(design.n), design.stages
    need = design.n // 2 + 1 if enough is None else enough
    machines: dict[Name, Machine] = {}
    for stage in range(1, last + 1):
        modules = [f"module {stage}.{lane}" for lane in lanes]
        voters = [f"voter {stage}.{lane}" for lane in range(design.voters)]
        for module in modules:
            machines[module] = Module(2 * stage - 1, voters)
        for lane, voter in enumerate(voters):
            readers = [f"module {stage + 1}.{n}" for n in (lanes if design.voters == 1 else (lane,))]
            machines[voter] = Voter(2 * stage, modules, need, readers if stage < last else ["reader"])
    last_voters = [f"voter {last}.{lane}" for lane in range(design.voters)]
    machines["reader"] = Voter(2 * last + 1, last_voters, design.voters // 2 + 1)
    for name, fault in broken.items():
        machines[name] = Faulty(machines[name], fault, int(name[-1]))
    rounds = Rounds(machines)
    rounds.turn(())
    letters = [Letter("source", f"module 1.{lane}", Reading(INPUT)) for lane in lanes]
    for _ in range(2 * last + 1):
        letters = rounds.turn(letters)
    value: int | None = rounds.decided["reader"]
    return value


def components(design: Design) -> tuple[list[Name], list[Name]]:
    """The names of modules and voters that may fail."""
    stages = range(1, design.stages + 1)
    modules = [f"module {stage}.{lane}" for stage in stages for lane in range(design.n)]
    voters = [f"voter {stage}.{lane}" for stage in stages for lane in range(design.voters) if design.voters_fail]
    return modules, voters


def survey(design: Design, fault: Fault = Fault.VALUE_ALIKE) -> Survey:
    """Run it with every set of faulty components."""
    modules, voters = components(design)

    def once(choices: Choices) -> tuple[Pattern, bool]:
        common = design.common and choices.pick((False, True))
        failed = [[name for name in names if choices.pick((False, True))] for names in (modules, voters)]
        struck = modules if common else []
        value = result_of(design, dict.fromkeys((*failed[0], *failed[1], *struck), fault))
        return Pattern(len(failed[0]), len(failed[1]), common), value == INPUT + design.stages

    right: Counter[Pattern] = Counter()
    runs = 0
    for pattern, is_right in every(once):
        right[pattern] += is_right
        runs += 1
    return Survey(design, right, runs)


def masks(n: int, fault: Fault) -> int:
    """The largest k such that n modules give the right result whichever k of them fail in that way."""
    design = Design(n, 1, 1, voters_fail=False)
    enough = 1 if fault is Fault.OMISSION else None

    def once(choices: Choices) -> tuple[int, bool]:
        failed = [name for name in components(design)[0] if choices.pick((False, True))]
        return len(failed), result_of(design, dict.fromkeys(failed, fault), enough) == INPUT + 1

    return min((count for count, is_right in every(once) if not is_right), default=n + 1) - 1


# --- closed forms -------------------------------------------------------------------------------------------------


def most_of(n: int, r: Fraction) -> Fraction:
    """M(r): more than half of n work."""
    return sum((math.comb(n, k) * r**k * (1 - r) ** (n - k) for k in range(n // 2 + 1, n + 1)), Fraction(0))


def with_voters(design: Design, r: Fraction, v: Fraction) -> Fraction:
    """The reliability of stages with voters that fail."""
    if design.voters == 1:
        return (most_of(design.n, r) * v) ** design.stages
    return most_of(design.n, r) * most_of(design.n, r * v) ** (design.stages - 1) * most_of(design.n, v)


def with_common(n: int, r: Fraction, b: Fraction) -> Fraction:
    """The reliability of one stage if a share b of the faults is common."""
    q = 1 - r
    return (1 - b * q) * most_of(n, 1 - (1 - b) * q)


# --- tables, figures, claims --------------------------------------------------------------------------------------

SHOWN = (Fraction(2, 5), Fraction(1, 2), Fraction(9, 10), Fraction(99, 100))
SHARES = (Fraction(0), Fraction(1, 100), Fraction(1, 20), Fraction(1, 10), Fraction(1, 5), Fraction(1))
NINE = Fraction(9, 10)
BETTER = Fraction(999, 1000)


def reliability_table(surveys: list[Survey]) -> Table:
    """One stage, perfect voter."""
    columns = ("modules", "sets of faults", *(f"r = {float(r):g}" for r in SHOWN))
    rows = ((s.design.n, s.runs, *(float(s.reliability(r)) for r in SHOWN)) for s in surveys)
    return Table("Reliability of one stage whose voter is perfect", columns, tuple(rows))


def reliability_claims(surveys: list[Survey]) -> Iterator[Claim]:
    """M(r), and where redundancy does harm."""
    for s in surveys:
        n = s.design.n
        found = [s.reliability(r) for r in TENTHS]
        formula = "3r^2 - 2r^3" if n == 3 else "M(r)"
        expected = [3 * r**2 - 2 * r**3 if n == 3 else most_of(n, r) for r in TENTHS]
        yield _same(
            f"{n} module{'s' * (n > 1)} and a perfect voter: the reliability is {formula}", PAPER, expected, found
        )
    one, three = (next(s for s in surveys if s.design.n == n) for n in (1, 3))
    better = [r for r in TENTHS if three.reliability(r) > one.reliability(r)]
    expected_better = [r for r in TENTHS if Fraction(1, 2) < r < 1]
    yield _same("three modules are better than one if r > 1/2 only", PAPER, expected_better, better)


def _same(text: str, source: str, expected: Iterable[Fraction], found: Iterable[Fraction]) -> Claim:
    return equal(text, source, " ".join(map(str, expected)), " ".join(map(str, found)))


def voter_table(surveys: list[Survey]) -> Table:
    """Voters that fail as well."""
    stages = surveys[0].design.stages
    columns = ("voters a stage", "sets of faults", *(f"voters {float(v):g}" for v in (NINE, BETTER, Fraction(1))))
    rows = (
        (s.design.voters, s.runs, *(float(s.reliability(BETTER, v)) for v in (NINE, BETTER, Fraction(1))))
        for s in surveys
    )
    return Table(
        f"Reliability of {stages} stages of three modules (each 0.999) whose voters fail", columns, tuple(rows)
    )


def voter_claims(surveys: list[Survey]) -> Iterator[Claim]:
    """The single voter as single point, and voters in each lane."""
    for s in surveys:
        design = s.design
        text = "a single voter: (M(r) v)^s" if design.voters == 1 else "a voter in each lane: M(r) M(rv)^(s-1) M(v)"
        points = [(r, v) for r in TENTHS for v in TENTHS]
        found = [s.reliability(r, v) for r, v in points]
        yield equal(
            f"{design.stages} stages with {text}",
            SLIDE,
            "the formula at all points",
            "the formula at all points"
            if found == [with_voters(design, r, v) for r, v in points]
            else "something else",
        )
    single = next(s for s in surveys if s.design.voters == 1)
    lanes = next(s for s in surveys if s.design.voters > 1)
    alone = [s.right[Pattern(0, 1, False)] for s in (single, lanes)]
    yield equal(
        "any one voter that fails spoils the result if it is the only one of its stage, and none does in a lane",
        SLIDE,
        [0, lanes.design.voters * lanes.design.stages],
        alone,
    )


def common_table(surveys: list[Survey]) -> Table:
    """A share of faults that is common."""
    columns = ("modules", *(f"b = {float(b):g}" for b in SHARES))
    rows = ((s.design.n, *(float(1 - s.reliability(BETTER, b=b)) for b in SHARES)) for s in surveys)
    return Table(
        "Unreliability of one stage, each module 0.999, if a share b of faults is common", columns, tuple(rows)
    )


def common_claims(surveys: list[Survey]) -> Iterator[Claim]:
    """The beta factor."""
    for s in surveys:
        points = [(r, b) for r in TENTHS for b in SHARES]
        found = [s.reliability(r, b=b) for r, b in points]
        expected = [with_common(s.design.n, r, b) for r, b in points]
        yield equal(
            f"{s.design.n} modules with a share b of common faults: (1 - bq) M(1 - (1-b)q)",
            "Fleming 1975",
            True,
            found == expected,
        )


def masked_table(masked: list[tuple[Fault, int, int]]) -> Table:
    """How many faults are masked."""
    sizes = sorted({n for _, n, _ in masked})
    rows = (
        (fault.value, *(next(k for f, n, k in masked if (f, n) == (fault, size)) for size in sizes)) for fault in Fault
    )
    return Table("Faults that n modules mask", ("fault", *(f"n = {n}" for n in sizes)), tuple(rows))


def masked_claims(masked: list[tuple[Fault, int, int]]) -> Iterator[Claim]:
    """k + 1 for those that fail silently, 2k + 1 for wrong values."""
    for fault in Fault:
        found = [(n, k) for f, n, k in masked if f is fault]
        expected = [(n, n - 1 if fault is Fault.OMISSION else (n - 1) // 2) for n, _ in found]
        rule = "k + 1 modules mask k" if fault is Fault.OMISSION else "2k + 1 modules mask k"
        yield equal(f"{rule} faults of the kind: {fault.value}", TANENBAUM, expected, found)


def reliability_figure(surveys: list[Survey]) -> Lines:
    """Executed against M(r)."""
    series = []
    for hue, s in enumerate(surveys):
        n = s.design.n
        series.append(
            Series(f"n = {n}, executed", tuple((float(r), float(s.reliability(r))) for r in TENTHS), True, hue)
        )
        series.append(Series(f"n = {n}, formula", tuple((float(r), float(most_of(n, r))) for r in TENTHS), False, hue))
    return Lines("n modules and a perfect voter", "reliability of a module", "reliability of the stage", tuple(series))


def common_figure(surveys: list[Survey]) -> Lines:
    """How common faults eat up what redundancy gives."""
    shares = (*(Fraction(1, 10**k) for k in range(5, 0, -1)), Fraction(1, 3), Fraction(1))
    series = []
    for hue, s in enumerate(surveys):
        n = s.design.n
        points = tuple((float(b), float(1 - s.reliability(BETTER, b=b))) for b in shares)
        series.append(Series(f"n = {n}, executed", points, True, hue))
        curve = tuple((float(b), float(1 - with_common(n, BETTER, b))) for b in shares)
        series.append(Series(f"n = {n}, formula", curve, False, hue))
    title = "Modules that work with probability 0.999, some of whose faults are common"
    return Lines(
        title, "share of faults that strike all modules", "unreliability", tuple(series), log_x=True, log_y=True
    )
