"""A class whose replicas are looked at while they run: each execution is compared with what other replicas made of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from phalanx.model.replicated import Context, Kind, Mark
from phalanx.model.view import Name
from phalanx.replication.objects import ObjectType, Operation, TickHook, UnencodableResult
from phalanx.replication.outcome import Outcome, Returned, raised
from phalanx.replication.state import StateCodec
from phalanx.testing.subject import call_text, outcome_text, state_text, told


class Execution(NamedTuple):
    """One ordered command (or tick: `operation` is empty) as some replica ran it first."""

    node: Name
    operation: str
    arguments: bytes
    context: Context
    outcome: Outcome
    digest: bytes
    state: str
    call: str


class Watcher:
    """Holds all executions of one run against each other.  `fail` is told what must not be: its kind, and the story."""

    def __init__(self, fail: Callable[[str, str], None]) -> None:
        self.fail = fail
        self._first: dict[int, Execution] = {}

    @property
    def executions(self) -> list[Execution]:
        """In the agreed order."""
        return [execution for _, execution in sorted(self._first.items())]

    def ran(self, execution: Execution) -> None:
        """A replica ran it; another may have, before.  (Fencing tokens grow from command to command, and over the loss
        of a group's state too, so they name a place in the order.)"""
        first = self._first.setdefault(execution.context.token, execution)
        same = (first.operation, first.arguments, first.context.position) == (
            execution.operation,
            execution.arguments,
            execution.context.position,
        )
        if not same:
            self.fail("order", f"one place in the order, two commands: {first.call} and {execution.call}")
        elif told(first.outcome) != told(execution.outcome):
            self.fail("divergence", self._story("was answered differently by two replicas", first, execution))
        elif first.digest != execution.digest:
            self.fail("divergence", self._story("left two replicas in different states", first, execution))

    def _story(self, what: str, *executions: Execution) -> str:
        lines = [f"{executions[0].call} {what} (position {executions[0].context.position} of the order)"]
        for each in executions:
            lines.append(f"  at {each.node} it {outcome_text(each.outcome)}")
            lines.append(f"    and the state is {each.state}")
        return "\n".join(lines)


class ObservedType(ObjectType[Any]):
    """The class as the replica at one node sees it."""

    def __init__(self, cls: type, node: Name, watcher: Watcher) -> None:
        self.node = node
        self.watcher = watcher
        super().__init__(cls, self._make)
        if self.tick is not None:
            self.tick = _ObservedTick(self)

    def _make(self, cls: type, function: Callable[..., Any], mark: Mark) -> Operation:
        return _ObservedOperation(cls, function, mark, self)

    def ran(
        self, instance: Any, operation: str, arguments: bytes, context: Context, outcome: Outcome, call: str
    ) -> None:
        """An ordered execution has just ended."""
        digest = self.state.digest(instance).value
        state = state_text(instance)
        self.watcher.ran(Execution(self.node, operation, arguments, context, outcome, digest, state, call))


class _Arguments(dict[str, Any]):
    """Decoded arguments, and the bytes that they came as: encoded again, a set might come out in another order."""

    def __init__(self, values: dict[str, Any], raw: bytes) -> None:
        super().__init__(values)
        self.raw = raw


class _ObservedOperation(Operation):
    def __init__(self, cls: type, function: Callable[..., Any], mark: Mark, kind: ObservedType) -> None:
        super().__init__(cls, function, mark)
        self._kind = kind

    def decode(self, arguments: bytes) -> dict[str, Any]:
        return _Arguments(super().decode(arguments), arguments)

    def run(self, instance: Any, arguments: dict[str, Any], context: Context) -> Returned:
        assert isinstance(arguments, _Arguments), "replicas run what they have decoded"
        state: StateCodec[Any] = self._kind.state
        before = state.digest(instance).value, state.snapshot(instance)
        encoded = arguments.raw
        call = call_text(self, encoded)
        fail = self._kind.watcher.fail
        try:
            returned = super().run(instance, arguments, context)
        except UnencodableResult as error:
            fail("result", f"{call}: {error}; the annotation says otherwise, and callers get CommandFailed")
            raise
        except Exception as error:
            changed = state.digest(instance).value != before[0]
            if self.kind is Kind.QUERY and changed:
                fail("query", f"{call} is a query and has changed the state to {state_text(instance)}")
            elif self.kind is Kind.COMMAND and self.atomic and changed:
                fail(
                    "atomic",
                    f"{call} is atomic, but raised {error!r} and has changed the state to {state_text(instance)}",
                )
            elif self.kind is Kind.COMMAND:
                undone = state.restore(before[1])  # what the replica goes on with
                self._kind.ran(undone, self.id, encoded, context, raised(error), call)
            raise
        if self.kind is Kind.COMMAND:
            self._kind.ran(instance, self.id, encoded, context, returned, call)
        elif state.digest(instance).value != before[0]:
            fail("query", f"{call} is a query and has changed the state to {state_text(instance)}")
        self._fits(returned, call)
        return returned

    def _fits(self, returned: Returned, call: str) -> None:
        try:
            self.result(returned)
        except msgspec.DecodeError as error:
            self._kind.watcher.fail("result", f"{call} returned what its annotation does not allow: {error}")


class _ObservedTick(TickHook):
    def __init__(self, kind: ObservedType) -> None:
        self._kind = kind

    def run(self, instance: Any, arguments: dict[str, Any], context: Context) -> Returned:
        state: StateCodec[Any] = self._kind.state
        before = state.snapshot(instance)
        try:
            returned = super().run(instance, arguments, context)
        except Exception as error:
            self._kind.ran(state.restore(before), "", b"", context, raised(error), "tick()")
            raise
        self._kind.ran(instance, "", b"", context, returned, "tick()")
        return returned
