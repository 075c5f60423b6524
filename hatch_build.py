"""Compiles the protocol's modules when a wheel is built: the same typed Python, made into C by mypyc.

What cannot be compiled stays as it is: without a C compiler, or if anything else goes wrong, the wheel is pure Python,
and the build says why.  PHALANX_COMPILE=no asks for that; PHALANX_COMPILE=must makes it an error.  An editable install
is never compiled: tests and planted bugs change classes while they run, which compiled ones do not allow.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED = (
    "model/clock.py",
    "model/events.py",
    "model/machine.py",
    "wire/codec.py",
    "wire/frame.py",
    "parts/*.py",
    "group/*.py",
    "replication/*.py",
    "services/store/frozen.py",
    "services/store/history.py",
    "services/store/index.py",
    "services/store/limits.py",
    "services/store/loading.py",
    "services/store/shards.py",
    "services/store/telling.py",
    "services/store/txn.py",
    "node/node.py",
    "runtime/connection.py",
    "runtime/driver.py",
    "runtime/polling.py",
    "runtime/transport.py",
    "sim/clocks.py",
    "sim/disks.py",
    "sim/network.py",
    "sim/node.py",
    "sim/pipe.py",
    "sim/storm.py",
    "sim/trace.py",
    "sim/world.py",
    "check/deliveries.py",
    "check/groups.py",
    "check/observed.py",
    "check/orders.py",
    "check/outlook.py",
    "check/progress.py",
    "check/views.py",
)
"""What a message passes on its way, and what a simulated one passes besides.  Modules that define msgspec structs are
left out, since mypyc would make classes of its own of them, and so are classes that others may inherit from."""


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]  # its configuration is not used
    """Hatchling calls `initialize` before it collects the files of a wheel, and `finalize` when it has."""

    PLUGIN_NAME = "custom"
    _place: str | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the results included."""
        wish = os.environ.get("PHALANX_COMPILE", "")
        if version == "editable" or wish == "no":
            return
        self._place = tempfile.mkdtemp(prefix="phalanx-build-")
        try:
            made = _compile(Path(self.root) / "src" / "phalanx", Path(self._place))
        except (Exception, SystemExit) as error:  # whatever a compiler may do wrong
            if wish == "must":
                raise
            self.app.display_warning(f"phalanx is built without compiled modules: {error!r}")
            return
        build_data["force_include"].update({str(path): name for path, name in made})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  as hatchling calls it
        """Leave nothing behind."""
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)


def _compile(package: Path, place: Path) -> list[tuple[Path, str]]:
    """The shared libraries, and where each belongs in the wheel."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    with ThreadPoolExecutor(os.cpu_count()) as pool:

        class Build(build_ext):
            """Compiles the files of an extension side by side; left to itself it does so only with whole extensions."""

            def build_extensions(self) -> None:
                one_after_another = self.compiler.compile

                def side_by_side(sources: list[str], **options: Any) -> list[str]:
                    made = pool.map(lambda source: one_after_another([source], **options), sources)
                    return [path for paths in made for path in paths]

                self.compiler.compile = side_by_side
                super().build_extensions()

        shutil.copytree(package, place / "phalanx", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        with _inside(place):
            # One C file for each module.  As one file they take twice the work, on one core, and run no faster.
            options = ["--ignore-missing-imports", *_sources(Path("phalanx"))]
            # What they do is calls of the interpreter: with -O3 a put takes 1.1% fewer instructions, and compiling a
            # half more time.
            extensions = mypycify(options, opt_level="1", debug_level="0", multi_file=True)
            command = Build(Distribution({"name": "phalanx", "ext_modules": extensions}))
            command.build_lib, command.build_temp, command.parallel = "out", "temp", os.cpu_count()
            command.ensure_finalized()
            command.run()
    out = place / "out"
    return [(path, str(path.relative_to(out))) for path in sorted(out.rglob("*")) if path.is_file()]


def _sources(package: Path) -> list[str]:
    found = [path for pattern in COMPILED for path in sorted(package.glob(pattern))]
    assert found, f"no modules in {package.absolute()}"
    return [str(p) for p in found if p.name != "__init__.py" and "msgspec.Struct" not in p.read_text("utf-8")]


@contextlib.contextmanager
def _inside(place: Path) -> Iterator[None]:
    """Run there; what compilers print goes to standard error, for standard output is the build tool's."""
    before = Path.cwd()
    os.chdir(place)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.chdir(before)
