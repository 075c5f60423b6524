"""A run, written down as values: what `trace` prints for people, for whoever draws it, and which message is which.

It only looks.  A run with a recording is the same run, to the last line of its trace.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from phalanx.model.machine import Note, Output, Received
from phalanx.model.view import Address, Name
from phalanx.sim.node import Node

ENTRIES_MAX = 200_000
"""Entries, flights and lines that a recording keeps, as many as a trace keeps: more than anybody looks at, and some
hundred megabytes.  When there are so many of one of them, nothing more is recorded, and `Recording.full` says so."""


class Line(NamedTuple):
    """A line of the trace, without time and name.  `node`: "" for what the world does."""

    at_ns: int
    node: Name
    text: str


class Told(NamedTuple):
    """The world did something: a start, a crash, a fault, ..."""

    at_ns: int
    line: int
    """Of the trace, counted from 0."""
    what: str
    detail: tuple[Any, ...]


class Stepped(NamedTuple):
    """A step of a node."""

    at_ns: int
    line: int
    node: Name
    notes: tuple[Note, ...]
    state: Any
    """What `look` saw after it, if that is something new; else None."""


class HandedOver(NamedTuple):
    """The application got a delivery."""

    at_ns: int
    line: int
    node: Name
    delivery: Any


class Failed(NamedTuple):
    """Something that must never happen."""

    at_ns: int
    line: int
    kind: str
    text: str


Entry = Told | Stepped | HandedOver | Failed


class Arrival(NamedTuple):
    """A copy of a message came to the target, and was taken at that line of the trace; None: the run was over before."""

    at_ns: int
    line: int | None


class Loss(NamedTuple):
    """A copy of a message did not come, or was never taken."""

    at_ns: int
    why: str


class Flight:
    """One message on its way to one target.  It has come or is lost as often as it has `copies`, or is under way at the
    end of the run."""

    __slots__ = ("address", "arrivals", "asked", "copies", "line", "losses", "received", "sent_ns", "source", "target")

    def __init__(self, source: Name, target: Name, address: Address, received: Received) -> None:
        self.source = source
        self.target = target
        """"" if nobody ever listened at the address."""
        self.address = address
        self.received = received
        """What the target gets: the same object as often as it comes."""
        self.sent_ns = 0
        self.line = 0
        """Where in the trace it left; ..."""
        self.asked = 0
        """... and the step that wanted it, which is another if it waited for a write."""
        self.copies = 1
        self.arrivals: list[Arrival] = []
        self.losses: list[Loss] = []

    @property
    def is_settled(self) -> bool:
        return len(self.arrivals) + len(self.losses) >= self.copies


class Recording:
    """Give one to `sim.run.run`, and read `entries` and `flights` afterwards; both are in the order of time.

    look: summarizes a node's state, to be compared with what it was; None says nothing.
    """

    def __init__(self, look: Callable[[Node], Any] | None = None, entries_max: int = ENTRIES_MAX) -> None:
        self.entries: list[Entry] = []
        self.flights: list[Flight] = []
        self.lines: list[Line] = []
        self.full = False
        """There was more than is kept."""
        self._look = look
        self._max = entries_max
        self._states: dict[Name, Any] = {}
        self._now = 0
        self._line = 0
        self._leaving = self._asked = 0
        """The lines of what is going out now, and of the step that wanted it."""
        self._under_way: dict[Name, list[Flight]] = {}
        """By target."""
        self._inboxes: dict[Name, list[Flight]] = {}
        """What has come to a node and has not been taken."""
        self._outboxes: dict[Name, list[tuple[Output, int]]] = {}
        """Outputs that wait for a write, and the lines of their steps."""

    # --- what the trace tells

    def wrote(self, now_ns: int, node: Name, text: str) -> None:
        """A line of the trace; what else is told until the next belongs to it."""
        self.full = self.full or len(self.lines) >= self._max
        if not self.full:
            self._now, self._line = now_ns, len(self.lines)
            self.lines.append(Line(now_ns, node, text))

    def told(self, what: str, detail: tuple[Any, ...]) -> None:
        """The world's doing."""
        self._keep(Told(self._now, self._line, what, detail))
        if what in ("crash", "power off"):
            name: Name = detail[0]
            self._outboxes.pop(name, None)
            self._states.pop(name, None)
            for flight in self._inboxes.pop(name, ()):
                place = next(at for at, arrival in enumerate(flight.arrivals) if arrival.line is None)
                del flight.arrivals[place]
                flight.losses.append(Loss(self._now, "its receiver ended before it took it"))

    def failed(self, kind: str, text: str) -> None:
        self._keep(Failed(self._now, self._line, kind, text))

    def stepped(self, node: Node, events: Sequence[Any], output: Output) -> None:
        """A step, whose line has just been written."""
        self._leaving = self._asked = self._line
        state = self._look(node) if self._look is not None else None
        if state == self._states.get(node.name):
            state = None
        else:
            self._states[node.name] = state
        self._keep(Stepped(self._now, self._line, node.name, tuple(output.notes), state))
        inbox = self._inboxes.get(node.name)
        for event in events if inbox else ():
            if type(event) is Received:
                self._take(inbox or [], event)
        if output.writes or node.outbox:
            self._outboxes.setdefault(node.name, []).append((output, self._line))

    def _take(self, inbox: list[Flight], received: Received) -> None:
        for place, flight in enumerate(inbox):
            if flight.received is received:
                del inbox[place]
                at = next(at for at, arrival in enumerate(flight.arrivals) if arrival.line is None)
                flight.arrivals[at] = flight.arrivals[at]._replace(line=self._line)
                return

    def released(self, node: Node, output: Output) -> None:
        """An output that waited for a write goes out now."""
        self._leaving = self._asked = self._line
        waiting = self._outboxes.get(node.name, [])
        for place, (other, line) in enumerate(waiting):
            if other is output:
                del waiting[: place + 1]
                self._asked = line
                return

    def handed_over(self, now_ns: int, node: Node, delivery: Any) -> None:
        """The application gets a delivery."""
        self._keep(HandedOver(now_ns, self._leaving, node.name, delivery))

    # --- what the network tells

    def sent(self, node: Node, target: Name, address: Address, received: Received) -> None:
        """A message leaves."""
        self.full = self.full or len(self.flights) >= self._max
        if self.full:
            return
        flight = Flight(node.name, target, address, received)
        flight.sent_ns, flight.line, flight.asked = self._now, self._leaving, self._asked
        self.flights.append(flight)
        self._under_way.setdefault(target, []).append(flight)

    def doubled(self, target: Name, received: Received) -> None:
        """It will come twice."""
        flight = self._find(target, received)
        if flight is not None:
            flight.copies += 1

    def arrived(self, now_ns: int, target: Name, received: Received) -> None:
        """It, or a copy of it, has come to the target, which is up."""
        flight = self._find(target, received)
        if flight is not None:
            flight.arrivals.append(Arrival(now_ns, None))
            self._inboxes.setdefault(target, []).append(flight)
            self._settle(flight)

    def lost(self, now_ns: int, target: Name, received: Received, why: str) -> None:
        """It, or a copy of it, will not come."""
        flight = self._find(target, received)
        if flight is not None:
            flight.losses.append(Loss(now_ns, why))
            self._settle(flight)

    def _find(self, target: Name, received: Received) -> Flight | None:
        """The flight of that very object (None: it is one too many to be kept)."""
        return next((flight for flight in self._under_way.get(target, ()) if flight.received is received), None)

    def _settle(self, flight: Flight) -> None:
        if flight.is_settled:
            self._under_way[flight.target] = [f for f in self._under_way[flight.target] if f is not flight]

    def _keep(self, entry: Entry) -> None:
        self.full = self.full or len(self.entries) >= self._max
        if not self.full:
            self.entries.append(entry)
