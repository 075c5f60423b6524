"""`phalanx serve --metrics` on real nodes: what scrapers and probes see while nodes come, hang, and are killed."""

import asyncio
import re
from collections.abc import Callable
from contextlib import aclosing, suppress

from prometheus_client.parser import text_string_to_metric_families as parse

from phalanx.api.client import connect
from phalanx.lab.processes import HOST, Processes
from phalanx.metrics.server import CONNECTIONS_MAX
from tests.metrics.members import Samples, samples
from tests.real.cluster import PATIENCE_S, on_processes, real

pytestmark = real


class Measured(Processes):
    """Each node shows its metrics at a free port, which its log tells."""

    def __init__(self) -> None:
        super().__init__(options=("--durable", "--metrics", f"{HOST}:0"))

    async def aclose(self) -> None:
        await self.stop()

    async def port(self, name: str) -> int:
        while not (found := re.findall(r"metrics at http://[\d.]+:(\d+)/", self.log_path(name).read_text())):
            await self.status(name)
        return int(found[-1])

    async def get(self, name: str, path: str) -> tuple[int, str]:
        """Status and body of that node's answer."""
        reader, writer = await asyncio.open_connection(HOST, await self.port(name))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), body.decode()

    async def measures(self, name: str) -> Samples:
        status, body = await self.get(name, "/metrics")
        assert status == 200, body
        return samples(parse(body))

    async def ready(self, name: str, status: int, says: str) -> None:
        """Wait until that node's probe has that status and says that."""
        while True:
            found, said = await self.get(name, "/readyz")
            if found == status and re.fullmatch(f"{says}\n", said):
                return
            await self.status(name)

    async def until(self, name: str, holds: Callable[[Samples], bool]) -> Samples:
        """Look until what that node measures is such: a page is some time old."""
        while not holds(found := await self.measures(name)):
            await self.status(name)
        return found


def test_scrapers_and_probes_see_what_becomes_of_a_cluster() -> None:
    async def story() -> None:
        async with aclosing(Measured()) as nodes:
            await nodes.start("a")
            await nodes.ready(
                "a", 503, r"this node waits for b at 127.0.0.1:\d+ and c at 127.0.0.1:\d+ of its founders"
            )
            assert (await nodes.get("a", "/healthz"))[0] == 200
            founding = await nodes.measures("a")
            assert (founding["phalanx_ready",], founding["phalanx_members",]) == (0, 0)
            await nodes.start("b")
            await nodes.start("c")
            await nodes.wait_until_full(3)
            for name in nodes.names:
                await nodes.ready(name, 200, "ok")
            before = await nodes.until("a", lambda s: s["phalanx_members",] == 3)
            assert before["phalanx_ready",] == before["phalanx_peer_connected", "c"] == 1
            assert before["phalanx_survivable_failures",] == 1

            async with connect(nodes.addresses["a"], timeout_s=PATIENCE_S) as client:
                for n in range(20):
                    await client.kv().put(b"%d" % n, b"x")
            seen = await nodes.until("a", lambda s: s["phalanx_requests_answered_total", "ok"] >= 20)
            assert seen["phalanx_log_records_total",] >= before["phalanx_log_records_total",] + 20
            assert seen["phalanx_object_position", "KV"] >= before["phalanx_object_position", "KV"] + 20

            await nodes.kill("c")
            after = await nodes.until("a", lambda s: s["phalanx_members",] == 2 and s["phalanx_learners",] == 0)
            assert after["phalanx_view_id",] > before["phalanx_view_id",]
            assert after["phalanx_suspicions_total", "c"] >= 1
            assert after["phalanx_view_changes_total", "gone"] >= 1
            assert after["phalanx_view_change_seconds_count",] > before["phalanx_view_change_seconds_count",]
            assert ("phalanx_peer_connected", "c") not in after, "it is no peer any more"
            for name in "ab":
                await nodes.ready(name, 200, "ok")
            nodes.pause("a")  # the elder half of two is a quorum, and b is the other
            await nodes.ready("b", 503, r"this node is cut off from a quorum of view \d+: missing a")
            await nodes.until("b", lambda s: s["phalanx_suspected", "a"] == 1 and s["phalanx_ready",] == 0)
            nodes.resume("a")
            for name in "ab":
                await nodes.ready(name, 200, "ok")

    on_processes(story())


def test_strangers_at_the_metrics_do_not_keep_others_from_them_nor_the_node_from_its_work() -> None:
    async def story() -> None:
        async with aclosing(Measured()) as nodes:
            for name in nodes.names:
                await nodes.start(name)
            await nodes.wait_until_full(3)
            port = await nodes.port("a")
            async with connect(nodes.addresses["a"], timeout_s=PATIENCE_S) as client:
                store, writers = client.kv(), []
                for n in range(3 * CONNECTIONS_MAX):
                    with suppress(ConnectionError):
                        _, writer = await asyncio.open_connection(HOST, port)
                        writer.write([b"", b"\x00" * 100_000, b"GET /metrics HTTP/1.1\r\n\r\n"][n % 3])
                        writers.append(writer)
                    if n % 16 == 0:
                        await store.put(b"%d" % n, b"x")
                assert (await nodes.get("a", "/healthz"))[0] == 200
                assert (await nodes.measures("a"))["process_open_fds",] < 3 * CONNECTIONS_MAX
                for writer in writers:
                    writer.close()
                assert await store.get(b"16") is not None

    on_processes(story())
