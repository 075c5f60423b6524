"""Properties of the order of delivery in one group.  All speak of a process's log: the state that it founded or got by
transfer, and what it delivered since.

Sources: Chockler, Keidar, Vitenberg (CKV, see `views`); Lamport 1978; Birman, Schiper, Stephenson, "Lightweight causal
and atomic group multicast", ACM TOCS 9(3), 1991; DESIGN section 5.
"""

from collections.abc import Iterator
from itertools import islice

from phalanx.check.observed import OUTSIDE, Log, Observed, Send, Violation
from phalanx.model.view import GroupId, Member, Order


def fifo_order(run: Observed) -> Iterator[Violation]:
    """In FIFO, causal and total order: if a log holds a message of sender s, it holds before it all that s sent to the
    group earlier, in the order sent, without a gap (CKV, FIFO Delivery and Reliable FIFO Delivery).

    Gaps are judged within one uninterrupted stay of s in the group: who leaves it gives up what it had queued.
    """
    for group in _ordered(run, Order.FIFO, Order.CAUSAL, Order.TOTAL):
        for log in run.branches(group):
            yield from _fifo_in(run, log)


def _fifo_in(run: Observed, log: Log) -> Iterator[Violation]:
    last: dict[Member, Send] = {}
    next_place: dict[tuple[Member, int], int] = {}
    broken: set[Member] = set()
    for payload, position in log.held.items():
        send = run.sends.get((log.group, payload))
        if send is None or send.sender in broken:
            continue
        before = last.get(send.sender)
        last[send.sender] = send
        due = next_place.get((send.sender, send.stay), 0)
        next_place[send.sender, send.stay] = send.place + 1
        flaw = ""
        if before is not None and before.number > send.number:
            flaw = f"after {before.payload!r}, which {send.sender} sent later"
        elif send.place > due and send.stay != OUTSIDE:
            flaw = f"without {send.place - due} of {send.sender}'s messages before it"
        if flaw:
            broken.add(send.sender)
            text = f"{log.process} delivered {payload!r} of group {log.group} {flaw}"
            yield Violation("fifo_order", text, (send.position, position))


def causal_order(run: Observed) -> Iterator[Violation]:
    """In causal and total order: if the sender of m held m1 when it sent m, then whatever log holds m holds m1 before
    it; transitively, with `fifo_order` for the sender's own messages (CKV, Causal Delivery and Reliable Causal
    Delivery; Birman, Schiper, Stephenson 1991; DESIGN section 13, counter-example 14).

    So does what a process held before its state was replaced by a later transfer: it may have sent because of that.
    """
    for group in _ordered(run, Order.CAUSAL, Order.TOTAL):
        causes = _direct_causes(run, group)
        for log in run.branches(group):
            seen: set[bytes] = set()
            for payload, position in log.held.items():
                missing = next((cause for cause in causes.get(payload, ()) if cause.payload not in seen), None)
                seen.add(payload)
                if missing is not None:
                    sender = run.sends[group, payload].sender
                    text = (
                        f"{log.process} delivered {payload!r} of group {group} without {missing.payload!r} before it, "
                        f"which {sender} held when it sent {payload!r}"
                    )
                    yield Violation("causal_order", text, (missing.position, position))
                    break


def _direct_causes(run: Observed, group: GroupId) -> dict[bytes, list[Send]]:
    """For each message the latest message of each other sender that its sender took in since its previous message.
    Earlier ones follow by FIFO order, and older ones are causes of the previous message."""
    causes: dict[bytes, list[Send]] = {}
    previous: dict[Member, Send] = {}
    for send in run.sends.values():
        if send.group != group:
            continue
        former = previous.get(send.sender)
        previous[send.sender] = send
        if send.log is None:
            continue
        begin = former.seen if former is not None and former.log is send.log and former.stay == send.stay else 0
        latest: dict[Member, Send] = {}
        for payload in islice(run.sequence(send.log), begin, send.seen):
            cause = run.sends.get((group, payload))
            if cause is not None and cause.sender != send.sender:
                known = latest.get(cause.sender)
                latest[cause.sender] = cause if known is None or cause.number > known.number else known
        causes[send.payload] = list(latest.values())
    return causes


def total_order(run: Observed) -> Iterator[Violation]:
    """In total order: the logs of all processes of the group, also of those that crashed or were excluded, are each the
    beginning of one common sequence (CKV, Strong Total Order with Reliable Total Order; Hadzilacos and Toueg 1993,
    uniform total order without gaps)."""
    for group in _ordered(run, Order.TOTAL):
        logs = list(run.branches(group))
        for log in logs[1:]:
            longest, sequence = run.sequence(logs[0]), run.sequence(log)
            at = next(i for i, (a, b) in enumerate(zip(longest, sequence, strict=False)) if a != b)
            text = (
                f"in group {group} {logs[0].process} has {longest[at]!r} as number {at}, "
                f"{log.process} has {sequence[at]!r}"
            )
            yield Violation("total_order", text, (logs[0].held[longest[at]], log.held[sequence[at]]))


def _ordered(run: Observed, *orders: Order) -> list[GroupId]:
    return [group for group, spec in run.specs.items() if spec.order in orders]
