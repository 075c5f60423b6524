"""An error for want of an answer says what became of each node that was tried."""

import asyncio
import socket
from typing import Any

import pytest

import phalanx
from phalanx.api.client import connect
from phalanx.api.local import Cluster
from phalanx.runtime.loop import run
from tests.api.cluster import PATIENCE_S
from tests.api.test_arguments import among

WAIT_S = 0.8
"""Longer than a node holds what it is asked in the middle of a view change."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.parametrize(("host", "why"), [("127.0.0.1", "nobody listens there"), ("nobody.invalid", "")])
def test_an_address_where_nobody_listens_is_named(host: str, why: str) -> None:
    address = f"{host}:{free_port()}"

    async def ask() -> None:
        async with asyncio.timeout(PATIENCE_S), connect(address, timeout_s=WAIT_S) as client:
            with pytest.raises(phalanx.Unavailable, match=rf"KV could not be reached \({address}: .*{why}"):
                await client.kv().get(b"k")
            with pytest.raises(phalanx.Unavailable, match=rf"a node could not be reached \({address}: .*{why}"):
                await client.status()

    run(ask())


def test_a_group_that_nobody_knows_is_told_of() -> None:
    async def work(cluster: Cluster) -> None:
        store = cluster.client(WAIT_S).kv("shop")
        with pytest.raises(phalanx.Unavailable, match=r"shop could not be reached; .*knows no group 'shop'"):
            await store.put(b"k", b"v")

    among(1, work, objects={"KV": (phalanx.KV, 0)})


def test_a_minority_says_that_it_is_one() -> None:
    async def work(cluster: Cluster) -> None:
        store = cluster.client(4 * WAIT_S, names=["c"]).kv()
        assert await store.put(b"k", b"v") == 1
        cluster.pause("a")
        cluster.pause("b")
        with pytest.raises(phalanx.Unavailable, match=r"KV could not be reached; .*c#\d+ is cut off from a quorum"):
            await store.get(b"k")

    among(3, work, objects={"KV": (phalanx.KV, 0)})


def test_a_node_that_answers_again_is_not_blamed_for_what_it_said_before() -> None:
    async def work(cluster: Cluster) -> None:
        client = cluster.client(WAIT_S)
        with pytest.raises(phalanx.Unavailable, match="knows no group 'C'"):
            await client.kv("C").get(b"k")
        await cluster["a"].host(phalanx.KV, "C")
        assert await client.kv("C").within(PATIENCE_S).put(b"k", b"v") == 1  # once it asks again
        cluster.pause("a")
        with pytest.raises(phalanx.Unavailable) as caught:
            await client.kv("C").get(b"k")
        assert "knows no group" not in str(caught.value)
        assert "it does not answer" in str(caught.value)

    among(1, work)


def test_what_a_node_said_of_one_call_is_not_told_of_another() -> None:
    async def work(cluster: Cluster) -> None:
        store = cluster.client(WAIT_S).kv()
        bad: Any = "no bytes"
        with pytest.raises(phalanx.Refused, match="parameter 'key'"):
            await store.get(bad)
        with pytest.raises(phalanx.Unavailable, match=r"^the deadline passed; KV could not be reached$"):
            await store.within(0).get(b"k")

    among(1, work, objects={"KV": (phalanx.KV, 0)})


def test_a_write_to_what_is_left_of_a_cluster_has_not_happened() -> None:
    """One node of three cannot take it, and where nobody listens nobody has."""

    async def work(cluster: Cluster) -> None:
        store = cluster.client(WAIT_S).kv()
        await store.put(b"k", b"0")
        await cluster.kill("a")
        await cluster.kill("b")
        while cluster["c"].status.state != "fenced":
            await asyncio.sleep(0)
        for number in range(6):
            with pytest.raises(phalanx.Unavailable, match=r"c#\d+ is cut off from a quorum"):
                await store.put(b"k", b"%d" % number)

    among(3, work, objects={"KV": (phalanx.KV, 0)})
