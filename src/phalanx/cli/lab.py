"""`phalanx lab`: the textbook's faults and protocols, executed, tabulated and drawn."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table as Printed
from rich.text import Text

from phalanx.cli.complaints import FAILED, complain
from phalanx.errors import ConfigurationError
from phalanx.lab.experiments import EXPERIMENTS, Experiment, Result, Table
from phalanx.lab.figures.svg import svg
from phalanx.lab.gallery import Exhibit, cell_text, page

lab_app = typer.Typer(
    no_args_is_help=True, help="Run the textbook's experiments: tables, figures, and whether they hold."
)


@lab_app.command("list")
def list_command() -> None:
    """Name the experiments, each with what it is about."""
    wide = max(map(len, EXPERIMENTS))
    for experiment in EXPERIMENTS.values():
        typer.echo(f"{experiment.name:<{wide}}  {experiment.title}")


@lab_app.command("run")
def run_command(
    name: Annotated[str | None, typer.Argument(help="Which one, as `phalanx lab list` names it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, with an index page.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The long form: minutes instead of seconds, and more cases.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Directory for figures and pages; made if it is not there.")] = Path(
        "phalanx-lab"
    ),
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print results as JSON, one line for each experiment."),
    ] = False,
) -> None:
    """Run an experiment: print its tables and claims, and write its figures.

    The exit status is 0 only if every claim was found to hold, 1 if one was not, 2 for bad options.
    """
    chosen = _choose(name, every)
    exhibits: list[Exhibit] = []
    unable: list[str] = []
    console = Console()
    try:
        out.mkdir(parents=True, exist_ok=True)
        for experiment in chosen:
            try:
                result = experiment.run(full)
            except ConfigurationError as error:
                unable.append(experiment.name)
                complain(FAILED, f"{experiment.name}: not run: {error}", 1)
                continue
            files = _write(result, out)
            exhibits.append(Exhibit(experiment, result, files))
            if as_json:
                typer.echo(_json(experiment, full, result))
            else:
                _print(console, experiment, result, [out / file for file in files.values()])
        if every:
            (out / "index.html").write_text(page(exhibits, full), encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot write to {out}: {error}", param_hint="--out") from error
    broken = [exhibit.experiment.name for exhibit in exhibits if not exhibit.result.holds]
    if every and not as_json:
        typer.echo(f"experiments={len(chosen)} hold={len(exhibits) - len(broken)} page={out / 'index.html'}")
    raise typer.Exit(1 if broken or unable else 0)


def _choose(name: str | None, every: bool) -> list[Experiment]:
    if every == (name is not None):
        raise typer.BadParameter("give the name of one experiment, or --all", param_hint="NAME")
    if name is None:
        return list(EXPERIMENTS.values())
    if name not in EXPERIMENTS:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(EXPERIMENTS)}", param_hint="NAME")
    return [EXPERIMENTS[name]]


def _write(result: Result, out: Path) -> dict[str, str]:
    """Draw the figures; the names of their files, by name."""
    files = {name: f"{name}.svg" for name in result.figures}
    for name, figure in result.figures.items():
        (out / files[name]).write_text(svg(figure), encoding="utf-8")
    return files


def _json(experiment: Experiment, full: bool, result: Result) -> str:
    whole = {"experiment": experiment.name, "full": full, "holds": result.holds}
    return msgspec.json.encode(whole | msgspec.to_builtins(result)).decode()


def _print(console: Console, experiment: Experiment, result: Result, files: list[Path]) -> None:
    console.print(Text(f"{experiment.title}\n", style="bold"))
    for table in result.tables:
        console.print(_printed(table))
    for story in result.stories:
        console.print(Text(story.title, style="bold"))
        console.print(Text("\n".join(f"  {line}" for line in story.lines) + "\n"))
    for claim in result.claims:
        mark, style = ("holds", "green") if claim.holds else ("FAILS", "bold red")
        measured = f": {claim.found} ({claim.expected})" if claim.holds and "±" in claim.expected else ""
        console.print(Text.assemble((mark, style), f"  {claim.text} [{claim.source}]{measured}"))
        if not claim.holds:
            console.print(Text(f"       expected {claim.expected}\n       found    {claim.found}"))
    for file in files:
        console.print(Text(f"figure: {file}"))
    held = sum(claim.holds for claim in result.claims)
    console.print(Text(f"{experiment.name}: claims={len(result.claims)} hold={held}\n"))


def _printed(table: Table) -> Printed:
    printed = Printed(title=table.title, title_justify="left", title_style="bold")
    for index, column in enumerate(table.columns):
        numbers = all(isinstance(row[index], int | float) for row in table.rows)
        words = " ".join((column, *(cell_text(row[index]) for row in table.rows))).split()
        wide = max(map(len, words), default=0)
        printed.add_column(column, justify="right" if numbers else "left", overflow="fold", min_width=wide)
    for row in table.rows:
        printed.add_row(*map(cell_text, row))
    return printed
