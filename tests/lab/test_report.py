"""A campaign's report (lab/report.py): the page shows what went wrong, and everything in it is escaped."""

from xml.etree import ElementTree

import msgspec

from phalanx.lab.report import POINTS_MAX, RARE_MAX, Failed, Report, as_html, as_json
from phalanx.sim.conditions import Conditions
from phalanx.sim.faults import Crash
from phalanx.sim.plan import Plan

PLAN = Plan(7, 3, Conditions(), (Crash(1, 2, None),))
CLEAN = Report("groups", 5, False, 9, 0, 0, 1000, 10**9, (), {}, {"promise": 3}, {"promise x3": 9}, ((1, 1),), ())


def figure_in(page: str) -> ElementTree.Element:
    return ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


def test_a_clean_campaign_has_no_failures() -> None:
    page = as_html(CLEAN)
    assert '<p class="good">seeds=9 violations=0 stuck=0</p>' in page
    assert "Failures" not in page
    assert "no run made" not in page
    assert figure_in(page).tag.endswith("svg")


def test_failures_are_told_with_their_plan_and_never_as_markup() -> None:
    failed = Failed("seed=7 <b>wrong</b>", "phalanx sim --replay 7", PLAN)
    report = msgspec.structs.replace(CLEAN, violations=1, failed=(failed,), never={"a&b": "x.py:1"})
    page = as_html(report)
    assert '<p class="bad">seeds=9 violations=1 stuck=0</p>' in page
    assert "seed=7 &lt;b&gt;wrong&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "phalanx sim --replay 7" in page
    assert "Crash(at_ns=1, node=2" in page
    assert "a&amp;b (x.py:1)" in page


def test_json_holds_all_of_it() -> None:
    report = msgspec.structs.replace(CLEAN, failed=(Failed("x", "y", PLAN),), stuck=1)
    assert msgspec.json.decode(as_json(report), type=Report) == report


def test_a_page_stays_small() -> None:
    """A limit on everything (STYLE 10): POINTS_MAX and RARE_MAX."""
    many = msgspec.structs.replace(
        CLEAN,
        features={f"f{index} x1": index for index in range(9_000)},
        growth=tuple((index, index) for index in range(9_000)),
        seeds=9_000,
    )
    page = as_html(many)
    assert page.count("<td>f") == RARE_MAX
    assert len(page) < 20_000 + 20 * POINTS_MAX


def test_a_campaign_of_no_runs_has_a_page() -> None:
    empty = msgspec.structs.replace(CLEAN, seeds=0, notes={}, features={}, growth=())
    assert "seeds=0" in as_html(empty)
    assert figure_in(as_html(empty)).tag.endswith("svg")
