"""The notes that there are, read from the sources (lab/notes.py)."""

import pytest

from phalanx.lab.groups import GroupScenario
from phalanx.lab.notes import notes_of
from phalanx.lab.service import ServiceScenario
from phalanx.lab.store import StoreScenario
from phalanx.sim.run import run_seed
from tests.source import PACKAGE, package_modules


def test_what_is_made_is_known_and_where() -> None:
    known = notes_of(GroupScenario.packages)
    name, _, line = known["promise"].partition(":")
    [module] = [m for m in package_modules() if m.name == f"{PACKAGE}.group.{name.removesuffix('.py')}"]
    assert 'note("promise"' in module.text.splitlines()[int(line) - 1]


@pytest.mark.parametrize("scenario", [GroupScenario, ServiceScenario, StoreScenario])
def test_runs_make_no_note_that_is_not_known(scenario: type[GroupScenario]) -> None:
    known = notes_of(scenario.packages)
    made = {what for seed in range(6) for what in run_seed(scenario, seed).notes if not what.startswith("sim.")}
    assert made
    assert made <= known.keys()


def test_a_package_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        notes_of(["phalanx.nowhere"])
