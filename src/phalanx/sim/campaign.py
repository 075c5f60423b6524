"""Many seeds, on all cores.

Worker processes are started anew (spawned), so a scenario's factory must be importable: a class or a function at the
top of a module.  A worker gets a few seeds at a time and sends their results back: memory does not grow with the number
of seeds.  Results come as they are ready, so their order is not that of the seeds, but each is what `run_seed` gives.
"""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from phalanx.sim.run import Result, Scenario, run_seed

CHUNK = 8
"""Seeds that a worker gets at a time: enough that it seldom waits, few enough that a time limit is kept."""

FAILED_MAX = 100
"""Failed results that a summary keeps."""

Factory = Callable[[], Scenario]


class Summary:
    """What came out so far."""

    def __init__(self) -> None:
        self.seeds = 0
        self.violations = 0
        self.stuck = 0
        self.steps = 0
        self.virtual_ns = 0
        self.notes: Counter[str] = Counter()
        """How often each note was made in all runs together."""
        self.features: Counter[str] = Counter()
        """Coverage: how many runs had each feature (`coverage`)."""
        self.failed: list[Result] = []
        """The first failed or stuck runs."""

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.violations += bool(result.failures)
        self.stuck += result.stuck is not None
        self.steps += result.steps
        self.virtual_ns += result.virtual_ns
        self.notes.update(result.notes)
        self.features.update(result.features)
        if not result.ok and len(self.failed) < FAILED_MAX:
            self.failed.append(result)

    def __str__(self) -> str:
        return f"seeds={self.seeds} violations={self.violations} stuck={self.stuck}"


def survey(
    factory: Factory,
    first: int,
    count: int | None,
    *,
    jobs: int | None = None,
    time_s: float | None = None,
    progress: Callable[[Summary, Result], None] | None = None,
) -> Summary:
    """Run a campaign to its end, calling `progress` after each result."""
    summary = Summary()
    for result in campaign(factory, first, count, jobs=jobs, time_s=time_s):
        summary.add(result)
        if progress is not None:
            progress(summary, result)
    return summary


def campaign(
    factory: Factory, first: int, count: int | None, *, jobs: int | None = None, time_s: float | None = None
) -> Generator[Result, None, None]:
    """The results of the seeds from `first` on: `count` of them (None: no end), none begun after `time_s` seconds.

    jobs: worker processes (None: one for each core; 1: none, everything runs in this process).
    Closing the iterator, or an interrupt, ends the workers.  Raises RuntimeError if a worker ends by itself.
    """
    end = None if time_s is None else time.monotonic() + time_s
    chunks = _chunks(first, count, end)
    jobs = jobs or os.cpu_count() or 1
    if count is not None:
        jobs = max(1, min(jobs, -(-count // CHUNK)))
    if jobs == 1:
        for seeds in chunks:
            for seed in seeds:
                if end is None or time.monotonic() < end:
                    yield run_seed(factory, seed)
        return
    yield from _in_parallel(factory, chunks, jobs)


def _chunks(first: int, count: int | None, end: float | None) -> Iterator[range]:
    stop = None if count is None else first + count
    while (stop is None or first < stop) and (end is None or time.monotonic() < end):
        after = first + CHUNK if stop is None else min(stop, first + CHUNK)
        yield range(first, after)
        first = after


def _in_parallel(factory: Factory, chunks: Iterator[range], jobs: int) -> Iterator[Result]:
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(jobs):
            here, there = context.Pipe()
            worker: BaseProcess = context.Process(target=_work, args=(factory, there), daemon=True)
            worker.start()
            there.close()
            workers[here] = worker
        busy = [here for here in workers if _hand_out(here, chunks)]
        while busy:
            for ready in wait(busy):
                assert isinstance(ready, Connection)
                try:
                    results: list[Result] = ready.recv()
                except EOFError:
                    workers[ready].join()
                    raise RuntimeError(f"a worker ended by itself: exit code {workers[ready].exitcode}") from None
                if not _hand_out(ready, chunks):
                    busy.remove(ready)
                yield from results
    finally:
        for here, worker in workers.items():
            here.close()
            worker.terminate()
        for worker in workers.values():
            worker.join()


def _hand_out(worker: Connection, chunks: Iterator[range]) -> bool:
    seeds = next(chunks, None)
    if seeds is not None:
        worker.send(seeds)
    return seeds is not None


def _work(factory: Factory, parent: Connection) -> None:
    """A worker: until the parent hangs up, or both are interrupted."""
    try:
        while True:
            parent.send([run_seed(factory, seed) for seed in parent.recv()])
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
