"""The root of the `phalanx` command: mounts the subcommands."""

import typer

from phalanx.cli.check import check_app
from phalanx.cli.demo import demo
from phalanx.cli.explore import explore_command
from phalanx.cli.serve import serve
from phalanx.cli.sim import sim
from phalanx.cli.store import kv_app, status

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Fault-tolerant process groups.")
app.add_typer(check_app, name="check")
app.add_typer(kv_app, name="kv")
app.command()(serve)
app.command()(status)
app.command()(sim)
app.command("explore")(explore_command)
app.command()(demo)


def main() -> None:
    """Entry point of the script."""
    app()
