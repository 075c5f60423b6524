"""A group history, indexed once: who was in which view, held which state, and sent and delivered what and when.

This module gathers facts and judges nothing; `views`, `deliveries`, `orders` and `states` hold the properties.  All of
it belongs to one cluster: `groups` takes a history of several apart first.

The test application's state is the sequence of payloads it has delivered, so what a process holds of a group is one
sequence, a `Log`: the state that it founded (empty) or got by transfer, and what it delivered since.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from phalanx.model.history import AskedToLeave, GroupEvent, SawFounding, SawMessage, SawState, SawView, Sent, Stopped
from phalanx.model.view import GroupId, GroupSpec, Member, View

Position = int
"""Index of an event in the history that was given to the checker."""

OUTSIDE = -1
"""The stay of a payload that was sent by a process that did not host the group."""


class Violation(NamedTuple):
    """A property that the history breaks, and where."""

    property: str
    """Name of the function that states the property."""
    text: str
    """What happened, for a reader: processes, group, view, message."""
    positions: tuple[Position, ...]
    """The events concerned, as indices into the history."""

    def __str__(self) -> str:
        return f"{self.property}: {self.text} (events {', '.join(map(str, self.positions))})"


@dataclass(slots=True, eq=False)
class Installation:
    """One process in one view, from its installation to that of the next."""

    process: Member
    view: View
    position: Position
    hosts: frozenset[GroupId]
    """Groups of which the process is a full host in this view."""
    learns: frozenset[GroupId]
    """Groups of which it is a learner."""
    previous: "Installation | None"
    next: "Installation | None" = None

    @property
    def successor(self) -> "Installation | None":
        """The installation of the direct successor of this view by the same process."""
        return self.next if self.next is not None and self.next.view.id == self.view.id + 1 else None

    def takes_part(self, group: GroupId) -> bool:
        return group in self.hosts or group in self.learns


@dataclass(slots=True, eq=False)
class Log:
    """What one process holds of a group: a state, and the deliveries that followed."""

    process: Member
    group: GroupId
    position: Position
    """Of the founding or transfer that began it."""
    state: tuple[bytes, ...] | None
    """What was transferred; None for a founder."""
    held: dict[bytes, Position]
    """The payloads in order, with the event that brought each."""


@dataclass(slots=True, eq=False)
class Stretch:
    """The part of a log that was delivered in one view."""

    installation: Installation
    log: Log
    begin: int
    """Number of payloads held when the view began, or when the state came in mid view."""
    end: int = -1
    transferred: bool = False
    """The state came in mid view."""
    complete: bool = False
    """It lasted until the process installed its next view (and was not cut short by a stop or another state)."""

    @property
    def delivered(self) -> set[bytes]:
        return set(islice(self.log.held, self.begin, self.end))

    @property
    def held_at_end(self) -> set[bytes]:
        return set(islice(self.log.held, self.end))


class Send(NamedTuple):
    """A payload that was sent."""

    position: Position
    sender: Member
    group: GroupId
    payload: bytes
    number: int
    """Among all that this process sent to the group."""
    stay: int
    """Which of the sender's uninterrupted times in the group, or `OUTSIDE`."""
    place: int
    """Among what was sent in that stay."""
    log: Log | None
    """What the sender held ..."""
    seen: int
    """... and how many payloads of it."""
    installed: int
    """Highest id of a view that any process had installed by then."""


class Delivery(NamedTuple):
    """A payload that was delivered."""

    position: Position
    event: SawMessage
    installation: Installation | None
    """Where the process was; None before its first view."""
    log: Log | None
    """The log that the payload went into; None if the process had no state of that group."""
    repeated: bool
    """The log had it already."""


@dataclass(slots=True, eq=False)
class _Process:
    """A process while the history is read."""

    installation: Installation | None = None
    logs: dict[GroupId, Log] = field(default_factory=dict)
    stretches: dict[GroupId, Stretch] = field(default_factory=dict)
    asked: Position | None = None
    """When it first asked to leave."""
    stopped: Position | None = None


class Observed:
    """The index.  Reading the events costs time linear in their number and in the size of the transferred states."""

    def __init__(self, events: Iterable[tuple[Position, GroupEvent]]) -> None:
        self.installations: list[Installation] = []
        self.views: dict[int, Installation] = {}
        """The first installation of every view, by the view's id."""
        self.deliveries: list[Delivery] = []
        self.sends: dict[tuple[GroupId, bytes], Send] = {}
        self.logs: dict[GroupId, list[Log]] = {}
        self.stretches: list[Stretch] = []
        self.transfers: list[tuple[Position, SawState, Installation | None]] = []
        self.foundings: list[tuple[Position, SawFounding, Installation | None, bool]] = []
        """With whether the process held the group already."""
        self.after_stop: list[tuple[Position, GroupEvent, Position]] = []
        """Events of processes that had stopped at the second position; they are in no other list."""
        self.leavers: dict[Member, Position] = {}
        """Processes that left, with the place at which they had first asked to."""
        self._processes: dict[Member, _Process] = {}
        self._sent: dict[tuple[Member, GroupId], int] = {}
        self._placed: dict[tuple[Member, GroupId, int], int] = {}
        self._stays: dict[tuple[Member, GroupId], int] = {}
        self._highest = 0
        self._sequences: dict[Log, Sequence[bytes]] = {}
        for position, event in events:
            self._read(position, event)
        for process in self._processes.values():
            self._close(process.stretches)

    def _read(self, position: Position, event: GroupEvent) -> None:
        process = self._processes.get(event.process)
        if process is None:
            process = self._processes[event.process] = _Process()
        if process.stopped is not None:
            self.after_stop.append((position, event, process.stopped))
            return
        match event:
            case SawMessage():
                self._deliver(position, event, process)
            case Sent():
                self._send(position, event, process)
            case SawView():
                self._install(position, event, process)
            case SawState():
                self.transfers.append((position, event, process.installation))
                held = dict.fromkeys(event.payloads, position)
                self._begin(process, Log(event.process, event.group, position, event.payloads, held))
            case SawFounding():
                known = event.group in process.logs
                self.foundings.append((position, event, process.installation, known))
                self._begin(process, Log(event.process, event.group, position, None, {}))
            case AskedToLeave():
                process.asked = position if process.asked is None else process.asked
            case Stopped():
                process.stopped = position
                if event.left and process.asked is not None:
                    self.leavers[event.process] = process.asked

    def _send(self, position: Position, event: Sent, process: _Process) -> None:
        member, group, payload = event
        inside = process.installation is not None and process.installation.takes_part(group)
        stay = self._stays.get((member, group), 0) if inside else OUTSIDE
        number = self._sent.get((member, group), 0)
        place = self._placed.get((member, group, stay), 0)
        self._sent[member, group] = number + 1
        self._placed[member, group, stay] = place + 1
        log = process.logs.get(group)
        seen = len(log.held) if log is not None else 0
        send = Send(position, member, group, payload, number, stay, place, log, seen, self._highest)
        self.sends.setdefault((group, payload), send)

    def _deliver(self, position: Position, event: SawMessage, process: _Process) -> None:
        log = process.logs.get(event.group)
        repeated = log is not None and event.payload in log.held
        self.deliveries.append(Delivery(position, event, process.installation, log, repeated))
        if log is not None and not repeated:
            log.held[event.payload] = position

    def _install(self, position: Position, event: SawView, process: _Process) -> None:
        member, view = event
        listed = view.named(member.name) == member
        hosts = frozenset(g.id for g in view.groups if member.name in g.hosts) if listed else frozenset()
        learns = frozenset(g.id for g in view.groups if member.name in g.learners) if listed else frozenset()
        previous = process.installation
        installation = Installation(member, view, position, hosts, learns, previous)
        self.installations.append(installation)
        self.views.setdefault(view.id, installation)
        self._highest = max(self._highest, view.id)
        self._close(process.stretches, complete=True)
        if previous is not None:
            previous.next = installation
            for group in (previous.hosts | previous.learns) - hosts - learns:
                self._stays[member, group] = self._stays.get((member, group), 0) + 1
        process.installation = installation
        process.stretches = {}
        process.logs = {group: log for group, log in process.logs.items() if installation.takes_part(group)}
        for group, log in process.logs.items():
            process.stretches[group] = Stretch(installation, log, len(log.held))

    def _begin(self, process: _Process, log: Log) -> None:
        if log.group in process.logs:
            self._close({log.group: process.stretches.pop(log.group)} if log.group in process.stretches else {})
        self.logs.setdefault(log.group, []).append(log)
        process.logs[log.group] = log
        if process.installation is not None:
            transferred = log.state is not None
            process.stretches[log.group] = Stretch(process.installation, log, len(log.held), transferred=transferred)

    def _close(self, stretches: dict[GroupId, Stretch], complete: bool = False) -> None:
        for stretch in stretches.values():
            stretch.end = len(stretch.log.held)
            stretch.complete = complete
            self.stretches.append(stretch)

    @cached_property
    def ordered_views(self) -> list[View]:
        """Every view that was installed, by id."""
        return [self.views[i].view for i in sorted(self.views)]

    @cached_property
    def first_views(self) -> dict[GroupId, View]:
        """The first view that has the group."""
        first: dict[GroupId, View] = {}
        for view in self.ordered_views:
            for group in view.groups:
                first.setdefault(group.id, view)
        return first

    @cached_property
    def specs(self) -> dict[GroupId, GroupSpec]:
        """What each group is, by the first view that has it."""
        specs: dict[GroupId, GroupSpec] = {}
        for view in self.ordered_views:
            for group in view.groups:
                specs.setdefault(group.id, group.spec)
        return specs

    @cached_property
    def first_deliveries(self) -> dict[tuple[GroupId, bytes], Delivery]:
        """Who delivered the payload first."""
        first: dict[tuple[GroupId, bytes], Delivery] = {}
        for delivery in self.deliveries:
            first.setdefault((delivery.event.group, delivery.event.payload), delivery)
        return first

    @cached_property
    def entries(self) -> dict[tuple[int, GroupId], list[Stretch]]:
        """For each view and group: how those who go on directly to the next view, there as full hosts, ended it."""
        entries: dict[tuple[int, GroupId], list[Stretch]] = {}
        for stretch in self.stretches:
            successor = stretch.installation.successor
            if successor is not None and stretch.complete and stretch.log.group in successor.hosts:
                entries.setdefault((stretch.installation.view.id, stretch.log.group), []).append(stretch)
        return entries

    def current(self, process: Member) -> tuple[Installation | None, dict[GroupId, Log]]:
        """Where a process is at the end of the history and what it holds."""
        found = self._processes.get(process)
        return (found.installation, found.logs) if found is not None else (None, {})

    def last_hosted(self, process: Member, group: GroupId) -> View | None:
        """The last view in which the process is a full host of the group."""
        found = self._processes.get(process)
        installation = found.installation if found is not None else None
        while installation is not None and group not in installation.hosts:
            installation = installation.previous
        return installation.view if installation is not None else None

    def stay(self, process: Member, group: GroupId) -> int:
        """The number of the process's present stay in the group."""
        return self._stays.get((process, group), 0)

    def sequence(self, log: Log) -> Sequence[bytes]:
        """The payloads of a log, in order."""
        found = self._sequences.get(log)
        if found is None:
            found = self._sequences[log] = tuple(log.held)
        return found

    def branches(self, group: GroupId) -> Iterator[Log]:
        """The logs of a group that are not the beginning of a log given before: every sequence is judged only once."""
        given: list[Sequence[bytes]] = []
        for log in sorted(self.logs.get(group, ()), key=lambda log: -len(log.held)):
            sequence = self.sequence(log)
            size = len(sequence)
            if any(not size or (longer[size - 1] == sequence[-1] and longer[:size] == sequence) for longer in given):
                continue
            given.append(sequence)
            yield log
