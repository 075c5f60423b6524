"""How a test shows that a rule is needed: a schedule of faults that goes well with it and wrong without it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from phalanx.group import intake as intake_module
from phalanx.lab.mutants import planted


@contextmanager
def without(*rules: str) -> Iterator[None]:
    """Without these rules, and without the check that peers keep to them: it would refuse what all nodes now say."""

    def no_fault(*_: Any) -> None:
        return None

    with planted(*rules), pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake_module, "fault_in", no_fault)
        yield


def shown(schedule: Callable[[], None], *rules: str, wrong: str) -> None:
    """The schedule goes well; without these rules it goes wrong in this way."""
    schedule()
    with without(*rules), pytest.raises(AssertionError, match=wrong):
        schedule()
