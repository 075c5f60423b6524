"""What holds for the whole suite.

Hypothesis derives its examples from the test's code, not from chance: the same commit passes or fails everywhere. The
search for what nobody thought of is the simulator's work, whose seeds are printed and replay.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile(
    "suite",
    derandomize=True,
    database=None,
    deadline=None,  # the machine that runs the suite may be slow, or busy with something else
    print_blob=True,
)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden transcripts are written by the tests that compare them, and reviewed as prose."""
    parser.addoption("--rewrite", action="store_true", help="write the golden transcripts anew instead of comparing")


class Prompt:
    """Says at once what failed, since a run that is ended by its time limit prints no summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.ensure_newline()
            self._terminal.write_line(f"{report.when} of {report.nodeid}: {report.longreprtext[-2_000:]}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are processors, since tests of real processes wait half of their time; unless the environment
    says how many."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Prompt(terminal))
