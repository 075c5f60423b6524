"""A user's class on whole nodes under every fault: each execution compared, each history judged by the class alone."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from phalanx.check import Answer, check_linearizable, describe
from phalanx.lab.objects import Asked, ObjectScenario
from phalanx.model.clock import MILLISECOND
from phalanx.model.history import Operation as Recorded
from phalanx.model.history import Outcome as Ended
from phalanx.model.replicated import Kind
from phalanx.model.view import Name
from phalanx.replication.calls import Completed
from phalanx.replication.objects import Invocation, ObjectType
from phalanx.replication.replica import Replica
from phalanx.sim.node import Node, Setup
from phalanx.sim.run import Call
from phalanx.sim.swarm import Swarm
from phalanx.testing.observed import Watcher, observed
from phalanx.testing.subject import call_key, call_text, meant, outcome_text
from phalanx.testing.witness import Agreed, Demand

BUDGET = 200_000
"""Configurations that judging one history may take: the agreed order leaves little to search."""

CALLS = (10, 30, 60)
"""Calls of one run: one of these."""


DURABLE = msgspec.structs.replace(
    ObjectScenario.swarm, faults=("CrashAll", "CrashAll", "CrashInWrite", "Crash", *Swarm().faults), bad_disks=0.3
)
"""What befalls a durable object: power cuts of all nodes, deaths in mid write and bad disks besides."""


class Subject(NamedTuple):
    """What is simulated: the class as callers know it, how calls are drawn, how large clusters are, and whether what the
    object holds is durable."""

    kind: ObjectType[Any]
    draw: Callable[[random.Random], Invocation[Any]]
    sizes: tuple[int, ...]
    durable: bool = False


class ClassScenario(ObjectScenario):
    """See the module's text."""

    object_name = "object"

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self._subject = subject
        self.durable = subject.durable
        self.swarm = msgspec.structs.replace(DURABLE if subject.durable else ObjectScenario.swarm, sizes=subject.sizes)
        self._watcher = Watcher(lambda kind, text: self.world.fail(kind, text))
        self._demands: dict[int | str, Demand] = {}
        self._arguments: dict[bytes, bytes] = {}
        self.undecided = False
        """The history could not be judged within the budget."""
        self.calls_made: list[str] = []
        """For a reader."""

    def kind(self, setup: Setup | None) -> ObjectType[Any]:
        if setup is None:
            return self._subject.kind
        return observed(self._subject.kind.cls, setup.name, self._watcher)

    def build(self) -> None:
        # A class that draws from the module's own generator is wrong, but the seed should replay how it goes wrong.
        random.seed(f"{self.plan.seed}/{self.plan.luck}")  # the caller of the simulation has its state back afterwards
        super().build()

    # --- the load

    def workload(self, rng: random.Random) -> Iterable[Call]:
        end = max(1, self.plan.heal_at_ns)  # shrinking leaves no storm
        for _ in range(rng.choice(CALLS)):
            yield Call(rng.randrange(end), rng.choice(self.clients), self._subject.draw(rng))

    def perform(self, node: Node, what: Any) -> Iterable[Any]:
        return self._call(node, self.ask(what))

    def ask(self, what: Any) -> Asked:
        assert isinstance(what, Invocation)
        return Asked(call_text(what.operation, what.arguments), None, None, what)

    def probe(self, client: Name) -> Asked:
        return self.ask(self._subject.draw(random.Random(f"{self.plan.seed}/probe/{client}")))

    def _call(self, node: Node, asked: Asked) -> Iterable[Any]:
        requests = super()._call(node, asked)
        process = next(reversed(self.under_way.values())).process
        invocation = asked.invocation
        key = call_key(invocation.operation, invocation.arguments)
        self._arguments[key] = invocation.arguments
        self._demands[process] = Demand(invocation.operation.id, key, None)
        self.calls_made.append(f"{self.world.now / MILLISECOND:10.3f} ms  {process:<8} {asked.f}")
        return requests

    def answered(self, operation: Recorded, invocation: Invocation[Any], completed: Completed) -> Any:
        assert completed.outcome is not None
        try:
            told = meant(invocation.operation, completed.outcome)
        except msgspec.DecodeError as error:
            self.world.fail("result", f"{operation.f} returned what its annotation does not allow: {error}")
            return None
        self._demands[operation.process] = self._demands[operation.process]._replace(told=told)
        return outcome_text(completed.outcome)

    def state_of(self, replica: Replica[Any]) -> bytes:
        # Not the snapshot: equal sets may be iterated in different orders.
        return replica.kind.state.digest(replica.object).value

    # --- the judgement

    def judge(self, history: Sequence[Any]) -> list[str]:
        if self.state_lost:
            return []
        calls = [*history, *self.under_way.values()]
        model = Agreed(self._subject.kind, self._watcher.executions, self._demands, self._arguments)
        if wrong := self._count(calls, model):
            return wrong
        verdict = check_linearizable(calls, model, BUDGET)
        self.undecided = verdict.answer is Answer.UNKNOWN
        if verdict.answer is not Answer.VIOLATION or verdict.explanation is None:
            return []
        table = "\n".join(describe(verdict.explanation))
        return [f"linearizability: no order of the calls explains the answers, each call taking effect once\n{table}"]

    def _count(self, calls: Sequence[Recorded], model: Agreed) -> list[str]:
        """Every command that was answered was run, and none more often than it was called."""
        run = Counter((each.operation, each.key) for each in model.commands)
        answered: Counter[tuple[str, bytes]] = Counter()
        possible: Counter[tuple[str, bytes]] = Counter()
        for each in calls:
            demand = self._demands[each.process]
            key = demand.operation, demand.key
            if self._subject.kind.operations[demand.operation].kind is Kind.COMMAND and each.outcome is not Ended.FAIL:
                possible[key] += 1
                answered[key] += each.outcome is Ended.OK
        wrong = []
        for key in run | answered:
            operation, arguments = key
            text = call_text(self._subject.kind.operations[operation], self._arguments[arguments])
            if run[key] < answered[key]:
                wrong.append(f"lost: {text} was answered {answered[key]} times, and run {run[key]} times")
            if run[key] > possible[key]:
                wrong.append(f"doubled: {text} was run {run[key]} times, and called {possible[key]} times")
        return wrong
