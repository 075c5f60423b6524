"""The store on real nodes on loopback: puts and linearizable gets, in memory and durable.

    python -m bench.coordination [--seconds 4] [--runs 3] [--busy-poll-us 0]

Keys of 16 bytes, values of 128; 1, 64 and 256 operations under way.  Load comes from one process of `bench.loadgen`: if
its share of a core is near 1, it was the bottleneck.  `python -m bench.peers` runs other systems beside it.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.loadgen import OPERATIONS, Figures, LoadFailed
from bench.workloads import NAMES
from phalanx.group.config import Timing
from phalanx.lab.processes import Processes
from phalanx.model.clock import MICROSECOND
from phalanx.runtime.loop import run

LOADS = {1: 1, 64: 6, 256: 12}
"""Operations under way, and in how many sessions."""


class Measured(NamedTuple):
    """The figures of all runs of one load."""

    operation: str
    outstanding: int
    runs: list[Figures]


async def load(operation: str, outstanding: int, sessions: int, seconds: float, nodes: list[str]) -> Figures:
    """One measurement.  Raises `LoadFailed`."""
    words = [operation, str(outstanding), str(sessions), str(seconds), *nodes]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.loadgen", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, said = await process.communicate()
    if process.returncode:
        raise LoadFailed(f"no {operation} with {outstanding} under way could be measured: {said.decode().strip()}")
    found: Figures = json.loads(out)
    return found


async def measure(
    seconds: float,
    *,
    durable: bool = False,
    operations: Sequence[str] = OPERATIONS,
    loads: Mapping[int, int] = LOADS,
    runs: int = 1,
    members: int = 3,
    options: Sequence[str] = (),
) -> list[Measured]:
    """All loads on one cluster.  options: more of `phalanx serve`.  Raises `LoadFailed`, and what `Processes` raises."""
    async with Processes(NAMES[:members], (*options, "--durable") if durable else options) as nodes:
        await nodes.wait_until_full(members)
        addresses = list(nodes.addresses.values())
        return [
            Measured(each, outstanding, [await load(each, outstanding, n, seconds, addresses) for _ in range(runs)])
            for each in operations
            for outstanding, n in loads.items()
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--busy-poll-us", type=int, default=Timing().busy_poll // MICROSECOND)
    arguments = parser.parse_args()
    options = ("--busy-poll-us", str(arguments.busy_poll_us))
    table = Table("workload", "outstanding", "per s, best", "median", "p50 us", "p99 us", "client's share of a core")
    for durable in (False, True):
        where = "durable" if durable else "memory"
        measured = run(measure(arguments.seconds, durable=durable, runs=arguments.runs, options=options))
        for operation, outstanding, runs in measured:
            runs.sort(key=lambda figures: figures["ops_per_s"])
            best, median = runs[-1], runs[len(runs) // 2]
            figures = (f"{best['ops_per_s']:,.0f}", f"{median['ops_per_s']:,.0f}")
            latency = (f"{best['p50_us']:.0f}", f"{best['p99_us']:.0f}", f"{best['client_cpu']:.2f}")
            table.add_row(f"{where} {operation}", str(outstanding), *figures, *latency)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
