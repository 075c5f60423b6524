"""A replicated object whose class changes while nodes are restarted one by one with the new code, under every fault.

Each node gets the new code at a time of its own, with a restart, mostly in the storm; in some runs a third version
follows, and some nodes skip the second.  In some runs a node is away meanwhile, and comes back with its former code when
the others have gone over: it is refused, and stopped, until its turn comes.  In some, one node or all of them die just
when the group goes over.
The versions keep the texts of `lab.service` in different ways and answer alike, so the same history judges them; every
execution is compared with what other replicas made of it, each by the version that it ran.
"""

import random
from collections.abc import Iterable
from typing import Any

import msgspec

from phalanx.lab.objects import Asked
from phalanx.lab.service import KEYS, TEXTS, ServiceScenario, Texts
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Machine, Output
from phalanx.model.replicated import command, query, version
from phalanx.model.view import Name
from phalanx.node.node import Node as Machinery
from phalanx.replication.inflight import ObjectUpgraded, UpgradeFailed, VersionRefused
from phalanx.replication.objects import Invocation, ObjectType
from phalanx.replication.objects import describe as describe_class
from phalanx.replication.replica import Replica
from phalanx.sim.node import Node, Setup
from phalanx.sim.run import Call
from phalanx.testing.observed import Watcher, observed
from phalanx.testing.scenario import DURABLE

STORM_NS = 9 * SECOND
"""The longest: an upgrade waits for seconds without a change of the view."""


AWAY_NS = 6 * SECOND
"""How long a node is away that misses an upgrade."""


@version(2, replaces=Texts)
class Parts:
    """The texts in parts, and how often each key was written."""

    parts: dict[str, list[str]]
    writes: int

    def __init__(self) -> None:
        self.parts = {}
        self.writes = 0

    def upgrade(self, former: Texts) -> None:
        self.parts = {key: [text] for key, text in former.texts.items()}
        self.writes = sum(len(text.split()) for text in former.texts.values())

    @command  # not atomic, so that it is undone by copies
    def put(self, key: str, value: str) -> None:
        self.parts[key] = [value]
        self.writes += 1

    @command
    def append(self, key: str, value: str) -> int:
        self.parts.setdefault(key, []).append(value)
        self.writes += 1
        return sum(map(len, self.parts[key]))

    @query
    def get(self, key: str) -> str:
        return "".join(self.parts.get(key, ()))

    @query
    def count(self) -> int:
        return self.writes


@version(3, replaces=Parts)
class Counted(Parts):
    """The same, with one more operation and one more attribute: its state is taken over as it is."""

    cleared: int = 0

    @command
    def clear(self, key: str) -> None:
        self.parts.pop(key, None)
        self.cleared += 1


VERSIONS: tuple[type[Any], ...] = (Texts, Parts, Counted)
"""By number, from 1."""


class UpgradeScenario(ServiceScenario):
    """See the module's text."""

    durable = True
    versions = VERSIONS

    def __init__(self) -> None:
        super().__init__()
        self.swarm = msgspec.structs.replace(DURABLE, storm_ns=STORM_NS)
        self._watcher = Watcher(lambda kind, text: self.world.fail(kind, text))
        self._code: dict[Name, int] = {}
        """Up to which version each node has code."""
        self._deployed = 0
        """How many of the planned restarts have been done."""
        self._deployments = 0
        self._begun: set[tuple[int, int]] = set()
        """Upgrades that some node has begun: its life, and the position."""
        self._strikes = 0
        """How often nodes are still to die while the group goes over."""
        self.last = 1
        """The last that nodes get the code of."""

    def kind(self, setup: Setup | None) -> ObjectType[Any]:
        if setup is None:
            return TEXTS
        return observed(self.versions[self._code.get(setup.name, 1) - 1], setup.name, self._watcher)

    def build(self) -> None:
        super().build()
        rng = random.Random(f"{self.plan.seed}/upgrade")
        self.last = rng.choice((2, 2, 3))
        self._callers = {name: rng.choice((1, self.last)) for name in self.clients}
        self._code = dict.fromkeys(self.plan.names, 1)
        storm = max(SECOND, self.plan.heal_at_ns)
        begin = rng.uniform(0, 0.5) * storm
        late = rng.choice(self.plan.names) if self.plan.nodes > 2 and rng.random() < 0.4 else None
        self._strikes, self._aim = rng.choice((0, 1, 2)), rng
        for number in range(2, self.last + 1):
            apart = rng.choice((20 * MILLISECOND, 200 * MILLISECOND, SECOND))
            begin += rng.choice((0, 3 * SECOND))
            for place, name in enumerate(rng.sample(self.plan.names, self.plan.nodes)):
                if number < self.last and rng.random() < 0.3:
                    continue  # it gets both at once
                self._deployments += 1
                at = int(begin + place * apart)
                if name == late:
                    self.world.at(int(begin), self.world.crash, name)
                    at += AWAY_NS + 3 * SECOND
                    self.world.at(int(begin) + AWAY_NS, self.world.start, name)
                self.world.at(at, self._deploy, name, number, rng.randrange(SECOND))

    def _deploy(self, name: Name, number: int, down_ns: int) -> None:
        """The node is restarted with new code."""
        self._deployed += 1
        self._code[name] = max(self._code[name], number)
        self.world.crash(name)
        self.world.schedule(down_ns, self.world.start, name)

    def after_step(self, node: Node, output: Output) -> str | None:
        replica = self._replica(node.name) if node.name in self._code else None
        if replica is not None and replica.is_upgrading and (at := (node.life, replica.position)) not in self._begun:
            self._begun.add(at)
            self._upgrade_begins()
        return super().after_step(node, output)

    def _upgrade_begins(self) -> None:
        """Clients call just then, and nodes may die."""
        for _ in range(3):
            client = self._aim.choice(self.clients)
            self.world.schedule(self._aim.randrange(20 * MILLISECOND), self._call_now, client)
        if self._strikes:
            self._strikes -= 1
            names = self._aim.choice(([self._aim.choice(self.plan.names)], self.plan.names))
            self.world.schedule(self._aim.randrange(100 * MILLISECOND), self._strike, names)

    def _call_now(self, client: Name) -> None:
        asked = self.ask((self._aim.choice(("append", "append", "get")), self._aim.choice(KEYS), client))
        self.world.request(client, *self._call(self.world.nodes[client], asked))

    def _strike(self, names: list[Name]) -> None:
        for name in names:
            self.world.crash(name, host=len(names) > 1 and not self.storm.over)  # links break at once in calm
            self.world.schedule(self._aim.randrange(2 * SECOND), self.world.start, name)

    def start(self, setup: Setup) -> Machine:
        if setup.name in self._code:  # each node asks for the group as its own code would found it
            contract = self.kind(setup).contract
            self.spec = msgspec.structs.replace(self.spec, contract=contract)
        return super().start(setup)

    def deliver(self, node: Node, delivery: Any) -> Iterable[Any] | None:
        match delivery:
            case ObjectUpgraded():
                pass
            case UpgradeFailed():
                self.upgrade_failed(delivery)
            case VersionRefused():
                if self._code[node.name] == self.last:
                    self.world.fail("upgrade", f"{node.name} has all versions: {delivery}")
                self.world.restart(node.name, SECOND)  # as a supervisor does, in vain until it has the code
            case _:
                return super().deliver(node, delivery)
        return None

    def workload(self, rng: random.Random) -> Iterable[Call]:
        for call in super().workload(rng):
            yield call._replace(what=(*call.what, call.node))

    def ask(self, what: Any) -> Asked:
        f, key, *caller = what
        asked = super().ask((f, key))
        kind = KINDS[self._callers.get(caller[0], 1)] if caller else TEXTS
        operation = kind.operations[asked.invocation.operation.id]
        return asked._replace(invocation=Invocation(operation, asked.invocation.arguments))

    def probe(self, client: Name) -> Asked:
        return self.ask(("append", KEYS[0], client))

    def finished(self) -> bool:
        if self._deployed < self._deployments:
            return False
        replicas = [self._replica(name) for name in self.plan.names if not self.world.nodes[name].retired]
        ready = all(replica is None or self.is_there(replica) for replica in replicas)
        return ready and super().finished()

    def is_there(self, replica: Replica[Any]) -> bool:
        """It runs the version that all come to in the end."""
        return replica.kind.version == self.last

    def upgrade_failed(self, failed: UpgradeFailed) -> None:
        """The hosts did not come to one state."""
        self.world.fail("upgrade", str(failed))

    def _replica(self, name: Name) -> Replica[Any] | None:
        machine = self.world.nodes[name].machine
        return machine.gateway.replica(self.object_name) if isinstance(machine, Machinery) else None

    def state_of(self, replica: Replica[Any]) -> bytes:
        return replica.kind.state.digest(replica.object).value

    def unfinished(self) -> str:
        def at(name: Name) -> str:
            machine, replica = self.world.nodes[name].machine, self._replica(name)
            if not isinstance(machine, Machinery) or replica is None:
                return "nothing"
            return f"version {replica.kind.version}, {machine.gateway.of_versions(replica.group)}"

        return "; ".join([super().unfinished(), *(f"{name} has {at(name)}" for name in self.plan.names)])


KINDS: dict[int, ObjectType[Any]] = {number: describe_class(cls) for number, cls in enumerate(VERSIONS, 1)}
"""As clients know them."""
