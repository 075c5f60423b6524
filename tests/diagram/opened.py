"""A diagram that is open in a browser."""

import json
from pathlib import Path
from typing import Any

from phalanx.diagram.model import Diagram
from phalanx.diagram.page import render
from tests.diagram.browser import Browser


class Page:
    """The page, and what a reader does with it."""

    def __init__(self, used: Browser, diagram: Diagram, place: Path, fragment: str = "") -> None:
        self.browser = used
        self.diagram = diagram
        path = place / "diagram.html"
        path.write_text(render(diagram), encoding="utf-8")
        used.open(path, fragment)
        used.size(1500, 900)
        self.settle()

    def settle(self) -> None:
        """Until what was asked for is drawn."""
        self.browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def counts(self) -> dict[str, int]:
        self.settle()
        return {
            name: int(value) for name, value in self.ask("({...document.getElementById('counts').dataset})").items()
        }

    def ask(self, expression: str) -> Any:
        return self.browser.run(expression)

    def press(self, *keys: str, shift: bool = False) -> None:
        for key in keys:
            self.browser.press(key, shift=shift)
        self.settle()

    def click(self, selector: str) -> None:
        x, y, width, height = self.box(selector)
        self.browser.click(x + width / 2, y + height / 2)
        self.settle()

    def box(self, selector: str) -> list[float]:
        """Where an element is: x, y, width, height."""
        element = f"document.querySelector({json.dumps(selector)})"
        found: list[float] = self.ask(f"(b => [b.x, b.y, b.width, b.height])({element}.getBoundingClientRect())")
        return found

    def tick(self, box: str, label: str) -> None:
        """Click a check box of the filter."""
        self.ask(f"document.querySelector({json.dumps(f'#{box} input[data-key={json.dumps(label)}]')}).click()")
        self.settle()

    def heading(self) -> str:
        text: str = self.ask("document.querySelector('#details h2').textContent")
        return text

    def selected(self) -> int | None:
        """The line that is marked in the trace, counted from 0."""
        found: str | None = self.ask("document.querySelector('.row.selected')?.dataset.line")
        return None if found is None else int(found)

    def ink(self) -> int:
        """How many pixels of the diagram differ from the first, which is empty."""
        found: int = self.ask(
            "(() => { const c = document.getElementById('canvas');"
            "const p = c.getContext('2d').getImageData(80, 0, c.width - 80, c.height).data.buffer;"
            "return new Uint32Array(p).filter((v, _, all) => v !== all[0]).length; })()"
        )
        return found
