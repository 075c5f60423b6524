"""A disk that takes no more, under a real process (SCENARIOS 8): files may not grow beyond a size, says the kernel."""

import asyncio
import sys

import pytest

from phalanx.api.client import connect
from phalanx.lab.processes import Processes
from tests.real.cluster import PATIENCE_S, on_processes, one_status, real

resource = pytest.importorskip("resource")

pytestmark = [*real, pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")]

FILE_BYTES_MAX = 256 << 10
VALUE = bytes(8 << 10)
WRITES = 60
"""Together they do not fit."""


def test_a_node_whose_disk_is_full_stops_and_says_why_and_the_others_lose_nothing() -> None:
    """SCENARIOS 8."""

    async def story() -> None:
        async with Processes(options=("--durable",)) as nodes:
            await one_status(nodes, 3)
            full = nodes.process("b")
            resource.prlimit(full.pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))
            async with connect(nodes.addresses["a"], nodes.addresses["c"], timeout_s=PATIENCE_S) as client:
                store = client.kv()
                for number in range(WRITES):
                    await store.put(b"%d" % number, VALUE)
                await asyncio.wait_for(full.wait(), PATIENCE_S)
                assert full.returncode != 0
                assert "File too large" in nodes.log_path("b").read_text()
                assert await store.count() == WRITES
                await nodes.restart("b")  # without the limit: there is room again
                await one_status(nodes, 3)
                assert await store.count() == WRITES

    on_processes(story())
