"""A client and a node that was started again with a new disk, and told to found a cluster as before."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

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
            client = await clients.enter_async_context(phalanx.connect(address))
            assert client.cluster == "", "it does not know yet"
            store = client.kv()
            revision = await store.put(b"colour", b"blue")
            known = client.cluster
            assert known == process.status.cluster
            same = await clients.enter_async_context(phalanx.connect(address, cluster=known))
            assert await same.kv().get(b"colour") is not None and same.cluster == known
        async with phalanx.join("a", listen=address, bootstrap=True, data=directory / "new", objects=objects):
            for call in (store.get(b"colour"), store.put(b"colour", b"red"), store.grant(60)):
                with pytest.raises(phalanx.WrongCluster, match="this client belongs to cluster"):
                    await call
            async with store.watch(b"", b"\xff", after=revision) as changes:
                with pytest.raises(phalanx.WrongCluster):
                    await asyncio.wait_for(anext(changes), 10)
            sure = (await clients.enter_async_context(phalanx.connect(address, cluster=known))).kv()
            with pytest.raises(phalanx.WrongCluster, match=f"this client belongs to cluster {known}"):
                await sure.put(b"colour", b"red")
            async with sure.watch(b"colour") as changes:
                with pytest.raises(phalanx.WrongCluster):
                    await asyncio.wait_for(anext(changes), 10)
            other = (await clients.enter_async_context(phalanx.connect(address))).kv()
            assert await other.get(b"colour") is None
            assert await other.put(b"colour", b"red") == 1, "nothing came of what the first client asked"


@pytest.mark.parametrize(
    ("cluster", "error"), [("x", phalanx.ConfigurationError), ("-1", phalanx.ConfigurationError), (5, TypeError)]
)
def test_what_is_no_id_of_a_cluster_is_refused(cluster: Any, error: type[Exception]) -> None:
    async def story() -> None:
        with pytest.raises(error, match="id of a cluster"):
            async with phalanx.connect("a:1", cluster=cluster):
                pytest.fail("it is a client")

    phalanx.run(story())
