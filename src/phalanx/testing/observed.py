"""A class whose replicas are looked at while they run: each execution is compared with what other replicas made of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from phalanx.model.replicated import Context, Kind
from phalanx.model.view import Name
from phalanx.replication.objects import ObjectType, Operation, TickHook, UnencodableResult, describe
from phalanx.replication.outcome import Outcome, Returned, raised
from phalanx.replication.state import StateCodec
from phalanx.testing.subject import call_key, call_text, contrasted, outcome_text, state_text, told, whole_text


class Execution(NamedTuple):
    """One ordered command (or tick: `operation` is empty) as some replica ran it first."""

    node: Name
    operation: str
    arguments: bytes
    key: bytes
    """The same for equal arguments, whatever the order in which their sets were encoded."""
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
        same = (first.operation, first.key, first.context.position) == (
            execution.operation,
            execution.key,
            execution.context.position,
        )
        if not same:
            self.fail("order", f"one place in the order, two commands: {first.call} and {execution.call}")
        elif told(first.outcome) != told(execution.outcome):
            where = "by two replicas" if first.node != execution.node else _again(first.node)
            self.fail("divergence", self._story(f"was answered differently {where}", first, execution))
        elif first.digest != execution.digest:
            what = "left two replicas in different states"
            if first.node == execution.node:
                what = f"left another state {_again(first.node)}"
            self.fail("divergence", self._story(what, first, execution))

    def _story(self, what: str, *executions: Execution) -> str:
        lines = [f"{executions[0].call} {what} (position {executions[0].context.position} of the order)"]
        for each, state in zip(executions, contrasted([each.state for each in executions]), strict=True):
            lines.append(f"  at {each.node} it {outcome_text(each.outcome)}")
            lines.append(f"    and the state is {state}")
        return "\n".join(lines)


def _again(node: Name) -> str:
    return f"when {node} ran it again, restarted from its log"


def observed(cls: type, node: Name, watcher: Watcher) -> ObjectType[Any]:
    """The class as the replica at one node runs it."""
    newest: ObjectType[Any] = describe(cls)
    for kind in newest.versions.values():
        observer = _Observer(kind, node, watcher)
        for operation in kind.operations.values():
            operation.watcher = observer.run
        if kind.tick is not None:
            kind.tick.watcher = observer.tick
    return newest


class _Observer:
    def __init__(self, kind: ObjectType[Any], node: Name, watcher: Watcher) -> None:
        self._kind = kind
        self._node = node
        self._watcher = watcher

    def run(
        self, operation: Operation | TickHook, instance: Any, arguments: tuple[Any, ...], context: Context
    ) -> Returned:
        assert isinstance(operation, Operation)
        state: StateCodec[Any] = self._kind.state
        fail = self._watcher.fail
        before = state.digest(instance).value, state.snapshot(instance)
        by_name = {name: value for (name, _), value in zip(operation.parameters, arguments, strict=True)}
        encoded = operation.encode((), by_name)  # now: a command may keep what it is given, and change it
        called = call_text(operation, encoded)
        try:
            returned = operation.perform(instance, arguments, context)
        except UnencodableResult as error:
            fail("result", f"{called}: {error}; the annotation says otherwise, and callers get CommandFailed")
            raise
        except (Exception, SystemExit) as error:
            changed = state.digest(instance).value != before[0]
            if operation.kind is Kind.QUERY and changed:
                fail("query", f"{called} is a query and has changed the state to {state_text(instance)}")
            elif operation.kind is Kind.COMMAND and operation.atomic and changed:
                text = f"{called} is atomic, but raised {error!r} and has changed the state to {state_text(instance)}"
                fail("atomic", text)
            elif operation.kind is Kind.COMMAND:
                undone = state.restore(before[1])  # what the replica goes on with
                self._ran(undone, operation, encoded, context, raised(error), called)
            raise
        if operation.kind is Kind.COMMAND:
            self._ran(instance, operation, encoded, context, returned, called)
        elif state.digest(instance).value != before[0]:
            fail("query", f"{called} is a query and has changed the state to {state_text(instance)}")
        try:
            operation.result(returned)
        except msgspec.DecodeError as error:
            fail("result", f"{called} returned what its annotation does not allow: {error}")
        return returned

    def tick(self, hook: Operation | TickHook, instance: Any, arguments: tuple[Any, ...], context: Context) -> Returned:
        before = self._kind.state.snapshot(instance)
        try:
            returned = hook.perform(instance, arguments, context)
        except (Exception, SystemExit) as error:
            after = self._kind.state.restore(before) if self._kind.undoes else instance
            self._ran(after, None, b"", context, raised(error), "tick()")
            raise
        self._ran(instance, None, b"", context, returned, "tick()")
        return returned

    def _ran(
        self,
        instance: Any,
        operation: Operation | None,
        arguments: bytes,
        context: Context,
        outcome: Outcome,
        called: str,
    ) -> None:
        """An ordered execution has just ended; no operation: a tick."""
        name, key = ("", b"") if operation is None else (operation.id, call_key(operation, arguments))
        digest = self._kind.state.digest(instance).value
        state = whole_text(instance)
        self._watcher.ran(Execution(self._node, name, arguments, key, context, outcome, digest, state, called))
