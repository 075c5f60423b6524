"""The loads under which `bench.counts` counts: closed loops on a cluster in lockstep."""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.lockstep import Lockstep, Port
from phalanx.model.clock import SECOND
from phalanx.model.events import Consumed, Delivered, Multicast
from phalanx.model.view import GroupId, GroupSpec, Order
from phalanx.replication.calls import Call, Completed, End, Read
from phalanx.replication.objects import describe
from phalanx.services.store.kv import KV

NAMES = "abcdefghi"
PAYLOAD = bytes(100)
VALUE = bytes(128)
KEYS = 500
"""Of 16 bytes, all there from the beginning, so that a write always replaces something."""

STORE = describe(KV)
LEASE_MS = 60_000
"""Of leases that last through the whole run."""

PATIENCE_NS = 60 * SECOND

ROUNDS = 100
"""So many times what is kept under way is answered while it is counted, and a fifth of that before."""

FEW_ROUNDS = 3
"""The same where thousands are under way."""


class Load(NamedTuple):
    """A cluster under load; `done` tells how many messages or operations were completed."""

    world: Lockstep
    done: Callable[[], int]
    per_round: int

    @property
    def rounds(self) -> int:
        """How many are counted."""
        return ROUNDS if self.per_round < 1000 else FEW_ROUNDS

    def run(self, rounds: int) -> None:
        """Until so many rounds more are done."""
        end = self.done() + rounds * self.per_round
        self.world.run_until(lambda: self.done() >= end)


Workload = Callable[[int], Load]
"""Builds the load for that many members."""


def multicast(senders: int, batch: int, *, durable: bool = False, streams: int = 1, groups: int = 1) -> Workload:
    """Messages of 100 bytes in total order.  Each sender has `streams`, spread over the groups, each of which sends
    `batch` more when its own last ones are delivered to it."""

    def make(members: int) -> Load:
        world = Lockstep()
        names = NAMES[:members]
        world.add_nodes(names, [GroupSpec(f"g{n}", Order.TOTAL, durable=durable) for n in range(groups)])
        view = world.node("a").group.view
        assert view is not None
        requests = {group.id: Multicast(group.id, (PAYLOAD,) * batch) for group in view.groups}
        done = [0]

        def application(port: Port) -> Callable[[Any], list[Any]]:
            own: Counter[GroupId] = Counter()

            def take(delivery: Any) -> list[Any]:
                if not isinstance(delivery, Delivered):
                    return []
                port.lazy.append(Consumed(delivery.group, sum(map(len, delivery.payloads))))
                if delivery.sender.name != port.address:
                    return []
                done[0] += len(delivery.payloads)
                answered, own[delivery.group] = divmod(own[delivery.group] + len(delivery.payloads), batch)
                return [requests[delivery.group]] * answered

            return take

        for name in names:
            world.ports[name].on_delivery = application(world.ports[name])
        for name in names[:senders]:
            world.ports[name].events += list(requests.values()) * (streams // groups)
        return Load(world, lambda: done[0], senders * streams * batch)

    return make


def store(
    operation: str,
    outstanding: int,
    clients: int = 1,
    *,
    durable: bool = False,
    lease_ms: int = 0,
    stores: int = 1,
    beside: int = 0,
) -> Workload:
    """Puts or linearizable gets: keys of 16 bytes, values of 128.  The clients are spread over the nodes and keep so many
    operations under way in all; each takes the stores, which are groups of their own, in turn.  The nodes host so many
    other groups `beside` these, in which nothing happens."""

    def make(members: int) -> Load:
        world = Lockstep()
        names = NAMES[:members]
        objects = {}
        for n in range(stores):
            spec = GroupSpec(f"KV{n}", Order.TOTAL, contract=STORE.contract, durable=durable, lease_ms=lease_ms)
            objects[spec.name] = (STORE, spec)
        world.add_nodes(names, [GroupSpec(f"g{n}", Order.TOTAL) for n in range(beside)], objects)
        done, token, filled = [0], [0], False

        def call(f: str) -> Call | Read:
            token[0] += 1
            key = b"key/%012d" % (token[0] % KEYS)
            invocation = STORE.invoke(KV.put, key, VALUE) if f == "put" else STORE.invoke(KV.get, key)
            kind = Call if f == "put" else Read
            end, of = world.now.mono + PATIENCE_NS, invocation.operation
            name = f"KV{token[0] // clients % stores}"
            return kind(token[0], name, of.id, of.types, invocation.arguments, end)

        def take(completed: Completed) -> list[Any]:
            assert completed.end is End.DONE, completed
            done[0] += 1
            return [call(operation)] if filled else []

        ports = [world.add_client(str(n), names[n % members]) for n in range(clients)]
        for port in ports:
            port.on_delivery = take
        filling = max(KEYS, clients * stores)  # each client opens its session in each store
        for n in range(filling):
            ports[n % clients].events.append(call("put"))
        world.run_until(lambda: done[0] == filling)
        filled = True
        for n in range(outstanding):
            ports[n % clients].events.append(call(operation))
        return Load(world, lambda: done[0], outstanding)

    return make


WORKLOADS = {
    "multicast, 1 sender, 1 under way": multicast(1, 1),
    "multicast, 1 sender, 64 in a batch": multicast(1, 64),
    "multicast, 3 senders, 1 under way": multicast(3, 1),
    "multicast, 3 senders, 64 in a batch": multicast(3, 64),
    "multicast, 3 senders, 100 x 64 in 1 group": multicast(3, 64, streams=100),
    "multicast, 3 senders, 100 x 64 in 100 groups": multicast(3, 64, streams=100, groups=100),
    "multicast, 3 senders, 100 x 512 in 1 group": multicast(3, 512, streams=100),
    "multicast, 3 senders, 100 x 512 in 100 groups": multicast(3, 512, streams=100, groups=100),
    "durable multicast, 1 sender, 1 under way": multicast(1, 1, durable=True),
    "put, 1 under way": store("put", 1),
    "put, 1 under way beside 99 idle groups": store("put", 1, beside=99),
    "put, 64 under way": store("put", 64),
    "put, 64 under way from 3 clients": store("put", 64, 3),
    "put, 1000 under way from 10 clients": store("put", 1000, 10),
    "put, 1000 under way from 1000 clients": store("put", 1000, 1000),
    "put, 1000 under way in 100 stores": store("put", 1000, 10, stores=100),
    "durable put, 1 under way": store("put", 1, durable=True),
    "durable put, 64 under way": store("put", 64, durable=True),
    "get, 1 under way": store("get", 1),
    "leased get, 1 under way": store("get", 1, lease_ms=LEASE_MS),
    "get, 1 under way beside 99 idle groups": store("get", 1, beside=99),
    "get, 64 under way": store("get", 64),
    "get, 64 under way from 3 clients": store("get", 64, 3),
    "get, 1000 under way from 10 clients": store("get", 1000, 10),
    "get, 1000 under way from 1000 clients": store("get", 1000, 1000),
    "get, 1000 under way in 100 stores": store("get", 1000, 10, stores=100),
}
"""By name, as `bench/counts.toml` has them."""
