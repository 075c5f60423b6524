"""A path for readers: one line for each action, and under it what the applications saw."""

from collections.abc import Iterator
from typing import Any

from phalanx.group.messages import (
    Accept,
    Accepted,
    Ack,
    Alive,
    Commit,
    Data,
    Decision,
    Gather,
    Nack,
    Prepare,
    Promise,
    Row,
)
from phalanx.lab.explore.members import State
from phalanx.lab.explore.scenarios import NAMES
from phalanx.model.history import AskedToLeave, GroupEvent, SawFounding, SawMessage, SawState, SawView, Sent, Stopped
from phalanx.model.view import View


def say_message(body: Any) -> str:
    """What a message says, as far as it matters to a view change."""
    match body:
        case Data():
            payloads = " ".join(p.decode() for p in body.payloads)
            return f"DATA {NAMES[body.author]}:{body.number} ({payloads})"
        case Row():
            received = " ".join(_vector(row.received) for row in body.groups)
            return f"ROW received {received or 'unchanged'}{_suspects(body.suspects)}"
        case Ack():
            return f"ACK received {_vector(body.received)}"
        case Alive():
            promised = f", promised {body.promised}" if body.promised is not None else ""
            return f"ALIVE in view {body.view}{promised}{_suspects(body.suspects)}"
        case Prepare():
            return f"PREPARE {body.ballot}"
        case Promise():
            accepted = f", accepted {say_decision(body.accepted.value)}" if body.accepted is not None else ""
            received = " ".join(_vector(progress.received) for progress in body.progress)
            return f"PROMISE {body.ballot}, received {received or 'unknown'}{accepted}"
        case Nack():
            return f"NACK {body.ballot}"
        case Gather():
            return f"GATHER {body.ballot}, " + " ".join(_vector(cut.upto) for cut in body.cuts)
        case Accept() | Accepted():
            return f"{type(body).__name__.upper()} {body.ballot}, {say_decision(body.value)}"
        case Commit():
            return f"COMMIT {say_decision(body.value)}"
        case _:
            return type(body).__name__.upper()


def say_decision(decision: Decision) -> str:
    """The view, and what belongs to the one before."""
    cuts = " ".join(_vector(cut.upto) for cut in decision.cuts)
    return f"{say_view(decision.view)}, cut {cuts or 'nothing'}"


def say_view(view: View) -> str:
    """Its number and members."""
    learners = " + " + " ".join(map(str, view.learners)) if view.learners else ""
    return f"view {view.id} of {' '.join(map(str, view.members))}{learners}"


def say_changes(before: State, after: State) -> Iterator[str]:
    """What an application saw between these two states of one member."""
    for event in after.history[len(before.history) :]:
        yield f"      {_say_event(event)}"


def _say_event(event: GroupEvent) -> str:
    match event:
        case SawView(process, view):
            return f"{process} installs {say_view(view)}"
        case SawMessage(process, _, view, _, payload):
            return f"{process} delivers {payload.decode()} in view {view}"
        case SawState(process, _, payloads):
            return f"{process} gets the state {b' '.join(payloads).decode() or 'of nothing'}"
        case SawFounding(process, group):
            return f"{process} founds group {group}"
        case Sent(process, _, payload):
            return f"{process} multicasts {payload.decode()}"
        case AskedToLeave(process):
            return f"{process} asks to leave"
        case Stopped(process, crashed):
            return f"{process} {'crashes' if crashed else 'is told that it is out'}"


def _vector(numbers: tuple[int, ...]) -> str:
    return "/".join(map(str, numbers))


def _suspects(mask: int) -> str:
    names = [name for place, name in enumerate(NAMES) if mask >> place & 1]
    return f", suspects {' '.join(names)}" if names else ""
