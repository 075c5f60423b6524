"""Virtual synchrony, step by step: a member fails while it multicasts, and the others agree on what it sent.

Question: P5 fails in the middle of a multicast, so that some members of its group have its last message, and some do not.
Who delivers it? And what if P1, which leads the change of the view, fails as well?

Method: the product's own group machines in the simulator. P5's message is received by every subset of the other four in
turn, in FIFO and in total order (in the full form two messages, of which each member receives the first few, and causal
order as well). Then P1 falls as well, after each number of messages of the view change that it has received. What all
delivered is judged by the rules below, and by the oracle that also judges the simulator's campaigns.

Source: slides L-15, Virtual Synchrony Implementation: Example (P5 fails), Atomic Multicast; Birman et al. 1991;
docs/protocols/view-change.md and multicast.md.

Expected: those that live deliver the same of P5's messages before they install the view without it. In FIFO and causal
groups that is all that any of them has received: whoever lacks it gets it first, as in the slides. In total order it is
what all have received, so that not even P5 has delivered more (uniform). The view change takes no more than the slides'
n (n-1) flush messages and 3 (n-1) for the decision among n members that are left. If P1 falls as well, at whatever
moment, the others agree.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from phalanx.check.groups import check_groups
from phalanx.group.messages import Accept, Accepted, Data, Gather, Held, Prepare, Promise, Pull
from phalanx.lab.experiments.result import Claim, Result, Table, equal
from phalanx.lab.figures.model import Arrow, Messages, Remark, Tone
from phalanx.lab.textbook.flushing import FLUSH, Arrival, Course, Fall, Turn, fail_while_sending
from phalanx.model.view import GroupSpec, Name, Order

NAMES = ("P1", "P2", "P3", "P4", "P5")
SLIDES = "L-15, Virtual Synchrony Implementation: Example"
VIEWS = "docs/protocols/view-change.md"
ATOMIC = "L-15, Atomic Multicast"

FALLS_MAX = 100
"""Messages of one view change to one member, after each of which it falls: more than this is another protocol."""

SPECS = {
    "FIFO": GroupSpec("fifo", Order.FIFO),
    "total": GroupSpec("total", Order.TOTAL),
}
MORE_SPECS = {
    "causal": GroupSpec("causal", Order.CAUSAL),
    "FIFO, uniform": GroupSpec("uniform", Order.FIFO, uniform=True),
}


class Case(NamedTuple):
    """One run with one failure."""

    kind: str
    spec: GroupSpec
    course: Course

    @property
    def delivered(self) -> set[tuple[str, ...]]:
        """By those that are left: one element if they agree."""
        return {self.course.delivered[name] for name in self.course.alive}

    @property
    def expected(self) -> int:
        """How many of the messages they should deliver."""
        return min(self.course.received) if self.spec.is_uniform else max(self.course.received)


class Second(NamedTuple):
    """One run with two failures."""

    kind: str
    after: int
    """Messages of the view change that P1 had received."""
    course: Course

    @property
    def delivered(self) -> set[tuple[str, ...]]:
        """By those that are left."""
        return {self.course.delivered[name] for name in self.course.alive}


def run(full: bool) -> Result:
    """See the module's text."""
    messages, specs = (2, SPECS | MORE_SPECS) if full else (1, SPECS)
    cases = [
        Case(kind, spec, fail_while_sending(NAMES, spec, received, messages))
        for kind, spec in specs.items()
        for received in itertools.product(range(messages + 1), repeat=len(NAMES) - 1)
    ]
    seconds = [second for kind in ("FIFO", "total") for second in falls(kind)]
    sizes = [lead(size) for size in range(3, 8 if full else 6)]
    told = fail_while_sending(NAMES, SPECS["FIFO"], (0, 1, 0, 0), 1)
    return Result(
        tables=(case_table(cases), second_table(seconds), count_table(sizes)),
        figures={"synchrony-flush": flush_figure(told)},
        claims=(*case_claims(cases), *second_claims(seconds), *count_claims(sizes)),
    )


def falls(kind: str) -> Iterator[Second]:
    """Only P1 has the message; after each number of messages it falls, until the view comes first."""
    for after in range(FALLS_MAX):
        course = fail_while_sending(NAMES, SPECS[kind], (1, 0, 0, 0), 1, Fall("P1", after))
        if "P1" in course.alive:
            return
        yield Second(kind, after, course)
    raise AssertionError("P1 never comes to the end of the view change")


def lead(size: int) -> Course:
    """A group of so many, of which one fails."""
    names = [f"P{number}" for number in range(1, size + 1)]
    return fail_while_sending(names, SPECS["total"], (1,) * (size - 1), 1)


# --- one failure --------------------------------------------------------------------------------------------------


def _text(delivered: tuple[str, ...]) -> str:
    return " ".join(delivered) or "nothing"


def _agreed(delivered: set[tuple[str, ...]]) -> str:
    return " / ".join(map(_text, sorted(delivered)))


def case_table(cases: list[Case]) -> Table:
    """Runs that are alike in what matters, together."""
    rows: dict[tuple[str, int, int, str, str], int] = {}
    for case in cases:
        got = case.course.received
        row = (case.kind, min(got), max(got), _agreed(case.delivered), _text(case.course.delivered[NAMES[-1]]))
        rows[row] = rows.get(row, 0) + 1
    columns = ("order", "all received", "one received", "those that live deliver", "P5 had delivered", "runs")
    told = tuple((*row, count) for row, count in sorted(rows.items()))
    return Table("P5 fails while it multicasts: how many of its messages all, and one, received", columns, told)


def case_claims(cases: list[Case]) -> Iterator[Claim]:
    """What virtual synchrony promises, and uniformity."""
    agreeing = sum(len(case.delivered) == 1 and case.course.alive == NAMES[:-1] for case in cases)
    yield equal("all that live deliver the same before they install the view", ATOMIC, len(cases), agreeing)
    for uniform, text, source in (
        (False, "what one of them received, all deliver", SLIDES),
        (True, "what not all of them received, nobody delivers", VIEWS),
    ):
        some = [case for case in cases if case.spec.is_uniform is uniform]
        kinds = ", ".join(dict.fromkeys(case.kind for case in some))
        yield equal(
            f"{kinds}: {text}", source, [{c.expected} for c in some], [set(map(len, c.delivered)) for c in some]
        )
    uniform_cases = [case for case in cases if case.spec.is_uniform]
    beyond = sum(
        bool(set(case.course.delivered[NAMES[-1]]) - set(itertools.chain(*case.delivered))) for case in uniform_cases
    )
    yield equal("total order: not even P5 had delivered more (uniform)", "docs/protocols/multicast.md", 0, beyond)
    wrong = [violation.text for case in cases for violation in check_groups(case.course.history)]
    yield equal("the oracle of group histories finds nothing wrong", "Birman et al. 1991", [], wrong)


# --- two failures -------------------------------------------------------------------------------------------------


def _survived(second: Second) -> tuple[str, str, int, bool]:
    course = second.course
    view = 0 if course.view is None else course.view.id
    return second.kind, _agreed(second.delivered), view, "m1" in course.delivered["P1"]


def second_table(seconds: list[Second]) -> Table:
    """Moments with the same outcome, together."""
    rows = []
    for (kind, delivered, view, had), some in itertools.groupby(seconds, _survived):
        moments = [second.after for second in some]
        rows.append((kind, f"{moments[0]} to {moments[-1]}", had, delivered, view))
    columns = ("order", "messages that P1 got", "P1 had delivered m1", "the others deliver", "their view")
    return Table("P1, which alone has m1 of P5, falls during the view change", columns, tuple(rows))


def second_claims(seconds: list[Second]) -> Iterator[Claim]:
    """Wherever the leader falls."""
    agreeing = sum(len(s.delivered) == 1 and s.course.alive == NAMES[1:-1] for s in seconds)
    yield equal("whenever P1 falls as well, the others agree", VIEWS, len(seconds), agreeing)
    wrong = [violation.text for second in seconds for violation in check_groups(second.course.history)]
    yield equal("and the oracle finds nothing wrong", "Birman et al. 1991", [], wrong)


# --- messages -----------------------------------------------------------------------------------------------------


def count_table(sizes: list[Course]) -> Table:
    """As many as arrived from one member at another."""
    kinds = (Prepare, Promise, Accept, Accepted)
    rows = tuple((len(course.alive), *(course.count(kind) for kind in kinds)) for course in sizes)
    columns = ("members left", *(kind.__name__.upper() for kind in kinds))
    return Table("Messages of the view change, if nobody lacks anything", columns, rows)


def count_claims(sizes: list[Course]) -> Iterator[Claim]:
    """Closed forms."""
    left = [len(course.alive) for course in sizes]
    yield equal(
        "every member tells every other that it has accepted: n (n-1), as the slides' flush messages",
        SLIDES,
        [n * (n - 1) for n in left],
        [course.count(Accepted) for course in sizes],
    )
    yield equal(
        "before that the leader asks, hears and proposes: 3 (n-1)",
        VIEWS,
        [3 * (n - 1) for n in left],
        [sum(course.count(kind) for kind in (Prepare, Promise, Accept)) for course in sizes],
    )


def flush_figure(course: Course) -> Messages:
    """Every message until all have installed the view."""
    fails = NAMES[-1]
    events: list[Arrow | Remark] = [
        Arrow(fails, name, "m1", lost=not got) for name, got in zip(NAMES, course.received, strict=False)
    ]
    events.append(Remark(fails, "fails", Tone.BAD))
    missing = set(course.alive)
    for step in course.steps:
        match step:
            case Turn(at, what):
                events.append(Remark(at, what, Tone.GOOD))
                missing -= {at} if what.startswith("view") else set()
            case Arrival(source, target, body) if source != fails:
                events.append(Arrow(source, target, _step_text(source, body)))
            case _:
                pass
        if not missing:
            break
    return Messages("P5 fails: the flush in a FIFO group, message by message", NAMES, tuple(events))


def _step_text(source: Name, body: object) -> str:
    match body:
        case Promise(progress=(progress,)):
            return f"PROMISE: has m{progress.received[-1] - 1}"
        case Gather(cuts=(cut,)):
            return f"GATHER: up to m{cut.upto[-1] - 1}"
        case Pull() | Held() | Prepare() | Accept() | Accepted():
            return type(body).__name__.upper()
        case Data(payloads=payloads):
            return f"{bytes(payloads[0]).decode()}, from {source}"
        case _:
            assert isinstance(body, FLUSH)
            return type(body).__name__.upper()
