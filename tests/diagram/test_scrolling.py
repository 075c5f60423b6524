"""The page in a real browser: a long run scrolls smoothly, and everything has its place in a narrow window."""

import pytest

from tests.diagram.opened import Page

pytestmark = pytest.mark.real

COUNTING = """
window.operations = 0;
window.drawings = 0;
window.elsewhere = 0;
for (const name of ["moveTo", "lineTo", "arc", "bezierCurveTo", "stroke", "fill", "fillRect", "fillText", "strokeRect"]) {
  const real = CanvasRenderingContext2D.prototype[name];
  CanvasRenderingContext2D.prototype[name] = function (...all) {
    window.operations += 1;
    if (this.canvas.id !== "canvas") window.elsewhere += 1;
    return real.apply(this, all);
  };
}
const clear = CanvasRenderingContext2D.prototype.clearRect;
CanvasRenderingContext2D.prototype.clearRect = function (...all) {
  if (this.canvas.id === "canvas") window.drawings += 1;
  return clear.apply(this, all);
};
"""
"""Counts what is done to draw: it is the same on every machine, as no time is."""


def test_it_scrolls_smoothly_a_frame_costs_what_is_in_sight_and_is_drawn_once(page: Page) -> None:
    def scroll(turns: int, more: str) -> None:
        page.ask(
            f"for (let n = 0; n < {turns}; n += 1) document.getElementById('canvas').dispatchEvent("
            f"new WheelEvent('wheel', {{cancelable: true, {more}}}))"
        )
        page.settle()

    def work() -> int:
        """Of one drawing."""
        page.ask("window.operations = window.drawings = window.elsewhere = 0")
        scroll(1, "deltaX: 3")
        assert page.ask("window.drawings") == 1
        assert page.ask("window.elsewhere") <= 4, "below only the frame that shows where the window is"
        found: int = page.ask("window.operations")
        return found

    page.ask(COUNTING)
    scroll(200, "deltaX: 2")
    assert page.ask("window.drawings") == 1, "however fast the wheel is, a frame is drawn once"

    lanes = len(page.diagram.lanes)
    states = len(page.diagram.states) + sum(len(lane.lives) + len(lane.pauses) for lane in page.diagram.lanes)
    for keys, most in (("0", len(page.diagram.arrows)), ("+++++", 2_000), ("++++", 500), ("++", 200)):
        page.press(*keys)
        counts = page.counts()
        assert counts["messages"] <= most
        things = counts["messages"] + counts["marks"] + len(page.diagram.cuts) * lanes + states
        assert work() <= 12 * things + 500, "a few lines for each thing in sight, and none for others"
    assert work() < 4_000

    page.ask("window.drawings = 0")
    page.browser.mouse("mousePressed", 500, 300, button="left", buttons=1, clickCount=1)
    for n in range(40):
        page.browser.mouse("mouseMoved", 495 - 5 * n, 300, button="left", buttons=1)
    page.browser.mouse("mouseReleased", 300, 300, button="left", clickCount=1)
    page.settle()
    assert 0 < page.ask("window.drawings") <= 42, "a drag too is drawn at most once for each move"


def test_the_trace_is_there_wherever_it_is_scrolled_to(page: Page) -> None:
    x, y, width, height = page.box("#trace")
    middle = f"document.elementFromPoint({x + width / 2}, {y + height / 2}).closest('.row')"
    lines = []
    for share in (0.0, 0.1, 0.35, 0.36, 0.8, 1.0):
        page.ask(f"(t => {{ t.scrollTop = {share} * t.scrollHeight; }})(document.getElementById('trace'))")
        page.settle()
        lines.append(page.ask(f"Number({middle}.dataset.line)"))
        assert page.ask("document.querySelectorAll('.row').length") < 100, "only what is in sight is in the page"
    assert lines == sorted(set(lines))


def test_the_trace_shows_what_the_window_begins_with(page: Page) -> None:
    page.press(*"++++++", "]", "]")
    since = page.counts()["from"]
    x, y, _, _ = page.box("#trace")
    top = page.ask(f"document.elementFromPoint({x + 50}, {y + 4}).closest('.row').dataset.line")
    assert page.diagram.lines[int(top)].at_ns >= since
    assert page.diagram.lines[int(top) - 40].at_ns < since
    assert page.selected() is None


def test_near_is_so_near_that_messages_can_be_told_apart(page: Page) -> None:
    page.press("v", "z")
    line, counts = page.selected(), page.counts()
    assert line is not None
    assert counts["from"] <= page.diagram.lines[line].at_ns <= counts["until"]
    assert 20 < counts["lines"] < 400
    page.press("0")
    page.click("#near")
    assert page.counts() == counts


def test_in_a_narrow_window_everything_is_in_sight_and_nothing_covers_another(page: Page) -> None:
    page.browser.size(400, 800)
    page.settle()
    page.press("v")
    boxes = {
        name: page.box(name) for name in ("header", "#canvas", "#overview", "#legend", "#details", "#trace", "footer")
    }
    bottom = 0.0
    for name, (x, y, width, height) in boxes.items():
        assert (x, x + width) == (0, 400), name
        assert y >= bottom - 0.5, f"{name} is covered"
        bottom = y + height
    assert bottom <= 800
    assert boxes["#canvas"][3] > 200
    assert boxes["#trace"][3] > 60
    for button in page.ask("[...document.querySelectorAll('header button, header input')].map(b => b.id)"):
        x, _, width, _ = page.box(f"#{button}")
        assert x >= 0, button
        assert x + width <= 400, button
    assert page.ink() > 5_000
