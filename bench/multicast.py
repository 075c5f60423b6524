"""Total-order multicast in a group of three processes on loopback: deliveries per second, and latency.

    python -m bench.multicast                     100 B and 1 KiB, one sender; latency of one message outstanding
    python -m bench.multicast --seconds 10 --runs 5 --senders 3

Each process counts what it delivers; the figure of a run is the least of the three.  Latency is from `Multicast` to the
sender's own uniform delivery.  On a machine with two cores the three processes and the kernel share them: compare only
what was measured in one run, side by side, and look at the load beforehand.
"""

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

import phalanx
from phalanx.model.events import Consumed, Delivered, Multicast
from phalanx.runtime.loop import tune_gc_for_server

NAMES = "abc"
WINDOW_BYTES = 1 << 20
"""What a sender lets wait in its own queue."""


class Tally:
    """Takes the place of a group's reader: counts payloads as they are delivered, without handing them out one by one."""

    def __init__(self, group: phalanx.Group) -> None:
        self.count = 0
        self.began = 0.0
        self.last = 0.0
        self.arrived = asyncio.Event()
        self._consumed = group._consumed
        group.take = self.take  # type: ignore[method-assign]  # the reader's cost is not what is measured

    def take(self, item: Any, me: phalanx.Member) -> None:  # noqa: ARG002  as it was
        if isinstance(item, Delivered):
            now = time.perf_counter()
            self.began = self.began or now
            self.last = now
            self.count += len(item.payloads)
            self._consumed(Consumed(item.group, sum(map(len, item.payloads))))
            self.arrived.set()


async def member(name: str, addresses: dict[str, str], size: int, batch: int, seconds: float, senders: int) -> None:
    """One process: founds, joins the group, sends if it is to, prints what it saw as one JSON line."""
    peers = sorted(addresses.items())
    async with phalanx.join(name, listen=addresses[name], peers=peers) as process:
        group = await process.group("bench")
        while process.view is None or len(process.view.groups[0].hosts) < len(addresses):
            await asyncio.sleep(0.01)
        tune_gc_for_server()
        tally = Tally(group)
        await asyncio.sleep(0.5)
        found: dict[str, Any] = {"name": name}
        if NAMES.index(name) < senders:
            if batch == 1:
                found |= await ping(process, group, tally, size, seconds)
            else:
                await flood(process, group, size, batch, seconds)
        else:
            await asyncio.sleep(seconds)
        await asyncio.sleep(1.0)
        if tally.last > tally.began:
            found["per_s"] = tally.count / (tally.last - tally.began)
        print(json.dumps(found), flush=True)
        await asyncio.sleep(1.0)


async def flood(process: phalanx.Process, group: phalanx.Group, size: int, batch: int, seconds: float) -> None:
    """Send as fast as the window lets us."""
    assert group.id is not None
    payloads = (bytes(size),) * batch
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        if process._node.group.backlog(group.id) < WINDOW_BYTES:
            process._driver.submit(Multicast(group.id, payloads))
        await asyncio.sleep(0)


async def ping(
    process: phalanx.Process, group: phalanx.Group, tally: Tally, size: int, seconds: float
) -> dict[str, float]:
    """One message at a time."""
    assert group.id is not None
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        tally.arrived.clear()
        process._driver.submit(Multicast(group.id, (bytes(size),)))
        await tally.arrived.wait()
        took.append(time.perf_counter() - start)
    took.sort()
    return {"p50_us": took[len(took) // 2] * 1e6, "p99_us": took[len(took) * 99 // 100] * 1e6}


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for each in sockets:
        each.close()
    return ports


def run(size: int, batch: int, seconds: float, senders: int) -> list[dict[str, Any]]:
    """One run: three processes, their lines."""
    addresses = {name: f"127.0.0.1:{port}" for name, port in zip(NAMES, free_ports(len(NAMES)), strict=True)}
    command = [sys.executable, "-m", "bench.multicast", "--size", str(size), "--batch", str(batch)]
    command += ["--seconds", str(seconds), "--senders", str(senders), "--addresses", json.dumps(addresses)]
    members = [
        subprocess.Popen([*command, "--member", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for name in NAMES
    ]
    lines = [m.communicate(timeout=seconds + 60)[0] for m in members]
    return [json.loads(line) for line in lines]


def main() -> None:
    """Measure, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--senders", type=int, default=1, choices=(1, 2, 3))
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--member", choices=tuple(NAMES), help=argparse.SUPPRESS)
    parser.add_argument("--addresses", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.member:
        addresses = json.loads(options.addresses)
        work = member(options.member, addresses, options.size, options.batch, options.seconds, options.senders)
        phalanx.run(work)
        return
    workloads = [(options.size, options.batch or 64)] if options.size else [(100, 600), (1024, 256), (65536, 8)]
    for size, batch in workloads:
        rates = [
            min(line["per_s"] for line in run(size, batch, options.seconds, options.senders))
            for _ in range(options.runs)
        ]
        each = ", ".join(f"{rate:,.0f}" for rate in sorted(rates))
        rate = statistics.median(rates)
        print(
            f"{size:>6} B, {options.senders} sender(s): {rate:>10,.0f} deliveries/s at each member (runs: {each})",
            flush=True,
        )
    for size in (100, 1024):
        pings = [line for _ in range(options.runs) for line in run(size, 1, options.seconds, 1) if "p50_us" in line]
        p50, p99 = (statistics.median(line[key] for line in pings) for key in ("p50_us", "p99_us"))
        print(
            f"{size:>6} B, one outstanding: p50 {p50:,.0f} us, p99 {p99:,.0f} us to the sender's own delivery",
            flush=True,
        )


if __name__ == "__main__":
    main()
