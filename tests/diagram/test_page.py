"""The page is one file that loads nothing, and what comes from a run is nowhere markup or code (diagram/page.py)."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib import resources

from phalanx.diagram.layout import lay_out
from phalanx.diagram.page import SCRIPTS, render
from tests.diagram.chronicles import STORY
from tests.diagram.hostile import EVIL, HOSTILE


class Elements(HTMLParser):
    """The elements of a page, with their attributes, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))
        self._inside = True

    def handle_endtag(self, tag: str) -> None:
        del tag
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            tag, attrs, text = self.found[-1]
            self.found[-1] = tag, attrs, text + data

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attrs, text) for name, attrs, text in self.found if name == tag]


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_page_refers_to_nothing_outside() -> None:
    page = render(lay_out(STORY))
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", page)
    for tag, attributes, _ in Elements(page).found:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert not {"src", "href", "srcset", "data", "style"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)


def test_its_policy_lets_only_its_own_script_and_style_run() -> None:
    elements = Elements(render(lay_out(STORY)))
    [policy] = [attrs["content"] for attrs, _ in elements.of("meta") if "http-equiv" in attrs]
    assert policy is not None
    [(_, style)] = elements.of("style")
    (data, _), (attributes, script) = elements.of("script")
    assert data["type"] == "application/json"
    assert attributes == {}
    assert policy.split("; ")[:3] == [
        "default-src 'none'",
        f"style-src 'sha256-{digest(style)}'",
        f"script-src 'sha256-{digest(script)}'",
    ]


def test_the_data_is_the_diagram() -> None:
    diagram = lay_out(STORY)
    [_, text] = Elements(render(diagram)).of("script")[0]
    told = json.loads(text)
    assert told["fields"]["Arrow"] == list(type(diagram.arrows[0]).__struct_fields__)
    assert len(told["diagram"]["arrows"]) == len(diagram.arrows)
    assert told["diagram"]["texts"] == list(diagram.texts)
    assert told["diagram"]["lines"][3] == [2_000_000, 0, "line 3"]


def test_hostile_texts_stay_texts() -> None:
    harmless, page = render(lay_out(STORY)), render(lay_out(HOSTILE))
    elements = Elements(page)
    assert [tag for tag, _, _ in elements.found] == [tag for tag, _, _ in Elements(harmless).found]
    [_, text] = elements.of("script")[0]
    assert not re.search("[<>&]", text)
    told = json.loads(text)["diagram"]
    assert [lane[0] for lane in told["lanes"]] == list(EVIL)
    assert {line[2] for line in told["lines"]} == set(EVIL)
    assert elements.of("h1")[0][1] == EVIL[0]


def test_the_script_never_reads_markup() -> None:
    folder = resources.files("phalanx.diagram").joinpath("assets")
    for name in SCRIPTS:
        script = folder.joinpath(name).read_text(encoding="utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|fetch\(|import\(", script
        ), name
        assert len(script.splitlines()) < 400, f"{name}: as Python modules, it is split by role"
        assert "</" not in script.replace("</h", ""), f"{name}: could end its element"
    assert {path.name for path in folder.iterdir()} == {*SCRIPTS, "page.html", "style.css"}
