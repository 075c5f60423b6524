"""`phalanx backup` and `phalanx restore`: a store into a file while it runs, and out of it into an empty one."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from phalanx.api.backup.format import Backup
from phalanx.api.backup.format import verify as verify_file
from phalanx.api.client import Client
from phalanx.cli.calls import ENDPOINT, AsJson, Cluster, Endpoints, Files, StoreName, Timeout, Tls, perform, said
from phalanx.cli.complaints import FAILED, NOT_DONE, complain
from phalanx.errors import ConfigurationError, DamagedBackup, PhalanxError

DAMAGED, UNREADABLE = 1, 2
"""Exit statuses besides those of `perform`: the file is damaged or cut short; it cannot be read or written, or is of a
later format."""

_File = Annotated[Path, typer.Argument(help="The backup's file.", metavar="FILE")]


def backup(
    file: _File,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read the file and say whether it is sound; no node is asked.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    store: StoreName = "KV",
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Write a store to a file, as it is at one revision, while writes go on.

    Exit status 0: done, or sound; 1: damaged or cut short (--verify), or refused; 2: the file cannot be read or written;
    3: not done; 4: unknown.
    """
    if verify:
        tell(checked(file, as_json), as_json, "sound")
        return

    async def write(client: Client) -> Backup:
        try:
            return await client.backup(file, store, overwrite=force)
        except ConfigurationError as error:  # what is there is no fault of the command line
            raise PhalanxError(str(error)) from error

    tell(run(endpoints, tls, cluster, timeout, write), as_json, "backed up")


def restore(
    file: _File,
    store: StoreName = "KV",
    same_revision: Annotated[
        bool,
        typer.Option(
            "--same-revision", help="Go on from the revision of the backup: nothing was written after it was taken."
        ),
    ] = False,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Load a backup into a store in which nothing was ever written.

    Exit status 0: done; 1: the file is damaged or cut short; 2: it cannot be read; 3: not done, begin again; 4: unknown:
    the store has all of it or nothing.  Nothing is seen of it until all is loaded.

    What was written after the backup was taken is lost, and somebody may know of it: so the store goes on at a revision
    far beyond, and what is asked of revisions before is said to be compacted.
    """
    checked(file, as_json)  # before any node is asked
    tell(
        run(endpoints, tls, cluster, timeout, lambda c: c.restore(file, store, same_revision=same_revision)),
        as_json,
        "restored",
    )


def checked(file: Path, as_json: bool) -> Backup:
    """What a sound file holds; else the command ends."""
    try:
        return verify_file(file)
    except DamagedBackup as error:
        if as_json:
            complain("damaged", f"damaged: {error}", DAMAGED)
        else:
            typer.echo(f"damaged: {error}")
        raise typer.Exit(DAMAGED) from error
    except (PhalanxError, OSError) as error:
        complain(FAILED, f"phalanx: {said(error)}", UNREADABLE)
        raise typer.Exit(UNREADABLE) from error


def run(
    endpoints: list[str], tls: Files, cluster: str, timeout: float, work: Callable[[Client], Awaitable[Backup]]
) -> Backup:
    """As `perform`, for what may fail at the file."""
    try:
        return perform(endpoints, tls, cluster, timeout, work)
    except OSError as error:
        complain(NOT_DONE, f"not done: {said(error)}", UNREADABLE)
        raise typer.Exit(UNREADABLE) from error


def tell(found: Backup, as_json: bool, done: str) -> None:
    """What was backed up, or restored."""
    if as_json:
        typer.echo(json.dumps({name: getattr(found, name) for name in found.__struct_fields__}))
        return
    when = datetime.fromtimestamp(found.time_ms // 1000, UTC).isoformat()
    what = f"{found.keys} keys and {found.leases} leases of {found.store} in cluster {found.cluster}"
    typer.echo(f"{done}: {what}, at revision {found.revision} ({when})")
