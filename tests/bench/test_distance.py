"""Latency over long links: the simulator measures what lockstep counts, and the command says what is too short."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from bench.distance import DISK_NS, OPERATIONS, Far, find, report
from phalanx.cli.serve import timing_of
from phalanx.group.config import Limits, Timing
from phalanx.model.clock import MILLISECOND, SECOND
from tests.source import ROOT

ONE_WAY_NS = 20 * MILLISECOND
TURNS_NS = MILLISECOND
"""What all turns of a path take together, at most."""


def test_the_periods_are_those_of_a_node() -> None:
    assert timing_of(500) == Timing()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_latency_is_what_the_ticks_say(operation: str) -> None:
    """Each tick is one way, but for those of a disk."""
    found = find(operation, ONE_WAY_NS, Timing())
    expected = (found.ticks - found.syncs) * ONE_WAY_NS + found.syncs * DISK_NS
    assert 0 <= found.latency_ns - expected < TURNS_NS
    assert (found.again, found.suspicions) == (0, 0)


def test_a_killed_process_costs_one_put_less_than_the_silence_that_is_suspicion() -> None:
    """DESIGN section 7: nobody listens at its address any more, which is known in a round trip."""
    killed = Far(ONE_WAY_NS, "put", Timing()).measure_kill()
    assert 4 * ONE_WAY_NS < killed < Timing().suspect_after


def test_one_sender_has_a_window_for_each_round_trip() -> None:
    rate = Far(ONE_WAY_NS, "multicast", Timing()).measure_flood()
    assert rate == pytest.approx(Limits().window * SECOND / (2 * ONE_WAY_NS), rel=0.05)


@pytest.mark.parametrize(("suspect_after_ms", "again"), [(500, True), (3_000, False)])
def test_periods_that_are_too_short_for_the_distance_are_told(suspect_after_ms: int, again: bool) -> None:
    """Round trips of 400 ms: of `resend_after` that is four times as much, and nearly `suspect_after`."""
    printed = io.StringIO()
    report(200 * MILLISECOND, timing_of(suspect_after_ms), Console(file=printed, width=100))
    assert ("raise --suspect-after-ms" in printed.getvalue()) == again
    assert (find("put", 200 * MILLISECOND, timing_of(suspect_after_ms)).again > 0) == again


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.distance", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_every_operation() -> None:
    ended = run("--one-way-ms", "5")
    assert ended.returncode == 0, ended.stderr
    assert all(operation in ended.stdout for operation in OPERATIONS)
    assert "MB/s" in ended.stdout


@pytest.mark.parametrize("distance", ["0", "-1", "nan", "1e9", "far"])
def test_the_command_refuses_what_is_no_distance(distance: str) -> None:
    ended = run(f"--one-way-ms={distance}")
    assert ended.returncode == 2
    assert distance in ended.stderr
