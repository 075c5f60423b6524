"""Addresses that lead nowhere, or back: how long they are dialled, and how many a node has to do with."""

import asyncio
import socket
from contextlib import ExitStack

import pytest

from phalanx.model.machine import LinkUp, Refused
from phalanx.runtime import dialling, transport
from tests.runtime.test_transport import HOST, hello, is_cut, node, stranger
from tests.runtime.toys import PATIENCE_S, on_loop, say


async def until_gone(links: dict[str, dialling.Link]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while links:
            await asyncio.sleep(0)


def test_a_node_that_is_given_its_own_address_under_another_name_finds_out_and_dials_it_no_more() -> None:
    async def work() -> None:
        async with node() as (a, ear):
            alias = f"localhost:{a.address.rpartition(':')[2]}"
            say(a, alias, "hello, me")
            await until_gone(a._dialler.links)
            assert alias in a._dialler.own_names
            say(a, alias, "again")
            assert not a._dialler.links and not a.explain() and not ear.heard
            reader, writer = await stranger(a.address)
            writer.write(hello(alias, instance=77))
            await is_cut(reader)  # somebody says that it listens here
            writer.close()
            async with node() as (b, _):
                say(a, b.address, "others")
                await ear.event(LinkUp(b.address))

    on_loop(work)


def test_an_address_that_nobody_needs_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that has been there for years has had very many members."""
    monkeypatch.setattr(dialling, "REDIALS_QUIET_MAX", 2)

    async def work() -> None:
        async with node() as (a, ear):
            with socket.create_server((HOST, 0)) as listener:
                address = f"{HOST}:{listener.getsockname()[1]}"
            say(a, address, "is somebody there?")
            for _ in range(4):
                await ear.event(Refused(address))
            await until_gone(a._dialler.links)
            say(a, address, "and now?")
            await ear.event(Refused(address))

    on_loop(work)


def test_beyond_the_limit_of_peers_none_is_dialled_and_none_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dialling, transport):
        monkeypatch.setattr(module, "PEERS_MAX", 1)

    async def work() -> None:
        async with node() as (a, ear), node() as (b, ear_b), node() as (c, ear_c):
            say(a, b.address, "first")
            await ear_b.message("first")
            say(a, c.address, "one too many")
            assert list(a._dialler.links) == [b.address]
            reader, writer = await stranger(a.address)
            writer.write(hello("127.0.0.1:9", instance=77))
            await is_cut(reader)
            writer.close()
            say(b, a.address, "still here")
            await ear.message("still here")
            assert not ear_c.heard

    on_loop(work)


def test_an_address_that_does_not_answer_is_explained_and_not_taken_for_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its host may be cut off: that nobody listens there is not known."""
    monkeypatch.setattr(dialling, "HANDSHAKE_S_MAX", 0.05)

    async def work() -> None:
        with ExitStack() as kept:
            silent = kept.enter_context(socket.create_server((HOST, 0), backlog=0))
            for _ in range(3):  # beyond what the kernel accepts in its place
                filling = kept.enter_context(socket.socket())
                filling.setblocking(False)
                filling.connect_ex(silent.getsockname())
            address = f"{HOST}:{silent.getsockname()[1]}"
            async with node() as (a, ear):
                say(a, address, "is somebody there?")
                async with asyncio.timeout(PATIENCE_S):
                    while "it does not answer" not in a.explain():
                        await asyncio.sleep(0)
                assert not ear.heard

    on_loop(work)
