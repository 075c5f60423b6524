"""`phalanx txn`, `phalanx watch` and `phalanx lease`: transactions, changes and leases of a store, from the shell."""

import asyncio
import json
from typing import Annotated, Any, cast

import msgspec
import typer

from phalanx.api.client import Client
from phalanx.cli.calls import (
    ABSENT,
    ENDPOINT,
    AsJson,
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
    words_of,
)
from phalanx.cli.store import End, Prefix, span
from phalanx.services.store import values as v
from phalanx.services.store.limits import TTL_MS_LEAST, TTL_MS_MOST
from phalanx.services.store.values import Event

lease_app = typer.Typer(no_args_is_help=True, help="Leases: keys that go when nobody keeps them alive.")

_NUMBERED: dict[str, type[v.Version] | type[v.Created] | type[v.Modified]] = {
    "version": v.Version,
    "created": v.Created,
    "modified": v.Modified,
}
_OPS = ("==", "!=", "<", ">")


def compare_of(words: str) -> v.Compare:
    """`exists KEY`, `absent KEY`, `value KEY OP VALUE`, or `version|created|modified KEY OP NUMBER`."""
    match words_of(words, "--when"):
        case ["exists", key]:
            return v.Exists(encoded(key))
        case ["absent", key]:
            return v.Exists(encoded(key), False)
        case ["value", key, op, value] if op in _OPS:
            return v.Value(encoded(key), cast(v.Op, op), encoded(value))
        case [kind, key, op, number] if kind in _NUMBERED and op in _OPS and number.isdecimal():
            return _NUMBERED[kind](encoded(key), cast(v.Op, op), int(number))
    raise typer.BadParameter(f"{words!r} is no compare: {compare_of.__doc__}", param_hint="--when")


def operation_of(words: str) -> v.Operation:
    """`put KEY VALUE [LEASE]`, `append PREFIX VALUE [LEASE]`, `get KEY`, `range START END`, `delete KEY`, or
    `delete-range START END`."""
    match words_of(words, "--then/--else"):
        case ["put", key, value]:
            return v.Put(encoded(key), encoded(value))
        case ["put", key, value, lease] if lease.isdecimal():
            return v.Put(encoded(key), encoded(value), int(lease))
        case ["append", prefix, value]:
            return v.Append(encoded(prefix), encoded(value))
        case ["append", prefix, value, lease] if lease.isdecimal():
            return v.Append(encoded(prefix), encoded(value), int(lease))
        case ["get", key]:
            return v.Get(encoded(key))
        case ["range", start, end]:
            return v.Scan(encoded(start), encoded(end) or None)
        case ["delete", key]:
            return v.Delete(encoded(key))
        case ["delete-range", start, end]:
            return v.DeleteRange(encoded(start), encoded(end) or None)
    raise typer.BadParameter(f"{words!r} is no operation: {operation_of.__doc__}", param_hint="--then/--else")


def _result(operation: v.Operation, result: v.Result) -> dict[str, Any]:
    match operation, result:
        case v.Get(key), v.Found(item):
            return {"get": text(key), "found": None if item is None else item_of(key, item)}
        case _, v.Scanned(found):
            return {"items": [item_of(key, item) for key, item in found.items], "more": found.more}
        case v.Put(key), v.Written(created, version):
            return {"put": text(key), "created": created, "version": version}
        case _, v.Appended(key):
            return {"appended": text(key)}
        case _, v.Deleted(count):
            return {"deleted": count}
    raise AssertionError(f"{operation} has {result}")


def txn(
    when: Annotated[
        list[str] | None, typer.Option(help="A compare, such as 'version KEY == 0'; all must hold.")
    ] = None,
    then: Annotated[list[str] | None, typer.Option(help="An operation, such as 'put KEY VALUE', if they do.")] = None,
    otherwise: Annotated[list[str] | None, typer.Option("--else", help="An operation, if they do not.")] = None,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Compare, then do all of one branch, at once.  Exit status 5 if the compares did not hold.

    Compares: exists KEY, absent KEY, value KEY OP VALUE, version|created|modified KEY OP NUMBER; OP is ==, !=, < or >.
    Operations: put KEY VALUE [LEASE], append PREFIX VALUE [LEASE], get KEY, range START END, delete KEY,
    delete-range START END.
    """
    compares = [compare_of(words) for words in when or ()]
    branches = [[operation_of(words) for words in branch or ()] for branch in (then, otherwise)]
    done = perform(endpoints, tls, cluster, timeout, lambda c: store_of(c).transact(compares, *branches))
    branch = branches[0] if done.succeeded else branches[1]
    results = [_result(*each) for each in zip(branch, done.results, strict=True)]
    if as_json:
        told = {"succeeded": done.succeeded, "revision": done.revision, "token": done.token, "results": results}
        typer.echo(json.dumps(told))
    else:
        typer.echo(f"{'then' if done.succeeded else 'else'}, revision {done.revision}")
        for result in results:
            typer.echo("  " + ", ".join(f"{name} {value}" for name, value in result.items()))
    if not done.succeeded:
        raise typer.Exit(ABSENT)


def event_of(event: Event) -> dict[str, Any]:
    """A change, for JSON."""
    told = {
        "type": "put" if event.item is not None else "delete",
        "key": text(event.key),
        "revision": event.revision,
        "time_ms": event.time_ms,
        "item": None if event.item is None else item_of(event.key, event.item),
    }
    return told if event.previous is None else told | {"previous": item_of(event.key, event.previous)}


def _words(event: Event) -> str:
    before = "" if event.previous is None else f" (was {text(event.previous.value)})"
    if event.item is None:
        return f"{event.revision} delete {text(event.key)}{before}"
    return f"{event.revision} put {text(event.key)} {text(event.item.value)}{before}"


def watch(
    key: Annotated[str, typer.Argument(help="The key, or the first key of a range.")],
    end: End = "",
    prefix: Prefix = False,
    after: Annotated[int | None, typer.Option(help="Begin beyond that revision; now, if none is given.", min=0)] = None,
    previous: Annotated[bool, typer.Option("--previous", help="Show what was there before.")] = False,
    puts: Annotated[bool, typer.Option(help="Show puts.")] = True,
    deletes: Annotated[bool, typer.Option(help="Show deletions.")] = True,
    count: Annotated[int | None, typer.Option("-n", "--count", help="Stop after so many changes.", min=1)] = None,
    patience: Annotated[
        float | None, typer.Option(help="Give up when no node was heard for so many seconds.", min=0.1)
    ] = None,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    as_json: AsJson = False,
) -> None:
    """Print changes as they happen, one a line, until interrupted.  It goes on at other nodes when its own is lost."""
    start, stop = span(key, end, prefix)
    if stop is not None and stop <= start:
        raise typer.BadParameter(f"there is no key from {key!r} on that is before {end!r}", param_hint="END")

    async def follow(client: Client) -> None:
        left = count
        changes = store_of(client).watch(
            start,
            None if prefix else stop,
            prefix=prefix,
            after=after,
            puts=puts,
            deletes=deletes,
            previous=previous,
            patience_s=patience,
        )
        async with changes:
            async for event in changes:
                typer.echo(json.dumps(event_of(event)) if as_json else _words(event))
                left = left - 1 if left is not None else None
                if left == 0:
                    return

    perform(endpoints, tls, cluster, 10.0, follow)


# --- leases -------------------------------------------------------------------------------------------------------


def _lease(found: v.LeaseInfo | None, as_json: bool) -> None:
    data = None if found is None else msgspec.structs.asdict(found)
    words = (
        "it has ended"
        if found is None
        else f"lease {found.id}: {found.remaining_ms / 1000:g} s of {found.ttl_ms / 1000:g}"
    )
    tell(data, as_json, words)
    if found is None:
        raise typer.Exit(ABSENT)


@lease_app.command()
def grant(
    seconds: Annotated[
        float, typer.Argument(help="How long it lasts.", min=TTL_MS_LEAST / 1000, max=TTL_MS_MOST / 1000)
    ],
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Print a new lease of that length."""
    _lease(perform(endpoints, tls, cluster, timeout, lambda c: store_of(c).grant(seconds)), as_json)


@lease_app.command()
def keep(
    lease: int,
    once: Annotated[bool, typer.Option("--once", help="Renew it once, not until interrupted.")] = False,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Keep a lease alive.  Exit status 5 when it has ended."""

    async def keep_on(client: Client) -> v.LeaseInfo | None:
        while True:
            found = await store_of(client).keep_alive(lease)
            if found is None or once:
                return found
            await asyncio.sleep(found.ttl_ms / 3000)

    _lease(perform(endpoints, tls, cluster, timeout, keep_on, until_interrupted=not once), as_json)


@lease_app.command()
def revoke(
    lease: int,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """End a lease and delete its keys.  Exit status 5 if it had ended."""
    done = perform(endpoints, tls, cluster, timeout, lambda c: store_of(c).revoke(lease))
    tell({"revoked": done}, as_json, "revoked" if done else "it had ended")
    if not done:
        raise typer.Exit(ABSENT)


@lease_app.command("show")
def show_(
    lease: int,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    stale: Stale = False,
    as_json: AsJson = False,
) -> None:
    """Print what is left of a lease, and its keys.  Exit status 5 if it has ended."""

    async def both(client: Client) -> tuple[v.LeaseInfo | None, list[bytes]]:
        store = store_of(client, stale)
        return await store.lease_info(lease), await store.lease_keys(lease)

    found, keys = perform(endpoints, tls, cluster, timeout, both)
    if as_json and found is not None:
        typer.echo(json.dumps(msgspec.structs.asdict(found) | {"keys": [text(key) for key in keys]}))
        return
    _lease(found, as_json)
    for key in keys:
        typer.echo(f"  {text(key)}")


@lease_app.command("list")
def list_(
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    timeout: Timeout = 10.0,
    stale: Stale = False,
    as_json: AsJson = False,
) -> None:
    """Print all leases."""

    async def everything(client: Client) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while page := await store_of(client, stale).leases(rows[-1]["id"] if rows else 0):
            rows += [msgspec.structs.asdict(found) for found in page]
        return rows

    rows = perform(endpoints, tls, cluster, timeout, everything)
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        show(rows, ("id", "ttl_ms", "remaining_ms"))
