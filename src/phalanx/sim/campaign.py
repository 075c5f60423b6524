"""Many seeds, or the plans of a guided search, on all cores.

Worker processes are started anew (spawned), so a scenario's factory must be importable: a class or a function at the
top of a module.  A worker gets a few seeds at a time and sends their results back: memory does not grow with the number
of seeds.  Results of seeds come as they are ready, so their order is not that of the seeds, but each is what `run_seed`
gives; those of a search come in the order of its plans.
"""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from phalanx.sim.guided import GENERATION, Search
from phalanx.sim.plan import Plan
from phalanx.sim.run import Result, Scenario, replay, run_seed

CHUNK = 8
"""Seeds that a worker gets at a time: enough that it seldom waits, few enough that a time limit is kept."""

GUIDED_CHUNK = 2
"""Plans of a search that a worker gets at a time: all wait for the last of a generation."""

FAILED_MAX = 100
"""Failed results that a summary keeps."""

Factory = Callable[[], Scenario]
Task = int | Plan
"""A seed, or a plan."""

Chunk = tuple[int, Sequence[Task]]
"""Some tasks, and the position of the first among all."""


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
        self.growth: list[tuple[int, int]] = []
        """After so many runs, so many features: whenever there were more."""
        self.failed: list[Result] = []
        """The first failed or stuck runs."""

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.violations += bool(result.failures)
        self.stuck += result.stuck is not None
        self.steps += result.steps
        self.virtual_ns += result.virtual_ns
        self.notes.update(result.notes)
        before = len(self.features)
        self.features.update(result.features)
        if len(self.features) > before:
            self.growth.append((self.seeds, len(self.features)))
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
    search: Search | None = None,
    progress: Callable[[Summary, Result], None] | None = None,
) -> Summary:
    """Run a campaign to its end, calling `progress` after each result.

    search: run its plans, as many as `count`, and not the seeds from `first` on.
    """
    if search is None:
        results = campaign(factory, first, count, jobs=jobs, time_s=time_s)
    else:
        results = guided(factory, search, count, jobs=jobs, time_s=time_s)
    summary = Summary()
    for result in results:
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
    end = _end(time_s)
    jobs = jobs or os.cpu_count() or 1
    if count is not None:
        jobs = max(1, min(jobs, -(-count // CHUNK)))
    with closing(_Workers(factory, jobs)) as workers:
        for _, result in workers.run(_until(end, _chunks(first, count, CHUNK if jobs > 1 else 1))):
            yield result


def guided(
    factory: Factory, search: Search, count: int | None, *, jobs: int | None = None, time_s: float | None = None
) -> Generator[Result, None, None]:
    """The results of the plans that a search makes, which learns from them; everything else is as in `campaign`.

    They are the same, in the same order, whatever `jobs` is.  Only where time ends a campaign depends on the machine.
    """
    end = _end(time_s)
    jobs = min(jobs or os.cpu_count() or 1, -(-GENERATION // GUIDED_CHUNK))
    size = GUIDED_CHUNK if jobs > 1 else 1
    left = count
    with closing(_Workers(factory, jobs)) as workers:
        while (left is None or left > 0) and (end is None or time.monotonic() < end):
            plans = search.generation(GENERATION if left is None else min(left, GENERATION))
            chunks = ((at, plans[at : at + size]) for at in range(0, len(plans), size))
            results = [result for _, result in sorted(workers.run(_until(end, chunks)), key=lambda each: each[0])]
            search.learn(results)
            yield from results
            if left is not None:
                left -= len(plans)


def _end(time_s: float | None) -> float | None:
    return None if time_s is None else time.monotonic() + time_s


def _chunks(first: int, count: int | None, size: int) -> Iterator[Chunk]:
    at = 0
    while count is None or at < count:
        after = at + size if count is None else min(count, at + size)
        yield at, range(first + at, first + after)
        at = after


def _until(end: float | None, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Those that are asked for before that time."""
    for chunk in chunks:
        if end is not None and time.monotonic() >= end:
            return
        yield chunk


class _Workers:
    """Processes that run tasks; none if it is to be one, which is this."""

    def __init__(self, factory: Factory, jobs: int) -> None:
        self._factory = factory
        self._processes: dict[Connection, BaseProcess] = {}
        if jobs > 1:
            try:
                self._start(jobs)
            except BaseException:
                self.close()
                raise

    def _start(self, jobs: int) -> None:
        context = multiprocessing.get_context("spawn")
        for _ in range(jobs):
            here, there = context.Pipe()
            worker: BaseProcess = context.Process(target=_work, args=(self._factory, there), daemon=True)
            worker.start()
            there.close()
            self._processes[here] = worker

    def close(self) -> None:
        """End them."""
        for here, worker in self._processes.items():
            here.close()
            worker.terminate()
        for worker in self._processes.values():
            worker.join()

    def run(self, chunks: Iterator[Chunk]) -> Iterator[tuple[int, Result]]:
        """Each result with its position, as they are ready."""
        if not self._processes:
            for at, tasks in chunks:
                for index, task in enumerate(tasks):
                    yield at + index, _run(self._factory, task)
            return
        busy = [here for here in self._processes if _hand_out(here, chunks)]
        while busy:
            for ready in wait(busy):
                assert isinstance(ready, Connection)
                try:
                    at, results = ready.recv()
                except EOFError:
                    worker = self._processes[ready]
                    worker.join()
                    raise RuntimeError(f"a worker ended by itself: exit code {worker.exitcode}") from None
                if not _hand_out(ready, chunks):
                    busy.remove(ready)
                yield from enumerate(results, at)


def _hand_out(worker: Connection, chunks: Iterator[Chunk]) -> bool:
    chunk = next(chunks, None)
    if chunk is not None:
        worker.send(chunk)
    return chunk is not None


def _work(factory: Factory, parent: Connection) -> None:
    """A worker: until the parent hangs up, or both are interrupted."""
    try:
        while True:
            at, tasks = parent.recv()
            parent.send((at, [_run(factory, task) for task in tasks]))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


def _run(factory: Factory, task: Task) -> Result:
    return replay(factory, task, trace=False) if isinstance(task, Plan) else run_seed(factory, task)
