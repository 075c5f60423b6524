"""What `phalanx sim` shows of a campaign: progress while it runs, and in the end what it covered."""

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from phalanx.lab.notes import notes_of
from phalanx.sim.campaign import Summary, survey
from phalanx.sim.run import Result, Scenario


def survey_seeds(
    factory: type[Scenario],
    scenario: str,
    first: int,
    seeds: int,
    jobs: int | None,
    time_s: float | None,
    coverage: bool,
) -> None:
    """Run the campaign, and exit with its verdict."""
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
            progress.update(task, advance=1, description=f"{summary} features={len(summary.features)}")
            if not result.ok:
                typer.echo(f"{result}\n  replay: phalanx sim --scenario {scenario} --replay {result.seed}")

        summary = survey(factory, first, seeds, jobs=jobs, time_s=time_s, progress=advance)
    if coverage:
        for what, count in sorted(summary.notes.items()):
            typer.echo(f"{count:>12} {what}")
    _tell_coverage(summary, factory, places=coverage)
    typer.echo(f"{summary.steps} steps, {summary.virtual_ns / 1e9:.0f} s of virtual time")
    typer.echo(str(summary))
    raise typer.Exit(0 if summary.violations == summary.stuck == 0 else 1)


def _tell_coverage(summary: Summary, factory: type[Scenario], *, places: bool) -> None:
    known = notes_of(factory.packages)
    missed = {what: place for what, place in known.items() if what not in summary.notes}
    line = f"{len(summary.features)} features"
    if known:
        line += f", {len(known) - len(missed)} of {len(known)} notes"
    if missed:
        line += "; never: " + ", ".join(f"{what} ({place})" if places else what for what, place in missed.items())
    typer.echo(line)
