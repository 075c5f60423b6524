"""runtime.transport on real sockets of the loopback interface (SCENARIOS 8, 27, 40, 41)."""

import asyncio
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from phalanx.model.machine import LinkDown, LinkUp, Refused
from phalanx.runtime.connection import HELLO, PROTOCOL_VERSION, Hello
from phalanx.runtime.contract import LinkEvent
from phalanx.runtime.transport import TcpTransport
from phalanx.wire.frame import BODY_BYTES_MAX, FrameDecoder, Kind, encode_frame
from tests.runtime.toys import PATIENCE_S, TEXT, Ear, Text, on_loop, running, say

HOST = "127.0.0.1"
LISTENER = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"


@asynccontextmanager
async def node(**limits: Any) -> AsyncIterator[tuple[TcpTransport, Ear]]:
    """A transport that listens on a free port."""
    async with running(await TcpTransport.listen(HOST, 0, **limits)) as started:
        yield started


def client() -> AbstractAsyncContextManager[tuple[TcpTransport, Ear]]:
    return running(TcpTransport.client())


async def stranger(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def hello(address: str = "", instance: int = 1, dials: int = 1, version: int = PROTOCOL_VERSION) -> bytes:
    return encode_frame(Kind.HELLO, HELLO.encode(Hello(version, address, instance, dials)))


async def is_cut(reader: asyncio.StreamReader) -> None:
    """Wait until the other side has ended the connection."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            while await reader.read(1 << 16):
                pass
        except ConnectionError:
            pass


def links(ear: Ear, address: str) -> list[str]:
    return [type(e).__name__ for e in ear.heard if isinstance(e, LinkUp | LinkDown) and e.address == address]


def test_the_message_that_causes_the_dial_arrives_and_the_answer_takes_the_same_connection() -> None:
    async def work() -> None:
        async with node() as (a, ear_a), node() as (b, ear_b):
            say(a, b.address, "first")
            await ear_b.event(LinkUp(a.address))
            await ear_b.event((a.address, "first"))
            say(b, a.address, "answer")
            await ear_a.event((b.address, "answer"))
            assert links(ear_a, b.address) == links(ear_b, a.address) == ["LinkUp"]

    on_loop(work)


def test_large_and_many_messages_arrive_in_order() -> None:
    async def work() -> None:
        async with node() as (a, _), node() as (b, ear_b):
            texts = ["x" * (4 << 20), *map(str, range(500)), "last"]
            say(a, b.address, "open")
            await ear_b.event((a.address, "open"))
            for text in texts:
                a.send([b.address], TEXT.encode(Text(text)))
            a.flush()
            await ear_b.event((a.address, "last"))
            assert [item[1] for item in ear_b.heard if not isinstance(item, LinkEvent)][1:] == texts

    on_loop(work)


@pytest.mark.parametrize("seed", range(8))
def test_when_both_dial_at_once_one_connection_survives_and_each_hears_of_one_link(seed: int) -> None:
    """Seeds vary which of the two dials first, and how far it gets."""

    async def work() -> None:
        async with node() as (a, ear_a), node() as (b, ear_b):
            order = [(a, b), (b, a)]
            random.Random(seed).shuffle(order)
            for near, far in order:
                say(near, far.address, "crossing")
                for _ in range(seed // 2):
                    await asyncio.sleep(0)
            await ear_a.until(lambda item: item == LinkUp(b.address))
            await ear_b.until(lambda item: item == LinkUp(a.address))
            say(a, b.address, "to b")
            say(b, a.address, "to a")
            await ear_b.event((a.address, "to b"))
            await ear_a.event((b.address, "to a"))
            assert links(ear_a, b.address) == links(ear_b, a.address) == ["LinkUp"]

    on_loop(work)


def test_two_processes_that_advertise_one_address_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each takes the other's link away; members suspect both, and nothing else says why."""

    async def work() -> None:
        async with node() as (a, ear), AsyncExitStack() as stack:
            for count, instance in enumerate((1, 2, 3, 1, 3, 1), 1):
                _, writer = await stranger(a.address)
                stack.callback(writer.close)
                writer.write(hello(f"{HOST}:9", instance, dials=count))
                await ear.event(LinkUp(f"{HOST}:9"))
                told = [each for each in caplog.messages if "two processes" in each]
                assert len(told) == (count > 4)
            assert told == [f"two processes say that they are {HOST}:9: have each advertise an address of its own"]

    on_loop(work)


def test_a_killed_process_is_refused_and_its_successor_is_linked() -> None:
    """Positive evidence that the process is gone (DESIGN section 7)."""

    async def work() -> None:
        async with node() as (a, ear_a):
            b = await TcpTransport.listen(HOST, 0)
            b.start(Ear())
            say(a, b.address, "hello")
            await ear_a.event(LinkUp(b.address))
            await b.close()
            await ear_a.event(LinkDown(b.address))
            await ear_a.event(Refused(b.address))
            say(a, b.address, "are you there")
            successor, ear = await TcpTransport.listen(HOST, int(b.address.split(":")[1])), Ear()
            successor.start(ear)
            await ear_a.event(LinkUp(b.address))
            say(a, b.address, "again")
            await ear.event((a.address, "again"))
            await successor.close()

    on_loop(work)


@pytest.mark.real
def test_the_kernel_speaks_for_a_process_that_was_killed() -> None:
    async def work() -> None:
        script = LISTENER + "import time; c, _ = s.accept(); c.recv(1); time.sleep(3600)"
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            address = f"{HOST}:{int(process.stdout.readline())}"
            async with node() as (a, ear):
                say(a, address, "hello")
                process.kill()
                await ear.event(Refused(address))
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    on_loop(work)


def test_a_connection_broken_in_mid_frame_is_made_anew_and_the_torn_frame_is_gone() -> None:
    """SCENARIOS 27."""

    async def work() -> None:
        async with node() as (a, ear):
            with socket.create_server((HOST, 0)) as server:
                me = f"{HOST}:{server.getsockname()[1]}"
                server.setblocking(False)
                loop = asyncio.get_running_loop()
                torn = encode_frame(Kind.MESSAGE, TEXT.encode(Text("torn")))[:-3]
                say(a, me, "first")
                for dials, tail in ((1, torn), (2, encode_frame(Kind.MESSAGE, TEXT.encode(Text("whole"))))):
                    inbound, _ = await asyncio.wait_for(loop.sock_accept(server), PATIENCE_S)
                    await loop.sock_recv(inbound, 4096)
                    await loop.sock_sendall(inbound, hello(me, dials=dials) + tail)
                    await ear.event(LinkUp(me))
                    if dials == 2:
                        await ear.event((me, "whole"))
                    inbound.close()
                    await ear.event(LinkDown(me))
            assert (me, "torn") not in ear.heard

    on_loop(work)


HOSTILE: dict[str, bytes] = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(100),
    "another format": hello()[:6] + b"\x09" + hello()[7:],
    "bad checksum": hello()[:-1] + b"\x00",
    "4 GiB": hello()[:8] + b"\xff" * 4,
    "large before the handshake": encode_frame(Kind.HELLO, bytes(2000)),
    "message before the handshake": encode_frame(Kind.MESSAGE, TEXT.encode(Text("x"))),
    "another protocol": hello(version=99),
    "hostile hello": encode_frame(Kind.HELLO, b"\x95\xa7phalanx\x01" + b"\x91" * 900),
    "pseudo-address": hello("~1:80"),
    "no address": hello("nonsense"),
    "second hello": hello() + hello(),
    "garbage later": hello() + b"garbage that is longer than a header",
    "hostile message": hello() + encode_frame(Kind.MESSAGE, b"\xdd\xff\xff\xff\xff"),
    "large later": hello() + encode_frame(Kind.MESSAGE, b"")[:8] + (BODY_BYTES_MAX + 1).to_bytes(4, "little"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_garbage_costs_its_own_connection_and_nothing_else(case: str, caplog: pytest.LogCaptureFixture) -> None:
    """SCENARIOS 41."""

    async def work() -> None:
        async with node() as (a, ear_a), node() as (b, ear_b):
            say(a, b.address, "before")
            await ear_b.event((a.address, "before"))
            reader, writer = await stranger(a.address)
            writer.write(HOSTILE[case])
            await is_cut(reader)
            writer.close()
            say(a, b.address, "after")
            await ear_b.event((a.address, "after"))
            assert links(ear_a, b.address) == ["LinkUp"]
            assert sum("dropped the connection" in record.message for record in caplog.records) == 1

    on_loop(work)


def test_random_bytes_on_the_port_disturb_nobody() -> None:
    """SCENARIOS 41: fuzz, half of it behind a valid handshake or with some bytes of a valid stream altered."""

    async def work() -> None:
        rng = random.Random(41)
        async with node() as (a, ear_a), node() as (b, ear_b):
            say(a, b.address, "before")
            await ear_b.event((a.address, "before"))
            for turn in range(150):
                data = bytearray(hello() + encode_frame(Kind.MESSAGE, TEXT.encode(Text("ok"))) if turn % 2 else b"")
                data += rng.randbytes(rng.randrange(200))
                for _ in range(rng.randrange(4) if data else 0):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                reader, writer = await stranger(a.address)
                writer.write(bytes(data))
                writer.write_eof()
                await is_cut(reader)
                writer.close()
            say(a, b.address, "after")
            await ear_b.event((a.address, "after"))
            assert links(ear_a, b.address) == ["LinkUp"]

    on_loop(work)


def test_a_client_has_a_pseudo_address_that_lives_as_long_as_its_connection() -> None:
    async def work() -> None:
        async with node() as (a, ear_a), client() as (one, ear_one):
            say(one, a.address, "request")
            name = await ear_a.message("request")
            assert name.startswith("~")
            say(a, name, "reply")
            await ear_one.event((a.address, "reply"))
            await one.close()
            await ear_a.event(LinkDown(name))
            say(a, name, "too late")
            async with client() as (two, ear_two):
                say(two, a.address, "hi")
                other = await ear_a.message("hi")
                assert other != name
                say(a, other, "hi yourself")
                await ear_two.event((a.address, "hi yourself"))
                assert (a.address, "too late") not in ear_two.heard

    on_loop(work)


def test_a_client_that_never_reads_is_cut_off_and_the_others_are_served() -> None:
    """SCENARIOS 40."""

    async def work() -> None:
        async with node(client_backlog_bytes_max=100_000) as (a, ear_a), client() as (b, ear_b):
            reader, writer = await stranger(a.address)
            writer.write(hello())
            lazy = (await ear_a.until(lambda item: isinstance(item, LinkUp))).address
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stubs type it as any transport
            say(b, a.address, "hi")
            name = await ear_a.message("hi")
            while LinkDown(lazy) not in ear_a.heard:
                say(a, lazy, "x" * 200_000)
                await asyncio.sleep(0)
            say(a, name, "served")
            await ear_b.event((a.address, "served"))
            writer.close()
            del reader

    on_loop(work)


def test_beyond_the_limit_of_clients_one_more_is_turned_away() -> None:
    async def work() -> None:
        async with node(clients_max=2) as (a, ear), AsyncExitStack() as stack:
            for text in ("one", "two"):
                transport, _ = await stack.enter_async_context(client())
                say(transport, a.address, text)
                await ear.message(text)
            reader, writer = await stranger(a.address)
            writer.write(hello())
            await is_cut(reader)
            writer.close()
            assert sum(isinstance(item, LinkUp) for item in ear.heard) == 2

    on_loop(work)


def test_beyond_the_limit_of_connections_without_a_handshake_one_more_is_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("phalanx.runtime.transport.STRANGERS_MAX", 2)

    async def work() -> None:
        async with node() as (a, ear), client() as (b, _):
            say(b, a.address, "before")
            await ear.message("before")
            silent = [await stranger(a.address) for _ in range(3)]
            await is_cut(silent[-1][0])
            say(b, a.address, "who has shaken hands is not concerned")
            await ear.message("who has shaken hands is not concerned")
            for _, writer in silent:
                writer.close()

    on_loop(work)


def test_a_late_hello_of_a_given_up_dial_does_not_replace_the_connection_but_a_newer_one_does() -> None:
    """The counter-example that the count of dials in the Hello is for."""

    async def work() -> None:
        async with node() as (a, ear):
            peer = "127.0.0.1:9"

            async def dial(dials: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
                reader, writer = await stranger(a.address)
                writer.write(hello(peer, instance=5, dials=dials))
                return reader, writer

            first_reader, first = await dial(7)
            await ear.event(LinkUp(peer))
            late_reader, late = await dial(6)
            await is_cut(late_reader)
            first.write(encode_frame(Kind.MESSAGE, TEXT.encode(Text("still here"))))
            await ear.event((peer, "still here"))
            _, newer = await dial(8)
            await ear.event(LinkDown(peer))
            await ear.event(LinkUp(peer))
            await is_cut(first_reader)
            assert links(ear, peer) == ["LinkUp", "LinkDown", "LinkUp"]
            for writer in (first, late, newer):
                writer.close()

    on_loop(work)


def test_a_peer_dialled_by_another_name_keeps_one_connection_and_answers_to_both() -> None:
    async def work() -> None:
        async with node() as (a, ear_a), node() as (b, ear_b):
            alias = b.address.replace(HOST, "localhost")
            say(a, alias, "by alias")
            await ear_b.event((a.address, "by alias"))
            await ear_a.event(LinkUp(alias))
            say(a, b.address, "by address")
            await ear_b.event((a.address, "by address"))
            assert links(ear_b, a.address) == ["LinkUp"]
            say(a, a.address.replace(HOST, "localhost"), "to myself")
            say(b, a.address, "still up")
            await ear_a.event((b.address, "still up"))

    on_loop(work)


def test_a_hello_is_the_first_thing_a_client_hears() -> None:
    async def work() -> None:
        async with node() as (a, _):
            reader, writer = await stranger(a.address)
            writer.write(hello())
            decoder, frames = FrameDecoder(), list[Any]()
            while not frames:
                frames += decoder.feed(await reader.read(4096))
            assert frames[0][0] == Kind.HELLO
            assert HELLO.decode(frames[0][1]).address == a.address
            writer.close()

    on_loop(work)
