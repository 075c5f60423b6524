"""Every experiment of the laboratory: its claims hold, its page and its figures in the documents are what it draws."""

import importlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from phalanx.cli.lab import lab_app
from phalanx.errors import ConfigurationError
from phalanx.lab.experiments import EXPERIMENTS, Experiment, Result, Table
from phalanx.lab.experiments.result import equal, near
from phalanx.lab.figures.svg import svg
from tests.lab.experiments.runs import BREAKS, breaks, failing, short
from tests.source import ROOT

each = pytest.mark.parametrize("name", EXPERIMENTS, scope="module")
"""By scope, tests of one experiment follow each other, so few workers run it."""

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
def test_every_claim_is_seen_to_fail_if_what_runs_is_changed(name: str, request: pytest.FixtureRequest) -> None:
    """claims/NAME.txt has, for each claim, its source and the tests that take a rule out of what the experiment runs and
    see it fail; `--rewrite` writes it."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"{__name__.rpartition('.')[0]}.{path.stem}")
    broken, claims = BREAKS[name], short(name).claims
    meant = {pattern: [claim for claim in claims if fnmatchcase(claim.text, pattern)] for pattern in broken}
    assert [pattern for pattern, some in meant.items() if not some] == [], "there are no such claims"
    assert [c.text for c in claims if not any(c in some for some in meant.values())] == [], "nobody has seen these fail"
    lines: list[str] = []
    for pattern, some in sorted(meant.items(), key=lambda item: claims.index(item[1][0])):
        sources = dict.fromkeys(claim.source for claim in some)
        lines += [
            pattern,
            *(f"    [{source}]" for source in sources),
            *(f"    - {test}" for test in broken[pattern]),
            "",
        ]
    golden = Path(__file__).parent / "claims" / f"{name}.txt"
    if request.config.getoption("--rewrite"):
        golden.write_text("\n".join(lines), encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == "\n".join(lines), "out of date: --rewrite"


def test_a_test_that_breaks_less_than_it_says_fails() -> None:
    claims = [equal("one is 1", "the test", 1, 2), equal("two is 2", "the test", 2, 2)]

    def sees() -> None:
        assert failing(claims) == ["one is 1"]

    breaks("none", "one is *")(sees)()
    with pytest.raises(AssertionError, match="two is"):
        breaks("none", "one is *", "two is *")(sees)()


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


LONG = {
    "distributed-snapshot",
    "failure-classes",
    "group-calls",
    "group-consensus",
    "heisenbugs",
    "reliable-multicast",
    "state-transfer",
    "virtual-synchrony",
}
"""They take more than four seconds each, and are not run a second time: this process has a hash seed of its own, another
one each time, and their claims and figures are compared with what is written down."""


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in LONG], scope="module")
def test_an_experiment_is_the_same_in_another_process_under_another_hash_seed(name: str, tmp_path: Path) -> None:
    """No more than the code decides a result.  (This process has its own seed: a random one, or what it was told.)"""
    assert set(EXPERIMENTS) > LONG
    command = [sys.executable, "-m", "phalanx", "lab", "run", name, "--json", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    told = json.loads(done.stdout)
    assert told["experiment"] == name
    here = json.loads(msgspec.json.encode(short(name)))
    assert {key: told[key] for key in here} == here


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


def test_what_was_measured_is_shown_beside_what_was_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measures(_: bool) -> Result:
        rows = (("extermination", "gentle reincarnation", "a long text that can be broken at many a place", 1),)
        table = Table("words", ("treatment", "another", "what there is to say about it", "number"), rows)
        return Result((table,), {}, (near("two is nearly two", "the test", 2.0, 2.25, 0.5),))

    monkeypatch.setattr("phalanx.cli.lab.EXPERIMENTS", {"m": Experiment("m", "It measures", "Question: ?", measures)})
    monkeypatch.setenv("COLUMNS", "60")
    done = CliRunner().invoke(lab_app, ["run", "m", "--out", str(tmp_path)])
    assert "holds  two is nearly two [the test]: 2.25 (2 ± 0.5)" in done.stdout
    assert "extermination" in done.stdout and "reincarnation" in done.stdout, "no word is cut in two"


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
