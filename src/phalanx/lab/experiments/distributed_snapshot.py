"""Distributed snapshot: the global state of a group that runs, and a stable predicate on it.

Question: what is the state of a system that does not stop? Whoever asks each process in turn gets states of different
moments, and misses what is on its way. Can one find a state in which the system might have been?

Method: three branches of a bank pay each other by multicasts to a process group of the product, in the simulator, in
FIFO, causal and total order, and one asks how much money there is. It asks by the product's own snapshots (Chandy and
Lamport's algorithm), and by a poll: everybody answers with what it holds when the question comes. From the first branch
to the last a message takes longer than by way of another. Then a branch crashes at every moment of a snapshot. At last
workers hand work to each other until it is used up, and the question is whether it is: a stable predicate.

Source: Chandy and Lamport 1985; Acharya and Badrinath 1992 for causal order.

Expected: every snapshot has all the money. In the channel from p to q is what p's state shows as sent and q's does not
show as received, and never is a payment received that was not sent. It takes 2 n + 1 multicasts: a question, and a marker
and a report of each. A poll misses what is under way; in FIFO order it also counts payments that came before they were
sent, in causal and total order it does not, since no payment made after an answer can be delivered before the question.
If a branch crashes, there is a whole snapshot or none, and the next is one of the others. A snapshot never says that all
work is done when it is not, and always when it was; a poll says it too soon.
"""

from collections.abc import Iterator
from typing import Any

from phalanx.lab.experiments.result import Cell, Claim, Result, Table, equal
from phalanx.lab.figures.model import Arrow, Lines, Messages, Remark, Series, Tone
from phalanx.lab.textbook.banking import START, Audit, Payment, Spoiled, audit, spoil
from phalanx.lab.textbook.working import Detection, detect
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.view import GroupSpec, Name, Order
from phalanx.replication.globalstate import Marker, Report, Start, decoded

NAMES = ("P1", "P2", "P3")
MONEY = START * len(NAMES)
ORDERS = (Order.FIFO, Order.CAUSAL, Order.TOTAL)
PAPER = "Chandy and Lamport 1985"
CAUSAL = "Acharya and Badrinath 1992"


def run(full: bool) -> Result:
    """See the module's text."""
    questions, seeds, stride = (200, 40, 1) if full else (20, 5, 4)
    audits = [
        audit(NAMES, GroupSpec("bank", order), questions, polls=polls) for order in ORDERS for polls in (False, True)
    ]
    sizes = [audit(NAMES_MAX[:size], GroupSpec("bank", Order.FIFO), 3, polls=False) for size in range(2, 6)]
    spoiled = [spoil(NAMES, GroupSpec("bank", Order.FIFO), ms * MILLISECOND) for ms in range(0, 60, stride)]
    detections = {
        polls: [
            detect(NAMES, GroupSpec("work", order), polls=polls, seed=seed) for order in ORDERS for seed in range(seeds)
        ]
        for polls in (False, True)
    }
    return Result(
        tables=(audit_table(audits), spoiled_table(spoiled), detection_table(detections)),
        figures={"snapshot-money": money_figure(audits), "snapshot-markers": marker_figure()},
        claims=(
            *snapshot_claims([each for each in audits if not each.polls], sizes),
            *poll_claims([each for each in audits if each.polls]),
            *spoiled_claims(spoiled),
            *detection_claims(detections),
        ),
    )


NAMES_MAX = tuple(f"P{number}" for number in range(1, 6))

# --- money --------------------------------------------------------------------------------------------------------


def _way(polls: bool) -> str:
    return "poll" if polls else "snapshot"


def audit_table(audits: list[Audit]) -> Table:
    """What was found, by order and by the way of asking."""
    columns = ("order", "asked by", "answers", "least", "most", "under way, mean", "received, not sent")
    rows = []
    for each in audits:
        money = [cut.money for cut in each.cuts]
        moving: Cell = "not asked" if each.polls else sum(cut.moving for cut in each.cuts) / len(money)
        orphans = sum(cut.orphans for cut in each.cuts)
        rows.append((each.spec.order.value, _way(each.polls), len(money), min(money), max(money), moving, orphans))
    return Table(f"{MONEY} in a bank of three branches: what is found while it moves", columns, tuple(rows))


def snapshot_claims(audits: list[Audit], sizes: list[Audit]) -> Iterator[Claim]:
    """The theorem, and the count."""
    cuts = [cut for each in audits for cut in each.cuts]
    yield equal(
        "every question is answered", PAPER, [each.asked for each in audits], [len(each.cuts) for each in audits]
    )
    yield equal("every snapshot has all the money", f"{PAPER}, section 4", {MONEY}, {cut.money for cut in cuts})
    yield equal(
        "channels hold what was sent and not received",
        f"{PAPER}, section 2",
        0,
        sum(cut.wrong_channels for cut in cuts),
    )
    yield equal("nothing is received that was not sent", f"{PAPER}, section 4", 0, sum(cut.orphans for cut in cuts))
    yield equal(
        "something is under way, in every order", "the run", True, all(any(c.moving for c in a.cuts) for a in audits)
    )
    yield equal(
        "a snapshot takes 2 n + 1 multicasts, in groups of 2 to 5",
        f"{PAPER}, section 3, by multicast",
        [each.asked * (2 * size + 1) for size, each in enumerate(sizes, 2)],
        [each.multicasts for each in sizes],
    )


def poll_claims(audits: list[Audit]) -> Iterator[Claim]:
    """What is wrong with asking."""
    yield equal(
        "a poll finds too little, in every order",
        PAPER,
        True,
        all(min(c.money for c in a.cuts) < MONEY for a in audits),
    )
    orphans = {each.spec.order.value: sum(cut.orphans for cut in each.cuts) > 0 for each in audits}
    yield equal(
        "by a poll, payments are received that were not sent: in FIFO order, not if the question comes in causal order",
        CAUSAL,
        {order.value: order is Order.FIFO for order in ORDERS},
        orphans,
    )


def money_figure(audits: list[Audit]) -> Lines:
    """What is found, by time, in FIFO order."""
    fifo = [each for each in audits if each.spec.order is Order.FIFO]
    series = tuple(
        Series(_way(each.polls), tuple((cut.at_ns / SECOND, float(cut.money)) for cut in each.cuts), True, hue)
        for hue, each in enumerate(fifo)
    )
    return Lines(f"Money found in a bank that has {MONEY}, in FIFO order", "answered at (s)", "found", series)


# --- one snapshot -------------------------------------------------------------------------------------------------


def marker_figure() -> Messages:
    """The first snapshot of a run in FIFO order, with money in the channels."""
    steps = audit(NAMES, GroupSpec("bank", Order.FIFO), 1, polls=False, seed=2).steps
    events: list[Arrow | Remark] = []
    recorded: set[Name] = set()
    closed: set[tuple[Name, Name]] = set()
    for what, source, target, detail in steps:
        if what == "records":
            recorded.add(target)
            events.append(Remark(target, f"records {detail}", Tone.GOOD))
        elif what == "question" and isinstance(message := decoded(detail), Start | Marker | Report):
            closed |= {(source, target)} if isinstance(message, Marker) else set()
            if source != target:
                events.append(Arrow(source, target, type(message).__name__.upper()))
        elif _crosses(source, target, detail, recorded, closed):
            events.append(Arrow(source, target, f"{detail.amount} under way", Tone.DOUBTFUL))
        if len(recorded) == len(NAMES) and len(closed) == len(NAMES) ** 2:
            break
    return Messages("A snapshot in FIFO order: markers, states, and what is in the channels", NAMES, tuple(events))


def _crosses(source: Name, target: Name, payment: Any, recorded: set[Name], closed: set[tuple[Name, Name]]) -> bool:
    """It is in the channel's state, and is the target's money."""
    assert isinstance(payment, Payment)
    return target == payment.target != source and target in recorded and (source, target) not in closed


# --- crashes ------------------------------------------------------------------------------------------------------


def spoiled_table(runs: list[Spoiled]) -> Table:
    """Moments with the same outcome, together."""
    rows: dict[tuple[str, int, int], list[int]] = {}
    for each in runs:
        row = ("whole" if each.whole else "none: its view ended", each.money, each.next.money if each.next else 0)
        rows.setdefault(row, []).append(each.after_ns // MILLISECOND)
    columns = ("P3 crashes after (ms)", "the snapshot", "money in it", "money in the next")
    told = tuple((f"{min(at)} to {max(at)}", *row) for row, at in rows.items())
    return Table(f"P3, which holds {START}, crashes while a snapshot is taken", columns, told)


def spoiled_claims(runs: list[Spoiled]) -> Iterator[Claim]:
    """Whole, or not at all."""
    whole = [each for each in runs if each.whole]
    yield equal(
        "whenever P3 crashes, there is a whole snapshot or none",
        "docs/protocols/view-change.md",
        [MONEY * each.whole for each in runs],
        [each.money for each in runs],
    )
    yield equal("both happen", "the run", True, 0 < len(whole) < len(runs))
    yield equal(
        "the next one is of the others, and has all that they have",
        PAPER,
        [(MONEY - START, 0)] * len(runs),
        [each.next and (each.next.money, each.next.wrong_channels) for each in runs],
    )


# --- a stable predicate -------------------------------------------------------------------------------------------


def detection_table(detections: dict[bool, list[Detection]]) -> Table:
    """By the way of asking."""
    columns = ("asked by", "runs", "answers", "done, before it was", "not done, when it was")
    rows = tuple(
        (
            _way(polls),
            len(runs),
            sum(len(each.answers) for each in runs),
            sum(each.wrong for each in runs),
            sum(each.missed for each in runs),
        )
        for polls, runs in detections.items()
    )
    return Table("Is all work done?", columns, rows)


def detection_claims(detections: dict[bool, list[Detection]]) -> Iterator[Claim]:
    """Section 5 of the paper."""
    stable = f"{PAPER}, section 5"
    runs = detections[False]
    yield equal("no snapshot says that it is done before it is", stable, 0, sum(each.wrong for each in runs))
    yield equal("every snapshot begun after that says so", stable, 0, sum(each.missed for each in runs))
    yield equal("there are some, in every run", "the run", True, all(each.later for each in runs))
    yield equal("a poll says it too soon", stable, True, any(each.wrong for each in detections[True]))
