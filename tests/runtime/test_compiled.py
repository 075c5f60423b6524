"""Compiled modules beside their sources: which are found."""

import importlib.machinery
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phalanx.runtime.compiled import PURE, is_compiled
from tests.source import ROOT


def ask_version(package: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`phalanx --version` of that copy of the package."""
    return subprocess.run(
        [sys.executable, "-B", "-m", "phalanx", "--version"],
        env=os.environ | {"PYTHONPATH": str(package.parent)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy in which a compiled module is found first, and cannot be loaded."""
    copy = tmp_path / "phalanx"
    shutil.copytree(ROOT / "src" / "phalanx", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "runtime" / f"driver{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"not a library")
    return copy


def test_what_is_compiled_comes_before_its_source(package: Path) -> None:
    asked = ask_version(package)
    assert asked.returncode != 0 and "driver" in asked.stderr


def test_on_request_only_sources_are_found(package: Path) -> None:
    asked = ask_version(package, **{PURE: "1"})
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.strip().endswith("(pure Python)")


def test_tests_run_the_sources() -> None:
    assert not is_compiled(), "planted bugs change classes, which compiled ones do not allow"
