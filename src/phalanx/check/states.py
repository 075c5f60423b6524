"""Properties of the state of a group: where it begins, how it moves to a new host.

Sources: Birman, "Reliable Distributed Systems", 2005 (state transfer in a virtually synchronous group); Chockler,
Keidar, Vitenberg (CKV, see `views`); DESIGN sections 4 and 8.
"""

from collections.abc import Iterator

from phalanx.check.observed import Observed, Stretch, Violation
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
    its state with the view's last messages, maybe before the full hosts deliver them."""
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
        for payload in event.payloads:
            first = run.first_deliveries.get((event.group, payload))
            if first is None or (first.position > position and not completed):
                text = (
                    f"{event.process} got a state of group {event.group} with {payload!r}, which nobody had delivered"
                )
                yield Violation("state_transfer", text, (position,))
                break


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


def _without_state(run: Observed) -> Iterator[Violation]:
    complete = {(s.installation.process, s.log.group, s.installation.view.id) for s in run.stretches if s.complete}
    for installation in run.installations:
        former = installation.previous
        for group in sorted(installation.hosts):
            first = run.first_views.get(group)
            if first is None or first.id >= installation.view.id:
                continue
            if former is None or (installation.process, group, former.view.id) not in complete:
                text = (
                    f"{installation.process} is full host of group {group} in view {installation.view.id}, but held no "
                    "state of it when it installed the view"
                )
                yield Violation("state_transfer", text, (installation.position,))
