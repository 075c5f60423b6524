"""Every experiment of the laboratory: its claims hold, its page and its figures in the documents are what it draws."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from phalanx.cli.lab import lab_app
from phalanx.errors import ConfigurationError
from phalanx.lab.experiments import EXPERIMENTS, Experiment, Result
from phalanx.lab.experiments.result import equal
from phalanx.lab.figures.svg import svg
from tests.lab.experiments.runs import failing, short
from tests.source import ROOT

each = pytest.mark.parametrize("name", EXPERIMENTS)
FIGURES = ROOT / "docs" / "figures"


@each
def test_every_claim_holds(name: str) -> None:
    assert failing(short(name)) == []
    assert short(name).holds


@each
def test_an_experiment_says_what_it_is(name: str) -> None:
    text = EXPERIMENTS[name].text
    places = [text.find(f"{word}:") for word in ("Question", "Method", "Source", "Expected")]
    assert -1 not in places and places == sorted(places)


@each
def test_claims_name_their_sources(name: str) -> None:
    assert all(claim.source for claim in short(name).claims)


@each
def test_the_documents_show_the_figures(name: str, request: pytest.FixtureRequest) -> None:
    """docs/figures holds what the short form draws; `--rewrite` writes it."""
    document = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")
    assert f"phalanx lab run {name}" in document
    for figure, drawn in short(name).figures.items():
        path = FIGURES / f"{figure}.svg"
        assert f"](figures/{path.name})" in document
        if request.config.getoption("--rewrite"):
            path.write_text(svg(drawn), encoding="utf-8")
        assert path.read_text(encoding="utf-8") == svg(drawn), f"{path.name} is out of date: --rewrite"


def test_no_figure_is_left_over() -> None:
    drawn = {f"{figure}.svg" for name in EXPERIMENTS for figure in short(name).figures}
    assert {path.name for path in FIGURES.glob("*.svg")} == drawn


@each
def test_figures_are_well_formed(name: str) -> None:
    for figure in short(name).figures.values():
        assert ElementTree.fromstring(svg(figure)).tag.endswith("svg")


def test_experiments_are_the_same_in_another_process_under_another_hash_seed(tmp_path: Path) -> None:
    """No more than the code decides a result.  (This process has its own seed: a random one, or what it was told.)"""
    command = [sys.executable, "-m", "phalanx", "lab", "run", "--all", "--json", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["experiment"] for each in told] == list(EXPERIMENTS)
    for each in told:
        here = json.loads(msgspec.json.encode(short(each["experiment"])))
        assert {key: each[key] for key in here} == here, each["experiment"]


# --- the command --------------------------------------------------------------------------------------------------


def test_experiments_are_listed() -> None:
    done = CliRunner().invoke(lab_app, ["list"])
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(EXPERIMENTS)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three experiments that take no time."""

    def holds(full: bool) -> Result:
        return Result((), {}, (equal("full", "the test", full, full),))

    def fails(_: bool) -> Result:
        return Result((), {}, (equal("one is two", "the test", 1, 2),))

    def cannot(_: bool) -> Result:
        raise ConfigurationError("a library is missing")

    monkeypatch.setattr(
        "phalanx.cli.lab.EXPERIMENTS",
        {
            run.__name__: Experiment(run.__name__, f"It {run.__name__}", "Question: ?", run)
            for run in (holds, fails, cannot)
        },
    )


@pytest.mark.usefixtures("planted")
def test_the_exit_status_says_whether_it_holds(tmp_path: Path) -> None:
    def status(*words: str) -> int:
        return CliRunner().invoke(lab_app, ["run", *words, "--out", str(tmp_path / "out")]).exit_code

    assert status("holds") == 0
    assert status("fails") == 1
    assert status("cannot") == 1
    assert status("--all") == 1
    assert status("nothing") == 2
    assert status() == 2
    assert status("holds", "--all") == 2


@pytest.mark.usefixtures("planted")
def test_what_does_not_hold_is_shown(tmp_path: Path) -> None:
    done = CliRunner().invoke(lab_app, ["run", "fails", "--out", str(tmp_path)])
    assert "FAILS  one is two [the test]" in done.stdout
    assert "expected 1" in done.stdout and "found    2" in done.stdout
    assert "fails: claims=1 hold=0" in done.stdout


@pytest.mark.usefixtures("planted")
def test_a_missing_library_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(lab_app, ["run", "cannot", "--out", str(tmp_path)])
    assert "cannot: not run: a library is missing" in done.output


@pytest.mark.usefixtures("planted")
def test_results_are_printed_as_json(tmp_path: Path) -> None:
    done = CliRunner().invoke(lab_app, ["run", "holds", "--full", "--json", "--out", str(tmp_path)])
    told = json.loads(done.stdout)
    assert told["experiment"] == "holds" and told["full"] and told["holds"]
    assert told["claims"] == [
        {"text": "full", "source": "the test", "expected": "True", "found": "True", "holds": True}
    ]


def test_the_gallery_has_every_experiment_with_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_once(experiment: Experiment) -> Experiment:
        return experiment._replace(run=lambda _: short(experiment.name))

    made = {name: run_once(experiment) for name, experiment in EXPERIMENTS.items()}
    monkeypatch.setattr("phalanx.cli.lab.EXPERIMENTS", made)
    done = CliRunner().invoke(lab_app, ["run", "--all", "--out", str(tmp_path)])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1].startswith(f"experiments={len(made)} hold={len(made)} page=")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for name in EXPERIMENTS:
        assert f'<section id="{name}">' in page
        for figure in short(name).figures:
            assert f'src="{figure}.svg"' in page
            assert (tmp_path / f"{figure}.svg").read_text(encoding="utf-8").startswith("<svg")


def test_results_survive_json() -> None:
    for name in EXPERIMENTS:
        assert msgspec.json.decode(msgspec.json.encode(short(name)), type=Result) == short(name)
