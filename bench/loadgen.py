"""The load of `phalanx bench` as one process, for benchmarks that drive it themselves.

    python -m bench.loadgen put|get|mixed OUTSTANDING SESSIONS SECONDS HOST:PORT...

Keys of 16 bytes, values of 128.  Prints one JSON line: operations per second, latency in us, and this process's share of
one core, which tells whether the client was the bottleneck.
"""

import argparse
import json
from typing import Any

from bench.samples import latencies_us
from phalanx.lab.loadgen.histogram import Histogram
from phalanx.lab.loadgen.load import PUTS, Load, Plan
from phalanx.runtime.loop import run

PREFIX = b"bench/0000/"


async def generate(operation: str, outstanding: int, sessions: int, seconds: float, nodes: list[str]) -> dict[str, Any]:
    """Make the load; what was measured."""
    load = Load(Plan(operation, tuple(nodes), outstanding, sessions, seconds, prefix=PREFIX))
    await load.open()
    result = await load.run()
    every = Histogram()
    for each in result.counts:
        every.merge(result.histogram(each))
    return {
        "ops_per_s": round(every.total / result.seconds),
        **latencies_us(every),
        "client_cpu": round(result.cpu, 2),
        "errors": sum(result.errors.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operation", choices=tuple(PUTS))
    parser.add_argument("outstanding", type=int)
    parser.add_argument("sessions", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("nodes", nargs="+")
    arguments = parser.parse_args()
    print(json.dumps(run(generate(**vars(arguments)))), flush=True)


if __name__ == "__main__":
    main()
