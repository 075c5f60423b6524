"""Nodes that others reach at another address than they listen at: in a container, or behind NAT."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import phalanx
from phalanx.runtime.loop import run
from tests.api.cluster import PATIENCE_S, TIMING
from tests.api.test_unreachable import free_port
from tests.certificates import Authority

OBJECTS = {"KV": (phalanx.KV, 0)}


@contextlib.asynccontextmanager
async def forwarded(port: int) -> AsyncIterator[str]:
    """An address that leads to that port of this machine, as a container's does."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, outer), pump(inner, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def test_others_and_clients_reach_nodes_where_these_say() -> None:
    async def story() -> None:
        ports = [free_port() for _ in range(2)]
        async with asyncio.timeout(PATIENCE_S), contextlib.AsyncExitStack() as stack:
            a, b = [await stack.enter_async_context(forwarded(port)) for port in ports]
            peers = [("a", a), ("b", b)]

            def node(name: str, port: int, address: str) -> contextlib.AbstractAsyncContextManager[phalanx.Process]:
                listen = f"0.0.0.0:{port}"
                return phalanx.join(name, listen=listen, advertise=address, peers=peers, timing=TIMING, objects=OBJECTS)

            one, other = node("a", ports[0], a), node("b", ports[1], b)
            await asyncio.gather(stack.enter_async_context(one), stack.enter_async_context(other))
            async with phalanx.connect(a, timeout_s=PATIENCE_S) as client:
                await client.kv().put(b"key", b"value")
                assert [m.address for m in (await client.status()).members] == [a, b]

    run(story())


def test_under_tls_a_certificate_names_the_host_where_others_reach_the_node(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def story() -> None:
        async with asyncio.timeout(PATIENCE_S):
            port = free_port()
            join = phalanx.join(
                "a", listen=f"0.0.0.0:{port}", advertise=f"localhost:{port}", bootstrap=True, tls=authority.node()
            )
            async with join as process, phalanx.connect(process.address, tls=authority.client()) as client:
                assert (await client.status()).address == f"localhost:{port}"
            with pytest.raises(phalanx.ConfigurationError, match=r"^TLS: .*other\.example"):
                async with phalanx.join(
                    "b", listen="127.0.0.1:0", advertise="other.example:7400", bootstrap=True, tls=authority.node()
                ):
                    pytest.fail("it was started")

    run(story())
