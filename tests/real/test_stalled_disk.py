"""A disk that stalls under a real process (SCENARIOS 8): the file system of one of three is frozen, so what it writes and
syncs does not return, and nothing fails."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phalanx.api.client import connect
from phalanx.lab.processes import Processes, Statuses
from tests.real.cluster import PATIENCE_S, on_processes, one_status, real
from tests.real.filesystems import FileSystem

pytestmark = [*real, pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of Linux's")]

WRITES = 50


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FileSystem]:
    """That of b."""
    system = FileSystem(tmp_path / "b")
    yield system
    system.close()


def test_a_node_whose_disk_stalls_costs_the_others_nothing_and_comes_back_with_it(
    tmp_path: Path, disk: FileSystem
) -> None:
    """SCENARIOS 8: what is written meanwhile is on two disks, and on the third when it answers again."""

    async def story() -> None:
        async with Processes(options=("--durable", "--suspect-after-ms", "300"), directory=tmp_path) as nodes:
            before = await one_status(nodes, 3)

            def without(seen: Statuses) -> bool:
                return all(
                    (status := seen[name]) is not None and "b" not in (m.name for m in status.members) for name in "ac"
                )

            async with connect(nodes.addresses["a"], nodes.addresses["c"], timeout_s=PATIENCE_S) as client:
                store = client.kv()
                await store.put(b"before", b"")
                with disk.frozen():
                    for n in range(WRITES):
                        await store.put(b"%d" % n, b"while it stalls")
                    await nodes.wait_until(without, "a view without the stalled one")
                    assert await store.count() == WRITES + 1
                after = await one_status(nodes, 3)
                await store.put(b"after", b"")
                assert after.groups[0].id == before.groups[0].id
            assert nodes.process("b").returncode is None, "nothing has failed"
            async with connect(nodes.addresses["b"], timeout_s=PATIENCE_S) as itself:
                assert await itself.kv().count() == WRITES + 2

    on_processes(story())
