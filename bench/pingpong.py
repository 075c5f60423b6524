"""A round trip of bare protocols on our event loop: what a message costs before there is any protocol.

    python -m bench.pingpong            between two processes on loopback, 100 bytes there and back

It is the limit for latencies, and, taken again and again during a longer run, tells how quiet the machine was.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.samples import latencies_us
from phalanx.lab.loadgen.histogram import Histogram
from phalanx.runtime.loop import run

SIZE = 100
WARM_UP = 2_000
TRIPS = 10_000
LOOK_S = 0.5


class Echo(asyncio.Protocol):
    """Returns every ball."""

    def connection_made(self, transport: Any) -> None:
        self._write = transport.write

    def data_received(self, data: bytes) -> None:
        self._write(data)


class Server(asyncio.Protocol):
    """Serves again as soon as the ball is back, and takes the time of each trip in nanoseconds."""

    def __init__(self, size: int, done: "asyncio.Future[None]") -> None:
        self.trips: list[int] = []
        self._ball = bytes(size)
        self._done = done

    def connection_made(self, transport: Any) -> None:
        self._write = transport.write
        self._serve()

    def data_received(self, data: bytes) -> None:
        self._missing -= len(data)
        if self._missing:
            return
        self.trips.append(time.perf_counter_ns() - self._served_at)
        if len(self.trips) < WARM_UP + TRIPS:
            self._serve()
        else:
            self._done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionResetError("the other side has gone"))

    def _serve(self) -> None:
        self._missing = len(self._ball)
        self._served_at = time.perf_counter_ns()
        self._write(self._ball)


async def trips_to(port: int, size: int) -> list[int]:
    """How long each trip took, in ns, to whoever echoes there.  Raises OSError."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    transport, server = await loop.create_connection(lambda: Server(size, done), "127.0.0.1", port)
    try:
        await done
    finally:
        transport.close()
    return server.trips[WARM_UP:]


async def listen() -> tuple[asyncio.Server, int]:
    """Whoever connects there has an echo."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def measure(size: int = SIZE) -> dict[str, float]:
    """Between two processes: latency in us, and of this process the share of a core.  Raises OSError."""
    command = (sys.executable, "-m", "bench.pingpong", "--echo")
    other = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert other.stdout is not None
    try:
        port = await other.stdout.readline()
        if not port:
            raise ChildProcessError("the process that is to echo has ended")
        began, cpu = time.perf_counter(), time.process_time()
        trips = await trips_to(int(port), size)
        busy = (time.process_time() - cpu) / (time.perf_counter() - began)
    finally:
        if other.returncode is None:
            other.kill()
        await other.wait()
    histogram = Histogram()
    for trip in trips:
        histogram.add(trip)
    return latencies_us(histogram) | {"client_cpu": round(busy, 2)}


async def busy_cores(seconds: float = LOOK_S, stat: Path = Path("/proc/stat")) -> float | None:
    """How many cores others use while we do nothing, the host of a virtual machine among them; None where the system does
    not tell."""
    try:
        before = _used_s(stat.read_text("ascii"))
        await asyncio.sleep(seconds)
        return (_used_s(stat.read_text("ascii")) - before) / seconds
    except (OSError, ValueError):
        return None


def _used_s(stat: str) -> float:
    """By the first line of /proc/stat: all but what was idle or waited for disks."""
    user, nice, system, _, _, *more = map(int, stat.partition("\n")[0].split()[1:9])
    return (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK")


async def echo() -> None:
    """Print where, and echo until killed."""
    server, port = await listen()
    print(port, flush=True)
    await server.serve_forever()


def main() -> None:
    """Measure, or be the other process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().echo:
        run(echo())
        return
    found = run(measure())
    print(f"round trip of {SIZE} B: " + ", ".join(f"{name} {value:g}" for name, value in found.items()))


if __name__ == "__main__":
    main()
