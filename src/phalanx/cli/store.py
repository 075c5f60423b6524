"""`phalanx kv`: keys of a store, from the shell."""

import json
from typing import Annotated

import typer

from phalanx.cli.calls import (
    ABSENT,
    ENDPOINT,
    AsJson,
    At,
    Cluster,
    Endpoints,
    Stale,
    Timeout,
    Tls,
    encoded,
    item_of,
    perform,
    show,
    store_of,
    tell,
    text,
)
from phalanx.services.store.values import Range, prefix_end

kv_app = typer.Typer(no_args_is_help=True, help="Read and write the key-value store.")

Start = Annotated[str, typer.Argument(help="The first key.")]
End = Annotated[str, typer.Argument(help="The key to stop before; empty: to the last.")]
Prefix = Annotated[bool, typer.Option("--prefix", help="All keys that begin with the first argument.")]


def span(start: str, end: str, prefix: bool) -> tuple[bytes, bytes | None]:
    """The range that the arguments mean."""
    if prefix and end:
        raise typer.BadParameter("give --prefix or an end, not both", param_hint="--prefix")
    return encoded(start), prefix_end(encoded(start)) if prefix else encoded(end) or None


@kv_app.command()
def get(
    key: str,
    at: At = None,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    stale: Stale = False,
    as_json: AsJson = False,
) -> None:
    """Print the value of a key.  Exit status 5 if there is none."""
    found = perform(endpoints, tls, cluster, timeout, lambda c: store_of(c, stale).get(encoded(key), at=at))
    if as_json:
        typer.echo(json.dumps(item_of(encoded(key), found) if found else None))
    elif found:
        typer.echo(text(found.value))
    if found is None:
        raise typer.Exit(ABSENT)


@kv_app.command()
def put(
    key: str,
    value: str,
    lease: Annotated[int, typer.Option(help="The lease with which the key is to go.", min=0)] = 0,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Set a key.  Prints the store's new revision."""
    revision = perform(
        endpoints, tls, cluster, timeout, lambda c: store_of(c).put(encoded(key), encoded(value), lease=lease)
    )
    tell({"revision": revision}, as_json, f"revision {revision}")


@kv_app.command()
def delete(
    key: Annotated[str | None, typer.Argument(help="The key, or the first.")] = None,
    end: End = "",
    prefix: Prefix = False,
    everything: Annotated[bool, typer.Option("--all", help="Every key; give none.")] = False,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Remove a key, a range, a prefix or all keys.  Exit status 5 if nothing was there."""
    if (key is None) != everything or (everything and (end or prefix)):
        raise typer.BadParameter("give a key, or --all and nothing else", param_hint="KEY")
    if prefix and not key:  # "$UNSET" in a shell
        raise typer.BadParameter("an empty prefix is that of every key; say --all if these are to go", param_hint="KEY")
    start, stop = span(key or "", end, prefix)
    if not (prefix or end or everything):
        stop = start + b"\0"
    count = perform(endpoints, tls, cluster, timeout, lambda c: store_of(c).delete_range(start, stop))
    tell({"deleted": count}, as_json, f"deleted {count}" if count else "not there")
    if not count:
        raise typer.Exit(ABSENT)


@kv_app.command()
def cas(
    key: str,
    expected: Annotated[str | None, typer.Argument(help="The value it must have now.")] = None,
    value: Annotated[str | None, typer.Argument(help="The value to set.")] = None,
    absent: Annotated[bool, typer.Option("--absent", help="It must be absent; give only the value.")] = False,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Set a key if it has the expected value.  Exit status 5 if it has another."""
    before, after = (None, expected) if absent else (expected, value)
    if after is None or (absent and value is not None):
        raise typer.BadParameter(
            "give the expected value and the new one; with --absent only the new one", param_hint="VALUE"
        )
    was, new = None if before is None else encoded(before), encoded(after)
    done = perform(endpoints, tls, cluster, timeout, lambda c: store_of(c).compare_and_set(encoded(key), was, new))
    tell({"set": done}, as_json, "set" if done else "it has another value")
    if not done:
        raise typer.Exit(ABSENT)


@kv_app.command("range")
def range_(
    start: Start = "",
    end: End = "",
    prefix: Prefix = False,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 1000,
    at: At = None,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    stale: Stale = False,
    as_json: AsJson = False,
) -> None:
    """Print keys and values in order."""
    first, stop = span(start, end, prefix)
    found: Range = perform(
        endpoints, tls, cluster, timeout, lambda c: store_of(c, stale).range(first, stop, limit, at=at)
    )
    items = [item_of(key, item) for key, item in found.items]
    if as_json:
        typer.echo(json.dumps({"items": items, "more": found.more, "revision": found.revision}))
        return
    show(items, ("key", "value", "modified", "version"))
    if found.more:
        typer.echo("there is more")


@kv_app.command()
def count(
    start: Start = "",
    end: End = "",
    prefix: Prefix = False,
    at: At = None,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    stale: Stale = False,
    as_json: AsJson = False,
) -> None:
    """Print how many keys there are."""
    first, stop = span(start, end, prefix)
    found = perform(endpoints, tls, cluster, timeout, lambda c: store_of(c, stale).count(first, stop, at=at))
    tell({"count": found}, as_json, str(found))


@kv_app.command()
def history(
    key: str,
    limit: Annotated[int, typer.Option(help="At most so many, the latest.", min=1)] = 100,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    stale: Stale = False,
    as_json: AsJson = False,
) -> None:
    """Print the changes of a key that are remembered.  Exit status 5 if there are none."""
    events = perform(endpoints, tls, cluster, timeout, lambda c: store_of(c, stale).history(encoded(key), limit))
    rows = [
        {
            "revision": event.revision,
            "time_ms": event.time_ms,
            "value": None if event.item is None else text(event.item.value),
            "version": 0 if event.item is None else event.item.version,
        }
        for event in events
    ]
    if as_json:
        typer.echo(json.dumps(rows))
    elif rows:
        show([row | {"value": "(deleted)" if row["value"] is None else row["value"]} for row in rows], tuple(rows[0]))
    if not rows:
        raise typer.Exit(ABSENT)


@kv_app.command()
def compact(
    revision: Annotated[int | None, typer.Argument(help="The least revision to be kept.", min=0)] = None,
    keep: Annotated[
        float | None, typer.Option(help="Keep the history for so many seconds, now and from now on.", min=0)
    ] = None,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Forget history: below a revision, or by its age."""
    if (revision is None) == (keep is None):
        raise typer.BadParameter("give a revision, or --keep SECONDS", param_hint="REVISION")
    if keep is not None:
        seconds = keep
        oldest = perform(endpoints, tls, cluster, timeout, lambda c: store_of(c).retain(seconds))
        tell({"oldest": oldest}, as_json, f"the history begins at revision {oldest}")
    elif revision is not None:
        until = revision
        left = perform(endpoints, tls, cluster, timeout, lambda c: store_of(c).compact(until))
        tell({"history_bytes": left}, as_json, f"{left} bytes of history are left")


@kv_app.command()
def info(
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    stale: Stale = False,
    as_json: AsJson = False,
) -> None:
    """Print how much there is, and from which revision on it can be read."""
    found = perform(endpoints, tls, cluster, timeout, lambda c: store_of(c, stale).info())
    fields = {name: getattr(found, name) for name in found.__struct_fields__}
    if as_json:
        typer.echo(json.dumps(fields))
    else:
        show([fields], tuple(fields))
