"""One self-contained page: the diagram as data, with the script that draws it and lets people explore it.

The page loads nothing, and its own policy forbids that anything else runs in it: neither a script nor a style that is not
the one whose hash it names.  What comes from a run is data: it is in no place where a browser reads markup or code.
"""

import base64
import hashlib
from html import escape
from importlib import resources
from string import Template
from typing import Any

import msgspec

from phalanx.diagram import model
from phalanx.diagram.model import Diagram

SCRIPTS = (
    "data.js",
    "drawing.js",
    "signs.js",
    "strip.js",
    "trace.js",
    "window.js",
    "pointer.js",
    "legend.js",
    "page.js",
)
"""The parts of the script, in the order in which they are put together."""

_STRUCTS = (
    model.Span,
    model.Lane,
    model.Kind,
    model.Arrow,
    model.Point,
    model.Cut,
    model.Mark,
    model.State,
    model.Trouble,
    model.Line,
)
"""What is written as a list: the page is told the names of the fields."""


def render(diagram: Diagram) -> str:
    """The page, in HTML."""
    script = "\n".join(('"use strict";\n(() => {', *map(_asset, SCRIPTS), "})();"))
    style = _asset("style.css")
    return Template(_asset("page.html")).substitute(
        title=escape(diagram.title),
        subtitle=escape(diagram.subtitle),
        style=style,
        style_hash=_digest(style),
        script=script,
        script_hash=_digest(script),
        data=_inert({"fields": {struct.__name__: struct.__struct_fields__ for struct in _STRUCTS}, "diagram": diagram}),
    )


def _asset(name: str) -> str:
    return resources.files("phalanx.diagram").joinpath("assets", name).read_text(encoding="utf-8")


def _inert(value: Any) -> str:
    """JSON that may stand in a script element: there is nothing in it that could end that, or begin a comment."""
    text = msgspec.json.encode(value).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(text: str) -> str:
    """As a content security policy names a script or a style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
