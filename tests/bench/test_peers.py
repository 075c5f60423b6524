"""Phalanx and other systems side by side: turns and rounds, and the command."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench import own, peers, pingpong
from bench.comparison import UVLOOP, Report
from bench.own import PARTS, Settings
from bench.samples import OURS, Sample, What, Work, rows_of
from phalanx.runtime.loop import run
from tests.bench.test_drivers import driver
from tests.bench.test_samples import STREAM, sample
from tests.source import ROOT


def turns_of(taken: list[tuple[str, int]], *names: str, failing: str = "") -> list[peers.Turn]:
    def turn(name: str) -> peers.Turn:
        def take(number: int, report: Report) -> bool:
            taken.append((name, number))
            if name == failing:
                report.notes.append(f"{name} is skipped")
            return name != failing

        return peers.Turn(name, take)

    return [turn(name) for name in names]


def test_our_turns_are_spread_between_those_of_the_others() -> None:
    ours, theirs = turns_of([], "1", "2", "3", "4"), turns_of([], "a", "b")
    assert [turn.name for turn in peers.alternating(ours, theirs)] == ["1", "a", "2", "3", "b", "4"]
    assert [turn.name for turn in peers.alternating(ours, [])] == ["1", "2", "3", "4"]


def test_each_round_begins_with_another_and_who_cannot_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "probe", lambda *_: None)
    taken: list[tuple[str, int]] = []
    report = Report({}, [], [])
    peers.measure(turns_of(taken, "a", "b", "c", failing="b"), 3, report, tmp_path)
    assert taken == [("a", 1), ("b", 1), ("c", 1), ("c", 2), ("a", 2), ("a", 3), ("c", 3)]
    assert (report.about, report.notes) == ({"rounds": "3"}, ["b is skipped"])
    assert "b is skipped" in capsys.readouterr().err
    assert "- **b is skipped**" in (tmp_path / "peers.md").read_text("utf-8")


def test_a_part_of_ours_that_fails_is_told_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(settings: Settings) -> own.Found:
        yield STREAM, {"ops_per_s": float(settings.number)}
        raise OSError("no room")

    monkeypatch.setitem(PARTS, "latency", broken)
    report = Report({}, [], [])
    assert peers.our_turn("latency", Settings(1.0, (2,), 1)).take(4, report)
    assert report.samples == [sample(OURS, STREAM, 4.0, 4)]
    assert report.notes == ["Phalanx: latency failed in round 4: OSError: no room"]


@pytest.mark.parametrize(("ends", "status"), [(KeyboardInterrupt, 130), (OSError, 1), (None, 0)])
def test_whatever_was_measured_is_written(
    ends: type[BaseException] | None, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(settings: Settings) -> own.Found:
        yield STREAM, {"ops_per_s": settings.seconds}
        if ends is not None:
            raise ends

    monkeypatch.setitem(PARTS, "latency", interrupted)
    monkeypatch.setattr(peers, "probe", lambda *_: None)
    words = ["--only", "latency", "--rounds", "1", "--seconds", "3", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["peers", *words])
    assert peers.main() == status
    page = (tmp_path / "peers.md").read_text("utf-8")
    assert "| multicast, 100 B, 1 sender | **Phalanx** | 3 |" in page
    assert ("ended by Ctrl-C" in page, "latency failed" in page) == (status == 130, status == 1)


def test_operations_that_fail_are_told() -> None:
    samples = [sample(OURS, STREAM, 1.0, errors=0.0), sample("peer", STREAM, 1.0, 2, errors=3.0)]
    assert peers.errors_in(samples) == ["peer had 3 errors under multicast, 100 B, 1 sender in round 2"]


def test_only_drivers_that_are_there_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    paths = {name: driver(tmp_path, name) for name in ("a", "b")}
    assert peers.chosen(None, (), parser) == {}
    assert peers.chosen(tmp_path, (), parser) == paths
    assert peers.chosen(tmp_path, ["b"], parser) == {"b": paths["b"]}
    for directory, only, wrong in (
        (tmp_path, ["c"], "no driver of c; --peers has: a, b"),
        (tmp_path / "a", [], "has no NAME/run.py"),
        (None, ["a"], "no driver of a; --peers has: nothing"),
    ):
        with pytest.raises(SystemExit):
            peers.chosen(directory, only, parser)
        assert wrong in capsys.readouterr().err


# --- the command --------------------------------------------------------------------------------------------------


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.peers", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--rounds", "0"], "no number from 1"),
        (["--seconds", "never"], "no time from"),
        (["--members", "1-3"], "no size of a group"),
        (["--only", "everything"], "invalid choice"),
        (["--peer", "etcd"], "no driver of etcd"),
    ],
)
def test_the_command_says_what_it_cannot_do(words: list[str], wrong: str) -> None:
    ended = command(*words)
    assert ended.returncode == 2
    assert wrong in ended.stderr


@pytest.mark.real
def test_the_command_measures_us_and_others(tmp_path: Path) -> None:
    """Real processes, real clusters, for a tenth of a second each."""
    lines = (
        '{"peer": "peer", "workload": "W1 latency to own delivery, 1 outstanding", "params": "100 B", "p50_us": 9.0}',
    )
    driver(tmp_path, "peer", *(f"print({line!r})" for line in lines))
    driver(tmp_path, "absent", "sys.exit('not installed')")
    out = tmp_path / "out"
    words = ("--only", "latency", "--only", "kill", "--rounds", "1", "--seconds", "0.1", "--kills", "1")
    ended = command("--peers", str(tmp_path), *words, "--out", str(out))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "absent is skipped: it ended with status 1: not installed" in ended.stdout
    assert ended.stdout.rstrip() == (out / "peers.md").read_text("utf-8").rstrip()
    samples = msgspec.convert(json.loads((out / "peers.json").read_text("utf-8"))["samples"], list[Sample])
    works = {s.work for s in samples if s.system == OURS}
    assert works == {Work(What.MULTICAST, size, outstanding=1) for size in own.PINGED} | {
        Work(What.GAP),
        Work(What.GAP_OF_VICTIM),
    }
    figures = [(name, value) for s in samples for name, value in s.figures.items()]
    assert all(value > 0 or (name == "others_cores" and value == 0) for name, value in figures), "others may be at rest"
    rows = {row.system: row for row in rows_of(samples) if row.work == Work(What.MULTICAST, 100, outstanding=1)}
    assert set(rows) == {OURS, UVLOOP, "peer"}
    assert {"p50_us", "p99_us", "p999_us", "ops_per_s", "member_cpu"} <= rows[OURS].figures.keys()
    assert (out / "gaps.svg").exists()


@pytest.mark.real
def test_every_other_part_of_ours_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """As little of each as there can be."""
    monkeypatch.setattr("bench.multicast.BATCHES", {100: 600})
    monkeypatch.setattr(own, "PINGED", (100,))
    monkeypatch.setattr(own, "SENDERS", (3,))
    monkeypatch.setattr(own, "GROUPS", (2,))
    monkeypatch.setattr(own, "MULTICASTS_UNDER_WAY", (4,))
    monkeypatch.setattr(own, "STORE_LOADS", {2: 1})
    monkeypatch.setattr(own, "STORE_LOAD", {1: 1})
    report = Report({}, [], [])
    for part in ("throughput", "load", "store", "members", "groups"):
        assert peers.our_turn(part, Settings(0.1, (2,), 1)).take(1, report)
    assert report.notes == []
    assert {s.work.text for s in report.samples} == {
        "multicast, 100 B, 3 senders",
        "multicast, 100 B, 4 under way",
        "put, 2 under way",
        "durable put, 2 under way",
        "linearizable get, 2 under way",
        "multicast, 100 B, 1 sender, 2 members",
        "multicast, 100 B, 1 under way, 2 members",
        "put, 1 under way, 2 members",
        "linearizable get, 1 under way, 2 members",
        "multicast, 100 B, 1 sender, 2 groups",
    }
    assert all(s.figures[s.work.figure] > 0 for s in report.samples)


def test_what_others_use_is_what_is_not_idle(tmp_path: Path) -> None:
    """Time of the host of a virtual machine, `steal`, is somebody else's too; waiting for a disk is idle."""
    stat = tmp_path / "stat"
    line = "cpu  {} 10 10 1000 {} 10 10 {} 7 7\ncpu0 1 1 1\n"

    async def look() -> float | None:
        looking = asyncio.create_task(pingpong.busy_cores(0.1, stat))
        await asyncio.sleep(0)
        stat.write_text(line.format(100 + ticks, 900, 10 + ticks), "ascii")
        return await looking

    ticks = os.sysconf("SC_CLK_TCK")
    stat.write_text(line.format(100, 0, 10), "ascii")
    assert run(look()) == pytest.approx(20.0), "two seconds of a core in a tenth of one"
    assert run(pingpong.busy_cores(0.1, tmp_path / "absent")) is None
    stat.write_text("nothing of the kind", "ascii")
    assert run(pingpong.busy_cores(0.1, stat)) is None


@pytest.mark.real
def test_the_machine_is_probed() -> None:
    report = Report({}, [], [])
    peers.probe(1, report)
    (found,) = report.samples
    assert (found.system, found.work) == (UVLOOP, Work(What.PING, 100))
    assert 0 < found.figures["p50_us"] <= found.figures["p99_us"] <= found.figures["p999_us"]
