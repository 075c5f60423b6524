"""A group history as something to look at and to edit: what the planted bugs are made with."""

from collections.abc import Iterator
from random import Random

from msgspec.structs import replace

from phalanx.model.history import AskedToLeave, GroupEvent, SawMessage, SawState, SawView, Sent, Stopped
from phalanx.model.view import GroupId, Member, Order, View

History = list[GroupEvent]

# --- looking at events ---


def views_of(history: History) -> list[View]:
    return [view for _, view in sorted({e.view.id: e.view for e in history if isinstance(e, SawView)}.items())]


def installations(history: History) -> Iterator[tuple[int, SawView]]:
    return ((i, e) for i, e in enumerate(history) if isinstance(e, SawView))


def installers(history: History, view: int) -> list[Member]:
    return [e.process for _, e in installations(history) if e.view.id == view]


def hosts_of(view: View, group: GroupId) -> list[Member]:
    found = view.group(group)
    return [m for m in view.members if found is not None and m.name in found.hosts]


def deliveries(history: History) -> list[int]:
    return [i for i, e in enumerate(history) if isinstance(e, SawMessage)]


def message_at(history: History, i: int) -> SawMessage:
    event = history[i]
    assert isinstance(event, SawMessage)
    return event


def state_at(history: History, i: int) -> SawState:
    event = history[i]
    assert isinstance(event, SawState)
    return event


def payload_of(event: GroupEvent) -> bytes:
    assert isinstance(event, SawMessage)
    return event.payload


def of_one_host(event: GroupEvent, other: SawMessage | SawState) -> bool:
    """Of the same process and group."""
    if isinstance(event, SawView | AskedToLeave | Stopped):
        return False
    return (event.process, event.group) == (other.process, other.group)


def is_by(history: History, k: int, event: SawMessage) -> bool:
    return history[k].process == event.process


def view_at(history: History, i: int) -> View:
    return [e.view for e in history[:i] if isinstance(e, SawView) and e.process == history[i].process][-1]


def order_at(history: History, i: int) -> Order:
    group = view_at(history, i).group(message_at(history, i).group)
    assert group is not None
    return group.spec.order


def spec_is_uniform(history: History, i: int) -> bool:
    group = view_at(history, i).group(message_at(history, i).group)
    return group is not None and group.spec.is_uniform


def goes_on(history: History, event: SawMessage) -> bool:
    """The process of this delivery is full host in this view and the next, and installs both."""
    mine = {e.view.id: e.view for e in history if isinstance(e, SawView) and e.process == event.process}
    both = [mine[i] for i in (event.view, event.view + 1) if i in mine]
    return len(both) == 2 and all(event.process in hosts_of(view, event.group) for view in both)


def promoted_with(history: History, i: int) -> bool:
    """The process that got this state keeps it and becomes a full host by its next view, beside a host that stays."""
    state, view = state_at(history, i), view_at(history, i)
    mine = [e for e in history[i + 1 :] if e.process == state.process and not isinstance(e, Sent | SawMessage)]
    mine = [e for e in mine if isinstance(e, SawView) or of_one_host(e, state)]
    if not mine or not isinstance(mine[0], SawView) or mine[0].view.id != view.id + 1:
        return False
    new = mine[0].view
    stayed = [
        m for m in hosts_of(view, state.group) if m in hosts_of(new, state.group) and m in installers(history, new.id)
    ]
    return state.process in hosts_of(new, state.group) and state.process not in stayed and bool(stayed)


def one_of(rng: Random, candidates: list[int]) -> int | None:
    return rng.choice(candidates) if candidates else None


# --- changing them ---


def changed(history: History, i: int, event: GroupEvent) -> History:
    return [*history[:i], event, *history[i + 1 :]]


def without(history: History, i: int) -> History:
    return [*history[:i], *history[i + 1 :]]


def moved(history: History, i: int, to: int) -> History:
    """The event at `i`, an earlier place, right after the one at `to`."""
    return [*history[:i], *history[i + 1 : to + 1], history[i], *history[to + 1 :]]


def revised(history: History, view: View) -> History:
    """All that install the view of this id install this value."""
    return [e._replace(view=view) if isinstance(e, SawView) and e.view.id == view.id else e for e in history]


def erased(history: History, payload: bytes) -> Iterator[GroupEvent]:
    """Nobody delivers it or gets it in a state."""
    for event in history:
        if isinstance(event, SawState):
            yield event._replace(payloads=tuple(p for p in event.payloads if p != payload))
        elif not isinstance(event, SawMessage) or event.payload != payload:
            yield event


def durable(event: GroupEvent, group: GroupId, copies: int = 1) -> GroupEvent:
    """As if the group had been durable from its founding on, with so many copies of everything."""
    if not isinstance(event, SawView):
        return event
    groups = tuple(
        replace(g, spec=replace(g.spec, durable=True, min_copies=copies)) if g.id == group else g
        for g in event.view.groups
    )
    return event._replace(view=replace(event.view, groups=groups))
