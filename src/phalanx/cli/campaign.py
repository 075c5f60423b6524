"""What `phalanx sim` shows of a campaign: progress while it runs, and in the end what it covered."""

import shlex
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from phalanx.cli.plans import PlanFolder
from phalanx.errors import ConfigurationError
from phalanx.lab.notes import notes_of
from phalanx.lab.report import Failed, Kept, Report, as_html, as_json
from phalanx.sim.campaign import Frontier, Summary, survey
from phalanx.sim.guided import Search, most_first
from phalanx.sim.run import Result, Scenario
from phalanx.sim.workers import Workers, WorkersLost, local

FAILING = "failing-plans"
"""Folder for plans of a guided campaign that failed: in the corpus, if there is one, else in the current directory."""

CUT_SHORT = 3
"""Exit status of a campaign that did not come to its end: its verdict is not about all that was asked for."""

REPORTS: dict[str, Callable[[Report], str]] = {".html": as_html, ".json": as_json}
"""By how the file's name ends."""


class Wish(NamedTuple):
    """The campaign that is asked for."""

    scenario: str
    factory: type[Scenario]
    first: int
    seeds: int | None
    """None: until the time is up."""
    jobs: int | None
    """Processes of this machine.  None: one for each core; with `over` it must be None."""
    time_s: float | None
    coverage: bool
    guided: bool
    corpus: Path | None
    reports: list[Path]
    over: str | None = None
    """The scheduler whose workers run it; None: processes of this machine."""


def run_campaign(wish: Wish) -> None:
    """Run it, and exit with its verdict.  One that is cut short tells what it found until then, and how to go on."""
    if wish.corpus is not None and not wish.guided:
        raise typer.BadParameter("only a guided campaign has one: say --guided, too", param_hint="--corpus")
    if wish.corpus is not None and wish.corpus.exists() and not wish.corpus.is_dir():
        raise typer.BadParameter(f"{wish.corpus} is no folder", param_hint="--corpus")
    if wish.over is not None and wish.jobs is not None:
        raise typer.BadParameter(
            "how many workers there are, and with which rules, is not said here: not with --jobs or --without",
            param_hint="--over",
        )
    for path in wish.reports:
        if path.suffix not in REPORTS:
            raise typer.BadParameter(f"{path} ends in none of {', '.join(REPORTS)}", param_hint="--report")
        if not path.parent.is_dir():
            raise typer.BadParameter(f"there is no folder {path.parent}", param_hint="--report")
    campaign = _Campaign(wish)
    try:
        ended = campaign.run()
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="--over") from error
    summary = campaign.summary
    campaign.report()
    if wish.coverage:
        for what, count in sorted(summary.notes.items()):
            typer.echo(f"{count:>12} {what}")
    campaign.tell_coverage()
    typer.echo(f"{summary.steps} steps, {summary.virtual_ns / 1e9:.0f} s of virtual time")
    typer.echo(str(summary))
    if ended is not None:
        typer.echo(f"{ended}. {campaign.how_to_go_on()}", err=True)
        raise typer.Exit(CUT_SHORT)
    raise typer.Exit(0 if summary.violations == summary.stuck == 0 else 1)


def _workers(wish: Wish) -> Workers:
    """Raises ConfigurationError if the library is missing that they need."""
    if wish.over is None:
        return local(wish.jobs)
    try:  # not at the top of the file: it takes half a second, and a library that is optional
        from phalanx.lab.spread.driver import Spread
    except ImportError as error:
        raise ConfigurationError(
            f"campaigns over many machines need Dask ({error}): pip install 'phalanx[campaigns]'"
        ) from error
    return Spread(wish.over, lambda text: typer.echo(text, err=True))


class _Campaign:
    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._corpus = None if wish.corpus is None else PlanFolder(wish.corpus, wish.scenario)
        self._failing = PlanFolder((wish.corpus or Path()) / FAILING, wish.scenario)
        self._search = self._begin_search() if wish.guided else None
        self._saved = 0
        self._frontier = Frontier(wish.first)
        self.summary = Summary()
        """What came out so far."""

    def _begin_search(self) -> Search:
        try:
            kept = [] if self._corpus is None else most_first(self._corpus.load())
            return Search(self._wish.factory().swarm, self._wish.first, kept)
        except (OSError, ValueError) as error:
            raise typer.BadParameter(str(error), param_hint="--corpus") from error

    def run(self) -> str | None:
        """None at its end, else why it ended before."""
        wish, workers = self._wish, _workers(self._wish)
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("simulating", total=wish.seeds)

            def advance(summary: Summary, result: Result) -> None:
                shown = f"{summary} {self._reach(summary)} workers={workers.count}"
                progress.update(task, advance=1, description=shown)
                self._save()
                if self._search is None:
                    self._frontier.add(result.seed)
                if not result.ok:
                    typer.echo(f"{result}\n  replay: {self._replay_of(result)}")

            try:
                survey(
                    wish.factory,
                    wish.first,
                    wish.seeds,
                    workers=workers,
                    time_s=wish.time_s,
                    search=self._search,
                    summary=self.summary,
                    progress=advance,
                )
            except WorkersLost as error:
                return str(error)
            except KeyboardInterrupt:
                return "interrupted"
        return None

    def how_to_go_on(self) -> str:
        """For whoever has a campaign that did not come to its end."""
        wish, done = self._wish, self.summary.seeds
        if self._search is not None:
            with_it = (
                "the same --corpus, which has all plans that found something" if wish.corpus else "--corpus, next time"
            )
            return f"{done} runs are done, as told above. Go on with --from {self._search.next_seed} and {with_it}"
        go_on = f"--from {self._frontier.next}"
        if wish.seeds is not None:
            go_on += f" --seeds {wish.first + wish.seeds - self._frontier.next}"
        return (
            f"{done} runs are done, as told above, all seeds below {self._frontier.next} among them. Go on with {go_on}"
        )

    def _reach(self, summary: Summary) -> str:
        corpus = "" if self._search is None else f" corpus={len(self._search.corpus)}"
        return f"features={len(summary.features)}{corpus}"

    def _save(self) -> None:
        """What is new in the corpus, as it comes: an interrupted campaign leaves it."""
        if self._corpus is not None and self._search is not None:
            for entry in self._search.corpus[self._saved :]:
                self._corpus.put(entry.plan, entry.reach)
            self._saved = len(self._search.corpus)

    def _replay_of(self, result: Result) -> str:
        """The command that runs it again.  A plan that no seed stands for gets a file."""
        what = str(result.seed)
        if self._search is not None and not self._search.is_drawn(result.plan):
            what = shlex.quote(str(self._failing.put(result.plan)))
        return f"phalanx sim --scenario {self._wish.scenario} --replay {what}"

    def _failed(self) -> list[Result]:
        """Seeds in their order, and not as they happened to come; plans of a search come in theirs."""
        failed = self.summary.failed
        return failed if self._search is not None else sorted(failed, key=lambda result: result.seed)

    @cached_property
    def _known(self) -> dict[str, str]:
        """The notes that the code has, and where."""
        return notes_of(self._wish.factory.packages)

    def _missed(self, summary: Summary) -> dict[str, str]:
        return {what: place for what, place in self._known.items() if what not in summary.notes}

    def report(self) -> None:
        """Write the files that are asked for."""
        wish, summary = self._wish, self.summary
        if not wish.reports:
            return
        corpus = () if self._search is None else self._search.corpus
        report = Report(
            wish.scenario,
            wish.first,
            wish.guided,
            summary.seeds,
            summary.violations,
            summary.stuck,
            summary.steps,
            summary.virtual_ns,
            tuple(Failed(str(result), self._replay_of(result), result.plan) for result in self._failed()),
            self._missed(summary),
            dict(sorted(summary.notes.items())),
            dict(sorted(summary.features.items())),
            tuple(summary.growth),
            tuple(Kept(entry.plan, entry.found) for entry in corpus),
        )
        for path in wish.reports:
            try:
                path.write_text(REPORTS[path.suffix](report), encoding="utf-8")
            except OSError as error:  # the verdict is worth more than its report
                typer.echo(f"{path} cannot be written: {error}", err=True)

    def tell_coverage(self) -> None:
        """One line: how much was reached, and what never was."""
        summary = self.summary
        known, missed = self._known, self._missed(summary)
        line = f"{len(summary.features)} features"
        if self._search is not None:
            line += f", found by {len(self._search.corpus)} plans"
        if known:
            line += f", {len(known) - len(missed)} of {len(known)} notes"
        if missed:
            names = (f"{what} ({place})" if self._wish.coverage else what for what, place in missed.items())
            line += f"; never: {', '.join(names)}"
        typer.echo(line)
