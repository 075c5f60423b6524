"""The dumb twin of the linearizability checker: try every order (Wing and Gong 1993, without any of their ideas)."""

from copy import deepcopy
from typing import Any

from phalanx.model.history import Operation, Outcome
from tests.check.clients import Effect


def can_be_ordered(history: list[Operation], effect: Effect) -> bool:
    """Whether some order of the operations explains what was seen.  Exponential."""
    judged = [each for each in history if each.outcome is not Outcome.FAIL]
    return _extend(judged, {}, effect)


def _must(operation: Operation) -> bool:
    return operation.outcome is Outcome.OK and operation.completed is not None


def _extend(rest: list[Operation], store: dict[Any, Any], effect: Effect) -> bool:
    if not any(map(_must, rest)):
        return True
    for index, operation in enumerate(rest):
        others = rest[:index] + rest[index + 1 :]
        if any(_must(each) and (each.completed or 0) < operation.invoked for each in others):
            continue
        after = deepcopy(store)
        granted, result = effect(after, operation.f, operation.key, operation.argument)
        seen = granted and (not _must(operation) or result == operation.result)
        if seen and _extend(others, after, effect):
            return True
    return False
