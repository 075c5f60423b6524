"""`phalanx sim`: run the product's own code under simulated disasters, check, shrink, replay."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from phalanx.lab.durable import DurableScenario
from phalanx.lab.groups import GroupScenario
from phalanx.lab.mutants import MUTANTS, planted
from phalanx.lab.service import ServiceScenario
from phalanx.lab.store import StoreScenario
from phalanx.runtime.compiled import run_from_source
from phalanx.sim.campaign import Summary, survey
from phalanx.sim.plan import Plan
from phalanx.sim.run import Result, Scenario, replay, run_seed
from phalanx.sim.shrink import shrink

SCENARIOS: dict[str, type[Scenario]] = {
    "groups": GroupScenario,
    "durable": DurableScenario,
    "service": ServiceScenario,
    "store": StoreScenario,
}
"""What can be run, by name: each is a class without arguments, importable by the worker processes."""


def sim(
    seeds: Annotated[int, typer.Option(help="How many seeds to run.", min=1)] = 1000,
    first: Annotated[int, typer.Option("--from", help="The first seed.", min=0)] = 0,
    scenario: Annotated[str, typer.Option(help=f"What to run: {', '.join(SCENARIOS)}.")] = "groups",
    jobs: Annotated[int | None, typer.Option(help="Worker processes. [default: one for each core]", min=1)] = None,
    time_s: Annotated[float | None, typer.Option("--time", help="Begin no seed after so many seconds.")] = None,
    seed: Annotated[int | None, typer.Option("--replay", help="Run this one seed and print its trace.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Run the plan in this file (from --shrink) and trace it.")] = None,
    smaller: Annotated[
        bool, typer.Option("--shrink", help="With --replay: look for a smaller plan that fails.")
    ] = False,
    coverage: Annotated[bool, typer.Option(help="Print how often each thing happened.")] = False,
    without: Annotated[
        list[str] | None, typer.Option(help="Take this rule out of the code first, to see it missed (one process).")
    ] = None,
) -> None:
    """Run many simulated disasters; check what every process saw; demand progress once they end.

    The last line is "seeds=N violations=V stuck=K"; the exit status is 0 only if V and K are 0, and 2 for bad options.
    """
    factory = SCENARIOS.get(scenario)
    if factory is None:
        raise typer.BadParameter(f"{scenario!r} is none of {', '.join(SCENARIOS)}", param_hint="--scenario")
    if without:
        run_from_source()  # compiled classes cannot be changed
    if plan is not None:
        try:
            _tell(replay(factory, Plan.load(plan.read_text())))
        except (OSError, ValueError) as error:
            raise typer.BadParameter(f"{plan}: {error}", param_hint="--plan") from error
        return
    unknown = set(without or ()) - set(MUTANTS)
    if unknown:
        known = "".join(f"\n  {name}" for name in sorted(MUTANTS))
        raise typer.BadParameter(f"no rule {', '.join(sorted(unknown))}; there are:{known}", param_hint="--without")
    with planted(*(without or ())):
        if seed is not None:
            _replay(factory, seed, smaller)
        else:
            _survey(factory, scenario, first, seeds, 1 if without else jobs, time_s, coverage)


def _replay(factory: type[Scenario], seed: int, smaller: bool) -> None:
    result = run_seed(factory, seed, trace=not smaller)
    if smaller and not result.ok:
        shrunk = shrink(factory, result.plan)
        typer.echo(shrunk.result.trace)
        typer.echo(str(shrunk))
        raise typer.Exit(1)
    _tell(result)


def _tell(result: Result) -> None:
    if result.trace:
        typer.echo(result.trace)
    typer.echo(result.plan.describe())
    typer.echo(str(result))
    summary = Summary()
    summary.add(result)
    typer.echo(str(summary))
    raise typer.Exit(0 if result.ok else 1)


def _survey(
    factory: type[Scenario],
    scenario: str,
    first: int,
    seeds: int,
    jobs: int | None,
    time_s: float | None,
    coverage: bool,
) -> None:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("simulating", total=seeds)

        def advance(summary: Summary, result: Result) -> None:
            failed = summary.violations + summary.stuck
            progress.update(task, advance=1, description=f"simulating, {failed} failed")
            if not result.ok:
                typer.echo(f"{result}\n  replay: phalanx sim --scenario {scenario} --replay {result.seed}")

        summary = survey(factory, first, seeds, jobs=jobs, time_s=time_s, progress=advance)
    if coverage:
        for what, count in sorted(summary.notes.items()):
            typer.echo(f"{count:>12} {what}")
    typer.echo(f"{summary.steps} steps, {summary.virtual_ns / 1e9:.0f} s of virtual time")
    typer.echo(str(summary))
    raise typer.Exit(0 if summary.violations == summary.stuck == 0 else 1)
