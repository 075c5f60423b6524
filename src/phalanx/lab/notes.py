"""The notes that machines can make, by their sources: what a campaign never reached is what it says nothing about.

A note is found where some call `....note("name", ...)` has its name in place.  One whose name is composed of texts and of
the name of an enumeration's member, as `note(f"calls.{finish.name.lower()}")` is, stands for one note per member; the
variable must be a parameter that is annotated with the enumeration.  A call that hands on the name it was given,
`note(what, ...)`, makes no note of its own.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import product
from typing import NamedTuple


class _Source(NamedTuple):
    """A module."""

    file: str
    tree: ast.Module


def notes_of(packages: Iterable[str]) -> dict[str, str]:
    """Every note in the sources of these packages and those within them, in order, and where it is first made:
    "module.py:line".  Raises ModuleNotFoundError for a package that there is not, and ValueError for a note whose name
    is composed in a way that this does not understand."""
    texts = (
        (each.name, each.read_text(encoding="utf-8"))
        for package in packages
        for each in modules_in(resources.files(package))
    )
    sources = [_Source(name, ast.parse(text)) for name, text in texts if ".note(" in text or "Enum" in text]
    members = {name: each for source in sources for name, each in _enumerations(source.tree)}
    found: dict[str, str] = {}
    for source in sources:
        for line, name, annotations in sorted(_calls(source.tree), key=lambda call: call[0]):
            place = f"{source.file}:{line}"
            for what in sorted(_names(name, annotations, members, place)):
                found.setdefault(what, place)
    return dict(sorted(found.items()))


def modules_in(folder: Traversable) -> Iterator[Traversable]:
    """The files of all modules in a package and those within it, in order."""
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.is_dir():
            yield from modules_in(each)
        elif each.name.endswith(".py"):
            yield each


def _enumerations(tree: ast.Module) -> Iterator[tuple[str, Sequence[str]]]:
    """Each enumeration of the module with the names of its members, in order."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(_last(base).endswith("Enum") for base in node.bases):
            targets = [target for each in node.body if isinstance(each, ast.Assign) for target in each.targets]
            yield node.name, [target.id for target in targets if isinstance(target, ast.Name)]


def _calls(
    tree: ast.AST, annotations: Mapping[str, str] | None = None
) -> Iterator[tuple[int, ast.expr, Mapping[str, str]]]:
    """Each call that makes a note: its line, its name as it is written, and the annotations of the parameters around."""
    around = annotations or {}
    for node in ast.iter_child_nodes(tree):
        inside = around
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            inside = {**around, **{each.arg: _last(each.annotation) for each in every}}
        match node:
            case ast.Call(func=ast.Attribute(attr="note"), args=[name, *_]):
                yield node.lineno, name, around
        yield from _calls(node, inside)


def _names(
    name: ast.expr, annotations: Mapping[str, str], members: Mapping[str, Sequence[str]], place: str
) -> Iterator[str]:
    """All that the expression may stand for."""
    match name:
        case ast.Constant(value=str(what)):
            yield what
        case ast.JoinedStr(values=parts):
            for texts in product(*(_part(each, annotations, members, place) for each in parts)):
                yield "".join(texts)
        case ast.Name():
            pass  # handed on: whoever gave the name made the note
        case _:
            raise ValueError(f"{place}: nobody can tell what notes {ast.unparse(name)} stands for")


def _part(
    part: ast.expr, annotations: Mapping[str, str], members: Mapping[str, Sequence[str]], place: str
) -> Sequence[str]:
    match part:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.FormattedValue(value=value):
            lower = False
            match value:
                case ast.Call(func=ast.Attribute(value=inner, attr="lower"), args=[]):
                    value, lower = inner, True
            match value:
                case ast.Attribute(value=ast.Name(id=variable), attr="name"):
                    known = members.get(annotations.get(variable, ""))
                    if known:
                        return [each.lower() if lower else each for each in known]
    raise ValueError(f"{place}: nobody can tell what notes {ast.unparse(part)} stands for")


def _last(expression: ast.expr | None) -> str:
    """The last part of a name with dots: of an annotation, or of a base; "" if it is something else."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Constant(value=str(text)):
            return text.rpartition(".")[2]
    return ""
