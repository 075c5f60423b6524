"""Figures as SVG."""

import xml.etree.ElementTree as ElementTree

import pytest

from phalanx.lab.figures.axes import axis_of
from phalanx.lab.figures.model import Arrow, Bars, Figure, Lines, Matrix, Messages, Remark, Series, Tone
from phalanx.lab.figures.svg import svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(figure: Figure) -> ElementTree.Element:
    return ElementTree.fromstring(svg(figure))


def texts(figure: Figure) -> list[str]:
    return [element.text or "" for element in drawn(figure).iter(f"{SVG}text")]


def test_a_line_has_its_points_and_its_name() -> None:
    figure = Lines("A < B", "x", "y", (Series("formula", ((0, 0), (10, 5))), Series("run", ((5, 2.5),), marks=True)))
    (line,) = drawn(figure).iter(f"{SVG}polyline")
    assert line.get("points") == "70,350 700,40"
    middle = next(iter(drawn(figure).iter(f"{SVG}circle")))
    assert (middle.get("cx"), middle.get("cy")) == ("385", "195")
    assert {"A < B", "formula", "run", "x", "y"} <= set(texts(figure))


def test_axes_of_powers_leave_out_what_they_cannot_show() -> None:
    figure = Lines("t", "x", "y", (Series("s", ((1, 0.0), (2, 0.001), (3, 1.0))),), log_y=True)
    (line,) = drawn(figure).iter(f"{SVG}polyline")
    assert line.get("points") == "70,350 700,40"
    assert {"1e-3", "1e-1", "1"} <= set(texts(figure))


def test_bars_are_as_tall_as_their_values() -> None:
    figure = Bars("t", "y", ("one", "two"), (("a", (1.0, 4.0)), ("b", (0.0, 2.0))))
    _, *bars = drawn(figure).iter(f"{SVG}rect")
    assert [bar.get("height") for bar in bars] == ["77.5", "310", "0", "155"]


def test_a_matrix_has_its_cells() -> None:
    figure = Matrix("t", ("MPC", "MC(P)"), (("Always", (("DUP", Tone.BAD), ("OK", Tone.GOOD))),))
    assert texts(figure) == ["t", "MPC", "MC(P)", "Always", "DUP", "OK"]


def test_a_lost_message_does_not_arrive() -> None:
    arrows = (Arrow("A", "B", "hello"), Arrow("B", "A", "ack", lost=True), Remark("A", "waits", Tone.DOUBTFUL))
    figure = Messages("t", ("A", "B"), arrows)
    lines = [line for line in drawn(figure).iter(f"{SVG}line") if line.get("stroke-width") == "1.5"]
    assert [(line.get("x1"), line.get("x2")) for line in lines] == [("90", "280"), ("280", "166")]
    assert "✕" in texts(figure) and "waits" in texts(figure)


@pytest.mark.parametrize(
    ("values", "log", "ends"),
    [
        ([0, 1], False, (0, 1)),
        ([3, 97], False, (0, 100)),
        ([5, 5], False, (0, 5)),
        ([0, 0], False, (0, 1)),
        ([], False, (0, 1)),
        ([0.02, 3], True, (0.01, 10)),
        ([1, 1], True, (1, 10)),
    ],
)
def test_axes_have_round_ends(values: list[float], log: bool, ends: tuple[float, float]) -> None:
    axis = axis_of(values, log=log)
    assert (axis.low, axis.high) == pytest.approx(ends)
    assert all(0 <= axis.share(value) <= 1 for value in values)
