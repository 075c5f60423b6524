"""How a test shows that a rule is needed: a schedule of faults that goes well with it and wrong without it."""

from collections.abc import Callable

import pytest

from phalanx.lab.mutants import planted


def shown(schedule: Callable[[], None], *without: str, wrong: str) -> None:
    """The schedule goes well; without these rules it goes wrong in this way."""
    schedule()
    with planted(*without), pytest.raises(AssertionError, match=wrong):
        schedule()
