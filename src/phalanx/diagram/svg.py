"""A diagram for print: one SVG, dark on white, with the same signs as the page."""

import re
from collections.abc import Iterable, Iterator
from math import floor, log10
from xml.sax.saxutils import escape, quoteattr

from phalanx.diagram.model import ARRIVED, LOST, Arrow, Cut, Diagram, Kind, Lane, Mark

WIDTH = 1200
"""Units of the drawing, so that a text of 12 is still read where a page of A4 across is all there is."""

LEFT, RIGHT, TOP = 76, 24, 96
GAP = 76
"""Between two lanes."""
TRACK = 16
"""Height of a row of faults."""
LEGEND_ROW = 20
LETTER, BOLD = 6.4, 8.4
"""How wide a letter is about, which only who shows the drawing knows."""
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
STATUS = {
    "member": (INK, 2.2),
    "learner": (INK, 1.1),
    "fenced": (WARN, 2.2),
    "out": (FAINT, 2.2),
    "other": (COLOURS["client"], 1.4),
}
"""How a process's line looks in each state; "other": one of whose state nothing is known, such as a client."""

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
        self.alpha = min(1.0, max(0.2, 1200 / max(1, len(diagram.arrows))))
        """Of an arrow: the more there are, the fainter."""
        self.rows = max((trouble.row + 1 for trouble in diagram.troubles), default=0)
        self.top = TOP + TRACK * self.rows
        self.bottom = self.top + GAP * max(0, len(diagram.lanes) - 1) + 30
        self.legend_rows = _wrapped(list(self.signs()), width - LEFT - RIGHT)
        self.height = self.bottom + 16 + LEGEND_ROW * max(1, len(self.legend_rows))

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
            yield f'<marker id="{name}" {place} {units} opacity="{max(self.alpha, 0.35):.2f}">{tip} {paint}/></marker>'
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
        yield from self.cuts()
        for mark in self.diagram.marks:
            yield from self.mark(mark)
        yield "</g>"
        for number, lane in enumerate(self.diagram.lanes):
            yield f'<text x="16" y="{self.y(number) + 4:.1f}" font-weight="600" fill="{INK}">{_text(lane.name)}</text>'
        if any(mark.lane < 0 for mark in self.diagram.marks):
            yield f'<text x="16" y="{self.top - 33}" font-size="11" fill="{SOFT}">world</text>'
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
            label = f"{at / 1e9:.{digits}f} s"
            if x + 4 + LETTER * len(label) <= self.width:
                yield f'<text x="{x + 4:.1f}" y="50" font-size="11" fill="{SOFT}">{label}</text>'

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
            at, style = life.begin_ns, STATUS["out" if states else "other"]
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
        yield f'<g fill="none" stroke-opacity="{self.alpha:.2f}">'
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

    def cuts(self) -> Iterator[str]:
        """With the names of those that have room for one."""
        free = float("-inf")
        for cut in self.diagram.cuts:
            yield from self.cut(cut)
            x, y, half = self.x(cut.points[0].at_ns), self.y(cut.points[0].lane) - 22, BOLD * len(cut.label) / 2
            if x - half > free:
                place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-weight="600"'
                halo = 'stroke="#ffffff" stroke-width="3" paint-order="stroke"'
                yield f'<text {place} fill="{INK}" {halo}>{_text(cut.label)}</text>'
                free = x + half + 4

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

    def mark(self, mark: Mark) -> Iterator[str]:
        x, y = self.x(mark.at_ns), self.y(mark.lane) if mark.lane >= 0 else self.top - 28
        yield f'<g class="{mark.sort}">{sign(mark.sort, x, y)}<title>{_text(self.diagram.texts[mark.text])}</title></g>'

    def legend(self) -> Iterator[str]:
        for row, items in enumerate(self.legend_rows):
            y = self.bottom + 22 + LEGEND_ROW * row
            for x, drawn, label in items:
                yield f'<g transform="translate({LEFT + x:.1f},{y})">{drawn}'
                yield f'<text x="30" y="4" fill="{SOFT}">{_text(label)}</text></g>'

    def signs(self) -> Iterator[tuple[str, str]]:
        """What is in this drawing: each sign, at the height 0 and up to 24 wide, and what it is called."""
        families = {kind.family for kind in self.diagram.kinds}
        for family, label in LEGEND.items():
            if family in families:
                yield f'<path d="M0,-3 l24,6" stroke="{COLOURS[family]}" marker-end="url(#{family})"/>', label
        if any(arrow.fate == LOST for arrow in self.diagram.arrows):
            dash = 'stroke-dasharray="4 3" marker-end="url(#lost)"'
            yield f'<path d="M0,-3 l20,6" stroke="{LOST_INK}" {dash}/>', "lost"
        if any(arrow.copy for arrow in self.diagram.arrows):
            yield f'<path d="M0,-3 l24,6" stroke="{COLOURS["data"]}" stroke-dasharray="6 2"/>', "doubled"
        statuses = {state.status for state in self.diagram.states}
        looked_at = {state.lane for state in self.diagram.states}
        if any(lane.lives and number not in looked_at for number, lane in enumerate(self.diagram.lanes)):
            statuses.add("other")
        for status, (colour, thick) in STATUS.items():
            if status in statuses:
                yield f'<path d="M0,0 h24" stroke="{colour}" stroke-width="{thick}"/>', STATUSES[status]
        if any(trouble.sides for trouble in self.diagram.troubles):
            sides = f'<rect y="-7" width="24" height="7" fill="{SIDES[0]}"/>'
            yield f'{sides}<rect width="24" height="7" fill="{SIDES[1]}"/>', "partition"
        sorts = {mark.sort for mark in self.diagram.marks}
        for sort, label in SIGNS.items():
            if sort in sorts:
                yield sign(sort, 12, {"stable": -9.0, "call": 7.0, "note": 9.0}.get(sort, 0.0)), label


def _wrapped(items: Iterable[tuple[str, str]], width: float) -> list[list[tuple[float, str, str]]]:
    """In rows of at most that width: where each begins, its sign and its label."""
    rows: list[list[tuple[float, str, str]]] = []
    x = width
    for drawn, label in items:
        wide = 48 + LETTER * len(label)
        if x + wide > width:
            x = 0.0
            rows.append([])
        rows[-1].append((x, drawn, label))
        x += wide
    return rows


STATUSES = {
    "member": "full member",
    "learner": "learner",
    "fenced": "fenced: cannot act",
    "out": "in no view",
    "other": "client",
}
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
