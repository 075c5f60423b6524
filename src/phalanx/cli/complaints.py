"""How a command says what went wrong: on standard error, in words; with --json, which is for programs, as one object.

    {"error": "not done: the deadline passed; ...", "kind": "not done", "status": 3}

`error` is what is said without --json, `status` the exit status.  Standard output has results only.
"""

import json
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from itertools import takewhile
from typing import Any, Final

import typer
from typer.core import TyperGroup

USAGE: Final = "usage"
REFUSED: Final = "refused"
NOT_DONE: Final = "not done"
UNKNOWN: Final = "outcome unknown"
FAILED: Final = "failed"
INTERRUPTED: Final = "interrupted"

_AS_JSON: ContextVar[bool] = ContextVar("_AS_JSON", default=False)


def complain(kind: str, text: str, status: int | None, **more: str) -> None:
    """Say it.  `status`: None if others decide it.  `more`: what programs want to know besides, and the text has, too."""
    told = {"error": text, "kind": kind, **({} if status is None else {"status": status}), **more}
    typer.echo(json.dumps(told) if _AS_JSON.get() else text, err=True)


class CommandLine(TyperGroup):
    """A whole command line.  Whether it has --json is seen before anything else: one that makes no sense is told of so as
    well, and then its options are not understood."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run it, and exit.  What stands behind -- is another program's."""
        words = sys.argv[1:] if args is None else args
        as_json = "--json" in takewhile(lambda word: word != "--", words)
        _AS_JSON.set(as_json)
        try:
            status = super().main(
                args, prog_name, complete_var, standalone_mode and not as_json, windows_expand_args, **extra
            )
        except typer.TyperException as error:
            complain(USAGE, error.format_message(), error.exit_code)
            status = error.exit_code
        except typer.Abort:
            status = 1
        sys.exit(status or 0)
