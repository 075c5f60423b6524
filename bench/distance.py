"""What an operation takes over long links: three nodes and a client in the simulator, each far from all the others.

    python -m bench.distance [--one-way-ms 50] [--suspect-after-ms 500]

Latency is a number of one-way delays, which `bench.counts` counts in lockstep as ticks; here the same nodes run with the
clocks, heartbeats, failure detection and disks of the simulator, in virtual time, and both are shown side by side.  So
the figures are the same in every run, and on every machine; what bandwidth costs is not in them.  `sent twice`: batches
that a member was sent though it had them, for each operation: then periods are too short for the distance, and
`--suspect-after-ms` scales all of them, as that of `phalanx serve` does.
"""

import argparse
import random
import statistics
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.workloads import STORE, VALUE, WORKLOADS
from phalanx.cli.serve import timing_of
from phalanx.group.config import Config, Limits, Timing
from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND
from phalanx.model.events import Consumed, Delivered, Multicast
from phalanx.model.machine import Machine
from phalanx.model.view import GroupSpec, Order
from phalanx.node.node import Node as NodeMachine
from phalanx.replication.calls import Call, Completed, End, Read
from phalanx.replication.client import ClientMachine
from phalanx.services.store.kv import KV
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

NODES = ("a", "b", "c")
CLIENT = "~client"
SAMPLES = 20
PATIENCE_NS = 60 * SECOND
CALM_NS = 5 * SECOND
"""Before anything is measured."""

LEASE_MS = 5_000

DISK_NS = MILLISECOND
"""One write and sync, as on a fast disk."""

OPERATIONS = {
    "multicast": "multicast, 1 sender, 1 under way",
    "durable multicast": "durable multicast, 1 sender, 1 under way",
    "put": "put, 1 under way",
    "durable put": "durable put, 1 under way",
    "get": "get, 1 under way",
    "leased get": "leased get, 1 under way",
}
"""What is measured here, and where `bench.counts` counts it."""


ONE_WAY_MS_MAX = 10_000
"""Beyond this nothing would be answered within anybody's patience."""

FLOOD = bytes(64 << 10)
FLOOD_NS = 10 * SECOND


class Found(NamedTuple):
    """Of one operation: its median in ns, how many ticks it has in lockstep, of which `syncs` are of a disk, how many
    batches were sent twice for each, and how often a node suspected another meanwhile."""

    latency_ns: float
    ticks: int
    syncs: int
    again: float
    suspicions: int


class Far:
    """Nodes that host `g` and the store, and a client of the first, as far away as they are from each other."""

    def __init__(self, one_way_ns: int, operation: str, timing: Timing) -> None:
        self._timing = timing
        self._flooding = False
        self._operation = operation.split()[-1]
        durable, lease_ms = operation.startswith("durable"), LEASE_MS if operation.startswith("leased") else 0
        self._g = GroupSpec("g", Order.TOTAL, durable=durable)
        self._kv = GroupSpec("KV", Order.TOTAL, contract=STORE.contract, durable=durable, lease_ms=lease_ms)
        self.answered = 0
        """Operations that are over, or payloads that were delivered to their sender."""
        conditions = Conditions(
            delay_min_ns=one_way_ns,
            delay_spread_ns=0,
            turn_ns=10 * MICROSECOND,
            grouped=1.0,
            write_min_ns=DISK_NS,
            write_spread_ns=0,
        )
        self.world = World(7, self._start, deliver=self._deliver, conditions=conditions)
        for name in (*NODES, CLIENT):
            self.world.add(name)

    def _start(self, setup: Setup) -> Machine:
        if setup.name == CLIENT:
            return ClientMachine((NODES[0],), setup.rng, PATIENCE_NS)
        peers = tuple((name, name) for name in NODES)
        config = Config(setup.name, setup.address, (), peers, (self._g,), self._timing)
        journal = setup.journal if self._g.durable else None
        return NodeMachine(config, setup.durable, setup.rng, setup.now, {"KV": (STORE, self._kv)}, journal)

    def _deliver(self, node: Node, delivery: Any) -> Iterable[Any]:
        if isinstance(delivery, Completed):
            assert delivery.end is End.DONE, delivery
            self.answered += 1
        elif isinstance(delivery, Delivered):
            consumed = Consumed(delivery.group, sum(map(len, delivery.payloads)))
            if delivery.sender.name != node.name:
                return [consumed]
            self.answered += len(delivery.payloads)
            again = Multicast(delivery.group, (FLOOD,) * len(delivery.payloads))
            return [consumed, again] if self._flooding else [consumed]
        return ()

    def _request(self) -> Any:
        if self._operation == "multicast":
            machine = self.world.nodes[NODES[0]].machine
            assert isinstance(machine, NodeMachine) and machine.group.view is not None
            group = machine.group.view.group_named("g")
            assert group is not None
            return Multicast(group.id, (VALUE,))
        return self._call(self._operation)

    def _call(self, operation: str) -> Call | Read:
        key = b"key/%012d" % 1
        invocation = STORE.invoke(KV.put, key, VALUE) if operation == "put" else STORE.invoke(KV.get, key)
        kind = Call if operation == "put" else Read
        end = self.world.nodes[CLIENT].clocks.mono(self.world.now) + PATIENCE_NS
        of = invocation.operation
        return kind(self.answered + 1, "KV", of.id, of.types, invocation.arguments, end)

    def take(self, request: Callable[[], Any]) -> int:
        """How long that takes, in ns."""
        asks = NODES[0] if self._operation == "multicast" and request == self._request else CLIENT
        before, began = self.answered, self.world.now
        self.world.request(asks, request())
        assert self.world.run_while(lambda: self.answered == before, PATIENCE_NS, MILLISECOND // 10), "no answer"
        assert not self.world.failures, self.world.failures
        return self.world.now - began

    def measure(self) -> tuple[float, float, int]:
        """Of the operation, when all is calm and the client's session open: the median latency in ns, batches sent twice
        for each, and how often a node suspected another meanwhile."""
        self._calm()
        notes = self.world.notes
        again, suspicions = notes["data.again"], notes["suspects"]
        samples: list[int] = []
        for _ in range(SAMPLES):
            self.world.run_for(random.Random(len(samples)).randrange(SECOND))
            samples.append(self.take(self._request))
        return statistics.median(samples), (notes["data.again"] - again) / SAMPLES, notes["suspects"] - suspicions

    def _calm(self) -> None:
        self.world.run_for(CALM_NS)
        self.take(lambda: self._call("put"))
        self.world.run_for(SECOND)

    def measure_kill(self) -> int:
        """How long a put takes, in ns, that is sent when the last member is just killed, whose host lives."""
        self._calm()
        self.world.crash(NODES[-1])
        return self.take(self._request)

    def measure_flood(self) -> float:
        """Bytes per second that one sender can have delivered, who keeps the window full: links carry any amount."""
        self._calm()
        request = self._request()
        self._flooding = True
        self.world.request(NODES[0], Multicast(request.group, (FLOOD,) * (2 * Limits().window // len(FLOOD))))
        self.world.run_for(SECOND)
        before = self.answered
        self.world.run_for(FLOOD_NS)
        assert not self.world.failures, self.world.failures
        return (self.answered - before) * len(FLOOD) * SECOND / FLOOD_NS


def find(operation: str, one_way_ns: int, timing: Timing) -> Found:
    """Measure it, and count it."""
    load = WORKLOADS[OPERATIONS[operation]](3)
    load.run(2)
    done, ticks = load.done(), load.world.counts["ticks"]
    load.run(10)
    count = round((load.world.counts["ticks"] - ticks) / (load.done() - done))
    latency, again, suspicions = Far(one_way_ns, operation, timing).measure()
    return Found(latency, count, int(operation.startswith("durable")), again, suspicions)


def report(one_way_ns: int, timing: Timing, console: Console) -> None:
    """The table, and what is to be said about it."""
    table = Table("operation", "latency ms", "one-way delays", "by the count", "sent twice", title_justify="left")
    suspicions = 0
    for operation in OPERATIONS:
        found = find(operation, one_way_ns, timing)
        counted = f"{found.ticks - found.syncs} + {found.syncs} fsync" if found.syncs else str(found.ticks)
        latency = (f"{found.latency_ns / MILLISECOND:.1f}", f"{found.latency_ns / one_way_ns:.2f}")
        table.add_row(operation, *latency, counted, f"{found.again:.1f}")
        suspicions += found.suspicions
    killed = Far(one_way_ns, "put", timing).measure_kill()
    latency = (f"{killed / MILLISECOND:.1f}", f"{killed / one_way_ns:.2f}")
    table.add_row("put, another node is killed just then", *latency, "", "")
    console.print(table)
    flood = Far(one_way_ns, "multicast", timing).measure_flood()
    console.print(f"one sender with its window full: {flood / 1e6:,.1f} MB/s", highlight=False)
    if suspicions:
        console.print(f"nodes suspected each other {suspicions} times though all were well: raise --suspect-after-ms")


def _milliseconds(text: str) -> float:
    """A distance that can be measured."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= ONE_WAY_MS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of milliseconds from 0.01 to {ONE_WAY_MS_MAX}")
    return value


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one-way-ms", type=_milliseconds, default=50.0)
    parser.add_argument("--suspect-after-ms", type=_milliseconds, default=500.0, help="scales all periods")
    options = parser.parse_args()
    report(int(options.one_way_ms * MILLISECOND), timing_of(round(options.suspect_after_ms)), Console(width=100))


if __name__ == "__main__":
    main()
