"""A process on a multicast channel, for tests/real/test_multicast.py: it publishes, hears others, and tells what came.

    python -m tests.real.multicast_peer NAME INTERFACE ADDRESS OTHERS COUNT LOSS

It goes on answering requests until its standard input ends.
"""

import asyncio
import hashlib
import json
import sys

import phalanx
from phalanx.api.channel import GROUP, Channel, opened
from phalanx.model.clock import MILLISECOND
from phalanx.multicast.config import ChannelConfig, ChannelTiming
from phalanx.runtime.datagrams import MulticastTransport
from tests.lossy import Lossy

TIMING = ChannelTiming(round_trip=5 * MILLISECOND, receivers=5)


def payload(name: str, number: int) -> bytes:
    """Some fill several datagrams."""
    return f"{name} {number} ".encode() * (1 + number % 7 * 40)


def digest(payloads: list[bytes]) -> str:
    """Of all of them, in order."""
    return hashlib.sha256(b"".join(payloads)).hexdigest()


async def main(name: str, interface: str, address: str, others: int, count: int, loss: float) -> None:
    transport = Lossy(MulticastTransport.join(address, interface, 1), loss, name)
    config = ChannelConfig("test", name, (GROUP,), timing=TIMING)
    got: dict[str, list[bytes]] = {}
    async with opened(Channel(config, transport), 0.0) as channel:

        async def publish() -> None:
            for number in range(count):
                await channel.send(payload(name, number))

        publisher = asyncio.create_task(publish())
        async for heard in channel:
            got.setdefault(heard.sender, []).append(heard.payload)
            if sum(map(len, got.values())) == others * count:
                break
        await publisher
        told = {"got": {sender: digest(payloads) for sender, payloads in got.items()}, "lost": transport.lost}
        print(json.dumps(told | {"counts": channel.counts}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    which, where, group, peers, messages, share = sys.argv[1:]
    phalanx.run(main(which, where, group, int(peers), int(messages), float(share)))
