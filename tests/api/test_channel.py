"""Multicast channels through the public interface, on real sockets of this machine, with and without loss."""

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

import phalanx
from phalanx.api.channel import CODEC, GROUP, Channel, opened
from phalanx.model.clock import MILLISECOND
from phalanx.multicast.config import ChannelConfig, ChannelLimits, ChannelTiming
from phalanx.multicast.messages import Beat
from phalanx.runtime.datagrams import MulticastTransport
from phalanx.wire.frame import Kind, encode_frame
from tests.api.cluster import PATIENCE_S
from tests.api.test_joining import made
from tests.lossy import Lossy

T = TypeVar("T")

_ports = itertools.count(20_000 + os.getpid() % 20_000)
"""Of tests that run at the same time each has its own."""

QUICK = ChannelTiming(round_trip=2 * MILLISECOND, receivers=3)


def address() -> str:
    return f"239.192.77.1:{next(_ports)}"


def run(work: Coroutine[Any, Any, T]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(PATIENCE_S):
            return await work

    return phalanx.run(limited())


@pytest.fixture(autouse=True)
def _multicast_works() -> None:
    async def find_out() -> None:
        try:
            await MulticastTransport.join(address(), "127.0.0.1", 1).close()
        except OSError as error:
            pytest.skip(f"this machine has no IPv4 multicast on its loopback interface: {error}")

    run(find_out())


@asynccontextmanager
async def end(
    where: str, name: str, loss: float = 0.0, limits: ChannelLimits = ChannelLimits(), seed: int = 1
) -> AsyncIterator[Channel]:
    transport = Lossy(MulticastTransport.join(where, "127.0.0.1", 1), loss, f"{seed}/{name}")
    async with opened(Channel(ChannelConfig("test", name, (GROUP,), limits, QUICK), transport), 0.0) as made:
        yield made


async def first(of: Channel, count: int) -> list[phalanx.Heard]:
    got: list[phalanx.Heard] = []
    if count:
        async for heard in of:
            got.append(heard)
            if len(got) == count:
                break
    return got


def test_what_one_sends_all_others_hear_in_order() -> None:
    async def work() -> list[list[phalanx.Heard]]:
        where = address()
        async with end(where, "a") as a, end(where, "b") as b, end(where, "c") as c:
            for number in range(100):
                await a.send(b"%d" % number)
            return [await first(b, 100), await first(c, 100)]

    for got in run(work()):
        assert [heard.payload for heard in got] == [b"%d" % number for number in range(100)]
        assert {heard.sender for heard in got} == {"a"} and len({heard.life for heard in got}) == 1


@pytest.mark.parametrize("loss", [0.1, 0.4])
def test_all_is_repaired_whatever_is_lost(loss: float) -> None:
    """Each of three sends, and loses that part of what it receives; large payloads are put together from fragments."""
    names, count = ("a", "b", "c"), 60
    payloads = {name: [name.encode() * (1 + 97 * number) for number in range(count)] for name in names}

    async def work() -> tuple[list[list[phalanx.Heard]], dict[str, int]]:
        where = address()
        async with end(where, "a", loss) as a, end(where, "b", loss) as b, end(where, "c", loss) as c:
            for number in range(count):
                for channel in (a, b, c):
                    await channel.send(payloads[channel.sender][number])
            got = await asyncio.gather(*(first(channel, 2 * count) for channel in (a, b, c)))
            return got, {what: a.counts.get(what, 0) for what in ("multicast.nack", "multicast.repair")}

    got, counts = run(work())
    for name, heard in zip(names, got, strict=True):
        for other in names:
            mine = [each.payload for each in heard if each.sender == other]
            assert mine == ([] if other == name else payloads[other])
    assert min(counts.values()) > 0


def test_one_that_comes_later_hears_it_all_while_all_is_kept() -> None:
    async def work() -> list[phalanx.Heard]:
        where = address()
        async with end(where, "a") as a:
            await a.send(b"early")
            await a.sent()
            async with end(where, "b") as b:
                return await first(b, 1)

    assert [heard.payload for heard in run(work())] == [b"early"]


def test_one_that_is_too_far_behind_is_told_and_goes_on() -> None:
    small = ChannelLimits(datagram=100, payload=1_000, queue=1 << 20, retained=4_000, ahead=3_000, backlog=3_000)

    async def work() -> tuple[list[bytes], phalanx.TooFarBehind, list[bytes]]:
        where = address()
        async with end(where, "a", limits=small) as a, end(where, "b", limits=small) as b:
            await a.send(b"0")
            before = await first(b, 1)
            for number in range(1, 500):  # b reads nothing: its backlog fills, then what it holds, then a forgets
                await a.send(b"%d" % number + b"." * 90)
            await a.sent()
            got: list[bytes] = []
            with pytest.raises(phalanx.TooFarBehind) as raised:
                async for heard in b:
                    got.append(heard.payload)
            while not got or not got[-1].startswith(b"499"):
                try:
                    async for heard in b:
                        got.append(heard.payload)
                        if heard.payload.startswith(b"499"):
                            break
                except phalanx.TooFarBehind:
                    continue
            return [heard.payload for heard in before], raised.value, got

    before, error, got = run(work())
    assert before == [b"0"] and error.sender == "a" and error.fragments > 0
    numbers = [int(payload.rstrip(b".")) for payload in got]
    assert numbers == sorted(set(numbers)) and len(numbers) < 499
    assert "too far behind" in str(error)


def test_a_sender_waits_for_room() -> None:
    """The queue is never longer than its limit, and nothing of it is lost."""
    limits = ChannelLimits(datagram=1_000, payload=1_000, queue=5_000, ahead=50_000, rate=1 << 20, burst=2_000)

    async def work() -> tuple[int, int]:
        where = address()
        most = 0
        async with end(where, "a", limits=limits) as a, end(where, "b", limits=limits) as b:
            reader = asyncio.create_task(first(b, 200))
            for _ in range(200):
                await a.send(b"." * 1_000)
                most = max(most, a._unsent)
            return most, len(await reader)

    most, count = run(work())
    assert count == 200 and 1_000 < most <= 5_000


def test_strangers_cost_nothing() -> None:
    """SCENARIOS 41: garbage, a frame of another kind, a frame that is cut off, a message of another type."""

    async def work() -> tuple[int, list[phalanx.Heard]]:
        where = address()
        host, _, port = where.rpartition(":")
        inner = MulticastTransport.join(where, "127.0.0.1", 1)
        body = CODEC.encode(Beat("test", 5, "s", 1, 0))
        async with (
            opened(Channel(ChannelConfig("test", "b", (GROUP,), timing=QUICK), inner), 0.0) as b,
            end(where, "a") as a,
        ):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
                frame = encode_frame(Kind.MULTICAST, body)
                for data in (b"", b"garbage", encode_frame(Kind.HELLO, body), frame[:-1], frame + b"x"):
                    stranger.sendto(data, (host, int(port)))
                stranger.sendto(encode_frame(Kind.MULTICAST, b"\x93\x01\x02\x03"), (host, int(port)))
            await a.send(b"x")
            got = await first(b, 1)
            return inner.dropped, got

    dropped, got = run(work())
    assert dropped == 6 and [heard.payload for heard in got] == [b"x"]


def test_the_end_of_the_block_sends_what_is_queued_and_answers_for_a_while() -> None:
    async def work() -> list[phalanx.Heard]:
        where = address()
        async with end(where, "b", loss=0.5) as b:
            async with phalanx.channel(
                "test", "a", address=where, interface="127.0.0.1", linger_s=1.0, timing=QUICK
            ) as a:
                for number in range(50):
                    await a.send(b"%d" % number)
            with pytest.raises(phalanx.Unavailable):
                await a.send(b"late")
            return await first(b, 50)

    assert [heard.payload for heard in run(work())] == [b"%d" % number for number in range(50)]


def test_an_iteration_ends_with_the_channel() -> None:
    async def work() -> int:
        async with end(address(), "a") as a:
            reader = asyncio.create_task(first(a, 1))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="iterated already"):
                await first(a, 1)
            await a.close()
            return len(await reader)

    assert run(work()) == 0


def test_a_payload_may_be_as_large_as_its_limit_and_no_larger() -> None:
    async def work() -> None:
        async with end(address(), "a", limits=ChannelLimits(payload=10_000)) as a:
            await a.send(b"x" * 10_000)
            with pytest.raises(phalanx.TooLarge, match="limit of a payload is 10000"):
                await a.send(b"x" * 10_001)

    run(work())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"address": "10.0.0.1:7700"}, "no IPv4 multicast address"),
        ({"address": "239.1.1.1"}, "no IPv4 multicast address"),
        ({"address": "239.1.1.1:0"}, "no IPv4 multicast address"),
        ({"interface": "eth0"}, "no IPv4 address of an interface"),
        ({"hops": 256}, "from 0 to 255"),
        ({"sender": ""}, "1 to 64 letters"),
        ({"name": "n" * 65}, "1 to 64 letters"),
        ({"limits": ChannelLimits(rate=0)}, "rate is 0"),
        ({"name": "\ud800"}, "name cannot be encoded"),
        ({"sender": "\ud800"}, "sender cannot be encoded"),
        ({"linger_s": float("nan")}, "a finite number of seconds"),
        ({"linger_s": float("inf")}, "a finite number of seconds"),
        ({"linger_s": -1}, "from 0 to"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    async def work() -> None:
        asked = {"name": "n", "sender": "s", "address": address(), "interface": "127.0.0.1"} | settings
        with pytest.raises(phalanx.ConfigurationError, match=said):
            async with phalanx.channel(**asked):
                pass

    run(work())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": 5}, "name must be a str, not int"),
        ({"sender": ["s"]}, "sender must be a str, not list"),
        ({"hops": "1"}, "hops must be an int, not str"),
        ({"hops": 1.5}, "hops must be an int, not float"),
        ({"address": b"239.1.1.1:7700"}, "address must be a str, not bytes"),
        ({"interface": b"\x7f\0\0\1"}, "interface must be a str, not bytes"),
        ({"linger_s": "1"}, "a number of seconds, not str"),
        ({"limits": 5}, "limits are phalanx.ChannelLimits"),
        ({"timing": 5}, "timing is a phalanx.ChannelTiming"),
        ({"limits": made(ChannelLimits, queue=5e6)}, "queue must be an int, not 5000000.0"),
        ({"timing": made(ChannelTiming, spread="5")}, "spread must be an int, not '5'"),
    ],
)
def test_settings_of_other_types_are_refused(settings: dict[str, Any], said: str) -> None:
    async def work() -> None:
        asked = {"name": "n", "sender": "s", "address": address(), "interface": "127.0.0.1"} | settings
        with pytest.raises(TypeError, match=said):
            async with phalanx.channel(**asked):
                pass

    run(work())


@pytest.mark.parametrize("payload", ["text", 5, [1, 2], ["a"], None, (300,)])
def test_a_payload_that_is_not_bytes_is_refused_and_takes_no_room(payload: Any) -> None:
    async def work() -> None:
        async with end(address(), "a") as a:
            with pytest.raises(TypeError, match=r"a payload of channel .* must be bytes, not"):
                await a.send(payload)
            await a.sent()  # nothing waits to leave

    run(work())


def test_an_iteration_that_is_left_is_followed_by_another_at_once() -> None:
    async def first(channel: phalanx.Channel) -> bytes:
        async for heard in channel:
            return heard.payload
        raise AssertionError("the iteration ended")

    async def work() -> None:
        where = address()
        async with end(where, "a") as a, end(where, "b") as b:
            for payload in (b"1", b"2", b"3"):
                await a.send(payload)
            assert [await first(b) for _ in range(3)] == [b"1", b"2", b"3"]

    run(work())


def test_a_channel_is_of_its_loop() -> None:
    async def work() -> None:
        async with end(address(), "a") as a:

            def elsewhere() -> None:
                for ask in (lambda: a.send(b"x"), a.close, lambda: anext(aiter(a))):
                    with pytest.raises(RuntimeError, match="is of another event loop"):
                        asyncio.run(as_coroutine(ask))

            await asyncio.to_thread(elsewhere)
            await a.send(b"x")

    run(work())


async def as_coroutine(ask: Any) -> Any:
    return await ask()


def test_an_interface_that_is_not_there_is_named() -> None:
    async def work() -> None:
        with pytest.raises(OSError, match=r"on the interface 203\.0\.113\.1"):
            async with phalanx.channel("n", "s", address=address(), interface="203.0.113.1"):
                pass

    run(work())
