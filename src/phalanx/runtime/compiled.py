"""Compiled modules: whether they are in use, and how to do without.

A wheel may hold C made by mypyc beside the Python it was made from (hatch_build.py).  Both do the same, step for step;
what differs is that classes of compiled modules cannot be changed or looked into while they run.
"""

import os
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

PURE = "PHALANX_PURE"
"""Environment variable: if set, to anything, the Python sources are run, whatever is compiled."""

_PACKAGE = Path(__file__).parent.parent


def is_source_wanted() -> bool:
    """Whoever started this process asks for the Python sources."""
    return bool(os.environ.get(PURE))


def find_sources_only() -> None:
    """From now on modules of this package are imported from their sources."""
    sys.path_hooks.insert(0, _find_sources)
    for path in list(sys.path_importer_cache):
        if _is_ours(path):
            del sys.path_importer_cache[path]


def _is_ours(path: str) -> bool:
    return Path(path).is_relative_to(_PACKAGE)


def _find_sources(path: str) -> FileFinder:
    """A path hook of `importlib`.  Raises ImportError for what is not ours, so that the next hook is asked."""
    if not _is_ours(path):
        raise ImportError(path)
    return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))


def is_compiled() -> bool:
    """The modules that can be compiled are, and are in use."""
    from phalanx.runtime import driver  # one of them; not at the top, for this module comes before all of them

    return not driver.__file__.endswith(".py")


def run_from_source() -> None:
    """Begin this command anew, with the Python sources, unless they are what is running."""
    if is_compiled():
        os.execve(sys.executable, [sys.executable, "-m", "phalanx", *sys.argv[1:]], os.environ | {PURE: "1"})
