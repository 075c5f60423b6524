"""Whole nodes with a replicated object, and clients that call it, under every fault: what such scenarios share.

Each node hosts the object; some clients, which no fault strikes but the network's, call it.  After the storm every call
must have come to its end, every client must be served, and all replicas must be equal.

An object that lives in memory begins anew if all its hosts fail, and then nothing is promised of what was before.  Such a
run is judged by progress alone; the note `sim.state_lost` counts them.

A durable one never begins anew.  Disks of a minority may lose what was durable; then acknowledgements stand for more
disks than the bad ones twice over, and if all that is left of the object was on bad ones, it may wait for an operator
(see `lab.durable`).
"""

import random
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from phalanx.group.config import Config
from phalanx.lab.groups import LIMITS, TIMING, falsified
from phalanx.model.clock import SECOND
from phalanx.model.events import Installed
from phalanx.model.history import Operation, Outcome
from phalanx.model.machine import Machine
from phalanx.model.replicated import Kind
from phalanx.model.view import GroupId, GroupSpec, Name, View
from phalanx.node.node import Message
from phalanx.node.node import Node as Machinery
from phalanx.replication.calls import Call as CommandCall
from phalanx.replication.calls import Completed, End, Read
from phalanx.replication.client import ClientMachine
from phalanx.replication.inflight import SLICE_BYTES, ReplicaDiverged, SnapshotUnfaithful
from phalanx.replication.messages import Reply
from phalanx.replication.objects import Invocation, ObjectType
from phalanx.replication.outcome import Returned
from phalanx.replication.replica import Replica
from phalanx.sim.altering import altered
from phalanx.sim.faults import CrashAll, Spoiling
from phalanx.sim.node import Node, Setup
from phalanx.sim.run import Scenario
from phalanx.sim.swarm import Swarm

CALL_S_MAX = 90
"""A call that has not ended by then is told to: longer than any storm."""

_encode = msgspec.msgpack.Encoder().encode
_decode: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Message)


class Asked(NamedTuple):
    """A call as the history is to show it: what is asked, the key and the argument, and what travels."""

    f: str
    key: Any
    argument: Any
    invocation: Invocation[Any]


class ObjectScenario(Scenario):
    """See the module's text.  To be told: the object's type, what clients call, what they see of the answers, and what
    must hold."""

    swarm = Swarm(
        sizes=(1, 2, 3, 3, 3, 4, 5),
        storm_ns=4 * SECOND,
        faults=tuple(kind for kind in Swarm().faults if kind != CrashAll.__name__),
    )
    fingerprint = staticmethod(repr)
    packages = ("phalanx.group", "phalanx.node", "phalanx.replication")
    object_name: str
    """Of the object's group."""
    durable = False
    """It outlives its hosts."""

    def __init__(self) -> None:
        self._token = 0
        self.under_way: dict[int, Operation] = {}
        """What was asked and has not ended, by token."""
        self._asked: dict[int, Invocation[Any]] = {}
        self._probes: set[int] | None = None
        self._groups: dict[int, set[GroupId]] = {}
        """The object's, by cluster: a founder that lost its disk may found another, in which ids begin anew."""

    @staticmethod
    def codec(message: Any) -> Any:
        return _decode.decode(_encode(message))

    def alter(self, message: Any, rng: random.Random) -> Any:
        """A wrong answer to a client, or a command that nobody gave."""
        match message:
            case Reply(outcome=Returned(value)):
                wrong = _encode(altered(msgspec.msgpack.decode(value), rng))
                return msgspec.structs.replace(message, outcome=Returned(wrong))
            case _:
                return falsified(message, rng)

    def derail(self, node: Node, rng: random.Random) -> str | None:
        """The replica's state becomes another, in one part, between two commands: a bit of its memory flips, say."""
        machine = node.machine
        replica = machine.gateway.replica(self.object_name) if isinstance(machine, Machinery) else None
        state = {} if replica is None else vars(replica.object)
        wrong = altered(state, rng)
        if wrong == state:
            return None
        state.update(wrong)
        return f"the replica's state is {state}"

    # --- what the object is

    def kind(self, setup: Setup | None) -> ObjectType[Any]:
        """The type of the object that a starting node hosts (None: what clients know of it)."""
        raise NotImplementedError

    def ask(self, what: Any) -> Asked:
        """What a client is to call: `what` of the workload."""
        raise NotImplementedError

    def probe(self, client: Name) -> Asked:
        """The call that every client must have answered after the storm."""
        raise NotImplementedError

    def answered(self, operation: Operation, invocation: Invocation[Any], completed: Completed) -> Any:
        """What the history is to show of an answer."""
        raise NotImplementedError

    @property
    def state_lost(self) -> bool:
        """All hosts failed in this run, and the object began anew."""
        return any(len(groups) > 1 for groups in self._groups.values())

    # --- the cluster

    def build(self) -> None:
        rng = random.Random(f"{self.plan.seed}/service")
        lease_ms = rng.choice((0, 0, 300))
        contract = self.kind(None).contract
        names = self.plan.names
        spoiled = {f.node for f in self.plan.faults if isinstance(f, Spoiling) and f.node < len(names)}
        self._bad = {names[node] for node in spoiled}
        copies = 2 * len(spoiled) + 1 if self.durable else 1
        self.spec = GroupSpec(
            self.object_name, lease_ms=lease_ms, contract=contract, durable=self.durable, min_copies=copies
        )
        self.clients = tuple(f"~{number}" for number in range(rng.choice((1, 2, 3, 4))))
        super().build()
        for name in self.clients:
            self.world.add(name)

    def start(self, setup: Setup) -> Machine:
        names = self.plan.names
        if setup.name in self.clients:
            return ClientMachine(setup.rng.sample(names, len(names)), setup.rng)
        peers = tuple((name, name) for name in names)
        config = Config(setup.name, setup.address, (), peers, (), TIMING, LIMITS)
        objects = {self.object_name: (self.kind(setup), self.spec)}
        journal = setup.journal if self.durable else None
        return Machinery(config, setup.durable, setup.rng, setup.now, objects, journal)

    def deliver(self, node: Node, delivery: Any) -> Iterable[Any] | None:
        match delivery:
            case Completed():
                self._completed(node.name, delivery)
            case Installed(view) if (group := view.group_named(self.object_name)) is not None:
                groups = self._groups.setdefault(view.cluster, set())
                if groups and group.id not in groups:
                    self.world.tell("state_lost")
                    if self.durable:
                        self.world.fail(
                            "state lost", f"{node.name} is in view {view.id}, in which the object began anew"
                        )
                groups.add(group.id)
            case ReplicaDiverged() | SnapshotUnfaithful():
                self.world.fail("replica", str(delivery))
            case _:
                pass
        return None

    # --- the load

    def perform(self, node: Node, what: Any) -> Iterable[Any]:
        return self._call(node, self.ask(what))

    def _call(self, node: Node, asked: Asked) -> Iterable[Any]:
        self._token += 1
        token, deadline = self._token, node.clocks.mono(self.world.now) + CALL_S_MAX * SECOND
        # Pipelined calls of one client are concurrent, so each is a process of its own.
        process = f"{node.name}/{token}"
        f, key, argument, invocation = asked
        self.under_way[token] = Operation(process, f, key, argument, None, Outcome.INFO, self.world.now, None)
        self._asked[token] = invocation
        operation = invocation.operation
        make = Read if operation.kind is Kind.QUERY else CommandCall
        return (make(token, self.object_name, operation.id, operation.types, invocation.arguments, deadline),)

    def _completed(self, name: Name, completed: Completed) -> None:
        operation, invocation = self.under_way.pop(completed.token), self._asked.pop(completed.token)
        result, outcome, ended = None, Outcome.INFO, None
        match completed.end:
            case End.DONE:
                assert completed.outcome is not None
                result = self.answered(operation, invocation, completed)
                outcome, ended = Outcome.OK, self.world.now
            case End.NOT_HAPPENED:
                outcome, ended = Outcome.FAIL, self.world.now
            case End.UNKNOWN:
                pass
        self.world.history.append(operation._replace(result=result, outcome=outcome, completed=ended))
        if self._probes is not None and completed.token in self._probes:
            self._probes.discard(completed.token)
            if completed.end is not End.DONE and self.state_lost:
                self._probes = None  # its session was lost with the state: ask once more
            elif completed.end is not End.DONE:
                self.world.fail("not served", f"{name} after the storm: {completed.end}, {completed.text}")

    # --- the end

    def finished(self) -> bool:
        machines = [m for n in self.plan.names if isinstance(m := self.world.nodes[n].machine, Machinery)]
        views = [machine.group.view for machine in machines]
        view = views[0] if views else None
        nodes = self.plan.nodes - len(self.storm.gone)
        if view is None or any(v != view for v in views) or len(view.members) != nodes or self.under_way:
            return False
        group = view.group_named(self.object_name)
        if group is None and self._waits_for_operator(view):
            return True
        if group is None or len(group.hosts) != nodes:
            return False
        if self._probes is None:
            self._probes = set()
            for name in self.clients:
                self.world.request(name, *self._call(self.world.nodes[name], self.probe(name)))
                self._probes.add(self._token)
            return False
        replicas = [machine.gateway.replica(self.object_name) for machine in machines]
        positions = {replica.position if replica is not None else -1 for replica in replicas}
        if self._probes or len(positions) != 1 or -1 in positions:
            return False
        states = {self.state_of(replica) for replica in replicas if replica is not None}
        if len(states) != 1:
            self.world.fail("replica", f"{len(states)} states at position {positions.pop()}")
        return True

    def _waits_for_operator(self, view: View) -> bool:
        """All that is left of the object was on disks that lost it."""
        waits = next((s for s in view.suspended if s.group.spec.name == self.object_name), None)
        return waits is not None and set(waits.group.hosts) <= self._bad

    def state_of(self, replica: Replica[Any]) -> bytes:
        """What must be equal at all replicas in the end."""
        return b"".join(data for data in replica.slices(SLICE_BYTES) if data is not None)

    def unfinished(self) -> str:
        def at(name: Name) -> str:
            machine = self.world.nodes[name].machine
            view = machine.group.view if isinstance(machine, Machinery) else None
            return "out" if view is None else f"view {view.id} {[m.name for m in view.members]} {view.groups}"

        states = "; ".join(f"{name} {at(name)}" for name in self.plan.names)
        return f"calls under way {sorted(self.under_way)}; {states}"
