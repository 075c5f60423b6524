"""An explanation as text: who did what, what came of it, and when, one line for each operation."""

from collections.abc import Callable, Sequence

from phalanx.check.explanation import Explanation
from phalanx.check.linearizability import returns
from phalanx.check.values import show, show_all, thaw
from phalanx.model.history import Operation, Outcome

STATES_MAX = 8
"""States that are spelled out."""

TEXT_MAX = 60
"""Characters of a value in the table; longer ones lose their middle."""

COLUMNS_MAX = 96
"""Columns of the drawing; where there are more events than that, neighbours share a column."""


def describe(explanation: Explanation, place: Callable[[int], int] = int) -> list[str]:
    """The lines of the table.  `place` turns a position of the history into what a reader can look up (a line)."""
    draw = _Drawing(explanation.operations)
    rows = [("", "process", "operation", "result", "from", "to", "interval")]
    for index, operation in enumerate(explanation.operations):
        forgotten = index in explanation.forgotten
        end = str(place(operation.completed)) if returns(operation) and operation.completed is not None else "-"
        mark = ">" if index == explanation.blocked else "*" if forgotten else ""
        begin = str(place(operation.invoked))
        interval = draw.interval(operation)
        rows.append((mark, str(operation.process), _call(operation), _result(operation), begin, end, interval))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if explanation.forgotten:
        lines.append("* not even if this takes effect at any later time, or never")
    return [_start(explanation, place), *lines, _why(explanation)]


def _short(text: str) -> str:
    half = (TEXT_MAX - 5) // 2
    return text if len(text) <= TEXT_MAX else f"{text[:half]} ... {text[-half:]}"


def _call(operation: Operation) -> str:
    return operation.f if operation.argument is None else f"{operation.f} {_short(show(operation.argument))}"


def _result(operation: Operation) -> str:
    if not returns(operation):
        return "unknown"
    if operation.outcome is Outcome.FAIL:
        return "refused"
    same = operation.result is None and operation.argument is not None
    return "ok" if same or operation.result == operation.argument is not None else _short(show(operation.result))


def _states(states: Sequence[object]) -> str:
    return show_all(map(_state, states), STATES_MAX)


def _state(state: object) -> str:
    """States of several keys are sets of ((area, key), value)."""
    if isinstance(state, frozenset):
        return ", ".join(sorted(f"{show(key[1])} = {_short(show(value))}" for key, value in state))
    return _short(show(thaw(state) if isinstance(state, tuple) else state))


def _start(explanation: Explanation, place: Callable[[int], int]) -> str:
    text = f"start: {_state(explanation.start)}"
    if (anchor := explanation.anchor) is None:
        return f"{text}, the initial state"
    assert anchor.completed is not None
    end = place(anchor.completed)
    return f"{text}, after {_call(anchor)} of process {anchor.process} (from {place(anchor.invoked)} to {end})"


def _why(explanation: Explanation) -> str:
    blocked = explanation.operations[explanation.blocked]
    text = f"> process {blocked.process}: {_call(blocked)} -> {_result(blocked)} cannot take effect before it returns"
    if not explanation.states:
        return text
    states = [_state(state) for state in explanation.states]
    more = f" or {len(states) - STATES_MAX} others" if len(states) > STATES_MAX else ""
    return f"{text}; in every order of the others the state is {' or '.join(states[:STATES_MAX])}{more}"


class _Drawing:
    """Intervals to scale by events: the n-th event stands in the n-th pair of columns."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        ends = [operation.completed for operation in operations if returns(operation)]
        events = sorted({operation.invoked for operation in operations} | {end for end in ends if end is not None})
        scale = min(2.0, COLUMNS_MAX / len(events))
        self._column = {event: int(index * scale) for index, event in enumerate(events)}
        self._width = int(len(events) * scale)

    def interval(self, operation: Operation) -> str:
        first = self._column[operation.invoked]
        if not returns(operation) or operation.completed is None:
            return " " * first + "|" + "-" * (self._width - first) + ">"
        return " " * first + "|" + "-" * (self._column[operation.completed] - first - 1) + "|"
