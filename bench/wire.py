"""What bytes and turns cost: the codec and frame per payload, and a round trip of one message through two drivers
against the same round trip of bare protocols on the same loop.  Run it: python -m bench.wire"""

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from bench.pingpong import TRIPS, WARM_UP, listen, trips_to
from phalanx.model.clock import Instant
from phalanx.model.machine import Output, Received, Send
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.driver import Driver
from phalanx.runtime.loop import run, tune_gc_for_server
from phalanx.runtime.transport import TcpTransport
from phalanx.wire.codec import Codec
from phalanx.wire.frame import FrameDecoder, Kind, encode_frame

PAYLOADS = 600
BALL_BYTES = 16
ROUNDS = 1_000


class Batch(msgspec.Struct, tag=1, array_like=True, frozen=True):
    """A message of many payloads."""

    payloads: list[bytes]


class Ping(msgspec.Struct, tag=2, array_like=True, frozen=True):
    """A message of one number."""

    number: int


CODEC: Codec[Batch | Ping] = Codec(Batch | Ping)


def ns_per_payload(work: Callable[[], object]) -> float:
    started = time.perf_counter_ns()
    for _ in range(ROUNDS):
        work()
    return (time.perf_counter_ns() - started) / ROUNDS / PAYLOADS


class Player:
    """Returns every ball; the one that serves counts the time of each trip in nanoseconds."""

    deadline = None

    def __init__(self, serves_to: str = "") -> None:
        self.trips: list[int] = []
        self._serves_to = serves_to
        self._served_at = 0

    def step(self, events: Iterable[Any], now: Instant) -> Output:  # noqa: ARG002 - times are taken close by
        output = Output()
        for event in events:
            if isinstance(event, Received):
                if self._serves_to:
                    self.trips.append(time.perf_counter_ns() - self._served_at)
                    if len(self.trips) == WARM_UP + TRIPS:
                        output.deliveries.append("done")
                        continue
            elif event != "serve":
                continue
            self._served_at = time.perf_counter_ns()
            to = event.source if isinstance(event, Received) else self._serves_to
            output.sends.append(Send((to,), Ping(len(self.trips))))
        return output


async def trips_of_drivers() -> list[int]:
    done = asyncio.get_running_loop().create_future()
    near, far = await TcpTransport.listen("127.0.0.1", 0), await TcpTransport.listen("127.0.0.1", 0)
    server = Player(far.address)
    drivers = [
        Driver(Player(), CODEC, far, MemoryDisk(), print),
        Driver(server, CODEC, near, MemoryDisk(), done.set_result),
    ]
    for driver in drivers:
        driver.start()
    drivers[1].submit("serve")
    await done
    for driver in drivers:
        await driver.close()
    return server.trips[WARM_UP:]


async def trips_of_bare_protocols() -> list[int]:
    server, port = await listen()
    trips = await trips_to(port, BALL_BYTES)
    server.close()
    return trips


async def main() -> None:
    message = Batch([os.urandom(100) for _ in range(PAYLOADS)])
    body = CODEC.encode(message)
    frame = encode_frame(Kind.MESSAGE, body)
    print(f"ns per payload of 100 B, {PAYLOADS} in a message:")
    print(f"  encode {ns_per_payload(lambda: CODEC.encode(message)):6.1f}")
    print(f"  decode {ns_per_payload(lambda: CODEC.decode(body)):6.1f}")
    print(f"  frame  {ns_per_payload(lambda: encode_frame(Kind.MESSAGE, body)):6.1f}")
    print(f"  parse  {ns_per_payload(lambda: FrameDecoder().feed(frame)):6.1f}")
    tune_gc_for_server()
    bare, ours = await trips_of_bare_protocols(), await trips_of_drivers()
    low, high = statistics.median(bare) / 1000, statistics.median(ours) / 1000
    print(f"round trip p50 in us: bare {low:.1f}, drivers {high:.1f}, ratio {high / low:.2f}")


if __name__ == "__main__":
    run(main())
