"""What happened, for a diagram: plain values and texts, so that a simulated run or a recorded real one can give it.

Times are nanoseconds since some beginning.  `line` is an index into `Chronicle.lines`, the trace that people read; -1:
there is none.  Everything is in the order of time.  A process has the same name in each of its lives.
"""

import msgspec


class Line(msgspec.Struct, frozen=True, array_like=True):
    """A line of the trace.  `process`: whose, "" for the world's."""

    at_ns: int
    process: str
    text: str


class Started(msgspec.Struct, frozen=True, tag="started"):
    """The process began, for the first time or again."""

    at_ns: int
    line: int
    process: str
    text: str


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """The process ended, as it does in a crash."""

    at_ns: int
    line: int
    process: str
    text: str


class Paused(msgspec.Struct, frozen=True, tag="paused"):
    """The process was stopped as by SIGSTOP, or (`on` False) went on.  Pauses nest."""

    at_ns: int
    line: int
    process: str
    on: bool = True


class Arrival(msgspec.Struct, frozen=True, array_like=True):
    """A message, or a copy of it, came at that time, and was dealt with at that line."""

    at_ns: int
    line: int


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """A message, or a copy of it, was lost."""

    at_ns: int
    why: str


class Message(msgspec.Struct, frozen=True, tag="message"):
    """One message to one process.  Each copy of it is in `arrivals` or `losses`, or counts as `under_way` at the end.

    kind, family: what it is ("Prepare"), and the colour that it is drawn in (`model.FAMILIES`).
    groups: that it concerns; none: the cluster as a whole.  target: "" for one that nobody has.
    line: where it left; asked: where it was made, which differs if it had to wait for a write.
    """

    at_ns: int
    line: int
    asked: int
    source: str
    target: str
    kind: str
    family: str
    groups: tuple[str, ...]
    text: str
    arrivals: tuple[Arrival, ...] = ()
    losses: tuple[Loss, ...] = ()
    under_way: int = 0


class Installed(msgspec.Struct, frozen=True, tag="installed"):
    """The process installed a view.  `view`: its identity, `label`: what people call it."""

    at_ns: int
    line: int
    process: str
    view: str
    label: str
    text: str


class Marked(msgspec.Struct, frozen=True, tag="marked"):
    """Something at one process.  `sort` is one of `model.SORTS`; `group`: "" if it concerns none."""

    at_ns: int
    line: int
    process: str
    sort: str
    group: str
    text: str


class Stood(msgspec.Struct, frozen=True, tag="stood"):
    """The process's state, from now until its next.  `status`: a word or two."""

    at_ns: int
    process: str
    view: str
    status: str
    text: str


class Trouble(msgspec.Struct, frozen=True, tag="trouble"):
    """A fault that lasts.  `sides`: who can still talk to whom, where it divides; `processes`: whom else it strikes."""

    at_ns: int
    until_ns: int
    kind: str
    text: str
    sides: tuple[tuple[str, ...], ...] = ()
    processes: tuple[str, ...] = ()


Happening = Started | Stopped | Paused | Message | Installed | Marked | Stood | Trouble


class Chronicle(msgspec.Struct, frozen=True):
    """See the module's text.  `processes` are in the order in which they are drawn."""

    title: str
    subtitle: str
    processes: tuple[str, ...]
    lines: tuple[Line, ...]
    happenings: tuple[Happening, ...]
