"""Computations on servers that call servers, as group calls of the product; and what becomes of them with their client.

Every server is the one host of a troupe of its own name.  Its program computes for as long as it is told, and has another
server do so too; if its computation is abandoned, it cancels what it had called for, as `async` procedures do by
themselves.  Nobody keeps a log, claims anything, or asks for time: that a client has crashed is said by the view.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from phalanx.calls.procedures import ServiceType
from phalanx.calls.requests import Abandoned, CallTroupe, CancelCall, Execute, Executed, Want
from phalanx.group.config import Config, Timing
from phalanx.lab.groups import LIMITS
from phalanx.lab.textbook.interposed import Severed
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Machine
from phalanx.model.procedures import procedure
from phalanx.model.view import GroupSpec, Name
from phalanx.node.node import Node as Machinery
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

TIMING = Timing()
PATIENCE_NS = 1000 * SECOND


class Worker:
    """What every server offers.  (The simulated servers do it themselves.)"""

    @procedure
    def compute(self, client: str, work_ms: int, path: list[str]) -> None:
        """For that long, on behalf of the client; and have the servers of `path` do so too, each by the one before."""


SERVICE = ServiceType(Worker)
COMPUTE = SERVICE.procedures["compute@1"]


class Computed(NamedTuple):
    """One computation.  `client`: for whom; times in nanoseconds of the world."""

    client: Name
    server: Name
    begun: int
    ended: int
    killed: bool


class _Running(NamedTuple):
    client: Name
    begun: int
    inner: int
    """Token of the call of another server; 0: none."""


class Nested:
    """A cluster of these servers and clients, formed.  Whoever's name is in `severed` is cut off."""

    def __init__(self, servers: Sequence[Name], clients: Sequence[Name]) -> None:
        self.severed: set[Name] = set()
        self.computed: list[Computed] = []
        self._servers = tuple(servers)
        self._tokens = 0
        self._running: dict[Name, dict[int, _Running]] = {name: {} for name in servers}
        names = [*servers, *clients]
        self._peers = tuple((name, name) for name in names)
        self.world = World(1, self._start, deliver=self._deliver)
        for name in names:
            self.world.add(name)
        assert self.world.run_while(lambda: not self._is_whole(names), 60 * SECOND), "the cluster forms"
        self.world.run_for(SECOND)

    def call(self, caller: Name, client: Name, path: Sequence[Name], work_ns: int) -> int:
        """Have the caller call the first server of the path.  The token of the call."""
        self._tokens += 1
        first, *rest = path
        arguments = COMPUTE.encode(client, work_ns // MILLISECOND, rest)
        deadline = self.world.nodes[caller].clocks.mono(self.world.now) + PATIENCE_NS
        call = CallTroupe(self._tokens, first, COMPUTE.id, COMPUTE.types, arguments, Want(), deadline)
        self.world.request(caller, call)
        return self._tokens

    def crash(self, name: Name) -> None:
        """The process ends, and what it computes."""
        self.world.crash(name)
        for token in list(self._running.get(name, {})):
            self._end(name, token, killed=False)

    @property
    def is_busy(self) -> bool:
        """Something is computed."""
        return any(self._running.values())

    # --- inside

    def _start(self, setup: Setup) -> Machine:
        config = Config(setup.name, setup.address, (), self._peers, (), TIMING, LIMITS)
        node = Machinery(config, setup.durable, setup.rng, setup.now)
        if setup.name in self._servers:
            spec = GroupSpec(setup.name, contract=SERVICE.contract)
            self.world.schedule(0, self._request, setup.name, setup.life, node.serve(SERVICE, spec))
        return Severed(node, setup.name, self.severed)

    def _request(self, name: Name, life: int, request: Any) -> None:
        if self.world.nodes[name].life == life:
            self.world.request(name, request)

    def _is_whole(self, names: Sequence[Name]) -> bool:
        machines = [node.machine.machine for node in self.world.nodes.values() if isinstance(node.machine, Severed)]
        views = [machine.group.view for machine in machines if isinstance(machine, Machinery)]
        return len(views) == len(names) and all(
            view is not None and len(view.members) == len(names) and len(view.groups) == len(self._servers)
            for view in views
        )

    def _deliver(self, node: Node, delivery: Any) -> None:
        match delivery:
            case Execute(token, _, _, _, _, arguments):
                what = COMPUTE.decode(arguments)
                client, work_ns, path = what["client"], what["work_ms"] * MILLISECOND, what["path"]
                inner = self.call(node.name, client, path, work_ns) if path else 0
                self._running[node.name][token] = _Running(client, self.world.now, inner)
                self.world.schedule(work_ns, self._finish, node.name, node.life, token)
            case Abandoned(token):
                inner = self._end(node.name, token, killed=True)
                if inner:
                    self._request(node.name, node.life, CancelCall(inner))
            case _:
                pass

    def _finish(self, name: Name, life: int, token: int) -> None:
        if self.world.nodes[name].life == life and token in self._running[name]:
            self._end(name, token, killed=False)
            self._request(name, life, Executed(token, COMPUTE.outcome(None)))

    def _end(self, name: Name, token: int, *, killed: bool) -> int:
        running = self._running[name].pop(token)
        self.computed.append(Computed(running.client, name, running.begun, self.world.now, killed))
        return running.inner
