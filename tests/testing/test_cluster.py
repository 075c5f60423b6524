"""`phalanx.testing.cluster`: nodes that are killed, paused and cut off, inside the test's process and as real ones."""

import asyncio
import inspect
import json
import re
import socket
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import phalanx
from phalanx import testing
from phalanx.errors import ConfigurationError
from phalanx.model.machine import LinkDown, LinkUp, Refused
from phalanx.runtime.contract import LinkEvent
from phalanx.runtime.loop import run
from phalanx.runtime.memory import HELD_MAX, MemoryNetwork
from phalanx.testing.nodes import LocalNodes
from phalanx.testing.severed import Severable
from tests.testing.subjects import Bank, Ledger

PATIENCE_S = 60.0
"""It stops what hangs and judges no speed."""

real = [pytest.mark.real, pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")]
KINDS = [pytest.param(False, id="local"), pytest.param(True, id="real", marks=real)]
each_kind = pytest.mark.parametrize("real", KINDS)


def in_cluster(work: Callable[[testing.Nodes], Awaitable[None]], arranged: testing.Arranged) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE_S), arranged as nodes:
            await work(nodes)

    run(main())


@each_kind
def test_nodes_are_killed_and_come_back(real: bool) -> None:
    async def story(nodes: testing.Nodes) -> None:
        async with nodes.connect(PATIENCE_S) as client:
            bank = client.object(Bank)
            assert await bank.call(Bank.deposit, "ann", 3) == 3
            await nodes.kill("a")
            assert list(nodes.running) == ["b", "c"]
            assert await bank.call(Bank.deposit, "ann", 4) == 7
            await nodes.restart("b")  # it was running
            await nodes.start("a")
            await nodes.wait_until_full()
            assert list(nodes.running) == list(nodes.names) == ["a", "b", "c"]
            assert await bank.call(Bank.balance, "ann") == 7

    in_cluster(story, testing.cluster(objects={"Bank": Bank}, real=real))


@each_kind
def test_what_is_durable_outlives_all_nodes(real: bool) -> None:
    """SCENARIOS 1."""

    async def story(nodes: testing.Nodes) -> None:
        async with nodes.connect(PATIENCE_S) as client:
            await client.kv().put(b"a", b"1")
        for name in nodes.names:
            await nodes.kill(name)
        assert not list(nodes.running)
        for name in nodes.names:
            await nodes.start(name)
        await nodes.wait_until_full()
        async with nodes.connect(PATIENCE_S) as client:
            item = await client.kv().get(b"a")
            assert item is not None and item.value == b"1"

    in_cluster(story, testing.cluster(durable=True, real=real))


@each_kind
def test_a_node_that_is_cut_off_is_left_behind_and_comes_back(real: bool) -> None:
    """SCENARIOS 14 and 18."""

    async def story(nodes: testing.Nodes) -> None:
        async with nodes.connect(PATIENCE_S) as client:
            store = client.kv()
            await store.put(b"before", b"")
            await nodes.partition("a")
            await nodes.wait_until_full("bc")
            alone = (await nodes.statuses())["a"]
            assert alone is None or alone.state != "member", "a minority is fenced"
            await store.put(b"during", b"")
            await nodes.heal()
            await nodes.wait_until_full("abc")
            assert await store.count() == 2

    in_cluster(story, testing.cluster(real=real))


@each_kind
def test_the_eldest_of_two_goes_on_when_they_are_cut(real: bool) -> None:
    async def story(nodes: testing.Nodes) -> None:
        status = (await nodes.statuses())["a"]
        assert status is not None
        eldest = status.members[0].name
        await nodes.cut("a", "b")
        await nodes.wait_until_full(eldest)
        await nodes.heal()
        await nodes.wait_until_full()

    in_cluster(story, testing.cluster(2, real=real))


@each_kind
def test_a_paused_node_is_left_behind_and_finds_back(real: bool) -> None:
    """SCENARIOS 16."""

    async def story(nodes: testing.Nodes) -> None:
        async with nodes.connect(PATIENCE_S) as client:
            store = client.kv()
            await store.put(b"before", b"")
            await nodes.pause("a")
            await nodes.wait_until_full()  # of those that are not paused
            assert (await nodes.statuses())["a"] is None
            await store.put(b"during", b"")
            await nodes.resume("a")
            await nodes.wait_until_full()
            assert await store.count() == 2

    in_cluster(story, testing.cluster(real=real))


def test_a_partition_has_sides_and_what_is_not_named_is_one_more() -> None:
    seen = []

    class Watched(LocalNodes):
        async def _cut_just(self, cuts: set[frozenset[str]]) -> None:
            seen.append({"".join(sorted(pair)) for pair in cuts})
            await super()._cut_just(cuts)

    async def story() -> None:
        nodes = Watched(testing.cluster(5)._wish)
        await nodes.partition("ab", "c")
        await nodes.cut("a", "b")
        await nodes.partition(["a"])
        await nodes.heal()

    asyncio.run(story())
    sides = {"ac", "bc", "ad", "ae", "bd", "be", "cd", "ce"}
    assert seen == [sides, sides | {"ab"}, {"ab", "ac", "ad", "ae"}, set()]


@each_kind
def test_threads_get_the_same(real: bool) -> None:
    before = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with testing.cluster(real=real) as nodes:
            with nodes.connect(PATIENCE_S) as client:
                client.kv().put(b"a", b"1")
                nodes.kill("a")
                assert client.kv().get(b"a") is not None and list(nodes.running) == ["b", "c"]
            nodes.restart("a")
            nodes.wait_until_full()
            statuses = nodes.statuses()
            assert statuses["a"] is not None and statuses["a"].state == "member"
    assert {each for each in threading.enumerate() if each.name == "phalanx"} <= before


def test_both_kinds_have_the_same_methods() -> None:
    public = {name for name in dir(testing.Nodes) if not name.startswith("_")} - {"run", "poll_s"}
    assert public <= set(dir(testing.SyncNodes))
    for name in public:
        aio, own = getattr(testing.Nodes, name), getattr(testing.SyncNodes, name)
        if callable(aio):
            assert list(inspect.signature(aio).parameters) == list(inspect.signature(own).parameters)


@pytest.mark.real
def test_real_nodes_have_addresses_for_programs_of_ones_own() -> None:
    async def story(nodes: testing.Nodes) -> None:
        host, _, port = nodes.addresses["a"].rpartition(":")
        with socket.create_connection((host, int(port))):
            pass

    in_cluster(story, testing.cluster(1, real=True))


def test_what_makes_no_sense_is_refused() -> None:
    class Local:
        count: int = 0

        @phalanx.command
        def add(self) -> None: ...

    for options, why in (
        ({"nodes": 0}, "1 to 26 nodes, not 0"),
        ({"nodes": 27}, "1 to 26 nodes, not 27"),
        ({"objects": {"Local": Local}, "real": True}, "defined inside a function"),
        ({"objects": {"json": json.JSONDecoder}}, "no method marked"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            testing.cluster(**options)

    async def story(nodes: testing.Nodes) -> None:
        await nodes.kill("b")
        for wrong, why in (
            (nodes.kill("z"), "no node 'z': there are a"),
            (nodes.start("a"), "a runs already"),
            (nodes.cut("a", "a"), "from itself"),
            (nodes.partition("a", "a"), "two sides"),
            (nodes.partition("c"), "no node 'c'"),
            (nodes.wait_until_full("z"), "no node 'z'"),
            (nodes.wait_until_full("ab", 0.1), "no view of just a, b within 0.1 s: a: .*b: no answer"),
        ):
            with pytest.raises((ConfigurationError, testing.NotReached), match=why):
                await wrong
        with pytest.raises(ConfigurationError, match="ask for real=True"):
            _ = nodes.addresses
        with pytest.raises(ConfigurationError, match="b is down"):
            await nodes.pause("b")
        await nodes.kill("a")
        with pytest.raises(ConfigurationError, match="a is down"):
            await nodes.pause("a")

    in_cluster(story, testing.cluster(2))


def test_a_cluster_that_has_not_begun_says_how_to_begin_it() -> None:
    arranged: Any = testing.cluster(1)
    with pytest.raises(AttributeError, match=r"no 'connect' before it begins: .* `as nodes`, and use nodes.connect"):
        arranged.connect()
    assert not hasattr(arranged, "no_such_thing")


def test_who_waits_in_vain_is_told_which_group_a_node_does_not_host() -> None:
    """All are full members of one view, and this said no more than that."""

    async def story(nodes: testing.Nodes) -> None:
        await nodes.restart("b", classes={"Bank": Ledger})
        for _ in range(20):  # soon it is a member, and then it stays as it is
            with pytest.raises(testing.NotReached) as told:
                await nodes.wait_until_full(timeout_s=1)
            if "b: member" in str(told.value):
                break
        assert re.search(r"b: member in view \d+ of a c b, Bank at a c;", str(told.value)), told.value

    in_cluster(story, testing.cluster(3, objects={"Bank": Bank}))


def test_a_cluster_can_begin_again_as_a_new_one() -> None:
    arranged = testing.cluster(1, durable=True)
    for _ in range(2):
        with arranged as nodes, nodes.connect(PATIENCE_S) as client:
            assert client.kv().count() == 0
            client.kv().put(b"a", b"")
    assert repr(arranged) == "<a cluster of 1 nodes in this process, hosting KV>"


def test_a_cluster_that_runs_cannot_begin_again_before_its_end() -> None:
    """The first would be left running, and nobody could end it."""

    async def story(nodes: testing.Nodes) -> None:
        with pytest.raises(RuntimeError, match="this cluster runs already"):
            await arranged.__aenter__()
        with pytest.raises(RuntimeError, match="this cluster runs already"):
            arranged.__enter__()
        assert list(nodes.running) == ["a"]

    arranged = testing.cluster(1)
    in_cluster(story, arranged)
    with arranged as nodes:
        with pytest.raises(RuntimeError, match="this cluster runs already"):
            arranged.__enter__()
        assert list(nodes.running) == ["a"]
    with pytest.raises(phalanx.PhalanxError):
        nodes.start("a")


def test_no_node_at_all_is_nothing_to_wait_for_nor_to_connect_to() -> None:
    async def story(nodes: testing.Nodes) -> None:
        with pytest.raises(ConfigurationError, match="name a node"):
            await nodes.wait_until_full("")
        with pytest.raises(ConfigurationError, match="name a node that the client is to know"):
            nodes.connect(names="")
        await nodes.kill("a")
        with pytest.raises(ConfigurationError, match="none runs that is not paused"):
            await nodes.wait_until_full()

    in_cluster(story, testing.cluster(1))


def test_a_cluster_that_does_not_begin_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        raise testing.NotReached("planted")

    monkeypatch.setattr(testing.Nodes, "wait_until_full", never)
    with pytest.raises(testing.NotReached), testing.cluster(1):
        raise AssertionError("it began")
    assert not [each for each in threading.enumerate() if each.name == "phalanx"]


# --- cutting off --------------------------------------------------------------------------------------------------------


class Wire:
    """A transport that remembers what was asked, and the receiver that is told."""

    address = "me:1"

    def __init__(self) -> None:
        self.sent: list[tuple[tuple[str, ...], bytes]] = []
        self.got: list[object] = []

    def start(self, receiver: object) -> None: ...
    def connect(self, address: str) -> None: ...
    def flush(self) -> None: ...
    def drop(self, address: str, reason: str) -> None: ...
    async def close(self) -> None: ...

    def send(self, to: object, body: bytes) -> None:
        assert isinstance(to, (list, tuple))
        self.sent.append((tuple(to), body))

    def received(self, source: str, body: object) -> None:
        self.got.append((source, body))

    def link(self, event: LinkEvent) -> None:
        self.got.append(event)


def test_a_severed_peer_is_not_heard_nor_told_and_its_end_is_known_once_it_has_healed() -> None:
    wire = Wire()
    transport = Severable(wire)
    transport.start(wire)
    assert transport.address == "me:1"
    transport.link(LinkUp("b:1"))
    transport.cut("b:1")
    transport.send(["b:1", "c:1"], b"x")
    transport.received("b:1", b"y")
    transport.received("c:1", b"z")
    for event in (LinkDown("b:1"), Refused("b:1"), LinkUp("b:1"), LinkDown("b:1"), LinkUp("b:1")):
        transport.link(event)
    transport.link(LinkUp("c:1"))
    assert wire.sent == [(("c:1",), b"x")]
    assert wire.got == [LinkUp("b:1"), ("c:1", b"z"), LinkUp("c:1")]
    transport.heal("b:1")
    transport.heal("b:1")
    transport.send(["b:1"], b"x")
    assert wire.got[3:] == [LinkDown("b:1"), LinkUp("b:1")] and wire.sent[1:] == [(("b:1",), b"x")]


def test_a_node_that_hangs_is_not_kept_more_for_it_than_the_limit() -> None:
    async def story() -> int:
        network = MemoryNetwork()
        one, other = network.transport("a"), network.transport("b")
        heard = Wire()
        other.start(heard)
        one.start(Wire())
        network.hang("b")
        for _ in range(HELD_MAX + 10):
            one.send(["b"], b"x")
            one.flush()
        other.send(["a"], b"lost")
        other.flush()
        await asyncio.sleep(0)
        assert heard.got == []
        network.go_on("b")
        await asyncio.sleep(0)
        await one.close()
        await other.close()
        return len(heard.got)

    assert asyncio.run(story()) == HELD_MAX
