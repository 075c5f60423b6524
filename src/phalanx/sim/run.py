"""One run: a scenario in a world under a plan.  The result is a function of scenario and plan alone."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from phalanx.model.clock import MILLISECOND
from phalanx.model.machine import Machine, Output
from phalanx.model.view import Name
from phalanx.sim.altering import altered
from phalanx.sim.node import Node, Setup
from phalanx.sim.plan import Plan
from phalanx.sim.recording import Recording
from phalanx.sim.storm import Storm
from phalanx.sim.swarm import Swarm, draw
from phalanx.sim.trace import Trace
from phalanx.sim.world import Failure, World

LOOK_NS = 10 * MILLISECOND
"""How often a run in calm asks whether it is finished."""

STUCK = "stuck"
"""Kind of failure of a run that is not finished in time."""


class Call(NamedTuple):
    """One thing that the workload has a node's application do."""

    at_ns: int
    node: Name
    what: Any
    """For `Scenario.perform`."""


class Scenario:
    """What is run and what must hold: made anew for each run, by a factory without arguments.

    Override `start`, `finished`, and whatever else is of use.  `world`, `plan` and `storm` are set before anything is
    called.
    """

    swarm: Swarm = Swarm()
    """The range of plans."""
    codec: Callable[[Any], Any] | None = None
    """Encodes a message and decodes it again (a static method)."""
    fingerprint: Callable[[Any], Any] = repr
    """Equal for equal messages (a static method)."""
    packages: tuple[str, ...] = ()
    """Where the code is that is run: whoever surveys its coverage looks there for notes that were never made."""

    world: World
    plan: Plan
    storm: Storm

    def build(self) -> None:
        """Add the nodes.  Faults strike those of `plan.names`; clients and other bystanders may be added."""
        for name in self.plan.names:
            self.world.add(name)

    def start(self, setup: Setup) -> Machine:
        """Make the machine of a node whose process starts."""
        raise NotImplementedError

    def deliver(self, node: Node, delivery: Any) -> Iterable[Any] | None:
        """The application takes a delivery; what it returns are its requests."""

    def workload(self, rng: random.Random) -> Iterable[Call]:  # noqa: ARG002 (for those who override)
        """The calls of the run, drawn from `rng` and `plan`.  Shrinking leaves some of them out."""
        return ()

    def perform(self, node: Node, what: Any) -> Iterable[Any]:  # noqa: ARG002 (for those who override)
        """Turn a call into requests, now; not asked while the node is down."""
        return (what,)

    def after_step(self, node: Node, output: Output) -> str | None:
        """Invariants, after each step of any node: raise AssertionError, or return what is wrong as "kind: text"."""

    def alter(self, message: Any, rng: random.Random) -> Any:
        """What a faulty process says instead of the message (`failures.ValueFailure`, `Equivocation`, `Forgery`,
        `Collusion`): the same one if it says that as it is.  By default one part of the message becomes another."""
        return altered(message, rng)

    def derail(self, node: Node, rng: random.Random) -> str | None:  # noqa: ARG002  (for those who override)
        """Have the process, which runs, take a step that its program does not have (`failures.StateTransitionFailure`),
        and say which.  None, the default: of what it takes in its next step one event counts twice, or not at all."""
        return None

    def finished(self) -> bool:
        """Asked in calm: has everything that was to happen happened?"""
        raise NotImplementedError

    def unfinished(self) -> str:
        """Why not, for the reader of a result."""
        return ""

    def judge(self, history: Sequence[Any]) -> list[str]:  # noqa: ARG002 (for those who override)
        """What is wrong with `world.history` at the end, each as "kind: text"."""
        return []


class Result(NamedTuple):
    """How a run went."""

    seed: int
    failures: tuple[Failure, ...]
    """Nothing of this must ever happen.  The run ended at the first, unless it is of `judge`."""
    stuck: str | None
    """Why the run did not finish in calm; None if it did, or failed before."""
    steps: int
    sent: int
    """Messages, counted per receiver."""
    virtual_ns: int
    notes: dict[str, int]
    """How often each note was made, and what the world did."""
    features: tuple[str, ...]
    """What the run covered (`coverage`)."""
    calls: int
    """Calls in the whole workload."""
    plan: Plan
    trace: str = ""

    @property
    def ok(self) -> bool:
        return not self.failures and self.stuck is None

    @property
    def kinds(self) -> frozenset[str]:
        """What went wrong, without details."""
        stuck = () if self.stuck is None else (STUCK,)
        return frozenset((*(failure.kind for failure in self.failures), *stuck))

    def __str__(self) -> str:
        seconds = self.virtual_ns / 1e9
        wrong = [str(failure) for failure in self.failures]
        if self.stuck is not None:
            wrong.append(f"{STUCK}: {self.stuck or 'not finished'}")
        return f"seed={self.seed} steps={self.steps} virtual={seconds:.1f}s {'; '.join(wrong) or 'ok'}"


def run_seed(
    factory: Callable[[], Scenario], seed: int, *, trace: bool = False, recording: Recording | None = None
) -> Result:
    """Run the plan that the scenario's swarm draws for the seed."""
    scenario = factory()
    return run(scenario, draw(seed, scenario.swarm), trace=trace, recording=recording)


def replay(
    factory: Callable[[], Scenario], plan: Plan, *, trace: bool = True, recording: Recording | None = None
) -> Result:
    """Run that very plan, one from `shrink` for example."""
    return run(factory(), plan, trace=trace, recording=recording)


def run(scenario: Scenario, plan: Plan, *, trace: bool = False, recording: Recording | None = None) -> Result:
    """Storm, heal, then demand progress.  The scenario must be a fresh one, and so must the recording, if one is to be
    made: it needs the trace."""
    assert trace or recording is None, "a recording refers to the lines of the trace"
    world = scenario.world = World(
        f"{plan.seed}/{plan.luck}" if plan.luck else plan.seed,
        scenario.start,
        deliver=scenario.deliver,
        after_step=scenario.after_step if type(scenario).after_step is not Scenario.after_step else None,
        conditions=plan.conditions,
        codec=scenario.codec,
        fingerprint=scenario.fingerprint,
        trace=Trace(recording=recording) if trace else None,
        alter=scenario.alter,
        derail=scenario.derail,
    )
    scenario.plan = plan
    scenario.build()
    scenario.storm = Storm(world, plan.names, plan.faults)
    calls = list(scenario.workload(random.Random(f"{plan.seed}/workload")))
    for index in range(len(calls)) if plan.calls is None else plan.calls:
        if index < len(calls):
            world.at(calls[index].at_ns, _call, scenario, calls[index])
    world.run_until(plan.heal_at_ns)
    stuck = None
    if not world.failures:
        scenario.storm.heal()
        finished = world.run_while(lambda: not scenario.finished(), plan.calm_ns, LOOK_NS)
        stuck = None if finished else scenario.unfinished()
    if not world.failures:
        for text in scenario.judge(world.history):
            kind, _, rest = text.partition(":")
            world.fail(f"judge {kind}", rest.strip() or kind)
    return Result(
        plan.seed,
        tuple(world.failures),
        stuck,
        world.steps,
        world.network.sent,
        world.now,
        dict(sorted(world.notes.items())),
        world.coverage.features(),
        len(calls),
        plan,
        str(world.trace or ""),
    )


def _call(scenario: Scenario, call: Call) -> None:
    world = scenario.world
    node = world.nodes.get(call.node)
    if node is None or node.machine is None:
        world.tell("call skipped", call.node)
        return
    world.tell("call", call.node, call.what)
    try:
        requests = scenario.perform(node, call.what)
    except Exception as error:
        world.raised(node, "perform", error)
        return
    world.request(call.node, *requests)
