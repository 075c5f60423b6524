"""How a command says what went wrong: on standard error, in words; with --json, which is for programs, as one object.

    {"error": "not done: the deadline passed; ...", "kind": "not done", "status": 3}

`error` is what is said without --json, `status` the exit status.  Standard output has results only.
"""

import json
from contextvars import ContextVar
from typing import Final

import typer

USAGE: Final = "usage"
REFUSED: Final = "refused"
NOT_DONE: Final = "not done"
UNKNOWN: Final = "outcome unknown"
FAILED: Final = "failed"
INTERRUPTED: Final = "interrupted"

_AS_JSON: ContextVar[bool] = ContextVar("_AS_JSON", default=False)


def takes_json(asked: bool) -> bool:
    """The callback of each option --json: what goes wrong from then on is told so."""
    _AS_JSON.set(asked)
    return asked


def complain(kind: str, text: str, status: int | None, **more: str) -> None:
    """Say it.  `status`: None if others decide it.  `more`: what programs want to know besides, and the text has, too."""
    told = {"error": text, "kind": kind, **({} if status is None else {"status": status}), **more}
    typer.echo(json.dumps(told) if _AS_JSON.get() else text, err=True)


def run_for_programs(app: typer.Typer) -> int:
    """Run a command line that has --json, and return its exit status.  One that makes no sense is told of as all else."""
    _AS_JSON.set(True)
    try:
        return app(standalone_mode=False) or 0
    except typer.TyperException as error:
        complain(USAGE, error.format_message(), error.exit_code)
        return error.exit_code
    except typer.Abort:
        return 1
