"""`phalanx recover` on the data of real processes (DESIGN section 8; SCENARIOS 20)."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phalanx.api.client import connect
from phalanx.lab.processes import NodeEnded, Processes
from tests.real.cluster import PATIENCE_S, on_processes, one_status, real

pytestmark = real


def recover(directory: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "phalanx", "recover", str(directory), "--name", name, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_two_of_three_are_gone_and_the_third_goes_on_alone_until_new_ones_join() -> None:
    """The operator's walk-through of docs/operations.md.  An old member that turns up later stops and says why."""

    async def story() -> None:
        async with Processes(options=("--durable",)) as nodes:
            former = (await one_status(nodes, 3)).cluster
            async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S) as client:
                await client.kv().put(b"key", b"value")
            for name in nodes.names:
                await nodes.kill(name)
            data = nodes.directory / "c"
            asked = recover(data, "c")
            assert asked.returncode == 1
            assert "nothing was changed" in asked.stdout
            assert "possibly lost: what a#" in asked.stdout
            assert "kept: group KV" in asked.stdout
            assert recover(data, "x", "--force").returncode == 3
            assert recover(nodes.directory, "c", "--force").returncode == 3
            forced = recover(data, "c", "--force")
            assert forced.returncode == 0, forced.stderr
            await nodes.start("c")
            await nodes.wait_until(lambda seen: (s := seen["c"]) is not None and len(s.members) == 1)
            assert recover(data, "c", "--force").returncode == 3, "it runs"
            assert (await one_status(nodes, 1)).lineage == (former,)
            async with connect(nodes.addresses["c"], timeout_s=PATIENCE_S) as client:
                found = await client.kv().get(b"key")
                assert found is not None
                assert found.value == b"value"
            await nodes.start("b")
            with pytest.raises(NodeEnded, match="was recovered by its operator"):
                await nodes.wait_until(lambda _: False)
            await nodes.kill("b")
            shutil.rmtree(nodes.directory / "b")
            await nodes.start("b")
            await nodes.wait_until(lambda seen: (s := seen["b"]) is not None and len(s.members) == 2)

    on_processes(story())
