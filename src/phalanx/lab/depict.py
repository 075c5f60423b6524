"""From the recording of a simulated run to a chronicle that can be drawn: here is what the protocol's messages mean."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from phalanx.diagram import chronicle as told
from phalanx.diagram.chronicle import Chronicle, Happening, Marked
from phalanx.group import messages as group_messages
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Ack, Alive, Chunk, Data, Envelope, Fetch, Pull, Row
from phalanx.model.events import (
    Delivered,
    Excluded,
    Founded,
    GroupLost,
    GroupSuspended,
    Installed,
    Refusal,
    Restored,
)
from phalanx.model.machine import Note
from phalanx.model.view import GroupId, Name, View
from phalanx.node.node import Node as Machinery
from phalanx.replication import messages as client_messages
from phalanx.sim import faults
from phalanx.sim.faults import Fault, end_ns
from phalanx.sim.node import Node
from phalanx.sim.recording import Failed, Flight, HandedOver, Recording, Stepped, Told
from phalanx.sim.run import Result
from phalanx.sim.taxonomy import term

TEXT_MAX = 300
"""Characters of a message that are shown."""

NOTES = (
    "suspects",
    "gone",
    "excluded",
    "fault",
    "clock.refused",
    "clock.wrong",
    "time.ahead",
    "lag",
    "unresponsive",
    "group.lost",
    "group.suspended",
)
"""Notes of the machines that are worth a mark."""

_ENVELOPE = re.compile(r"Envelope\(cluster=\d+, sender=Member\(name='[^']*', address='[^']*', incarnation=\d+\), body=")
"""What begins every message between nodes, and hides what it says."""

_MEMBERSHIP = frozenset(
    f"{kind.__name__}"
    for kind in (
        group_messages.Wish,
        group_messages.Refuse,
        group_messages.RefuseHost,
        group_messages.Prepare,
        group_messages.Promise,
        group_messages.Nack,
        group_messages.Gather,
        group_messages.Held,
        group_messages.Accept,
        group_messages.Accepted,
        group_messages.Commit,
        group_messages.Superseded,
    )
)


class GroupLook(NamedTuple):
    """One group at a node.  `stable`: of each host, up to which batch."""

    name: str
    role: str
    hosts: tuple[Name, ...]
    stable: tuple[int, ...]


class NodeLook(NamedTuple):
    """What is shown of a node's state."""

    view: View | None
    status: str
    suspects: tuple[Name, ...]
    groups: tuple[GroupLook, ...]


def look(node: Node) -> NodeLook | None:
    """For `Recording`.  None for machines that are in no view, as clients are."""
    machine = node.machine.group if isinstance(node.machine, Machinery) else node.machine
    if not isinstance(machine, GroupMachine):
        return None
    view, name = machine.view, machine.me.name
    if view is None:
        return NodeLook(None, "out", (), ())
    status = "learner" if view.rank(name) < 0 else "fenced" if machine.is_fenced else "member"
    groups = tuple(
        GroupLook(
            group.spec.name,
            "host" if name in group.hosts and machine.is_synced(group.id) else "learner",
            group.hosts,
            machine.stable(group.id),
        )
        for group in view.groups
        if name in group.everyone
    )
    return NodeLook(view, status, tuple(sorted(machine.suspects)), groups)


def depict(recording: Recording, result: Result, scenario: str) -> Chronicle:
    """What the recording of that run (of the scenario of that name) tells."""
    return _Depiction(recording, result, scenario).chronicle()


class _Depiction:
    def __init__(self, recording: Recording, result: Result, scenario: str) -> None:
        self._recording = recording
        self._result = result
        self._scenario = scenario
        told_of = [entry for entry in recording.entries if isinstance(entry, Told)]
        started = sorted({entry.detail[0] for entry in told_of if entry.what == "start"})
        self._names: list[Name] = list(dict.fromkeys((*result.plan.names, *started)))
        self._groups: dict[GroupId, str] = {}
        self._clusters: dict[int, str] = {}
        """A letter for each, if there are several."""
        for entry in recording.entries:
            if isinstance(entry, HandedOver) and isinstance(entry.delivery, Installed):
                self._learn(entry.delivery.view)
        self._looks: dict[Name, NodeLook] = {}
        self._looked_at = {e.node for e in recording.entries if isinstance(e, Stepped) and e.state is not None}
        self._heal_ns = next((entry.at_ns for entry in told_of if entry.what == "heal"), result.virtual_ns)

    def _learn(self, view: View) -> None:
        self._groups.update((group.id, group.spec.name) for group in view.groups)
        self._clusters.setdefault(view.cluster, "abcdefghijklmnopqrstuvwxyz"[len(self._clusters) % 26])

    def chronicle(self) -> Chronicle:
        happenings: list[Happening] = [*map(self._message, self._recording.flights)]
        for entry in self._recording.entries:
            match entry:
                case Told():
                    happenings += self._told(entry)
                case Stepped():
                    happenings += self._stepped(entry)
                case HandedOver():
                    happenings += self._handed_over(entry)
                case Failed(at_ns, line, kind, text):
                    happenings.append(Marked(at_ns, line, "", "failure", "", f"{kind}: {text}"))
        happenings.sort(key=lambda happening: happening.at_ns)
        result = self._result
        wrong = "; ".join(map(str, result.failures)) or (f"stuck: {result.stuck}" if result.stuck is not None else "ok")
        cut = "" if not self._recording.full else f", of which the first {len(self._recording.lines)} lines are here"
        return Chronicle(
            f"{self._scenario}, seed {result.seed}",
            f"{len(self._names)} processes, {result.steps} steps{cut}: {wrong}",
            tuple(self._names),
            tuple(self._lines()),
            tuple(happenings),
        )

    def _lines(self) -> Iterator[told.Line]:
        """(What the world does to a process is that process's.)"""
        struck = {e.line: e.detail[0] for e in self._recording.entries if isinstance(e, Told) and e.detail}
        for number, (at_ns, node, text) in enumerate(self._recording.lines):
            name = node or struck.get(number)
            yield told.Line(at_ns, name if name in self._names else "", _ENVELOPE.sub("", text))

    # --- messages

    def _message(self, flight: Flight) -> Happening:
        message = flight.received.message
        body = message.body if isinstance(message, Envelope) else message
        return told.Message(
            flight.sent_ns,
            flight.line,
            flight.asked,
            flight.source,
            flight.target,
            type(body).__name__,
            family(body),
            self._concerned(body),
            _short(body),
            tuple(told.Arrival(at_ns, -1 if line is None else line) for at_ns, line in flight.arrivals),
            tuple(told.Loss(at_ns, why) for at_ns, why in flight.losses),
            flight.copies - len(flight.arrivals) - len(flight.losses),
        )

    def _concerned(self, body: Any) -> tuple[str, ...]:
        match body:
            case Data() | Ack() | Chunk() | Fetch() | Pull():
                return (self._name(body.group),)
            case Row():
                return tuple(self._name(row.group) for row in body.groups)
            case _:
                group = getattr(body, "group", None)
                return (group,) if isinstance(group, str) else ()

    def _name(self, group: GroupId) -> str:
        return self._groups.get(group, f"group {group}")

    # --- what the world does

    def _told(self, entry: Told) -> Iterator[Happening]:
        at_ns, line, what, detail = entry
        match what, detail:
            case "start", (str(name), *_):
                self._looks.pop(name, None)
                yield told.Started(at_ns, line, name, " ".join(map(str, detail[1:])))
                if name in self._looked_at:
                    yield told.Stood(at_ns, name, "", "out", "begins")
            case (("crash" | "power off"), (str(name), *_)):
                yield told.Stopped(at_ns, line, name, what)
            case (("pause" | "resume"), (str(name), *_)):
                yield told.Paused(at_ns, line, name, what == "pause")
            case "fault", (_, fault):
                if not isinstance(fault, faults.Killing) and end_ns(fault) > fault.at_ns:  # else it is told by itself
                    yield self._trouble(at_ns, fault)
            case "call", (str(name), wanted):
                yield Marked(at_ns, line, name, "call", "", _short(wanted))
            case "call skipped", _:
                pass  # nobody was there to make it: the trace says so
            case _, (str(name), *_) if name in self._names:
                yield Marked(at_ns, line, name, "note", "", " ".join((what, *map(str, detail[1:]))))
            case _:
                yield Marked(at_ns, line, "", "note", "", " ".join((what, *map(str, detail))))

    def _trouble(self, at_ns: int, fault: Fault) -> Happening:
        names = self._result.plan.names
        sides: tuple[tuple[Name, ...], ...] = ()
        struck: Sequence[int] = ()
        match fault:
            case faults.Partition(groups=groups):
                alone = tuple((n,) for n in range(len(names)) if not any(n in group for group in groups))
                sides = tuple(tuple(names[n] for n in group if n < len(names)) for group in (*groups, *alone))
                text = " | ".join(" ".join(side) for side in sides if side)
            case faults.OneWay(sources=sources, targets=targets):
                struck = (*sources, *targets)
                text = f"nothing from {_at(names, sources)} to {_at(names, targets)}"
            case faults.Flap(a=a, b=b) | faults.SlowLink(a=a, b=b):
                struck = (a, b)
                text = f"{_at(names, (a,))} – {_at(names, (b,))}"
            case faults.Loss(loss=loss, duplicate=duplicate):
                text = f"{loss:.0%} lost, {duplicate:.0%} doubled"
            case faults.Ring():
                text = "each is cut off from the next"
            case faults.Collusion(nodes=several, victims=victims):
                struck = several
                text = f"{_at(names, several)} against {_at(names, victims)}"
            case _:
                node = getattr(fault, "node", None)
                struck = () if node is None else (node,)
                text = _at(names, struck)
        kind = type(fault).__name__
        until = max(at_ns, min(at_ns + end_ns(fault) - fault.at_ns, self._heal_ns))
        concerned = tuple(dict.fromkeys(names[n] for n in struck if n < len(names)))
        return told.Trouble(at_ns, until, kind, f"{term(fault)}: {kind} {text}: {_short(fault)}", sides, concerned)

    # --- what nodes do

    def _stepped(self, entry: Stepped) -> Iterator[Happening]:
        for note in entry.notes:
            if note.what in NOTES:
                yield Marked(entry.at_ns, entry.line, entry.node, _sort(note), "", str(note))
        now = entry.state
        if isinstance(now, NodeLook):
            before = self._looks.get(entry.node)
            for group, text in _newly_stable(before, now):
                yield Marked(entry.at_ns, entry.line, entry.node, "stable", group, text)
            if before is None or _state_text(before) != _state_text(now):
                view = self._label(now.view) if now.view is not None else ""
                yield told.Stood(entry.at_ns, entry.node, view, now.status, _state_text(now))
            self._looks[entry.node] = now

    def _handed_over(self, entry: HandedOver) -> Iterator[Happening]:
        at_ns, line, node, delivery = entry

        def mark(sort: str, group: str, text: str) -> Marked:
            return Marked(at_ns, line, node, sort, group, text)

        match delivery:
            case Installed(view):
                text = f"{self._label(view)}: {_members(view)}"
                yield told.Installed(at_ns, line, node, f"{view.cluster:x}.{view.id}", self._label(view), text)
            case Delivered(group, view_id, sender, _, payloads):
                what = " ".join(repr(bytes(payload))[1:] for payload in payloads)
                name = self._name(group)
                yield mark("deliver", name, _cut(f"{name}: {len(payloads)} from {sender} in view {view_id}: {what}"))
            case Founded(group):
                yield mark("state", self._name(group), f"{self._name(group)} begins empty")
            case Restored(group):
                yield mark("state", self._name(group), f"{self._name(group)}: state transferred")
            case GroupLost(_, spec) | GroupSuspended(_, spec):
                yield mark("out", spec.name, f"{type(delivery).__name__} {spec.name}")
            case Excluded(_, reason):
                yield mark("out", "", f"excluded: {reason}")
            case Refusal(reason):
                yield mark("note", "", f"refused: {reason}")
            case _ if type(delivery).__module__ != Installed.__module__:
                yield mark("deliver", "", _short(delivery))

    def _label(self, view: View) -> str:
        cluster = self._clusters.get(view.cluster, "") if len(self._clusters) > 1 else ""
        return f"V{view.id}{cluster}"


def family(body: Any) -> str:
    """The family (`diagram.model.FAMILIES`) of a message."""
    name = type(body).__name__
    match body:
        case Data():
            return "data"
        case Row() | Ack() | Alive():
            return "row"
        case Fetch() | Chunk() | Pull():
            return "transfer"
        case _ if isinstance(body, client_messages.ClientMessage):
            return "client"
        case _:
            return "membership" if name in _MEMBERSHIP else "other"


def _sort(note: Note) -> str:
    return "out" if note.what in ("excluded", "group.lost", "group.suspended") else "note"


def _newly_stable(before: NodeLook | None, now: NodeLook) -> Iterator[tuple[str, str]]:
    """Of each group what this node has learnt to be stable: the group, and a text."""
    same = before is not None and before.view == now.view
    known = {group.name: group.stable for group in before.groups} if before is not None and same else {}
    for group in now.groups:
        old = known.get(group.name, (0,) * len(group.stable))
        if len(old) == len(group.stable) == len(group.hosts):
            grown = [
                f"{h} up to {new}" for h, new, was in zip(group.hosts, group.stable, old, strict=True) if new > was
            ]
            if grown:
                yield group.name, f"{group.name}: stable {', '.join(grown)}"


def _state_text(state: NodeLook) -> str:
    """Without what changes with each message."""
    if state.view is None:
        return "in no view"
    groups = "; ".join(f"{group.role} of {group.name}" for group in state.groups)
    suspects = f"; suspects {' '.join(state.suspects)}" if state.suspects else ""
    return (
        f"{state.status} in view {state.view.id} of {_members(state.view)}{suspects}{f'; {groups}' if groups else ''}"
    )


def _members(view: View) -> str:
    learners = f" + {' '.join(member.name for member in view.learners)}" if view.learners else ""
    return " ".join(member.name for member in view.members) + learners


def _at(names: Sequence[Name], places: Sequence[int]) -> str:
    return " ".join(names[place] for place in places if place < len(names))


def _short(value: Any) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}…"
