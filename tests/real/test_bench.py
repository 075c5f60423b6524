"""`phalanx bench` on three real nodes: one that is killed meanwhile, and Ctrl-C."""

import asyncio
import json
import signal
import sys

from phalanx.api.client import connect
from phalanx.lab.processes import Processes
from tests.real.cluster import on_processes, real

pytestmark = real

PIPE = asyncio.subprocess.PIPE


async def begun(nodes: Processes, *words: str) -> asyncio.subprocess.Process:
    """A `phalanx bench` of puts that has written something."""
    command = [sys.executable, "-m", "phalanx", "bench", "put", "--endpoints", ",".join(nodes.addresses.values())]
    bench = await asyncio.create_subprocess_exec(*command, *words, "--json", stdout=PIPE, stderr=PIPE)
    while await keys(nodes) == 0:
        assert bench.returncode is None
    return bench


async def keys(nodes: Processes) -> int:
    async with connect(nodes.addresses["a"]) as client:
        return await client.kv().count(b"bench/", b"bench0")


def test_a_node_that_is_killed_does_not_end_it_and_no_key_is_left() -> None:
    async def main() -> None:
        async with Processes() as nodes:
            await nodes.wait_until_full(3)
            bench = await begun(nodes, "--seconds", "3", "--processes", "2")
            await nodes.kill("c")
            out, err = await bench.communicate()
            assert bench.returncode == 0, err
            figures = json.loads(out)
            assert figures["operations"]["put"]["count"] > 0
            assert await keys(nodes) == 0

    on_processes(main())


def test_an_interrupted_measurement_leaves_neither_keys_nor_processes() -> None:
    async def main() -> None:
        async with Processes() as nodes:
            await nodes.wait_until_full(3)
            bench = await begun(nodes, "--seconds", "600")
            bench.send_signal(signal.SIGINT)
            await bench.communicate()  # which ends when its workers have closed their copies of its pipes, too
            assert bench.returncode == 130
            assert await keys(nodes) == 0

    on_processes(main())
