"""A load generator for the store: as little work as possible for each operation, so that the nodes are what is measured.

    python -m bench.loadgen put|get OUTSTANDING SESSIONS SECONDS HOST:PORT...

Speaks the clients' protocol by hand: `SESSIONS` connections, spread over the nodes, keep so many operations under way
in all.  No failover, no deadlines, no types: for everything but this use `phalanx.connect`.  Keys of 16 bytes, values of
128.  Prints one JSON line: operations per second, latency in us, and this process's share of one core, which tells
whether the client was the bottleneck.
"""

import argparse
import asyncio
import json
import random
import time
from typing import Any

import msgspec

from phalanx.replication.messages import Command, Opened, OpenSession, Query, Reply
from phalanx.replication.objects import describe
from phalanx.runtime.connection import HELLO, PROTOCOL_VERSION, Hello
from phalanx.runtime.loop import run
from phalanx.services.store.kv import KV
from phalanx.wire.frame import FrameDecoder, Kind, encode_frame

KEYS = 10_000
VALUE = bytes(128)
WARM_UP_S = 1.0

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Opened | Reply).decode


class Session(asyncio.Protocol):
    """One connection with its own session and its share of the outstanding operations."""

    def __init__(self, operation: str, outstanding: int, rng: random.Random) -> None:
        self.ready = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.ending = False
        self._rng = rng
        self._outstanding = outstanding
        kind = describe(KV)
        self._operation = kind.operation(KV.put if operation == "put" else KV.get)
        self._is_put = operation == "put"
        self._decoder = FrameDecoder()
        self._request = 0
        self._number = 0
        self._session = 0
        self._flight: dict[int, float] = {}

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(encode_frame(Kind.HELLO, HELLO.encode(Hello(PROTOCOL_VERSION, "", 1, 1))))
        transport.write(encode_frame(Kind.MESSAGE, _encode(OpenSession(self._next(), "KV"))))

    def data_received(self, data: bytes) -> None:
        answered = 0
        now = time.perf_counter()
        for kind, body in self._decoder.feed(data):
            if kind != Kind.MESSAGE:
                continue
            message = _decode(body)
            if isinstance(message, Opened):
                self._session = message.session
                self.ready.set_result(None)
                continue
            self.latencies.append(now - self._flight.pop(message.request))
            answered += 1
        if answered and not self.ending:
            self.submit(answered)

    def begin(self) -> None:
        self.submit(self._outstanding)

    def submit(self, count: int) -> None:
        operation, frames = self._operation, []
        now = time.perf_counter()
        for _ in range(count):
            key = b"%016d" % self._rng.randrange(KEYS)
            request = self._next()
            self._flight[request] = now
            message: Command | Query
            if self._is_put:
                self._number += 1
                low = self._number - len(self._flight) + 1
                arguments = _encode((key, VALUE, 0))
                message = Command(
                    request, "KV", self._session, self._number, max(1, low), operation.id, operation.types, arguments
                )
            else:
                message = Query(request, "KV", operation.id, operation.types, _encode((key, None)))
            frames.append(encode_frame(Kind.MESSAGE, _encode(message)))
        self._transport.write(b"".join(frames))

    def _next(self) -> int:
        self._request += 1
        return self._request


async def generate(operation: str, outstanding: int, sessions: int, seconds: float, nodes: list[str]) -> dict[str, Any]:
    """Make the load; what was measured."""
    loop = asyncio.get_running_loop()
    rng = random.Random(7)
    made: list[Session] = []
    for n in range(sessions):
        host, _, port = nodes[n % len(nodes)].rpartition(":")
        share = outstanding // sessions + (n < outstanding % sessions)
        _, session = await loop.create_connection(lambda share=share: Session(operation, share, rng), host, int(port))  # type: ignore[misc]  # bound at once
        await session.ready
        made.append(session)
    for session in made:
        session.begin()
    await asyncio.sleep(WARM_UP_S)
    for session in made:
        session.latencies.clear()
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    latencies = sorted(latency for session in made for latency in session.latencies)
    for session in made:
        session.ending = True
    return {
        "ops_per_s": round(len(latencies) / took),
        "p50_us": round(latencies[len(latencies) // 2] * 1e6),
        "p99_us": round(latencies[len(latencies) * 99 // 100] * 1e6),
        "client_cpu": round(cpu / took, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operation", choices=("put", "get"))
    parser.add_argument("outstanding", type=int)
    parser.add_argument("sessions", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("nodes", nargs="+")
    arguments = parser.parse_args()
    print(json.dumps(run(generate(**vars(arguments)))), flush=True)


if __name__ == "__main__":
    main()
