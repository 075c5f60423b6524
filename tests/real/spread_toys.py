"""Scenarios of which a run does something to its process, or to that of the campaign.  What they need to know is in files
of the folder that the environment names."""

import os
import signal
from pathlib import Path
from threading import Event

from tests.sim.toys import HastyStoreScenario

FOLDER = "SPREAD_TEST_FOLDER"
"""Variable of the environment."""

SEED = 11
"""Of the run that does it."""

LOOK_S = 0.01


def folder() -> Path:
    return Path(os.environ[FOLDER])


def once(name: str) -> bool:
    """Whether nobody has asked before, in any process."""
    try:
        (folder() / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Unusual(HastyStoreScenario):
    """One run does something; its result is what it would be."""

    def build(self) -> None:
        if self.plan.seed == SEED and FOLDER in os.environ:
            self.do()
        super().build()

    def do(self) -> None:
        raise NotImplementedError


class DiesOnce(Unusual):
    def do(self) -> None:
        if once("died"):
            os.kill(os.getpid(), signal.SIGKILL)


class AlwaysDies(Unusual):
    def do(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Interrupts(Unusual):
    """As somebody at the keyboard does."""

    def do(self) -> None:
        os.kill(int((folder() / "driver").read_text()), signal.SIGINT)


class Waits(HastyStoreScenario):
    """Every run says that it has begun; the first waits until it may go on."""

    def build(self) -> None:
        (folder() / f"begun-{self.plan.seed}").touch()
        while self.plan.seed == 0 and not (folder() / "go").exists():
            Event().wait(LOOK_S)
        super().build()


class Raises(HastyStoreScenario):
    """Cannot be run at all."""

    def __init__(self) -> None:
        raise OSError("there is no such thing here")
