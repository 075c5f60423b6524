"""Seeing a method reach for what differs from node to node: clocks, chance, the process, files.

A profile hook is told of every call of a C function.  Two runs may agree by luck, or within one second of the clock: what
a command *asked* is seen at once, with the line that asked.  What logging asks for its own records counts for nothing.
"""

import datetime
import io
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

CLOCKS = frozenset(
    name
    for name in (
        "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
        "process_time_ns", "thread_time", "thread_time_ns", "clock_gettime", "localtime", "gmtime", "ctime", "sleep",
    )
    if hasattr(time, name)
)  # fmt: skip
"""Functions of `time` that read a clock, or wait."""

_LIBRARY = str(Path(os.__file__).parent)
_GLOBAL_CHANCE: Any = random.random.__self__  # type: ignore[attr-defined]  # a bound method: of the module's own generator


def impurity(function: Any) -> str | None:
    """What is wrong with calling this C function in a command; None: nothing."""
    name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    if owner is time and name in CLOCKS:
        return f"reads the clock (time.{name})"
    if name in ("now", "utcnow", "today") and isinstance(owner, type) and issubclass(owner, datetime.date):
        return f"reads the clock ({owner.__name__}.{name})"
    if owner is _GLOBAL_CHANCE or isinstance(owner, random.SystemRandom) or function is os.urandom:
        return "draws chance that the replicas do not share (random, secrets or uuid)"
    if function is id:
        return "asks for the address of an object (id)"
    if function in (os.getpid, os.getppid, os.uname):
        return f"asks who runs it (os.{name})"
    if function in (open, io.open, os.open):
        return "opens a file"
    return None


@contextmanager
def watching(tell: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, `tell` hears of each impure call of this thread, as "reads the clock (time.time), in
    bank.py line 12"."""

    def hear(frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call":
            return
        try:
            why = impurity(function)
        except TypeError:  # what cannot be compared is none of these
            return
        if why is not None and (where := _place(frame)) is not None:
            tell(f"{why}, in {where}")

    before = sys.getprofile()
    sys.setprofile(hear)
    try:
        yield
    finally:
        sys.setprofile(before)


def _place(frame: FrameType | None) -> str | None:
    """Where the library was called from; None if that is for a log."""
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith(_LIBRARY) or "site-packages" in path:
            return f"{Path(path).name} line {frame.f_lineno}"
        if path.startswith(str(Path(_LIBRARY) / "logging")):
            return None
        frame = frame.f_back
    return None
