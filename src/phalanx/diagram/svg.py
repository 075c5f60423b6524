"""A diagram for print: one SVG, dark on white, with the same signs as the page."""

import re
from collections.abc import Iterable, Iterator
from math import floor, log10
from xml.sax.saxutils import escape, quoteattr

from phalanx.diagram.model import ARRIVED, LOST, Arrow, Cut, Diagram, Kind, Lane, Mark

WIDTH = 1600
"""Units of the drawing; a printer scales it to the page."""

LEFT, RIGHT, TOP = 76, 24, 96
GAP = 76
"""Between two lanes."""
TRACK = 16
"""Height of a row of faults."""
CROWD = 2500
"""From so many arrows on they are drawn fainter, and without heads."""

COLOURS = {
    "data": "#1d5fd1",
    "row": "#a3a8ae",
    "membership": "#7b3fc4",
    "transfer": "#0b7f88",
    "client": "#2c7d3f",
    "other": "#6b7078",
}
"""Of families of messages."""
UPWARDS = ("row", "other", "client", "transfer", "membership", "data")
"""Which are drawn above which."""
SIDES = ("#f3d9a4", "#cfdcec", "#e6cfe2", "#d3e6cd")
"""Of the sides of a partition."""

INK, SOFT, FAINT, LOST_INK, WARN = "#1c1e21", "#6b7078", "#c4c7cb", "#cc2936", "#b9770a"
STATUS = {"member": (INK, 2.2), "learner": (INK, 1.1), "fenced": (WARN, 2.2), "out": (FAINT, 2.2)}
"""How a process's line looks in each state."""

LEGEND = {
    "data": "multicast",
    "row": "rows, signs of life",
    "membership": "view change",
    "transfer": "state transfer",
    "client": "clients",
    "other": "messages",
}

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML has no way to write."""


def render(diagram: Diagram, width: int = WIDTH) -> str:
    """The drawing, as a document of its own."""
    return "\n".join(_Drawing(diagram, width).document())


def _text(text: str) -> str:
    return escape(_ILLEGAL.sub("\ufffd", text))


class _Drawing:
    def __init__(self, diagram: Diagram, width: int) -> None:
        self.diagram = diagram
        self.width = width
        self.rows = max((trouble.row + 1 for trouble in diagram.troubles), default=0)
        self.top = TOP + TRACK * self.rows
        self.bottom = self.top + GAP * max(0, len(diagram.lanes) - 1) + 30
        self.height = self.bottom + 56

    def x(self, at_ns: int) -> float:
        since, until = self.diagram.since_ns, self.diagram.until_ns
        return LEFT + (at_ns - since) / max(1, until - since) * (self.width - LEFT - RIGHT)

    def y(self, lane: int) -> float:
        return self.top + GAP * lane

    def document(self) -> Iterator[str]:
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
        yield f"<title>{_text(self.diagram.title)}</title>"
        yield "<defs>"
        for name, colour in (*COLOURS.items(), ("lost", LOST_INK)):
            tip = (
                '<path d="M0,0 L7,2.7 L0,5.4 z"'
                if name != "lost"
                else '<path d="M1,0 L6,5 M6,0 L1,5" stroke-width="1.4"'
            )
            paint = f'fill="{colour}"' if name != "lost" else f'stroke="{colour}"'
            place = 'refX="7" refY="2.7"' if name != "lost" else 'refX="3.5" refY="2.5"'
            units = 'markerUnits="userSpaceOnUse" markerWidth="8" markerHeight="6" orient="auto"'
            yield f'<marker id="{name}" {place} {units}>{tip} {paint}/></marker>'
        clip = f'<rect x="{LEFT - 14}" y="0" width="{self.width - LEFT}" height="{self.height}"/>'
        yield f'<clipPath id="time">{clip}</clipPath>'
        yield "</defs>"
        yield f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>'
        yield f'<text x="16" y="22" font-size="15" font-weight="600" fill="{INK}">{_text(self.diagram.title)}</text>'
        subtitle = _text(self.diagram.subtitle[:160])
        yield f'<text x="{self.width - 16}" y="22" text-anchor="end" fill="{SOFT}">{subtitle}</text>'
        yield '<g clip-path="url(#time)">'
        yield from self.axis()
        yield from self.troubles()
        for number, lane in enumerate(self.diagram.lanes):
            yield from self.lane(number, lane)
        yield from self.arrows()
        for cut in self.diagram.cuts:
            yield from self.cut(cut)
        for mark in self.diagram.marks:
            yield from self.mark(mark)
        yield "</g>"
        for number, lane in enumerate(self.diagram.lanes):
            yield f'<text x="16" y="{self.y(number) + 4:.1f}" font-weight="600" fill="{INK}">{_text(lane.name)}</text>'
        yield from self.legend()
        yield "</svg>"

    def axis(self) -> Iterator[str]:
        since, until = self.diagram.since_ns, self.diagram.until_ns
        wanted = max(1, until - since) / max(1, (self.width - LEFT) // 140)
        power = 10 ** floor(log10(wanted))
        step = max(1, next(int(factor * power) for factor in (1, 2, 5, 10) if factor * power >= wanted))
        digits = min(9, max(0, 9 - floor(log10(step))))
        for at in range(-(-since // step) * step, until + 1, step):
            x = self.x(at)
            yield f'<path d="M{x:.1f},46 V{self.bottom}" stroke="#e6e6e2"/>'
            yield f'<text x="{x + 4:.1f}" y="50" font-size="11" fill="{SOFT}">{at / 1e9:.{digits}f} s</text>'

    def troubles(self) -> Iterator[str]:
        for trouble in self.diagram.troubles:
            x, wide = self.x(trouble.begin_ns), max(2.0, self.x(trouble.end_ns) - self.x(trouble.begin_ns))
            for number, side in enumerate(trouble.sides):
                for lane in side:
                    box = f'x="{x:.1f}" y="{self.y(lane) - GAP / 2 + 2:.1f}" width="{wide:.1f}" height="{GAP - 4}"'
                    yield f'<rect {box} fill="{SIDES[number % len(SIDES)]}" fill-opacity="0.55"/>'
            for lane in trouble.lanes:
                box = f'x="{x:.1f}" y="{self.y(lane) - 5:.1f}" width="{wide:.1f}" height="10"'
                yield f'<rect {box} fill="{WARN}" fill-opacity="0.22"/>'
            y = 56 + TRACK * trouble.row
            text = self.diagram.texts[trouble.text]
            yield f'<g><title>{_text(text)}</title><rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{TRACK - 4}"'
            yield f' fill="{WARN}" fill-opacity="0.3"/>'
            label = text.partition(":")[0]
            if wide > 6 * len(label):
                yield f'<text x="{x + 4:.1f}" y="{y + 10}" font-size="10.5" fill="{INK}">{_text(label)}</text>'
            yield "</g>"

    def lane(self, number: int, lane: Lane) -> Iterator[str]:
        y = self.y(number)
        states = [state for state in self.diagram.states if state.lane == number]
        for life in lane.lives:
            at, style = life.begin_ns, STATUS["out" if states else "member"]
            for state in states:
                if state.at_ns <= life.begin_ns:
                    style = STATUS.get(state.status, STATUS["member"])
                elif state.at_ns < life.end_ns:
                    yield self.stretch(at, state.at_ns, y, *style)
                    at, style = state.at_ns, STATUS.get(state.status, STATUS["member"])
            yield self.stretch(at, life.end_ns, y, *style)
        for pause in lane.pauses:
            yield self.stretch(pause.begin_ns, pause.end_ns, y, "#ffffff", 4)
            yield self.stretch(pause.begin_ns, pause.end_ns, y, WARN, 3, "2 3")

    def stretch(self, begin_ns: int, end_ns: int, y: float, colour: str, thick: float, dash: str = "") -> str:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        x = self.x(max(begin_ns, self.diagram.since_ns))
        ends = f"M{x:.1f},{y:.1f} H{max(self.x(end_ns), x + 1):.1f}"
        return f'<path class="process" d="{ends}" stroke="{colour}" stroke-width="{thick}" fill="none"{dashed}/>'

    def arrows(self) -> Iterator[str]:
        kinds, count = self.diagram.kinds, len(self.diagram.arrows)
        yield f'<g fill="none" stroke-opacity="{min(1, max(0.2, 1200 / max(1, count))):.2f}">'
        for arrow in sorted(self.diagram.arrows, key=lambda each: UPWARDS.index(kinds[each.kind].family)):
            if arrow.source != arrow.target:
                yield self.arrow(arrow, kinds[arrow.kind], heads=count <= CROWD)
        yield "</g>"

    def arrow(self, arrow: Arrow, kind: Kind, *, heads: bool) -> str:
        x0, y0 = self.x(arrow.begin_ns), self.y(arrow.source)
        x1, y1 = self.x(arrow.end_ns), self.y(arrow.target) if arrow.target >= 0 else y0 + 18
        if arrow.fate != ARRIVED:
            y1 = y0 + (y1 - y0) * (0.62 if arrow.fate == LOST else 0.85)
            x1 = max(x1, x0 + 4)
        lost = arrow.fate == LOST
        colour = LOST_INK if lost else COLOURS[kind.family]
        dash = "4 3" if lost else "2 3" if arrow.fate != ARRIVED else "6 2" if arrow.copy else ""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        names = [lane.name for lane in self.diagram.lanes]
        target = names[arrow.target] if arrow.target >= 0 else "nobody"
        why = f": {self.diagram.texts[arrow.why]}" if arrow.why >= 0 else ""
        took = (arrow.end_ns - arrow.begin_ns) / 1e6
        title = f"{kind.name} {names[arrow.source]} → {target}, {arrow.begin_ns / 1e9:.6f} s, "
        title += f"{arrow.fate} after {took:g} ms{why}"
        marked = lost or (heads and arrow.fate == ARRIVED)
        tip = f' marker-end="url(#{"lost" if lost else kind.family})"' if marked else ""
        thick = 0.7 if kind.family == "row" else 1.1
        ends = f"M{x0:.1f},{y0:.1f} L{x1:.1f},{y1:.1f}"
        paint = f'stroke="{colour}" stroke-width="{thick}"{dashed}{tip}'
        return f'<path class={quoteattr(arrow.fate)} d="{ends}" {paint}><title>{_text(title)}</title></path>'

    def cut(self, cut: Cut) -> Iterator[str]:
        first = cut.points[0]
        x, y = self.x(first.at_ns), self.y(first.lane) - 18
        path = f"M{x:.1f},{y:.1f}"
        for point in cut.points:
            to_x, to_y = self.x(point.at_ns), self.y(point.lane)
            middle = (y + to_y) / 2
            path += f" C{x:.1f},{middle:.1f} {to_x:.1f},{middle:.1f} {to_x:.1f},{to_y:.1f}"
            x, y = to_x, to_y
        path += f" V{y + 14:.1f}"
        yield f'<path class="view" d="{path}" stroke="{INK}" stroke-width="1.4" fill="none" stroke-opacity="0.85">'
        yield f"<title>{_text(self.diagram.texts[cut.text])}</title></path>"
        label = (
            f'x="{self.x(first.at_ns):.1f}" y="{self.y(first.lane) - 22:.1f}" text-anchor="middle" font-weight="600"'
        )
        yield f'<text {label} fill="{INK}">{_text(cut.label)}</text>'

    def mark(self, mark: Mark) -> Iterator[str]:
        x, y = self.x(mark.at_ns), self.y(mark.lane) if mark.lane >= 0 else self.top - 40
        yield f'<g class="{mark.sort}">{sign(mark.sort, x, y)}<title>{_text(self.diagram.texts[mark.text])}</title></g>'

    def legend(self) -> Iterator[str]:
        families = dict.fromkeys(kind.family for kind in self.diagram.kinds)
        sorts = {mark.sort for mark in self.diagram.marks}
        x, y = float(LEFT), self.bottom + 26.0
        for family in (family for family in LEGEND if family in families):
            ends = f'd="M{x},{y - 7} l24,6" stroke="{COLOURS[family]}" stroke-width="1.2"'
            yield f'<path {ends} marker-end="url(#{family})"/>{_label(x + 30, y, LEGEND[family])}'
            x += 54 + 6.4 * len(LEGEND[family])
        if any(arrow.fate == LOST for arrow in self.diagram.arrows):
            ends = f'd="M{x},{y - 7} l20,6" stroke="{LOST_INK}" stroke-dasharray="4 3"'
            yield f'<path {ends} marker-end="url(#lost)"/>{_label(x + 30, y, "lost")}'
            x += 70
        for status in (status for status in STATUS if any(state.status == status for state in self.diagram.states)):
            colour, thick = STATUS[status]
            yield f'<path d="M{x},{y - 4} h24" stroke="{colour}" stroke-width="{thick}"/>'
            yield _label(x + 30, y, STATUSES[status])
            x += 54 + 6.4 * len(STATUSES[status])
        x, y = float(LEFT), y + 20
        for sort in (sort for sort in SIGNS if sort in sorts):
            raised = {"stable": -9.0, "call": 7.0, "note": 9.0}.get(sort, 0.0)
            yield f"{sign(sort, x + 8, y - 4 + raised)}{_label(x + 20, y, SIGNS[sort])}"
            x += 42 + 6.4 * len(SIGNS[sort])


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{SOFT}">{_text(text)}</text>'


STATUSES = {"member": "full member", "learner": "learner", "fenced": "fenced: cannot act", "out": "in no view"}
"""What the legend calls them."""

SIGNS = {
    "install": "view installed",
    "deliver": "delivered",
    "stable": "known to be stable",
    "state": "got the state",
    "call": "call",
    "start": "start",
    "crash": "crash",
    "pause": "paused",
    "resume": "goes on",
    "out": "excluded",
    "note": "noted",
    "failure": "failure",
}
"""Sorts of marks, and what the legend calls them."""


def sign(sort: str, x: float, y: float) -> str:
    """The sign of a sort of marks, at a point of a lane."""
    match sort:
        case "deliver":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{COLOURS["data"]}"/>'
        case "stable":
            return _path(x, y, ((0, 5.5), (3.2, 9), (0, 12.5), (-3.2, 9)), f'fill="none" stroke="{COLOURS["data"]}"')
        case "install":
            return _path(x, y, ((-2.6, -2.6), (2.6, -2.6), (2.6, 2.6), (-2.6, 2.6)), f'fill="{INK}"')
        case "state":
            return _path(x, y, ((-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)), f'fill="{COLOURS["transfer"]}"')
        case "call":
            return _path(x, y, ((0, -4), (3.4, -10), (-3.4, -10)), f'fill="{COLOURS["client"]}"')
        case "start" | "resume":
            return _path(x, y, ((0, -5), (7, 0), (0, 5)), f'fill="{INK if sort == "start" else WARN}"')
        case "crash":
            ends = f"M{x - 5:.1f},{y - 5:.1f} l10,10 m0,-10 l-10,10"
            return f'<path d="{ends}" stroke="{LOST_INK}" stroke-width="2.4" fill="none"/>'
        case "pause":
            return f'<path d="M{x - 2:.1f},{y - 6:.1f} v12 m4,-12 v12" stroke="{WARN}" stroke-width="2.4"/>'
        case "out":
            ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.6"/><path d="M{x - 3.2:.1f},{y + 3.2:.1f} l6.4,-6.4"/>'
            return f'<g fill="none" stroke="{LOST_INK}" stroke-width="1.8">{ring}</g>'
        case "failure":
            bang = f'<path d="M{x:.1f},{y - 4:.1f} v5 m0,1.4 v2" stroke="#ffffff" stroke-width="2"/>'
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="{LOST_INK}"/>{bang}'
        case _:
            return f'<circle cx="{x:.1f}" cy="{y - 9:.1f}" r="2.6" fill="none" stroke="{SOFT}" stroke-width="1.4"/>'


def _path(x: float, y: float, corners: Iterable[tuple[float, float]], paint: str) -> str:
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" {paint}/>'
