"""Drivers of other systems: what their lines mean, how they are run, and how busy their load generators are."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench import drivers
from bench.drivers import DriverFailed, Watch, children_of, find, sample_of, work_of
from bench.samples import Sample, What, Work
from tests.bench.test_samples import ONE_PUT, PUT, STREAM, sample


@pytest.mark.parametrize(
    ("workload", "params", "work"),
    [
        ("W1 ordered multicast (safe)", "65536 B, three senders, ring", Work(What.MULTICAST, 65536, 3)),
        ("W1 ordered multicast (agreed)", "100 B, one sender (the coordinator), TCP", STREAM),
        ("W1 latency to own delivery, 1 outstanding", "100 B, UDP", Work(What.MULTICAST, 100, outstanding=1)),
        ("W2 put", "64 outstanding, all nodes, disk, fsync", Work(What.DURABLE_PUT, outstanding=64)),
        ("W2 put", "64 outstanding, leader, disk, --unsafe-no-fsync", PUT),
        ("W2 put", "1 outstanding, leader, tmpfs", ONE_PUT),
        ("W2 set", "64 outstanding in 6 sessions, leader, disk, forceSync=no", PUT),
        (
            "W2 publish R3 with ack",
            "64 outstanding, leader, sync_interval always (fsync)",
            Work(What.DURABLE_PUT, 0, 1, 64),
        ),
        ("W2 publish R3 with ack", "64 outstanding, leader, default sync_interval (2 min)", PUT),
        ("W2 SET + WAIT 2 (both replicas)", "64 connections, 1 outstanding each, in memory", PUT),
        ("W2 ReplDict.set", "64 outstanding, leader, journalFile on disk (no fsync)", PUT),
        ("W2 SET, asynchronous replication", "64 connections, in memory", None),
        ("W3 sync+get", "64 outstanding in 6 sessions, leader", Work(What.GET, outstanding=64)),
        ("W3 get linearizable", "1 outstanding, leader", Work(What.GET, outstanding=1)),
        ("W3 get serializable (stale allowed)", "64 outstanding, leader", None),
        ("W4 failover (leader kill -9)", "default timeouts (heartbeat 100 ms), try 3", Work(What.GAP)),
        ("TCP ping-pong, 2 processes", "100 B, uvloop protocol", Work(What.PING, 100)),
        ("TCP ping-pong, 2 processes", "100 B, asyncio protocol", None),
        (
            "one sender to 2 receivers",
            "1024 B, uvloop protocol, receiver slices every message",
            Work(What.STREAM, 1024),
        ),
        ("one sender to 2 receivers", "1024 B, uvloop protocol, receiver only counts bytes", None),
        ("disk", "append 4 KiB + fdatasync", Work(What.FSYNC)),
        ("disk", "append 4 KiB + fsync", None),
        ("memory", "64 outstanding", None),
    ],
)
def test_the_words_of_a_driver_name_a_workload(workload: str, params: str, work: Work | None) -> None:
    """What is not the same as ours is not compared: reads that may be stale, writes that others may not have."""
    assert work_of(workload, params) == work


def test_a_line_of_a_driver_is_a_sample() -> None:
    line = drivers.Line("etcd 3.5", "W2 put", "64 outstanding, leader, disk, fsync", 9e3, 5.0, 0.0)
    work = Work(What.DURABLE_PUT, outstanding=64)
    figures = {"ops_per_s": 9e3, "p50_us": 5.0, "client_cpu": 0.12}
    assert sample_of(line, 3, 0.1234) == Sample("etcd 3.5", work, figures, 3, "leader, disk, fsync")
    assert sample_of(msgspec.structs.replace(line, ops_per_s=None), 3, None) is None
    failing = sample_of(msgspec.structs.replace(line, errors=4), 3, None)
    assert failing is not None and failing.figures["errors"] == 4
    assert sample_of(msgspec.structs.replace(line, workload="W9"), 3, None) is None


def test_a_delivery_that_is_uniform_makes_another_system() -> None:
    """DESIGN section 5: uniform is another promise, so it is not a variant that could be the best."""
    line = drivers.Line("Spread", "W1 ordered multicast (safe)", "100 B, one sender, original ring", 1.0)
    found = sample_of(line, 1, None)
    assert found is not None
    assert (found.system, found.variant) == ("Spread safe", "original ring")


# --- drivers as processes -----------------------------------------------------------------------------------------

LINE = '{"peer": "it", "workload": "W2 put", "params": "64 outstanding", "ops_per_s": 5.0}'


def driver(directory: Path, name: str, *lines: str) -> Path:
    """A driver that consists of these lines."""
    path = directory / name / "run.py"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(("import os, sys, subprocess, time", *lines)), "utf-8")
    return path


def test_drivers_are_found_by_their_names(tmp_path: Path) -> None:
    paths = {name: driver(tmp_path, name) for name in ("b", "a")}
    (tmp_path / "results").mkdir()
    assert list(find(tmp_path).items()) == [("a", paths["a"]), ("b", paths["b"])]


def test_a_driver_is_told_how_long_and_its_lines_are_taken(tmp_path: Path) -> None:
    told = '\'{"peer": "it", "workload": "W4 ", "gap_ms": %s}\' % os.environ["PEERS_SECS"]'
    path = driver(tmp_path, "it", f"print({told})", f"print({LINE!r})", 'print(\'{"peer": "it", "workload": "W9"}\')')
    found = drivers.run(path, 1.5, 7)
    assert found == [sample("it", Work(What.GAP), 1.5, 7), sample("it", PUT, 5.0, 7)]


@pytest.mark.parametrize(
    ("lines", "reason", "kept"),
    [
        (["open('/nothing/here')"], r"status 1: FileNotFoundError: .*/nothing/here", 0),
        ([f"print({LINE!r})", "sys.exit('too old')"], "status 1: too old", 1),
        (["print('hello')", f"print({LINE!r})"], "a line that is no figure", 1),
        (["print('SPREAD_HOME is not set', file=sys.stderr)"], "it measured nothing: SPREAD_HOME is not set", 0),
        ([], "it measured nothing: it said nothing", 0),
    ],
)
def test_a_driver_that_fails_says_why_and_keeps_what_it_had(
    lines: list[str], reason: str, kept: int, tmp_path: Path
) -> None:
    path = driver(tmp_path, "it", *lines)
    with pytest.raises(DriverFailed, match=reason) as failed:
        drivers.run(path, 1.0, 1)
    assert len(failed.value.samples) == kept
    assert "--set-up" not in str(failed.value)


def test_a_driver_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "DRIVER_S_MAX", 0.5)
    path = driver(tmp_path, "it", f"print({LINE!r}, flush=True)", "time.sleep(1000)")
    with pytest.raises(DriverFailed, match="it was ended after") as failed:
        drivers.run(path, 1.0, 1)
    assert len(failed.value.samples) == 1


def test_the_error_that_others_followed_from_is_told() -> None:
    said = (
        "Traceback:\n  raise\nModuleNotFoundError: No module named 'uvloop'\nTraceback:\nRuntimeError: ['x']: rc 1:\n"
    )
    assert drivers.cause_in(said) == "ModuleNotFoundError: No module named 'uvloop'"
    assert drivers.cause_in("one\ntwo\n\n") == "two"


def test_a_peer_is_set_up_by_its_own_script(tmp_path: Path) -> None:
    path = driver(tmp_path, "it", "sys.exit('nothing installed')")
    drivers.set_up(path)  # it has none
    path.with_name("setup.sh").write_text('touch "$(dirname "$0")/installed"\n', "utf-8")
    drivers.set_up(path)
    assert path.with_name("installed").exists()
    with pytest.raises(DriverFailed, match="--set-up"):
        drivers.run(path, 1.0, 1)
    path.with_name("setup.sh").write_text("echo no network >&2; exit 3\n", "utf-8")
    with pytest.raises(DriverFailed, match="status 3: no network"):
        drivers.set_up(path)


# --- how busy the load generators of others are -------------------------------------------------------------------


def stat(proc: Path, pid: int, parent: int, session: int, ticks: int) -> None:
    """A process, as proc(5) shows it; its name is as bad as can be."""
    fields = ["S", str(parent), "1", str(session), *["0"] * 7, str(ticks), "0", *["0"] * 30]
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(f"{pid} (a) b (c) {' '.join(fields)}\n", "ascii")


def test_load_generators_are_the_children_in_the_drivers_session(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    stat(tmp_path, 10, 1, 10, 0)
    stat(tmp_path, 11, 10, 10, 3 * tick)  # the load
    stat(tmp_path, 12, 10, 12, 9 * tick)  # a server
    stat(tmp_path, 13, 11, 10, 9 * tick)  # of the load
    assert children_of(10, tmp_path) == {11: 3.0}
    assert children_of(99, tmp_path) == {}


def test_a_process_that_was_there_before_is_no_load_generator() -> None:
    """It was taken for one that came last, where a busy machine looked so late that both were seen at once."""
    watch = Watch(1)
    watch.take(0.0, {5: 9.0})
    watch.take(1.0, {5: 9.0})
    assert watch.latest() == 0.0
    watch.take(2.0, {5: 9.0, 6: 0.0})
    watch.take(4.0, {5: 9.0, 6: 1.8})
    assert watch.latest() == 0.9
    watch.take(5.0, {6: 2.8})
    watch.take(6.0, {5: 0.0})
    watch.take(7.0, {5: 0.5, 6: 3.8})
    assert watch.latest() == 0.5, "another one of that number"


@pytest.mark.real
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to look into")
def test_a_busy_load_generator_is_seen() -> None:
    """One that sleeps, and one that does not; each is gone when the figure is asked for."""
    shares = []
    with Watch(os.getpid(), 0.02) as watch:
        for work in ("time.sleep(1)", "while time.process_time() < 1: pass"):
            program = f"import time\n{work}"
            subprocess.run([sys.executable, "-c", program], check=True)
            shares.append(watch.latest() or 0.0)
        assert watch.latest() is None
    assert shares[0] < shares[1]
