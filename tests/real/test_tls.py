"""Real nodes under TLS: load, a kill, renewed certificates, and peers and clients that are not let in (SCENARIOS 42)."""

import asyncio
import sys
from pathlib import Path

import pytest

from phalanx.api.client import connect
from phalanx.api.tls import TLS
from phalanx.errors import Unavailable
from phalanx.lab.load import Load, Records
from phalanx.lab.processes import Processes
from phalanx.testing import cluster
from tests.certificates import CLIENT, HOST, SERVER, Authority
from tests.real.cluster import (
    PATIENCE_S,
    assert_no_error_reached_a_client,
    assert_nobody_was_cheated,
    on_processes,
    real,
)

pytestmark = real


async def refused(address: str, tls: TLS | None, words: str) -> None:
    async with connect(address, timeout_s=1.0, tls=tls) as client:
        with pytest.raises(Unavailable, match=words):
            await client.kv().put(b"forbidden", b"x")


def test_wrongly_certified_peers_and_clients_are_kept_out_while_the_others_work(tmp_path: Path) -> None:
    """A client without certificate, one of another authority, and a node of another authority, beside load and a kill;
    then all certificates are renewed on disk, by another authority, and nobody is restarted."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    both = tmp_path / "both.crt"
    both.write_bytes(authority.pem)
    nodes_tls = TLS(certificate=(node := authority.node()).certificate, key=node.key, authorities=both)

    async def work() -> None:
        records = Records()
        async with Processes(tls=nodes_tls) as nodes:
            await nodes.wait_until_full(3)
            address = nodes.addresses["a"]
            async with Load(nodes.addresses, records=records, tls=nodes_tls) as load:
                await load.make(100)
                theirs = other.client("theirs")
                mine = TLS(certificate=theirs.certificate, key=theirs.key, authorities=both)
                await refused(address, None, "it speaks TLS, and this side was started without")
                await refused(address, mine, "it does not know the authority of this side's certificate")
                stranger = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "phalanx", "serve", "--name", "x", "--diskless", "--listen", f"{HOST}:0"),
                    *("--seed", address, "--tls", *map(str, files(other.node("x")))),
                    stderr=asyncio.subprocess.PIPE,
                )
                assert stranger.stderr is not None
                while b"its certificate is refused" not in (line := await stranger.stderr.readline()):
                    assert line, "it ended"
                stranger.kill()
                await stranger.wait()
                await nodes.restart("b")
                await nodes.wait_until_full(3)
                await load.make(100)
                both.write_bytes(authority.pem + other.pem)  # first everybody trusts both,
                other.issue("node", [HOST], usages=[SERVER, CLIENT])  # then shows the new one
                load.rebalance()
                await nodes.restart("c")
                await nodes.wait_until_full(3)
                await load.make(100)
            seen = nodes.log_path("a").read_text()
            assert seen.count("it does not speak TLS") == 1
            assert "phalanx.runtime.credentials the renewed certificate" in seen
            async with connect(address, tls=nodes_tls) as client:
                assert await client.kv().get(b"forbidden") is None
            assert_no_error_reached_a_client(records)
            await assert_nobody_was_cheated(nodes, records)

    on_processes(work())


def files(tls: TLS) -> tuple[object, object, object]:
    return tls.certificate, tls.key, tls.authorities


def test_a_cluster_for_tests_is_under_tls_when_asked(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def work() -> None:
        async with cluster(real=True, tls=authority.node()) as nodes:
            async with nodes.connect(PATIENCE_S) as client:
                await client.kv().put(b"k", b"v")
            await refused(nodes.addresses["a"], None, "it speaks TLS")
            await nodes.kill("a")
            async with nodes.connect(PATIENCE_S, ["b"]) as client:
                found = await client.kv().get(b"k")
                assert found is not None

    on_processes(work())
