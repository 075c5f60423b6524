"""Drivers of other systems: found in a directory, run, and their lines taken as samples.

A driver is DIR/NAME/run.py.  It starts its own servers, makes its own load, and prints one JSON object a line with
`peer`, `workload`, `params`, and any of `ops_per_s`, `p50_us`, `p99_us`, `p999_us`, `gap_ms`; PEERS_SECS is the length of
one measurement, and PEERS_FAST asks for one run of each.  DIR/NAME/setup.sh, if there is one, installs what it needs.
`work_of` says which words name which workload; lines that name none are left out.

The driver is also watched: of the processes that it starts in its own session, which are the load generators (servers get
sessions of their own), the share of a core is measured from outside.
"""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.samples import Sample, What, Work

DRIVER_S_MAX = 1800.0
"""For one driver to measure everything once: some start three Java machines for each figure."""

STOP_S_MAX = 15.0
"""For a driver to stop its servers when it is told to end."""

LOOK_S = 0.2
"""Between two looks at the processes of a driver."""

LOAD_S_MIN = 2 * LOOK_S
"""A process that was seen for less than that made no load, or too little to tell how busy it was."""

FIGURES = ("ops_per_s", "p50_us", "p99_us", "p999_us", "gap_ms")

KINDS = {
    r"W1 ordered multicast": What.MULTICAST,
    r"W1 latency to own delivery": What.MULTICAST,
    r"W2 (put|set|publish R3 with ack|ReplDict\.set|SET \+ WAIT 2)": What.PUT,
    r"W3 (get linearizable|sync\+get)": What.GET,
    r"W4 ": What.GAP,
    r"one sender to 2 receivers": What.STREAM,
    r"TCP ping-pong": What.PING,
    r"disk": What.FSYNC,
}
"""Workloads, by how their names begin."""

DURABLE = re.compile(r"disk, fsync$|\(fsync\)|appendfsync always")
"""In the parameters of a put: acknowledged means on the disk, as in a durable group of ours."""

LESS = re.compile(r"asyncio|sockets|streams|only counts|preallocated|\+ fsync")
"""In the parameters of a limit: done in another way than we do it."""

NUMBERS = {
    "size": re.compile(r"(\d+) B\b"),
    "outstanding": re.compile(r"(\d+) (?:outstanding|connections)\b"),
}

SENDERS = {"one sender": 1, "three senders": 3}

SAID = re.compile(r"\d+ B|\d+ (outstanding|connections).*|1 outstanding each|(one|three) senders?|try \d+")
"""Parts of the parameters that are in the workload already."""


ERROR = re.compile(r"[\w.]+(Error|Exception|Expired)\b")
"""How a line begins that says what went wrong."""


class DriverFailed(Exception):
    """It did not come to its end, or has printed nothing; the text says why."""

    def __init__(self, reason: str, samples: list[Sample]) -> None:
        super().__init__(reason)
        self.samples = samples
        """What it had measured before."""


class Line(msgspec.Struct):
    """What a driver prints."""

    peer: str
    workload: str
    params: str = ""
    ops_per_s: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    p999_us: float | None = None
    gap_ms: float | None = None
    errors: int = 0


_decode = msgspec.json.Decoder(Line).decode


def find(directory: Path) -> dict[str, Path]:
    """The drivers in it, by name."""
    return {path.parent.name: path for path in sorted(directory.glob("*/run.py"))}


def work_of(workload: str, params: str) -> Work | None:
    """Which of our workloads that is; None if it is none."""
    what = next((what for start, what in KINDS.items() if re.match(start, workload)), None)
    if what is None:
        return None
    if what in (What.STREAM, What.PING, What.FSYNC):
        found = NUMBERS["size"].search(params)
        return None if LESS.search(params) else Work(what, int(found[1]) if found else 0)
    if what is What.GAP:
        return Work(what)
    if what is What.PUT and DURABLE.search(params):
        what = What.DURABLE_PUT
    numbers = {name: int(found[1]) for name, pattern in NUMBERS.items() if (found := pattern.search(params))}
    if found := NUMBERS["outstanding"].search(workload):
        numbers["outstanding"] = int(found[1])
    senders = next((count for words, count in SENDERS.items() if words in params), 1)
    return Work(what, senders=senders, **numbers)


def sample_of(line: Line, number: int, busy: float | None) -> Sample | None:
    """What a driver's line says, in that round, with how busy its load generator was; None if it is of no use to us."""
    work = work_of(line.workload, line.params)
    figures = {name: value for name in FIGURES if (value := getattr(line, name)) and value > 0}
    if work is None or work.figure not in figures:
        return None
    if busy is not None:
        figures["client_cpu"] = round(busy, 2)
    if line.errors:
        figures["errors"] = line.errors
    system = f"{line.peer} safe" if "(safe)" in line.workload else line.peer
    parts = (part.strip() for part in line.params.split(","))
    variant = ", ".join(part for part in parts if part and not SAID.fullmatch(part))
    return Sample(system, work, figures, number, variant)


def set_up(driver: Path) -> None:
    """Have it install what it needs.  Raises `DriverFailed`."""
    script = driver.with_name("setup.sh")
    if script.exists():
        ended = subprocess.run(
            ["sh", str(script)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise DriverFailed(f"its setup.sh ended with status {ended.returncode}: {cause_in(ended.stderr)}", [])


def run(driver: Path, seconds: float, number: int) -> list[Sample]:
    """Have it measure everything once.  Raises `DriverFailed`, which has what was measured all the same."""
    environment = {"PEERS_SECS": str(seconds), "PEERS_FAST": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    samples: list[Sample] = []
    wrong = ""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as words:
        process = subprocess.Popen(
            [sys.executable, str(driver)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
            env=os.environ | environment,
        )
        assert process.stdout is not None
        limit = threading.Timer(DRIVER_S_MAX, process.terminate)
        limit.start()
        try:
            with Watch(process.pid) as watch:
                for text in process.stdout:
                    try:
                        sample = sample_of(_decode(text), number, watch.latest())
                    except msgspec.DecodeError as error:
                        wrong = f"it printed a line that is no figure: {error}"
                        continue
                    if sample is not None:
                        samples.append(sample)
            status = process.wait()
            if time.monotonic() - began >= DRIVER_S_MAX:
                wrong = f"it was ended after {DRIVER_S_MAX:g} s"
        finally:
            limit.cancel()
            _stop(process)
        words.seek(0)
        said = words.read()
    if status or wrong or not samples:
        reason = wrong or (f"it ended with status {status}" if status else "it measured nothing")
        remedy = " (--set-up runs its setup.sh)" if driver.with_name("setup.sh").exists() else ""
        raise DriverFailed(f"{reason}: {cause_in(said)}{remedy}", samples)
    return samples


def _stop(process: "subprocess.Popen[str]") -> None:
    """So that it stops its servers, unless it has ended."""
    process.terminate()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


def cause_in(said: str) -> str:
    """Of what a program said before it failed, the first line that looks like an error, else the last one: of several
    tracebacks the first is what the others followed from."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next(filter(ERROR.match, lines), lines[-1] if lines else "it said nothing")


# --- how busy load generators are ---------------------------------------------------------------------------------


class Seen(NamedTuple):
    """Of a process: when, in seconds, it was first and last looked at, and what it had used of a core by then."""

    first_at: float
    first_used: float
    last_at: float
    last_used: float

    @property
    def seconds(self) -> float:
        return self.last_at - self.first_at

    @property
    def share(self) -> float:
        return (self.last_used - self.first_used) / self.seconds


class Watch:
    """Looks at the children of a process, now and then, from a thread; a context manager.  Sees nothing where there is no
    /proc."""

    def __init__(self, pid: int, look_s: float = LOOK_S) -> None:
        self._pid = pid
        self._look_s = look_s
        self._seen: dict[int, Seen] = {}
        self._past: set[int] = set()
        """Those that came before the last question, and have not ended."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._past = set(children_of(self._pid))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def latest(self) -> float | None:
        """Of the one that came last since this was asked last, its share of a core; None if there was none.  Those that
        came before it may have warmed the servers up."""
        with self._lock:
            found = [seen for seen in self._seen.values() if seen.seconds >= LOAD_S_MIN]
            self._past |= self._seen.keys()
            self._seen.clear()
        return max(found, key=lambda seen: seen.first_at).share if found else None

    def _look(self) -> None:
        while not self._ended.wait(self._look_s):
            self.take(time.monotonic(), children_of(self._pid))

    def take(self, now: float, used: Mapping[int, float]) -> None:
        """These are there at that time, and have used so many seconds of a core each."""
        with self._lock:
            self._past &= used.keys()
            for pid in used.keys() - self._past:
                before = self._seen.get(pid)
                first = before[:2] if before else (now, used[pid])
                self._seen[pid] = Seen(*first, now, used[pid])


def children_of(pid: int, proc: Path = Path("/proc")) -> Mapping[int, float]:
    """Of the children of a process that are in its session, how many seconds of a core each has used."""
    tick = os.sysconf("SC_CLK_TCK")
    processes: dict[int, list[str]] = {}
    for path in proc.glob("[0-9]*/stat"):
        try:
            # Behind the name, which may hold anything: state, parent, group, session, ...; see proc(5).
            processes[int(path.parent.name)] = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
    session = processes.get(pid, ("", "", "", ""))[3]
    return {
        child: (int(fields[11]) + int(fields[12])) / tick
        for child, fields in processes.items()
        if fields[1] == str(pid) and fields[3] == session
    }
