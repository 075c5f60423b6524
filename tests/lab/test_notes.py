"""The notes that there are, read from the sources (lab/notes.py)."""

from pathlib import Path

import pytest

from phalanx.calls.requests import Finish
from phalanx.lab.groups import GroupScenario
from phalanx.lab.notes import notes_of
from phalanx.lab.service import ServiceScenario
from phalanx.lab.store import StoreScenario
from phalanx.lab.troupes import TroupeScenario
from phalanx.sim.run import run_seed
from tests.source import PACKAGE, package_modules


def test_what_is_made_is_known_and_where() -> None:
    known = notes_of(GroupScenario.packages)
    name, _, line = known["promise"].partition(":")
    [module] = [m for m in package_modules() if m.name == f"{PACKAGE}.group.{name.removesuffix('.py')}"]
    assert 'note("promise"' in module.text.splitlines()[int(line) - 1]


@pytest.mark.parametrize("scenario", [GroupScenario, ServiceScenario, StoreScenario, TroupeScenario])
def test_runs_make_no_note_that_is_not_known(scenario: type[GroupScenario]) -> None:
    known = notes_of(scenario.packages)
    made = {what for seed in range(6) for what in run_seed(scenario, seed).notes if not what.startswith("sim.")}
    assert made
    assert made <= known.keys()


def test_a_composed_name_is_a_note_for_each_that_it_may_stand_for() -> None:
    known = notes_of(TroupeScenario.packages)
    ends = {
        name: place
        for name, place in known.items()
        if name.startswith("calls.") and name[6:].upper() in Finish.__members__
    }
    assert ends.keys() == {f"calls.{finish.name.lower()}" for finish in Finish}
    assert len(set(ends.values())) == 1 and next(iter(ends.values())).startswith("calling.py:")


def test_every_note_of_the_package_can_be_told_from_its_sources() -> None:
    assert {"promise", "calls.divided"} <= notes_of(["phalanx"]).keys()


@pytest.mark.parametrize(
    "name",
    ['f"ended.{how}"', 'f"ended.{how.name}"', '"ended." + how', "NAMES[how]"],
    ids=["text", "stranger", "sum", "table"],
)
def test_a_name_that_nobody_can_tell_is_an_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be a note that coverage does not know, and nobody would know that."""
    package = tmp_path.name
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"def tell(out, how: str):\n    out.note({name})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"__init__\.py:2: nobody can tell"):
        notes_of([package])


def test_a_package_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        notes_of(["phalanx.nowhere"])
