"""The notes that machines can make, by their sources: what a campaign never reached is what it says nothing about.

A note is found where some call `....note("name", ...)` has its name in place; one whose name is put together is not.
"""

import ast
from collections.abc import Iterable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable


def notes_of(packages: Iterable[str]) -> dict[str, str]:
    """Every note in the sources of these packages and those within them, in order, and where it is first made:
    "module.py:line".  Raises ModuleNotFoundError for a package that there is not."""
    found: dict[str, str] = {}
    for package in packages:
        for source in _sources(resources.files(package)):
            for what, line in _notes_in(source.read_text(encoding="utf-8")):
                found.setdefault(what, f"{source.name}:{line}")
    return dict(sorted(found.items()))


def _sources(folder: Traversable) -> Iterator[Traversable]:
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.is_dir():
            yield from _sources(each)
        elif each.name.endswith(".py"):
            yield each


def _notes_in(source: str) -> list[tuple[str, int]]:
    """Each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="note"), args=[ast.Constant(value=str(what)), *_]):
                found.append((what, node.lineno))
    return sorted(found)
