"""Properties of the state of a group: where it begins, how it moves to a new host.

Sources: Birman, "Reliable Distributed Systems", 2005 (state transfer in a virtually synchronous group); Chockler,
Keidar, Vitenberg (CKV, see `views`); DESIGN sections 4 and 8.
"""

from collections.abc import Iterator

from phalanx.check.observed import Delivery, Installation, Observed, Stretch, Violation
from phalanx.model.history import SawState
from phalanx.model.view import GroupId, Member


def founding(run: Observed) -> Iterator[Violation]:
    """p founds g only if p is a full host of g in the first view that has g, has not gone beyond that view, and holds
    no state of g: a group that was lost begins anew under another id, and only there is the state empty (DESIGN
    section 8)."""
    for position, event, installation, known in run.foundings:
        first = run.first_views.get(event.group)
        flaw = ""
        if first is None:
            flaw = "which no view has"
        elif known:
            flaw = "whose state it held already"
        elif installation is not None and installation.view.id > first.id:
            flaw = f"in view {installation.view.id}, but view {first.id} had it already"
        else:
            group = first.group(event.group)
            if group is None or event.process not in first.members or event.process.name not in group.hosts:
                flaw = f"but is no host of it in view {first.id}, its first"
        if flaw:
            yield Violation("founding", f"{event.process} founded group {event.group}, {flaw}", (position,))


def state_transfer(run: Observed) -> Iterator[Violation]:
    """A state that p gets holds only what some process had delivered by then, and p hosts the group or is a learner of
    it.  All that install a view V' directly after V as full hosts of g hold the same set of g's messages then, those
    promoted from learners included; and nobody becomes full host of a group that existed before without holding a state
    (Birman 2005: the state is that of a point in the delivery sequence and the deliveries continue from it; DESIGN
    section 8, "promoted when caught up").

    What p adds to a state that it got before is no donation: a learner that hears first that a view has ended completes
    its state with the view's last messages, which are decided, maybe before the full hosts deliver them.  Nobody ever
    does if all full hosts crash first, and with them the group is lost."""
    yield from _donated(run)
    yield from _promoted(run)
    yield from _without_state(run)


def _donated(run: Observed) -> Iterator[Violation]:
    got: dict[tuple[Member, GroupId], tuple[bytes, ...]] = {}
    for position, event, installation in run.transfers:
        before = got.get((event.process, event.group))
        got[event.process, event.group] = event.payloads
        completed = before is not None and event.payloads[: len(before)] == before
        if installation is None or not installation.takes_part(event.group):
            text = f"{event.process} got a state of group {event.group}, which it does not host"
            yield Violation("state_transfer", text, (position,))
        if event.group in run.specs and run.specs[event.group].durable:
            continue  # what was on disk may be more
        for payload in event.payloads:
            first = run.first_deliveries.get((event.group, payload))
            if first is not None and (completed or first.position <= position):
                continue
            if first is not None or not (completed and _died_with_all(run, event, payload, installation)):
                text = (
                    f"{event.process} got a state of group {event.group} with {payload!r}, which nobody had delivered"
                )
                yield Violation("state_transfer", text, (position,))
                break


def _died_with_all(run: Observed, event: SawState, payload: bytes, learner: Installation | None) -> bool:
    """It was sent in a view before the learner's, which no full host of the group left alive."""
    sent = run.sends.get((event.group, payload))
    view = run.last_hosted(sent.sender, event.group) if sent is not None else None
    if view is None or learner is None or view.id >= learner.view.id:
        return False
    hosts = (i for i in run.installations if i.view.id == view.id and event.group in i.hosts)
    return all(i.next is None for i in hosts)


def _promoted(run: Observed) -> Iterator[Violation]:
    for (view, group), entering in run.entries.items():
        promoted = [s for s in entering if s.transferred or group not in s.installation.hosts]
        if not promoted or len(entering) < 2:
            continue
        model = next((s for s in entering if s not in promoted), promoted[0])
        expected = model.held_at_end
        for stretch in promoted:
            held = stretch.held_at_end
            if held != expected:
                yield _unequal(view, group, model, expected - held, stretch, held - expected)


def _unequal(
    view: int, group: GroupId, model: Stretch, lacks: set[bytes], other: Stretch, extra: set[bytes]
) -> Violation:
    p, q = model.installation, other.installation
    text = (
        f"{q.process} became full host of group {group} after view {view} with another state than {p.process}: "
        f"it lacks {sorted(lacks)[:3]} and has {sorted(extra)[:3]} too much"
    )
    return Violation("state_transfer", text, (other.log.position, (q.next or q).position))


def durability(run: Observed) -> Iterator[Violation]:
    """In a durable group: if any process delivers m in V, then every full host of a later view holds m in it, whoever
    crashed between the two and however often, even all at once (DESIGN sections 2, 5 and 8; SCENARIOS 1)."""
    last: dict[tuple[Installation, GroupId], Stretch] = {}
    for stretch in run.stretches:
        last[stretch.installation, stretch.log.group] = stretch
    delivered: dict[GroupId, list[Delivery]] = {}
    for delivery in run.first_deliveries.values():
        group = delivery.event.group
        if group in run.specs and run.specs[group].durable:
            delivered.setdefault(group, []).append(delivery)
    for (installation, group), stretch in last.items():
        silent = stretch.log.state is not None and stretch.end == len(stretch.log.state)
        if group not in installation.hosts or (silent and not stretch.complete):
            continue  # (of what it replays more may have been to come, had the history gone on)
        held = stretch.held_at_end
        owed = (d for d in delivered.get(group, ()) if d.event.view < installation.view.id)
        missing = [d for d in owed if d.event.payload not in held]
        if missing:
            event = missing[0].event
            text = (
                f"{event.process} delivered {event.payload!r} of durable group {group} in view {event.view}, but "
                f"{installation.process}, full host in view {installation.view.id}, does not hold it"
                + (f" (and {len(missing) - 1} more)" if len(missing) > 1 else "")
            )
            yield Violation("durability", text, (missing[0].position, installation.position))


def copies(run: Observed) -> Iterator[Violation]:
    """In a durable group: if any process delivers m in V, then the group has `min_copies` full hosts or more in V.  Each
    of them holds m on its disk (DESIGN section 8)."""
    for delivery in run.first_deliveries.values():
        event = delivery.event
        installation = run.views.get(event.view)
        group = installation.view.group(event.group) if installation is not None else None
        if group is not None and group.spec.durable and len(group.hosts) < group.spec.min_copies:
            text = (
                f"{event.process} delivered {event.payload!r} of durable group {event.group} in view {event.view}, where "
                f"{len(group.hosts)} hold it, not {group.spec.min_copies}"
            )
            yield Violation("copies", text, (delivery.position,))


def _without_state(run: Observed) -> Iterator[Violation]:
    held = {(s.installation.process, s.log.group, s.installation.view.id) for s in run.stretches}
    complete = {(s.installation.process, s.log.group, s.installation.view.id) for s in run.stretches if s.complete}
    for installation in run.installations:
        former = installation.previous
        for group in sorted(installation.hosts):
            first = run.first_views.get(group)
            if first is None or first.id >= installation.view.id:
                continue
            replays = (installation.process, group, installation.view.id) in held
            replays |= former is None and installation.next is None
            if run.specs[group].durable and replays:
                continue  # it has it on its disk; `durability` judges what
            if former is None or (installation.process, group, former.view.id) not in complete:
                text = (
                    f"{installation.process} is full host of group {group} in view {installation.view.id}, but held no "
                    "state of it when it installed the view"
                )
                yield Violation("state_transfer", text, (installation.position,))
