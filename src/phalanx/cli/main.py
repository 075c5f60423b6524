"""The root of the `phalanx` command: mounts the subcommands."""

from importlib.metadata import version
from typing import Annotated

import typer

from phalanx.cli.backup import backup, restore
from phalanx.cli.bench import bench
from phalanx.cli.check import check_app
from phalanx.cli.coordination import lease_app, txn, watch
from phalanx.cli.demo import demo
from phalanx.cli.explore import explore_command
from phalanx.cli.holding import elect, lock
from phalanx.cli.lab import lab_app
from phalanx.cli.log import log_app
from phalanx.cli.recover import recover_command
from phalanx.cli.roll import roll
from phalanx.cli.serve import serve
from phalanx.cli.sim import sim
from phalanx.cli.soak import soak
from phalanx.cli.status import status
from phalanx.cli.store import kv_app
from phalanx.runtime.compiled import is_compiled

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.add_typer(check_app, name="check")
app.add_typer(kv_app, name="kv")
app.add_typer(lease_app, name="lease")
app.command()(txn)
app.command()(watch)
app.command()(lock)
app.command()(elect)
app.add_typer(lab_app, name="lab")
app.add_typer(log_app, name="log")
app.command("recover")(recover_command)
app.command()(backup)
app.command()(restore)
app.command()(serve)
app.command()(status)
app.command()(roll)
app.command()(sim)
app.command("explore")(explore_command)
app.command()(bench)
app.command()(demo)
app.command()(soak)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"phalanx {version('phalanx')} ({'compiled' if is_compiled() else 'pure Python'})")
        raise typer.Exit


@app.callback()
def _phalanx(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Fault-tolerant process groups."""


def main() -> None:
    """Entry point of the script."""
    app()
