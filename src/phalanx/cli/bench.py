"""`phalanx bench`: how fast a running cluster serves its store, as its clients see it."""

import asyncio
import itertools
import json
import math
import os
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from phalanx.api.arguments import cluster_of
from phalanx.api.client import Client, connect
from phalanx.api.tls import TLS
from phalanx.cli.calls import ENDPOINT, AsJson, Cluster, Files, StoreName, Tls, addresses, tls_of
from phalanx.cli.complaints import FAILED, complain
from phalanx.errors import PhalanxError
from phalanx.lab.loadgen import worker
from phalanx.lab.loadgen.histogram import Histogram
from phalanx.lab.loadgen.load import CONNECT_S_MAX, PUTS, Plan, Result
from phalanx.replication.session import WINDOW
from phalanx.runtime.loop import run
from phalanx.services.store.limits import DELETE_KEYS_MAX, TXN_BYTES_MAX, TXN_OPERATIONS_MAX, VALUE_BYTES_MAX
from phalanx.services.store.values import Put

BUSY = 0.9
"""Share of a core from which a process of clients is the bottleneck: it waits for itself."""

PROBE_S = 1.0
"""How long each trial lasts that finds out how many processes it takes."""

SETTLE_S = 0.5
"""After workers were killed: what they had sent is to be done before the keys are removed."""

REMEDIES = {
    "cpu": "use more --processes, or run them on another machine.",
    "cores": "this machine has not enough cores for them and for whatever else runs here; use another one.",
}

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

CLIENTS_MAX = 1_000
"""Connections: each is a session, which the group keeps."""

FILL_BYTES = TXN_BYTES_MAX // 8
"""Of values in one transaction, when keys are made: small, so that they hold nothing else up."""


class What(StrEnum):
    """Kinds of load."""

    PUT = "put"
    GET = "get"
    MIXED = "mixed"


def bench(
    what: Annotated[What, typer.Argument(help="Writes, linearizable reads, or half of each.")] = What.MIXED,
    endpoints: Annotated[
        list[str],
        typer.Option(
            "--endpoints",
            "--endpoint",
            "-e",
            envvar="PHALANX_ENDPOINTS",
            help="HOST:PORT,... of nodes; may be repeated.",
        ),
    ] = [ENDPOINT],  # noqa: B006  typer reads the default and never changes it
    outstanding: Annotated[int, typer.Option(help="Operations under way, in all.", min=1)] = 64,
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=0.1, max=86_400)] = 10.0,
    value_bytes: Annotated[int, typer.Option(help="Size of a value.", min=0, max=VALUE_BYTES_MAX)] = 128,
    keys: Annotated[int, typer.Option(help="How many keys are used.", min=1, max=DELETE_KEYS_MAX)] = 10_000,
    clients: Annotated[
        int, typer.Option(help="Connections, spread over the endpoints. [default: 2 for each endpoint]", min=0)
    ] = 0,
    processes: Annotated[
        int, typer.Option(help="For the clients. [default: as many as it takes, at most one for each core]", min=0)
    ] = 0,
    store: StoreName = "KV",
    tls: Tls = None,
    cluster: Cluster = "",
    as_json: AsJson = False,
) -> None:
    """Measure a running cluster: operations per second and their latency.

    The clients write keys under a prefix of their own, bench/XXXX/, and remove them in the end; the history of the store
    remembers these writes until it forgets them, and older ones sooner. Exit status 3 if nothing could be measured, 130
    after Ctrl-C.
    """
    found = addresses([word for words in endpoints for word in words.split(",")])
    clients = clients or min(outstanding, 2 * len(found))
    if not clients <= min(outstanding, CLIENTS_MAX):
        raise typer.BadParameter(f"{clients} of them need as many operations, and are at most {CLIENTS_MAX}")
    if math.ceil(outstanding / clients) > WINDOW:
        raise typer.BadParameter(f"a client has at most {WINDOW} under way: {outstanding} need more --clients")
    if processes > clients:
        raise typer.BadParameter(f"{processes} processes for {clients} clients", param_hint="--processes")
    shown = tls_of(tls)
    prefix = b"bench/%b/" % secrets.token_hex(2).encode()
    plan = Plan(what, tuple(found), outstanding, clients, seconds, value_bytes, keys, prefix, store, tls=_texts(tls))
    console = Console(stderr=True)
    try:
        results = run(_bench(plan, processes, console, shown, cluster))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (PhalanxError, OSError) as error:
        complain(FAILED, f"not measured: {error}", 3)
        raise typer.Exit(3) from error
    figures = figures_of(plan, results)
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        _show(figures, Console())


def _texts(files: Files) -> tuple[str, str, str] | None:
    """For a plan, which is JSON."""
    return None if files is None else (str(files[0]), str(files[1]), str(files[2]))


# --- the run ------------------------------------------------------------------------------------------------------


async def _bench(plan: Plan, processes: int, console: Console, tls: TLS | None, cluster: str) -> list[Result]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    async with connect(*plan.endpoints, tls=tls, cluster=cluster) as client, _keys(client, plan, console):
        plan = msgspec.structs.replace(plan, cluster=cluster_of(client.cluster))
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("making keys", total=plan.keys)
            if PUTS[plan.what] < 1:
                await _fill(client, plan, progress, task)
            count = processes or 1
            most = min(os.cpu_count() or 1, plan.clients)
            while not processes and count < most:
                trial = msgspec.structs.replace(plan, seconds=PROBE_S)
                progress.reset(task, total=PROBE_S, description=f"trying {count} process(es)")
                if max(result.cpu for result in await _load(trial, count, progress, task)) < BUSY:
                    break
                count = min(2 * count, most)
            progress.reset(task, total=plan.seconds)
            return await _load(plan, count, progress, task)


@asynccontextmanager
async def _keys(client: Client, plan: Plan, console: Console) -> AsyncIterator[None]:
    """Nothing is left of the keys when the block ends, however that is."""
    store = client.kv(plan.group)
    # A cluster that does not serve is found now, and sooner than by the first key.
    await store.within(CONNECT_S_MAX).count(plan.prefix)
    try:
        yield
    except BaseException:
        await asyncio.sleep(SETTLE_S)
        raise
    finally:
        try:
            await store.delete_prefix(plan.prefix)
        except PhalanxError as error:
            name = plan.prefix.decode()
            console.print(
                f"keys are left ({error}): remove them with `phalanx kv delete --prefix {name}`", soft_wrap=True
            )


async def _fill(client: Client, plan: Plan, progress: Progress, task: TaskID) -> None:
    """Write every key once, so that a get finds something."""
    store = client.kv(plan.group)
    step = max(1, min(TXN_OPERATIONS_MAX, FILL_BYTES // (plan.value_bytes + 1)))
    value = bytes(plan.value_bytes)
    for start in range(0, plan.keys, step):
        numbers = range(start, min(start + step, plan.keys))
        await store.transact(then=[Put(plan.key(number), value) for number in numbers])
        progress.update(task, completed=numbers.stop)


async def _load(plan: Plan, processes: int, progress: Progress, task: TaskID) -> list[Result]:
    """Have that many processes carry out the plan together."""
    workers = []
    try:
        for share in shares_of(plan, processes):
            words = [sys.executable, "-m", worker.__name__, msgspec.json.encode(share).decode()]
            pipe = asyncio.subprocess.PIPE
            # A session of its own: Ctrl-C at the terminal is for us, and we end the workers.
            process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, start_new_session=True)
            workers.append(process)
        for process in workers:
            await _hear(process)
        for process in workers:
            assert process.stdin is not None
            process.stdin.write(b"begin\n")
        done = [0] * len(workers)

        async def follow(n: int) -> Result:
            while (line := await _hear(workers[n])).result is None:
                done[n] = line.done
                elapsed = progress.tasks[0].elapsed or 0.0
                after = max(0.0, elapsed - plan.warm_up_s)
                progress.update(task, completed=after, description=f"{sum(done):,} operations")
            return line.result

        progress.reset(task)
        return await asyncio.gather(*map(follow, range(len(workers))))
    finally:
        for process in workers:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _hear(process: asyncio.subprocess.Process) -> worker.Line:
    """The next thing that a worker says.  Raises ConnectionError with what it could not do."""
    assert process.stdout is not None
    text = await process.stdout.readline()
    line = worker.decode(text) if text else worker.Line(error="a process of clients ended by itself")
    if line.error:
        raise ConnectionError(line.error)
    return line


def shares_of(plan: Plan, processes: int) -> list[Plan]:
    """The plan of each process: clients and operations divided as evenly as can be, no client better off than in one."""
    under_way = [plan.outstanding // plan.clients + (n < plan.outstanding % plan.clients) for n in range(plan.clients)]
    bounds = [plan.clients * n // processes for n in range(processes + 1)]
    return [
        msgspec.structs.replace(
            plan, outstanding=sum(under_way[low:high]), clients=high - low, first=low, seed=plan.seed + low
        )
        for low, high in itertools.pairwise(bounds)
    ]


# --- what is printed ----------------------------------------------------------------------------------------------


def figures_of(plan: Plan, results: Sequence[Result]) -> dict[str, Any]:
    """All figures, for `--json`.  Latencies are microseconds; `cpu` and `waited`: of each process of clients, its share
    of a core, and the share of the time that it waited for one.  `client_bound`: what the clients lacked, if anything."""
    errors: Counter[str] = Counter()
    for result in results:
        errors.update(result.errors)
    histograms: dict[str, Histogram] = {}
    for name in ("put", "get"):
        merged = Histogram()
        for result in results:
            merged.merge(result.histogram(name))
        if merged.total:
            histograms[name] = merged
    if len(histograms) > 1:
        histograms["all"] = Histogram()
        for name in ("put", "get"):
            histograms["all"].merge(histograms[name])
    took = max(result.seconds for result in results)
    operations = {
        name: {
            "count": histogram.total,
            "ops_per_s": round(histogram.total / took),
            **{f"{label}_us": round(histogram.percentile(share) / 1000) for label, share in SHARES.items()},
        }
        for name, histogram in histograms.items()
    }
    cpu, waited = (
        [round(share, 2) for share in shares] for shares in zip(*((r.cpu, r.waited) for r in results), strict=True)
    )
    asked = {"outstanding": plan.outstanding, "clients": plan.clients, "value_bytes": plan.value_bytes}
    bound = "cpu" if max(cpu) >= BUSY else "cores" if max(map(sum, zip(cpu, waited, strict=True))) >= BUSY else ""
    told = {"operations": operations, "errors": dict(errors), "cpu": cpu, "waited": waited, "client_bound": bound}
    return {"what": plan.what, "endpoints": plan.endpoints, **asked, "seconds": round(took, 3), **told}


def _show(figures: dict[str, Any], console: Console) -> None:
    table = Table("", "ops/s", *(f"{label} us" for label in SHARES), "count")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in figures["operations"].items():
        latencies = (f"{row[f'{label}_us']:,}" for label in SHARES)
        table.add_row(name, f"{row['ops_per_s']:,}", *latencies, f"{row['count']:,}")
    console.print(table)
    asked = f"{figures['outstanding']} under way from {figures['clients']} clients"
    console.print(f"{asked}, values of {figures['value_bytes']} bytes, {figures['seconds']:.1f} s", highlight=False)
    for kind, count in sorted(figures["errors"].items()):
        console.print(f"[red]{count:,} x {kind}[/red]", highlight=False)
    busy, waited = (", ".join(f"{share:.0%}" for share in figures[name]) for name in ("cpu", "waited"))
    console.print(f"processes of clients: busy {busy} of the time, waiting for a core {waited}", highlight=False)
    if figures["client_bound"]:
        console.print(f"[yellow]The clients were the bottleneck: {REMEDIES[figures['client_bound']]}[/yellow]")
