"""What the commands of the store share: options, running a call, and its exit status."""

import json
import re
import shlex
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from phalanx.api.arguments import SECONDS_MAX, addresses_of, cluster_of, name_of
from phalanx.api.client import Client, connect
from phalanx.api.store import Store
from phalanx.api.tls import TLS
from phalanx.cli.complaints import INTERRUPTED, NOT_DONE, REFUSED, UNKNOWN, complain
from phalanx.errors import ConfigurationError, NotHappened, OutcomeUnknown, PhalanxError
from phalanx.replication.calls import End
from phalanx.runtime.loop import run
from phalanx.services.store.values import Versioned

T = TypeVar("T")


def addresses(words: list[str]) -> list[str]:
    """The same words.  Raises `BadParameter` for one that is no address."""
    try:
        return list(addresses_of(words, "endpoints"))
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None


Endpoints = Annotated[
    list[str],
    typer.Option(
        "--endpoint",
        "-e",
        envvar="PHALANX_ENDPOINTS",
        help="HOST:PORT of a node; may be repeated.",
        callback=addresses,
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", help="Seconds that the call may take.", min=0.001, max=SECONDS_MAX)
]
Files = tuple[Path, Path, Path] | None
"""A certificate, its key, and the authorities."""

Tls = Annotated[
    Files,
    typer.Option(
        "--tls",
        envvar="PHALANX_TLS",
        metavar="CERTIFICATE KEY AUTHORITIES",
        help="Files in PEM, to talk under TLS.",
        show_default=False,
    ),
]


def _cluster(word: str) -> str:
    try:
        cluster_of(word)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None
    return word


Cluster = Annotated[
    str,
    typer.Option(
        "--cluster",
        envvar="PHALANX_CLUSTER",
        metavar="ID",
        help="Which cluster it must be, as `phalanx status` shows it; no other one is asked.",
        callback=_cluster,
        show_default=False,
    ),
]


def _store_name(word: str) -> str:
    try:
        return name_of(word, "the name of a store")
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None


StoreName = Annotated[str, typer.Option("--store", help="The name of the store.", callback=_store_name)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs, errors as well.")]
Stale = Annotated[bool, typer.Option("--stale", help="Answer at once from what a node has: maybe old.")]


def moment(words: str) -> int | datetime | timedelta:
    """What `--at` says: a revision, a time as in RFC 3339, or how long ago.

    >>> moment("12"), moment("90s ago"), moment("2026-11-21T09:00:00Z").isoformat()
    (12, datetime.timedelta(seconds=90), '2026-11-21T09:00:00+00:00')
    """
    if words.isdecimal():
        return int(words)
    if (ago := _AGO.fullmatch(words.strip())) is not None:
        return timedelta(**{_UNITS[ago[2]]: float(ago[1])})
    try:
        when = datetime.fromisoformat(words)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        expected = "a revision, a time with its zone such as 2026-11-21T09:00:00Z, or how long ago, such as '5m ago'"
        raise typer.BadParameter(f"{words!r} is none of these: {expected}")
    return when


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*([smhd])\s+ago")

At = Annotated[
    Any,
    typer.Option(
        "--at",
        help="When to look: a revision, a time (2026-11-21T09:00:00Z), or how long ago (5m ago).  None: now.",
        parser=moment,
        metavar="WHEN",
    ),
]

LINE_MAX = 1 << 20
"""Characters of a line where there is no terminal: the largest value has half as many."""

ENDPOINT = "127.0.0.1:7400"

ABSENT = 5
"""Exit status: the key, the lease or what was expected is not there."""


def tls_of(files: Files, host: str = "") -> TLS | None:
    """What `--tls` says.  Files that cannot be used are an error of the command line.  `host`: a node's."""
    if files is None:
        return None
    certificate, key, authorities = files
    tls = TLS(certificate=certificate, key=key, authorities=authorities)
    try:
        tls.credentials(host)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error).removeprefix("TLS: "), param_hint="--tls") from None
    return tls


def said(error: Exception) -> str:
    """What went wrong, in words: without the system's number for it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error)


def encoded(word: str) -> bytes:
    """A key or a value.  Raises `BadParameter` for what the shell gave that is no UTF-8."""
    try:
        data = word.encode(errors="surrogateescape")  # bytes that Python did not decode, in the locale C
        data.decode()
    except UnicodeError:
        raise typer.BadParameter(f"{word!r} is no UTF-8, which keys and values are here") from None
    return data


def words_of(text: str, hint: str) -> list[str]:
    """As a shell splits it.  Raises `BadParameter` for a quotation that has no end."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {str(error).lower()}", param_hint=hint) from None


_INTERRUPTED = {
    End.NOT_HAPPENED: (NOT_DONE, "not done"),
    End.DONE: (INTERRUPTED, "it was done"),
    End.UNKNOWN: (
        UNKNOWN,
        "outcome unknown: it had been sent, and may have happened, or may yet; read before you try again",
    ),
}


def perform(
    endpoints: list[str],
    tls: Files,
    cluster: str,
    timeout: float,
    work: Callable[[Client], Awaitable[T]],
    until_interrupted: bool = False,
) -> T:
    """Run a call.  Exit status 3: it has not happened; 4: its outcome is unknown; 1: another refusal; 2: it cannot be
    meant; 130: interrupted, and what became of a write is said, unless it is work that goes on until then."""
    shown = tls_of(tls)
    used: list[Client] = []

    async def main() -> T:
        try:
            async with connect(*endpoints, timeout_s=timeout, tls=shown, cluster=cluster) as client:
                used.append(client)
                return await work(client)
        except ConfigurationError as error:
            raise typer.BadParameter(str(error)) from None

    try:
        return run(main())
    except KeyboardInterrupt:
        if not until_interrupted and used and used[0].abandoned is not None:
            kind, words = _INTERRUPTED[used[0].abandoned]
            complain(kind, f"interrupted: {words}", 130)
        raise typer.Exit(130) from None
    except OutcomeUnknown as error:
        complain(UNKNOWN, f"outcome unknown: {error}", 4)
        raise typer.Exit(4) from error
    except NotHappened as error:
        complain(NOT_DONE, f"not done: {error}", 3)
        raise typer.Exit(3) from error
    except PhalanxError as error:
        complain(REFUSED, str(error), 1)
        raise typer.Exit(1) from error
    except TypeError as error:
        if isinstance(error.__cause__, OverflowError):
            raise typer.BadParameter("a number is too large: nothing has happened") from None
        raise


NARROW = 2 / 3
"""Of the width of a table: where there is less, folding it leaves columns of a few letters."""


def print_whole(*tables: Table) -> None:
    """On a terminal, cells that are too wide are folded, and on one that is far too narrow each has a line of its own; in
    a pipe or a file each row is one line.  Nothing is cut."""
    console = Console()
    for table in tables:
        for column in table.columns:
            column.overflow = "fold"
        width = Measurement.get(console, console.options.update(max_width=LINE_MAX), table).maximum
        if not console.is_terminal:
            console.width = max(console.width, width)
        if console.width < width * NARROW:
            _print_by_lines(console, table)
        else:
            console.print(table)


def _print_by_lines(console: Console, table: Table) -> None:
    """What a cell has behind the name of its column, without those that are empty; rows are apart."""
    names = [str(column.header) for column in table.columns]
    size = max(map(len, names))
    for row in zip(*[column.cells for column in table.columns], strict=True):
        for name, cell in zip(names, row, strict=True):
            if cell:
                console.print(f"{name:{size}}  {cell}", markup=False, highlight=False, overflow="fold")
        console.print()


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
    print_whole(table)
