"""Chronicles by hand, to try diagrams on."""

from typing import Any

from phalanx.diagram.chronicle import (
    Arrival,
    Chronicle,
    Happening,
    Installed,
    Line,
    Loss,
    Marked,
    Message,
    Paused,
    Started,
    Stood,
    Stopped,
    Trouble,
)

MS = 1_000_000


def message(at_ms: int, source: str, target: str, **more: Any) -> Message:
    given: dict[str, Any] = {"line": -1, "asked": -1, "kind": "Hello", "family": "data", "groups": (), "text": "hello"}
    return Message(at_ms * MS, source=source, target=target, **(given | more))


def arrived(*times_ms: int, line: int = -1) -> tuple[Arrival, ...]:
    return tuple(Arrival(at * MS, line) for at in times_ms)


def chronicle(
    *happenings: Happening, names: tuple[str, ...] = ("a", "b", "c"), lines: tuple[Line, ...] = ()
) -> Chronicle:
    return Chronicle("by hand", "three processes", names, lines, happenings)


STORY = chronicle(
    Started(0, 0, "a", "life 1"),
    Started(0, 1, "b", "life 1"),
    Started(1 * MS, 2, "c", "life 1"),
    message(2, "a", "b", line=3, asked=3, arrivals=arrived(4, line=4), groups=("g",), text="m1"),
    message(2, "a", "c", line=3, asked=3, losses=(Loss(3 * MS, "lost on the way"),), groups=("g",), text="m1"),
    Installed(5 * MS, 5, "a", "x.1", "V1", "V1: a b"),
    Stood(5 * MS, "a", "V1", "member", "member of V1"),
    Installed(6 * MS, 6, "b", "x.1", "V1", "V1: a b"),
    Marked(6 * MS, 6, "b", "deliver", "g", "m1"),
    Trouble(6 * MS, 9 * MS, "Partition", "Partition a | b c: at 6", (("a",), ("b", "c"))),
    Trouble(7 * MS, 8 * MS, "SlowDisk", "SlowDisk a: at 7", (), ("a",)),
    Paused(7 * MS, 7, "c"),
    message(7, "b", "a", line=8, asked=6, kind="Row", family="row", arrivals=arrived(9, 10, line=9), text="row"),
    Stopped(9 * MS, 10, "c", "crash"),
    message(10, "a", "b", kind="Row", family="row", under_way=1, text="row"),
    Trouble(10 * MS, 11 * MS, "Ring", "Ring: at 10"),
    Started(11 * MS, 11, "c", "life 2"),
    lines=tuple(
        Line(at * MS, name, f"line {n}")
        for n, (at, name) in enumerate(
            (
                (0, "a"),
                (0, "b"),
                (1, "c"),
                (2, "a"),
                (4, "b"),
                (5, "a"),
                (6, "b"),
                (7, "c"),
                (7, "b"),
                (9, "a"),
                (9, "c"),
                (11, "c"),
                (12, ""),
            )
        )
    ),
)
"""Something of everything."""
