"""What it costs to hand a campaign's runs to Dask: the same seeds on processes of this machine, and on as many workers.

    python -m bench.spread [--workers 2] [--seeds 200] [--rounds 3] [--scenario groups]

Starts a scheduler and workers on the loopback interface, and nothing else needs to be there: so it is also the one
command that tries `phalanx sim --over` on one machine.  Rounds of both kinds take turns, since a machine may be busy with
something else, and each round compares all results with those of the other kind.  The time is that of a whole campaign:
starting processes here, finding and inspecting workers there.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

from distributed import LocalCluster
from rich.console import Console
from rich.table import Table

from phalanx.cli.sim import SCENARIOS
from phalanx.lab.spread.driver import Spread
from phalanx.sim.campaign import campaign
from phalanx.sim.run import Result
from phalanx.sim.workers import Factory, Workers, local


def timed(factory: Factory, seeds: int, workers: Workers) -> tuple[float, list[Result]]:
    """Seconds, and the results in the order of their seeds."""
    begun = time.perf_counter()
    results = list(campaign(factory, 0, seeds, workers=workers))
    return time.perf_counter() - begun, sorted(results, key=lambda result: result.seed)


def compared(
    factory: Factory, seeds: int, rounds: int, kinds: dict[str, Callable[[], Workers]]
) -> dict[str, list[float]]:
    """Seconds of each kind in each round.  Raises AssertionError if their results differ."""
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        all_results = []
        for kind, workers in kinds.items():
            seconds, results = timed(factory, seeds, workers())
            times[kind].append(seconds)
            all_results.append(results)
        assert all(results == all_results[0] for results in all_results), "who runs a seed has changed what comes out"
    return times


def main() -> None:
    """Run it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenario", choices=SCENARIOS, default="groups")
    asked = parser.parse_args()
    with LocalCluster(
        n_workers=asked.workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs="ERROR"
    ) as dask:
        kinds: dict[str, Callable[[], Workers]] = {
            "processes": lambda: local(asked.workers),
            "Dask": lambda: Spread(dask.scheduler_address, lambda text: print(text, file=sys.stderr)),
        }
        times = compared(SCENARIOS[asked.scenario], asked.seeds, asked.rounds, kinds)
    table = Table("workers", "s (median)", "s (each round)", "runs/s")
    for kind, seconds in times.items():
        median = statistics.median(seconds)
        each = " ".join(f"{one:.1f}" for one in seconds)
        table.add_row(f"{asked.workers} {kind}", f"{median:.1f}", each, f"{asked.seeds / median:.1f}")
    Console().print(table)
    print("all results are the same")


if __name__ == "__main__":
    main()
