"""The harness of real processes itself."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from phalanx.group.config import Timing
from phalanx.group.probation import LEVEL_MAX
from phalanx.lab import leash
from phalanx.lab.processes import START_S_MAX
from phalanx.model.clock import SECOND
from tests.real.cluster import PATIENCE_S, real

pytestmark = real

STARTER = """
import asyncio
from phalanx.lab.processes import Processes

async def main():
    async with Processes() as nodes:
        await nodes.wait_until_full(3)
        nodes.pause("c")
        print(*(nodes.pid(name) for name in nodes.names), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_cluster_is_waited_for_longer_than_a_member_may_have_to_wait_for_its_promotion() -> None:
    """Else a machine that is busy, on which members lag, fails tests that judge no speed."""
    longest_s = (Timing().penalty << LEVEL_MAX) / SECOND
    assert 2 * longest_s < START_S_MAX
    assert PATIENCE_S > START_S_MAX


@pytest.mark.skipif(sys.platform != "linux", reason="the leash is Linux's")
def test_nodes_end_with_the_process_that_started_them_even_if_it_is_killed_and_they_are_paused(
    tmp_path: Path,
) -> None:
    """A test that is killed leaves nothing behind."""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True, env=environment
    ) as starter:
        assert starter.stdout is not None
        ends = [os.pidfd_open(int(pid)) for pid in starter.stdout.readline().split()]
        try:
            assert len(ends) == 3
            assert select.select(ends, [], [], 0)[0] == [], "they run"
            starter.kill()
            left = set(ends)
            while left:
                over, _, _ = select.select(left, [], [], PATIENCE_S)
                assert over, "a node outlives its parent"
                left -= set(over)
        finally:
            for end in ends:
                os.close(end)


@pytest.mark.skipif(sys.platform != "linux", reason="the leash is Linux's")
def test_a_node_whose_parent_is_gone_before_it_could_ask_is_not_started(tmp_path: Path) -> None:
    grandparent, started = os.getppid(), tmp_path / "started"
    command = [sys.executable, "-I", "-S", leash.__file__, str(grandparent), "touch", str(started)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"touch is not started: process {grandparent}, for which it would have been, is gone\n"
    assert not started.exists()
