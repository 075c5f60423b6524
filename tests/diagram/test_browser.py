"""The page in a real browser: what it shows, and what it does when it is used (diagram/assets)."""

from pathlib import Path

import pytest

from phalanx.diagram.layout import lay_out
from phalanx.diagram.model import Diagram
from phalanx.model.clock import SECOND
from tests.diagram.browser import Browser
from tests.diagram.chronicles import STORY
from tests.diagram.hostile import HOSTILE
from tests.diagram.opened import Page

pytestmark = pytest.mark.real


def drawable(diagram: Diagram) -> int:
    return sum(arrow.source != arrow.target for arrow in diagram.arrows)


def test_it_opens_and_draws_a_run_of_seven_with_5000_events(page: Page) -> None:
    counts = page.counts()
    assert counts["messages"] == drawable(page.diagram)
    assert counts["marks"] == len(page.diagram.marks)
    assert 1_000 < counts["lines"] <= len(page.diagram.lines)
    assert page.ink() > 20_000
    assert page.ask("document.querySelectorAll('.row').length") < 100, "only what is in sight is in the page"
    assert f"{len(page.diagram.lines):,}".replace(",", "\u2009") in page.ask(
        "document.getElementById('counts').textContent"
    )


def test_zoom_and_pan_change_what_is_in_sight_and_all_of_it_comes_back(page: Page) -> None:
    whole = page.counts()
    page.press(*"++++++")
    near = page.counts()
    assert near["messages"] < whole["messages"]
    assert near["until"] - near["from"] < (whole["until"] - whole["from"]) / 15
    page.press("]", "]")
    further = page.counts()
    assert further["from"] > near["from"]
    assert abs((further["until"] - further["from"]) - (near["until"] - near["from"])) <= 2
    page.browser.mouse("mouseWheel", 500, 300, deltaX=0, deltaY=-500)
    assert page.counts()["until"] - page.counts()["from"] < near["until"] - near["from"]
    before = page.counts()["from"]
    for kind, x in (("mousePressed", 600), ("mouseMoved", 500), ("mouseMoved", 400), ("mouseReleased", 400)):
        page.browser.mouse(kind, x, 300, button="left", buttons=1, clickCount=1)
    assert page.counts()["from"] > before, "dragging to the left shows what is later"
    page.press("0")
    assert page.counts() == whole


def test_what_is_in_sight_is_what_the_model_says(page: Page) -> None:
    page.press(*"++++++++")
    counts = page.counts()
    near = [
        a
        for a in page.diagram.arrows
        if a.begin_ns <= counts["until"] and a.end_ns >= counts["from"] and a.source != a.target
    ]
    assert 0 < counts["messages"] == len(near)
    assert counts["marks"] == sum(counts["from"] <= mark.at_ns <= counts["until"] for mark in page.diagram.marks)


def test_filters_leave_out_kinds_groups_and_processes(page: Page) -> None:
    diagram, whole = page.diagram, page.counts()
    kinds = {kind.name: number for number, kind in enumerate(diagram.kinds)}
    page.tick("kinds", "Row")
    without_rows = sum(arrow.kind != kinds["Row"] and arrow.source != arrow.target for arrow in diagram.arrows)
    assert page.counts()["messages"] == without_rows < whole["messages"]
    page.tick("kinds", "Row")
    assert page.counts() == whole
    page.tick("processes", "n3")
    lane = [lane.name for lane in diagram.lanes].index("n3")
    assert page.counts()["messages"] == sum(
        lane not in (a.source, a.target) and a.source != a.target for a in diagram.arrows
    )
    assert page.counts()["marks"] == sum(mark.lane != lane for mark in diagram.marks)
    page.tick("processes", "n3")
    page.tick("groups", "the cluster as a whole")
    assert page.counts()["messages"] == sum(bool(a.groups) and a.source != a.target for a in diagram.arrows)
    page.tick("groups", diagram.groups[0])
    assert page.counts()["messages"] == sum(bool({*a.groups} - {0}) and a.source != a.target for a in diagram.arrows)
    assert page.ask("document.querySelectorAll('#kinds input').length") == len(diagram.kinds)


def test_lines_with_nothing_to_draw_are_shown_on_request(page: Page) -> None:
    before = page.counts()["lines"]
    page.ask("document.getElementById('quiet').click()")
    assert before < page.counts()["lines"] == len(page.diagram.lines)


def test_steps_go_forward_and_back_and_stay_at_a_process(page: Page) -> None:
    page.press("Home")
    home = page.selected()
    page.press("Escape", "ArrowRight")
    assert page.selected() == home is not None
    page.press(*["ArrowRight"] * 5)
    there = page.selected()
    page.press("ArrowRight", "ArrowLeft")
    assert page.selected() == there != home
    page.press(*["ArrowLeft"] * 5)
    assert page.selected() == home
    page.press("ArrowLeft")
    assert page.selected() == home
    page.press("End")
    last = page.selected()
    assert last is not None
    assert last > len(page.diagram.lines) - 20
    page.press("Home", "ArrowRight", "ArrowRight")
    first = page.selected()
    assert first is not None
    page.press("ArrowRight", "ArrowRight", shift=True)
    second = page.selected()
    assert second is not None
    assert second > first
    assert page.diagram.lines[second].lane == page.diagram.lines[first].lane
    page.press("ArrowDown")
    third = page.selected()
    assert third is not None
    assert page.diagram.lines[third].lane == page.diagram.lines[second].lane + 1
    page.press("Escape")
    assert page.selected() is None


def test_a_message_is_followed_to_its_other_end(used: Browser, seven: Diagram, tmp_path: Path) -> None:
    used.errors.clear()
    arrow = next(a for a in seven.arrows if seven.kinds[a.kind].name == "Data" and a.taken >= 0)
    others = [a.taken for a in seven.arrows if a.asked == arrow.asked and a.taken >= 0]
    page = Page(used, seven, tmp_path, f"#line={arrow.asked + 1}")
    assert page.selected() == arrow.asked, "a link to a line selects it"
    page.press("Enter")
    there = page.selected()
    assert there is not None
    assert there in others
    page.press("Home")
    page.ask(f"location.hash = '#line={there + 1}'")
    page.settle()
    assert page.selected() == there
    assert page.ask("document.querySelector('#details h2 a').href").endswith(f"#line={there + 1}")
    assert used.errors == []


def test_the_selected_event_shows_its_line_its_messages_and_all_states(page: Page) -> None:
    page.press("v", "v")
    line = page.selected()
    assert line is not None
    drawn = page.diagram.lines[line]
    assert f"line {line + 1} of" in page.heading()
    assert page.diagram.lanes[drawn.lane].name in page.heading()
    assert page.ask("document.querySelector('#details .text').textContent") == drawn.text
    assert page.ask("document.querySelectorAll('#details table tr').length") == 1 + len(page.diagram.lanes)
    assert page.ask("document.getElementById('said').textContent").startswith(page.diagram.lanes[drawn.lane].name)
    labels = {page.diagram.texts[mark.text] for mark in page.diagram.marks if mark.line == line}
    assert labels <= set(page.ask("[...document.querySelectorAll('#details p')].map(p => p.textContent)"))


def test_a_line_of_the_trace_is_linked_to_the_diagram_and_back(page: Page) -> None:
    page.press(*"++++++")
    page.ask("document.getElementById('trace').scrollTop = document.getElementById('rows').offsetHeight * 0.7")
    page.settle()
    page.click(".row:nth-child(8)")
    line, counts = page.selected(), page.counts()
    assert line is not None
    assert counts["from"] <= page.diagram.lines[line].at_ns <= counts["until"], "the window has moved there"
    x, y, _, height = page.box("#canvas")
    for down in range(60, int(height), 4):  # across the lanes
        page.browser.click(x + 500, y + down)
        page.settle()
        if page.selected() != line:
            break
    assert page.selected() != line


def test_the_pointer_shows_what_is_under_it(page: Page) -> None:
    shown = set()
    for y in range(100, 700, 6):
        page.browser.mouse("mouseMoved", 420, y)
        if not page.ask("document.getElementById('hint').hidden"):
            shown.add(page.ask("document.getElementById('hint').textContent"))
    assert len(shown) > 5
    assert any(" → " in text and "sent at" in text for text in shown)
    assert any(" in view " in text for text in shown), "the state of a process"
    page.browser.mouse("mouseMoved", 421, 200)
    page.press("]")
    assert page.ask("document.getElementById('hint').hidden"), "what was under the pointer has moved away"


def test_text_is_found_in_the_trace_and_in_messages(page: Page) -> None:
    page.press("/")
    page.browser.type("Prepare(")
    page.press("Enter")
    found = page.ask("document.getElementById('found').textContent")
    first = page.selected()
    assert found.startswith("1 of ")
    assert first is not None
    page.press("Enter")
    second = page.selected()
    assert second is not None
    assert second > first
    assert page.ask("document.getElementById('found').textContent").startswith("2 of ")
    page.press("Enter", shift=True)
    assert page.selected() == first


def test_by_order_every_event_has_the_same_room(page: Page) -> None:
    whole = page.counts()
    page.press("s")
    assert page.ask("document.getElementById('by-order').getAttribute('aria-pressed')") == "true"
    assert page.counts()["messages"] == whole["messages"]
    page.press(*"+++++")
    middle = page.counts()
    assert 0 < middle["messages"] < whole["messages"]
    page.press("s")
    back = page.counts()
    assert abs(back["from"] - middle["from"]) < SECOND // 100
    assert abs(back["until"] - middle["until"]) < SECOND // 100


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(part) / 255 for part in colour[4:-1].split(",")]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_read_in_light_and_dark(page: Page, theme: str) -> None:
    """WCAG 2: 4.5 to 1 for text, 3 to 1 for signs that mean something."""
    page.browser.prefer(theme)
    page.settle()

    def colour(name: str) -> float:
        return luminance(
            page.ask(
                "(() => { const i = document.createElement('i'); document.body.append(i);"
                f"i.style.color = 'var(--{name})'; const c = getComputedStyle(i).color; i.remove(); return c; }})()"
            )
        )

    for ground in ("ground", "raised"):
        behind = colour(ground)
        assert (behind > 0.5) == (theme == "light")
        for least, names in (
            (4.5, ("ink", "soft")),
            (3.0, ("data", "membership", "transfer", "client", "other", "lost", "warn")),
        ):
            for name in names:
                high, low = sorted((colour(name), behind), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= least, f"{name} on {ground}"
    assert page.ink() > 20_000


def test_all_controls_have_names_and_keys_are_explained(page: Page) -> None:
    page.press("f")
    unnamed = page.ask(
        "[...document.querySelectorAll('button, input, canvas[tabindex]')].filter(e => !(e.getAttribute('aria-label') || "
        "e.textContent.trim() || e.closest('label')?.textContent.trim())).length"
    )
    assert unnamed == 0
    page.press("?")
    assert page.ask("document.getElementById('keys').open")
    page.press("Escape")
    assert not page.ask("document.getElementById('keys').open")


def test_hostile_texts_do_nothing(used: Browser, tmp_path: Path) -> None:
    used.errors.clear()
    page = Page(used, lay_out(HOSTILE), tmp_path)
    page.press("ArrowRight", "ArrowRight", "f", "v", "v", "s", "Enter", "t")
    for y in range(60, 700, 15):
        page.browser.mouse("mouseMoved", 500, y)
    assert page.ask("window.hacked") is None
    assert page.ask("document.querySelectorAll('script, img, svg').length") == 2
    assert used.errors == []


def test_a_small_and_an_empty_diagram_are_shown_as_well(used: Browser, tmp_path: Path) -> None:
    used.errors.clear()
    page = Page(used, lay_out(STORY), tmp_path)
    assert page.counts()["messages"] == 5
    page.press("ArrowRight", "v", "c", "s", "+", "+", "0", "End")
    assert page.selected() == len(STORY.lines) - 1
    page = Page(used, lay_out(STORY, since_ns=50, until_ns=60), tmp_path)
    page.press("ArrowRight", "v", "s", "+", "Enter", "ArrowDown")
    assert used.errors == []
