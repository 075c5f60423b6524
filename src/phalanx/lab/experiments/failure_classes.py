"""Classes of failure: what the product promises under each, and what its judges say beyond that.

Question: crash, omission, timing, response, arbitrary: each class allows what the one before does, and more. Where does
the promise of virtual synchrony and of a replicated object end, and is it noticed when it is broken?

Method: in the simulator one process of four fails in one way for a second, or for good, in groups under load, and in
whole nodes whose object clients call. Both are judged as every campaign is: by the properties of virtual synchrony, by
linearizability, and by whether all goes on afterwards. Longer runs have audits, in which replicas compare digests.

Source: Cristian 1991; Hadzilacos and Toueg 1994; slides Principles of Reliable Communication (Piper), What Can Go Wrong;
slides L-15, Failure Models; Schneider 1990 for what replicas of one state can mask.

Expected: crashes, omission, and timing failures of one process break nothing, and all goes on. (To say nothing to some is
an arbitrary failure, and no more than omission.) Wrong values and steps, equivocation and collusion do break properties,
and the judges say which: those protocols that bear them are others. An audit finds the replica that differs and replaces
it; that it is the liar is not what it finds, but who is outvoted.
"""

from collections.abc import Iterator
from typing import NamedTuple

from phalanx.lab.experiments.result import Cell, Claim, Result, Table, equal
from phalanx.lab.figures.model import Matrix, Tone
from phalanx.lab.textbook.failing import AT, CASES, GROUPS, LASTS, OBJECT, Audited, Case, Outcome, audit, suffer
from phalanx.sim.failures import Collusion, Conducted, Equivocation, StateTransitionFailure, ValueFailure
from phalanx.sim.faults import Fault

CLASSES = "Cristian 1991; Hadzilacos and Toueg 1994"
VOTES = "Schneider 1990"

BEYOND = {
    "response failure (value)": "delivery integrity",
    "arbitrary failure (equivocation)": "delivery integrity",
    "arbitrary failure (collusion)": "delivery integrity",
}
"""What members that say what is not so must break at least: something is delivered that nobody sent."""


class Found(NamedTuple):
    """One class of failure."""

    case: Case
    groups: Outcome
    object: Outcome


AUDITS: dict[str, tuple[Fault, ...]] = {
    "state transition": (StateTransitionFailure(AT + LASTS // 2, 0),),
    "value": (ValueFailure(AT, LASTS, 0, 0.5),),
    "equivocation": (Equivocation(AT, LASTS, 0, (1,), 0.5),),
    "collusion": (Collusion(AT, LASTS, (0, 1), (2, 3)),),
}
"""Always n0 is at fault, and n1 with it if they collude."""


def run(full: bool) -> Result:
    """See the module's text."""
    seeds = range(40 if full else 1)
    found = [Found(case, suffer(GROUPS, case, seeds), suffer(OBJECT, case, seeds)) for case in CASES]
    audits = {name: audit(faults, 1) for name, faults in AUDITS.items()}
    return Result(
        tables=(class_table(found), audit_table(audits)),
        figures={"failure-classes": class_figure(found)},
        claims=(*promise_claims(found), *beyond_claims(found), *audit_claims(audits)),
    )


# --- classes ------------------------------------------------------------------------------------------------------


def broken_text(outcome: Outcome) -> str:
    """For a cell."""
    broken = [*outcome.broken, *(["stuck"] if outcome.stuck else [])]
    return ", ".join(broken) or "nothing"


def class_table(found: list[Found]) -> Table:
    """One row for each class."""
    columns = (
        "failure of one process",
        "promised",
        "runs",
        "messages or steps struck",
        "broken in groups",
        "of the object",
    )
    rows: list[tuple[Cell, ...]] = []
    for case, groups, obj in found:
        counted = any(isinstance(fault, Conducted | StateTransitionFailure) for fault in case.faults)
        struck: Cell = groups.struck + obj.struck if counted else "not counted"
        runs = groups.runs + obj.runs
        rows.append((case.name, case.promised, runs, struck, broken_text(groups), broken_text(obj)))
    return Table("Properties that some run broke", columns, tuple(rows))


def promise_claims(found: list[Found]) -> Iterator[Claim]:
    """Nothing is broken that is promised, and the faults did strike."""
    promised = [each for each in found if each.case.promised]
    yield equal(
        "under crash, omission and timing failures of one process nothing is broken, and all goes on",
        CLASSES,
        [],
        [each.case.name for each in promised if not (each.groups.clean and each.object.clean)],
    )
    omissions = [
        each for each in promised if each.case.name.startswith(("send", "receive")) or "silence" in each.case.name
    ]
    yield equal(
        "though messages were omitted in each such class",
        CLASSES,
        [True] * 5,
        [each.groups.struck > 0 < each.object.struck for each in omissions],
    )


def beyond_claims(found: list[Found]) -> Iterator[Claim]:
    """What is not promised is broken, and noticed."""
    by_name = {each.case.name: each for each in found}
    for name, broken in BEYOND.items():
        each = by_name[name]
        yield equal(f"{name}: the judge of groups finds {broken} broken", CLASSES, True, broken in each.groups.broken)
        yield equal(f"{name}: the judge of the object finds it wrong", CLASSES, True, bool(each.object.broken))
    wrong = by_name["response failure (state transition)"]
    yield equal("a wrong transition of one replica is found", CLASSES, True, bool(wrong.object.broken))


def class_figure(found: list[Found]) -> Matrix:
    """Promised or not, and what came of it."""

    def cell(outcome: Outcome) -> tuple[str, Tone]:
        if outcome.clean:
            return "kept", Tone.GOOD
        more = len(outcome.broken) + bool(outcome.stuck)
        return f"{more} broken", Tone.BAD

    def promise(case: Case) -> tuple[str, Tone]:
        return ("promised", Tone.GOOD) if case.promised else ("not promised", Tone.DOUBTFUL)

    rows = tuple((each.case.name, (promise(each.case), cell(each.groups), cell(each.object))) for each in found)
    return Matrix("Properties under each failure of one process", ("", "groups", "object"), rows)


# --- audits -------------------------------------------------------------------------------------------------------


def blamed(audited: Audited) -> list[str]:
    """The replicas that audits named, as those were told that agree with most."""
    return sorted({name for _, finding in audited.found for name in finding.diverged})


def audit_table(audits: dict[str, Audited]) -> Table:
    """One row for each failure."""
    columns = ("failure", "at fault", "found diverged", "no majority", "in the end")
    rows = []
    for name, audited in audits.items():
        guilty = "n0 n1" if name == "collusion" else "n0"
        undecided = any(not finding.diverged and not finding.resumed for _, finding in audited.found)
        ended = "all replicas equal" if audited.result.ok else ", ".join(sorted(audited.result.kinds))
        rows.append((name, guilty, " ".join(blamed(audited)) or "nobody", undecided, ended))
    return Table("Audits: who is found, and what is left", columns, tuple(rows))


def audit_claims(audits: dict[str, Audited]) -> Iterator[Claim]:
    """Difference is found, and guilt is not."""
    wrong = audits["state transition"]
    yield equal("an audit finds the replica that took a wrong step", VOTES, ["n0"], blamed(wrong))
    yield equal("and it is replaced: all replicas are equal in the end", VOTES, True, wrong.result.ok)
    yield equal(
        "who differs is found, not who lied: an equivocator's victim", VOTES, ["n1"], blamed(audits["equivocation"])
    )
    silent = [name for name, audited in audits.items() if not audited.found]
    yield equal("no failure of these passes unnoticed", VOTES, [], silent)
