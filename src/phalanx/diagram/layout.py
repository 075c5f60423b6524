"""From what happened to a drawing: lanes, arrows, cuts, and which fault is drawn in which row."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import assert_never

from phalanx.diagram.chronicle import (
    Chronicle,
    Installed,
    Marked,
    Message,
    Paused,
    Started,
    Stood,
    Stopped,
    Trouble,
)
from phalanx.diagram.model import (
    ARRIVED,
    LOST,
    UNDER_WAY,
    Arrow,
    Cut,
    Diagram,
    Kind,
    Lane,
    Line,
    Mark,
    Point,
    Span,
    State,
)
from phalanx.diagram.model import Trouble as DrawnTrouble
from phalanx.errors import ConfigurationError

SHAPES_MAX = 250_000
"""Arrows, marks and lines of a diagram: a page of about 100 MB, which a browser still opens.  Above it the caller has to
choose a part of the run."""


class _Index:
    """Numbers for texts, in the order in which they come."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def __getitem__(self, text: str) -> int:
        return self.known.setdefault(text, len(self.known))


class _Life:
    """What is known of a process so far."""

    def __init__(self) -> None:
        self.lives: list[Span] = []
        self.pauses: list[Span] = []
        self.began: int | None = None
        self.paused_at: int | None = None
        self.depth = 0

    def end(self, at_ns: int) -> None:
        """A paused process that ends is paused no more, as far as can be seen."""
        if self.paused_at is not None and self.began is not None:
            self.pauses.append(Span(max(self.paused_at, self.began), at_ns))
        self.paused_at = None
        if self.began is not None:
            self.lives.append(Span(self.began, at_ns))
        self.began = None

    def pause(self, at_ns: int, on: bool) -> None:
        self.depth += 1 if on else -1
        if self.depth == 1 and on:
            self.paused_at = at_ns
        elif self.depth == 0 and self.paused_at is not None:
            if self.began is not None:
                self.pauses.append(Span(max(self.paused_at, self.began), at_ns))
            self.paused_at = None

    def begin(self, at_ns: int) -> None:
        self.began = at_ns
        if self.depth > 0:
            self.paused_at = at_ns


def lay_out(
    chronicle: Chronicle,
    *,
    since_ns: int = 0,
    until_ns: int | None = None,
    hidden: Iterable[str] = (),
) -> Diagram:
    """The diagram of the whole chronicle, or of what concerns that part of its time, without the kinds of messages in
    `hidden`.  Raises ConfigurationError if that is more than `SHAPES_MAX`, or nothing."""
    layout = _Layout(chronicle, since_ns, _end_of(chronicle) if until_ns is None else until_ns, frozenset(hidden))
    return layout.diagram()


def _end_of(chronicle: Chronicle) -> int:
    """The last moment of which something is known."""
    ends: list[int] = [line.at_ns for line in chronicle.lines[-1:]]
    for happening in chronicle.happenings:
        ends.append(happening.at_ns)
        if isinstance(happening, Message):
            ends += [arrival.at_ns for arrival in happening.arrivals]
            ends += [loss.at_ns for loss in happening.losses]
    return max(ends, default=0)


class _Layout:
    def __init__(self, chronicle: Chronicle, since_ns: int, until_ns: int, hidden: frozenset[str]) -> None:
        if since_ns > until_ns or since_ns < 0:
            raise ConfigurationError(f"there is no time from {since_ns / 1e9:g} s to {until_ns / 1e9:g} s in this run")
        self.chronicle = chronicle
        self.since, self.until, self.hidden = since_ns, until_ns, hidden
        self.names = {name: lane for lane, name in enumerate(chronicle.processes)}
        within = [n for n, line in enumerate(chronicle.lines) if self.during(line.at_ns)]
        self.first_line, self.line_count = (within[0], len(within)) if within else (0, 0)
        self.texts, self.groups = _Index(), _Index()
        self.kinds: dict[str, int] = {}
        self.families: list[str] = []
        self.counts: Counter[int] = Counter()
        self.lives = {name: _Life() for name in chronicle.processes}
        self.arrows: list[Arrow] = []
        self.cuts: dict[str, tuple[Installed, list[Point]]] = {}
        self.marks: list[Mark] = []
        self.states: list[State] = []
        self.troubles: list[DrawnTrouble] = []
        self.rows: list[int] = []
        self.messages = 0

    def during(self, at_ns: int) -> bool:
        return self.since <= at_ns <= self.until

    def line(self, number: int) -> int:
        place = number - self.first_line
        return place if number >= 0 and 0 <= place < self.line_count else -1

    def diagram(self) -> Diagram:
        for happening in self.chronicle.happenings:
            match happening:
                case Message():
                    self._message(happening)
                case Trouble():
                    self._trouble(happening)
                case Stood():
                    lane, text = self.names[happening.process], self.texts[happening.text]
                    if happening.at_ns <= self.until:
                        self.states.append(State(happening.at_ns, lane, happening.view, happening.status, text))
                case Started() | Stopped() | Paused():
                    self._life(happening)
                case Installed() | Marked():
                    self._mark(happening)
                case _:
                    assert_never(happening)
            if len(self.arrows) + len(self.marks) + self.line_count > SHAPES_MAX:
                raise ConfigurationError(
                    f"more than {SHAPES_MAX} messages, marks and lines are too many for a diagram: choose a shorter part"
                )
        return self._whole()

    def _whole(self) -> Diagram:
        for life in self.lives.values():
            life.end(self.until)
        last = self.first_line + self.line_count
        lines = self.chronicle.lines[self.first_line : last]
        kinds = [Kind(name, self.families[n], self.counts[n]) for name, n in self.kinds.items()]
        cuts = [
            Cut(view, first.label, self.texts[first.text], tuple(sorted(points, key=lambda p: (p.lane, p.at_ns))))
            for view, (first, points) in self.cuts.items()
        ]
        return Diagram(
            self.chronicle.title,
            self.chronicle.subtitle,
            self.since,
            self.until,
            tuple(Lane(name, self._seen(life.lives), self._seen(life.pauses)) for name, life in self.lives.items()),
            tuple(self.groups.known),
            tuple(kinds),
            tuple(sorted(self.arrows, key=lambda arrow: (arrow.begin_ns, arrow.message))),
            tuple(cuts),
            tuple(self.marks),
            tuple(self.states),
            tuple(self.troubles),
            tuple(Line(line.at_ns, self.names.get(line.process, -1), line.text) for line in lines),
            tuple(self.texts.known),
        )

    def _seen(self, spans: list[Span]) -> tuple[Span, ...]:
        """What of these is in the part that is drawn."""
        clipped = [Span(max(span.begin_ns, self.since), min(span.end_ns, self.until)) for span in spans]
        return tuple(span for span in clipped if span.begin_ns <= span.end_ns)

    def _life(self, happening: Started | Stopped | Paused) -> None:
        life, at = self.lives[happening.process], happening.at_ns
        match happening:
            case Started():
                life.begin(at)
                sort, text = "start", happening.text
            case Stopped():
                life.end(at)
                sort, text = "crash", happening.text
            case Paused():
                life.pause(at, happening.on)
                sort, text = ("pause", "paused") if happening.on else ("resume", "goes on")
        self._mark(Marked(at, happening.line, happening.process, sort, "", text))

    def _mark(self, happening: Installed | Marked) -> None:
        if not self.during(happening.at_ns):
            return
        lane, line = self.names.get(happening.process, -1), self.line(happening.line)
        if isinstance(happening, Installed):
            point = Point(lane, happening.at_ns, line)
            self.cuts.setdefault(happening.view, (happening, []))[1].append(point)
            self.marks.append(Mark(happening.at_ns, lane, "install", -1, self.texts[happening.text], line))
        else:
            group = self.groups[happening.group] if happening.group else -1
            self.marks.append(Mark(happening.at_ns, lane, happening.sort, group, self.texts[happening.text], line))

    def _message(self, message: Message) -> None:
        if message.kind in self.hidden:
            return
        self.messages += 1
        for copy, (end, fate, taken, why) in enumerate(_ends(message, self.until)):
            if end < self.since or message.at_ns > self.until:
                continue
            kind = self.kinds.setdefault(message.kind, len(self.kinds))
            if kind == len(self.families):
                self.families.append(message.family)
            self.counts[kind] += 1
            self.arrows.append(
                Arrow(
                    message.at_ns,
                    end,
                    self.names[message.source],
                    self.names.get(message.target, -1),
                    kind,
                    tuple(self.groups[group] for group in message.groups),
                    self.texts[message.text],
                    fate,
                    self.texts[why] if why else -1,
                    copy,
                    self.messages - 1,
                    self.line(message.line),
                    self.line(message.asked),
                    self.line(taken),
                )
            )

    def _trouble(self, trouble: Trouble) -> None:
        begin, end = max(trouble.at_ns, self.since), min(trouble.until_ns, self.until)
        if begin > end:
            return
        row = next((n for n, busy_until in enumerate(self.rows) if busy_until < begin), len(self.rows))
        self.rows[row : row + 1] = [end]
        sides = tuple(tuple(self.names[name] for name in side) for side in trouble.sides)
        lanes = tuple(self.names[name] for name in trouble.processes)
        self.troubles.append(DrawnTrouble(begin, end, trouble.kind, self.texts[trouble.text], row, sides, lanes))


def _ends(message: Message, until_ns: int) -> Iterator[tuple[int, str, int, str]]:
    """Of each copy when, how, and where it ended."""
    for arrival in message.arrivals:
        yield arrival.at_ns, ARRIVED, arrival.line, ""
    for loss in message.losses:
        yield loss.at_ns, LOST, -1, loss.why
    for _ in range(message.under_way):
        yield max(until_ns, message.at_ns), UNDER_WAY, -1, ""
