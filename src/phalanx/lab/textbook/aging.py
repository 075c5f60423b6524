"""A troupe whose hosts age: in each life of a host its state spoils after a time drawn by chance, and from then on it
answers wrongly.  Nothing tells (a Heisenbug: it would not be there if one looked).  A restart brings a fresh state.

The nodes are whole nodes of the product; a client votes on what the hosts answer.  Who is restarted when is decided by
the product's `Rolling`, or by a clock that looks at nothing, or nobody is.
"""

import enum
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from phalanx.calls.requests import CallEnded, CallTroupe, Execute, Executed, Finish, Rule, Want
from phalanx.group.config import Config
from phalanx.lab.groups import LIMITS, TIMING
from phalanx.lab.textbook.troupes import DOUBLE, SERVICE
from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import Machine
from phalanx.model.view import GroupSpec, Name, Order
from phalanx.node.node import Node as Machinery
from phalanx.node.rolling import Restart, Rolling, Stop
from phalanx.node.status import Status
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

SERVERS = ("s1", "s2", "s3")
CLIENT = "c1"

CALL_EVERY_NS = 200 * MILLISECOND
CALL_NS = SECOND
"""How long a caller waits."""

POLL_NS = 50 * MILLISECOND
"""How often the nodes are asked how they are."""

NUMBER = 21


class Policy(enum.StrEnum):
    """Who is restarted when."""

    NONE = "nobody"
    ROLLING = "rolling"
    BY_CLOCK = "by the clock"
    AT_ONCE = "all at once"


class Plan(NamedTuple):
    """One run.  Times in seconds."""

    policy: Policy
    mean_s: float
    """How long a host lives until its state spoils, on average."""
    period_s: float
    """Between two restarts of one host, or thereabouts."""
    down_s: float
    """How long a restart takes."""
    length_s: float
    seed: int = 1


class Vote(NamedTuple):
    """One call."""

    at_s: float
    ages_s: tuple[float, ...]
    """Of the hosts that executed it."""
    spoiled: int
    """How many of them answered wrongly."""
    hosts: int
    """How many it was delivered to."""
    finish: Finish
    right: bool


class Aged(NamedTuple):
    """What happened."""

    plan: Plan
    votes: tuple[Vote, ...]
    restarts: int
    most_down: int
    """The most servers that were no hosts of the troupe at a time."""
    stopped: str
    """Why the rolling restart stopped, if it did."""
    spoiled: float
    """Share of the time, over all hosts, in which their states were spoiled."""


def age(plan: Plan) -> Aged:
    """Run it."""
    return _Aging(plan).run()


class _Aging:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chance = random.Random(f"aging {plan.seed}")
        self._born: dict[Name, int] = {}
        self._spoils: dict[Name, int] = {}
        self._calls: dict[int, int] = {}
        self._ages: dict[int, list[float]] = {}
        self._wrong: dict[int, int] = {}
        self._votes: list[Vote] = []
        self._restarts = 0
        self._most_down = 0
        self._stopped = ""
        self._spoiled = self._lived = 0
        self._turn = 0
        self._spec = GroupSpec("adders", Order.TOTAL, contract=SERVICE.contract)
        names = (*SERVERS, CLIENT)
        self._peers = tuple((name, name) for name in names)
        self._rolling = self._new_rolling()
        self.world = World(f"aging {plan.seed}", self._start, deliver=self._deliver)
        for name in names:
            self.world.add(name)
        assert self.world.run_while(lambda: self._hosts() < len(SERVERS), 60 * SECOND), "the group forms"
        self.world.run_for(SECOND)

    def run(self) -> Aged:
        plan, world = self._plan, self.world
        self._zero = world.now
        end = world.now + int(plan.length_s * SECOND)
        for name in SERVERS:
            self._be_born(name)
        self._poll(end)
        self._call(end)
        if plan.policy in (Policy.BY_CLOCK, Policy.AT_ONCE):
            self._restart_by_clock(end)
        world.run_until(end + 2 * CALL_NS)
        assert not world.failures, world.failures
        share = self._spoiled / self._lived
        return Aged(plan, tuple(self._votes), self._restarts, self._most_down, self._stopped, share)

    # --- hosts that age

    def _start(self, setup: Setup) -> Machine:
        config = Config(setup.name, setup.address, (), self._peers, (), TIMING, LIMITS)
        node = Machinery(config, setup.durable, setup.rng, setup.now)
        if setup.name in SERVERS:
            self.world.schedule(0, self._request, setup.name, node.serve(SERVICE, self._spec))
            self._be_born(setup.name)
        return node

    def _be_born(self, name: Name) -> None:
        self._born[name] = self.world.now
        self._spoils[name] = self.world.now + int(self._chance.expovariate(1 / self._plan.mean_s) * SECOND)

    def _request(self, name: Name, request: Any) -> None:
        self.world.request(name, request)

    def _deliver(self, node: Node, delivery: Any) -> None:
        match delivery:
            case Execute(token, _, call, _, _, arguments):
                number = call.number
                self._ages.setdefault(number, []).append((self.world.now - self._born[node.name]) / SECOND)
                wrong = self.world.now >= self._spoils[node.name]
                self._wrong[number] = self._wrong.get(number, 0) + wrong
                value = 2 * DOUBLE.decode(arguments)["number"] + wrong
                self._request(node.name, Executed(token, DOUBLE.outcome(value)))
            case CallEnded(token, finish, answers, _, _, hosts):
                number, at = token - 1, (self._calls.pop(token) - self._zero) / SECOND
                values = [DOUBLE.result(outcome) for _, outcome in answers]
                right = finish is Finish.DONE and 2 * values.count(2 * NUMBER) > hosts
                ages = tuple(self._ages.get(number, ()))
                self._votes.append(Vote(at, ages, self._wrong.get(number, 0), hosts, finish, right))
            case _:
                pass

    def _call(self, end: int) -> None:
        token = len(self._calls) + len(self._votes) + 1
        self._calls[token] = self.world.now
        deadline = self.world.nodes[CLIENT].clocks.mono(self.world.now) + CALL_NS
        arguments = DOUBLE.encode(NUMBER)
        self._request(
            CLIENT, CallTroupe(token, "adders", DOUBLE.id, DOUBLE.types, arguments, Want(Rule.VOTED), deadline)
        )
        if self.world.now + CALL_EVERY_NS < end:
            self.world.schedule(CALL_EVERY_NS, self._call, end)

    # --- restarts

    def _new_rolling(self) -> Rolling:
        pause = self._plan.period_s / len(SERVERS)
        return Rolling(SERVERS, pause_ns=int(pause * SECOND))

    def _poll(self, end: int) -> None:
        """Look at what is there, and let `Rolling` decide."""
        world = self.world
        self._most_down = max(self._most_down, len(SERVERS) - self._hosts())
        for name in SERVERS:
            if world.nodes[name].machine is not None:
                self._lived += POLL_NS
                self._spoiled += POLL_NS * (world.now >= self._spoils[name])
        if self._plan.policy is Policy.ROLLING and not self._stopped:
            match self._rolling.step(self._statuses(), Instant(world.now, 0)):
                case Restart(name):
                    self._restart(name)
                case Stop(why):
                    self._stopped = why
                case _:
                    pass
            if len(self._rolling.restarted) == len(SERVERS):
                self._rolling = self._new_rolling()
        if world.now + POLL_NS < end:
            world.schedule(POLL_NS, self._poll, end)

    def _restart_by_clock(self, end: int) -> None:
        everybody = self._plan.policy is Policy.AT_ONCE
        interval = self._plan.period_s / (1 if everybody else len(SERVERS))
        if self._turn:
            for name in SERVERS if everybody else (SERVERS[self._turn % len(SERVERS)],):
                self._restart(name)
        self._turn += 1
        if self.world.now + int(interval * SECOND) < end:
            self.world.schedule(int(interval * SECOND), self._restart_by_clock, end)

    def _restart(self, name: Name) -> None:
        self._restarts += 1
        self.world.restart(name, int(self._plan.down_s * SECOND))

    def _statuses(self) -> Mapping[Name, Status | None]:
        machines = {name: node.machine for name, node in self.world.nodes.items()}
        return {name: m.status if isinstance(m, Machinery) else None for name, m in machines.items()}

    def _hosts(self) -> int:
        """How many servers are hosts, as the client sees it."""
        machine = self.world.nodes[CLIENT].machine
        view = machine.group.view if isinstance(machine, Machinery) else None
        group = view.group_named("adders") if view is not None else None
        return len(group.hosts) if group is not None else 0
