"""Total-order multicast in a group of processes on loopback: deliveries per second, and latency.

    python -m bench.multicast                     100 B, 1 KiB and 64 KiB, one sender; latency of one message outstanding
    python -m bench.multicast --seconds 10 --runs 5 --senders 3
    python -m bench.multicast --outstanding 64

Each process counts what it delivers; the figure of a run is the least of them.  Latency is from `Multicast` to the
sender's own uniform delivery.  On a machine with two cores the three processes and the kernel share them: compare only
what was measured in one run, side by side, and look at the load beforehand.  With one message under way the kernel may
well wake all three on one core, one after the other, while the second is idle; `--pin` gives each a core, in turn.
`--busy-poll-us 0` has them sleep between messages.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from typing import IO, Any

import msgspec

import phalanx
from bench.samples import latencies_us
from bench.workloads import NAMES
from phalanx.lab.loadgen.histogram import Histogram
from phalanx.model.clock import MICROSECOND
from phalanx.model.events import Consumed, Delivered, Multicast
from phalanx.runtime.loop import tune_gc_for_server

WINDOW_BYTES = 1 << 20
"""What a sender lets wait in its own queue, of each group."""

BATCHES = {100: 600, 1024: 256, 65536: 8}
"""Sizes that are measured, and how many payloads of them are sent at once."""

CALM_S = 0.5
"""Before anything is measured."""

REST_S = 1.0
"""After it: what is under way arrives, and nobody leaves while another measures."""

END_S_MAX = 60.0
"""For the processes to end, beyond what they measure."""


class Load(msgspec.Struct, frozen=True):
    """What is measured.  outstanding: so many messages are kept under way by one sender, and their latency is measured;
    0: `batch` at once, as fast as the window lets each sender, in each of the groups in turn."""

    size: int
    seconds: float
    batch: int = 1
    outstanding: int = 0
    senders: int = 1
    members: int = 3
    groups: int = 1
    pin: bool = False
    """Each process on one core: the first on the first, the next on the next, and so on in turn."""
    busy_poll: int = phalanx.Timing().busy_poll
    """As of `Timing`."""


class MemberFailed(Exception):
    """A process of the group ended without a result; the text says with what words."""


class Tally:
    """Takes the place of a group's reader: counts payloads as they are delivered, without handing them out one by one."""

    def __init__(self) -> None:
        self.count = 0
        self.began = 0.0
        self.last = 0.0
        self.arrived = asyncio.Event()

    def watch(self, group: phalanx.Group) -> None:
        """Take what is delivered in that group, too."""
        consumed = group._consumed

        def take(item: Any, me: phalanx.Member) -> None:  # noqa: ARG001  as it was
            if isinstance(item, Delivered):
                now = time.perf_counter()
                self.began = self.began or now
                self.last = now
                self.count += len(item.payloads)
                consumed(Consumed(item.group, sum(map(len, item.payloads))))
                self.arrived.set()

        group._take = take  # type: ignore[method-assign]  # the reader's cost is not what is measured


async def member(name: str, addresses: dict[str, str], load: Load) -> None:
    """One process: founds, joins the groups, sends if it is to, prints what it saw as one JSON line."""
    peers = sorted(addresses.items())
    if load.pin:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[NAMES.index(name) % len(cores)]})
    timing = phalanx.Timing(busy_poll=load.busy_poll)
    async with phalanx.join(name, listen=addresses[name], peers=peers, timing=timing) as process:
        groups = await asyncio.gather(*(process.group(f"bench{n}") for n in range(load.groups)))
        while not _is_full(process, load):
            await asyncio.sleep(0.01)
        tune_gc_for_server()
        tally = Tally()
        for group in groups:
            tally.watch(group)
        await asyncio.sleep(CALM_S)
        found: dict[str, float] = {}
        began, cpu = time.perf_counter(), time.process_time()
        if name not in NAMES[: load.senders]:
            await asyncio.sleep(load.seconds)
        elif load.outstanding:
            found |= await ping(process, groups[0], tally, load)
        else:
            await flood(process, groups, load)
        found["member_cpu"] = (time.process_time() - cpu) / (time.perf_counter() - began)
        await asyncio.sleep(REST_S)
        if tally.last > tally.began:
            found["ops_per_s"] = tally.count / (tally.last - tally.began)
        print(json.dumps(found), flush=True)
        await asyncio.sleep(REST_S)


def _is_full(process: phalanx.Process, load: Load) -> bool:
    groups = process.view.groups if process.view else ()
    return len(groups) == load.groups and all(len(group.hosts) == load.members for group in groups)


async def flood(process: phalanx.Process, groups: list[phalanx.Group], load: Load) -> None:
    """Send as fast as the window lets us."""
    payloads = (bytes(load.size),) * load.batch
    requests = deque(Multicast(group.id, payloads) for group in groups if group.id is not None)
    assert len(requests) == load.groups, "every group is there"
    end = time.perf_counter() + load.seconds
    while time.perf_counter() < end:
        if process._node.group.backlog(requests[0].group) < WINDOW_BYTES:
            process._driver.submit(requests[0])
        requests.rotate(-1)
        await asyncio.sleep(0)


async def ping(process: phalanx.Process, group: phalanx.Group, tally: Tally, load: Load) -> dict[str, float]:
    """Keep so many messages under way: what is delivered is sent again."""
    assert group.id is not None
    took = Histogram()
    sent: deque[int] = deque()
    done, free = tally.count, load.outstanding
    end = time.perf_counter_ns() + int(load.seconds * 1e9)
    while (now := time.perf_counter_ns()) < end:
        tally.arrived.clear()
        process._driver.submit(Multicast(group.id, (bytes(load.size),) * free))
        sent.extend([now] * free)
        await tally.arrived.wait()
        now, free, done = time.perf_counter_ns(), tally.count - done, tally.count
        for _ in range(free):
            took.add(now - sent.popleft())
    return latencies_us(took)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for each in sockets:
        each.close()
    return ports


def run(load: Load) -> dict[str, float]:
    """One run: deliveries per second at the member that had the fewest, the sender's latency in us (p50, p99, p99.9) if
    messages were kept `outstanding`, and of the process that was busiest the share of a core.  Raises `MemberFailed`."""
    names = NAMES[: load.members]
    addresses = {name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}
    command = [sys.executable, "-m", "bench.multicast", "--load", msgspec.json.encode(load).decode()]
    command += ["--addresses", json.dumps(addresses), "--member"]
    with tempfile.TemporaryFile("w+") as words:
        members = [
            subprocess.Popen([*command, name], stdout=subprocess.PIPE, stderr=words, text=True) for name in names
        ]
        try:
            lines = [each.communicate(timeout=load.seconds + END_S_MAX)[0] for each in members]
        except subprocess.TimeoutExpired:
            raise MemberFailed(f"a process did not end; {_end_of(words)}") from None
        finally:
            for each in members:
                each.kill()
                each.wait()
        if not all(lines):
            raise MemberFailed(f"a process ended without a result; {_end_of(words)}")
    found: list[dict[str, float]] = [json.loads(line) for line in lines]
    if not all("ops_per_s" in each for each in found):
        raise MemberFailed(f"a process saw less than two deliveries in {load.seconds:g} s")
    rate, busiest = (pick(each[key] for each in found) for pick, key in ((min, "ops_per_s"), (max, "member_cpu")))
    return found[0] | {"ops_per_s": rate, "member_cpu": busiest}


def _end_of(words: IO[str]) -> str:
    words.seek(0)
    return "the last of what they said: " + " / ".join(words.read().splitlines()[-3:])


def main() -> None:
    """Measure, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--senders", type=int, default=1, choices=(1, 2, 3))
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--busy-poll-us", type=int, default=phalanx.Timing().busy_poll // MICROSECOND)
    parser.add_argument("--outstanding", type=int, default=1)
    for hidden in ("--member", "--addresses", "--load"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.member:
        load = msgspec.json.decode(options.load, type=Load)
        phalanx.run(member(options.member, json.loads(options.addresses), load))
        return
    batches = {options.size: options.batch or 64} if options.size else BATCHES
    busy_poll = options.busy_poll_us * MICROSECOND
    for size, batch in batches.items():
        load = Load(size, options.seconds, batch, senders=options.senders, pin=options.pin, busy_poll=busy_poll)
        rates = [run(load)["ops_per_s"] for _ in range(options.runs)]
        each = ", ".join(f"{rate:,.0f}" for rate in sorted(rates))
        rate = statistics.median(rates)
        print(
            f"{size:>6} B, {options.senders} sender(s): {rate:>10,.0f} deliveries/s at each member (runs: {each})",
            flush=True,
        )
    for size in (100, 1024):
        load = Load(size, options.seconds, outstanding=options.outstanding, pin=options.pin, busy_poll=busy_poll)
        pings = [run(load) for _ in range(options.runs)]
        keys = ("p50_us", "p99_us", "ops_per_s", "member_cpu")
        p50, p99, rate, cpu = (statistics.median(figures[key] for figures in pings) for key in keys)
        print(
            f"{size:>6} B, {options.outstanding} outstanding: p50 {p50:,.0f} us, p99 {p99:,.0f} us to the sender's own"
            f" delivery; {rate:,.0f}/s, the busiest member used {cpu:.0%} of a core",
            flush=True,
        )


if __name__ == "__main__":
    main()
