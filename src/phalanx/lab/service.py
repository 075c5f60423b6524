"""A replicated object and its clients under every fault: nodes with their gateways, client machines, histories judged.

Each node hosts one object, a map of texts; some clients, which no fault strikes but the network's, put, append and get.
A text that is appended twice, lost, or read too late makes a history that no order of the calls explains (`check`).
After the storm every call must have come to its end, every client must be served, and all replicas must be equal.

The object lives in memory: if all its hosts fail it begins anew, and then nothing is promised of what was before.  Such a
run is judged by progress alone; the note `sim.state_lost` counts them.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from phalanx.check import Answer, Kv, check_linearizable, describe
from phalanx.group.config import Config
from phalanx.lab.groups import LIMITS, TIMING
from phalanx.model.clock import SECOND
from phalanx.model.events import Installed
from phalanx.model.history import Operation, Outcome
from phalanx.model.machine import Machine, Output
from phalanx.model.replicated import command, query
from phalanx.model.view import GroupId, GroupSpec, Name
from phalanx.node.node import Message
from phalanx.node.node import Node as Machinery
from phalanx.replication.calls import Call as CommandCall
from phalanx.replication.calls import Completed, End, Read
from phalanx.replication.client import ClientMachine
from phalanx.replication.inflight import ReplicaDiverged, SnapshotUnfaithful
from phalanx.replication.objects import describe as describe_class
from phalanx.sim.faults import CrashAll
from phalanx.sim.node import Node, Setup
from phalanx.sim.run import Call, Scenario
from phalanx.sim.swarm import Swarm

KEYS = ("x", "y")
"""Few, so that calls meet."""

CALL_S_MAX = 90
"""A call that has not ended by then is told to: longer than any storm."""

GROUP = "texts"


class Texts:
    """The object: what was written under each key, one text after the other."""

    texts: dict[str, str]

    def __init__(self) -> None:
        self.texts = {}

    @command(atomic=True)
    def put(self, key: str, value: str) -> None:
        self.texts[key] = value

    @command(atomic=True)
    def append(self, key: str, value: str) -> int:
        self.texts[key] = self.texts.get(key, "") + value
        return len(self.texts[key])

    @query
    def get(self, key: str) -> str:
        return self.texts.get(key, "")


TEXTS = describe_class(Texts)

_encode = msgspec.msgpack.Encoder().encode
_decode: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Message)


class ServiceScenario(Scenario):
    """See the module's text."""

    swarm = Swarm(
        sizes=(1, 2, 3, 3, 3, 4, 5),
        storm_ns=4 * SECOND,
        calm_ns=150 * SECOND,
        faults=tuple(kind for kind in Swarm().faults if kind != CrashAll.__name__),
    )
    fingerprint = staticmethod(repr)

    def __init__(self) -> None:
        self._token = 0
        self._under_way: dict[int, Operation] = {}
        self._probes: set[int] | None = None
        self._groups: set[GroupId] = set()

    @staticmethod
    def codec(message: Any) -> Any:
        return _decode.decode(_encode(message))

    # --- the cluster

    def build(self) -> None:
        rng = random.Random(f"{self.plan.seed}/service")
        lease_ms = rng.choice((0, 0, 300))
        self.spec = GroupSpec(GROUP, lease_ms=lease_ms, contract=TEXTS.contract)
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
        return Machinery(config, setup.durable, setup.rng, setup.now, {GROUP: (TEXTS, self.spec)})

    def deliver(self, node: Node, delivery: Any) -> Iterable[Any] | None:
        match delivery:
            case Completed():
                self._completed(node.name, delivery)
            case Installed(view) if (group := view.group_named(GROUP)) is not None:
                if self._groups and group.id not in self._groups:
                    self.world.tell("state_lost")
                self._groups.add(group.id)
            case ReplicaDiverged() | SnapshotUnfaithful():
                self.world.fail("replica", str(delivery))
            case _:
                pass
        return None

    # --- the load

    def workload(self, rng: random.Random) -> Iterable[Call]:
        end = self.plan.heal_at_ns
        for _ in range(rng.choice((10, 40, 100))):
            f = rng.choices(("append", "put", "get"), (5, 1, 4))[0]
            yield Call(rng.randrange(end), rng.choice(self.clients), (f, rng.choice(KEYS)))

    def perform(self, node: Node, what: Any) -> Iterable[Any]:
        f, key = what
        self._token += 1
        token, deadline = self._token, node.clocks.mono(self.world.now) + CALL_S_MAX * SECOND
        # Pipelined calls of one client are concurrent, so each is a process of its own.
        process, value = f"{node.name}/{token}", f"{token} "
        argument = None if f == "get" else value
        self._under_way[token] = Operation(process, f, key, argument, None, Outcome.INFO, self.world.now, None)
        operation = TEXTS.operations[f"{f}@1"]
        arguments = operation.encode((key,) if f == "get" else (key, value), {})
        make = Read if f == "get" else CommandCall
        return (make(token, GROUP, operation.id, operation.types, arguments, deadline),)

    def _completed(self, name: Name, completed: Completed) -> None:
        operation = self._under_way.pop(completed.token)
        result, outcome, ended = None, Outcome.INFO, None
        match completed.end:
            case End.DONE:
                assert completed.outcome is not None
                result = TEXTS.operations[f"{operation.f}@1"].result(completed.outcome)
                outcome, ended = Outcome.OK, self.world.now
            case End.NOT_HAPPENED:
                outcome, ended = Outcome.FAIL, self.world.now
            case End.UNKNOWN:
                pass
        result = result if operation.f == "get" else None
        self.world.history.append(operation._replace(result=result, outcome=outcome, completed=ended))
        if self._probes is not None and completed.token in self._probes:
            self._probes.discard(completed.token)
            if completed.end is not End.DONE and len(self._groups) > 1:
                self._probes = None  # its session was lost with the state: ask once more
            elif completed.end is not End.DONE:
                self.world.fail("not served", f"{name} after the storm: {completed.end}, {completed.text}")

    # --- the end

    def finished(self) -> bool:
        machines = [m for n in self.plan.names if isinstance(m := self.world.nodes[n].machine, Machinery)]
        views = [machine.group.view for machine in machines]
        view = views[0] if views else None
        if view is None or any(v != view for v in views) or len(view.members) != self.plan.nodes or self._under_way:
            return False
        group = view.group_named(GROUP)
        if group is None or len(group.hosts) != self.plan.nodes:
            return False
        if self._probes is None:
            self._probes = set()
            for name in self.clients:
                self.world.request(name, *self.perform(self.world.nodes[name], ("append", KEYS[0])))
                self._probes.add(self._token)
            return False
        replicas = [machine.gateway.replica(GROUP) for machine in machines]
        positions = {replica.position if replica is not None else -1 for replica in replicas}
        if self._probes or len(positions) != 1:
            return False
        states = {replica.snapshot() for replica in replicas if replica is not None}
        if len(states) != 1:
            self.world.fail("replica", f"{len(states)} states at position {positions.pop()}")
        return True

    def unfinished(self) -> str:
        def at(name: Name) -> str:
            machine = self.world.nodes[name].machine
            view = machine.group.view if isinstance(machine, Machinery) else None
            return "out" if view is None else f"view {view.id} {[m.name for m in view.members]} {view.groups}"

        states = "; ".join(f"{name} {at(name)}" for name in self.plan.names)
        return f"calls under way {sorted(self._under_way)}; {states}"

    def judge(self, history: Sequence[Any]) -> list[str]:
        if len(self._groups) > 1:
            return []
        verdict = check_linearizable([*history, *self._under_way.values()], Kv())
        if verdict.answer is Answer.LINEARIZABLE:
            return []
        why = "\n".join(describe(verdict.explanation)) if verdict.explanation else ""
        return [f"{verdict.answer.value} of linearizability: {why}"]

    def after_step(self, node: Node, output: Output) -> str | None:
        machine = node.machine
        if isinstance(machine, Machinery) and machine.gateway.deadline is not None:
            assert machine.group.is_fenced, "what is held is taken up when the view change is over"
        del output
        return None
