"""What is said of dials under TLS that came to nothing for another reason than a certificate."""

import asyncio
from pathlib import Path

import pytest

from phalanx.runtime.dialling import NOBODY
from tests.certificates import HOST, Authority
from tests.runtime.secured import OnLoop, client, node, on_either_loop, until
from tests.runtime.toys import say

pytestmark = on_either_loop


@pytest.mark.parametrize("says", [b"", b"\x16\x03\x03"])
def test_one_who_ends_a_handshake_is_not_said_to_be_without_tls(says: bytes, on_loop: OnLoop, tmp_path: Path) -> None:
    """It may have been stopped, or have too many strangers."""
    authority = Authority(tmp_path)

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(says)
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(end, HOST, 0)
        address = f"{HOST}:{server.sockets[0].getsockname()[1]}"
        async with server, client(authority.client()) as (b, _), node(authority.node()) as (a, _):
            say(b, address, "anybody?")
            await until(lambda: b.refusals.get("handshake.ended", 0) >= 2)
            assert b.explain().startswith(f"{address}: it ended the connection ")
            assert "without TLS" not in b.explain()
            assert ("without an answer to" in b.explain()) == (not says)
            _, writer = await asyncio.open_connection(*a.address.split(":"))
            writer.write(bytes.fromhex("16 0301 0100 01 00"))  # a hello begins, and the dial is given up
            await writer.drain()
            await until(lambda: a._arrivals and any(layer._heard for layer in a._arrivals._layers))
            writer.close()
            await until(lambda: a.refusals)
            assert a.refusals == {"handshake.ended": 1}

    on_loop(work)


def test_an_address_is_explained_by_the_last_dial(on_loop: OnLoop, tmp_path: Path) -> None:
    """A refusal of TLS is not what is wrong with a node that has been stopped since."""
    authority = Authority(tmp_path)

    async def work() -> None:
        async with client(authority.client()) as (b, _):
            async with node(None) as (a, _):
                say(b, a.address, "under TLS")
                await until(lambda: "without TLS" in b.explain())
            await until(lambda: b.explain() == f"{a.address}: {NOBODY}")

    on_loop(work)
