"""Power is cut under durable stores on real processes and a real file system (SCENARIOS 1, 3): `kill -9`, of which the
other tests are made, loses nothing that was written and not synced, for the page cache goes on."""

import asyncio
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phalanx.api.client import connect
from phalanx.errors import PhalanxError
from phalanx.lab.processes import Processes
from tests.real import hasty_node
from tests.real.cluster import PATIENCE_S, on_processes, one_status, real
from tests.real.filesystems import FileSystem

pytestmark = [*real, pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of Linux's")]

DURABLE = ("--durable", "--suspect-after-ms", "300")

WRITERS = 8

FAILED = 2
"""The exit status of a node that could not go on."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FileSystem]:
    """That of all nodes: it is cut for all at one instant."""
    system = FileSystem(tmp_path / "disk")
    yield system
    system.close()


class OnDisk(Processes):
    """Nodes whose data is on that disk, and what they say is not."""

    def __init__(self, disk: FileSystem) -> None:
        super().__init__(options=DURABLE, directory=disk.directory)

    def log_path(self, name: str) -> Path:
        return self.directory.with_name(f"{name}.log")


class HastyOnDisk(OnDisk):
    """They acknowledge what is in the page cache."""

    def command(self, name: str) -> list[str]:
        words = super().command(name)
        return [words[0], hasty_node.__file__, *words[words.index("serve") :]]


async def _write_until_power_fails(nodes: Processes, disk: FileSystem, life: int, enough: int) -> dict[bytes, bytes]:
    """What was acknowledged, by whichever time.  The nodes end by themselves."""
    acknowledged: dict[bytes, bytes] = {}
    reached = asyncio.Event()

    async def write(writer: int) -> None:
        async with connect(*nodes.addresses.values(), timeout_s=2.0) as client:
            for n in range(10_000):
                key = b"%d/%d/%d" % (life, writer, n)
                await client.kv().put(key, key * 20)
                acknowledged[key] = key * 20
                if len(acknowledged) >= enough:
                    reached.set()

    writers = [asyncio.ensure_future(write(n)) for n in range(WRITERS)]
    await reached.wait()
    disk.cut_power()
    ends = await asyncio.gather(*(nodes.process(name).wait() for name in nodes.names))
    assert ends == [FAILED] * len(ends), "after a failed write or fsync a node stops rather than guesses"
    for task in writers:
        task.cancel()
    for outcome in await asyncio.gather(*writers, return_exceptions=True):
        assert isinstance(outcome, asyncio.CancelledError | PhalanxError), outcome
    for name in nodes.names:
        await nodes.kill(name)
    return acknowledged


def _lost(nodes: Processes, acknowledged: dict[bytes, bytes]) -> list[bytes]:
    """Of what is on no disk: the power is back, and no node has been started."""
    files = [path for name in nodes.names for path in (nodes.directory / name / "log").iterdir()]
    written = b"".join(path.read_bytes() for path in files)
    return [key for key, value in acknowledged.items() if value not in written]


def test_nothing_acknowledged_is_lost_when_power_fails_under_load_again_and_again(disk: FileSystem) -> None:
    """SCENARIOS 1, 3; and 8, for what is tried after the cut fails with EIO, and nothing of it is acknowledged."""

    async def story() -> None:
        rng = random.Random(3)
        acknowledged: dict[bytes, bytes] = {}
        async with OnDisk(disk) as nodes:
            before = await one_status(nodes, 3)
            for life in range(3):
                written = await _write_until_power_fails(nodes, disk, life, rng.randint(1, 150))
                acknowledged |= written
                disk.unmount()
                disk.mount()
                assert _lost(nodes, written) == []
                for name in nodes.names:
                    await nodes.start(name)
                after = await one_status(nodes, 3)
                assert (after.cluster, after.groups[0].id) == (before.cluster, before.groups[0].id)
                async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S) as client:
                    found = {key: item.value async for key, item in client.kv().items()}
                assert acknowledged.items() <= found.items(), "acknowledged and lost"

    on_processes(story())


def test_nodes_that_acknowledge_before_the_fsync_are_caught(disk: FileSystem) -> None:
    """The planted bug of SCENARIOS 3: the test above can fail."""

    async def story() -> None:
        async with HastyOnDisk(disk) as nodes:
            await one_status(nodes, 3)
            acknowledged = await _write_until_power_fails(nodes, disk, 0, 100)
            disk.unmount()
            disk.mount()
            assert _lost(nodes, acknowledged)

    on_processes(story())
