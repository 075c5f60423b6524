"""The loads under which `bench.counts` counts: closed loops on a cluster in lockstep."""

from collections.abc import Callable
from typing import Any, NamedTuple

from bench.lockstep import Lockstep, Port
from phalanx.model.clock import SECOND
from phalanx.model.events import Consumed, Delivered, Multicast
from phalanx.model.view import GroupSpec, Order
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

WARM_UP = 20
ROUNDS = 100
"""So many times what is kept under way is answered while it is counted; before that, so many times without."""


class Load(NamedTuple):
    """A cluster under load; `done` tells how many messages or operations were completed."""

    world: Lockstep
    done: Callable[[], int]
    per_round: int

    def run(self, rounds: int) -> None:
        """Until so many rounds more are done."""
        end = self.done() + rounds * self.per_round
        self.world.run_until(lambda: self.done() >= end)


Workload = Callable[[int], Load]
"""Builds the load for that many members."""


def multicast(senders: int, batch: int, *, durable: bool = False) -> Workload:
    """Messages of 100 bytes in total order; each sender sends `batch` more when its own last ones are delivered to it."""

    def make(members: int) -> Load:
        world = Lockstep()
        names = NAMES[:members]
        world.add_nodes(names, [GroupSpec("g", Order.TOTAL, durable=durable)])
        view = world.node("a").group.view
        assert view is not None
        request = Multicast(view.groups[0].id, (PAYLOAD,) * batch)
        done = [0]

        def application(port: Port) -> Callable[[Any], list[Any]]:
            own = [0]

            def take(delivery: Any) -> list[Any]:
                if not isinstance(delivery, Delivered):
                    return []
                port.lazy.append(Consumed(delivery.group, sum(map(len, delivery.payloads))))
                if delivery.sender.name != port.address:
                    return []
                done[0] += len(delivery.payloads)
                own[0] += len(delivery.payloads)
                return [request] if own[0] % batch == 0 else []

            return take

        for name in names:
            world.ports[name].on_delivery = application(world.ports[name])
        for name in names[:senders]:
            world.ports[name].events.append(request)
        return Load(world, lambda: done[0], senders * batch)

    return make


def store(operation: str, outstanding: int, clients: int = 1, *, durable: bool = False, lease_ms: int = 0) -> Workload:
    """Puts or linearizable gets of the store: keys of 16 bytes, values of 128.  The clients are spread over the nodes,
    and keep so many operations under way in all."""

    def make(members: int) -> Load:
        world = Lockstep()
        names = NAMES[:members]
        spec = GroupSpec("KV", Order.TOTAL, contract=STORE.contract, durable=durable, lease_ms=lease_ms)
        world.add_nodes(names, objects={"KV": (STORE, spec)})
        done, token, filled = [0], [0], False

        def call(f: str) -> Call | Read:
            token[0] += 1
            key = b"key/%012d" % (token[0] % KEYS)
            invocation = STORE.invoke(KV.put, key, VALUE) if f == "put" else STORE.invoke(KV.get, key)
            kind = Call if f == "put" else Read
            end = world.now.mono + PATIENCE_NS
            return kind(token[0], "KV", invocation.operation.id, invocation.operation.types, invocation.arguments, end)

        def take(completed: Completed) -> list[Any]:
            assert completed.end is End.DONE, completed
            done[0] += 1
            return [call(operation)] if filled else []

        ports = [world.add_client(str(n), names[n % members]) for n in range(clients)]
        for port in ports:
            port.on_delivery = take
        for n in range(KEYS):
            ports[n % clients].events.append(call("put"))
        world.run_until(lambda: done[0] == KEYS)
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
    "durable multicast, 1 sender, 1 under way": multicast(1, 1, durable=True),
    "put, 1 under way": store("put", 1),
    "put, 64 under way": store("put", 64),
    "put, 64 under way from 3 clients": store("put", 64, 3),
    "durable put, 1 under way": store("put", 1, durable=True),
    "durable put, 64 under way": store("put", 64, durable=True),
    "get, 1 under way": store("get", 1),
    "leased get, 1 under way": store("get", 1, lease_ms=LEASE_MS),
    "get, 64 under way": store("get", 64),
    "get, 64 under way from 3 clients": store("get", 64, 3),
}
"""By name, as `bench/counts.toml` has them."""
