"""A client that crashes while servers compute for it, one of them for another: with each treatment of orphans, and with
the product's group calls.  What else happens is a plan.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from phalanx.lab.textbook.interposed import Severed
from phalanx.lab.textbook.nested import Nested
from phalanx.lab.textbook.orphans import Began, CallId, Client, Ended, Server, Treatment
from phalanx.model.clock import SECOND
from phalanx.model.machine import Machine, Output
from phalanx.model.view import Name
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

SERVERS = ("s1", "s2", "s3")
CALLS = {"a": (("s1",), ("s1", "s2")), "b": (("s3",), ("s3", "s2"))}
"""Of each client, the servers of each of its calls: the second is called by the first."""

WORK_S = 10.0
CRASH_S = 2.5
BACK_S = 4.5
QUANTUM_S = 1.0


class Plan(NamedTuple):
    """What happens besides the crash of a.  Times in seconds after the calls."""

    name: str
    back_s: float | None = BACK_S
    cut: Name = ""
    """Who is cut off from everybody."""
    cut_s: tuple[float, float] = (0.0, 0.0)
    crash: tuple[Name, float] | None = None
    """A server that crashes as well, and stays down."""


class Span(NamedTuple):
    """One computation at one server: from when to when, and whether it was killed.  Seconds after the calls."""

    call: CallId
    begun: float
    ended: float
    killed: bool


class Observed(NamedTuple):
    """One run."""

    spans: tuple[Span, ...]
    crash_s: float
    writes: int
    messages: int

    def orphans_at(self, time: float) -> int:
        """Computations whose client has crashed."""
        return sum(span.call.owner == "a" and max(span.begun, self.crash_s) <= time < span.ended for span in self.spans)

    @property
    def orphan_s(self) -> float:
        """Seconds that all orphans have lived as such."""
        return sum(max(0.0, s.ended - max(s.begun, self.crash_s)) for s in self.spans if s.call.owner == "a")

    @property
    def wrongly(self) -> int:
        """Computations that were killed although their client lives."""
        return sum(span.killed and span.call.owner == "b" for span in self.spans)


def observe(
    plan: Plan,
    treatment: Treatment,
    crash_s: float = CRASH_S,
    quantum_s: float = QUANTUM_S,
    calls: Mapping[Name, tuple[tuple[Name, ...], ...]] = CALLS,
) -> Observed:
    """Run it until nothing is computed any more."""
    begun: dict[tuple[Name, CallId], float] = {}
    spans: list[Span] = []
    writes = 0
    severed: set[Name] = set()
    work_ns, quantum_ns = int(WORK_S * SECOND), int(quantum_s * SECOND)

    def start(setup: Setup) -> Machine:
        machine: Machine
        if setup.name in SERVERS:
            machine = Server(setup.durable, treatment, SERVERS, quantum_ns)
        else:
            machine = Client(setup.name, setup.durable, treatment, SERVERS, calls[setup.name], work_ns)
        return Severed(machine, setup.name, severed)

    def elapsed() -> float:
        return (world.now - zero) / SECOND

    def deliver(node: Node, delivery: Any) -> None:
        match delivery:
            case Began(call):
                begun[node.name, call] = elapsed()
            case Ended(call, killed):
                spans.append(Span(call, begun.pop((node.name, call)), elapsed(), killed))

    def after_step(_: Node, out: Output) -> None:
        nonlocal writes
        writes += len(out.writes)

    def crash(name: Name) -> None:
        world.crash(name)
        for key in [key for key in begun if key[0] == name]:
            spans.append(Span(key[1], begun.pop(key), elapsed(), False))

    world = World(1, start, deliver=deliver, after_step=after_step, conditions=Conditions(stagger_ns=0))
    for name in SERVERS:
        world.add(name)
    world.run_for(SECOND)
    zero = world.now
    for name in calls:
        world.add(name)
    _arrange(world, plan, crash_s, crash, severed)
    world.run_for(int((WORK_S + 1) * SECOND))
    assert not world.failures, world.failures
    assert not begun, f"still computed: {begun}"
    return Observed(tuple(sorted(spans)), crash_s, writes, world.network.sent)


def _arrange(world: World, plan: Plan, crash_s: float, crash: Callable[[Name], None], severed: set[Name]) -> None:
    """Everything that will happen, from now on."""

    def after(seconds: float, action: Callable[[Name], None], name: Name) -> None:
        world.schedule(int(seconds * SECOND), action, name)

    after(crash_s, crash, "a")
    if plan.back_s is not None:
        after(plan.back_s, world.start, "a")
    if plan.cut:
        after(plan.cut_s[0], severed.add, plan.cut)
        after(plan.cut_s[1], severed.discard, plan.cut)
    if plan.crash is not None:
        server, crash_s = plan.crash
        after(crash_s, crash, server)


def observe_views(plan: Plan) -> Observed:
    """The same with the product's nodes, and calls of the servers as troupes of one host each."""
    nested = Nested(SERVERS, tuple(CALLS))
    zero, sent = nested.world.now, nested.world.network.sent
    for client, paths in CALLS.items():
        for path in paths:
            nested.call(client, client, path, int(WORK_S * SECOND))
    _arrange(nested.world, plan, CRASH_S, nested.crash, nested.severed)
    nested.world.run_for(int((WORK_S + 1) * SECOND))
    assert not nested.world.failures, nested.world.failures
    assert not nested.is_busy, "everything ends"
    numbers = itertools.count()
    spans = tuple(
        Span(CallId(c.client, 1, next(numbers)), (c.begun - zero) / SECOND, (c.ended - zero) / SECOND, c.killed)
        for c in nested.computed
    )
    return Observed(spans, CRASH_S, 0, nested.world.network.sent - sent)
