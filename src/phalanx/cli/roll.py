"""`phalanx roll`: restart the members of a cluster, one at a time."""

import shlex
from typing import Annotated

import typer

from phalanx.api.rolling import rolling_restart
from phalanx.cli.calls import ENDPOINT, Cluster, Endpoints, Tls, said, tls_of, words_of
from phalanx.cli.commands import Command
from phalanx.errors import ConfigurationError, RestartStopped
from phalanx.model.clock import SECOND
from phalanx.model.view import Name
from phalanx.node.rolling import PATIENCE_NS
from phalanx.runtime.loop import run


def roll(
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    command: Annotated[
        str, typer.Option(help="What restarts a node: {name} stands for its name.  Run without a shell.")
    ] = "systemctl restart phalanx@{name}",
    name: Annotated[list[str] | None, typer.Option(help="Restart only this one (repeatable), in this order.")] = None,
    patience: Annotated[float, typer.Option(help="Seconds to wait for a member to be back.")] = PATIENCE_NS / SECOND,
    pause: Annotated[float, typer.Option(help="Seconds between two members.")] = 0.0,
) -> None:
    """Restart the members one at a time, each only when the last one is back with its state and the view and all groups
    survive the loss of one more.  Exit status 1 if that is not so in time, a node is of another cluster, or the command
    fails: nothing is restarted after that."""
    if "{name}" not in command:
        raise typer.BadParameter("it must say {name}", param_hint="--command")
    parts = words_of(command, "--command")
    shown = tls_of(tls)
    waits: list[str] = []

    async def restart(member: Name) -> None:
        typer.echo(f"restarting {member}")
        words = [word.replace("{name}", member) for word in parts]
        try:
            process = Command(words)
        except OSError as error:
            raise RestartStopped(f"{words[0]} cannot be run: {error.strerror or error}", ()) from None
        if status := await process.wait():
            raise RestartStopped(f"{shlex.join(words)} failed with exit status {status}", ())

    def tell(why: str) -> None:
        if waits[-1:] != [why]:
            waits.append(why)
            typer.echo(f"  waiting: {why}")

    async def main() -> list[Name]:
        return await rolling_restart(
            restart,
            *endpoints,
            names=name or (),
            patience_s=patience,
            pause_s=pause,
            on_wait=tell,
            tls=shown,
            cluster=cluster,
        )

    try:
        restarted = run(main())
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None
    except (RestartStopped, OSError) as error:
        typer.echo(f"stopped: {said(error)}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"restarted: {' '.join(restarted)}")
