"""node.node: what others wait for leaves before what was delivered is executed (`Output.again`)."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from phalanx.group.messages import Ack, Envelope, Row
from phalanx.lab.service import KEYS, ServiceScenario
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Machine, Output
from phalanx.node.node import Node as Machinery
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node
from phalanx.sim.plan import Plan
from phalanx.sim.run import Call, run, run_seed
from phalanx.sim.world import World

END = 4 * SECOND


class Watching(ServiceScenario):
    """Counts steps that execute commands, and those of them that also say what was received."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: dict[str, int] = {}
        self.executing = 0
        self.keeping_others_waiting = 0
        self.put_off = 0

    def workload(self, rng: Any) -> Iterable[Call]:  # noqa: ARG002  nothing is left to chance
        for at in range(SECOND, END, MILLISECOND // 5):
            yield Call(at, self.clients[0], ("append", KEYS[0]))

    def after_step(self, node: Node, output: Output) -> str | None:
        machine = node.machine
        if isinstance(machine, Machinery) and (replica := machine.gateway.replica(self.object_name)) is not None:
            before = self.positions.get(node.name)
            self.positions[node.name] = replica.position
            bodies = [send.message.body for send in output.eager if isinstance(send.message, Envelope)]
            self.put_off += output.again
            if before is not None and before < replica.position:
                self.executing += 1
                self.keeping_others_waiting += any(isinstance(body, Ack | Row) for body in bodies)
            assert not output.again or machine.deadline == 0, "a driver that does not look steps it at once, too"
        return super().after_step(node, output)


def test_nobody_waits_for_a_receipt_while_commands_are_executed() -> None:
    scenario = Watching()
    result = run(scenario, Plan(7, 3, Conditions(), (), END))
    assert result.ok, result.failures
    assert min(scenario.positions.values()) > 10_000
    assert scenario.put_off > 1_000
    assert (scenario.executing > 10_000, scenario.keeping_others_waiting) == (True, 0)


class Reading(ServiceScenario):
    """Clients append and read so densely, at nodes so slow, that a read's barrier is often reached in the very step that
    delivers what the read must see."""

    def workload(self, rng: Any) -> Iterable[Call]:
        for at in range(SECOND, SECOND + SECOND // 5, MILLISECOND // 2):
            yield Call(at, rng.choice(self.clients), ("append", KEYS[0]))
            yield Call(at, rng.choice(self.clients), ("get", KEYS[0]))


def unheeding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers that do not look at `again`, and may bring events with the second step."""

    def once(world: World, node: Node, machine: Machine, events: Sequence[Any]) -> None:
        if world._step_once(node, machine, events):
            world._set_alarm(node, machine)

    monkeypatch.setattr(World, "_step", once)


@pytest.mark.parametrize("heeded", [True, False])
@pytest.mark.parametrize("seed", [2, 4, 6])
def test_no_read_is_answered_before_what_was_put_off(seed: int, heeded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not heeded:
        unheeding(monkeypatch)
    conditions = Conditions(turn_ns=MILLISECOND // 2, grouped=1.0)
    result = run(Reading(), Plan(seed, 3, conditions, (), SECOND + SECOND // 5))
    assert result.ok, result.failures


@pytest.mark.parametrize("seed", [0, 8, 17, 21])
def test_what_was_put_off_comes_before_what_is_delivered_later(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    unheeding(monkeypatch)
    result = run_seed(ServiceScenario, seed)
    assert result.ok, str(result)
