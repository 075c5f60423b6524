"""What certificates that are renewed change for connections under TLS, and what strangers can cost."""

import asyncio
import random
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from phalanx.api.tls import TLS
from phalanx.model.machine import LinkDown, LinkUp
from phalanx.runtime import handshakes
from phalanx.runtime import tls as layers
from phalanx.runtime.transport import TcpTransport
from tests.certificates import CLIENT, HOST, Authority
from tests.runtime.secured import (
    HOUR,
    OnLoop,
    Shown,
    client,
    node,
    of_authority,
    on_either_loop,
    until,
    warnings_in,
)
from tests.runtime.toys import say

pytestmark = on_either_loop

# --- renewal ----------------------------------------------------------------------------------------------------------


def test_one_whose_certificate_has_expired_is_let_in_once_it_is_renewed_on_disk(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)

    async def work() -> None:
        async with node(authority.node()) as (a, ear):
            credentials = authority.client("it").credentials()
            # As if it had ended while the process ran.
            credentials._contexts = Shown(authority.issue("old", usages=[CLIENT], ends=-HOUR)).contexts()
            async with client(credentials) as (b, _):
                say(b, a.address, "too late")
                await until(lambda: "expired" in b.explain())
                authority.client("it")
                await until(lambda: not b.explain())
                say(b, a.address, "renewed")
                await ear.message("renewed")

    on_loop(work)


def test_a_node_shows_its_renewed_certificate_to_new_connections_and_keeps_the_others(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    """From one authority to another, with both trusted in between: nobody is restarted, and no connection breaks."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    both = tmp_path / "both.crt"
    both.write_bytes(old.pem + new.pem)

    def trusting_both(tls: TLS) -> TLS:
        return TLS(certificate=tls.certificate, key=tls.key, authorities=both)

    async def work() -> None:
        async with (
            node(trusting_both(old.node())) as (a, ear),
            client(of_authority(old.client("one"), old)) as (one, _),
        ):
            say(one, a.address, "before")
            await ear.message("before")
            new.node()  # into the same files
            async with client(of_authority(new.client("two"), new)) as (two, _):
                say(two, a.address, "takes the new one")
                await ear.message("takes the new one")
                say(one, a.address, "still here")
                await ear.message("still here")
                async with client(of_authority(old.client("three"), old)) as (three, _):
                    say(three, a.address, "takes only the old one")
                    await until(lambda: three.refusals)
                    assert set(three.refusals) == {"certificate.authority"}
                assert not [item for item in ear.heard if isinstance(item, LinkDown)]

    on_loop(work)


# --- strangers --------------------------------------------------------------------------------------------------------


async def silent(a: TcpTransport) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*a.address.split(":"))


async def ended(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1 << 16):
            pass
    except ConnectionError:
        pass


def test_of_too_many_unfinished_handshakes_the_oldest_go_and_the_honest_come_through(
    on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "HANDSHAKES_MAX", 5)
    authority = Authority(tmp_path)

    async def work() -> None:
        async with node(authority.node()) as (a, ear), AsyncExitStack() as stack:
            open_ones = [await silent(a) for _ in range(8)]
            for reader, writer in open_ones:
                stack.callback(writer.close)
                del reader
            for reader, _ in open_ones[:3]:
                await ended(reader)
            assert a.refusals == {"handshake.crowded": 3}
            async with client(authority.client()) as (b, _):
                say(b, a.address, "honest")
                await ear.message("honest")
            assert a.refusals == {"handshake.crowded": 4}

    on_loop(work)


def test_handshakes_take_turns_with_what_the_node_does(
    on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask for a signature at once, few get it in one turn of the loop."""
    monkeypatch.setattr(handshakes, "HANDSHAKES_A_TURN", 2)
    authority = Authority(tmp_path)
    turns: list[int] = []
    shake_hands = layers.Layer.shake_hands

    def counted(self: layers.Layer) -> None:
        if not self._dialled:
            turns[-1] += 1
        shake_hands(self)

    monkeypatch.setattr(layers.Layer, "shake_hands", counted)

    async def work() -> None:
        async with node(authority.node()) as (a, _), AsyncExitStack() as stack:
            dials = []
            for number in range(20):
                dials.append((await stack.enter_async_context(client(authority.client(f"c{number}"))))[0])
            watching = asyncio.create_task(tick())
            for each in dials:
                say(each, a.address, "hello")
            await until(lambda: a._clients == 20)
            watching.cancel()
            assert max(turns) == 2
            assert sum(turns) >= 40  # a hello each, and its answer

    async def tick() -> None:
        while True:
            turns.append(0)
            await asyncio.sleep(0)

    on_loop(work)


@pytest.mark.parametrize("step", ["nothing is said", "a hello is begun", "TLS is done and no Hello follows"])
def test_a_handshake_that_does_not_end_is_ended(
    step: str, on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = "phalanx.runtime.connection" if step.startswith("TLS") else "phalanx.runtime.tls"
    monkeypatch.setattr(f"{late}.HANDSHAKE_S_MAX", 0.05)  # only there: TLS itself may take a busy machine longer
    authority = Authority(tmp_path)

    async def work() -> None:
        async with node(authority.node()) as (a, ear):
            if step.startswith("TLS"):
                context = authority.client().credentials().contexts().client
                reader, writer = await asyncio.open_connection(*a.address.split(":"), ssl=context)
            else:
                reader, writer = await silent(a)
                writer.write(b"\x16\x03\x01\x02\x00\x01" if step.startswith("a") else b"")
            await ended(reader)
            writer.close()
            assert a.refusals == ({} if step.startswith("TLS") else {"handshake.late": 1})
            assert ear.heard == []

    on_loop(work)


def test_a_handshake_without_end_is_cut_at_its_limit(on_loop: OnLoop, tmp_path: Path) -> None:
    """Records of a hello that is said to be far longer than any: OpenSSL has a limit of its own, and so have we."""
    authority = Authority(tmp_path)
    record = b"\x16\x03\x01\x40\x00" + b"\x01\x01\x00\x00\x03\x03" + bytes(16384 - 6)

    async def work() -> None:
        async with node(authority.node()) as (a, ear):
            reader, writer = await silent(a)
            for _ in range(64):
                writer.write(record)
            await ended(reader)
            writer.close()
            [(kind, count)] = a.refusals.items()
            assert (kind, count) in {("handshake.long", 1), ("handshake.other", 1)}
            assert ear.heard == []

    on_loop(work)


def test_the_limit_of_a_handshake_is_held_by_us(
    on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "HANDSHAKE_BYTES_MAX", 50)
    authority = Authority(tmp_path)

    async def work() -> None:
        async with node(authority.node()) as (a, _):
            reader, writer = await silent(a)
            writer.write(b"\x16\x03\x01\x02\x00\x01" + bytes(100))
            await ended(reader)
            writer.close()
            assert a.refusals == {"handshake.long": 1}

    on_loop(work)


def test_random_bytes_on_the_port_disturb_nobody(
    on_loop: OnLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SCENARIOS 41, under TLS: random bytes, and hellos of a real client with some bytes altered."""
    authority = Authority(tmp_path)
    rng = random.Random(41)
    to_server = ssl.MemoryBIO()
    context = authority.client().credentials().contexts().client
    try:
        context.wrap_bio(ssl.MemoryBIO(), to_server, server_hostname=HOST).do_handshake()
    except ssl.SSLWantReadError:
        hello = to_server.read()

    async def work() -> None:
        async with node(authority.node("a")) as (a, ear_a), node(authority.node("b")) as (b, ear_b):
            say(a, b.address, "before")
            await ear_b.event((a.address, "before"))
            for turn in range(100):
                data = bytearray(hello if turn % 2 else rng.randbytes(rng.randrange(1, 200)))
                for _ in range(rng.randrange(4)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                reader, writer = await silent(a)
                writer.write(bytes(data))
                writer.write_eof()
                await ended(reader)
                writer.close()
            say(a, b.address, "after")
            await ear_b.event((a.address, "after"))
            assert [e for e in ear_a.heard if isinstance(e, LinkUp | LinkDown)] == [LinkUp(b.address)]
            assert sum(a.refusals.values()) == 100
            assert len(warnings_in(caplog)) <= len(a.refusals)

    on_loop(work)


@pytest.mark.parametrize("begins", ["80ff01", "ffff01030300", "802e01ffff", "00000010", "474554202f", "15030300020000"])
def test_what_happens_to_resemble_tls_is_refused_as_all_that_is_none(
    on_loop: OnLoop, tmp_path: Path, begins: str
) -> None:
    """Checksums, with which our frames begin, can be any bytes.  One in 512 was taken for a hello of SSL 2, whose rest
    was waited for."""

    async def work() -> None:
        async with node(Authority(tmp_path).node()) as (a, _):
            reader, writer = await silent(a)
            writer.write(bytes.fromhex(begins))
            assert await reader.read() == layers.PLAIN_ALERT
            writer.close()
            assert a.refusals == {"handshake.plain": 1}

    on_loop(work)


def test_closing_a_node_cuts_handshakes_under_way(on_loop: OnLoop, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def work() -> None:
        async with node(authority.node()) as (a, _):
            reader, writer = await silent(a)
            async with client(authority.client()) as (b, _):
                say(b, a.address, "so it has been accepted")
                await until(lambda: a._clients)
        await ended(reader)
        writer.close()

    on_loop(work)
