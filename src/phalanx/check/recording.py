"""Client histories as other tools record them: Jepsen's operations, as JSON lines or as one JSON array of objects.

Each record has `process` (an integer or a string), `type` (invoke, ok, fail, info), `f`, `value`, and `key` where there
is one; other fields are ignored.  A completion belongs to the last invocation of its process; its `value` is the
result.  `f` may be left out of a completion, a `key` stays the invocation's, and a `value` left out is null.  Names may
begin with a colon, as keywords do in Clojure.  Records of the process `nemesis` are no operations and are left out.

The order of the records is the order of the events.  Operations that end in `info`, or not at all, may take effect at
any later time.  Jepsen never lets a process go on after `info`; a recorder that does is understood all the same.
"""

import json
from collections.abc import Iterator
from math import isinf
from typing import Any, NamedTuple

from phalanx.check.linearizability import as_pending
from phalanx.check.models import MalformedOperation, Model
from phalanx.check.values import freeze, show
from phalanx.model.history import Operation, Outcome


class BadRecording(ValueError):
    """The text is no history; `line` (from 1) says where."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"{line}: {reason}")
        self.line = line
        self.reason = reason


class Recording(NamedTuple):
    """A history with the way back into its text: position p of the operations is in line `lines[p]`."""

    operations: list[Operation]
    lines: list[int]


def read_recording(data: bytes, model: Model[Any]) -> Recording:
    """Read a history, and make sure that the model knows every operation in it.  Raises BadRecording."""
    lines: list[int] = []
    open_operations: dict[int | str, Operation] = {}
    operations: list[Operation] = []
    for line, record in _records(data):
        position = len(lines)
        lines.append(line)
        try:
            process, kind = _process(record), _word(record, "type")
            if process in ("nemesis", ":nemesis"):
                continue
            if kind == "invoke":
                if process in open_operations:
                    since = lines[open_operations[process].invoked]
                    raise BadRecording(line, f"process {process} is still busy since line {since}")
                invoked = _invocation(record, process, position)
                _accept(invoked, model)
                open_operations[process] = invoked
            elif kind in ("ok", "fail", "info"):
                if (invocation := open_operations.pop(process, None)) is None:
                    raise BadRecording(line, f"process {process} completes an operation that it has not invoked")
                completed = _completion(record, invocation, Outcome(kind), position)
                _accept(completed, model)
                operations.append(completed)
            else:
                raise BadRecording(line, f'"type" is invoke, ok, fail or info, not {show(kind)}')
        except MalformedOperation as problem:
            raise BadRecording(line, str(problem)) from None
    operations += open_operations.values()
    return Recording(operations, lines)


def _accept(operation: Operation, model: Model[Any]) -> None:
    model.action(operation)
    tuple(model.keys(operation))


def _process(record: dict[str, Any]) -> int | str:
    process = record.get("process")
    if isinstance(process, int | str) and not isinstance(process, bool):
        return process
    raise MalformedOperation(f'"process" must be an integer or a string, not {show(process)}')


def _word(record: dict[str, Any], field: str) -> str:
    word = record.get(field)
    if isinstance(word, str):
        return word.removeprefix(":")
    raise MalformedOperation(f'"{field}" must be a string, not {show(word)}')


def _invocation(record: dict[str, Any], process: int | str, position: int) -> Operation:
    key = record.get("key")
    if isinstance(key, dict):
        raise MalformedOperation(f'"key" must be a scalar or a list, not {show(key)}')
    return as_pending(
        Operation(process, _word(record, "f"), key, record.get("value"), None, Outcome.INFO, position, None)
    )


def _completion(record: dict[str, Any], invocation: Operation, outcome: Outcome, position: int) -> Operation:
    if record.get("f") is not None and _word(record, "f") != invocation.f:
        raise MalformedOperation(f"{show(invocation.f)} is completed as {show(record['f'])}")
    if record.get("key") is not None and freeze(record["key"]) != freeze(invocation.key):
        raise MalformedOperation(f"key {show(invocation.key)} is completed as {show(record['key'])}")
    if outcome is Outcome.INFO:
        return invocation
    return invocation._replace(result=record.get("value"), outcome=outcome, completed=position)


# --- JSON with line numbers -----------------------------------------------------------------------------------------


def _records(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise BadRecording(data[: problem.start].count(b"\n") + 1, "not UTF-8") from None
    values = _elements(text) if text.lstrip().startswith("[") else _json_lines(text)
    for line, value in values:
        if not isinstance(value, dict):
            raise BadRecording(line, f"an operation is an object, not {show(value)[:60]}")
        yield line, value


def _json_lines(text: str) -> Iterator[tuple[int, Any]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if stripped := content.strip(_BLANK):
            value, end = _decode(stripped, 0, line)
            if end != len(stripped):
                raise BadRecording(line, f"not JSON: something follows the object: {stripped[end : end + 20]!r}")
            yield line, value


def _elements(text: str) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON array, each with the line that it begins in."""
    at, line = _skip_blank(text, 0, 1)
    at, line = _skip_blank(text, at + 1, line)
    closed = text[at : at + 1] == "]"
    while not closed:
        value, end = _decode(text, at, line)
        yield line, value
        line += text.count("\n", at, end)
        at, line = _skip_blank(text, end, line)
        if (mark := text[at : at + 1]) not in (",", "]") or not mark:
            raise BadRecording(line, "not JSON: the array goes on without a comma, or has no end")
        closed = mark == "]"
        if not closed:
            at, line = _skip_blank(text, at + 1, line)
    at, line = _skip_blank(text, at + 1, line)
    if at != len(text):
        raise BadRecording(line, "not JSON: something follows the array")


_BLANK = " \t\r\n"


def _skip_blank(text: str, at: int, line: int) -> tuple[int, int]:
    while at < len(text) and text[at] in _BLANK:
        line += text[at] == "\n"
        at += 1
    return at, line


def _decode(text: str, at: int, line: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as problem:
        where = line + text.count("\n", at, problem.pos)
        raise BadRecording(where, f"not JSON: {problem.msg} (column {problem.colno})") from None
    except RecursionError:
        raise BadRecording(line, "not JSON that can be read: nested too deeply") from None
    except ValueError as problem:
        raise BadRecording(line, f"not JSON that can be read: {problem}") from None


def _finite(text: str) -> float:
    if isinf(number := float(text)):
        raise ValueError(f"{text} is too large for a number with a fraction or an exponent")
    return number


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number)
