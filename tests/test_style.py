"""How the code reads, as far as a machine can tell (see docs/CONTRIBUTING.md).

What is over a limit today is listed by name with its size. The lists are ratchets: an entry must equal the truth, so
whoever shrinks a function lowers its entry or deletes it, and nothing on a list can grow.
"""

import ast
import importlib.metadata
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from phalanx.cli.main import COMMANDS
from tests.source import ROOT, Module, companions, compiled_modules, package_modules, reached_from

FUNCTION_LINES = 60
"""One screen: lines of code, without docstring, comments and blank lines."""
LONG_FUNCTIONS: dict[str, int] = {}

MODULE_LINES = 400
"""All lines of the file."""
LONG_MODULES: dict[str, int] = {}

NOT_YET_REACHED: frozenset[str] = frozenset()
"""Layers that hold modules to which no import leads yet from the package, its commands, examples or benchmarks."""

FACES = ("phalanx", "phalanx.metrics", "phalanx.sync", "phalanx.testing")
"""What users import."""

ROUGH_MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
IGNORE = re.compile(r"#\s*(?:type:\s*ignore|noqa)\b")
EXPLAINED_IGNORE = re.compile(r"#\s*(?:type:\s*ignore\[[\w, -]+\]|noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)\W+\w\S*\s+\S")


def everything() -> list[Module]:
    return [*package_modules(), *companions()]


# --- measures -----------------------------------------------------------------------------------------------------


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, text: list[str]) -> int:
    """Lines from `def` to the end, without docstring, comments and blank lines."""
    lines = set(range(function.lineno, (function.end_lineno or function.lineno) + 1))
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        lines -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return sum(1 for n in lines if text[n - 1].strip() and not text[n - 1].lstrip().startswith("#"))


def functions_in(module: Module) -> Iterator[tuple[str, int]]:
    """Each function and method, by dotted name, with its number of code lines."""
    text = module.text.splitlines()

    def visit(node: ast.AST, path: str) -> Iterator[tuple[str, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path}.{child.name}"
                yield name, code_lines(child, text)
                yield from visit(child, name)
            else:
                yield from visit(child, f"{path}.{child.name}" if isinstance(child, ast.ClassDef) else path)

    return visit(module.tree, module.name)


def against_ratchet(sizes: Iterable[tuple[str, int]], limit: int, known: Mapping[str, int]) -> list[str]:
    """What is wrong with the sizes or with the list of known exceptions."""
    wrong = []
    over = {name: size for name, size in sizes if size > limit}
    for name, size in over.items():
        if name not in known:
            wrong.append(f"{name} has {size} lines, the limit is {limit}: split it")
        elif size > known[name]:
            wrong.append(f"{name} grew from {known[name]} to {size} lines")
        elif size < known[name]:
            wrong.append(f"{name} shrank: lower its entry from {known[name]} to {size}")
    return wrong + [f"{name} is within the limit: delete its entry" for name in known if name not in over]


def undocumented(module: Module) -> list[str]:
    """The module and its public classes and functions that have no docstring.  Of overloads, the last one has it."""
    if any(part.startswith("_") for part in module.name.split(".") if part != "__main__"):
        return []
    named = [(module.name, module.tree)] + [
        (f"{module.name}.{node.name}", node)
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not any(ast.unparse(decorator) in {"overload", "typing.overload"} for decorator in node.decorator_list)
    ]
    return [name for name, node in named if not ast.get_docstring(node)]


def unexplained_ignores(module: Module) -> list[str]:
    """Comments that switch a check off without naming it and saying why."""
    return [
        f"{module.name}:{token.start[0]}: {token.string}"
        for token in tokenize.generate_tokens(io.StringIO(module.text).readline)
        if token.type == tokenize.COMMENT and IGNORE.search(token.string) and not EXPLAINED_IGNORE.search(token.string)
    ]


def sleeps_in(module: Module) -> list[str]:
    """Calls that wait for real time to pass.  `sleep(0)` only lets others run."""
    return [
        f"{module.name}:{node.lineno}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"time.sleep", "asyncio.sleep"}
        and [ast.unparse(argument) for argument in node.args] != ["0"]
    ]


def handed_on_expressions(module: Module) -> list[str]:
    """Generator expressions that a function returns.  Compiled ones are lists, so all of them is worked out at once."""
    return [
        f"{module.name}:{node.lineno}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.GeneratorExp)
    ]


def narrowed_exceptions(module: Module) -> list[str]:
    """Names that two `except` clauses of a function give to exceptions of different types.  Compiled, a variable has the
    type that is met first, so an exception of another would raise `TypeError` where it is caught."""
    wrong = []
    for function in ast.walk(module.tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            handlers = [node for node in ast.walk(function) if isinstance(node, ast.ExceptHandler) and node.type]
            types: dict[str | None, str] = {None: ""}
            for handler in handlers:
                assert handler.type is not None
                text = ast.unparse(handler.type)
                if handler.name and types.setdefault(handler.name, text) != text:
                    wrong.append(f"{module.name}:{handler.lineno}")
    return wrong


def unreached(package: Iterable[Module], others: Iterable[Module]) -> set[str]:
    """Modules of the package to which no import leads from its face, its commands, or `others`.  Tests are no reason
    for a module to exist, so they are not asked."""
    modules = {module.name: module for module in [*package, *others]}
    commands = {f"phalanx.cli.{module}" for module, _ in COMMANDS.values()}  # imported by name, when they are asked for
    roots = {*FACES, "phalanx.__main__", "phalanx.cli.main"} | commands | {module.name for module in others}
    return {module.name for module in package} - reached_from(roots, modules)


def closure_of(requirements: Iterable[str], extras: frozenset[str] = frozenset({""})) -> set[str]:
    """The names of all distributions that the requirements need on this machine, themselves included."""
    names: set[str] = set()
    pending = [(Requirement(text), extras) for text in requirements]
    while pending:
        requirement, asked = pending.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in asked):
            continue
        if name not in names:
            names.add(name)
            needs = importlib.metadata.requires(name) or []
            pending += [(Requirement(text), frozenset(requirement.extras) | {""}) for text in needs]
    return names


# --- the repository -----------------------------------------------------------------------------------------------


def test_functions_fit_on_one_screen() -> None:
    sizes = [size for module in everything() for size in functions_in(module)]
    wrong = against_ratchet(sizes, FUNCTION_LINES, LONG_FUNCTIONS)
    assert not wrong, "\n".join(wrong)


def test_modules_are_short() -> None:
    sizes = [(module.name, len(module.text.splitlines())) for module in everything()]
    wrong = against_ratchet(sizes, MODULE_LINES, LONG_MODULES)
    assert not wrong, "\n".join(wrong)


def test_what_is_public_is_documented() -> None:
    wrong = [name for module in package_modules() for name in undocumented(module)]
    assert not wrong, f"without a docstring: {wrong}"


def test_nothing_is_left_for_later() -> None:
    wrong = [module.name for module in package_modules() if ROUGH_MARKS.search(module.text)]
    assert not wrong, f"finish it or drop it: {wrong}"


def test_a_check_is_switched_off_only_with_a_reason() -> None:
    wrong = [line for module in everything() for line in unexplained_ignores(module)]
    assert not wrong, "\n".join(wrong)


def test_tests_do_not_sleep() -> None:
    wrong = [line for module in companions() if module.name.startswith("tests") for line in sleeps_in(module)]
    assert not wrong, f"wait for the event, or use virtual time: {wrong}"


def test_compiled_functions_return_no_generator_expressions() -> None:
    """A page of a range once cost as much as the whole range, where it was compiled."""
    modules = compiled_modules()
    assert {"phalanx.services.store.index", "phalanx.group.machine"} <= {module.name for module in modules}
    wrong = [line for module in modules for line in handed_on_expressions(module)]
    assert not wrong, f"use `yield`, or say that it is a list: {wrong}"


def test_compiled_modules_catch_what_they_say() -> None:
    """A command that raised what it may once stopped its node, where it was compiled."""
    wrong = [line for module in compiled_modules() for line in narrowed_exceptions(module)]
    assert not wrong, f"give the exception a name of its own: {wrong}"


def test_no_module_is_dead() -> None:
    package = package_modules()
    dead = unreached(package, [m for m in companions() if not m.name.startswith("tests")])
    wrong = sorted(name for name in dead if name.split(".")[1] not in NOT_YET_REACHED)
    assert not wrong, f"nothing leads to {wrong}"
    written = {module.name.split(".")[1] for module in package if "." in module.name}
    done = sorted(NOT_YET_REACHED & written - {name.split(".")[1] for name in dead})
    assert not done, f"reached by now, delete from NOT_YET_REACHED: {done}"


def test_build_files_name_no_address() -> None:
    for name in ("Makefile", "constraints.txt", "pyproject.toml", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"://|--(extra-)?index-url|--find-links", text), name


def test_every_dependency_is_pinned_and_nothing_else() -> None:
    """constraints.txt is the whole closure of pyproject.toml, and is what is installed: with Python 3.11, which needs
    more than later ones do."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = closure_of(
        project["project"]["dependencies"]
        + project["project"]["optional-dependencies"]["dev"]
        + project["build-system"]["requires"]
    )
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pins.keys() == needed if sys.version_info < (3, 12) else pins.keys() >= needed
    assert {name: pins[name] for name in needed} == {name: importlib.metadata.version(name) for name in needed}


# --- the measures can fail ----------------------------------------------------------------------------------------


def test_code_lines_leave_out_what_is_not_code() -> None:
    source = (
        'class C:\n    def f(self):\n        """Doc.\n\n        More."""\n        # why\n\n'
        "        return (\n            1\n        )\n"
    )
    assert list(functions_in(Module("planted", source))) == [("planted.C.f", 4)]


@pytest.mark.parametrize(
    ("size", "known", "complaint"),
    [
        (11, {}, "split it"),
        (12, {"f": 11}, "grew from 11 to 12"),
        (11, {"f": 12}, "lower its entry from 12 to 11"),
        (10, {"f": 11}, "delete its entry"),
        (11, {"f": 11, "gone": 20}, "gone is within the limit"),
    ],
)
def test_the_ratchet_turns_one_way(size: int, known: dict[str, int], complaint: str) -> None:
    (wrong,) = against_ratchet([("f", size)], 10, known)
    assert complaint in wrong


def test_the_ratchet_holds_what_is_listed() -> None:
    assert against_ratchet([("f", 11), ("g", 10)], 10, {"f": 11}) == []


def test_missing_docstrings_are_found() -> None:
    source = "def f(): ...\ndef _g(): ...\nclass C:\n    def m(self): ...\nclass D:\n    'Doc.'\n"
    assert undocumented(Module("phalanx.planted", source)) == [
        "phalanx.planted",
        "phalanx.planted.f",
        "phalanx.planted.C",
    ]
    assert undocumented(Module("phalanx._planted", source)) == []


@pytest.mark.parametrize(
    ("comment", "explained"),
    [
        ("# type: ignore", False),
        ("# type: ignore[attr-defined]", False),
        ("# type: ignore[attr-defined]  # the stubs lack it", True),
        ("# noqa", False),
        ("# noqa: E501", False),
        ("# noqa: E501, F401", False),
        ("# noqa: E501 - a table reads better unbroken", True),
        ("# noqa: E501, F401: a table reads better unbroken", True),
        ("# a plain comment", True),
    ],
)
def test_an_ignore_needs_its_code_and_its_reason(comment: str, explained: bool) -> None:
    assert (unexplained_ignores(Module("planted", f"x = 1  {comment}\n")) == []) is explained


@pytest.mark.parametrize(
    ("call", "count"),
    [
        ("await asyncio.sleep(0.1)", 1),
        ("time.sleep(1)", 1),
        ("await asyncio.sleep(0)", 0),
        ("world.sleep(5)", 0),
        ("'time.sleep(1)'", 0),
    ],
)
def test_a_sleep_is_found(call: str, count: int) -> None:
    assert len(sleeps_in(Module("tests.planted", f"async def f():\n    {call}\n"))) == count


@pytest.mark.parametrize(
    ("body", "count"),
    [("return (n for n in range(9))", 1), ("return [n for n in range(9)]", 0), ("yield from (n for n in x)", 0)],
)
def test_a_generator_expression_that_is_returned_is_found(body: str, count: int) -> None:
    assert len(handed_on_expressions(Module("planted", f"def f():\n    {body}\n"))) == count


@pytest.mark.parametrize(
    ("second", "count"), [("Error as e", 1), ("Error as f", 0), ("KeyError as e", 0), ("Error", 0)]
)
def test_an_exception_under_the_name_of_another_is_found(second: str, count: int) -> None:
    body = f"    try:\n        g()\n    except KeyError as e:\n        pass\n    except {second}:\n        pass\n"
    assert len(narrowed_exceptions(Module("planted", f"def f():\n{body}"))) == count


def test_a_dead_module_is_found() -> None:
    package = [
        Module("phalanx", "from phalanx.api import connect", is_package=True),
        Module("phalanx.api", "", is_package=True),
        Module("phalanx.cli", "", is_package=True),
        Module("phalanx.cli.main", "def demo():\n    from ..sim import world"),
        Module("phalanx.sim", "", is_package=True),
        Module("phalanx.sim.world", "from . import faults"),
        Module("phalanx.sim.faults", ""),
        Module("phalanx.sim.campaign", "from phalanx.sim import world"),
        Module("phalanx.parts", "", is_package=True),
    ]
    assert unreached(package, []) == {"phalanx.sim.campaign", "phalanx.parts"}
    assert unreached(package, [Module("bench.worlds", "import phalanx.sim.campaign")]) == {"phalanx.parts"}


def test_the_closure_follows_extras_and_markers() -> None:
    assert "execnet" in closure_of(["pytest-xdist"])
    assert closure_of([f"pytest; python_version < '{sys.version_info.major}'"]) == set()
    assert "typer" in closure_of(["phalanx"])
    assert "ruff" not in closure_of(["phalanx"])
    assert "ruff" in closure_of(["phalanx[dev]"])
