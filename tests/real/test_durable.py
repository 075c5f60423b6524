"""Durable stores on real processes and files: nothing acknowledged is lost (SCENARIOS 1, 3, 5, 6; DESIGN section 8)."""

import asyncio
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from phalanx.api.client import connect
from phalanx.errors import PhalanxError
from phalanx.lab.processes import Processes
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import look
from tests.real.cluster import PATIENCE_S, on_processes, one_status, real

pytestmark = real

DURABLE = ("--durable", "--suspect-after-ms", "300")


async def kill_all_at_once(nodes: Processes) -> None:
    """None of them sees another one die."""
    for name in nodes.names:
        nodes.pause(name)
    for name in nodes.names:
        await nodes.kill(name)


async def write_until_killed(nodes: Processes, acknowledged: dict[bytes, bytes], life: int, kill_after: int) -> None:
    """Writers without pause; all processes are killed as soon as so many writes have been acknowledged."""
    enough = asyncio.Event()
    count = 0

    async def writer(number: int) -> None:
        nonlocal count
        async with connect(*nodes.addresses.values(), timeout_s=2.0) as client:
            store = client.kv()
            for n in range(10_000):
                key = b"%d/%d/%d" % (life, number, n)
                await store.put(key, key * 20)
                acknowledged[key] = key * 20
                count += 1
                if count >= kill_after:
                    enough.set()

    writers = [asyncio.ensure_future(writer(n)) for n in range(8)]
    await enough.wait()
    await kill_all_at_once(nodes)
    for task in writers:
        task.cancel()
    for outcome in await asyncio.gather(*writers, return_exceptions=True):
        assert isinstance(outcome, asyncio.CancelledError | PhalanxError), outcome


async def assert_all_there(nodes: Processes, acknowledged: dict[bytes, bytes]) -> None:
    async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S) as client:
        store = client.kv()
        for key, value in acknowledged.items():
            found = await store.get(key)
            assert found is not None, f"{key!r} was acknowledged and is lost"
            assert found.value == value


def test_nothing_acknowledged_is_lost_when_all_are_killed_in_mid_write_again_and_again() -> None:
    """SCENARIOS 1, 3."""

    async def story() -> None:
        acknowledged: dict[bytes, bytes] = {}
        rng = random.Random(1)
        async with Processes(options=DURABLE) as nodes:
            group = (await one_status(nodes, 3)).groups[0]
            for life in range(4):
                await write_until_killed(nodes, acknowledged, life, rng.randint(1, 120))
                for name in nodes.names:
                    await nodes.start(name)
                status = await one_status(nodes, 3)
                assert status.groups[0].id == group.id, "it is the same group"
                assert status.groups[0].durable
                await assert_all_there(nodes, acknowledged)

    on_processes(story())


def log_of(nodes: Processes, name: str) -> Path:
    return nodes.directory / name / "log"


def verify(directory: Path) -> int:
    command = [sys.executable, "-m", "phalanx", "log", "verify", str(directory)]
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.mark.parametrize("fault", ["torn", "flipped"])
def test_a_log_that_is_torn_or_damaged_is_repaired_from_peers(fault: str) -> None:
    """SCENARIOS 5, 6: on one of three; the others have it all."""

    async def story() -> None:
        acknowledged: dict[bytes, bytes] = {}
        async with Processes(options=DURABLE) as nodes:
            await one_status(nodes, 3)
            await write_until_killed(nodes, acknowledged, 0, 60)
            segment = max(log_of(nodes, "a").iterdir())
            data = bytearray(segment.read_bytes())
            if fault == "torn":
                data += bytes(data[-40:-1])
            else:
                data[len(data) // 2] ^= 4
            segment.write_bytes(data)
            assert verify(nodes.directory / "a") == (1 if fault == "torn" else 2)
            for name in nodes.names:
                await nodes.start(name)
            await one_status(nodes, 3)
            await assert_all_there(nodes, acknowledged)
            await kill_all_at_once(nodes)
            aside = nodes.directory / "a" / "log.damaged.1"
            assert aside.exists() == (fault == "flipped"), "it is kept for whoever wants to look"
            records = look(PosixFiles(log_of(nodes, "a"), make=False))
            assert len(records.records) > 0
            assert records.lost == (fault == "flipped")
            assert verify(nodes.directory / "b") == 0
            for name in nodes.names:
                await nodes.start(name)
            await one_status(nodes, 3)
            await assert_all_there(nodes, acknowledged)

    on_processes(story())


def test_a_store_whose_hosts_are_away_is_suspended_and_comes_back_with_one_of_them() -> None:
    """Counter-example 3; SCENARIOS 20: all leave politely, one after the other, and the last to go has it all."""

    async def story() -> None:
        async with Processes(("a", "b"), options=DURABLE) as nodes:
            await one_status(nodes, 2)
            async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S) as client:
                await client.kv().put(b"key", b"value")
            assert await nodes.terminate("a") == 0
            assert await nodes.terminate("b") == 0
            for name in nodes.names:
                await nodes.start(name)
            await one_status(nodes, 2)
            async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S) as client:
                found = await client.kv().get(b"key")
                assert found is not None
                assert found.value == b"value"

    on_processes(story())


def tear(directory: Path, size: int) -> None:
    """So many bytes at the end of the log are lost, a few more or less, in the middle of a record."""
    segment = max((directory / "log").iterdir())
    data = segment.read_bytes()
    segment.write_bytes(data[:-size])
    while verify(directory) != 1:
        size += 1
        segment.write_bytes(data[:-size])


def test_a_node_that_comes_after_two_with_torn_logs_says_what_they_went_on_without() -> None:
    """SCENARIOS 5, beyond what is covered: the torn logs suffice, and the whole one comes too late."""

    async def story() -> None:
        async with Processes(options=DURABLE) as nodes:
            await one_status(nodes, 3)
            async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S) as client:
                for number in range(20):
                    await client.kv().put(b"%d" % number, bytes(200))
            await kill_all_at_once(nodes)
            for name in "ab":
                tear(nodes.directory / name, 1_000)
                await nodes.start(name)
            await one_status(nodes, 2)
            await nodes.start("c")
            await one_status(nodes, 3)
            said = "".join(nodes.log_path(name).read_text() for name in nodes.names)
            found = re.findall(r"WARNING phalanx (\w): (\d+) batches of group KV, .* went on without them", said)
            assert [name for name, _ in found] == ["c"]
            assert int(found[0][1]) >= 4

    on_processes(story())
