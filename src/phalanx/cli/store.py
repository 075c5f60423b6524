"""`phalanx kv` and `phalanx status`: a client of a store, from the shell."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from phalanx.api.client import Client, Store, connect
from phalanx.errors import NotHappened, OutcomeUnknown, PhalanxError
from phalanx.node.status import Status
from phalanx.runtime.loop import run
from phalanx.services.kv import Versioned

T = TypeVar("T")

Endpoints = Annotated[
    list[str],
    typer.Option("--endpoint", "-e", envvar="PHALANX_ENDPOINTS", help="HOST:PORT of a node; may be repeated."),
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds that the call may take.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Stale = Annotated[bool, typer.Option("--stale", help="Answer at once from what a node has: maybe old.")]

ENDPOINT = "127.0.0.1:7400"

kv_app = typer.Typer(no_args_is_help=True, help="Read and write the key-value store.")


def _run(endpoints: list[str], timeout: float, work: Callable[[Client], Awaitable[T]]) -> T:
    """Run a call.  Exit status 3: it has not happened; 4: its outcome is unknown; 1: another refusal."""

    async def main() -> T:
        async with connect(*endpoints, timeout_s=timeout) as client:
            return await work(client)

    try:
        return run(main())
    except OutcomeUnknown as error:
        typer.echo(f"outcome unknown: {error}", err=True)
        raise typer.Exit(4) from error
    except NotHappened as error:
        typer.echo(f"not done: {error}", err=True)
        raise typer.Exit(3) from error
    except PhalanxError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _store(client: Client, stale: bool = False) -> Store:
    return client.kv().stale if stale else client.kv()


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")


def _item(key: bytes, item: Versioned) -> dict[str, Any]:
    return {
        "key": _text(key),
        "value": _text(item.value),
        "created": item.created,
        "modified": item.modified,
        "version": item.version,
    }


@kv_app.command()
def get(
    key: str,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    timeout: Timeout = 10.0,
    stale: Stale = False,
    as_json: AsJson = False,
) -> None:
    """Print the value of a key.  Exit status 5 if there is none."""
    found = _run(endpoints, timeout, lambda c: _store(c, stale).get(key.encode()))
    if as_json:
        typer.echo(json.dumps(_item(key.encode(), found) if found else None))
    elif found:
        typer.echo(_text(found.value))
    if found is None:
        raise typer.Exit(5)


@kv_app.command()
def put(
    key: str,
    value: str,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Set a key.  Prints the store's new revision."""
    revision = _run(endpoints, timeout, lambda c: _store(c).put(key.encode(), value.encode()))
    typer.echo(json.dumps({"revision": revision}) if as_json else f"revision {revision}")


@kv_app.command()
def delete(
    key: str,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Remove a key.  Exit status 5 if it was not there."""
    deleted = _run(endpoints, timeout, lambda c: _store(c).delete(key.encode()))
    typer.echo(json.dumps({"deleted": deleted}) if as_json else "deleted" if deleted else "not there")
    if not deleted:
        raise typer.Exit(5)


@kv_app.command()
def cas(
    key: str,
    expected: Annotated[str, typer.Argument(help="The value it must have now.")] = "",
    value: Annotated[str, typer.Argument(help="The value to set.")] = "",
    absent: Annotated[bool, typer.Option("--absent", help="It must be absent; give only the value.")] = False,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Set a key if it has the expected value.  Exit status 5 if it has another."""
    before, after = (None, expected) if absent else (expected.encode(), value)
    done = _run(endpoints, timeout, lambda c: _store(c).compare_and_set(key.encode(), before, after.encode()))
    typer.echo(json.dumps({"set": done}) if as_json else "set" if done else "it has another value")
    if not done:
        raise typer.Exit(5)


@kv_app.command("range")
def range_(
    start: Annotated[str, typer.Argument(help="The first key.")] = "",
    end: Annotated[str, typer.Argument(help="The key to stop before; empty: to the last.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 1000,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    timeout: Timeout = 10.0,
    stale: Stale = False,
    as_json: AsJson = False,
) -> None:
    """Print keys and values in order."""
    found = _run(endpoints, timeout, lambda c: _store(c, stale).range(start.encode(), end.encode() or None, limit))
    items = [_item(key, item) for key, item in found.items]
    if as_json:
        typer.echo(json.dumps({"items": items, "more": found.more, "revision": found.revision}))
        return
    table = Table("key", "value", "modified", "version")
    for item in items:
        table.add_row(item["key"], item["value"], str(item["modified"]), str(item["version"]))
    Console().print(table)
    if found.more:
        typer.echo("there is more")


def status(
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    timeout: Timeout = 5.0,
    as_json: AsJson = False,
) -> None:
    """Show what each node says about itself and the cluster.  Exit status 3 if none answers."""

    async def one(endpoint: str) -> Status | None:
        async with connect(endpoint, timeout_s=timeout) as client:
            try:
                return await client.status()
            except PhalanxError:
                return None

    async def main() -> dict[str, Status | None]:
        answers = dict(zip(endpoints, await asyncio.gather(*map(one, endpoints)), strict=True))
        others = {m.address for s in answers.values() if s is not None for m in (*s.members, *s.learners)}
        unasked = sorted(others - set(answers))
        return answers | dict(zip(unasked, await asyncio.gather(*map(one, unasked)), strict=True))

    answers = run(main())
    if as_json:
        typer.echo(msgspec.json.encode(answers).decode())
    else:
        _show(answers)
    if not any(answers.values()):
        raise typer.Exit(3)


def _show(answers: dict[str, Status | None]) -> None:
    table = Table("address", "node", "state", "view", "members", "learners", "suspects", "survives")
    groups = Table("group", "order", "hosts", "learners")
    seen: dict[str, tuple[str, str, str]] = {}
    for address, s in answers.items():
        if s is None:
            table.add_row(address, "-", "no answer", "", "", "", "", "")
            continue
        rank0 = " (the eldest decides)" if s.eldest_decides else ""
        table.add_row(
            address,
            f"{s.node}#{s.incarnation}",
            s.state,
            str(s.view),
            " ".join(m.name for m in s.members),
            " ".join(m.name for m in s.learners),
            " ".join(s.suspects),
            f"{s.survives}{rank0}",
        )
        for group in s.groups:
            seen[group.name] = (group.order, " ".join(group.hosts), " ".join(group.learners))
    for name, row in sorted(seen.items()):
        groups.add_row(name, *row)
    console = Console()
    console.print(table)
    if seen:
        console.print(groups)
