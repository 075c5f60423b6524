"""`phalanx.testing.simulate` looks at conversions: other hash seeds, clocks, and states that cannot be converted."""

from typing import Any

import pytest

from phalanx.testing import simulate
from tests.testing.upgraded import Iterated, Later, Picky, Sorted, Timed


def test_a_class_that_replaces_another_one_rightly_passes() -> None:
    report = simulate(Sorted, seeds=1)
    assert report.ok and not report.skipped, str(report)


@pytest.mark.parametrize(
    ("cls", "kind", "text"),
    [
        (Iterated, "nondeterminism", "upgraded to version 2, Iterated"),
        (Later, "nondeterminism", "upgraded to version 2, Iterated"),
        (Timed, "impure", "Timed.upgrade reads the clock"),
        (Picky, "upgrade", "the conversion: raised ValueError: too many names"),
    ],
)
def test_what_is_wrong_with_a_conversion_is_found(cls: type[Any], kind: str, text: str) -> None:
    found = [finding for finding in simulate(cls, seeds=1, check=False).findings if finding.kind == kind]
    assert found and text in found[0].text
