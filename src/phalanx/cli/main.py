"""The root of the `phalanx` command: mounts the subcommands.

Only the one that is asked for is imported: together they need the whole package, and would be most of the time to start.
"""

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

from phalanx.cli.complaints import FAILED, CommandLine, complain
from phalanx.errors import PhalanxError
from phalanx.runtime.compiled import is_compiled

COMMANDS = {
    "check": ("check", "check_app"),
    "kv": ("store", "kv_app"),
    "lease": ("coordination", "lease_app"),
    "lab": ("lab", "lab_app"),
    "log": ("log", "log_app"),
    "txn": ("coordination", "txn"),
    "watch": ("coordination", "watch"),
    "lock": ("holding", "lock"),
    "elect": ("holding", "elect"),
    "recover": ("recover", "recover_command"),
    "backup": ("backup", "backup"),
    "restore": ("backup", "restore"),
    "serve": ("serve", "serve"),
    "status": ("status", "status"),
    "roll": ("roll", "roll"),
    "sim": ("sim", "sim"),
    "explore": ("explore", "explore_command"),
    "bench": ("bench", "bench"),
    "demo": ("demo", "demo"),
    "soak": ("soak", "soak"),
}
"""Where each is: the module of `phalanx.cli`, and the name in it: a function, or an app with subcommands of its own."""


def command_line(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The `phalanx` command with these subcommands, which are imported."""
    app = typer.Typer(cls=CommandLine, no_args_is_help=True, add_completion=False)
    app.callback()(_phalanx)
    for name in names:
        module, attribute = COMMANDS[name]
        command = getattr(import_module(f"phalanx.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"phalanx {version('phalanx')} ({'compiled' if is_compiled() else 'pure Python'})")
        raise typer.Exit


def _phalanx(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Fault-tolerant process groups."""


def _occupy_standard_streams() -> None:
    """With what takes and gives nothing, where one is closed: a socket of the loop would get its number, and libuv aborts
    the process when such a one is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free


def main() -> None:
    """Entry point of the script."""
    _occupy_standard_streams()
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if first == "--version":
        command_line([])()
    # Whatever else is no command is answered with the list of all: the help, or that there is no such command.
    try:
        app = command_line([first] if first in COMMANDS else COMMANDS)
        app()
    except KeyboardInterrupt:  # while modules are imported; later typer does the same
        sys.exit(130)
    except (PhalanxError, OSError) as error:
        from phalanx.cli.calls import said  # not at the top of the file: it needs most of the package

        complain(FAILED, f"phalanx: {said(error)}", 1)
        sys.exit(1)
