"""FLP: a scheduler that keeps consensus undecided for as long as it likes, and what a failure detector takes from it.

Question: no asynchronous protocol decides in every run if one process may fail. What does a run look like that never
decides, how likely is it, and what does it take to rule it out?

Method: three processes run the algorithm of Chandra and Toueg. A scheduler chooses which message arrives next, and, as
long as there is no more than a timeout to go by, who suspects whom. The adversary is the construction of the proof:
processes take turns to receive their oldest message, each at a moment after which both decisions can still be reached,
which is shown by going there. Then detectors become as accurate as their class says, and every schedule from there on is
tried. Other runs are drawn by chance. At last the processes run in the simulated network with timeouts of their own.

Source: Fischer, Lynch, Paterson 1985; Chandra and Toueg 1996; slides Principles of Reliable Communication (Piper), FLP
Impossibility, Consensus and Failure Detection; Birman, That's impossible! (2020) for how likely it is.

Expected: from some proposals both decisions can be reached. The adversary never fails, though no process crashes and
each message arrives. Detectors that cease to suspect one process that lives (eventually strong), or all of them
(eventually perfect), have every schedule decide; if they do not suspect one that crashed, it may stop everything. By
chance a run stays undecided with a probability that falls exponentially. A timeout that is too short never lets it
decide, one that grows with each mistake does.
"""

import itertools
import math
import random
from collections.abc import Iterator
from typing import NamedTuple

from phalanx.lab.experiments.result import Claim, Result, Story, Table, equal
from phalanx.lab.figures.model import Arrow, Lines, Messages, Remark, Series, Tone
from phalanx.lab.textbook.adversary import (
    ANYTHING,
    SEARCH_MAX,
    Accuracy,
    Adversary,
    Configuration,
    Doubt,
    Event,
    Oracle,
    Stage,
    Survey,
    begin,
    by_chance,
    survey,
)
from phalanx.lab.textbook.consensus import Rotating
from phalanx.lab.textbook.rounds import Letter
from phalanx.lab.textbook.watchful import Timed, in_network

FLP = "Fischer, Lynch, Paterson 1985"
CT = "Chandra and Toueg 1996"

THREE = ("P1", "P2", "P3")
FIVE = (*THREE, "P4", "P5")
DIVIDED = (0, 1, 1)
OPEN_STAGES = 24
STAGES_MAX = 1_000
SURE = 150
"""Runs by chance after which a decision that has not come is taken for impossible: each comes in one of twenty."""
LAME = "accurate, incomplete"

LIMIT_MS = 50
DELAYS_MS = (5, 20, 100, 200)


class Delayed(NamedTuple):
    """What the adversary achieved."""

    processes: int
    asked: int
    """Stages, each of which ends with the arrival of the oldest message for one process."""
    stages: int
    events: int
    rounds: int
    oldest: int
    """The most stages that any message was on its way."""
    log10_chance: float
    """Of this schedule, if whatever can happen next is as likely."""


class Detector(NamedTuple):
    """What may be suspected, and who has crashed."""

    name: str
    after: int
    """Stages of the adversary before it becomes so."""
    accuracy: Accuracy


class Found(NamedTuple):
    """What came of it."""

    detector: Detector
    delayed: int
    """Stages for which the adversary went on."""
    survey: Survey


def run(full: bool) -> Result:
    """See the module's text."""
    reached = {proposals: outcomes(proposals) for proposals in itertools.product((0, 1), repeat=3)}
    stages = [delay(THREE, DIVIDED, asked)[0] for asked in ((10, 100, 1000) if full else (10, 50, 200))]
    if full:
        stages.append(delay(FIVE, (0, 1, 1, 0, 1), 60, search_max=5_000)[0])
    _, open_still, told = delay(THREE, DIVIDED, OPEN_STAGES)
    found = [detect(open_still if each.after else start(THREE, DIVIDED), each) for each in detectors()]
    runs = chance(20_000 if full else 1_000)
    timed = timeouts()
    return Result(
        tables=(reached_table(reached), stage_table(stages), detector_table(found), timed_table(timed)),
        figures={"flp-stages": stage_figure(told), "flp-chance": chance_figure(runs, stages)},
        claims=(
            *reached_claims(reached),
            *stage_claims(stages),
            *detector_claims(found),
            *chance_claims(runs),
            *timed_claims(timed),
        ),
        stories=(Story("The adversary's first stages", tuple(map(stage_text, told[:12]))),),
    )


# --- execution ----------------------------------------------------------------------------------------------------


def start(names: tuple[str, ...], proposals: tuple[int, ...]) -> Configuration:
    """All have proposed."""
    return begin(Rotating(name, names, value) for name, value in zip(names, proposals, strict=True))


def outcomes(proposals: tuple[int, ...]) -> frozenset[int]:
    """Decisions that were reached: on the oracle's ways, which are few, and by chance."""
    begun = start(THREE, proposals)
    found = set(Oracle(ANYTHING).outcomes(begun))
    for number in range(SURE):
        if len(found) < 2:
            found |= by_chance(begun, random.Random(f"from {proposals}, {number}"))[1]
    return frozenset(found)


def delay(
    names: tuple[str, ...], proposals: tuple[int, ...], asked: int, search_max: int = SEARCH_MAX
) -> tuple[Delayed, Configuration, list[Stage]]:
    """Have the adversary keep it open for so many stages."""
    adversary = Adversary(start(names, proposals), search_max=search_max)
    sent_at: dict[Letter, int] = {}
    told: list[Stage] = []
    oldest = 0
    while len(told) < asked and (stage := adversary.stage()) is not None:
        told.append(stage)
        sent_at = {letter: sent_at.get(letter, len(told)) for letter in adversary.configuration.letters}
        oldest = max([oldest, *(len(told) - at for at in sent_at.values())])
    last = adversary.configuration
    events = sum(len(stage.events) for stage in told)
    log10 = sum(stage.log_chance for stage in told) / math.log(10)
    return Delayed(len(names), asked, len(told), events, last.round, oldest, log10), last, told


def detectors() -> Iterator[Detector]:
    """Each class: from when the adversary has been at work; from the beginning, if somebody crashes; and incomplete."""
    for crashed in (None, *THREE):
        dead, after = (frozenset({crashed}), 0) if crashed else (frozenset[str](), OPEN_STAGES)
        for trusted in (name for name in THREE if name != crashed):
            yield Detector("eventually strong", after, Accuracy(frozenset({trusted}), dead))
        yield Detector("eventually perfect", after, Accuracy(frozenset(THREE) - dead, dead))
    for crashed in THREE:
        yield Detector(LAME, 0, Accuracy(frozenset(THREE), frozenset({crashed})))


def detect(configuration: Configuration, detector: Detector) -> Found:
    """From now on detectors are as accurate as that."""
    adversary = Adversary(configuration, detector.accuracy)
    stages = 0
    while stages < STAGES_MAX and adversary.stage() is not None:
        stages += 1
    return Found(detector, stages, survey(configuration, detector.accuracy))


def chance(runs: int) -> list[tuple[int, frozenset[int]]]:
    """The round in which it is decided, and what, in runs by chance."""
    begun = start(THREE, DIVIDED)
    return [by_chance(begun, random.Random(f"schedule {number}")) for number in range(runs)]


def timeouts() -> list[Timed]:
    """Slower and slower networks."""
    cases = itertools.product(DELAYS_MS, (False, True), (False, True))
    return [in_network(THREE, DIVIDED, LIMIT_MS, *case) for case in cases]


# --- what can be reached ------------------------------------------------------------------------------------------


def _set(values: frozenset[int]) -> str:
    return " or ".join(map(str, sorted(values))) or "nothing"


def reached_table(reached: dict[tuple[int, ...], frozenset[int]]) -> Table:
    """One row for each vector of proposals."""
    rows = tuple((*map(str, proposals), _set(found)) for proposals, found in reached.items())
    return Table("Decisions that were reached, by proposals", (*THREE, "decided"), rows)


def reached_claims(reached: dict[tuple[int, ...], frozenset[int]]) -> Iterator[Claim]:
    """Lemma 2."""
    alike = [found for proposals, found in reached.items() if len(set(proposals)) == 1]
    yield equal("if all propose the same, that is decided", CT, "0, 1", ", ".join(map(_set, alike)))
    open_ones = sum(len(found) == 2 for found in reached.values())
    yield Claim(
        "there are proposals from which both decisions can be reached",
        f"{FLP}, Lemma 2",
        "at least 1",
        str(open_ones),
        open_ones > 0,
    )


def stage_table(stages: list[Delayed]) -> Table:
    """One row for each length asked for."""
    columns = ("processes", "asked", "stages", "events", "rounds", "longest wait", "log10 chance")
    return Table("The adversary: stages without a decision, and how likely by chance", columns, tuple(stages))


def stage_claims(stages: list[Delayed]) -> Iterator[Claim]:
    """Theorem 1."""
    yield equal(
        "it stays bivalent for as long as asked, without a crash",
        f"{FLP}, Theorem 1",
        [each.asked for each in stages],
        [each.stages for each in stages],
    )
    three = [each.oldest for each in stages if each.processes == 3]
    yield Claim(
        "and no message is withheld: the longest wait does not grow with the run",
        f"{FLP}, section 2: admissible runs",
        f"at most {2 * three[0]} stages",
        str(max(three)),
        max(three) <= 2 * three[0],
    )


def _event_text(event: Event) -> str:
    if isinstance(event, Doubt):
        return f"{event.at} suspects {event.of}"
    return f"{event.source} -> {event.target}: {event.message}"


def stage_text(stage: Stage) -> str:
    """One line."""
    return "; then ".join(map(_event_text, stage.events))


def stage_figure(told: list[Stage]) -> Messages:
    """The first two rounds or so, as they ran."""
    events: list[Arrow | Remark] = []
    shown = told[:12]
    for event in itertools.chain.from_iterable(stage.events for stage in shown):
        if isinstance(event, Doubt):
            events.append(Remark(event.at, f"suspects {event.of}", Tone.DOUBTFUL))
        else:
            events.append(Arrow(event.source, event.target, str(event.message)))
    possible = Oracle(ANYTHING).outcomes(shown[-1].after) if shown else frozenset()
    events.append(
        Remark(THREE[1], f"{' and '.join(map(str, sorted(possible))) or 'nothing'} are still possible", Tone.BAD)
    )
    return Messages("The adversary keeps it open: arrivals in the order of their times", THREE, tuple(events))


# --- detectors ----------------------------------------------------------------------------------------------------


def detector_table(found: list[Found]) -> Table:
    """One row for each class and crash."""
    columns = ("detector", "from stage", "trusted", "crashed", "stages", "longest", "cases", "stuck", "decided")
    rows = tuple(
        (
            each.detector.name,
            each.detector.after,
            " ".join(sorted(each.detector.accuracy.trusted)),
            " ".join(sorted(each.detector.accuracy.crashed)) or "none",
            each.delayed,
            each.survey.longest,
            each.survey.configurations,
            each.survey.stuck,
            _set(each.survey.decisions),
        )
        for each in found
    )
    return Table("Accurate detectors: stages of the adversary, and events of every schedule", columns, rows)


def detector_claims(found: list[Found]) -> Iterator[Claim]:
    """Theorem 6.1, and what it needs."""
    complete = [each for each in found if each.detector.name != LAME]
    yield equal(
        "with an eventually strong or perfect detector every schedule comes to a decision",
        f"{CT}, section 6.2",
        [0] * len(complete),
        [each.survey.stuck for each in complete],
    )
    yield equal(
        "and the adversary comes to its end",
        f"{CT}, section 6.2",
        [True] * len(complete),
        [each.delayed < STAGES_MAX for each in complete],
    )
    lame = [each for each in found if each.detector.name == LAME]
    yield equal(
        "a detector that does not suspect who crashed does not suffice",
        f"{CT}, section 2: completeness",
        True,
        any(each.survey.stuck for each in lame),
    )


# --- chance -------------------------------------------------------------------------------------------------------


def undecided(runs: list[tuple[int, frozenset[int]]], after: int) -> float:
    """Share of runs that go beyond that round."""
    return sum(number > after for number, _ in runs) / len(runs)


def chance_figure(runs: list[tuple[int, frozenset[int]]], stages: list[Delayed]) -> Lines:
    """By chance, and by the adversary, as far as its longest run went."""
    most = max(number for number, _ in runs)
    share = tuple((float(r), undecided(runs, r)) for r in range(most))
    adversary = tuple((float(r), 1.0) for r in range(min(most, max(each.rounds for each in stages))))
    series = (Series("by chance", share, True, 0), Series("the adversary", adversary, False, 1))
    return Lines("Still undecided after so many rounds", "rounds", "probability", series, log_y=True)


def chance_claims(runs: list[tuple[int, frozenset[int]]]) -> Iterator[Claim]:
    """Each further five rounds take at least half."""
    shares = [undecided(runs, after) for after in (0, 5, 10, 15)]
    halved = all(2 * later <= earlier for earlier, later in itertools.pairwise(shares))
    text = "by chance, the probability to be undecided is at least halved by every five rounds"
    found = ", ".join(f"{share:.4g}" for share in shares)
    yield Claim(text, "Birman 2020", "1, at most 1/2, 1/4, 1/8", found, halved)
    one = sum(len(values) == 1 for _, values in runs)
    yield equal("no two processes decide differently, whoever is suspected", f"{CT}, section 6.2", len(runs), one)


# --- timeouts -----------------------------------------------------------------------------------------------------


def timed_table(timed: list[Timed]) -> Table:
    """One row for each run."""
    columns = ("messages take (ms)", "P1 crashes", "limit", "decided", "after (s)", "rounds", "mistakes")
    rows = tuple(
        (
            f"{t.delay_ms} to {t.delay_ms * 5 // 4}",
            t.crashed,
            f"{LIMIT_MS} ms, doubled" if t.grows else f"{LIMIT_MS} ms",
            _set(t.values),
            t.at_s,
            t.rounds,
            t.mistakes,
        )
        for t in timed
    )
    return Table("In the simulated network, with timeouts that are fixed, or doubled by each mistake", columns, rows)


def timed_claims(timed: list[Timed]) -> Iterator[Claim]:
    """What a limit must be."""
    slow = [t for t in timed if t.delay_ms > LIMIT_MS and not t.grows]
    yield equal(
        "where messages take longer than the timeout, nothing is decided in a minute",
        "Piper, Consensus and Failure Detection",
        [False] * len(slow),
        [t.decided for t in slow],
    )
    growing = [t for t in timed if t.grows]
    yield equal(
        "timeouts that grow with each mistake are eventually accurate, and all decide",
        f"{CT}, section 9.1",
        [True] * len(growing),
        [t.decided for t in growing],
    )
