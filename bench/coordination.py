"""The store on three real nodes on loopback: puts and linearizable gets, in memory and durable; and peers beside it.

    python -m bench.coordination [--seconds 4] [--runs 3] [--peer ZooKeeper="python3 PATH/zookeeper/run.py" ...]

Workloads are those of the peers' drivers: keys of 16 bytes, values of 128; 1, 64 and 256 outstanding.  A peer is any
command that prints JSON lines with `workload`, `params`, `ops_per_s` and `p50_us`; its lines are printed after ours of
the same run.  Load comes from `bench.loadgen` (one process: `client_cpu` near 1 means that it was the bottleneck).
"""

import argparse
import asyncio
import json
import shlex
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from phalanx.lab.processes import Processes
from phalanx.runtime.loop import run

LOADS = ((1, 1), (64, 6), (256, 12))
"""Outstanding operations, and in how many sessions."""


async def load(operation: str, outstanding: int, sessions: int, seconds: float, nodes: list[str]) -> dict[str, float]:
    """One measurement."""
    words = [operation, str(outstanding), str(sessions), str(seconds), *nodes]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.loadgen", *words, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"the load generator failed with status {process.returncode}")
    found: dict[str, float] = json.loads(out)
    return found


async def measure(durable: bool, seconds: float, runs: int, table: Table) -> None:
    """All loads on one cluster; of the runs of each, the one with the most operations per second."""
    async with Processes(options=("--durable",) if durable else ()) as nodes:
        await nodes.wait_until_full(3)
        addresses = list(nodes.addresses.values())
        for operation in ("put", "get"):
            for outstanding, sessions in LOADS:
                found = [await load(operation, outstanding, sessions, seconds, addresses) for _ in range(runs)]
                found.sort(key=lambda figures: figures["ops_per_s"])
                best, median = found[-1], found[len(found) // 2]
                where = "durable" if durable else "memory"
                figures = (f"{best['ops_per_s']:,.0f}", f"{median['ops_per_s']:,.0f}")
                latency = (f"{best['p50_us']:.0f}", f"{best['p99_us']:.0f}", f"{best['client_cpu']:.2f}")
                table.add_row(f"{where} {operation}", str(outstanding), *figures, *latency)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    arguments = parser.parse_args()
    table = Table("workload", "outstanding", "per s, best", "median", "p50 us", "p99 us", "client's share of a core")
    for durable in (False, True):
        run(measure(durable, arguments.seconds, arguments.runs, table))
    Console(width=120).print(table)
    for peer in arguments.peer:
        name, _, command = peer.partition("=")
        print(f"-- {name}", flush=True)
        subprocess.run(shlex.split(command), check=False)


if __name__ == "__main__":
    main()
