"""`phalanx explore`: every interleaving of the real view-change code, within bounds."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from multiprocessing.managers import SyncManager
from queue import Queue
from threading import Thread
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from phalanx.lab.explore import SCENARIOS, SHORT, Report, Scenario, explore
from phalanx.runtime.compiled import run_from_source

EVERYTHING = "all"
Tell = Callable[[Report], None]


def explore_command(
    scenario: Annotated[
        str,
        typer.Argument(help=f"One of {', '.join((*SCENARIOS, *(n for n in SHORT if n not in SCENARIOS)))}; or all."),
    ] = EVERYTHING,
    states_max: Annotated[
        int | None, typer.Option("--max-states", min=1, help="Visit at most so many states of each. [default: all]")
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="Small scenarios only: some seconds.")] = False,
    every: Annotated[
        bool, typer.Option("--every", help="Visit equivalent interleavings too; the path found is a shortest one.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Worker processes. [default: one for each core]")] = None,
) -> None:
    """Explore what a group of three can do, in every order of messages, durable writes and faults.

    The last line is "states=N transitions=M scenarios=K violations=V complete=yes|no"; the exit status is 0 only if V
    is 0, and 2 for bad options. A violation is printed with a shortest path to it.
    """
    run_from_source()  # machines are copied field by field
    chosen = _choose(scenario, short)
    workers = min(jobs or os.cpu_count() or 1, len(chosen))
    reports: list[Report] = []
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks = {s.name: progress.add_task(s.name, start=False, total=None) for s in chosen}

        def tell(report: Report) -> None:
            progress.start_task(tasks[report.scenario])
            progress.update(tasks[report.scenario], description=_line(report))

        for report in _explore_all(chosen, states_max, every, workers, tell):
            progress.remove_task(tasks[report.scenario])
            typer.echo(_line(report))
            for line in (f"violation: {report.violation}", *report.path) if report.violation is not None else ():
                typer.echo(f"  {line}")
            reports.append(report)
    violations = sum(r.violation is not None for r in reports)
    complete = "yes" if all(r.complete for r in reports) else "no"
    typer.echo(
        f"states={sum(r.states for r in reports)} transitions={sum(r.transitions for r in reports)} "
        f"scenarios={len(reports)} violations={violations} complete={complete}"
    )
    raise typer.Exit(1 if violations else 0)


def _choose(name: str, short: bool) -> list[Scenario]:
    known = SHORT if short else SCENARIOS | SHORT
    if name == EVERYTHING:
        return list((SHORT if short else SCENARIOS).values())
    if name not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join((EVERYTHING, *known))}", param_hint="SCENARIO")
    return [known[name]]


def _line(report: Report) -> str:
    end = "complete" if report.complete else "VIOLATION" if report.violation is not None else "not complete"
    return (
        f"{report.scenario}: {report.states} states, {report.transitions} transitions, depth {report.depth}, "
        f"{report.quiet} quiet, {end}"
    )


def _explore_all(
    scenarios: list[Scenario], states_max: int | None, every: bool, workers: int, tell: Tell
) -> Iterator[Report]:
    """The reports as they are ready; `tell` is called in between."""
    if workers == 1:
        for scenario in scenarios:
            yield explore(scenario, states_max, tell, every=every)
        return
    context = multiprocessing.get_context("spawn")
    with SyncManager(ctx=context) as manager, ProcessPoolExecutor(workers, context) as pool:
        told: Queue[Report | None] = manager.Queue()
        listener = Thread(target=_listen, args=(told, tell), daemon=True)
        listener.start()
        try:
            futures: list[Future[Report]] = [pool.submit(_work, s, states_max, every, told) for s in scenarios]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # Ctrl-C, most of all: scenarios take minutes, and the pool would begin all the others
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        told.put(None)
        listener.join()


def _listen(told: "Queue[Report | None]", tell: Tell) -> None:
    with suppress(EOFError, OSError):  # given up
        while (report := told.get()) is not None:
            tell(report)


def _work(scenario: Scenario, states_max: int | None, every: bool, told: "Queue[Report | None]") -> Report:
    return explore(scenario, states_max, told.put, every=every)
