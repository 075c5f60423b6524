"""A disk that takes no more, under a real process (SCENARIOS 8): by a limit on the size of files, and by a small file
system that is filled up and emptied again."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from phalanx.api.client import connect
from phalanx.errors import StorageFull
from phalanx.lab.processes import Processes, Statuses
from phalanx.node.status import Status
from tests.real.cluster import PATIENCE_S, on_processes, one_status, real

resource = pytest.importorskip("resource")

pytestmark = [*real, pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")]

FILE_BYTES_MAX = 256 << 10
VALUE = bytes(8 << 10)
WRITES = 60
"""Together they do not fit."""

DISK_BYTES = 16 << 20
"""Of the small file system: more than the writes need, and its reserve is 5 % of that."""


async def until(nodes: Processes, name: str, reached: Callable[[Status], bool]) -> Status:
    """What that node says once it says so."""

    def has(seen: Statuses) -> bool:
        status = seen[name]
        return status is not None and reached(status)

    status = (await nodes.wait_until(has))[name]
    assert status is not None
    return status


def hosts(status: Status) -> tuple[str, ...]:
    return next((group.hosts for group in status.groups if group.name == "KV"), ())


async def stale(nodes: Processes, name: str, key: bytes) -> bytes | None:
    """What that node itself knew last."""
    async with connect(nodes.addresses[name], timeout_s=PATIENCE_S) as client:
        found = await client.kv().stale.get(key)
        return found.value if found is not None else None


def test_a_node_whose_log_is_refused_stays_up_and_comes_back_by_itself() -> None:
    """SCENARIOS 8: nobody warned it, and what waits for its disk waits."""

    async def story() -> None:
        async with Processes(options=("--durable",)) as nodes:
            await one_status(nodes, 3)
            full = nodes.process("b")
            async with connect(nodes.addresses["a"], nodes.addresses["c"], timeout_s=PATIENCE_S) as client:
                store = client.kv()
                await store.put(b"before", b"known to all")
                before = resource.prlimit(full.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(full.pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, before[1]))
                for number in range(WRITES):
                    await store.put(b"%d" % number, VALUE)
                status = await until(nodes, "b", lambda status: status.disk == "full")
                assert "File too large" in nodes.log_path("b").read_text()
                await until(nodes, "a", lambda status: "b" not in hosts(status))
                assert await stale(nodes, "b", b"before") == b"known to all"
                assert await store.count() == WRITES + 1
                resource.prlimit(full.pid, resource.RLIMIT_FSIZE, before)  # there is room again
                await one_status(nodes, 3)
                status = await until(nodes, "b", lambda status: "b" in hosts(status))
                assert status.disk == "ample"
                await store.put(b"after", VALUE)
                assert await stale(nodes, "b", b"%d" % (WRITES - 1)) == VALUE
                assert full.returncode is None

    on_processes(story())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The data directory of `b`, on a file system of its own."""
    directory = tmp_path / "b"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(directory)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount a small file system: {made.stderr.strip()}")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path, but: int) -> Path:
    """Somebody else writes to that disk until only so many bytes are left."""
    filler = directory / "filler"
    found = subprocess.run(["df", "-B1", "--output=avail", str(directory)], capture_output=True, text=True, check=True)
    filler.write_bytes(bytes(int(found.stdout.split()[-1]) - but))
    return filler


def test_a_node_with_a_torn_log_starts_on_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    """SCENARIOS 5, 8: it lost power while its disk ran full.  It votes, and is a host again when space is freed."""

    async def story() -> None:
        async with Processes(options=("--durable",), directory=tmp_path) as nodes:
            await one_status(nodes, 3)
            async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S) as client:
                store = client.kv()
                await store.put(b"before", b"known to all")
                await nodes.kill("b")
                segment = max((small_disk / "log").iterdir())
                segment.write_bytes(segment.read_bytes()[:-1])
                fill(small_disk, but=0)
                await nodes.start("b")
                status = await until(nodes, "b", lambda status: status.disk == "full")
                assert (small_disk / "log" / segment.name).exists()
                assert len(list((small_disk / "log").iterdir())) == 1
                await store.put(b"after", VALUE)
                (small_disk / "filler").unlink()
                status = await until(nodes, "b", lambda status: "b" in hosts(status))
                assert status.disk == "ample"
                assert await stale(nodes, "b", b"after") == VALUE

    on_processes(story())


def test_a_node_that_runs_short_of_room_steps_back_with_a_reserve_left(tmp_path: Path, small_disk: Path) -> None:
    """SCENARIOS 8: it keeps its vote, answers stale reads, and is a host again when the space is freed."""

    async def story() -> None:
        async with Processes(options=("--durable",), directory=tmp_path) as nodes:
            await one_status(nodes, 3)
            async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S) as client:
                store = client.kv()
                await store.put(b"before", b"known to all")
                filler = fill(small_disk, but=DISK_BYTES // 40)
                await until(nodes, "b", lambda status: status.disk == "low")
                status = await until(nodes, "a", lambda status: hosts(status) == ("a", "c"))
                assert {member.name for member in status.members} == {"a", "b", "c"}
                for number in range(WRITES):
                    await store.put(b"%d" % number, VALUE)
                assert await stale(nodes, "b", b"before") == b"known to all"
                filler.unlink()
                status = await until(nodes, "b", lambda status: "b" in hosts(status))
                assert status.disk == "ample"
                assert await stale(nodes, "b", b"%d" % (WRITES - 1)) == VALUE

    on_processes(story())


def test_a_store_without_room_refuses_writes_answers_reads_and_takes_deletes(tmp_path: Path, small_disk: Path) -> None:
    """SCENARIOS 8: where nobody else could take the writes."""

    async def story() -> None:
        async with Processes(("b",), options=("--durable",), directory=tmp_path) as nodes:
            await one_status(nodes, 1)
            async with connect(nodes.addresses["b"], timeout_s=PATIENCE_S) as client:
                store = client.kv()
                await store.put(b"old", VALUE)
                filler = fill(small_disk, but=DISK_BYTES // 40)
                status = await until(nodes, "b", lambda status: status.disk == "low")
                assert "b (low)" in next(group.refuses_writes for group in status.groups)
                with pytest.raises(StorageFull, match=r"takes no writes.*b \(low\)"):
                    await store.put(b"new", VALUE)
                found = await store.get(b"old")
                assert found is not None and found.value == VALUE
                assert await store.get(b"new") is None
                assert await store.delete(b"old")
                filler.unlink()
                await until(nodes, "b", lambda status: status.disk == "ample")
                await store.put(b"new", VALUE)

    on_processes(story())
