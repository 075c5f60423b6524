"""Bugs to plant in a correct group history, one for each way in which a property can fail.

Each takes a history and returns one that breaks the property it stands for, or None where this history offers no place
for it.  None uses the index of the checker: what it breaks is found by looking at the events themselves.
"""

from collections.abc import Callable, Iterator
from random import Random

from msgspec.structs import replace

from phalanx.model.history import GroupEvent, SawFounding, SawMessage, SawState, SawView, Sent, Stopped
from phalanx.model.view import GroupId, Member, Order, View

History = list[GroupEvent]
Plant = Callable[[History, Random], History | None]

STRANGER = Member("zoe", "zoe", 1)


# --- views ---


def a_stranger_installs_a_view(history: History, rng: Random) -> History | None:
    return [*history, SawView(STRANGER, rng.choice(_views(history)))]


def a_process_goes_back_a_view(history: History, rng: Random) -> History | None:
    stopped = {e.process for e in history if isinstance(e, Stopped)}
    seen = [e for e in history if isinstance(e, SawView) and e.process not in stopped]
    old = [e for e in seen if any(f.process == e.process and f.view.id > e.view.id for f in seen)]
    return [*history, rng.choice(old)] if old else None


def a_process_installs_another_value(history: History, rng: Random) -> History | None:
    at = [i for i, e in _seen(history) if len(e.view.members) > 1 and len(_installers(history, e.view.id)) > 1]
    if not at:
        return None
    i = rng.choice(at)
    event = history[i]
    assert isinstance(event, SawView)
    return _with(history, i, event._replace(view=replace(event.view, members=event.view.members[::-1])))


def a_view_lists_two_incarnations(history: History, rng: Random) -> History | None:
    view = rng.choice(_views(history))
    again = replace(view.members[0], incarnation=99)
    return _revised(history, replace(view, learners=(*view.learners, again)))


def a_group_is_hosted_by_an_outsider(history: History, rng: Random) -> History | None:
    view = rng.choice([v for v in _views(history) if v.groups])
    return _revised(history, replace(view, groups=(replace(view.groups[0], hosts=("zoe",)), *view.groups[1:])))


def a_group_has_its_hosts_in_another_order(history: History, rng: Random) -> History | None:
    views = [v for v in _views(history) if v.groups and len(v.groups[0].hosts) > 1]
    if not views:
        return None
    view = rng.choice(views)
    group = replace(view.groups[0], hosts=view.groups[0].hosts[::-1])
    return _revised(history, replace(view, groups=(group, *view.groups[1:])))


def strangers_take_over(history: History, rng: Random) -> History | None:  # noqa: ARG001
    return _revised(history, replace(_views(history)[-1], members=(STRANGER,), learners=()))


def a_minority_installs_a_view(history: History, rng: Random) -> History | None:  # noqa: ARG001
    old, new = _views(history)[-2:]
    if len(old.members) < 3:
        return None
    return _revised(history, replace(new, members=(old.members[-1],), learners=()))


def a_removed_member_returns(history: History, rng: Random) -> History | None:
    views = _views(history)
    triples = zip(views, views[1:], views[2:], strict=False)
    gone = [(m, c) for a, b, c in triples for m in a.everyone if m not in b.everyone and m not in c.everyone]
    if not gone:
        return None
    member, view = rng.choice(gone)
    return _revised(history, replace(view, learners=(*view.learners, member)))


def the_younger_becomes_the_elder(history: History, rng: Random) -> History | None:  # noqa: ARG001
    old, new = _views(history)[-2:]
    kept = [m for m in new.members if old.rank(m.name) >= 0]
    return _revised(history, replace(new, members=new.members[::-1])) if len(kept) > 1 else None


def a_group_changes_its_order(history: History, rng: Random) -> History | None:  # noqa: ARG001
    old, new = _views(history)[-2:]
    kept = [g for g in new.groups if old.group(g.id)]
    if not kept:
        return None
    other = replace(kept[0], spec=replace(kept[0].spec, contract="another"))
    return _revised(history, replace(new, groups=tuple(other if g is kept[0] else g for g in new.groups)))


def a_lost_group_returns_under_its_id(history: History, rng: Random) -> History | None:
    views = _views(history)
    gone = [(g, c) for a, b, c in zip(views, views[1:], views[2:], strict=False) for g in a.groups if not b.group(g.id)]
    if not gone:
        return None
    group, view = rng.choice(gone)
    return _revised(history, replace(view, groups=(*view.groups, replace(group, hosts=(), learners=()))))


# --- deliveries ---


def nobody_sent_it(history: History, rng: Random) -> History | None:
    i = _choice(rng, _delivered(history))
    return (
        None if i is None else [e for e in history if not (isinstance(e, Sent) and e.payload == _payload(history[i]))]
    )


def another_sent_it(history: History, rng: Random) -> History | None:
    i = _choice(rng, _delivered(history))
    return None if i is None else _with(history, i, _message(history, i)._replace(sender=STRANGER))


def it_was_delivered_before_it_was_sent(history: History, rng: Random) -> History | None:
    at = {e.payload: i for i, e in enumerate(history) if isinstance(e, Sent)}
    # A delivery by another process, so that the sending can be seen late without touching the sender's own events.
    i = _choice(rng, [i for i in _delivered(history) if _message(history, i).sender != history[i].process])
    return None if i is None else _moved(history, at[_payload(history[i])], i)


def a_state_holds_what_was_never_sent(history: History, rng: Random) -> History | None:
    i = _choice(rng, [i for i, e in enumerate(history) if isinstance(e, SawState)])
    return None if i is None else _with(history, i, _state(history, i)._replace(payloads=(b"forged",)))


def it_is_delivered_twice(history: History, rng: Random) -> History | None:
    i = _choice(rng, _delivered(history))
    return None if i is None else [*history[: i + 1], history[i], *history[i + 1 :]]


def it_is_delivered_after_the_state_that_has_it(history: History, rng: Random) -> History | None:
    i = _choice(rng, [i for i, e in enumerate(history) if isinstance(e, SawState) and e.payloads])
    if i is None:
        return None
    state = _state(history, i)
    sender = next(e.process for e in history if isinstance(e, Sent) and e.payload == state.payloads[-1])
    view = _view_at(history, i)
    again = SawMessage(state.process, state.group, view.id, sender, state.payloads[-1])
    return [*history[: i + 1], again, *history[i + 1 :]]


def a_dead_process_delivers(history: History, rng: Random) -> History | None:
    last = {e.process: i for i, e in enumerate(history) if isinstance(e, SawMessage)}
    dead = [(i, last[e.process]) for i, e in enumerate(history) if isinstance(e, Stopped) and e.process in last]
    return _moved(history, *rng.choice(dead)[::-1]) if dead else None


def it_is_said_to_be_of_the_next_view(history: History, rng: Random) -> History | None:
    i = _choice(rng, _delivered(history))
    return None if i is None else _with(history, i, _message(history, i)._replace(view=_message(history, i).view + 1))


def one_that_does_not_host_the_group_delivers(history: History, rng: Random) -> History | None:
    for i in rng.sample(_delivered(history), len(_delivered(history))):
        event, view = _message(history, i), _view_at(history, i)
        group = view.group(event.group)
        assert group is not None
        present = {e.process for e in history[:i] if isinstance(e, SawView) and e.view.id == view.id}
        present -= {e.process for e in history[:i] if isinstance(e, Stopped)}
        outsiders = [m for m in view.everyone if m in present and m.name not in group.everyone]
        if outsiders:
            return [*history[: i + 1], event._replace(process=outsiders[0]), *history[i + 1 :]]
    return None


def a_learner_delivers_without_a_state(history: History, rng: Random) -> History | None:
    for i in rng.sample(_delivered(history), len(_delivered(history))):
        event = _message(history, i)
        mine = [k for k in range(i) if isinstance(history[k], SawState | SawFounding) and _same(history[k], event)]
        if len(mine) == 1:
            return _without(history, mine[0])
    return None


def a_survivor_misses_a_delivery(history: History, rng: Random) -> History | None:
    return _missed(history, rng, _delivered(history))


def a_survivor_misses_what_another_delivered_uniformly(history: History, rng: Random) -> History | None:
    return _missed(history, rng, [i for i in _delivered(history) if _spec_is_uniform(history, i)])


def _missed(history: History, rng: Random, candidates: list[int]) -> History | None:
    """Drop a delivery at a full host that goes on to the next view, where another that does so too delivers it."""
    for i in rng.sample(candidates, len(candidates)):
        event = _message(history, i)
        others = (k for k in candidates if history[k] == event._replace(process=history[k].process) and k != i)
        if _goes_on(history, event) and any(_goes_on(history, _message(history, k)) for k in others):
            return _without(history, i)
    return None


def a_survivor_delivers_it_a_view_late(history: History, rng: Random) -> History | None:
    for i in rng.sample(_delivered(history), len(_delivered(history))):
        event = _message(history, i)
        others = [k for k in _delivered(history) if _payload(history[k]) == event.payload and k != i]
        if _goes_on(history, event) and any(_goes_on(history, _message(history, k)) for k in others):
            at = next(k for k in range(i, len(history)) if isinstance(history[k], SawView) and _by(history, k, event))
            return _moved(_with(history, i, event._replace(view=event.view + 1)), i, at)
    return None


def an_excluded_holder_goes_on_alone(history: History, rng: Random) -> History | None:  # noqa: ARG001
    """Counter-example 4 of DESIGN section 13."""
    for i in (i for i, e in enumerate(history) if isinstance(e, Sent)):
        event = history[i]
        views = [e.view for e in history[:i] if isinstance(e, SawView)]
        mine = [e.view for e in history[:i] if isinstance(e, SawView) and e.process == event.process]
        assert isinstance(event, Sent)
        group = mine[-1].group(event.group) if mine else None
        if group is not None and group.spec.is_uniform and max(v.id for v in views) > mine[-1].id:
            delivered = any(isinstance(e, SawMessage) and e.payload == event.payload for e in history)
            if not delivered and event.process.name in group.hosts:
                seen = SawMessage(event.process, event.group, mine[-1].id, event.process, event.payload)
                return [*history[: i + 1], seen, *history[i + 1 :]]
    return None


# --- orders ---


def two_of_one_sender_change_places(history: History, rng: Random) -> History | None:
    def same_sender(a: SawMessage, b: SawMessage) -> bool:
        return a.sender == b.sender

    return _swapped(history, rng, same_sender, (Order.FIFO, Order.CAUSAL, Order.TOTAL))


def two_change_places_in_total_order(history: History, rng: Random) -> History | None:
    return _swapped(history, rng, lambda a, b: True, (Order.TOTAL,), crowded=True)  # noqa: ARG005


def an_effect_comes_before_its_cause(history: History, rng: Random) -> History | None:
    sent = {e.payload: i for i, e in enumerate(history) if isinstance(e, Sent)}

    def causes(a: SawMessage, b: SawMessage) -> bool:
        if a.sender == b.sender or a.process == b.sender:
            return False
        return any(
            isinstance(e, SawMessage) and e.payload == a.payload and e.process == b.sender
            for e in history[: sent[b.payload]]
        )

    return _swapped(history, rng, causes, (Order.CAUSAL, Order.TOTAL))


def _swapped(
    history: History,
    rng: Random,
    related: Callable[[SawMessage, SawMessage], bool],
    orders: tuple[Order, ...],
    crowded: bool = False,
) -> History | None:
    """Exchange two deliveries of one process in one view and group; `crowded`: the first has other holders."""
    candidates = [i for i in _delivered(history) if _order(history, i) in orders]
    for i in rng.sample(candidates, len(candidates)):
        a = _message(history, i)
        if crowded and sum(_payload(history[k]) == a.payload for k in candidates) < 2:
            continue
        for k in candidates:
            b = _message(history, k)
            if k > i and (b.process, b.group, b.view) == (a.process, a.group, a.view) and related(a, b):
                return _with(_with(history, i, b), k, a)
    return None


def a_message_is_skipped_by_everybody(history: History, rng: Random) -> History | None:
    """Drop the earlier of two messages of one sender at all processes alike."""
    candidates = [i for i in _delivered(history) if _order(history, i) in (Order.FIFO, Order.CAUSAL, Order.TOTAL)]
    for i in rng.sample(candidates, len(candidates)):
        a = _message(history, i)
        later = (_message(history, k) for k in candidates if k > i)
        if any((b.process, b.group, b.view, b.sender) == (a.process, a.group, a.view, a.sender) for b in later):
            return list(_erased(history, a.payload))
    return None


# --- states ---


def a_group_is_founded_again(history: History, rng: Random) -> History | None:
    i = _choice(rng, [i for i, e in enumerate(history) if isinstance(e, SawState)])
    return None if i is None else _with(history, i, SawFounding(history[i].process, _state(history, i).group))


def a_stranger_founds_a_group(history: History, rng: Random) -> History | None:
    foundings = [e for e in history if isinstance(e, SawFounding)]
    return [*history, SawFounding(STRANGER, rng.choice(foundings).group)]


def a_state_lacks_a_message(history: History, rng: Random) -> History | None:
    states = [i for i, e in enumerate(history) if isinstance(e, SawState) and e.payloads and _promoted_with(history, i)]
    i = _choice(rng, states)
    return (
        None if i is None else _with(history, i, _state(history, i)._replace(payloads=_state(history, i).payloads[1:]))
    )


def a_state_is_ahead_of_all_deliveries(history: History, rng: Random) -> History | None:
    for i in (i for i, e in enumerate(history) if isinstance(e, SawState)):
        state = _state(history, i)
        sent = [e.payload for e in history[:i] if isinstance(e, Sent) and e.group == state.group]
        delivered = {e.payload for e in history[:i] if isinstance(e, SawMessage)}
        if ahead := [payload for payload in sent if payload not in delivered]:
            return _with(history, i, state._replace(payloads=(*state.payloads, rng.choice(ahead))))
    return None


def a_learner_is_promoted_without_a_state(history: History, rng: Random) -> History | None:
    i = _choice(rng, [i for i, e in enumerate(history) if isinstance(e, SawState) and _promoted_with(history, i)])
    return None if i is None else [e for e in history if not (isinstance(e, SawState) and _same(e, _state(history, i)))]


# --- progress ---


def a_final_member_never_hears_of_the_last_view(history: History, rng: Random) -> History | None:
    last = _views(history)[-1]
    if len(last.members) < 2:
        return None
    process = rng.choice(last.members)
    return [e for e in history if not (isinstance(e, SawView) and e.process == process and e.view.id == last.id)]


def a_final_host_misses_a_message(history: History, rng: Random) -> History | None:
    last = _views(history)[-1]
    late = [i for i in _delivered(history) if _message(history, i).view == last.id]
    i = _choice(rng, [i for i in late if len(_hosts(last, _message(history, i).group)) > 1])
    return None if i is None else _without(history, i)


def a_message_of_a_final_member_is_lost(history: History, rng: Random) -> History | None:
    last = _views(history)[-1]
    late = [i for i in _delivered(history) if _message(history, i).view == last.id]
    i = _choice(rng, [i for i in late if _message(history, i).sender in _hosts(last, _message(history, i).group)])
    return None if i is None else list(_erased(history, _payload(history[i])))


# --- looking at events ---


def _views(history: History) -> list[View]:
    return [view for _, view in sorted({e.view.id: e.view for e in history if isinstance(e, SawView)}.items())]


def _seen(history: History) -> Iterator[tuple[int, SawView]]:
    return ((i, e) for i, e in enumerate(history) if isinstance(e, SawView))


def _installers(history: History, view: int) -> list[Member]:
    return [e.process for _, e in _seen(history) if e.view.id == view]


def _hosts(view: View, group: GroupId) -> list[Member]:
    found = view.group(group)
    return [m for m in view.members if found is not None and m.name in found.hosts]


def _delivered(history: History) -> list[int]:
    return [i for i, e in enumerate(history) if isinstance(e, SawMessage)]


def _message(history: History, i: int) -> SawMessage:
    event = history[i]
    assert isinstance(event, SawMessage)
    return event


def _state(history: History, i: int) -> SawState:
    event = history[i]
    assert isinstance(event, SawState)
    return event


def _payload(event: GroupEvent) -> bytes:
    assert isinstance(event, SawMessage)
    return event.payload


def _same(event: GroupEvent, other: SawMessage | SawState) -> bool:
    """Of the same process and group."""
    return not isinstance(event, SawView | Stopped) and (event.process, event.group) == (other.process, other.group)


def _by(history: History, k: int, event: SawMessage) -> bool:
    return history[k].process == event.process


def _view_at(history: History, i: int) -> View:
    return [e.view for e in history[:i] if isinstance(e, SawView) and e.process == history[i].process][-1]


def _order(history: History, i: int) -> Order:
    group = _view_at(history, i).group(_message(history, i).group)
    assert group is not None
    return group.spec.order


def _spec_is_uniform(history: History, i: int) -> bool:
    group = _view_at(history, i).group(_message(history, i).group)
    return group is not None and group.spec.is_uniform


def _goes_on(history: History, event: SawMessage) -> bool:
    """The process of this delivery is full host in this view and the next, and installs both."""
    mine = {e.view.id: e.view for e in history if isinstance(e, SawView) and e.process == event.process}
    both = [mine[i] for i in (event.view, event.view + 1) if i in mine]
    return len(both) == 2 and all(event.process in _hosts(view, event.group) for view in both)


def _promoted_with(history: History, i: int) -> bool:
    """The process that got this state keeps it and becomes a full host by its next view, beside a host that stays."""
    state, view = _state(history, i), _view_at(history, i)
    mine = [e for e in history[i + 1 :] if e.process == state.process and not isinstance(e, Sent | SawMessage)]
    mine = [e for e in mine if isinstance(e, SawView) or _same(e, state)]
    if not mine or not isinstance(mine[0], SawView) or mine[0].view.id != view.id + 1:
        return False
    new = mine[0].view
    stayed = [
        m for m in _hosts(view, state.group) if m in _hosts(new, state.group) and m in _installers(history, new.id)
    ]
    return state.process in _hosts(new, state.group) and state.process not in stayed and bool(stayed)


def _choice(rng: Random, candidates: list[int]) -> int | None:
    return rng.choice(candidates) if candidates else None


# --- changing them ---


def _with(history: History, i: int, event: GroupEvent) -> History:
    return [*history[:i], event, *history[i + 1 :]]


def _without(history: History, i: int) -> History:
    return [*history[:i], *history[i + 1 :]]


def _moved(history: History, i: int, to: int) -> History:
    """The event at `i`, an earlier place, right after the one at `to`."""
    return [*history[:i], *history[i + 1 : to + 1], history[i], *history[to + 1 :]]


def _revised(history: History, view: View) -> History:
    """All that install the view of this id install this value."""
    return [e._replace(view=view) if isinstance(e, SawView) and e.view.id == view.id else e for e in history]


def _erased(history: History, payload: bytes) -> Iterator[GroupEvent]:
    """Nobody delivers it or gets it in a state."""
    for event in history:
        if isinstance(event, SawState):
            yield event._replace(payloads=tuple(p for p in event.payloads if p != payload))
        elif not isinstance(event, SawMessage) or event.payload != payload:
            yield event
