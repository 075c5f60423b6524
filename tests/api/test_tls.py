"""`join` and `connect` under TLS: a cluster of nodes with certificates, and who is kept out (SCENARIOS 42)."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import phalanx
from phalanx import sync
from phalanx.api.client import CODEC
from phalanx.calls.messages import Ask, CallId, Letter, Part
from phalanx.errors import ConfigurationError, OutcomeUnknown, Unavailable
from phalanx.group.messages import Envelope, Wish
from phalanx.model.machine import LinkDown
from phalanx.model.view import Member
from phalanx.runtime.contract import LinkEvent
from phalanx.runtime.loop import run
from phalanx.runtime.transport import TcpTransport
from tests.api.cluster import PATIENCE_S, TIMING
from tests.certificates import CLIENT, DAY, HOST, Authority

SOON_S = 0.5
"""For calls that nobody will answer."""


def limited(work: Coroutine[Any, Any, None]) -> None:
    async def patient() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await work

    run(patient())


@asynccontextmanager
async def nodes(authority: Authority, count: int) -> AsyncIterator[list[phalanx.Process]]:
    """So many, each with a certificate of its own, hosting a store."""
    async with AsyncExitStack() as stack:
        found: list[phalanx.Process] = []
        for name in "abc"[:count]:
            begin: Any = {"seeds": [found[0].address]} if found else {"bootstrap": True}
            node = phalanx.join(name, tls=authority.node(name), objects={"KV": (phalanx.KV, 0)}, timing=TIMING, **begin)
            found.append(await stack.enter_async_context(node))
        yield found


def test_a_cluster_under_tls_serves_who_has_a_certificate_and_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    other = Authority(tmp_path, "other")
    theirs = other.client("theirs")
    wrong = phalanx.TLS(certificate=theirs.certificate, key=theirs.key, authorities=authority.file)

    async def work() -> None:
        async with nodes(authority, 3) as processes:
            addresses = [process.address for process in processes]
            async with phalanx.connect(*addresses, tls=authority.client()) as client:
                await client.kv().put(b"k", b"v")
            assert await processes[1].client().kv().get(b"k")  # its own client has its certificate

            async with phalanx.connect(addresses[0], timeout_s=SOON_S, tls=wrong) as client:
                with pytest.raises(Unavailable) as refused:
                    await client.kv().put(b"k", b"other")
            assert f"{addresses[0]}: it does not know the authority of this side's certificate" in str(refused.value)
            async with phalanx.connect(addresses[0], timeout_s=SOON_S) as client:
                with pytest.raises(Unavailable, match="it speaks TLS, and this side was started without"):
                    await client.kv().put(b"k", b"other")
            own = {"handshake.ended"}  # nodes that dial each other at once on a slow machine, and give one up
            refusals = processes[0].refusals
            assert refusals.keys() - own == {"certificate.authority", "handshake.plain"}
            assert not processes[1].refusals.keys() - own
            lines = [
                r.getMessage() for r in caplog.records if r.getMessage().startswith("dropped the connection of 12")
            ]
            dropped = [line for line in lines if "127.0.0.1: " in line and "it ended the connection" not in line]
            assert len(dropped) == 2 < sum(refusals[kind] for kind in refusals.keys() - own)

    limited(work())


def test_a_client_that_loses_its_certificate_is_told_why_its_outcome_is_unknown(tmp_path: Path) -> None:
    """A command that was sent may have happened; the reason that nothing more is heard is in the error all the same."""
    authority = Authority(tmp_path)

    async def work() -> None:
        async with nodes(authority, 1) as [process], phalanx.connect(process.address, tls=authority.client()) as client:
            await client.kv().put(b"k", b"v")
            error = client._explained(OutcomeUnknown("the deadline passed"))
            assert str(error) == "the deadline passed"
            client._explain = lambda: "n:1: it says that this side's certificate has expired"
            for kind in (OutcomeUnknown, Unavailable):
                error = client._explained(kind("the deadline passed"))
                assert type(error) is kind
                assert str(error) == "the deadline passed (n:1: it says that this side's certificate has expired)"
            assert str(client._explained(ConfigurationError("so"))) == "so"

    limited(work())


def test_a_node_of_another_authority_is_not_let_in_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")

    async def work() -> None:
        async with nodes(authority, 1) as [process]:
            with contextlib.suppress(TimeoutError), caplog.at_level(logging.WARNING):
                async with (
                    asyncio.timeout(1.0),
                    phalanx.join("x", seeds=[process.address], tls=other.node("x"), timing=TIMING),
                ):
                    pytest.fail("it was let in")
            assert process.refusals.keys() == {"alert.authority"}  # the other one dialled, and was the first to refuse
            lines = [record.getMessage() for record in caplog.records]
            assert sum(f"{process.address}: its certificate is refused" in line for line in lines) == 1
            assert [m.name for m in process.status.members] == ["a"]

    limited(work())


def test_files_that_make_no_sense_are_refused_before_anything_is_started(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    data = tmp_path / "data"

    async def work() -> None:
        for tls in (authority.client(), authority.issue("old", [HOST], ends=-DAY)):
            with pytest.raises(ConfigurationError, match=r"^TLS: "):
                async with phalanx.join("a", bootstrap=True, tls=tls, data=data):
                    pytest.fail("it was started")
        assert not data.exists()
        with pytest.raises(ConfigurationError, match=r"old\.crt has expired"):
            async with phalanx.connect("a:1", tls=authority.issue("old", usages=[CLIENT], ends=-DAY)):
                pytest.fail("it was started")
        with pytest.raises(ConfigurationError, match="all interfaces"):
            async with phalanx.join("a", listen="0.0.0.0:0", bootstrap=True, tls=authority.node()):
                pytest.fail("it was started")

    limited(work())


class Heard:
    """What a transport brings."""

    def __init__(self) -> None:
        self.events: list[LinkEvent] = []

    def received(self, _source: str, _body: bytes | memoryview) -> None:
        pass

    def link(self, event: LinkEvent) -> None:
        self.events.append(event)


@pytest.mark.parametrize("what", ["a wish to join", "an answer to a group call"])
def test_a_client_that_speaks_as_a_node_is_cut_off(what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SCENARIOS 42: a client that asks for more than its role."""
    authority = Authority(tmp_path)

    async def work() -> None:
        async with nodes(authority, 1) as [process]:
            transport, ear = TcpTransport.client(tls=authority.client().credentials()), Heard()
            transport.start(ear)
            member, cluster = process.me, int(process.status.cluster, 16)
            stranger = Member("x", "127.0.0.1:1", 5)
            said = {
                "a wish to join": Envelope(0, stranger, Wish(stranger, True, (), (), False)),
                "an answer to a group call": Letter(cluster, member, Ask(0, CallId("a", 1, 1), Part.OWN, 0)),
            }[what]
            transport.send([process.address], CODEC.encode(said))
            transport.flush()
            while LinkDown(process.address) not in ear.events:
                await asyncio.sleep(0)
            assert [m.name for m in process.status.members] == ["a"]
            assert any(
                "client says what only" in r.getMessage() or "does not take Letter" in r.getMessage()
                for r in caplog.records
            )
            await transport.close()

    limited(work())


def test_the_client_for_threads_takes_certificates_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def work() -> None:
        async with nodes(authority, 1) as [process]:

            def use() -> None:
                with sync.connect(process.address, tls=authority.client()) as client:
                    client.kv().put(b"k", b"v")

            await asyncio.to_thread(use)
            found = await process.client().kv().get(b"k")
            assert found is not None and found.value == b"v"

    limited(work())


def test_a_rolling_restart_asks_under_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def work() -> None:
        async with nodes(authority, 1) as [process]:
            waited: list[str] = []
            with pytest.raises(phalanx.RestartStopped, match="survive"):
                await phalanx.rolling_restart(
                    _never, process.address, tls=authority.client(), patience_s=0.1, on_wait=waited.append
                )

    limited(work())


async def _never(name: str) -> None:
    pytest.fail(f"{name} is the only one")
