"""The store and its clients under every fault: the scenario `store` of `phalanx sim`.

All nodes host the store, in memory or durably (then a power cut of all loses nothing); a few clients, which no fault
strikes but all faults reach, put, delete, transact, compact, hold leases and watch.  States travel, and are written to
logs, in slices of a few items.  Demanded are

- one log: what any replica applies at a revision is what every other replica of that group applies there;
- exactly once: an acknowledged write is in the log once, one that did not happen never, one of unknown outcome at most
  once; a transaction's writes have one revision (SCENARIOS 30, 34);
- a key under a lease exists only while the lease does (SCENARIOS 34), and that does not end early (`lab.terms`);
- watches are told what the log has, in its order, once (`lab.watchers`);
- when the storm is over, replicas are equal, and leases that nobody keeps alive end though nobody writes any more, which
  needs the ticks of the eldest host (DESIGN section 9).
"""

import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from phalanx.errors import Compacted
from phalanx.group.config import Config
from phalanx.lab.groups import LIMITS, TIMING
from phalanx.lab.terms import Terms
from phalanx.lab.watchers import Watcher
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Machine, Output
from phalanx.model.view import GroupId, GroupSpec, Name, Order
from phalanx.node.node import Message
from phalanx.node.node import Node as NodeMachine
from phalanx.replication.calls import Call as Command
from phalanx.replication.calls import Completed, End
from phalanx.replication.client import ClientMachine
from phalanx.replication.following import FROM_NOW, Ended, Fed, Follow, Took
from phalanx.replication.objects import Invocation, describe
from phalanx.replication.replica import Replica
from phalanx.services.store.kv import KV
from phalanx.services.store.values import Append, Event, Exists, LeaseInfo, Put, Txn, Version
from phalanx.sim.node import Node, Setup
from phalanx.sim.run import Call, Scenario
from phalanx.sim.swarm import Swarm

KIND = describe(KV)
WATCH = KIND.operation(KV.watch)
SPECS = [GroupSpec("KV", Order.TOTAL, contract=KIND.contract, durable=durable) for durable in (False, True)]
KEYS = [b"k%d" % n for n in range(8)]
CLIENTS = ("~c0", "~c1", "~c2")
DEADLINE_NS = 60 * SECOND
ATTEMPT_NS = 700 * MILLISECOND

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Wish:
    """A call under way, and what it would write: its value is in no other call."""

    def __init__(self, invocation: Invocation[Any], value: bytes, writes: int, asked: int) -> None:
        self.invocation = invocation
        self.asked = asked
        """When, by the world's time."""
        self.value = value
        self.writes = writes
        """Events with its value, if it happens."""
        self.completed: Completed | None = None


class StoreScenario(Scenario):
    """See the module's text."""

    swarm = Swarm(sizes=(1, 2, 3, 3, 3, 4, 5), storm_ns=4 * SECOND, full_disks=0.3, clock_steps=0.3)
    fingerprint = staticmethod(repr)
    packages = ("phalanx.group", "phalanx.node", "phalanx.replication")

    def __init__(self) -> None:
        self.logs: dict[GroupId, list[Event]] = {}
        """Everything that any replica has applied, by group."""
        self._seen: dict[tuple[str, int, GroupId], tuple[int, int]] = {}
        self._wishes: dict[int, Wish] = {}
        self._leases: dict[str, int] = {}
        self._terms = Terms()
        self._watchers: dict[int, Watcher] = {}
        self._acknowledged: dict[GroupId, int] = {}
        self._holes: set[GroupId] = set()
        self._count = 0

    @staticmethod
    def codec(message: Any) -> Any:
        return _decode(_encode(message))

    # --- the cluster and its clients

    def build(self) -> None:
        self.spec = SPECS[random.Random(f"{self.plan.seed}/durable").random() < 0.5]
        self.ttl_ms = random.Random(f"{self.plan.seed}/lease").choice((2_000, 8_000))
        super().build()
        for name in CLIENTS:
            self.world.add(name)

    def start(self, setup: Setup) -> Machine:
        if setup.name in CLIENTS:
            endpoints = self.plan.names.copy()
            setup.rng.shuffle(endpoints)
            return ClientMachine(endpoints, setup.rng, ATTEMPT_NS)
        peers = tuple((name, name) for name in self.plan.names)
        config = Config(setup.name, setup.address, (), peers, (), TIMING, LIMITS)
        objects = {"KV": (KIND, self.spec)}
        journal = setup.journal if self.spec.durable else None
        return NodeMachine(config, setup.durable, setup.rng, setup.now, objects, journal)

    def deliver(self, node: Node, delivery: Any) -> Iterable[Any] | None:
        if isinstance(delivery, (Fed, Ended)):
            self._watched(node, delivery)
        if isinstance(delivery, Completed):
            wish = self._wishes[delivery.token]
            assert wish.completed is None, "a call completes once"
            wish.completed = delivery
            result = self._result(wish) if delivery.end is End.DONE else None
            if isinstance(result, LeaseInfo) and wish.invocation.operation.function is KV.grant:
                self._leases[node.name] = result.id
                self._terms.granted(result.id, self.ttl_ms * MILLISECOND, wish.asked)
            elif isinstance(result, LeaseInfo):
                self._terms.kept(result.id, wish.asked)
            if wish.writes and isinstance(result, (int, Txn)):
                self._acknowledge(wish.value, result.revision if isinstance(result, Txn) else result)
        return None

    def _acknowledge(self, value: bytes, revision: int) -> None:
        for group, log in self.logs.items():
            at = bisect_left(log, revision, key=lambda event: event.revision)
            item = log[at].item if at < len(log) else None
            if item is not None and item.value == value:
                self._acknowledged[group] = max(revision, self._acknowledged.get(group, 0))

    def _take(self, name: str, took: Took) -> None:
        self.world.request(name, took)

    def _watched(self, node: Node, what: Fed | Ended) -> None:
        watcher = self._watchers.get(what.token)
        if watcher is None:
            return
        if isinstance(what, Ended):
            wrong, watcher.ended = watcher.ended_wrongly(what), what
        else:
            wrong = watcher.take(what, WATCH)
            if what.data:
                self.world.schedule(watcher.pace_ns, self._take, node.name, Took(what.token))
        if wrong:
            kind, _, text = wrong.partition(": ")
            self.world.fail(kind, text)

    @staticmethod
    def _result(wish: Wish) -> Any:
        assert wish.completed is not None and wish.completed.outcome is not None
        try:
            return wish.invocation.result(wish.completed.outcome)
        except Exception as error:  # what the command raised is its result here
            return error

    # --- the load

    def workload(self, rng: random.Random) -> Iterable[Call]:
        end = self.plan.heal_at_ns
        kinds = [*("put", "put", "put", "delete", "txn", "grant", "keep", "leased", "leased", "revoke", "watch")]
        if rng.random() < 0.3:
            kinds.append("compact")
        for _ in range(rng.choice((5, 30, 100, 300))):
            yield Call(rng.randrange(end), rng.choice(CLIENTS), (rng.choice(kinds), rng.choice(KEYS), rng.choice(KEYS)))

    def perform(self, node: Node, what: Any) -> Iterable[Any]:
        kind, key, other = what
        self._count += 1
        if kind == "watch":
            return (self._watch(key, other),)
        value = b"%d" % self._count
        lease = self._leases.get(node.name, 0)
        writes = 0
        invocation: Invocation[Any]
        match kind:
            case "put":
                invocation, writes = KIND.invoke(KV.put, key, value), 1
            case "leased":
                invocation, writes = KIND.invoke(KV.put, key, value, lease), 1
            case "delete":
                invocation = KIND.invoke(KV.delete, key)
            case "txn":
                writes = 1 + (other != key)
                puts = tuple(Put(each, value) for each in sorted({key, other}))
                compares = (Exists(key), Version(key, "<", 3))
                invocation = KIND.invoke(KV.transact, compares, puts, (Append(key, value), *puts[1:]))
            case "compact":
                invocation = KIND.invoke(KV.compact, max(0, *self._acknowledged.values(), 0) // 2)
            case "grant":
                invocation = KIND.invoke(KV.grant, self.ttl_ms)
            case "keep":
                invocation = KIND.invoke(KV.keep_alive, lease)
            case _:
                invocation = KIND.invoke(KV.revoke, lease)
                self._terms.revoked(lease)
        self._wishes[self._count] = Wish(invocation, value, writes, self.world.now)
        operation = invocation.operation
        deadline = node.clocks.mono(self.world.now) + DEADLINE_NS
        return (Command(self._count, "KV", operation.id, operation.types, invocation.arguments, deadline),)

    def _watch(self, key: bytes, other: bytes) -> Follow:
        """Follow one key, a range, or everything."""
        rng = random.Random(f"{self.plan.seed}/watch/{self._count}")
        span = rng.choice(((key, key + b"\0"), (min(key, other), max(key, other)), (b"", None)))
        position = rng.choice((FROM_NOW, 0))
        previous = rng.random() < 0.5
        pace_ns = rng.choice((0, 50 * MILLISECOND, 2 * SECOND))
        self._watchers[self._count] = Watcher(self._count, span, position, previous, pace_ns, dict(self._acknowledged))
        arguments = WATCH.encode((), {"start": span[0], "end": span[1], "previous": previous})
        return Follow(self._count, "KV", WATCH.id, WATCH.types, arguments, position)

    # --- what must hold

    def after_step(self, node: Node, output: Output) -> str | None:  # noqa: ARG002 (the state says it all)
        machine = node.machine
        if not isinstance(machine, NodeMachine):
            return None
        view = machine.group.view
        self._terms.clock(self.world.now, node.name, node.clocks.offset_ns, view.id if view is not None else -1)
        replica = machine.gateway.replica("KV")
        if replica is None or replica.diverged:
            return None
        store: KV = replica.object
        place = (node.name, node.life, replica.group.id)
        leases = (info.id for info in store.leases())
        return self._terms.look(self.world.now, place, replica.position, leases) or self._one_log(place, store)

    def _one_log(self, place: tuple[Name, int, GroupId], store: KV) -> str | None:
        revision, group = store.revision(), place[2]
        before, length = self._seen.get(place, (0, 0))
        if revision == before:
            return None
        if revision < before:
            before, length = 0, 0  # it takes up an older state that it has, and replays what came since
        log = self.logs.setdefault(group, [])
        try:
            events = store.events_after(before)
        except Compacted as error:  # it got the state by a transfer, or compacted what it had just applied
            events = store.events_after(error.oldest - 1)
            length = bisect_left(log, error.oldest, key=lambda event: event.revision)
            if (log[length - 1].revision if length else 0) != error.oldest - 1:
                self._holes.add(group)
        if group in self._holes:
            events = []  # nobody knows any more what the log was
        for event in events:
            if length == len(log):
                log.append(event)
            elif log[length] != event:
                return f"two logs: {event} is {log[length]} elsewhere"
            length += 1
        self._seen[place] = (revision, length)
        return self._orphans(store)

    @staticmethod
    def _orphans(store: KV) -> str | None:
        for key, item in store.range().items:
            if item.lease and key not in store.lease_keys(item.lease):
                return f"orphan: {key!r} is under lease {item.lease}, which has {store.lease_keys(item.lease)}"
        return None

    def finished(self) -> bool:
        if any(wish.completed is None for wish in self._wishes.values()):
            return False
        replicas = self._replicas()
        if replicas is None:
            return False
        states = {(replica.group.id, replica.position, replica.object.digest()) for replica in replicas}
        store, group = replicas[0].object, replicas[0].group.id
        told = all(watcher.done(group, store.position()) for watcher in self._watchers.values())
        return len(states) == 1 and store.info().leases == 0 and told

    def _replicas(self) -> list[Replica[KV]] | None:
        """All nodes' replicas, once all nodes are full hosts in one view."""
        replicas: list[Replica[KV]] = []
        views = set()
        for name in self.plan.names:
            machine = self.world.nodes[name].machine
            if not isinstance(machine, NodeMachine) or machine.group.view is None:
                return None
            view, replica = machine.group.view, machine.gateway.replica("KV")
            if replica is None or set(replica.group.hosts) != set(self.plan.names):
                return None
            views.add(view.id)
            replicas.append(replica)
        return replicas if len(views) == 1 else None

    def unfinished(self) -> str:
        waiting = sorted(token for token, wish in self._wishes.items() if wish.completed is None)
        replicas = self._replicas()
        if replicas is None:
            return f"not all nodes host the store; waiting for {waiting}"
        states = [(r.group.id, r.position, r.object.info()) for r in replicas]
        watchers = [(w.token, w.identity, w.position) for w in self._watchers.values() if w.ended is None]
        return f"waiting for {waiting}; {states}; watchers {watchers}"

    def judge(self, history: Sequence[Any]) -> list[str]:  # noqa: ARG002 (the logs are the history)
        found: dict[bytes, list[Event]] = {}
        for log in self.logs.values():
            for event in log:
                if event.item is not None:
                    found.setdefault(event.item.value, []).append(event)
        wrong = [
            text
            for watcher in self._watchers.values()
            if watcher.identity not in self._holes
            and (text := watcher.wrong(self.logs.get(watcher.identity, []))) is not None
        ]
        for wish in self._wishes.values():
            events = found.get(wish.value, [])
            if not wish.writes or wish.completed is None:
                continue
            result = self._result(wish) if wish.completed.end is End.DONE else None
            happened = wish.completed.end is End.DONE and not isinstance(result, Exception)
            allowed = {wish.writes} if happened else {0, wish.writes} if wish.completed.end is End.UNKNOWN else {0}
            if self._holes:
                allowed.add(0)  # what was compacted before anybody looked is in no log
            if len(events) not in allowed or len({event.revision for event in events}) > 1:
                wrong.append(f"exactly once: {wish.completed} wrote {events}")
            elif happened and events and events[0].revision != (result.revision if isinstance(result, Txn) else result):
                wrong.append(f"revision: {result} was answered, and {events[0]} done")
        return wrong
