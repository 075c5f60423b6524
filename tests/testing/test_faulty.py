"""Real processes that fail without crashing (testing/faulty.py), and what their cluster makes of it."""

import asyncio
import random
import sys

import pytest

from phalanx import testing
from phalanx.errors import ConfigurationError
from phalanx.model.machine import LinkDown, LinkUp
from phalanx.runtime.contract import LinkEvent
from phalanx.runtime.loop import run
from phalanx.testing.faulty import SLOW_S_MAX, Failures, Faulty
from phalanx.wire.errors import WireError
from tests.testing.subjects import Bank
from tests.testing.test_cluster import Wire, in_cluster


def faulty(**failures: float) -> tuple[Faulty, Wire]:
    wire = Wire()
    transport = Faulty(wire, ["b:1", "c:1"], random.Random(1))
    transport.start(wire)
    transport.fail(Failures(**failures))
    return transport, wire


def test_send_omission_loses_what_is_sent_to_peers_and_receive_omission_what_comes_from_them() -> None:
    transport, wire = faulty(send_omission=0.5)
    for number in range(200):
        transport.send(["b:1", "~client"], b"%d" % number)
        transport.received("b:1", b"%d" % number)
    assert 70 < sum(to == ("b:1",) for to, _ in wire.sent) < 130
    assert sum(to == ("~client",) for to, _ in wire.sent) == len(wire.got) == 200
    transport, wire = faulty(receive_omission=0.5)
    for number in range(200):
        transport.send(["b:1"], b"%d" % number)
        transport.received("b:1", b"%d" % number)
        transport.received("~client", b"%d" % number)
    assert len(wire.sent) == 200 and 270 < len(wire.got) < 330
    transport.fail(Failures())
    transport.received("b:1", b"again")
    assert wire.got[-1] == ("b:1", b"again")


def test_a_wrong_value_is_one_byte_and_the_same_for_all_and_replays_are_what_was_said_before() -> None:
    transport, wire = faulty(value=1.0)
    transport.send(["b:1", "c:1", "~client"], b"abc")
    (_, one), (_, two), (_, right) = wire.sent
    assert one == two != b"abc" == right and sum(a != b for a, b in zip(one, right, strict=True)) == 1
    transport, wire = faulty(replay=1.0)
    for number in range(5):
        transport.send(["b:1"], b"%d" % number)
    said = [body for _, body in wire.sent]
    assert len(said) == 9 and set(said) == {b"%d" % number for number in range(5)}


def test_what_is_slow_comes_late_and_in_order_and_a_connection_ends_after_what_came_on_it() -> None:
    class Ending(Wire):
        def link(self, event: LinkEvent) -> None:
            super().link(event)
            if event == LinkUp("b:1"):
                last.set()

    last = asyncio.Event()

    async def main() -> None:
        wire = Ending()
        transport = Faulty(wire, ["b:1"], random.Random(1))
        transport.start(wire)
        transport.fail(Failures(slow_s=0.02))
        transport.received("b:1", memoryview(b"1"))
        transport.received("b:1", b"2")
        transport.link(LinkDown("b:1"))
        transport.fail(Failures())
        transport.received("b:1", b"3")
        transport.link(LinkUp("b:1"))
        assert wire.got == []
        await last.wait()
        assert wire.got == [("b:1", b"1"), ("b:1", b"2"), LinkDown("b:1"), ("b:1", b"3"), LinkUp("b:1")]
        transport.received("b:1", b"4")
        assert wire.got[-1] == ("b:1", b"4")

    run(main())


def test_what_is_late_already_stays_so_when_the_process_is_quick_again() -> None:
    async def main() -> None:
        transport, wire = faulty(slow_s=SLOW_S_MAX)
        transport.received("b:1", b"1")
        transport.fail(Failures())
        transport.received("b:1", b"2")
        for _ in range(10):
            await asyncio.sleep(0)
        assert wire.got == []

    run(main())


def test_a_peer_that_breaks_the_protocol_is_dropped_though_late() -> None:
    class Strict(Wire):
        def __init__(self) -> None:
            super().__init__()
            self.dropped: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def received(self, source: str, body: object) -> None:
            del source, body
            raise WireError("no message")

        def drop(self, address: str, reason: str) -> None:
            self.dropped.set_result(f"{address}: {reason}")

    async def main() -> None:
        wire = Strict()
        transport = Faulty(wire, ["b:1"], random.Random(1))
        transport.start(wire)
        transport.fail(Failures(slow_s=0.01))
        transport.received("b:1", b"x")
        assert await wire.dropped == "b:1: no message"

    run(main())


def test_fractions_and_times_are_checked_and_local_nodes_refuse() -> None:
    for wrong in ({"value": 1.1}, {"send_omission": -0.1}, {"replay": 2}, {"slow_s": SLOW_S_MAX + 1}, {"slow_s": -1}):
        with pytest.raises(ConfigurationError):
            Failures(**wrong).check()

    async def story(nodes: testing.Nodes) -> None:
        with pytest.raises(ConfigurationError, match="real=True"):
            await nodes.fail("a", send_omission=0.5)
        with pytest.raises(ConfigurationError, match="no node 'z'"):
            await nodes.fail("z")
        await nodes.heal()

    in_cluster(story, testing.cluster())


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_real_cluster_serves_while_one_process_omits_and_is_slow_and_is_whole_when_it_has_healed() -> None:
    async def story(nodes: testing.Nodes) -> None:
        async with nodes.connect(60.0, "bc") as client:
            bank = client.object(Bank)
            await nodes.fail("a", send_omission=0.3, receive_omission=0.3, slow_s=0.05)
            for _ in range(20):
                await bank.call(Bank.deposit, "ann", 1)
            await nodes.fail("a", send_omission=1.0)
            await nodes.wait_until_full("bc")
            assert await bank.call(Bank.deposit, "ann", 1) == 21
            await nodes.heal()
            await nodes.wait_until_full()
            assert await bank.call(Bank.balance, "ann") == 21

    in_cluster(story, testing.cluster(objects={"Bank": Bank}, real=True))
