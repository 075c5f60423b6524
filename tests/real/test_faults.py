"""Real processes that are killed, restarted, paused, and fed garbage while clients work (SCENARIOS 3, 16, 22, 41)."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from phalanx.api.client import CODEC, connect
from phalanx.group.messages import Ballot, Envelope, Held, Pull
from phalanx.lab.load import Load
from phalanx.lab.processes import HOST, Processes, Statuses
from phalanx.model.view import Member
from phalanx.replication.messages import Command, Declined, Describe, OpenSession, Query, Unwatch, Watch, WatchMore
from phalanx.replication.objects import describe
from phalanx.runtime.connection import HELLO, PROTOCOL_VERSION, Hello
from phalanx.services.store.kv import KV
from phalanx.wire.frame import FrameDecoder, Kind, encode_frame
from tests.real.cluster import (
    PATIENCE_S,
    assert_no_error_reached_a_client,
    assert_nobody_was_cheated,
    on_processes,
    one_status,
    real,
)

pytestmark = real

CALLS = 150
"""Successful calls that are waited for between two faults."""


def test_an_acknowledged_write_survives_kill_9_of_the_node_that_acknowledged_it_which_returns_by_state_transfer() -> (
    None
):
    """SCENARIOS 3, as far as memory goes: all hosts have a write before it is acknowledged."""

    async def story() -> None:
        async with Processes() as nodes:
            eldest = (await one_status(nodes, 3)).members[0]
            async with connect(eldest.address) as client:
                await client.kv().put(b"promise", b"kept")
                await nodes.kill(eldest.name)
            async with Load(nodes.addresses) as load:
                await nodes.wait_until_full(2)
                await load.make(CALLS)
                await nodes.start(eldest.name)
                returned = await one_status(nodes, 3)
                await load.make(CALLS)
            assert returned.members[-1].name == eldest.name, "who returns is the youngest"
            assert returned.members[-1].incarnation > eldest.incarnation
            async with connect(eldest.address) as client:
                found = await client.kv().stale.get(b"promise")
                assert found is not None and found.value == b"kept", "the returned node itself has the state"
            assert_no_error_reached_a_client(load.records)
            await assert_nobody_was_cheated(nodes, load.records)

    on_processes(story())


@pytest.mark.parametrize("politely", [True, False], ids=["SIGTERM", "SIGKILL"])
def test_a_rolling_restart_under_load_loses_nothing_and_no_client_sees_an_error(politely: bool) -> None:
    """SCENARIOS 22."""

    async def story() -> None:
        async with Processes() as nodes:
            before = await one_status(nodes, 3)
            async with Load(nodes.addresses) as load:
                for name in nodes.names:
                    await load.make(CALLS)
                    if politely:
                        assert await nodes.terminate(name) == 0
                    else:
                        await nodes.kill(name)
                    await nodes.start(name)
                    await nodes.wait_until_full(3)
                await load.make(CALLS)
                after = await one_status(nodes, 3)
            assert after.cluster == before.cluster
            assert after.groups[0].id == before.groups[0].id, "the state was handed on, not founded anew"
            assert set(after.members).isdisjoint(before.members), "each came back as a new incarnation"
            assert_no_error_reached_a_client(load.records)
            await assert_nobody_was_cheated(nodes, load.records)

    on_processes(story())


class Loyal:
    """A client of one node that asks nobody else, whatever happens: what it is told, that node has said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameDecoder()
        self._said: list[Any] = []

    @classmethod
    @asynccontextmanager
    async def of(cls, address: str) -> AsyncIterator["Loyal"]:
        loyal = cls(*await asyncio.open_connection(HOST, int(address.rpartition(":")[2])))
        loyal._writer.write(encode_frame(Kind.HELLO, HELLO.encode(Hello(PROTOCOL_VERSION, "", 1, 1))))
        try:
            yield loyal
        finally:
            loyal._writer.close()

    def ask(self, message: Any) -> None:
        self._writer.write(encode_frame(Kind.MESSAGE, CODEC.encode(message)))

    async def hear(self) -> Any:
        while not self._said:
            data = await self._reader.read(1 << 16)
            assert data, "the node has closed the connection"
            frames = self._frames.feed(data)
            self._said += [CODEC.decode(body) for kind, body in frames if kind == Kind.MESSAGE]
        return self._said.pop(0)


def test_a_member_paused_past_its_timeout_serves_no_stale_read_and_comes_back() -> None:
    """SCENARIOS 16.  The questions lie in the paused node's socket while the others go on without it."""
    kv = describe(KV)
    get, late = kv.invoke(KV.get, b"key"), kv.invoke(KV.compare_and_set, b"key", b"old", b"late")

    async def story() -> None:
        async with Processes() as nodes:
            victim = (await one_status(nodes, 3)).members[0]
            others = {name: address for name, address in nodes.addresses.items() if name != victim.name}

            def is_out(seen: Statuses) -> bool:
                return all((s := seen[name]) is not None and victim not in s.members + s.learners for name in others)

            async with (
                Loyal.of(victim.address) as loyal,
                connect(*others.values(), timeout_s=PATIENCE_S) as elsewhere,
            ):
                await elsewhere.kv().put(b"key", b"old")
                loyal.ask(OpenSession(1, "KV"))
                opened = await loyal.hear()
                loyal.ask(Query(2, "KV", get.operation.id, get.operation.types, get.arguments))
                found = get.result((await loyal.hear()).outcome)
                assert found is not None and found.value == b"old"
                nodes.pause(victim.name)
                async with Load(nodes.addresses) as load:
                    loyal.ask(Query(3, "KV", get.operation.id, get.operation.types, get.arguments))
                    session, types = opened.session, late.operation.types
                    loyal.ask(Command(4, "KV", session, 1, 1, late.operation.id, types, late.arguments))
                    await nodes.wait_until(is_out, "a view without the paused node")
                    assert await elsewhere.kv().compare_and_set(b"key", b"old", b"new")
                    await load.make(CALLS)
                    nodes.resume(victim.name)
                    said = {message.request: message for message in (await loyal.hear(), await loyal.hear())}
                    assert isinstance(said[3], Declined), "not what it held when it was paused"
                    assert isinstance(said[4], Declined), "it was out, and knows it"
                    returned = await one_status(nodes, 3)
                    await load.make(CALLS)
                    now = await elsewhere.kv().get(b"key")
                    assert now is not None and now.value == b"new", "what the paused node was asked to do never happens"
            me = next(member for member in returned.members if member.name == victim.name)
            assert me.incarnation > victim.incarnation, "it came back as a new incarnation"
            await assert_nobody_was_cheated(nodes, load.records)

    on_processes(story())


def garbage() -> list[bytes]:
    """What comes to the port of a node from who knows where (SCENARIOS 41)."""
    rng = random.Random(41)
    hello = encode_frame(Kind.HELLO, HELLO.encode(Hello(PROTOCOL_VERSION, "", 1, 1)))
    stranger = Member("mallory", "nowhere:1", 1)
    nonsense = Ballot(1 << 62, "mallory", 1 << 62)
    hostile = [
        Command(-1, "KV", 1 << 62, -1, 1 << 62, "put", 0, b"\xff" * 100),
        Command(1, "KV", 0, 0, 0, "no such operation", -1, b""),
        Query(1 << 63, "\0" * 1000, "get", 1, rng.randbytes(1000)),
        Query(5, "KV", "get", 1, b"", True),
        Watch(6, "KV", -1, "watch@1", 0, b"\xff", -(1 << 62), 1 << 62),
        WatchMore(7, 6, -(1 << 62)),
        Unwatch(8, 1 << 62),
        Describe(6, "\N{SNOWMAN}" * 1000),
        Envelope(0, stranger, Held(1 << 62, nonsense)),
        Envelope(-1, stranger, Pull(-1, 1 << 62, -1, -1, 1 << 62, -1)),
    ]
    messages = [encode_frame(Kind.MESSAGE, CODEC.encode(each)) for each in hostile]
    broken = bytearray(hello)
    broken[-1] ^= 1
    return [
        *(rng.randbytes(size) for size in (1, 11, 12, 100, 100_000)),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        hello[:-1],
        bytes(broken),
        struct.pack("<IHBBI", 0, int.from_bytes(b"PX", "little"), 1, Kind.HELLO, (1 << 32) - 1),
        hello + struct.pack("<IHBBI", 0, int.from_bytes(b"PX", "little"), 1, Kind.MESSAGE, (1 << 32) - 1),
        *(hello + message for message in messages),
        *(hello + encode_frame(Kind.MESSAGE, rng.randbytes(size)) for size in (0, 1, 50, 5000)),
        *(hello + encode_frame(kind, b"") for kind in (0, Kind.HELLO, Kind.STATE, 255)),
        hello + bytes(rng.choice((byte, rng.randrange(256))) for byte in b"".join(messages)),
    ]


def test_garbage_on_the_port_costs_its_connection_and_nothing_else() -> None:
    """SCENARIOS 41."""

    async def story() -> None:
        async with Processes() as nodes:
            before = await one_status(nodes, 3)
            pids = [nodes.pid(name) for name in nodes.names]
            async with Load(nodes.addresses) as load:
                for data in garbage():
                    for address in nodes.addresses.values():
                        await _throw(address, data)
                await load.make(CALLS)
            after = await one_status(nodes, 3)
            assert (after.view, after.members) == (before.view, before.members), "no view changed because of it"
            assert [nodes.pid(name) for name in nodes.names] == pids
            assert_no_error_reached_a_client(load.records)
            await assert_nobody_was_cheated(nodes, load.records)

    on_processes(story())


async def _throw(address: str, data: bytes) -> None:
    """Send it and end our side.  That the node then ends its own shows that it has read all that it wants to."""
    reader, writer = await asyncio.open_connection(HOST, int(address.rpartition(":")[2]))
    try:
        writer.write(data)
        writer.write_eof()
        await reader.read()
    except ConnectionError:
        pass  # it was cut off in the middle of what it sent
    finally:
        writer.close()
