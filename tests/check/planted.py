"""Bugs to plant in a correct group history, one for each way in which a property can fail.

Each takes a history and returns one that breaks its property, or None where this history offers no place for it.  None
uses the index of the checker: what it breaks is found by looking at the events themselves.
"""

from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from phalanx.model.history import AskedToLeave, SawFounding, SawMessage, SawState, SawView, Sent, Stopped
from phalanx.model.view import Member, Order
from tests.check.editing import (
    History,
    changed,
    deliveries,
    erased,
    goes_on,
    hosts_of,
    installations,
    installers,
    is_by,
    message_at,
    moved,
    of_one_host,
    one_of,
    order_at,
    payload_of,
    revised,
    spec_is_uniform,
    state_at,
    view_at,
    views_of,
    without,
)

Plant = Callable[[History, Random], History | None]

STRANGER = Member("zoe", "zoe", 1)


# --- views ---


def a_stranger_installs_a_view(history: History, rng: Random) -> History | None:
    return [*history, SawView(STRANGER, rng.choice(views_of(history)))]


def a_process_goes_back_a_view(history: History, rng: Random) -> History | None:
    stopped = {e.process for e in history if isinstance(e, Stopped)}
    seen = [e for e in history if isinstance(e, SawView) and e.process not in stopped]
    old = [e for e in seen if any(f.process == e.process and f.view.id > e.view.id for f in seen)]
    return [*history, rng.choice(old)] if old else None


def a_process_installs_another_value(history: History, rng: Random) -> History | None:
    at = [i for i, e in installations(history) if len(e.view.members) > 1 and len(installers(history, e.view.id)) > 1]
    if not at:
        return None
    i = rng.choice(at)
    event = history[i]
    assert isinstance(event, SawView)
    return changed(history, i, event._replace(view=replace(event.view, members=event.view.members[::-1])))


def a_view_lists_two_incarnations(history: History, rng: Random) -> History | None:
    view = rng.choice(views_of(history))
    again = replace(view.members[0], incarnation=99)
    return revised(history, replace(view, learners=(*view.learners, again)))


def a_group_is_hosted_by_an_outsider(history: History, rng: Random) -> History | None:
    view = rng.choice([v for v in views_of(history) if v.groups])
    return revised(history, replace(view, groups=(replace(view.groups[0], hosts=("zoe",)), *view.groups[1:])))


def a_group_has_its_hosts_in_another_order(history: History, rng: Random) -> History | None:
    views = [v for v in views_of(history) if v.groups and len(v.groups[0].hosts) > 1]
    if not views:
        return None
    view = rng.choice(views)
    group = replace(view.groups[0], hosts=view.groups[0].hosts[::-1])
    return revised(history, replace(view, groups=(group, *view.groups[1:])))


def strangers_take_over(history: History, _rng: Random) -> History | None:
    return revised(history, replace(views_of(history)[-1], members=(STRANGER,), learners=()))


def a_minority_installs_a_view(history: History, _rng: Random) -> History | None:
    old, new = views_of(history)[-2:]
    if len(old.members) < 3:
        return None
    return revised(history, replace(new, members=(old.members[-1],), learners=()))


def a_removed_member_returns(history: History, rng: Random) -> History | None:
    views = views_of(history)
    triples = zip(views, views[1:], views[2:], strict=False)
    gone = [(m, c) for a, b, c in triples for m in a.everyone if m not in b.everyone and m not in c.everyone]
    if not gone:
        return None
    member, view = rng.choice(gone)
    return revised(history, replace(view, learners=(*view.learners, member)))


def the_younger_becomes_the_elder(history: History, _rng: Random) -> History | None:
    old, new = views_of(history)[-2:]
    kept = [m for m in new.members if old.rank(m.name) >= 0]
    return revised(history, replace(new, members=new.members[::-1])) if len(kept) > 1 else None


def a_group_changes_its_order(history: History, _rng: Random) -> History | None:
    old, new = views_of(history)[-2:]
    kept = [g for g in new.groups if old.group(g.id)]
    if not kept:
        return None
    other = replace(kept[0], spec=replace(kept[0].spec, contract="another"))
    return revised(history, replace(new, groups=tuple(other if g is kept[0] else g for g in new.groups)))


def a_lost_group_returns_under_its_id(history: History, rng: Random) -> History | None:
    views = views_of(history)
    gone = [(g, c) for a, b, c in zip(views, views[1:], views[2:], strict=False) for g in a.groups if not b.group(g.id)]
    if not gone:
        return None
    group, view = rng.choice(gone)
    return revised(history, replace(view, groups=(*view.groups, replace(group, hosts=(), learners=()))))


# --- deliveries ---


def nobody_sent_it(history: History, rng: Random) -> History | None:
    i = one_of(rng, deliveries(history))
    return (
        None if i is None else [e for e in history if not (isinstance(e, Sent) and e.payload == payload_of(history[i]))]
    )


def another_sent_it(history: History, rng: Random) -> History | None:
    i = one_of(rng, deliveries(history))
    return None if i is None else changed(history, i, message_at(history, i)._replace(sender=STRANGER))


def it_was_delivered_before_it_was_sent(history: History, rng: Random) -> History | None:
    at = {e.payload: i for i, e in enumerate(history) if isinstance(e, Sent)}
    # A delivery by another process, so that the sending can be seen late without touching the sender's own events.
    i = one_of(rng, [i for i in deliveries(history) if message_at(history, i).sender != history[i].process])
    return None if i is None else moved(history, at[payload_of(history[i])], i)


def a_state_holds_what_was_never_sent(history: History, rng: Random) -> History | None:
    i = one_of(rng, [i for i, e in enumerate(history) if isinstance(e, SawState)])
    return None if i is None else changed(history, i, state_at(history, i)._replace(payloads=(b"forged",)))


def it_is_delivered_twice(history: History, rng: Random) -> History | None:
    i = one_of(rng, deliveries(history))
    return None if i is None else [*history[: i + 1], history[i], *history[i + 1 :]]


def it_is_delivered_after_the_state_that_has_it(history: History, rng: Random) -> History | None:
    i = one_of(rng, [i for i, e in enumerate(history) if isinstance(e, SawState) and e.payloads])
    if i is None:
        return None
    state = state_at(history, i)
    sender = next(e.process for e in history if isinstance(e, Sent) and e.payload == state.payloads[-1])
    view = view_at(history, i)
    again = SawMessage(state.process, state.group, view.id, sender, state.payloads[-1])
    return [*history[: i + 1], again, *history[i + 1 :]]


def a_dead_process_delivers(history: History, rng: Random) -> History | None:
    last = {e.process: i for i, e in enumerate(history) if isinstance(e, SawMessage)}
    dead = [(i, last[e.process]) for i, e in enumerate(history) if isinstance(e, Stopped) and e.process in last]
    return moved(history, *rng.choice(dead)[::-1]) if dead else None


def it_is_said_to_be_of_the_next_view(history: History, rng: Random) -> History | None:
    i = one_of(rng, deliveries(history))
    return (
        None
        if i is None
        else changed(history, i, message_at(history, i)._replace(view=message_at(history, i).view + 1))
    )


def one_that_does_not_host_the_group_delivers(history: History, rng: Random) -> History | None:
    for i in rng.sample(deliveries(history), len(deliveries(history))):
        event, view = message_at(history, i), view_at(history, i)
        group = view.group(event.group)
        assert group is not None
        present = {e.process for e in history[:i] if isinstance(e, SawView) and e.view.id == view.id}
        present -= {e.process for e in history[:i] if isinstance(e, Stopped)}
        outsiders = [m for m in view.everyone if m in present and m.name not in group.everyone]
        if outsiders:
            return [*history[: i + 1], event._replace(process=outsiders[0]), *history[i + 1 :]]
    return None


def a_learner_delivers_without_a_state(history: History, rng: Random) -> History | None:
    for i in rng.sample(deliveries(history), len(deliveries(history))):
        event = message_at(history, i)
        mine = [
            k for k in range(i) if isinstance(history[k], SawState | SawFounding) and of_one_host(history[k], event)
        ]
        if len(mine) == 1:
            return without(history, mine[0])
    return None


def a_survivor_misses_a_delivery(history: History, rng: Random) -> History | None:
    return _missed(history, rng, deliveries(history))


def a_survivor_misses_what_another_delivered_uniformly(history: History, rng: Random) -> History | None:
    return _missed(history, rng, [i for i in deliveries(history) if spec_is_uniform(history, i)])


def _missed(history: History, rng: Random, candidates: list[int]) -> History | None:
    """Drop a delivery at a full host that goes on to the next view, where another that does so too delivers it."""
    for i in rng.sample(candidates, len(candidates)):
        event = message_at(history, i)
        others = (k for k in candidates if history[k] == event._replace(process=history[k].process) and k != i)
        if goes_on(history, event) and any(goes_on(history, message_at(history, k)) for k in others):
            return without(history, i)
    return None


def a_survivor_delivers_it_a_view_late(history: History, rng: Random) -> History | None:
    for i in rng.sample(deliveries(history), len(deliveries(history))):
        event = message_at(history, i)
        others = [k for k in deliveries(history) if payload_of(history[k]) == event.payload and k != i]
        if goes_on(history, event) and any(goes_on(history, message_at(history, k)) for k in others):
            at = next(k for k in range(i, len(history)) if isinstance(history[k], SawView) and is_by(history, k, event))
            return moved(changed(history, i, event._replace(view=event.view + 1)), i, at)
    return None


def an_excluded_holder_goes_on_alone(history: History, _rng: Random) -> History | None:
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
    return _swapped(history, rng, lambda _a, _b: True, (Order.TOTAL,), crowded=True)


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
    candidates = [i for i in deliveries(history) if order_at(history, i) in orders]
    for i in rng.sample(candidates, len(candidates)):
        a = message_at(history, i)
        if crowded and sum(payload_of(history[k]) == a.payload for k in candidates) < 2:
            continue
        for k in candidates:
            b = message_at(history, k)
            if k > i and (b.process, b.group, b.view) == (a.process, a.group, a.view) and related(a, b):
                return changed(changed(history, i, b), k, a)
    return None


def a_message_is_skipped_by_everybody(history: History, rng: Random) -> History | None:
    """Drop the earlier of two messages of one sender at all processes alike."""
    candidates = [i for i in deliveries(history) if order_at(history, i) in (Order.FIFO, Order.CAUSAL, Order.TOTAL)]
    for i in rng.sample(candidates, len(candidates)):
        a = message_at(history, i)
        later = (message_at(history, k) for k in candidates if k > i)
        if any((b.process, b.group, b.view, b.sender) == (a.process, a.group, a.view, a.sender) for b in later):
            return list(erased(history, a.payload))
    return None


# --- progress ---


def a_final_member_never_hears_of_the_last_view(history: History, rng: Random) -> History | None:
    last = views_of(history)[-1]
    if len(last.members) < 2:
        return None
    process = rng.choice(last.members)
    return [e for e in history if not (isinstance(e, SawView) and e.process == process and e.view.id == last.id)]


def a_final_host_misses_a_message(history: History, rng: Random) -> History | None:
    last = views_of(history)[-1]
    late = [i for i in deliveries(history) if message_at(history, i).view == last.id]
    i = one_of(rng, [i for i in late if len(hosts_of(last, message_at(history, i).group)) > 1])
    return None if i is None else without(history, i)


def a_message_of_a_final_member_is_lost(history: History, rng: Random) -> History | None:
    last = views_of(history)[-1]
    late = [i for i in deliveries(history) if message_at(history, i).view == last.id]
    i = one_of(rng, [i for i in late if message_at(history, i).sender in hosts_of(last, message_at(history, i).group)])
    return None if i is None else list(erased(history, payload_of(history[i])))


def one_leaves_without_a_message_of_its_own(history: History, rng: Random) -> History | None:
    """It has it in the history; what is left out is that."""
    last = views_of(history)[-1]
    late = [i for i in deliveries(history) if message_at(history, i).view == last.id]
    own = [i for i in late if message_at(history, i).sender == message_at(history, i).process]
    i = one_of(rng, [i for i in own if message_at(history, i).process in hosts_of(last, message_at(history, i).group)])
    if i is None:
        return None
    process = message_at(history, i).process
    return [*without(history, i), AskedToLeave(process), Stopped(process, crashed=False, left=True)]
