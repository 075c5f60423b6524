"""Many seeds, or the plans of a guided search, on all cores, or on whatever runs them (`workers`).

Workers get a few seeds at a time and send their results back: memory does not grow with the number of seeds.  Results
of seeds come as they are ready, so their order is not that of the seeds, but each is what `run_seed` gives; those of a
search come in the order of its plans.
"""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import count as count_from

from phalanx.sim.guided import GENERATION, Search
from phalanx.sim.run import Result
from phalanx.sim.workers import Factory, Task, Workers, local

CHUNK = 8
"""Seeds that a worker gets at a time: enough that it seldom waits, few enough that a time limit is kept."""

GUIDED_CHUNK = 1
"""Plans of a search that a worker gets at a time: all wait for the last of a generation."""

FAILED_MAX = 100
"""Failed results that a summary keeps."""


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


class Frontier:
    """Up to where all seeds have been run, whatever the order in which they were."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._ends: dict[int, int] = {}
        """By the first seed of each stretch without gaps: the seed after its last.  There are no more of them than chunks
        under way, and one."""
        self._begins: dict[int, int] = {}
        """The other way round."""

    def add(self, seed: int) -> None:
        """It has been run, for the first time."""
        begin, end = self._begins.pop(seed, seed), self._ends.pop(seed + 1, seed + 1)
        self._ends[begin], self._begins[end] = end, begin

    @property
    def next(self) -> int:
        """The first seed that has not been run."""
        return self._ends.get(self._first, self._first)


def survey(
    factory: Factory,
    first: int,
    count: int | None,
    *,
    workers: Workers | None = None,
    time_s: float | None = None,
    search: Search | None = None,
    summary: Summary | None = None,
    progress: Callable[[Summary, Result], None] | None = None,
) -> Summary:
    """Run a campaign to its end, calling `progress` after each result.

    search: run its plans, as many as `count`, and not the seeds from `first` on.
    summary: count in this one, so that whoever interrupts a campaign has what came out.
    """
    if search is None:
        results = campaign(factory, first, count, workers=workers, time_s=time_s)
    else:
        results = guided(factory, search, count, workers=workers, time_s=time_s)
    summary = Summary() if summary is None else summary
    with closing(results):
        for result in results:
            summary.add(result)
            if progress is not None:
                progress(summary, result)
    return summary


def campaign(
    factory: Factory, first: int, count: int | None, *, workers: Workers | None = None, time_s: float | None = None
) -> Generator[Result, None, None]:
    """The results of the seeds from `first` on: `count` of them (None: no end), none handed out after `time_s` seconds.

    workers: who runs them (None: a process for each core).  They end with the campaign, however it ends, so closing the
    iterator, or an interrupt, ends them.  Raises `workers.WorkersLost` if they cannot go on.
    """
    end = _end(time_s)
    seeds = count_from(first) if count is None else iter(range(first, first + count))
    with closing(workers or local()) as running:
        for _, result in running.run(factory, _until(end, seeds), CHUNK):
            yield result


def guided(
    factory: Factory,
    search: Search,
    count: int | None,
    *,
    workers: Workers | None = None,
    time_s: float | None = None,
) -> Generator[Result, None, None]:
    """The results of the plans that a search makes, which learns from them; everything else is as in `campaign`.

    They are the same, in the same order, whoever runs them.  Only where time ends a campaign depends on the machine.
    """
    end = _end(time_s)
    left = count
    with closing(workers or local()) as running:
        while (left is None or left > 0) and (end is None or time.monotonic() < end):
            plans = search.generation(GENERATION if left is None else min(left, GENERATION))
            numbered = sorted(running.run(factory, _until(end, iter(plans)), GUIDED_CHUNK), key=_at)
            results = [result for _, result in numbered]
            search.learn(results)
            yield from results
            if left is not None:
                left -= len(plans)


def _at(each: tuple[int, Result]) -> int:
    return each[0]


def _end(time_s: float | None) -> float | None:
    return None if time_s is None else time.monotonic() + time_s


def _until(end: float | None, tasks: Iterator[Task]) -> Iterator[Task]:
    """Those that are asked for before that time."""
    for task in tasks:
        if end is not None and time.monotonic() >= end:
            return
        yield task
