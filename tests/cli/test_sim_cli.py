"""`phalanx sim`: what is printed does not depend on what is drawn, and options that make no sense are refused."""

import json
import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from typer.testing import CliRunner

from phalanx.cli import campaign as campaign_module
from phalanx.cli import sim as sim_module
from phalanx.cli.main import command_line
from phalanx.cli.plans import PlanFolder
from phalanx.lab.report import Report
from phalanx.sim.guided import Search
from phalanx.sim.plan import Plan
from phalanx.sim.recording import Recording
from phalanx.sim.run import Result, replay, run_seed
from phalanx.sim.swarm import draw
from phalanx.sim.workers import Factory, Here, Task, WorkersLost
from tests.sim.toys import AskingScenario, EndlessScenario, GossipScenario, HastyStoreScenario


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    toys = {"gossip": GossipScenario, "hasty": HastyStoreScenario, "asking": AskingScenario, "endless": EndlessScenario}
    for name, factory in toys.items():
        monkeypatch.setitem(sim_module.SCENARIOS, name, factory)


def is_told(what: str, said: str) -> bool:
    """It is in the text, whose lines are broken anywhere, and framed."""
    return what.replace(" ", "") in re.sub(r"[│╭╮╰╯─\s]", "", said)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(command_line(["sim"]), ["sim", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.stdout, result.stderr


def data_of(page: Path) -> dict[str, list[list[object]]]:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL
    )
    assert found is not None
    diagram: dict[str, list[list[object]]] = json.loads(found[1])["diagram"]
    return diagram


def test_a_replayed_run_is_drawn_and_what_is_printed_stays_the_same(tmp_path: Path) -> None:
    page, drawing = tmp_path / "run.html", tmp_path / "run.svg"
    plain = run("--scenario", "gossip", "--replay", "8")
    drawn = run("--scenario", "gossip", "--replay", "8", "--html", page, "--svg", drawing)
    assert drawn[:2] == plain[:2]
    assert plain[0] == 0
    result = run_seed(GossipScenario, 8)
    assert len(data_of(page)["arrows"]) >= result.sent
    assert f"{page}: {len(data_of(page)['arrows'])} messages" in drawn[2].replace("\n", "")
    assert ElementTree.fromstring(drawing.read_text(encoding="utf-8")).tag.endswith("svg")


def test_a_part_of_a_run_is_drawn_without_some_kinds(tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.html", tmp_path / "part.html"
    run("--replay", "5", "--html", whole)
    assert run("--replay", "5", "--html", part, "--span", "1:2", "--hide", "Row", "--hide", "Alive")[0] == 0
    lines = data_of(part)["lines"]
    assert 0 < len(lines) < len(data_of(whole)["lines"])
    assert all(isinstance(at, int) and 1e9 <= at <= 2e9 for at, *_ in lines)
    assert not {"Row", "Alive"} & {str(kind[0]) for kind in data_of(part)["kinds"]}


def test_a_kind_that_the_run_does_not_have_is_named(tmp_path: Path) -> None:
    said = run(
        "--scenario", "gossip", "--replay", "8", "--svg", tmp_path / "x.svg", "--hide", "tuple", "--hide", "Rwo"
    )[2]
    assert "no message of the kind Rwo\n" in said


def test_the_run_of_a_plan_is_drawn(tmp_path: Path) -> None:
    plan, page = tmp_path / "plan.json", tmp_path / "run.html"
    plan.write_text(run_seed(GossipScenario, 8).plan.dump())
    assert run("--scenario", "gossip", "--replay", plan, "--html", page)[0] == 0
    assert data_of(page)["arrows"]


def test_of_a_run_that_is_shrunk_the_smallest_is_drawn(tmp_path: Path) -> None:
    seed = next(seed for seed in range(30) if not run_seed(HastyStoreScenario, seed).ok)
    page = tmp_path / "run.html"
    status, printed, _ = run("--scenario", "hasty", "--replay", str(seed), "--shrink", "--html", page)
    assert status == 1
    assert "judge lost after" in printed
    whole = tmp_path / "whole.html"
    run("--scenario", "hasty", "--replay", str(seed), "--html", whole)
    assert 0 < len(data_of(page)["lines"]) < len(data_of(whole)["lines"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--replay", "nowhere.json"), "neither a seed nor a file with a plan"),
        (("--corpus", "plans"), "say --guided, too"),
        (("--replay", "8", "--guided"), "one run is no campaign"),
        (("--replay", "8", "--report", "x.html"), "one run is no campaign"),
        (("--report", "x.pdf"), "x.pdf ends in none of .html, .json"),
        (("--report", "nowhere/x.json"), "there is no folder nowhere"),
        (("--html", "x.html"), "which run to draw"),
        (("--replay", "5", "--span", "0:1"), "where to draw to"),
        (("--replay", "5", "--hide", "Row"), "where to draw to"),
        (("--replay", "5", "--svg", "x.svg", "--span", "later"), "no FROM:TO"),
        (("--replay", "5", "--svg", "x.svg", "--span", "1"), "no FROM:TO"),
        (("--replay", "5", "--svg", "x.svg", "--span", "nan:1"), "no FROM:TO"),
        (("--replay", "5", "--svg", "x.svg", "--span", "2:1"), "there is no time"),
        (("--replay", "5", "--svg", "nowhere/x.svg"), "cannot write it"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    arguments: tuple[str, ...], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, said = run("--scenario", "gossip", *arguments)
    assert status == 2
    assert is_told(complaint, said)
    assert list(tmp_path.iterdir()) == []


def test_a_run_longer_than_a_recording_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim_module, "Recording", lambda look: Recording(look, entries_max=50))
    status, _, said = run("--scenario", "gossip", "--replay", "8", "--html", tmp_path / "x.html")
    assert status == 0
    assert "only its first 50 lines are drawn" in said


def test_a_campaign_tells_what_it_covered_and_what_it_never_reached() -> None:
    status, said, _ = run("--seeds", "2", "--jobs", "1")
    assert status == 0
    assert re.search(r"^\d+ features, \d+ of \d+ notes; never: .*\bsuperseded\b", said, re.MULTILINE)
    assert said.splitlines()[-1] == "seeds=2 violations=0 stuck=0"
    status, said, _ = run("--seeds", "2", "--jobs", "1", "--coverage")
    assert re.search(r"never: .*\bsuperseded \(succession\.py:\d+\)", said)
    assert re.search(r"^ +\d+ promise$", said, re.MULTILINE)


@pytest.mark.parametrize(("scenario", "wrong"), [("hasty", "violations"), ("endless", "stuck")])
def test_the_last_line_and_the_exit_status_say_what_went_wrong_and_each_failure_how_to_replay_it(
    scenario: str, wrong: str
) -> None:
    status, said, _ = run("--scenario", scenario, "--seeds", "20", "--from", "5", "--jobs", "1")
    *lines, last = said.splitlines()
    told = re.fullmatch(r"seeds=20 violations=(\d+) stuck=(\d+)", last)
    assert told is not None and status == 1
    assert [name for name, count in zip(("violations", "stuck"), told.groups(), strict=True) if count != "0"] == [wrong]
    seed = next(line for line in lines if "--replay" in line).split()[-1]
    assert 5 <= int(seed) < 25
    status, said, _ = run("--scenario", scenario, "--replay", seed)
    ends = {"violations": "seeds=1 violations=1 stuck=0", "stuck": "seeds=1 violations=0 stuck=1"}
    assert (status, said.splitlines()[-1]) == (1, ends[wrong])


def test_where_no_notes_are_known_only_features_are_told() -> None:
    _, said, _ = run("--scenario", "gossip", "--seeds", "2", "--jobs", "1")
    assert re.search(r"^\d+ features$", said, re.MULTILINE)


def test_a_failing_plan_that_is_no_seed_s_is_written_and_can_be_replayed_shrunk_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, said, _ = run("--scenario", "hasty", "--guided", "--seeds", "100", "--jobs", "1")
    assert status == 1
    assert re.search(r"^\d+ features, found by \d+ plans$", said, re.MULTILINE)
    lines = said.splitlines()
    replays = [at for at, line in enumerate(lines) if "--replay failing-plans/" in line]
    assert replays
    assert len(list(tmp_path.glob("failing-plans/hasty-*.json"))) == len(replays)
    file = tmp_path / lines[replays[0]].split()[-1]
    again = run("--scenario", "hasty", "--replay", file, "--html", "run.html")
    assert again[0] == 1
    assert lines[replays[0] - 1] in again[1].splitlines(), "it fails in the same way"
    assert data_of(tmp_path / "run.html")["arrows"]
    assert "judge lost after" in run("--scenario", "hasty", "--replay", file, "--shrink")[1]


def test_a_seed_that_fails_in_a_guided_campaign_is_replayed_as_a_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seeds = run("--scenario", "hasty", "--seeds", "30", "--jobs", "1")[1]
    guided = run("--scenario", "hasty", "--guided", "--seeds", "30", "--jobs", "1")[1]
    assert "--replay " in seeds
    assert [line for line in guided.splitlines() if "replay" in line] == [
        line for line in seeds.splitlines() if "replay" in line
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_is_added_to_and_begun_with(tmp_path: Path) -> None:
    corpus = tmp_path / "plans"
    options = ("--scenario", "gossip", "--guided", "--jobs", "1", "--corpus", corpus)
    assert run(*options, "--seeds", "64")[0] == 0
    files = sorted(corpus.glob("gossip-*.json"))
    assert files
    plans = [Plan.load(file.read_text()) for file in files]
    _, said, _ = run(*options, "--seeds", str(len(files)), "--from", "999")
    assert sorted(corpus.glob("gossip-*.json")) == files, "what is run first is the corpus, and nothing in it is new"
    found = {feature for plan in plans for feature in replay(GossipScenario, plan).features}
    assert f"{len(found)} features" in said
    (corpus / "other-1.json").write_text("not of this scenario")
    assert run(*options, "--seeds", "1")[0] == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "gossip-1.json"), ('{"seed": 1, "nodes": 99, "conditions": {}}', "no plan with a cluster of 99")],
)
def test_a_corpus_with_what_is_no_plan_of_the_scenario_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "gossip-1.json").write_text(text)
    status, _, said = run("--scenario", "gossip", "--guided", "--corpus", tmp_path)
    assert status == 2
    assert is_told(complaint, said)


def test_a_plan_is_in_its_folder_only_once_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Campaigns may share a corpus, and one begins while another writes."""
    plan, other = (run_seed(GossipScenario, seed).plan for seed in (1, 2))
    seen: list[list[Path]] = []
    write = Path.write_text

    def watched(path: Path, *arguments: str, **options: str) -> int:
        written = write(path, *arguments, **options)
        seen.append(list(tmp_path.glob("gossip-*.json")))
        return written

    monkeypatch.setattr(Path, "write_text", watched)
    folder = PlanFolder(tmp_path, "gossip")
    file = folder.put(plan)
    assert seen == [[]]
    assert list(tmp_path.iterdir()) == [file]
    assert folder.load() == [(plan, 0)]
    assert Plan.load(folder.put(other, 7).read_text()) == other, "what it reached is said besides"
    assert sorted(folder.load(), key=lambda each: each[1]) == [(plan, 0), (other, 7)]


def test_a_corpus_is_run_in_the_order_of_what_its_plans_reached(tmp_path: Path) -> None:
    folder = PlanFolder(tmp_path, "gossip")
    swarm = msgspec.structs.replace(GossipScenario.swarm, sizes=GossipScenario.swarm.sizes[:1])
    plans = [draw(seed, swarm) for seed in range(4)]
    for plan, reach in zip(plans, (5, 7, 0, 6), strict=True):
        folder.put(plan, reach)
    search = _begun_with(tmp_path)
    assert search.generation(4) == [plans[1], plans[3], plans[0], plans[2]]


def _begun_with(corpus: Path) -> Search:
    """The search of a campaign that begins with that folder."""
    wish = campaign_module.Wish("gossip", GossipScenario, 0, 1, 1, None, False, True, corpus, [])
    search = campaign_module._Campaign(wish)._search
    assert search is not None
    return search


def test_a_campaign_that_is_given_minutes_has_no_other_end() -> None:
    for options in ((), ("--guided",)):
        status, said, _ = run("--scenario", "gossip", "--minutes", "0", *options)
        assert (status, said.splitlines()[-1]) == (0, "seeds=0 violations=0 stuck=0")
    assert run("--scenario", "gossip", "--minutes", "60", "--seeds", "2", "--jobs", "1")[1].endswith(
        "seeds=2 violations=0 stuck=0\n"
    )


def test_a_campaign_is_reported_for_programs_and_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--scenario", "hasty", "--guided", "--seeds", "100", "--jobs", "1")
    status, said, _ = run(*options, "--report", "a.html", "--report", "a.json")
    assert status == 1
    report = msgspec.json.decode((tmp_path / "a.json").read_bytes(), type=Report)
    assert said.splitlines()[-1] == f"seeds={report.seeds} violations={report.violations} stuck={report.stuck}"
    assert len(report.failed) == report.violations
    for failed in report.failed:
        assert f"{failed.what}\n  replay: {failed.replay}\n" in said
        assert not replay(HastyStoreScenario, failed.plan).ok
    assert report.growth[-1][1] == len(report.features)
    assert {feature for kept in report.corpus for feature in kept.found} <= report.features.keys()
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert said.splitlines()[-1] in page
    assert all(failed.replay in page for failed in report.failed)
    assert not re.search(r"(src|href)=", page), "it needs nothing else"


def test_a_report_that_cannot_be_written_does_not_take_the_verdict_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    status, said, complaint = run("--scenario", "gossip", "--seeds", "2", "--report", tmp_path / "a.json")
    assert (status, said.splitlines()[-1]) == (0, "seeds=2 violations=0 stuck=0")
    assert "cannot be written" in complaint


class EndsEarly(Here):
    """After so many results; of a chunk of four, only the third and fourth come out before."""

    def __init__(self, results: int, error: BaseException) -> None:
        self.left = results
        self.error = error

    def run(self, factory: Factory, tasks: Iterator[Task], chunk: int) -> Iterator[tuple[int, Result]]:
        results = list(super().run(factory, (next(tasks) for _ in range(min(chunk, 4))), chunk))
        for each in chain(results[2:], results[:2], super().run(factory, tasks, chunk)):
            if self.left == 0:
                raise self.error
            self.left -= 1
            yield each


@pytest.mark.parametrize(
    ("results", "options", "advice"),
    [
        (
            2,
            ("--seeds", "9"),
            "2 runs are done, as told above, all seeds below 10 among them. Go on with --from 10 --seeds 9",
        ),
        (
            3,
            ("--seeds", "9"),
            "3 runs are done, as told above, all seeds below 11 among them. Go on with --from 11 --seeds 8",
        ),
        (7, ("--minutes", "9"), "7 runs are done, as told above, all seeds below 17 among them. Go on with --from 17"),
    ],
)
def test_a_campaign_that_cannot_go_on_tells_what_it_found_and_how_to(
    results: int, options: tuple[str, ...], advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, why in ((WorkersLost("they are gone"), "they are gone"), (KeyboardInterrupt(), "interrupted")):
        workers = EndsEarly(results, error)
        monkeypatch.setattr(campaign_module, "local", lambda _, workers=workers: workers)
        report = tmp_path / "a.json"
        status, said, complaint = run("--scenario", "hasty", "--from", "10", *options, "--report", report)
        assert status == 3
        assert said.splitlines()[-1].startswith(f"seeds={results} ")
        assert complaint == f"{why}. {advice}\n"
        assert msgspec.json.decode(report.read_bytes(), type=Report).seeds == results


def test_a_guided_campaign_that_cannot_go_on_points_to_its_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options, advice in (
        ((), "Go on with --from 74 and --corpus, next time"),
        (
            ("--corpus", tmp_path / "plans"),
            "Go on with --from 74 and the same --corpus, which has all plans that found",
        ),
    ):
        monkeypatch.setattr(campaign_module, "local", lambda _: EndsEarly(40, WorkersLost("they are gone")))
        status, said, complaint = run("--scenario", "gossip", "--guided", "--from", "10", *options)
        assert status == 3
        assert said.splitlines()[-1] == "seeds=32 violations=0 stuck=0", "of the second generation nothing was learned"
        assert "they are gone. 32 runs are done" in complaint
        assert re.search(re.sub("74", r"\\d+", advice), complaint), complaint


def test_the_failures_of_a_report_are_in_the_order_of_their_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Backwards(Here):
        def run(self, factory: Factory, tasks: Iterator[Task], chunk: int) -> Iterator[tuple[int, Result]]:
            yield from sorted(super().run(factory, tasks, chunk), reverse=True)

    monkeypatch.setattr(campaign_module, "local", lambda _: Backwards())
    assert run("--scenario", "hasty", "--seeds", "50", "--report", tmp_path / "a.json")[0] == 1
    seeds = [failed.plan.seed for failed in json_report(tmp_path / "a.json").failed]
    assert len(seeds) > 1
    assert seeds == sorted(seeds)


def json_report(file: Path) -> Report:
    return msgspec.json.decode(file.read_bytes(), type=Report)


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phalanx.lab.spread.driver", None)
    status, _, complaint = run("--scenario", "gossip", "--over", "tcp://127.0.0.1:1")
    assert status == 2
    assert is_told("campaigns over many machines need Dask", complaint)
    assert is_told("pip install 'phalanx[campaigns]'", complaint)


@pytest.mark.parametrize("option", [("--jobs", "2"), ("--without", "a row counts at once")])
def test_what_only_this_machine_can_do_is_not_asked_of_others(option: tuple[str, ...]) -> None:
    status, _, complaint = run("--scenario", "gossip", "--over", "tcp://127.0.0.1:1", *option)
    assert status == 2
    assert is_told("not with --jobs or --without", complaint)
