"""`phalanx sim`: run the product's own code under simulated disasters, check, shrink, replay, draw."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from phalanx.cli.campaign import Wish, run_campaign
from phalanx.diagram import page, svg
from phalanx.diagram.chronicle import Message
from phalanx.diagram.layout import lay_out
from phalanx.diagram.model import Diagram
from phalanx.errors import ConfigurationError
from phalanx.lab.depict import depict, look
from phalanx.lab.durable import DurableScenario
from phalanx.lab.groups import GroupScenario
from phalanx.lab.losses import LossScenario
from phalanx.lab.mutants import MUTANTS, planted
from phalanx.lab.omission import OmissionScenario
from phalanx.lab.service import ServiceScenario
from phalanx.lab.store import StoreScenario
from phalanx.lab.troupes import TroupeScenario
from phalanx.lab.upgrading import UpgradeScenario
from phalanx.model.clock import SECOND
from phalanx.runtime.compiled import run_from_source
from phalanx.sim.campaign import Summary
from phalanx.sim.plan import Plan
from phalanx.sim.recording import Recording
from phalanx.sim.run import Result, Scenario, replay
from phalanx.sim.shrink import shrink
from phalanx.sim.swarm import draw

SCENARIOS: dict[str, type[Scenario]] = {
    "groups": GroupScenario,
    "durable": DurableScenario,
    "losses": LossScenario,
    "omission": OmissionScenario,
    "service": ServiceScenario,
    "store": StoreScenario,
    "troupes": TroupeScenario,
    "upgrade": UpgradeScenario,
}
"""What can be run, by name: each is a class without arguments, importable by the worker processes."""

SEEDS = 1_000
"""Runs of a campaign of which neither their number nor a time is said."""


def sim(
    seeds: Annotated[
        int | None, typer.Option(help="How many runs. [default: 1000, or with --minutes no end]", min=1)
    ] = None,
    first: Annotated[int, typer.Option("--from", help="The first seed.", min=0)] = 0,
    scenario: Annotated[str, typer.Option(help=f"What to run: {', '.join(SCENARIOS)}.")] = "groups",
    jobs: Annotated[int | None, typer.Option(help="Worker processes. [default: one for each core]", min=1)] = None,
    over: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on the workers of this Dask scheduler: tcp://HOST:8786.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Begin no run after so many minutes.", min=0)] = None,
    guided: Annotated[
        bool,
        typer.Option("--guided", help="Prefer what reaches much, and plans near those that reached something new."),
    ] = False,
    corpus: Annotated[
        Path | None, typer.Option(help="With --guided: begin with the plans in this folder, and add what is found.")
    ] = None,
    report: Annotated[
        list[Path] | None, typer.Option(help="Write what a campaign found to FILE.html or FILE.json; may be repeated.")
    ] = None,
    what: Annotated[
        str | None, typer.Option("--replay", help="Run one seed, or the plan in a file, and print its trace.")
    ] = None,
    smaller: Annotated[
        bool, typer.Option("--shrink", help="With --replay: look for a smaller plan that fails.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="With --replay: write a diagram to explore, one HTML file.")] = None,
    svg_file: Annotated[Path | None, typer.Option("--svg", help="With --replay: write a diagram to print.")] = None,
    span: Annotated[str | None, typer.Option(help="Draw only this part of the run: FROM:TO, in seconds.")] = None,
    hide: Annotated[list[str] | None, typer.Option(help="Do not draw this kind of message, such as Row.")] = None,
    coverage: Annotated[
        bool, typer.Option(help="Print how often each thing happened, and where in the code is what never did.")
    ] = False,
    without: Annotated[
        list[str] | None, typer.Option(help="Take this rule out of the code first, to see it missed (one process).")
    ] = None,
) -> None:
    """Run many simulated disasters; check what every process saw; demand progress once they end.

    The last line is "seeds=N violations=V stuck=K"; the exit status is 0 only if V and K are 0, 2 for bad options, and 3
    if a campaign ended before it was done: standard error then says why, and how to go on.
    """
    factory = SCENARIOS.get(scenario)
    if factory is None:
        raise typer.BadParameter(f"{scenario!r} is none of {', '.join(SCENARIOS)}", param_hint="--scenario")
    if without:
        run_from_source()  # compiled classes cannot be changed
    drawing = _Drawing.asked_for(html, svg_file, span, hide, scenario, one_run=what is not None)
    _check_rules(without or ())
    if what is not None and (guided or first or {corpus, minutes, over, seeds, jobs} != {None} or report):
        raise typer.BadParameter("one run is no campaign: not with --replay", param_hint="--guided, --seeds, ...")
    if smaller and what is None:
        raise typer.BadParameter("say which run, with --replay", param_hint="--shrink")
    if seeds is None and minutes is None:
        seeds = SEEDS
    time_s = None if minutes is None else minutes * 60
    wish = Wish(
        scenario, factory, first, seeds, 1 if without else jobs, time_s, coverage, guided, corpus, report or [], over
    )
    with planted(*(without or ())):
        if what is not None:
            _replay(factory, _plan(what, factory), smaller, drawing)
        else:
            run_campaign(wish)


def _check_rules(names: Iterable[str]) -> None:
    unknown = set(names) - set(MUTANTS)
    if unknown:
        known = "".join(f"\n  {name}" for name in sorted(MUTANTS))
        raise typer.BadParameter(f"no rule {', '.join(sorted(unknown))}; there are:{known}", param_hint="--without")


def _plan(what: str, factory: type[Scenario]) -> Plan:
    """That of a seed, or in a file."""
    if what.isdecimal():
        return draw(int(what), factory().swarm)
    try:
        return Plan.load(Path(what).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"neither a seed nor a file with a plan: {error}", param_hint="--replay") from error


class _Drawing:
    """What of a run is to be drawn, and where to."""

    def __init__(self, scenario: str, since_ns: int, until_ns: int | None, hidden: list[str]) -> None:
        self._scenario = scenario
        self._since_ns, self._until_ns = since_ns, until_ns
        self._hidden = hidden
        self._files: list[tuple[Path, Callable[[Diagram], str]]] = []

    @classmethod
    def asked_for(
        cls,
        html: Path | None,
        svg_file: Path | None,
        span: str | None,
        hide: list[str] | None,
        scenario: str,
        one_run: bool,
    ) -> "_Drawing | None":
        """None if no file is asked for."""
        if html is None and svg_file is None:
            if span is not None or hide:
                raise typer.BadParameter("say where to draw to, with --html or --svg", param_hint="--span and --hide")
            return None
        if not one_run:
            raise typer.BadParameter("say which run to draw, with --replay", param_hint="--html and --svg")
        drawing = cls(scenario, *_span(span), hide or [])
        if html is not None:
            drawing._files.append((html, page.render))
        if svg_file is not None:
            drawing._files.append((svg_file, svg.render))
        return drawing

    def draw(self, factory: type[Scenario], plan: Plan) -> None:
        """Run the plan again, with a recording, and write the files.  Says on standard error what is in them."""
        recording = Recording(look)
        result = replay(factory, plan, recording=recording)
        try:
            chronicle = depict(recording, result, self._scenario)
            diagram = lay_out(chronicle, since_ns=self._since_ns, until_ns=self._until_ns, hidden=self._hidden)
        except ConfigurationError as error:
            raise typer.BadParameter(str(error), param_hint="--span") from error
        absent = set(self._hidden) - {each.kind for each in chronicle.happenings if isinstance(each, Message)}
        if absent:
            typer.echo(f"nothing to hide: this run has no message of the kind {', '.join(sorted(absent))}", err=True)
        for path, render in self._files:
            try:
                path.write_text(render(diagram), encoding="utf-8")
            except OSError as error:
                raise typer.BadParameter(f"cannot write it: {error}", param_hint="--html and --svg") from error
            typer.echo(f"{path}: {len(diagram.arrows)} messages, {len(diagram.lines)} events", err=True)
        if recording.full:
            typer.echo(
                f"the run is longer than a recording: only its first {len(recording.lines)} lines are drawn",
                err=True,
            )


def _span(text: str | None) -> tuple[int, int | None]:
    if text is None:
        return 0, None
    since, colon, until = text.partition(":")
    try:
        begin, end = int(float(since or 0) * SECOND), int(float(until) * SECOND) if until else None
    except (ValueError, OverflowError):
        colon = ""
    if not colon:
        raise typer.BadParameter(f"{text!r} is no FROM:TO in seconds, such as 0.5:1.25", param_hint="--span")
    return begin, end


def _replay(factory: type[Scenario], plan: Plan, smaller: bool, drawing: _Drawing | None) -> None:
    result = replay(factory, plan, trace=not smaller)
    if smaller and not result.ok:
        shrunk = shrink(factory, result.plan)
        typer.echo(shrunk.result.trace)
        typer.echo(str(shrunk))
        if drawing is not None:
            drawing.draw(factory, shrunk.plan)
        raise typer.Exit(1)
    _tell(result, factory, drawing)


def _tell(result: Result, factory: type[Scenario], drawing: _Drawing | None) -> None:
    if drawing is not None:
        drawing.draw(factory, result.plan)
    if result.trace:
        typer.echo(result.trace)
    typer.echo(result.plan.describe())
    typer.echo(str(result))
    summary = Summary()
    summary.add(result)
    typer.echo(str(summary))
    raise typer.Exit(0 if result.ok else 1)
