"""Which event loop runs a program, and how a server tunes its garbage collector."""

import asyncio
import gc
import importlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from phalanx.errors import ConfigurationError
from phalanx.runtime.descriptors import check_limit

T = TypeVar("T")

GC_THRESHOLDS = (50_000, 20, 100)
"""Collections are for cycles, and the hot path makes none: its objects die by their reference counts.  The young
generation is looked at after a net growth of 50,000 containers (Python's default is 700, several times per turn)."""


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's loop where it can be imported, else asyncio's own."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        return asyncio.new_event_loop
    return factory


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run the coroutine to its end on a new loop, like `asyncio.run`.  Raises ConfigurationError, and does not begin, if
    this process may have too few files open."""
    try:
        check_limit()
    except ConfigurationError:
        main.close()
        raise
    with asyncio.Runner(loop_factory=loop_factory(), debug=debug) as runner:
        return runner.run(main)


def tune_gc_for_server() -> None:
    """Call once when a server has been imported, before it takes up a state, which this would look through: what exists
    now is never scanned again (`gc.freeze`), and collections become rare.  Pauses of tens of milliseconds with large
    states become pauses of none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
