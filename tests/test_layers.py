"""The tree is the architecture: what ARCHITECTURE.md says about layers is what the imports and calls do.

The layer table and the sentence on input and output are read from ARCHITECTURE.md itself, so there is one copy.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.source import PACKAGE, ROOT, Import, Module, imports_of, package_modules

ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")

# fmt: off
OUTSIDE_WORLD = frozenset(
    {
        "asyncio", "concurrent", "fcntl", "logging", "mmap", "multiprocessing", "os", "pathlib", "queue", "secrets",
        "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time",
        "uuid", "uvloop",
    }
)
# fmt: on
"""Modules that do input or output, read a clock, block, or draw chance that no seed replays."""

HARMLESS = frozenset({("pathlib", "PurePath"), ("pathlib", "PurePosixPath")})
"""What those modules have that only computes."""

UNSAFE = frozenset({"pickle", "cPickle", "marshal", "shelve", "dill"})
"""Never on a wire or a disk: they run what they read."""

BANNED_NAMES = {
    "hash": "differs from process to process for strings",
    "id": "differs from run to run",
    "open": "is input or output",
    "print": "is output",
    "input": "is input",
    "eval": "runs text",
    "exec": "runs text",
    "__import__": "hides an import from this test",
}
BANNED_ATTRIBUTES = frozenset({("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")})

LIBRARIES = {
    "msgspec": frozenset({"any layer"}),
    "sortedcontainers": frozenset({"any layer"}),
    "xxhash": frozenset({"services"}),
    "caio": frozenset({"runtime"}),
    "google_crc32c": frozenset({"wire", "runtime"}),
    "uvloop": frozenset({"runtime", "api", "cli"}),
    "typer": frozenset({"cli"}),
    "rich": frozenset({"cli"}),
    "cryptography": frozenset({"lab"}),
    "distributed": frozenset({"lab"}),
    "prometheus_client": frozenset({"metrics"}),
}
"""Where a library may be imported.  One that is not listed may not be imported at all."""

EXCEPTIONS = {
    ("phalanx.diagram.page", "importlib"): "reads its own script and style, which are part of the package",
    ("phalanx.sim.campaign", "time"): "stops starting worlds when the time it was given is used up",
    ("phalanx.sim.workers", "multiprocessing"): "drives worker processes; each runs whole worlds in virtual time",
    ("phalanx.sim.workers", "os"): "counts the cores for them",
    ("phalanx.lab.explore.fork", "id"): "keeps track of objects met before while it copies them, as deepcopy does",
    ("phalanx.lab.leash", "os"): "is a program that becomes another one",
    ("phalanx.lab.leash", "signal"): "names the signal that it asks for",
    ("phalanx.lab.load", "asyncio"): "clients of real clusters",
    ("phalanx.lab.load", "time"): "the times of their calls",
    ("phalanx.lab.loadgen.load", "asyncio"): "clients of real nodes",
    ("phalanx.lab.loadgen.load", "pathlib"): "asks the system how long this process waited for a core",
    ("phalanx.lab.loadgen.load", "time"): "measures",
    ("phalanx.lab.loadgen.worker", "asyncio"): "is a process of such clients",
    ("phalanx.lab.notes", "importlib"): "reads the package's sources for the notes in them",
    ("phalanx.lab.processes", "asyncio"): "starts and asks real nodes",
    ("phalanx.lab.processes", "os"): "has the nodes end with the process that started them",
    ("phalanx.lab.processes", "pathlib"): "their data and logs",
    ("phalanx.lab.processes", "signal"): "stops them and lets them go on",
    ("phalanx.lab.processes", "socket"): "finds free ports",
    ("phalanx.lab.processes", "tempfile"): "where their data is, unless it is said",
    ("phalanx.lab.spread.crew", "asyncio"): "talks to a scheduler of Dask",
    ("phalanx.lab.spread.crew", "concurrent"): "knows the exception by which Dask says that a task was cancelled",
    ("phalanx.lab.spread.crew", "uuid"): "has names for its tasks that nobody else has",
    ("phalanx.lab.spread.driver", "asyncio"): "talks to a scheduler of Dask",
    ("phalanx.lab.spread.driver", "logging"): "has the library leave it to us what goes wrong",
    ("phalanx.lab.spread.work", "importlib"): "imports the scenario it is told, and reads the package's sources",
    ("phalanx.lab.soak.campaign", "asyncio"): "runs clients and faults on real nodes",
    ("phalanx.lab.soak.campaign", "pathlib"): "keeps the history of what went wrong",
    ("phalanx.lab.soak.campaign", "time"): "is as long as was asked for",
    ("phalanx.lab.soak.clients", "asyncio"): "clients of real nodes",
    ("phalanx.lab.soak.clients", "time"): "the times of their calls",
    ("phalanx.lab.soak.faults", "asyncio"): "does them to real nodes, each at its time",
}
"""(module, what it uses): why it may.  An entry that its module no longer needs fails the test."""


class Offence(NamedTuple):
    """A line that breaks a rule; `used` is what an exception would have to name."""

    module: str
    line: int
    used: str
    why: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.used}: {self.why}"


class Layers(NamedTuple):
    """What ARCHITECTURE.md says: whom each layer may import (None: anyone), and which layers touch the world."""

    may_import: dict[str, frozenset[str] | None]
    worldly: frozenset[str]


def layers_in(document: str) -> Layers:
    """Read the layer table and the sentence `Only ... import asyncio, ...` out of the document."""
    rows = re.findall(r"^\| (`[a-z]+/`(?:, `[a-z]+/`)*) \|.*\| ([^|]+) \|$", document, re.MULTILINE)
    words = {layer: text.strip() for names, text in rows for layer in re.findall(r"`([a-z]+)/`", names)}
    sentence = re.search(r"Only ((?:`[a-z]+`(?:, | and )?)+) import asyncio", " ".join(document.split()))
    assert words, "ARCHITECTURE.md has no layer table that this test can read"
    assert sentence, "ARCHITECTURE.md does not say which layers alone import asyncio"
    worldly = frozenset(re.findall(r"`([a-z]+)`", sentence[1]))
    pure = frozenset(words) - worldly - {"sim", "lab", "node", "tests", "bench", "examples"}
    may_import: dict[str, frozenset[str] | None] = {}
    for layer, text in words.items():
        if text == "anything":
            may_import[layer] = None
        elif text == "nothing of ours":
            may_import[layer] = frozenset()
        elif text == "every pure layer but check":
            may_import[layer] = pure - {"check"}
        else:
            allowed = frozenset(text.split(", "))
            assert allowed <= frozenset(words), f"the row of {layer} names a layer without a row: {text}"
            may_import[layer] = allowed
    return Layers(may_import, worldly)


LAYERS = layers_in(ARCHITECTURE)


def layer_of(name: str) -> str:
    """The layer of a module of ours, by its dotted name.  The package's own face belongs to the public interface."""
    parts = name.split(".")
    if len(parts) == 1:
        return "api"
    return {"errors": "errors", "__main__": "cli"}.get(parts[1], parts[1])


def import_offences(module: Module, layers: Layers = LAYERS) -> Iterator[Offence]:
    """Imports that the layer table, the world's ban, or the list of libraries forbids."""
    layer = layer_of(module.name)
    for used in imports_of(module):
        why = _own(layer, used, layers) if used.top == PACKAGE else _foreign(layer, used, layers)
        if why:
            yield Offence(module.name, used.line, used.target if used.top == PACKAGE else used.top, why)


def _own(layer: str, used: Import, layers: Layers) -> str | None:
    if used.target == PACKAGE and used.name in {*layers.may_import, "errors"}:
        other = layer_of(f"{PACKAGE}.{used.name}")
    else:
        other = layer_of(used.target)
    allowed = layers.may_import.get(layer, frozenset())
    if other in {layer, "errors"} or allowed is None or other in allowed:
        return None
    return f"{layer} may import {', '.join(sorted(allowed)) or 'nothing of ours'}"


def _foreign(layer: str, used: Import, layers: Layers) -> str | None:
    library = used.top
    if library in UNSAFE:
        return "runs what it reads"
    if (used.target, used.name) in HARMLESS:
        return None
    if library in OUTSIDE_WORLD and layer not in layers.worldly:
        return f"only {', '.join(sorted(layers.worldly))} touch the world"
    if library in sys.stdlib_module_names:
        if library == "importlib" and layer not in layers.worldly:
            return "hides an import from this test"
        return None
    allowed = LIBRARIES.get(library, frozenset() if library not in OUTSIDE_WORLD else layers.worldly)
    return None if allowed & {"any layer", layer} else f"not a library of {layer}"


def call_offences(module: Module, layers: Layers = LAYERS) -> Iterator[Offence]:
    """Names that make a deterministic layer depend on more than its arguments.  (Iteration over a set of strings does
    so too, and cannot be seen here: the test under two hash seeds finds it.)"""
    if layer_of(module.name) in layers.worldly:
        return
    for node in ast.walk(module.tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name in BANNED_NAMES:
                yield Offence(module.name, node.lineno, name, BANNED_NAMES[name])
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if name != "Random":
                yield Offence(module.name, node.lineno, f"random.{name}", "chance is a random.Random passed in")
            case ast.ImportFrom(module="random", names=names):
                for alias in names:
                    if alias.name != "Random":
                        yield Offence(module.name, node.lineno, f"random.{alias.name}", "chance is passed in")
            case ast.Call(func=ast.Name(id="Random") | ast.Attribute(attr="Random"), args=[], keywords=[]):
                yield Offence(module.name, node.lineno, "Random()", "takes its seed from the system")
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name) if (
                owner,
                name,
            ) in BANNED_ATTRIBUTES:
                yield Offence(module.name, node.lineno, f"{owner}.{name}", "time is an argument")


def offences(module: Module) -> list[Offence]:
    return [*import_offences(module), *call_offences(module)]


def test_every_module_keeps_its_layer() -> None:
    found = [o for module in package_modules() for o in offences(module) if (o.module, o.used) not in EXCEPTIONS]
    assert not found, "\n".join(map(str, found))


def test_every_exception_is_still_needed() -> None:
    modules = {module.name: module for module in package_modules()}
    needed = {(o.module, o.used) for module in modules.values() for o in offences(module)}
    stale = [key for key in EXCEPTIONS if key[0] in modules and key not in needed]
    assert not stale, f"delete from EXCEPTIONS: {stale}"


def test_every_exception_is_written_down_in_the_architecture() -> None:
    for module, used in EXCEPTIONS:
        path = module.removeprefix("phalanx.").replace(".", "/") + ".py"
        lines = [line for line in ARCHITECTURE.splitlines() if f"`{path}`" in line]
        assert any(used in line for line in lines), f"ARCHITECTURE.md does not say that {path} may use {used}"


def test_every_package_is_a_layer_of_the_table() -> None:
    strangers = {layer_of(m.name) for m in package_modules()} - LAYERS.may_import.keys() - {"errors"}
    assert not strangers, f"without a row in ARCHITECTURE.md: {sorted(strangers)}"


def test_the_package_only_hands_on_the_names_that_the_architecture_allows() -> None:
    [sentence] = re.findall(r"only hands on names from (.*?);", ARCHITECTURE, re.DOTALL)
    allowed = tuple(f"{PACKAGE}.{name}" for name in re.findall(r"`([a-z.]+)`", sentence))
    [package] = [module for module in package_modules() if module.name == PACKAGE]
    used = {used.target for used in imports_of(package) if used.top == PACKAGE}
    strangers = [name for name in used if not f"{name}.".startswith(tuple(f"{each}." for each in allowed))]
    assert used
    assert not strangers


def test_every_library_is_declared_and_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = project["dependencies"] + extras["lab"] + extras["campaigns"] + extras["metrics"]
    names = {re.split(r"[<>=~!\[; ]", requirement)[0].replace("-", "_") for requirement in declared}
    assert names == LIBRARIES.keys()
    section = ARCHITECTURE.partition("## Dependencies")[2]
    for name in names:
        assert re.search(rf"^\|.*\b{name.replace('_', '-')}\b.*\|", section, re.MULTILINE), f"why {name}?"


@pytest.mark.parametrize(
    ("module", "source", "used"),
    [
        ("phalanx.model.planted", "import phalanx.parts.quorum", "phalanx.parts.quorum"),
        ("phalanx.model.planted", "from phalanx import parts", "phalanx"),
        ("phalanx.model.planted", "from phalanx import connect", "phalanx"),
        ("phalanx.model.planted", "from ..wire import codec", "phalanx.wire"),
        ("phalanx.parts.planted", "def f():\n    from phalanx.group import machine", "phalanx.group"),
        ("phalanx.group.planted", "if TYPE_CHECKING:\n    from phalanx.node import Node", "phalanx.node"),
        ("phalanx.sim.planted", "from phalanx.check import order", "phalanx.check"),
        ("phalanx.node.planted", "from phalanx.check import order", "phalanx.check"),
        ("phalanx.node.planted", "from phalanx.runtime import driver", "phalanx.runtime"),
        ("phalanx.runtime.planted", "from phalanx.group import machine", "phalanx.group"),
        ("phalanx.errors", "from phalanx.model import view", "phalanx.model"),
        ("phalanx.group.planted", "import asyncio", "asyncio"),
        ("phalanx.group.planted", "from time import monotonic_ns", "time"),
        ("phalanx.sim.planted", "import os.path", "os"),
        ("phalanx.sim.planted", "import multiprocessing", "multiprocessing"),
        ("phalanx.sim.planted", "from pathlib import Path, PurePath", "pathlib"),
        ("phalanx.node.planted", "import logging", "logging"),
        ("phalanx.parts.planted", "import uuid", "uuid"),
        ("phalanx.wire.planted", "import uvloop", "uvloop"),
        ("phalanx.runtime.planted", "import pickle", "pickle"),
        ("phalanx.cli.planted", "import shelve", "shelve"),
        ("phalanx.api.planted", "import typer", "typer"),
        ("phalanx.parts.planted", "import numpy", "numpy"),
        ("phalanx.sim.planted", "import importlib", "importlib"),
        ("phalanx.group.planted", "import random\nrandom.shuffle(x)", "random.shuffle"),
        ("phalanx.group.planted", "from random import choice", "random.choice"),
        ("phalanx.sim.planted", "import random\nr = random.Random()", "Random()"),
        ("phalanx.group.planted", "import datetime\nx = datetime.datetime.now()", "datetime.now"),
        ("phalanx.parts.planted", "order = sorted(xs, key=hash)", "hash"),
        ("phalanx.parts.planted", "x = id(y)", "id"),
        ("phalanx.services.planted", "open('f')", "open"),
        ("phalanx.check.planted", "print('here')", "print"),
    ],
)
def test_a_planted_breach_is_found(module: str, source: str, used: str) -> None:
    assert [o.used for o in offences(Module(module, source))] == [used]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("phalanx.model.planted", "from phalanx.errors import Refused\nfrom phalanx.model.view import View"),
        ("phalanx.model.planted", "from phalanx import errors"),
        ("phalanx.wire.planted", "import google_crc32c\nimport msgspec\nfrom ..model import view"),
        ("phalanx.node.planted", "from phalanx.group import machine\nfrom phalanx.wire import codec"),
        ("phalanx.runtime.planted", "import asyncio, os, socket, time, logging, uvloop\nprint(open('f'))"),
        ("phalanx.cli.planted", "from phalanx.check import order\nfrom phalanx.sim import world\nimport importlib"),
        ("phalanx.sim.planted", "import random\ndef f(r: random.Random): return random.Random(r.getrandbits(64))"),
        ("phalanx.model.planted", "class C:\n    id: int\nx = c.id"),
        ("phalanx.sim.planted", "from pathlib import PurePath"),
    ],
)
def test_what_is_allowed_is_not_reported(module: str, source: str) -> None:
    assert offences(Module(module, source)) == []


def test_the_table_is_what_the_document_says() -> None:
    document = (
        "| layer | what | may import |\n|---|---|---|\n"
        "| `model/` | values | nothing of ours |\n| `check/` | oracles | model |\n| `group/` | views | model |\n"
        "| `node/` | all | every pure layer but check |\n| `runtime/` | io | model, group |\n"
        "| `cli/`, `tests/` | | anything |\nOnly `runtime` and `cli` import asyncio.\n"
    )
    layers = layers_in(document)
    assert layers.worldly == {"runtime", "cli"}
    assert layers.may_import == {
        "model": frozenset(),
        "check": frozenset({"model"}),
        "group": frozenset({"model"}),
        "node": frozenset({"model", "group"}),
        "runtime": frozenset({"model", "group"}),
        "cli": None,
        "tests": None,
    }
    with pytest.raises(AssertionError, match="without a row"):
        layers_in(document.replace("| model, group |", "| model, engine |"))
