"""Connections under TLS: who is let in, who is not, what both ends are told, and what strangers can cost."""

import asyncio
import gc
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from phalanx.api.tls import TLS
from phalanx.model.machine import LinkDown, LinkUp, Refused
from phalanx.runtime import credentials, handshakes
from phalanx.runtime.connection import HELLO, PROTOCOL_VERSION, Connection, Hello
from phalanx.runtime.contract import LinkEvent
from phalanx.runtime.refusals import LATE
from phalanx.runtime.tls import Layer
from phalanx.runtime.transport import TcpTransport
from phalanx.wire.frame import Kind, encode_frame
from tests.certificates import CLIENT, DAY, HOST, SERVER, Authority
from tests.runtime.secured import (
    HOUR,
    OnLoop,
    Shown,
    client,
    node,
    of_authority,
    on_either_loop,
    stranger,
    until,
    warnings_in,
)
from tests.runtime.toys import TEXT, Text, say

pytestmark = on_either_loop


def test_nodes_and_clients_talk_and_large_and_many_messages_arrive_in_order(on_loop: OnLoop, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def work() -> None:
        async with (
            node(authority.node("a")) as (a, ear_a),
            node(authority.node("b")) as (b, ear_b),
            client(authority.client()) as (c, ear_c),
        ):
            say(a, b.address, "open")
            await ear_b.event((a.address, "open"))
            texts = ["x" * (4 << 20), *map(str, range(500)), "y" * 100_000, "last"]
            for text in texts:
                a.send([b.address], TEXT.encode(Text(text)))
            a.flush()
            await ear_b.event((a.address, "last"))
            assert [item[1] for item in ear_b.heard if not isinstance(item, LinkEvent)][1:] == texts
            say(b, a.address, "back")
            await ear_a.event((b.address, "back"))
            say(c, a.address, "request")
            name = await ear_a.message("request")
            assert name.startswith("~")
            say(a, name, "reply")
            await ear_c.event((a.address, "reply"))
            assert not a.refusals
            assert not c.explain()

    on_loop(work)


def test_what_is_said_is_under_tls_1_3(on_loop: OnLoop, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def work() -> None:
        async with node(authority.node()) as (a, _):
            context = authority.client().credentials().contexts().client
            reader, writer = await asyncio.open_connection(*a.address.split(":"), ssl=context)
            assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
            writer.close()
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
                await asyncio.open_connection(*a.address.split(":"), ssl=context)
            assert a.refusals == {"handshake.version": 1}
            del reader

    on_loop(work)


def namesake(directory: Path) -> Authority:
    """One that was made anew, say."""
    (directory / "again").mkdir()
    return Authority(directory / "again")


BAD_CLIENTS: dict[str, tuple[Callable[[Authority, Path], Shown], str, str, str, str]] = {
    "of another authority": (
        stranger,
        "certificate.authority",
        "its certificate is refused: unable to get local issuer certificate",
        "alert.authority",
        "it does not know the authority of this side's certificate",
    ),
    "of another authority of the same name": (
        lambda a, d: Shown(of_authority(namesake(d).client("stranger"), a)),
        "certificate.authority",
        "its certificate is refused: certificate signature failure",
        "alert.authority",
        "it does not take the signature of this side's certificate: is it of another authority of the same name?",
    ),
    "expired": (
        lambda a, _: Shown(a.issue("old", usages=[CLIENT], ends=-HOUR)),
        "certificate.expired",
        "its certificate is refused: certificate has expired",
        "alert.expired",
        "it says that this side's certificate has expired",
    ),
    "not valid yet": (
        lambda a, _: Shown(a.issue("early", usages=[CLIENT], begins=DAY)),
        "certificate.early",
        "its certificate is refused: certificate is not yet valid",
        "alert.certificate",
        "it refuses this side's certificate; its log says why",
    ),
    "for another role": (
        lambda a, _: Shown(a.issue("server", usages=[SERVER])),
        "certificate.role",
        "its certificate is refused: unsuitable certificate purpose",
        "alert.role",
        "it says that this side's certificate is not for its role",
    ),
    "none": (
        lambda a, _: Shown(a.client(), with_certificate=False),
        "certificate.none",
        "it showed no certificate",
        "alert.required",
        "it asks for a certificate, and this side showed none",
    ),
}
"""What a client shows: how the node counts and logs it, and how the client does."""


@pytest.mark.parametrize("case", BAD_CLIENTS)
def test_a_client_with_a_wrong_certificate_is_refused_and_both_ends_say_why_once(
    case: str, on_loop: OnLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SCENARIOS 42."""
    authority = Authority(tmp_path)
    make, kind, logged, alert, told = BAD_CLIENTS[case]
    shown = make(authority, tmp_path)

    async def work() -> None:
        async with node(authority.node()) as (a, ear), client(shown) as (b, ear_b):
            say(b, a.address, "let me in")
            await until(lambda: a.refusals.get(kind, 0) >= 3 and b.refusals.get(alert, 0) >= 3)  # it dials again
            assert b.explain() == f"{a.address}: {told}"
            assert set(a.refusals) == {kind}
            assert set(b.refusals) == {alert}
            assert ear.heard == ear_b.heard == []
            more = " or the system clock is incorrect"  # in OpenSSL 3.6
            said = [text.removesuffix(more) for text in warnings_in(caplog)]
            assert sorted(said) == sorted(
                [f"dropped the connection of {HOST}: {logged}", f"dropped the connection of {a.address}: {told}"]
            )

    on_loop(work)


BAD_NODES: dict[str, tuple[Callable[[Authority, Path], Shown], str, str, str]] = {
    "of another authority": (stranger, "certificate.authority", "unable to get local issuer certificate", "authority"),
    "for another host": (
        lambda a, _: Shown(a.issue("away", ["a.example", "127.0.0.2"])),
        "certificate.name",
        "IP address mismatch, certificate is not valid for '127.0.0.1'.",
        "certificate",
    ),
    "expired": (
        lambda a, _: Shown(a.issue("old", [HOST], ends=-HOUR)),
        "certificate.expired",
        "certificate has expired",
        "expired",
    ),
    "a client's": (
        lambda a, _: Shown(a.issue("app", [HOST], usages=[CLIENT])),
        "certificate.role",
        "unsuitable certificate purpose",
        "role",
    ),
}
"""What a node shows: how a client counts it, what it says, and the alert that the node gets."""


@pytest.mark.parametrize("case", BAD_NODES)
def test_a_node_with_a_wrong_certificate_is_refused_before_anything_is_said_and_is_told(
    case: str, on_loop: OnLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    make, kind, text, alert = BAD_NODES[case]
    shown = make(authority, tmp_path)

    async def work() -> None:
        async with node(shown) as (a, ear), client(authority.client()) as (b, ear_b):
            say(b, a.address, "a secret")
            await until(lambda: b.refusals.get(kind, 0) >= 3 and a.refusals.get(f"alert.{alert}", 0) >= 3)
            assert b.explain() == f"{a.address}: its certificate is refused: {text}"
            assert ear.heard == ear_b.heard == []
            assert len(warnings_in(caplog)) == 2

    on_loop(work)


def test_who_speaks_no_tls_is_told_that_the_other_side_does(
    on_loop: OnLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)

    async def work() -> None:
        async with node(authority.node()) as (a, ear), client(None) as (b, _):
            say(b, a.address, "in the clear")
            await until(lambda: a.refusals.get("handshake.plain", 0) >= 3 and b.refusals.get("handshake.tls", 0) >= 3)
            assert b.explain() == f"{a.address}: it speaks TLS, and this side was started without"
            assert ear.heard == []
            assert sorted(warnings_in(caplog)) == sorted(
                [
                    f"dropped the connection of {HOST}: it does not speak TLS",
                    f"dropped the connection of {b.explain()}",
                ]
            )

    on_loop(work)


def test_who_speaks_tls_to_a_node_without_is_told_so(
    on_loop: OnLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)

    async def work() -> None:
        async with node(None) as (a, ear), client(authority.client()) as (b, _):
            say(b, a.address, "under TLS")
            await until(lambda: a.refusals.get("handshake.tls", 0) >= 3 and b.refusals.get("alert.plain", 0) >= 3)
            assert b.explain() == f"{a.address}: it was started without TLS, and this side with it"
            assert set(b.refusals) == {"alert.plain"}
            assert ear.heard == []
            assert len(warnings_in(caplog)) == 2

    on_loop(work)


def test_an_address_where_nobody_listens_is_refused_as_without_tls(on_loop: OnLoop, tmp_path: Path) -> None:
    """Positive evidence that a process is gone (DESIGN section 7) stays what it is."""
    authority = Authority(tmp_path)

    async def work() -> None:
        async with node(authority.node("a")) as (a, ear):
            async with node(authority.node("b")) as (b, _):
                say(a, b.address, "hello")
                await ear.event(LinkUp(b.address))
            await ear.event(LinkDown(b.address))
            await ear.event(Refused(b.address))
            assert not a.refusals

    on_loop(work)


# --- who may be a member ----------------------------------------------------------------------------------------------


async def claim(a: TcpTransport, shown: TLS, address: str) -> None:
    """Say, with that certificate, that one listens there, and wait for the end."""
    context = Shown(shown).contexts().client
    reader, writer = await asyncio.open_connection(*a.address.split(":"), ssl=context)
    writer.write(encode_frame(Kind.HELLO, HELLO.encode(Hello(PROTOCOL_VERSION, address, 1, 1))))
    try:
        await reader.read()
    except ConnectionError:
        pass
    finally:
        writer.close()


CLAIMS: dict[str, tuple[Callable[[Authority], TLS], str, str]] = {
    "a client's certificate": (
        Authority.client,
        "127.0.0.1:7400",
        "it names no host, so it is a client's, not 127.0.0.1",
    ),
    "one of another host": (
        lambda a: a.issue("b", ["b.example"]),
        "a.example:7400",
        "it names b.example, not a.example",
    ),
    "one of a client at that host": (
        lambda a: a.issue("app", ["app.example"], usages=[CLIENT]),
        "app.example:7400",
        "its extended key usage is that of a client",
    ),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_who_claims_to_be_a_member_shows_a_members_certificate_of_that_host(
    case: str, on_loop: OnLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SCENARIOS 42: a client that asks for more than its role."""
    authority = Authority(tmp_path)
    make, address, why = CLAIMS[case]

    async def work() -> None:
        async with node(authority.node()) as (a, ear):
            await claim(a, make(authority), address)
            assert a.refusals == {"certificate.name": 1}
            assert ear.heard == []
            [line] = warnings_in(caplog)
            assert f"it says that it is a member at {address}, and its certificate is not: {why}" in line

    on_loop(work)


def test_a_member_is_let_in_by_the_host_in_its_certificate(on_loop: OnLoop, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def work() -> None:
        async with node(authority.node()) as (a, ear):
            waiting = asyncio.create_task(claim(a, authority.issue("b", ["*.nodes.example"]), "b.nodes.example:7400"))
            await ear.event(LinkUp("b.nodes.example:7400"))
            waiting.cancel()

    on_loop(work)


def test_a_dial_given_up_while_it_connects_is_no_refusal_and_leaves_nothing(
    on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the peer's own connection comes first: a cluster's start is full of them."""
    authority = Authority(tmp_path)
    given_up: list[Layer] = []
    told: list[object] = []
    complaints: list[object] = []

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, HOST, 0)
        place = server.sockets[0].getsockname()[:2]
        credentials = authority.node("a").credentials(HOST)
        above = Connection(cast("Any", None), cast("Any", None), "")
        dialling: asyncio.Task[None]

        def begun(_: object, layer: Layer) -> None:
            given_up.append(layer)
            dialling.cancel()

        monkeypatch.setattr(handshakes.Dial, "begun", begun)
        address = f"{HOST}:{place[1]}"
        dialling = asyncio.ensure_future(
            handshakes.dial(above, credentials, address, place, lambda *refusal: told.append(refusal))
        )
        await asyncio.gather(dialling, return_exceptions=True)
        assert dialling.cancelled()
        given_up.pop().give_up(LATE)  # what its timer would do, if it had one still
        gc.collect()
        await asyncio.sleep(0)
        server.close()

    on_loop(work)
    assert not told
    assert not complaints


def test_a_node_looks_at_its_files_also_while_nobody_connects(
    on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections may stand until its certificate has ended, and then none can be made any more."""
    monkeypatch.setattr(credentials, "LOOK_S", 0.0)
    authority = Authority(tmp_path)
    tls = authority.issue("node", [HOST], ends=30 * DAY)

    async def work() -> None:
        async with node(tls) as (a, _):
            assert not warnings_in(caplog)
            end = a.certificate_ends_at
            authority.issue("node", [HOST], ends=2 * DAY)
            await until(lambda: a.certificate_ends_at < end)
            [line] = warnings_in(caplog)
            assert "node.crt ends at" in line
        authority.issue("node", [HOST], ends=40 * DAY)
        for _ in range(20):
            await asyncio.sleep(0)
        assert a.certificate_ends_at < end, "it was closed"

    on_loop(work)
