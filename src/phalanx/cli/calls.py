"""What the commands of the store share: options, running a call, and its exit status."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from phalanx.api.client import Client, connect
from phalanx.api.store import Store
from phalanx.errors import NotHappened, OutcomeUnknown, PhalanxError
from phalanx.runtime.loop import run
from phalanx.services.store.values import Versioned

T = TypeVar("T")

Endpoints = Annotated[
    list[str],
    typer.Option("--endpoint", "-e", envvar="PHALANX_ENDPOINTS", help="HOST:PORT of a node; may be repeated."),
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds that the call may take.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Stale = Annotated[bool, typer.Option("--stale", help="Answer at once from what a node has: maybe old.")]
At = Annotated[int | None, typer.Option("--at", help="The revision to look at; now, if none is given.", min=0)]

ENDPOINT = "127.0.0.1:7400"

ABSENT = 5
"""Exit status: the key, the lease or what was expected is not there."""


def perform(endpoints: list[str], timeout: float, work: Callable[[Client], Awaitable[T]]) -> T:
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


def store_of(client: Client, stale: bool = False) -> Store:
    """The store, for linearizable or stale reads."""
    return client.kv().stale if stale else client.kv()


def text(data: bytes) -> str:
    """Bytes as UTF-8, with what is none made visible."""
    return data.decode(errors="backslashreplace")


def item_of(key: bytes, item: Versioned) -> dict[str, Any]:
    """A key and what it has, for JSON and tables."""
    return {
        "key": text(key),
        "value": text(item.value),
        "created": item.created,
        "modified": item.modified,
        "version": item.version,
        "lease": item.lease,
    }


def tell(data: Any, as_json: bool, words: str) -> None:
    """One line: JSON, or words for people."""
    typer.echo(json.dumps(data) if as_json else words)


def show(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """A table of these columns of the rows."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)
