"""Consensus by a process group: whoever is delivered first decides.

Question: a group delivers in one order whatever fails. How much of consensus is left to do, and is it then solved in
spite of Fischer, Lynch and Paterson?

Method: each member of a process group of the product multicasts its proposal, and takes the first that is delivered to
it for the decision. Three members do so in the simulator, with every set of proposals of 0 and 1 (two in the short form),
while each of them crashes after each number of messages that it has received; and in FIFO and causal order. Then members
of a group of five crash, at once or one after the other, before those that are left propose, beside the algorithm of
Chandra and Toueg with its rotating coordinator.

Source: Chandra and Toueg 1996, section 7 (atomic broadcast and consensus are equivalent), and section 6 for theirs;
Jajodia and Mutchler 1990 for the quorum; slides Principles of Reliable Communication (Piper), Agreement.

Expected: in total order all decide the same, those that crash too, and all that live do decide. In the other orders they
disagree. With one proposal it takes n - 1 messages that carry it and (n - 1)^2 that acknowledge it, if nobody fails. Both
algorithms stop if half of the processes crash at once: the impossibility has not gone away, it is in the view change. But
a group goes on without those that crashed: of n members n - 1 may, one after the other, unless the last of them was the
elder of a pair (dynamic linear voting). The fixed set of Chandra and Toueg needs a majority of all that there ever were.
"""

import itertools
from collections.abc import Iterator, Sequence

from phalanx.lab.experiments.result import Claim, Result, Table, equal
from phalanx.lab.figures.model import Matrix, Tone
from phalanx.lab.textbook.proposing import Crash, Decision, after_crashes, decide, rotating_after_crashes
from phalanx.model.view import GroupSpec, Name, Order

THREE = ("P1", "P2", "P3")
FIVE = (*THREE, "P4", "P5")
TOTAL = GroupSpec("consensus")
WEAKER = tuple(GroupSpec("consensus", order) for order in (Order.FIFO, Order.CAUSAL))
CRASHES_MAX = 200
"""Messages after each of which a member crashes: more than this is another protocol."""
CT = "Chandra and Toueg 1996, section 7"
ROTATING = "Chandra and Toueg 1996, section 6"
QUORUM = "Jajodia and Mutchler 1990; docs/protocols/view-change.md"

WAYS = (
    "group: one by one, the youngest first",
    "group: one by one, the eldest first",
    "group: at once, the youngest",
    "group: at once, the eldest",
    "Chandra and Toueg: the first coordinators",
)


def run(full: bool) -> Result:
    """See the module's text."""
    sets = list(itertools.product((0, 1), repeat=3)) if full else [(0, 1, 1), (1, 0, 1)]
    runs = [decision for proposals in sets for name in THREE for decision in crashes(proposals, name)]
    weaker = {spec.order.value: decide(spec, THREE, (0, 1, 2)) for spec in WEAKER}
    sizes = [decide(TOTAL, FIVE[:size], (7, *[None] * (size - 1))) for size in range(2, 6)]
    survived = {way: [survive(way, count) for count in range(len(FIVE))] for way in WAYS}
    return Result(
        tables=(decision_table(runs, weaker), count_table(sizes)),
        figures={"consensus-crashes": crash_figure(survived)},
        claims=(*decision_claims(runs), *order_claims(weaker), *count_claims(sizes), *crash_claims(survived)),
    )


def crashes(proposals: Sequence[int], name: Name) -> Iterator[Decision]:
    """That member crashes after each number of messages, until all is over before."""
    for after in range(CRASHES_MAX):
        decision = decide(TOTAL, THREE, proposals, crash=Crash(name, after))
        if not decision.crashed:
            return
        yield decision
    raise AssertionError(f"{name} never comes to the end")


def survive(way: str, count: int) -> bool:
    """Whether those decide that are left of five after so many crashes."""
    first, youngest = FIVE[:count], FIVE[::-1][:count]
    if way.startswith("Chandra"):
        return rotating_after_crashes(FIVE, first)
    return after_crashes(TOTAL, FIVE, youngest if "youngest" in way else first, at_once="at once" in way)


# --- decisions ----------------------------------------------------------------------------------------------------


def decision_table(runs: list[Decision], weaker: dict[str, Decision]) -> Table:
    """By who crashed, and whether it had decided."""
    rows: list[tuple[str, str, int, int, int]] = []
    for name in THREE:
        for had in (False, True):
            some = [each for each in runs if each.crash and each.crash.name == name and (name in each.decided) is had]
            what = f"{name} crashes, {'having decided' if had else 'undecided'}"
            rows.append(("total", what, len(some), sum(e.agrees for e in some), sum(e.ends for e in some)))
    rows += [(order, "nobody crashes", 1, int(each.agrees), int(each.ends)) for order, each in weaker.items()]
    columns = ("order", "what happens", "runs", "all agree", "all that live decide")
    return Table("The first proposal that is delivered decides", columns, tuple(rows))


def decision_claims(runs: list[Decision]) -> Iterator[Claim]:
    """Agreement, validity, termination."""
    yield equal(
        "in total order nobody decides what another does not, not even one that crashes, or what nobody proposed",
        CT,
        len(runs),
        sum(each.agrees for each in runs),
    )
    yield equal("all that live decide", CT, len(runs), sum(each.ends for each in runs))
    yield equal(
        "some crash before they have decided, some after",
        "the run",
        {False, True},
        {each.crash is not None and each.crash.name in each.decided for each in runs},
    )


def order_claims(weaker: dict[str, Decision]) -> Iterator[Claim]:
    """What total order is for."""
    yield equal(
        "in the other orders they disagree",
        CT,
        dict.fromkeys(weaker, False),
        {order: each.agrees for order, each in weaker.items()},
    )


def count_table(sizes: list[Decision]) -> Table:
    """As many as arrived until the last has decided."""
    rows = tuple((len(each.alive), each.data, each.shown, each.data + each.shown) for each in sizes)
    return Table("Messages of one decision", ("members", "with the proposal", "that show its receipt", "all"), rows)


def count_claims(sizes: list[Decision]) -> Iterator[Claim]:
    """Closed forms."""
    members = [len(each.alive) for each in sizes]
    yield equal(
        "n - 1 messages carry a proposal",
        "docs/protocols/multicast.md",
        [n - 1 for n in members],
        [each.data for each in sizes],
    )
    yield equal(
        "each that got it tells each other that it did: (n - 1)^2",
        "docs/protocols/multicast.md",
        [(n - 1) ** 2 for n in members],
        [each.shown for each in sizes],
    )


# --- crashes ------------------------------------------------------------------------------------------------------


def crash_figure(survived: dict[str, list[bool]]) -> Matrix:
    """By how many crashed, and how."""
    cell = {True: ("decide", Tone.GOOD), False: ("wait", Tone.BAD)}
    columns = tuple(f"{count} of {len(FIVE)}" for count in range(len(FIVE)))
    rows = tuple((way, tuple(cell[done] for done in each)) for way, each in survived.items())
    return Matrix("Do those decide that are left, after so many crashes?", columns, rows)


def _goes_on(way: str, count: int) -> bool:
    """The rules, as their sources have them."""
    n, left = len(FIVE), len(FIVE) - count
    if way.startswith("Chandra"):
        return 2 * left > n
    if "at once" in way:
        return 2 * left > n  # of five no half is exact
    return count < n - 1 or "youngest" in way  # of the last two the younger cannot go on alone


def crash_claims(survived: dict[str, list[bool]]) -> Iterator[Claim]:
    """Whoever is left, against the quorums."""
    for way, found in survived.items():
        source = ROTATING if way.startswith("Chandra") else QUORUM
        expected = [_goes_on(way, count) for count in range(len(FIVE))]
        text = f"{way}: those that are left decide after {sum(expected) - 1} crashes at most"
        yield equal(text, source, expected, found)
