"""What is sent to a worker and answered by it: JSON of values that are checked, and no code.

A scenario goes by its name, "module:name", and must be importable where it is run.  Results must not depend on who ran
what, so a worker works only for whom it shares its credentials with: the digest of the package's sources, that of the
scenario's module, and the version of Python.
"""

import hashlib
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module, resources
from importlib.metadata import version
from inspect import getsource
from operator import attrgetter
from traceback import format_exc
from types import ModuleType
from typing import NamedTuple

import msgspec

from phalanx.errors import ConfigurationError
from phalanx.lab.notes import modules_in
from phalanx.sim.run import Result
from phalanx.sim.workers import Factory, Task, run_task

DIGITS = 16
"""Of a digest: enough to tell versions apart, which nobody forges."""


class Credentials(msgspec.Struct, frozen=True):
    """On what results depend besides their tasks."""

    phalanx: str
    """The version, for people: between two releases there are many."""
    sources: str
    """Digest of the package's sources."""
    scenario: str
    """Digest of the source of the scenario's module."""
    python: str
    """Implementation and minor version.  A change of the last part of the version changes no behaviour."""
    changed: bool = False
    """The files are not any more what this process has loaded."""


class Order(msgspec.Struct, frozen=True):
    """Tasks for a worker."""

    scenario: str
    credentials: Credentials
    """Of who sends it."""
    tasks: tuple[Task, ...]


class Done(msgspec.Struct, frozen=True, tag=True):
    """The results, in the order of the tasks."""

    results: tuple[Result, ...]


class Unfit(msgspec.Struct, frozen=True, tag=True):
    """Nothing was run: this worker must not do the work."""

    address: str
    why: str


class Broken(msgspec.Struct, frozen=True, tag=True):
    """The scenario cannot be run at all: the traceback."""

    text: str


class Dropped(msgspec.Struct, frozen=True, tag=True):
    """Nobody wants the results any more, so the rest was not run."""


Answer = Done | Unfit | Broken | Dropped

_ANSWERS: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def encode(value: Order | Answer | Credentials) -> bytes:
    """As JSON: seeds may have any number of digits."""
    return msgspec.json.encode(value)


def decode_order(data: bytes) -> Order:
    """Raises msgspec.ValidationError."""
    return msgspec.json.decode(data, type=Order)


def decode_answer(data: bytes) -> Answer:
    """Raises msgspec.ValidationError."""
    return _ANSWERS.decode(data)


def decode_credentials(data: bytes) -> Credentials:
    """Raises msgspec.ValidationError."""
    return msgspec.json.decode(data, type=Credentials)


# --- scenarios by name ------------------------------------------------------------------------------------------------


class _Loaded(NamedTuple):
    factory: Factory
    module: ModuleType
    digest: str
    """Of the module's source as it was loaded."""


def name_of(factory: Factory) -> str:
    """Raises ConfigurationError if other processes could not import it."""
    module, name = factory.__module__, getattr(factory, "__qualname__", "")
    if module != "__main__":
        try:
            if _load(f"{module}:{name}").factory is factory:
                return f"{module}:{name}"
        except (ImportError, AttributeError, OSError):
            pass
    raise ConfigurationError(
        f"{module}.{name or factory!r} cannot be imported by other processes: it must be a class or a function at the "
        f"top of a module that is installed there, too"
    )


@cache
def _load(name: str) -> _Loaded:
    """Raises ImportError, AttributeError, and OSError if the module has no source."""
    place, _, path = name.partition(":")
    module = import_module(place)
    return _Loaded(attrgetter(path)(module), module, _digest(getsource(module).encode()))


# --- credentials ------------------------------------------------------------------------------------------------------


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def _sources() -> str:
    """Digest of the files of the package, as they are now."""
    files = modules_in(resources.files("phalanx"))
    return _digest(b"".join(each.name.encode() + each.read_bytes() for each in files))


AT_START = _sources()
"""What this process has loaded, or nearly: it does not stay what is in the files."""


@cache
def credentials(scenario: str) -> Credentials:
    """Of this process.  Raises what importing the scenario raises."""
    python = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    return Credentials(version("phalanx"), AT_START, _load(scenario).digest, python)


def fresh_credentials(scenario: str) -> Credentials:
    """The same after a look at the files.  Raises what importing the scenario raises."""
    known = credentials(scenario)
    now = _sources(), _digest(getsource(_load(scenario).module).encode())
    return msgspec.structs.replace(known, changed=now != (known.sources, known.scenario))


def refusal(ours: Credentials, theirs: Credentials) -> str | None:
    """Why a worker with these credentials cannot work for whoever has ours; None: it can."""
    if theirs.changed:
        return "its files have changed since it was started: start it again"
    if theirs.python != ours.python:
        return f"it runs {theirs.python}, and this is {ours.python}, which may come to other results"
    if theirs.sources != ours.sources:
        return (
            f"its phalanx is another (version {theirs.phalanx}, sources {theirs.sources}) than the one here (version "
            f"{ours.phalanx}, sources {ours.sources}): install the same one there, and start it again"
        )
    if theirs.scenario != ours.scenario:
        return (
            "its module with the scenario is another than the one here: install the same one there, and start it again"
        )
    return None


# --- the work ---------------------------------------------------------------------------------------------------------


def carry_out(order: Order, address: str, wanted: Callable[[], bool]) -> Answer:
    """What a worker does.  wanted: asked before each task whether it is to be run."""
    try:
        why = refusal(order.credentials, credentials(order.scenario))
        if why is not None:
            return Unfit(address, why)
        factory = _load(order.scenario).factory
        results = []
        for task in order.tasks:
            if not wanted():
                return Dropped()
            results.append(run_task(factory, task))
        return Done(tuple(results))
    except Exception:
        return Broken(format_exc())
