"""A replicated object and its clients under every fault: nodes with their gateways, client machines, histories judged.

The object is a map of texts (`lab.objects` says what happens around it); clients put, append and get.  A text that is
appended twice, lost, or read too late makes a history that no order of the calls explains (`check`).
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from phalanx.check import Answer, Kv, check_linearizable, describe
from phalanx.lab.objects import Asked, ObjectScenario
from phalanx.model.history import Operation
from phalanx.model.machine import Output
from phalanx.model.replicated import command, query
from phalanx.model.view import Name
from phalanx.node.node import Node as Machinery
from phalanx.replication.calls import Completed
from phalanx.replication.objects import Invocation, ObjectType
from phalanx.replication.objects import describe as describe_class
from phalanx.sim.node import Node, Setup
from phalanx.sim.run import Call

KEYS = ("x", "y")
"""Few, so that calls meet."""


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


class ServiceScenario(ObjectScenario):
    """See the module's text."""

    object_name = "texts"

    def __init__(self) -> None:
        super().__init__()
        self._values = 0

    def kind(self, setup: Setup | None) -> ObjectType[Any]:
        del setup
        return TEXTS

    def workload(self, rng: random.Random) -> Iterable[Call]:
        end = max(1, self.plan.heal_at_ns)  # shrinking leaves no storm
        for _ in range(rng.choice((10, 40, 100))):
            f = rng.choices(("append", "put", "get"), (5, 1, 4))[0]
            yield Call(rng.randrange(end), rng.choice(self.clients), (f, rng.choice(KEYS)))

    def ask(self, what: Any) -> Asked:
        f, key = what
        self._values += 1
        value = f"{self._values} "
        operation = TEXTS.operations[f"{f}@1"]
        arguments = operation.encode((key,) if f == "get" else (key, value), {})
        return Asked(f, key, None if f == "get" else value, Invocation(operation, arguments))

    def probe(self, client: Name) -> Asked:
        del client
        return self.ask(("append", KEYS[0]))

    def answered(self, operation: Operation, invocation: Invocation[Any], completed: Completed) -> Any:
        assert completed.outcome is not None
        result = invocation.result(completed.outcome)
        return result if operation.f == "get" else None

    def judge(self, history: Sequence[Any]) -> list[str]:
        if self.state_lost:
            return []
        verdict = check_linearizable([*history, *self.under_way.values()], Kv())
        if verdict.answer is Answer.LINEARIZABLE:
            return []
        why = "\n".join(describe(verdict.explanation)) if verdict.explanation else ""
        return [f"{verdict.answer.value} of linearizability: {why}"]

    def after_step(self, node: Node, output: Output) -> str | None:
        machine = node.machine
        if isinstance(machine, Machinery) and machine.gateway.is_holding:
            assert machine.group.is_fenced, "what is held is taken up when the view change is over"
        del output
        return None
