"""`phalanx lock` and `phalanx elect`: run a command while a lock or a leadership is held."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Annotated

import typer

from phalanx.api import recipes
from phalanx.api.arguments import SECONDS_MAX
from phalanx.api.client import Client
from phalanx.api.recipes import Held
from phalanx.cli.calls import ABSENT, ENDPOINT, AsJson, Cluster, Endpoints, Tls, encoded, perform, store_of, text
from phalanx.cli.commands import Command
from phalanx.cli.complaints import FAILED, complain
from phalanx.cli.complaints import NOT_DONE as NOT_SERVED
from phalanx.errors import LeaseLost
from phalanx.services.store.limits import TTL_MS_LEAST, TTL_MS_MOST

TERMINATE_S = 5.0
"""How long a command that has lost its lock may take to end before it is killed."""

ENDS = (signal.SIGTERM, signal.SIGHUP)
"""At these signals the command is stopped, and what was held, or waited for, is given up; as at SIGINT."""

NOT_DONE = 3
"""Exit status: as of `perform`."""

LOST = 6
"""Exit status: the lock or leadership was lost, and the command was stopped."""

Ttl = Annotated[
    float,
    typer.Option(
        "--ttl",
        help="Seconds after which others go on when this process has died.",
        min=TTL_MS_LEAST / 1000,
        max=TTL_MS_MOST / 1000,
    ),
]
Wait = Annotated[
    float | None, typer.Option("--wait", help="Give up after so many seconds of waiting.", min=0, max=SECONDS_MAX)
]
Words = Annotated[list[str], typer.Argument(help="The command, after --, and its arguments.")]


def _named(name: str) -> str:
    """It is a variable of the shell that was not set, most of all: all keys have that prefix."""
    if not name:
        raise typer.BadParameter("it must not be empty")
    return name


def lock(
    name: Annotated[str, typer.Argument(help="The lock's name, a prefix of keys.", callback=_named)],
    command: Words,
    ttl: Ttl = 10.0,
    wait: Wait = None,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
) -> None:
    """Hold a lock while a command runs, which finds its fencing token in PHALANX_TOKEN.

    The exit status is the command's, or 128 and the number of the signal that ended it.  3: no node has served it within
    --wait.  5: the lock was not to be had in that time.  6: it was lost; the command was stopped, as it is when this
    process is ended by a signal; then 128 and the number of that.
    """

    async def work(client: Client) -> int:
        return await _while(client, recipes.lock(store_of(client), encoded(name), ttl_s=ttl), command, wait)

    raise typer.Exit(perform(endpoints, tls, cluster, 10.0, work, until_interrupted=True))


def elect(
    name: Annotated[str, typer.Argument(help="The election's name, a prefix of keys.", callback=_named)],
    command: Annotated[list[str] | None, typer.Argument(help="The command, after --, and its arguments.")] = None,
    data: Annotated[str, typer.Option(help="What observers see of this candidate.")] = "",
    observe: Annotated[bool, typer.Option("--observe", help="Print the leaders as they change; run nothing.")] = False,
    count: Annotated[int | None, typer.Option("-n", "--count", help="Stop after so many lines.", min=1)] = None,
    ttl: Ttl = 10.0,
    wait: Wait = None,
    endpoints: Endpoints = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    tls: Tls = None,
    cluster: Cluster = "",
    as_json: AsJson = False,
) -> None:
    """Run a command as the leader, once elected; or print who leads, with --observe.

    The command finds its fencing token in PHALANX_TOKEN.  Exit status as of `phalanx lock`.
    """
    if observe == bool(command):
        raise typer.BadParameter("give a command, or --observe", param_hint="COMMAND")
    if count is not None and not observe:
        raise typer.BadParameter("it is for --observe", param_hint="--count")
    if data and observe:
        raise typer.BadParameter("an observer is no candidate: not with --observe", param_hint="--data")

    async def watch(client: Client) -> int:
        left = count
        async with recipes.observe(store_of(client), encoded(name)) as leaders:
            async for leader in leaders:
                told = None if leader is None else {"data": text(leader.data), "term": leader.term}
                words = "nobody leads" if leader is None else f"{text(leader.data)} leads, term {leader.term}"
                typer.echo(json.dumps(told) if as_json else words)
                left = None if left is None else left - 1
                if left == 0:
                    break
        return 0

    async def work(client: Client) -> int:
        leading = recipes.lead(store_of(client), encoded(name), encoded(data), ttl_s=ttl)
        return await _while(client, leading, command or [], wait)

    raise typer.Exit(perform(endpoints, tls, cluster, 10.0, watch if observe else work, until_interrupted=True))


async def _while(
    client: Client, holding: AbstractAsyncContextManager[Held], command: list[str], wait: float | None
) -> int:
    """Run the command while it is held; its exit status, or why not."""
    try:
        with _until_told_to_end() as told:
            async with asyncio.timeout(wait) as waiting, holding as held:
                waiting.reschedule(None)
                return await _run(command, held.token)
    except asyncio.CancelledError:
        if not told:
            raise  # Ctrl-C
        return 128 + told[0]
    except TimeoutError:
        if not client.cluster:
            complain(NOT_SERVED, f"not done: no node has served it in time: {', '.join(client.endpoints)}", NOT_DONE)
            return NOT_DONE
        complain("not to be had", "not to be had in time", ABSENT)
        return ABSENT
    except LeaseLost as error:
        complain("lost", f"lost: {error}", LOST)
        return LOST


@contextmanager
def _until_told_to_end() -> Iterator[list[int]]:
    """A signal to end cancels the block, once, and is in the list.  If the process just died of it the command would go
    on, and another would hold what it believes to hold as soon as the lease has run out."""
    loop, block, told = asyncio.get_running_loop(), asyncio.current_task(), list[int]()
    assert block is not None

    def end(number: int) -> None:
        if not told:
            told.append(number)
            block.cancel()

    heeded = [number for number in ENDS if signal.getsignal(number) is not signal.SIG_IGN]  # under nohup, for one
    for number in heeded:
        loop.add_signal_handler(number, end, number)
    try:
        yield told
    finally:
        for number in heeded:
            loop.remove_signal_handler(number)


async def _run(command: list[str], token: int) -> int:
    try:
        process = Command(command, os.environ | {"PHALANX_TOKEN": str(token)})
    except OSError as error:
        status = 127 if isinstance(error, FileNotFoundError | NotADirectoryError) else 126  # as a shell says
        complain(FAILED, f"{command[0] or repr(command[0])}: {error.strerror or error}", status)
        return status
    try:
        status = await process.wait()
        return status if status >= 0 else 128 - status  # as a shell says that a signal ended it
    finally:
        if process.running:
            process.terminate()
            try:
                async with asyncio.timeout(TERMINATE_S):
                    await process.wait()
            except TimeoutError:
                pass
            finally:  # if it is cancelled once more as well
                if process.running:
                    process.kill()
                    await process.wait()
