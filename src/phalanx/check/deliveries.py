"""Properties of the multicast: what may be delivered, where, and what those who go on together must have in common.

Sources: Chockler, Keidar, Vitenberg (CKV, see `views`); Birman and Joseph, "Exploiting virtual synchrony in distributed
systems", SOSP 1987; Birman, "Reliable Distributed Systems", 2005; DESIGN sections 2, 5, 6.
"""

from collections.abc import Collection, Iterator

from phalanx.check.observed import Delivery, Installation, Observed, Position, Violation
from phalanx.model.history import SawMessage
from phalanx.model.view import GroupId, Member


def delivery_integrity(run: Observed) -> Iterator[Violation]:
    """If p delivers m of group g from sender s, or holds m in a state of g that it got, then s sent m to g, earlier
    (CKV, Delivery Integrity)."""
    for delivery in run.deliveries:
        event, send = delivery.event, run.sends.get((delivery.event.group, delivery.event.payload))
        what = f"{event.process} delivered {event.payload!r} in group {event.group}"
        if send is None:
            yield Violation("delivery_integrity", f"{what}, which nobody sent there", (delivery.position,))
        elif send.position > delivery.position:
            yield Violation("delivery_integrity", f"{what} before it was sent", (delivery.position, send.position))
        elif send.sender != event.sender:
            text = f"{what} as from {event.sender}, but {send.sender} sent it"
            yield Violation("delivery_integrity", text, (send.position, delivery.position))
    for position, transfer, _ in run.transfers:
        for payload in transfer.payloads:
            send = run.sends.get((transfer.group, payload))
            if send is None or send.position > position:
                text = (
                    f"{transfer.process} got a state of group {transfer.group} with {payload!r}, which was never sent"
                )
                yield Violation("delivery_integrity", text, (position,))


def no_duplication(run: Observed) -> Iterator[Violation]:
    """What p holds of a group, the state it got and what it delivered since, contains no message twice (CKV, No
    Duplication)."""
    for delivery in run.deliveries:
        if delivery.repeated and delivery.log is not None:
            event, before = delivery.event, delivery.log.held[delivery.event.payload]
            text = f"{event.process} delivered {event.payload!r} of group {event.group} though it held it already"
            yield Violation("no_duplication", text, (before, delivery.position))
    for position, transfer, _ in run.transfers:
        payloads = transfer.payloads
        if len(set(payloads)) < len(payloads):
            twice = next(payload for payload in payloads if payloads.count(payload) > 1)
            text = f"the state of group {transfer.group} that {transfer.process} got has {twice!r} twice"
            yield Violation("no_duplication", text, (position,))


def nothing_after_stop(run: Observed) -> Iterator[Violation]:
    """No event of p follows p's stop: crashes are fail-stop per incarnation, and an excluded process is fenced (CKV,
    well-formedness of executions; DESIGN section 2)."""
    for position, event, stopped in run.after_stop:
        text = f"{event.process} had stopped and yet shows {type(event).__name__}"
        yield Violation("nothing_after_stop", text, (stopped, position))


def delivery_in_view(run: Observed) -> Iterator[Violation]:
    """If p delivers m of group g in V then V is the view that p installed last, p is a host or learner of g in V, and
    p holds a state of g: it founded g or got the state by transfer (CKV, Initial View Event; DESIGN sections 4, 8)."""
    for delivery in run.deliveries:
        flaw = _misplaced(delivery.event, delivery.installation)
        if not flaw and delivery.log is None:
            flaw = "without any state of it"
        if flaw:
            event = delivery.event
            text = f"{event.process} delivered {event.payload!r} of group {event.group} in view {event.view} {flaw}"
            yield Violation("delivery_in_view", text, (delivery.position,))


def _misplaced(event: SawMessage, installation: Installation | None) -> str:
    if installation is None:
        return "before it installed any view"
    if installation.view.id != event.view:
        return f"while it was in view {installation.view.id}"
    return "" if installation.takes_part(event.group) else "which does not have it as a host or learner"


def virtual_synchrony(run: Observed) -> Iterator[Violation]:
    """If p and q are full hosts of g in V and in its direct successor V' and both install V and then V', they deliver
    the same set of g's messages in V (CKV, Virtual Synchrony; Birman and Joseph 1987; SCENARIOS 23)."""
    for (view, group), entering in run.entries.items():
        survivors = [s for s in entering if group in s.installation.hosts and not s.transferred]
        if len(survivors) < 2:
            continue
        first = survivors[0]
        expected = first.delivered
        for other in survivors[1:]:
            delivered = other.delivered
            if delivered != expected:
                p, q = first.installation, other.installation
                text = (
                    f"{p.process} and {q.process} went from view {view} to the next as hosts of group {group}, but "
                    f"{_difference(p.process, expected, q.process, delivered)}"
                )
                yield Violation("virtual_synchrony", text, (p.position, q.position))


def same_view_delivery(run: Observed) -> Iterator[Violation]:
    """If p delivers m in V and q delivers m in V', both as full hosts, then V = V': the cut gives each message to one
    view (CKV, Same View Delivery; DESIGN section 6)."""
    first: dict[tuple[GroupId, bytes], Delivery] = {}
    for delivery in run.deliveries:
        event, installation = delivery.event, delivery.installation
        if installation is None or event.group not in installation.hosts:
            continue
        other = first.setdefault((event.group, event.payload), delivery)
        if other.event.view != event.view:
            text = (
                f"{other.event.process} delivered {event.payload!r} of group {event.group} in view "
                f"{other.event.view}, {event.process} in view {event.view}"
            )
            yield Violation("same_view_delivery", text, (other.position, delivery.position))


def uniformity(run: Observed) -> Iterator[Violation]:
    """In a uniform group: if any process, even one that then crashes or is excluded, delivers m in V, then every full
    host that goes on directly from V to its successor holds m by then (CKV, Safe Messages; Hadzilacos and Toueg,
    "Fault-tolerant broadcasts and related problems", 1993, Uniform Agreement; SCENARIOS 24)."""
    delivered: dict[tuple[int, GroupId], dict[bytes, Delivery]] = {}
    for delivery in run.deliveries:
        event = delivery.event
        if event.group in run.specs and run.specs[event.group].is_uniform:
            delivered.setdefault((event.view, event.group), {}).setdefault(event.payload, delivery)
    for (view, group), payloads in delivered.items():
        for stretch in run.entries.get((view, group), ()):
            successor = stretch.installation.successor
            assert successor is not None
            held, end = stretch.log.held, successor.position
            missing = [d for payload, d in payloads.items() if held.get(payload, end) >= end]
            if missing:
                event = missing[0].event
                text = (
                    f"{event.process} delivered {event.payload!r} of uniform group {group} in view {view}, but "
                    f"{successor.process} installed view {successor.view.id} without it"
                    + (f" (and {len(missing) - 1} more)" if len(missing) > 1 else "")
                )
                yield Violation("uniformity", text, (missing[0].position, successor.position))


def polite_leave(run: Observed) -> Iterator[Violation]:
    """Whoever leaves has delivered what it had sent to a group before it asked to leave, if it was a full host of the
    group from then on (CKV, Self Delivery, extended to those who are gone).  Of learners that is not demanded: the state
    that they lack may never come, for those who have it may be leaving, too; nor in a group with fewer hosts than copies
    that it asks for."""
    for process, asked in run.leavers.items():
        last, logs = run.current(process)
        hosted = _hosted_since(last, asked)
        for (group, payload), send in run.sends.items():
            if send.sender != process or send.position > asked or group not in hosted:
                continue
            if send.stay == run.stay(process, group) and group in logs and payload not in logs[group].held:
                text = f"{process} left, and had not delivered {payload!r}, which it had sent to group {group} before"
                yield Violation("polite_leave", text, (send.position, asked))


def _hosted_since(last: Installation | None, position: Position) -> frozenset[GroupId]:
    """The groups of which a process was a full host from that event to its end, in its last view."""
    if last is None:
        return frozenset()
    hosted = frozenset(g.id for g in last.view.groups if g.id in last.hosts and len(g.hosts) >= g.spec.min_copies)
    while last is not None and last.position > position:
        last = last.previous
        hosted &= last.hosts if last is not None else frozenset()
    return hosted


def fencing(run: Observed) -> Iterator[Violation]:
    """In a uniform group: if m was sent after any process had installed a view later than V, no full host delivers m
    in V.  A quorum of V froze before its successor was decided, so whoever stays behind goes on in vain (DESIGN
    sections 5-7, counter-example 4: one lock, two holders).

    This property alone reads the order of events of different processes as the order in real time.
    """
    for delivery in run.deliveries:
        event, installation = delivery.event, delivery.installation
        send = run.sends.get((event.group, event.payload))
        if (
            send is None
            or send.installed <= event.view
            or installation is None
            or event.group not in installation.hosts
        ):
            continue
        if event.group in run.specs and run.specs[event.group].is_uniform:
            text = (
                f"{event.process} delivered {event.payload!r} of uniform group {event.group} in view {event.view}, "
                f"though it was sent when view {send.installed} had been installed"
            )
            yield Violation("fencing", text, (send.position, delivery.position))


def _difference(p: Member, of_p: Collection[bytes], q: Member, of_q: Collection[bytes]) -> str:
    only_p, only_q = sorted(set(of_p) - set(of_q)), sorted(set(of_q) - set(of_p))
    parts = [f"only {who} delivered {only[:3]}" for who, only in ((p, only_p), (q, only_q)) if only]
    return " and ".join(parts)
