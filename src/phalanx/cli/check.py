"""`phalanx check`: judge histories that were recorded elsewhere."""

import json
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from phalanx.check import (
    DEFAULT_BUDGET,
    Answer,
    CasRegister,
    FailedCas,
    Kv,
    Model,
    MultiRegister,
    Mutex,
    NullRead,
    Register,
    Verdict,
    check_linearizable,
    describe,
)
from phalanx.check.recording import BadRecording, Recording, read_recording

check_app = typer.Typer(no_args_is_help=True, help="Judge recorded histories.")


class ModelName(StrEnum):
    """The sequential specifications that a history can be held against."""

    REGISTER = "register"
    CAS_REGISTER = "cas-register"
    KV = "kv"
    MUTEX = "mutex"
    MULTI_REGISTER = "multi-register"


class Exit(IntEnum):
    """Exit statuses; with several files the highest counts."""

    LINEARIZABLE = 0
    VIOLATION = 1
    NOT_JUDGED = 2
    """Bad input, or the budget was used up."""


@check_app.callback()
def check() -> None:
    """Judge recorded histories."""


@check_app.command()
def linearizable(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON lines, or a JSON array of objects.")],
    model: Annotated[ModelName, typer.Option(help="What the operations mean.")],
    initial: Annotated[
        str | None, typer.Option(help="The value at first: JSON, or text that is no JSON as it is. [default: null]")
    ] = None,
    null_read: Annotated[
        NullRead, typer.Option(help="A read of null saw no value, or what it saw is not known.")
    ] = NullRead.ABSENT,
    failed_cas: Annotated[
        FailedCas, typer.Option(help="A failed cas did not happen, or observed another value than the expected one.")
    ] = FailedCas.NOTHING,
    budget: Annotated[
        int, typer.Option(min=1, help="Configurations to search in each file before giving up.")
    ] = DEFAULT_BUDGET,
) -> None:
    """Find out whether histories are linearizable.

    Each record is an object with process, type (invoke, ok, fail, info), f, value, and key where there is one; the
    order of the records is the order of the events. An operation that ends in info, or not at all, may take effect at
    any later time, or never.

    Exit status: 0 if all files are linearizable, 1 if some are not, 2 if some are no histories of the model or could
    not be judged within the budget (2 wins).
    """
    specification = _specification(model, initial, null_read, failed_cas)
    raise typer.Exit(max(_judge(path, specification, budget) for path in files))


def _specification(name: ModelName, initial: str | None, null_read: NullRead, failed_cas: FailedCas) -> Model[Any]:
    value = _value(initial)
    match name:
        case ModelName.REGISTER:
            return Register(value, null_read)
        case ModelName.CAS_REGISTER:
            return CasRegister(value, null_read, failed_cas)
        case ModelName.KV:
            return Kv(value, null_read)
        case ModelName.MULTI_REGISTER:
            return MultiRegister(value, null_read)
        case ModelName.MUTEX:
            try:
                return Mutex(value)
            except ValueError as problem:
                raise typer.BadParameter(str(problem), param_hint="--initial") from None


def _value(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text


def _judge(path: Path, model: Model[Any], budget: int) -> Exit:
    try:
        recording = read_recording(path.read_bytes(), model)
    except OSError as problem:
        typer.echo(f"{path}: cannot be read: {problem.strerror}", err=True)
        return Exit.NOT_JUDGED
    except BadRecording as problem:
        typer.echo(f"{path}:{problem.line}: {problem.reason}", err=True)
        return Exit.NOT_JUDGED
    verdict = check_linearizable(recording.operations, model, budget)
    _print(path, verdict, recording)
    match verdict.answer:
        case Answer.LINEARIZABLE:
            return Exit.LINEARIZABLE
        case Answer.VIOLATION:
            return Exit.VIOLATION
        case Answer.UNKNOWN:
            return Exit.NOT_JUDGED


def _print(path: Path, verdict: Verdict, recording: Recording) -> None:
    size = f"{verdict.operations} operations, {verdict.parts} independent parts, {verdict.explored} configurations"
    match verdict.answer:
        case Answer.LINEARIZABLE:
            typer.echo(f"{path}: linearizable ({size})")
        case Answer.UNKNOWN:
            typer.echo(f"{path}: unknown: the budget was used up ({size}); --budget allows for more")
        case Answer.VIOLATION:
            typer.echo(f"{path}: NOT linearizable ({size})")
    if (explanation := verdict.explanation) is None:
        return
    more = f" (one of {verdict.parts_failed} parts that fail)" if verdict.parts_failed > 1 else ""
    count = len(explanation.operations)
    typer.echo(f"  {explanation.subject}: the smallest part found that cannot be ordered, {count} operations{more}")
    for line in describe(explanation, recording.lines.__getitem__):
        typer.echo(f"  {line}")
