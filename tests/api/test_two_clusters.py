"""A client and a node that was started again with a new disk, and told to found a cluster as before."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import phalanx
from phalanx import KV


def test_a_client_is_told_when_its_cluster_was_founded_anew(tmp_path: Path) -> None:
    """An empty store is not the one that it knows: not to reads, nor to writes, leases and watches."""
    phalanx.run(refound(tmp_path))


async def refound(directory: Path) -> None:
    objects = {"KV": (KV, 0)}
    async with AsyncExitStack() as clients:
        async with phalanx.join("a", bootstrap=True, data=directory / "disk", objects=objects) as process:
            address = process.address
            store = (await clients.enter_async_context(phalanx.connect(address))).kv()
            revision = await store.put(b"colour", b"blue")
        async with phalanx.join("a", listen=address, bootstrap=True, data=directory / "new", objects=objects):
            for call in (store.get(b"colour"), store.put(b"colour", b"red"), store.grant(60)):
                with pytest.raises(phalanx.WrongCluster, match="this client was served by cluster"):
                    await call
            async with store.watch(b"", b"\xff", after=revision) as changes:
                with pytest.raises(phalanx.WrongCluster):
                    await asyncio.wait_for(anext(changes), 10)
            other = (await clients.enter_async_context(phalanx.connect(address))).kv()
            assert await other.get(b"colour") is None
            assert await other.put(b"colour", b"red") == 1, "nothing came of what the first client asked"
