"""`phalanx soak`, shortly: real processes and files, every fault, and its verdict (SCENARIOS 1, 3, 16, 22, 33, 34)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.cluster import PATIENCE_S, real

pytestmark = real

SOAK_S_MAX = 2 * PATIENCE_S
"""The command itself waits for as long as `PATIENCE_S` until a cluster is well."""


def soak(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "phalanx", "soak", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SOAK_S_MAX)


def test_a_short_soak_ends_with_nothing_lost_and_nothing_wrong(tmp_path: Path) -> None:
    done = soak("--minutes", "0.12", "--round", "4", "--seed", "7", "--directory", str(tmp_path / "here"))
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    numbers = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", last)}
    assert list(numbers) == ["rounds", "kills", "pauses", "cuts", "operations", "lost", "violations"]
    assert numbers["lost"] == numbers["violations"] == 0
    assert numbers["rounds"] == 2
    assert min(numbers["kills"], numbers["pauses"], numbers["cuts"], numbers["operations"]) > 0
    assert (tmp_path / "here" / "a").is_dir(), "a directory that was named is kept"


def test_a_campaign_ends_with_so_many_kills(tmp_path: Path) -> None:
    done = soak("--kills", "3", "--faults", "kill", "--directory", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kills=3 pauses=0 cuts=0" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "options", [("--faults", "kill,flood"), ("--kills", "3", "--faults", "cut"), ("--directory", "/")]
)
def test_bad_options_are_refused_before_anything_is_started(options: tuple[str, ...]) -> None:
    assert soak(*options).returncode == 2
