"""A diagram as data: where everything is, in lanes and nanoseconds; how that becomes millimetres is a renderer's matter.

Lists are in the order of time.  A lane is an index into `Diagram.lanes`, a line one into `Diagram.lines` (-1: none, or
not in this part of the run), a text one into `Diagram.texts`, a group one into `Diagram.groups`.
"""

import msgspec

FAMILIES = ("data", "row", "membership", "transfer", "client", "other")
"""Families of messages, each drawn in a colour of its own: what is multicast; what acknowledges it, which are also the
signs of life; what changes views; what transfers state; what clients and nodes say to each other; and the rest."""

SORTS = ("deliver", "stable", "install", "state", "call", "start", "crash", "pause", "resume", "out", "note", "failure")
"""Sorts of marks on a process's line."""

ARRIVED, LOST, UNDER_WAY = "arrived", "lost", "under way"
"""How an arrow ends."""


class Span(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of time."""

    begin_ns: int
    end_ns: int


class Lane(msgspec.Struct, frozen=True, array_like=True):
    """A process: when it ran, and when it was paused."""

    name: str
    lives: tuple[Span, ...]
    pauses: tuple[Span, ...]


class Kind(msgspec.Struct, frozen=True, array_like=True):
    """A kind of message, and how many arrows it has."""

    name: str
    family: str
    count: int


class Arrow(msgspec.Struct, frozen=True, array_like=True):
    """A copy of a message.  `target` -1: nobody.  `copy`: 0 for the first, then 1, ...  `message`: the same for all.

    sent, asked, taken: the lines at which it left, was made, and was dealt with.  why: a text, -1 unless it was lost.
    """

    begin_ns: int
    end_ns: int
    source: int
    target: int
    kind: int
    groups: tuple[int, ...]
    text: int
    fate: str
    why: int
    copy: int
    message: int
    sent: int
    asked: int
    taken: int


class Point(msgspec.Struct, frozen=True, array_like=True):
    """Where a cut crosses a lane."""

    lane: int
    at_ns: int
    line: int


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """A view: everything left of it was before, at each process that installed it.  Points are in the order of lanes."""

    view: str
    label: str
    text: int
    points: tuple[Point, ...]


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """Something on a lane.  group -1: none in particular."""

    at_ns: int
    lane: int
    sort: str
    group: int
    text: int
    line: int


class State(msgspec.Struct, frozen=True, array_like=True):
    """A process's state from then on."""

    at_ns: int
    lane: int
    view: str
    status: str
    text: int


class Trouble(msgspec.Struct, frozen=True, array_like=True):
    """A fault while it lasts.  `row`: no two that overlap have the same.  `sides`: lanes, by who can talk to whom."""

    begin_ns: int
    end_ns: int
    kind: str
    text: int
    row: int
    sides: tuple[tuple[int, ...], ...]
    lanes: tuple[int, ...]


class Line(msgspec.Struct, frozen=True, array_like=True):
    """A line of the trace.  lane -1: the world's."""

    at_ns: int
    lane: int
    text: str


class Diagram(msgspec.Struct, frozen=True):
    """See the module's text."""

    title: str
    subtitle: str
    since_ns: int
    until_ns: int
    lanes: tuple[Lane, ...]
    groups: tuple[str, ...]
    kinds: tuple[Kind, ...]
    arrows: tuple[Arrow, ...]
    cuts: tuple[Cut, ...]
    marks: tuple[Mark, ...]
    states: tuple[State, ...]
    troubles: tuple[Trouble, ...]
    lines: tuple[Line, ...]
    texts: tuple[str, ...]
