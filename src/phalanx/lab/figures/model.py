"""Figures as data: lines, bars, matrices of judged cells, and diagrams of messages."""

import enum

import msgspec


class Tone(enum.StrEnum):
    """What a mark means, beside its text: never told by colour alone."""

    GOOD = "good"
    BAD = "bad"
    DOUBTFUL = "doubtful"
    PLAIN = "plain"


class Series(msgspec.Struct, frozen=True):
    """Points of one name.  `marks`: drawn as separate marks, for what was measured; else as a line, for a formula."""

    name: str
    points: tuple[tuple[float, float], ...]
    marks: bool = False
    hue: int = 0
    """Which colour, by number: series that belong together share one."""


class Lines(msgspec.Struct, frozen=True, tag=True):
    """One or more series over numbers."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    log_y: bool = False
    """Powers of ten on the y axis.  Values that are not positive are left out."""
    log_x: bool = False


class Bars(msgspec.Struct, frozen=True, tag=True):
    """A group of bars for each label, one bar for each name."""

    title: str
    y: str
    names: tuple[str, ...]
    groups: tuple[tuple[str, tuple[float, ...]], ...]


class Matrix(msgspec.Struct, frozen=True, tag=True):
    """Cells with a text and a tone."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, Tone], ...]], ...]


class Arrow(msgspec.Struct, frozen=True, tag=True):
    """One message.  `lost`: it does not arrive."""

    source: str
    target: str
    text: str
    tone: Tone = Tone.PLAIN
    lost: bool = False


class Remark(msgspec.Struct, frozen=True, tag=True):
    """Something that happens at one process."""

    at: str
    text: str
    tone: Tone = Tone.PLAIN


class Messages(msgspec.Struct, frozen=True, tag=True):
    """Processes as vertical lines, messages as arrows from one to another, time running down."""

    title: str
    processes: tuple[str, ...]
    events: tuple[Arrow | Remark, ...]


Figure = Lines | Bars | Matrix | Messages
