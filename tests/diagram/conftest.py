"""A browser, and a large diagram in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from phalanx.diagram.layout import lay_out
from phalanx.diagram.model import Diagram
from phalanx.lab.depict import depict, look
from phalanx.lab.groups import GroupScenario
from phalanx.model.clock import SECOND
from phalanx.sim.recording import Recording
from phalanx.sim.run import run_seed
from phalanx.sim.swarm import Swarm
from tests.diagram.browser import Browser, browser
from tests.diagram.opened import Page


class Seven(GroupScenario):
    """Seven processes for long enough that there are more than 5,000 events."""

    swarm = Swarm(sizes=(7,), storm_ns=9 * SECOND, calm_ns=120 * SECOND)


@pytest.fixture(scope="session")
def seven() -> Diagram:
    recording = Recording(look)
    result = run_seed(Seven, 1, trace=True, recording=recording)
    diagram = lay_out(depict(recording, result, "groups"))
    assert len(diagram.lanes) == 7
    assert len(diagram.lines) > 5_000
    return diagram


@pytest.fixture(scope="session")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def page(used: Browser, seven: Diagram, tmp_path: Path) -> Iterator[Page]:
    used.errors.clear()
    yield Page(used, seven, tmp_path)
    assert used.errors == []
