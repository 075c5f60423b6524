"""The sequential specification that a class is for itself: the agreed order of its commands, run on one instance alone.

Replicas run commands in one order, which their own records show (`observed`).  The class, run alone in that order, says
what each command and each query in between must answer.  A history is right if that order explains it: every answer is
the one that the class gives alone, every command is in the order once, and no call takes effect before it began or after
it ended (linearizability; Herlihy and Wing, 1990).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from phalanx.check import Model
from phalanx.model.history import Operation as Recorded
from phalanx.model.history import Outcome as Ended
from phalanx.model.replicated import Context, Kind
from phalanx.replication.objects import ObjectType, Operation
from phalanx.replication.outcome import Outcome
from phalanx.testing.observed import Execution
from phalanx.testing.subject import Alone, meant, state_text


class Demand(NamedTuple):
    """A client's call: what was asked, and what it was told; None: it heard nothing.  `key`: of the arguments, see
    `subject.call_key`."""

    operation: str
    key: bytes
    told: bytes | None


class Spot:
    """A place in the agreed order, with the states that the object has there: more than one if time passed (ticks)."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.states: list[tuple[bytes, Context]] = []
        self.text = ""

    def __repr__(self) -> str:
        return self.text


class Agreed(Model[Demand]):
    """See the module's text.  `demands`: by process, of which each makes one call.
    `arguments`: encoded, by their keys."""

    name = "the class alone"

    def __init__(
        self,
        kind: ObjectType[Any],
        executions: Sequence[Execution],
        demands: Mapping[int | str, Demand],
        arguments: Mapping[bytes, bytes],
    ) -> None:
        self._kind = kind
        self._demands = demands
        self._arguments = arguments
        self._commands: list[Demand] = []
        """In the agreed order, each with what the class answers alone."""
        self._answers: dict[tuple[int, str, bytes], set[bytes]] = {}
        alone = Alone(kind)
        self._spots = [Spot(0)]
        self._look(alone, Context())
        for execution in executions:
            if execution.operation:
                operation = kind.operations[execution.operation]
                outcome = alone.run(operation, execution.arguments, execution.context)
                told = meant(operation, outcome)
                self._commands.append(Demand(execution.operation, execution.key, told))
                self._spots.append(Spot(len(self._spots)))
            elif kind.tick is not None:
                alone.run(kind.tick, b"", execution.context)
            self._look(alone, execution.context)

    def _look(self, alone: Alone, context: Context) -> None:
        spot = self._spots[-1]
        spot.states.append((self._kind.state.snapshot(alone.instance), context))
        spot.text = state_text(alone.instance)

    @property
    def commands(self) -> Sequence[Demand]:
        """In the agreed order."""
        return self._commands

    def action(self, operation: Recorded) -> Demand | None:
        demand = self._demands[operation.process]
        if operation.outcome is Ended.FAIL or (demand.told is None and self.reads_only(demand)):
            return None
        if operation.outcome is Ended.INFO:
            return demand._replace(told=None)
        return demand

    def initial(self, keys: frozenset[Any]) -> Spot:
        del keys
        return self._spots[0]

    def step(self, state: Any, action: Demand) -> Spot | None:
        assert isinstance(state, Spot)
        if self.reads_only(action):
            fits = action.told is None or action.told in self._answers_at(state, action)
            return state if fits else None
        if state.index == len(self._commands):
            return None
        command = self._commands[state.index]
        if (command.operation, command.key) != (action.operation, action.key):
            return None
        return self._spots[state.index + 1] if action.told in (None, command.told) else None

    def reads_only(self, action: Demand) -> bool:
        return self._kind.operations[action.operation].kind is Kind.QUERY

    def _answers_at(self, spot: Spot, query: Demand) -> set[bytes]:
        known = self._answers.get(key := (spot.index, query.operation, query.key))
        if known is None:
            operation = self._kind.operations[query.operation]
            known = self._answers[key] = {
                meant(operation, self._ask(operation, self._arguments[query.key], *state)) for state in spot.states
            }
        return known

    def _ask(self, operation: Operation, arguments: bytes, state: bytes, context: Context) -> Outcome:
        alone = Alone(self._kind)
        alone.instance = self._kind.state.restore(state)
        return alone.run(operation, arguments, context)
