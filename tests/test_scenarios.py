"""docs/scenarios.md keeps its word: each row names tests, and real ones where it says so (that they exist: test_docs)."""

import re

import pytest

from tests.source import ROOT

ROWS = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", (ROOT / "docs" / "scenarios.md").read_text(), re.MULTILINE)
REAL = "".join(path.read_text() for path in (ROOT / "tests" / "real").glob("test_*.py"))

ON_PROCESSES = {1, 3, 5, 8, 16, 22, 41, 42}
"""Those that are to be tried with real processes and files as well."""

COVERED = range(1, 43)
"""What groups, durability and the store have to survive.  (The rest is about engines that there are not.)"""


def test_every_scenario_has_its_row() -> None:
    assert {int(number) for number, _, _ in ROWS} >= set(COVERED)


def test_what_is_to_be_tried_for_real_is() -> None:
    assert {int(number) for number, _, tests in ROWS if re.search(r"\*\*real\*\*: `test_", tests)} >= ON_PROCESSES


@pytest.mark.parametrize(("number", "tests"), [(number, tests) for number, _, tests in ROWS])
def test_a_row_names_tests_and_real_ones_are_on_real_processes(number: str, tests: str) -> None:
    pure, _, real = tests.partition("**real**")
    assert re.findall(r"`test_\w+`", pure + real), f"{number} names no test"
    for name in re.findall(r"`(test_\w+)`", real):
        assert f"def {name}(" in REAL, f"{name} does not run on real processes"
