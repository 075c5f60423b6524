"""Very many clients on real nodes (SCENARIOS 40): ten thousand that say nothing, while others work."""

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from phalanx.api.client import connect
from phalanx.lab.processes import Processes
from phalanx.runtime.connection import HELLO, HELLO_BYTES_MAX, PROTOCOL_VERSION, Hello
from phalanx.wire.frame import FrameDecoder, Kind, encode_frame
from tests.real.cluster import PATIENCE_S, on_processes, real

pytestmark = real

IDLE = 10_000
AT_ONCE = 250
"""Fewer than the strangers that a node bears with."""

BYTES_EACH_MAX = 16 << 10
"""Of the node's memory, for each idle client: several times what was measured."""

PAGE = resource.getpagesize()


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """Room for so many in this process; nodes inherit the system's limit, not ours."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"this system lets a process have {hard} files; this test needs {count}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def idle_clients(address: str, count: int) -> list[socket.socket]:
    """Clients that have said Hello, and have been told the same, and nothing else."""
    host, _, port = address.rpartition(":")
    hello = encode_frame(Kind.HELLO, HELLO.encode(Hello(PROTOCOL_VERSION, "", 1, 1)))
    clients: list[socket.socket] = []
    while len(clients) < count:
        batch = [
            socket.create_connection((host, int(port)), PATIENCE_S) for _ in range(min(AT_ONCE, count - len(clients)))
        ]
        for client in batch:
            client.sendall(hello)
        for client in batch:
            assert is_greeted(client)
        clients += batch
    return clients


def is_greeted(client: socket.socket) -> bool:
    decoder = FrameDecoder(HELLO_BYTES_MAX)
    while data := client.recv(HELLO_BYTES_MAX):
        if any(kind == Kind.HELLO for kind, _ in decoder.feed(data)):
            return True
    return False


def resident(pid: int | None) -> int:
    """Bytes; 0 where the system does not tell."""
    if pid is None or not Path("/proc/self/statm").exists():
        return 0
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE


def test_ten_thousand_idle_clients_cost_memory_only_and_leave_without_a_trace() -> None:
    async def story() -> None:
        async with Processes() as nodes:
            await nodes.wait_until_full(3)
            pid, address = nodes.pid("a"), nodes.addresses["a"]
            before = resident(pid)
            idle = idle_clients(address, IDLE)
            try:
                async with connect(address, timeout_s=PATIENCE_S) as client:
                    store = client.kv()
                    for n in range(50):
                        revision = await store.put(b"key", b"%d" % n)
                        found = await store.get(b"key")
                        assert found is not None
                        assert found.modified == revision
                    assert (resident(pid) - before) / IDLE < BYTES_EACH_MAX
            finally:
                for each in idle:
                    each.close()
            again = idle_clients(address, AT_ONCE)  # the limit of clients counts those who are there
            for each in again:
                each.close()
            assert all(
                status is not None and len(status.members) == 3 for status in (await nodes.wait_until_full(3)).values()
            )

    with descriptors(IDLE + 500):
        on_processes(story())
