"""A load of puts or linearizable gets as one process, for benchmarks that drive it themselves.

    python -m bench.loadgen put|get OUTSTANDING SESSIONS SECONDS HOST:PORT...

Keys of 16 bytes, values of 128.  Prints one JSON line: operations per second, latency in us, and the share of one core of
the process that made the load, which tells whether the client was the bottleneck.

Load generators of other systems are in C, and on a machine that runs nodes and clients each microsecond of a client is
one that nodes lack.  So this one is too (`bench/loadgen.c`) on Linux where there is a C compiler; else, and with
`--python`, it is that of `phalanx bench`.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.samples import latencies_us
from bench.workloads import STORE, VALUE
from phalanx.lab.loadgen.histogram import Histogram
from phalanx.lab.loadgen.load import Load, Plan
from phalanx.replication.messages import CloseSession, Command, OpenSession, Query
from phalanx.runtime.connection import HELLO, PROTOCOL_VERSION, Hello
from phalanx.runtime.loop import run
from phalanx.services.store.kv import KV
from phalanx.wire.frame import Kind

OPERATIONS = ("put", "get")
PREFIX = b"bench/0000/"
KEYS = 10_000

SOURCE = Path(__file__).with_suffix(".c")
PROGRAMS = Path(__file__).parent.parent / "build" / "bench"
"""Where what was compiled is kept."""

MARKS = {"request": 0xF1F1F1F1, "session": 0xF2F2F2F2F2F2F2F2, "number": 0xF3F3F3F3, "low": 0xF4F4F4F4}
"""Numbers that stand for others in a message; each takes as many bytes there as the other may."""

KEY_MARK = b"#####"
"""Digits of a key."""

Figures = dict[str, float]


class LoadFailed(Exception):
    """The load generator ended without a result; the text says why."""


def figures_of(histogram: Histogram, seconds: float, cpu: float, errors: int) -> Figures:
    """What is printed."""
    rate = round(histogram.total / seconds)
    return {"ops_per_s": rate, **latencies_us(histogram), "client_cpu": round(cpu, 2), "errors": errors}


async def generate(operation: str, outstanding: int, sessions: int, seconds: float, nodes: Sequence[str]) -> Figures:
    """Make the load in Python; what was measured.  Raises OSError if no node answers."""
    load = Load(Plan(operation, tuple(nodes), outstanding, sessions, seconds, keys=KEYS, prefix=PREFIX))
    await load.open()
    result = await load.run()
    return figures_of(result.histogram(operation), result.seconds, result.cpu, sum(result.errors.values()))


# --- in C ---------------------------------------------------------------------------------------------------------


def program() -> Path | None:
    """The load generator in C, compiled if it is not yet; None where there is no compiler, or no epoll.  Raises
    `LoadFailed` if it cannot be compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        return None
    path = PROGRAMS / f"loadgen-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}"
    if not path.exists():
        PROGRAMS.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        command = [compiler, "-O2", "-Wall", "-o", str(unfinished), str(SOURCE)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise LoadFailed(f"{' '.join(command)} failed: {ended.stderr}")
        unfinished.rename(path)
    return path


def messages(operation: str) -> str:
    """What the load generator in C is to send: hello, open, close, and the operation."""
    key = PREFIX + KEY_MARK
    invocation = STORE.invoke(KV.put, key, VALUE) if operation == "put" else STORE.invoke(KV.get, key)
    request, session, number, low = MARKS.values()
    of, arguments, group = invocation.operation, invocation.arguments, "KV"
    call: Command | Query = Query(request, group, of.id, of.types, arguments)
    if operation == "put":
        call = Command(request, group, session, number, low, of.id, of.types, arguments)
    bodies = [(Kind.HELLO, HELLO.encode(Hello(PROTOCOL_VERSION, "", 1, 1)))]
    for message in (OpenSession(request, group), CloseSession(request, group, session), call):
        bodies.append((Kind.MESSAGE, msgspec.msgpack.encode(message)))
    return "".join(f"{kind:d} {' '.join(map(str, places_in(body)))} {body.hex()}\n" for kind, body in bodies)


def places_in(body: bytes) -> list[int]:
    """Where the marks are; -1 for one that is not there."""
    marks = [value.to_bytes(8 if value >> 32 else 4, "big") for value in MARKS.values()]
    places = [body.find(mark) for mark in (*marks, KEY_MARK)]
    assert all(body.count(mark) <= 1 for mark in (*marks, KEY_MARK)), "a mark is there once"
    return places


def generate_in_c(
    program: Path, operation: str, outstanding: int, sessions: int, seconds: float, nodes: Sequence[str]
) -> Figures:
    """Make the load in C; what was measured.  Raises `LoadFailed`."""
    warm_up_s = Plan(operation, tuple(nodes), outstanding, sessions, seconds).warm_up_s
    words = [str(word) for word in (warm_up_s, seconds, outstanding, sessions, KEYS, *nodes)]
    command = [str(program), *words]
    ended = subprocess.run(command, input=messages(operation), capture_output=True, text=True, check=False)
    if ended.returncode:
        raise LoadFailed(f"{program.name} ended with status {ended.returncode}: {ended.stderr.strip()}")
    found = json.loads(ended.stdout)
    histogram = Histogram({int(bucket): count for bucket, count in found["counts"].items()}, found["most"])
    return figures_of(histogram, found["seconds"], found["cpu"], found["errors"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operation", choices=OPERATIONS)
    parser.add_argument("outstanding", type=int)
    parser.add_argument("sessions", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("nodes", nargs="+")
    parser.add_argument("--python", action="store_true", help="not in C, though there is a compiler")
    options = parser.parse_args()
    load = (options.operation, options.outstanding, options.sessions, options.seconds, options.nodes)
    try:
        compiled = None if options.python else program()
        found = generate_in_c(compiled, *load) if compiled else run(generate(*load))
    except (LoadFailed, OSError) as error:
        parser.exit(1, f"{error}\n")
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
