"""Who runs the tasks of a campaign: this process, processes of this machine, or whoever else can (`Workers`).

A campaign knows only the interface.  What a task comes out as is a function of the task (`run_task`), so it does not
depend on who runs it, nor on how many there are.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from phalanx.sim.plan import Plan
from phalanx.sim.run import Result, Scenario, replay, run_seed

Factory = Callable[[], Scenario]
Task = int | Plan
"""A seed, or a plan."""

Chunk = tuple[int, Sequence[Task]]
"""Some tasks, and the position of the first among all."""


class WorkersLost(RuntimeError):
    """Tasks cannot be run to their end, and the text says why.  The results that came before are right."""


class Workers(Protocol):
    """Whoever runs tasks."""

    @property
    def count(self) -> int:
        """How many there are now: so many tasks are run at once."""
        ...

    def run(self, factory: Factory, tasks: Iterator[Task], chunk: int) -> Iterator[tuple[int, Result]]:
        """Each result with the position of its task, as they are ready, until there are no more tasks.

        tasks: asked for the next ones only when somebody is free to run them.
        chunk: how many a worker gets at a time, where they have to be sent to it.
        Raises WorkersLost.
        """
        ...

    def close(self) -> None:
        """End them, and what they are doing.  They are not used again."""
        ...


def local(jobs: int | None = None) -> Workers:
    """So many processes of this machine; None: one for each core.  One is this process."""
    jobs = jobs or os.cpu_count() or 1
    return Processes(jobs) if jobs > 1 else Here()


def run_task(factory: Factory, task: Task) -> Result:
    """What every worker does."""
    return replay(factory, task, trace=False) if isinstance(task, Plan) else run_seed(factory, task)


def chunks_of(tasks: Iterable[Task], size: int) -> Iterator[Chunk]:
    """So many at a time, asked for when the chunk is."""
    left, at = iter(tasks), 0
    while chunk := tuple(islice(left, size)):
        yield at, chunk
        at += len(chunk)


class Here:
    """This process."""

    count = 1

    def run(self, factory: Factory, tasks: Iterator[Task], chunk: int) -> Iterator[tuple[int, Result]]:  # noqa: ARG002 - nothing is sent, so one task is taken at a time
        """One after another."""
        for at, task in enumerate(tasks):
            yield at, run_task(factory, task)

    def close(self) -> None:
        """Nothing goes on between two results."""


class Processes:
    """Processes of this machine, started anew (spawned), each when there is a chunk for it: the factory must be
    importable, a class or a function at the top of a module.  They end with this object, or if they are interrupted."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._processes: dict[Connection, BaseProcess] = {}

    @property
    def count(self) -> int:
        """As many as there are to be: none is given up."""
        return self._jobs

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        worker: BaseProcess = context.Process(target=_work, args=(there,), daemon=True)
        worker.start()
        there.close()
        self._processes[here] = worker
        return here

    def close(self) -> None:
        """End them at once."""
        for here, worker in self._processes.items():
            here.close()
            worker.terminate()
        for worker in self._processes.values():
            worker.join()
        self._processes.clear()

    def run(self, factory: Factory, tasks: Iterator[Task], chunk: int) -> Iterator[tuple[int, Result]]:
        """Each gets its next chunk when it has done the last one.  Raises WorkersLost if one ends by itself."""
        chunks = chunks_of(tasks, chunk)
        ahead = list(islice(chunks, 2))
        if len(ahead) < 2 and not self._processes:  # a process would take longer to start than the work takes
            for at, few in ahead:
                yield from ((at + index, run_task(factory, task)) for index, task in enumerate(few))
            return
        chunks = chain(ahead, chunks)
        busy = []
        for number in range(self._jobs):
            if (next_one := next(chunks, None)) is None:
                break
            worker = list(self._processes)[number] if number < len(self._processes) else self._start()
            worker.send((factory, next_one))
            busy.append(worker)
        while busy:
            for ready in wait(busy):
                assert isinstance(ready, Connection)
                at, results = self._results(ready)
                if (next_one := next(chunks, None)) is not None:
                    ready.send((factory, next_one))
                else:
                    busy.remove(ready)
                yield from enumerate(results, at)

    def _results(self, ready: Connection) -> tuple[int, list[Result]]:
        try:
            at, results = ready.recv()
        except EOFError:
            worker = self._processes[ready]
            worker.join()
            raise WorkersLost(f"a worker ended by itself: exit code {worker.exitcode}") from None
        return at, results


def _work(parent: Connection) -> None:
    """A worker: until the parent hangs up, or both are interrupted."""
    try:
        while True:
            factory, (at, tasks) = parent.recv()
            parent.send((at, [run_task(factory, task) for task in tasks]))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
