"""Bugs to plant in a correct group history: those of states, of their transfer and of durability (see `planted`)."""

from random import Random

from phalanx.model.history import SawFounding, SawMessage, SawState, SawView, Sent
from tests.check.editing import (
    History,
    changed,
    deliveries,
    durable,
    goes_on,
    message_at,
    of_one_host,
    one_of,
    promoted_with,
    spec_is_uniform,
    state_at,
)
from tests.check.planted import STRANGER


def a_group_is_founded_again(history: History, rng: Random) -> History | None:
    i = one_of(rng, [i for i, e in enumerate(history) if isinstance(e, SawState)])
    return None if i is None else changed(history, i, SawFounding(history[i].process, state_at(history, i).group))


def a_stranger_founds_a_group(history: History, rng: Random) -> History | None:
    foundings = [e for e in history if isinstance(e, SawFounding)]
    return [*history, SawFounding(STRANGER, rng.choice(foundings).group)]


def a_state_lacks_a_message(history: History, rng: Random) -> History | None:
    states = [i for i, e in enumerate(history) if isinstance(e, SawState) and e.payloads and promoted_with(history, i)]
    i = one_of(rng, states)
    return (
        None
        if i is None
        else changed(history, i, state_at(history, i)._replace(payloads=state_at(history, i).payloads[1:]))
    )


def a_state_is_ahead_of_all_deliveries(history: History, rng: Random) -> History | None:
    for i in (i for i, e in enumerate(history) if isinstance(e, SawState)):
        state = state_at(history, i)
        sent = [e.payload for e in history[:i] if isinstance(e, Sent) and e.group == state.group]
        delivered = {e.payload for e in history[:i] if isinstance(e, SawMessage)}
        if ahead := [payload for payload in sent if payload not in delivered]:
            return changed(history, i, state._replace(payloads=(*state.payloads, rng.choice(ahead))))
    return None


def a_learner_is_promoted_without_a_state(history: History, rng: Random) -> History | None:
    i = one_of(rng, [i for i, e in enumerate(history) if isinstance(e, SawState) and promoted_with(history, i)])
    return (
        None
        if i is None
        else [e for e in history if not (isinstance(e, SawState) and of_one_host(e, state_at(history, i)))]
    )


def a_durable_group_forgets_a_message(history: History, rng: Random) -> History | None:
    """Only one process ever delivered it, although others went on to the next view."""
    uniform = [i for i in deliveries(history) if spec_is_uniform(history, i)]
    i = one_of(rng, [i for i in uniform if goes_on(history, message_at(history, i))])
    if i is None:
        return None
    message = message_at(history, i)
    alone = [
        e if not isinstance(e, SawState) else e._replace(payloads=tuple(p for p in e.payloads if p != message.payload))
        for k, e in enumerate(history)
        if k == i or not isinstance(e, SawMessage) or e.payload != message.payload
    ]
    others = [e for e in history if isinstance(e, SawMessage) and e.payload == message.payload and goes_on(history, e)]
    return [durable(e, message.group) for e in alone] if len(others) > 1 else None


def a_message_has_too_few_copies(history: History, rng: Random) -> History | None:
    """It is delivered in a view where fewer hosts have it than the group asks for."""
    hosts = {(e.view.id, g.id): len(g.hosts) for e in history if isinstance(e, SawView) for g in e.view.groups}
    message = message_at(history, i) if (i := one_of(rng, list(deliveries(history)))) is not None else None
    if message is None or (message.view, message.group) not in hosts:
        return None
    return [durable(e, message.group, hosts[message.view, message.group] + 1) for e in history]
