"""Figures drawn as SVG: one text, no script, the same bytes for the same figure on every machine."""

from collections.abc import Sequence
from html import escape
from typing import assert_never

from phalanx.lab.figures.axes import Axis, axis_of
from phalanx.lab.figures.model import Arrow, Bars, Figure, Lines, Matrix, Messages, Remark, Tone

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
"""Told apart by the colour-blind as well (Okabe and Ito 2008).  More series than that repeat them."""

FILLS = {Tone.GOOD: "#d3efe0", Tone.BAD: "#f7cfc0", Tone.DOUBTFUL: "#faeab8", Tone.PLAIN: "#f2f2f2"}
INKS = {Tone.GOOD: "#00664a", Tone.BAD: "#a83a00", Tone.DOUBTFUL: "#7a5b00", Tone.PLAIN: "#333333"}

WIDTH, HEIGHT = 720, 400
LEFT, TOP, BOTTOM, KEY = 70, 40, 50, 20
LETTER = 7.2
"""Width of a letter, about: no fonts are measured."""


def svg(figure: Figure) -> str:
    """The figure as a complete SVG document."""
    match figure:
        case Lines():
            body, height = _lines(figure), HEIGHT + KEY * len(figure.series)
            width = WIDTH
        case Bars():
            body, height = _bars(figure), HEIGHT + KEY * len(figure.names)
            width = WIDTH
        case Matrix():
            body, width, height = _matrix(figure)
        case Messages():
            body, width, height = _messages(figure)
        case _:
            assert_never(figure)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="13" role="img"><title>{escape(figure.title)}</title>'
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="context-stroke"/></marker></defs>'
    )
    background = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join((head, background, _text(width / 2, 22, figure.title, size=15, bold=True), *body, "</svg>")) + "\n"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(
    x: float, y: float, text: str, *, anchor: str = "middle", ink: str = "#222222", size: int = 13, bold: bool = False
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}" fill="{ink}" font-size="{size}"{weight}>'
        f"{escape(text)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str, extra: str = "") -> str:
    x1_, y1_, x2_, y2_ = map(_number, (x1, y1, x2, y2))
    return f'<line x1="{x1_}" y1="{y1_}" x2="{x2_}" y2="{y2_}" stroke="{stroke}"{extra}/>'


# --- over axes ----------------------------------------------------------------------------------------------------

PLOT_RIGHT, PLOT_BOTTOM = WIDTH - 20, HEIGHT - BOTTOM


def _frame(y: Axis, label: str) -> list[str]:
    parts = []
    for value, text in y.ticks:
        height = PLOT_BOTTOM - y.share(value) * (PLOT_BOTTOM - TOP)
        parts.append(_line(LEFT, height, PLOT_RIGHT, height, "#dddddd"))
        parts.append(_text(LEFT - 6, height + 4, text, anchor="end"))
    parts.append(f'<g transform="translate(16 {(TOP + PLOT_BOTTOM) // 2}) rotate(-90)">{_text(0, 0, label)}</g>')
    return parts


def _key(names: Sequence[str], hues: Sequence[int], *, lines: Sequence[bool] = ()) -> list[str]:
    parts = []
    for index, name in enumerate(names):
        y = HEIGHT + KEY * index + 4
        colour = COLOURS[hues[index] % len(COLOURS)]
        if index < len(lines) and lines[index]:
            parts.append(_line(LEFT, y, LEFT + 14, y, colour, ' stroke-width="2"'))
        else:
            parts.append(f'<circle cx="{LEFT + 7}" cy="{y}" r="4" fill="{colour}"/>')
        parts.append(_text(LEFT + 22, y + 4, name, anchor="start"))
    return parts


def _lines(figure: Lines) -> list[str]:
    points = [point for series in figure.series for point in series.points if point[1] > 0 or not figure.log_y]
    across = axis_of([x for x, _ in points], log=figure.log_x)
    up = axis_of([y for _, y in points], log=figure.log_y)
    parts = _frame(up, figure.y)
    for value, text in across.ticks:
        x = LEFT + across.share(value) * (PLOT_RIGHT - LEFT)
        parts += [_line(x, PLOT_BOTTOM, x, PLOT_BOTTOM + 5, "#222222"), _text(x, PLOT_BOTTOM + 19, text)]
    parts.append(_line(LEFT, PLOT_BOTTOM, PLOT_RIGHT, PLOT_BOTTOM, "#222222"))
    parts.append(_text((LEFT + PLOT_RIGHT) / 2, PLOT_BOTTOM + 38, figure.x))
    for series in figure.series:
        colour = COLOURS[series.hue % len(COLOURS)]
        places = [
            (LEFT + across.share(x) * (PLOT_RIGHT - LEFT), PLOT_BOTTOM - up.share(y) * (PLOT_BOTTOM - TOP))
            for x, y in series.points
            if y > 0 or not figure.log_y
        ]
        if series.marks:
            parts += [f'<circle cx="{_number(x)}" cy="{_number(y)}" r="4" fill="{colour}"/>' for x, y in places]
        else:
            path = " ".join(f"{_number(x)},{_number(y)}" for x, y in places)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts + _key(
        [s.name for s in figure.series], [s.hue for s in figure.series], lines=[not s.marks for s in figure.series]
    )


def _bars(figure: Bars) -> list[str]:
    up = axis_of([0.0, *(value for _, values in figure.groups for value in values)])
    parts = _frame(up, figure.y)
    room = (PLOT_RIGHT - LEFT) / len(figure.groups)
    wide = room * 0.8 / len(figure.names)
    for place, (label, values) in enumerate(figure.groups):
        left = LEFT + place * room + room * 0.1
        for index, value in enumerate(values):
            tall = up.share(value) * (PLOT_BOTTOM - TOP)
            parts.append(
                f'<rect x="{_number(left + index * wide)}" y="{_number(PLOT_BOTTOM - tall)}" '
                f'width="{_number(wide)}" height="{_number(tall)}" fill="{COLOURS[index % len(COLOURS)]}"/>'
            )
        parts.append(_text(LEFT + (place + 0.5) * room, PLOT_BOTTOM + 19, label))
    parts.append(_line(LEFT, PLOT_BOTTOM, PLOT_RIGHT, PLOT_BOTTOM, "#222222"))
    return parts + _key(figure.names, range(len(figure.names)))


# --- of cells and of messages -------------------------------------------------------------------------------------

CELL_HEIGHT = 30


def _matrix(figure: Matrix) -> tuple[list[str], int, int]:
    left = 30 + int(LETTER * max(len(name) for name, _ in figure.rows))
    texts = [*figure.columns, *(text for _, cells in figure.rows for text, _ in cells)]
    wide = 20 + int(LETTER * max(map(len, texts)))
    width = max(left + wide * len(figure.columns) + 20, 40 + int(8.2 * len(figure.title)))
    parts = [_text(left + wide * (i + 0.5), 54, name, bold=True) for i, name in enumerate(figure.columns)]
    for number, (name, cells) in enumerate(figure.rows):
        y = 64 + CELL_HEIGHT * number
        parts.append(_text(left - 10, y + 20, name, anchor="end"))
        for index, (text, tone) in enumerate(cells):
            parts.append(
                f'<rect x="{left + wide * index + 1}" y="{y + 1}" width="{wide - 2}" height="{CELL_HEIGHT - 2}" '
                f'fill="{FILLS[tone]}"/>'
            )
            parts.append(_text(left + wide * (index + 0.5), y + 20, text, ink=INKS[tone]))
    return parts, width, 64 + CELL_HEIGHT * len(figure.rows) + 16


LANE = 190
STEP = 30


def _messages(figure: Messages) -> tuple[list[str], int, int]:
    places = {name: 90 + LANE * index for index, name in enumerate(figure.processes)}
    width = max(180 + LANE * (len(figure.processes) - 1), 40 + int(8.2 * len(figure.title)))
    bottom = 76 + STEP * len(figure.events)
    parts = [_text(x, 50, name, bold=True) for name, x in places.items()]
    parts += [_line(x, 58, x, bottom, "#999999") for x in places.values()]
    for number, event in enumerate(figure.events):
        y = 82 + STEP * number
        match event:
            case Remark(at, text, tone):
                wide = 16 + LETTER * len(text)
                box = f'x="{_number(places[at] - wide / 2)}" y="{y - 13}" width="{_number(wide)}" height="20" rx="4"'
                parts.append(f'<rect {box} fill="{FILLS[tone]}" stroke="{INKS[tone]}"/>')
                parts.append(_text(places[at], y + 2, text, ink=INKS[tone]))
            case Arrow(source, target, text, tone, lost):
                start, end = places[source], places[target]
                stop = start + (end - start) * 0.6 if lost else end
                extra = (
                    ' stroke-dasharray="5 4" stroke-width="1.5"'
                    if lost
                    else ' stroke-width="1.5" marker-end="url(#head)"'
                )
                parts.append(_line(start, y, stop, y, INKS[tone], extra))
                if lost:
                    parts.append(_text(stop, y + 5, "✕", ink=INKS[Tone.BAD]))
                parts.append(_text(start + (1 if end > start else -1) * LANE / 2, y - 5, text, ink=INKS[tone], size=12))
            case _:
                assert_never(event)
    return parts, width, bottom + 16
