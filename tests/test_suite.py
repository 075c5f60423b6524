"""The suite itself: a test that hangs ends by its limit, and what failed before it has been told by then."""

import re
import subprocess
import sys
from pathlib import Path

from tests.source import ROOT

TESTS = """
import asyncio
import time
import uvloop

def test_fails():
    assert "this is" == "told"

def test_hangs():
    async def main():
        asyncio.get_running_loop().call_soon(time.sleep, 3600)  # an exception of a signal's handler is swallowed there
        await asyncio.sleep(3600)

    uvloop.run(main())
"""


def test_a_run_that_hangs_is_ended_and_has_told_what_failed_and_where_it_hangs(tmp_path: Path) -> None:
    file = tmp_path / "test_hanging.py"
    file.write_text(TESTS)
    options = ("-c", "pyproject.toml", "-p", "tests.conftest", "-o", "faulthandler_timeout=1", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.search(r"call of \S*::test_fails: (?s:.*)assert 'this is' == 'told'", done.stdout)
    assert "Timeout" in done.stderr and "in test_hangs" in done.stderr
