"""Troupes of the product in the simulated network: servers that execute a procedure, clients that call it, and what
becomes of their messages and of them.

The nodes are whole nodes of the product, with views, flush and failure detection.  The servers' program takes its time
for each call, and may answer wrongly.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from phalanx.calls.messages import Answers, CallId, Letter, Submit
from phalanx.calls.procedures import ServiceType
from phalanx.calls.requests import CallEnded, CallTroupe, Execute, Executed, Want
from phalanx.group.config import Config, Timing
from phalanx.lab.groups import LIMITS
from phalanx.lab.textbook.interposed import Interposed
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Machine
from phalanx.model.procedures import procedure
from phalanx.model.view import GroupSpec, Name, Order
from phalanx.node.node import Node as Machinery
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

TIMING = Timing()
"""The product's own."""

WORK_NS = 20 * MILLISECOND
"""How long a server takes for a call."""

CALL_NS = 5 * SECOND
"""How long a caller waits: longer than any view change takes."""

FORMING_NS = 60 * SECOND


class Adder:
    """What the servers offer.  (The simulated servers compute it themselves.)"""

    @procedure(combine=max)
    def double(self, number: int) -> int:
        """Twice the number."""
        return 2 * number


SERVICE = ServiceType(Adder)
DOUBLE = SERVICE.procedures["double@1"]


class Fall(NamedTuple):
    """A node that crashes once it has received so many messages, of whatever kind, since the first call."""

    name: Name
    after: int


class Ended(NamedTuple):
    """What a client was told, and how long after its call."""

    end: CallEnded
    latency_ns: int

    @property
    def values(self) -> list[int]:
        """The results that came, host by host."""
        return [DOUBLE.result(outcome) for _, outcome in self.end.answers]


class Stage:
    """A formed group of `servers`, and `clients` that are members of the cluster without hosting the group."""

    def __init__(
        self, servers: Sequence[Name], clients: Sequence[Name], order: Order, fall: Fall | None = None
    ) -> None:
        self.servers = tuple(servers)
        self.clients = tuple(clients)
        self.executions: Counter[tuple[Name, CallId]] = Counter()
        self.copies: Counter[Name] = Counter()
        """Submissions received, by server."""
        self.answers: Counter[Name] = Counter()
        """Answers received, by client."""
        self.ended: dict[Name, list[Ended]] = {name: [] for name in clients}
        self.liars: frozenset[Name] = frozenset()
        """Servers that answer one too many."""
        self.silent_after: Name = ""
        """A server that stops for good as soon as it is given a call."""
        self.fall = fall
        """Who is to crash, until it is taken away."""
        self._received = 0
        self.fallen = False
        self._begun: dict[tuple[Name, int], int] = {}
        self._tokens = 0
        self._spec = GroupSpec("adders", order, contract=SERVICE.contract)
        names = [*servers, *clients]
        self._peers = tuple((name, name) for name in names)
        self.world = World(1, self._start, deliver=self._deliver)
        for name in names:
            self.world.add(name)
        assert self.world.run_while(lambda: not self.is_whole(names, servers), FORMING_NS), "the group forms"
        self.world.run_for(SECOND)

    def call(
        self,
        client: Name,
        number: int,
        want: Want,
        *,
        joint: tuple[str, int] | None = None,
        fanout: int = 0,
    ) -> None:
        """Have the client call."""
        self._tokens += 1
        self._begun[client, self._tokens] = self.world.now
        deadline = self.world.nodes[client].clocks.mono(self.world.now) + CALL_NS
        request = CallTroupe(
            self._tokens, "adders", DOUBLE.id, DOUBLE.types, DOUBLE.encode(number), want, deadline, fanout, joint
        )
        self.world.request(client, request)

    def run_until_told(self, clients: Sequence[Name], calls: int = 1) -> None:
        """Until each of these has been told of so many calls."""
        self.world.run_while(lambda: any(len(self.ended[c]) < calls for c in clients), 2 * CALL_NS, MILLISECOND)
        assert not self.world.failures, self.world.failures

    def machinery(self, name: Name) -> Machinery | None:
        """The node of that name, if it runs."""
        machine = self.world.nodes[name].machine
        return machine.machine if isinstance(machine, Interposed) and isinstance(machine.machine, Machinery) else None

    def is_whole(self, names: Sequence[Name], servers: Sequence[Name]) -> bool:
        """These, and nobody else, are full members, and those servers host the group."""
        for name in names:
            machine = self.machinery(name)
            view = machine.group.view if machine is not None else None
            group = view.group_named("adders") if view is not None else None
            if view is None or group is None or len(view.members) != len(names) or len(group.hosts) != len(servers):
                return False
        return True

    # --- inside

    def _start(self, setup: Setup) -> Machine:
        config = Config(setup.name, setup.address, (), self._peers, (), TIMING, LIMITS)
        node = Machinery(config, setup.durable, setup.rng, setup.now)
        if setup.name in self.servers:
            self.world.schedule(0, self._request, setup.name, node.serve(SERVICE, self._spec))

        def receives(message: Any) -> bool:
            return self._comes(setup.name, message)

        return Interposed(node, receives, lambda _: True)

    def _request(self, name: Name, request: Any) -> None:
        self.world.request(name, request)

    def _comes(self, name: Name, message: Any) -> bool:
        if self.fall is not None and name == self.fall.name and self._begun:
            self._received += 1
            if self._received > self.fall.after and not self.fallen:
                self.fallen = True
                self.world.schedule(0, self.world.crash, name)
            if self.fallen:
                return False
        if isinstance(message, Letter):
            self.copies[name] += isinstance(message.body, Submit)
            self.answers[name] += isinstance(message.body, Answers)
        return True

    def _deliver(self, node: Node, delivery: Any) -> None:
        match delivery:
            case Execute(token, _, call, _, _, arguments):
                self.executions[node.name, call] += 1
                if node.name == self.silent_after:
                    self.world.schedule(0, self.world.pause, node.name)
                value = 2 * DOUBLE.decode(arguments)["number"] + (node.name in self.liars)
                done = Executed(token, DOUBLE.outcome(value))
                self.world.schedule(WORK_NS, self._request, node.name, done)
            case CallEnded(token):
                latency = self.world.now - self._begun[node.name, token]
                self.ended[node.name].append(Ended(delivery, latency))
            case _:
                pass
