"""`phalanx serve`: a node of a store."""

import asyncio
import logging
import signal
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING, Annotated

import typer

from phalanx.api.arguments import directory_of, host_of
from phalanx.api.hosted import Hosted
from phalanx.api.joining import join
from phalanx.api.process import Process
from phalanx.cli.calls import Tls, said, tls_of
from phalanx.errors import ConfigurationError, PhalanxError
from phalanx.group.config import Limits, Timing
from phalanx.model.clock import MICROSECOND, MILLISECOND
from phalanx.model.view import Address, Name
from phalanx.runtime.descriptors import raise_limit
from phalanx.runtime.loop import run, tune_gc_for_server
from phalanx.services.store.kv import KV

if TYPE_CHECKING:
    from phalanx.metrics import Metrics


Measured = Annotated[
    str | None,
    typer.Option(
        envvar="PHALANX_METRICS",
        metavar="HOST:PORT",
        help="Where to show /metrics, /healthz and /readyz, without TLS: let only the monitoring reach it.",
    ),
]

SILENCE_MS_MAX = 24 * 3_600_000
"""A day is far beyond any use, and far below what the numbers of a message can hold."""

BUSY_POLL_US_MAX = 1_000_000


def _directory(word: str) -> Path:
    """Of a variable that is not set nothing is left, and that would be the current directory."""
    try:
        return directory_of(word)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None


Data = Annotated[
    Path | None,
    typer.Option(
        help="Directory for the node's small durable state, and its log.", parser=_directory, metavar="DIRECTORY"
    ),
]
SuspectAfter = Annotated[
    int, typer.Option(help="Silence that is suspicion, in milliseconds.", min=20, max=SILENCE_MS_MAX)
]
BusyPoll = Annotated[
    int,
    typer.Option(
        help="Look for news that long before the core sleeps, when they come that fast; 0: never.",
        min=0,
        max=BUSY_POLL_US_MAX,
    ),
]

LEAVE_S_MAX = 5.0
"""How long a node may take to leave politely once it is told to stop."""


def serve(
    name: Annotated[str, typer.Option(help="The node's name, unique in the cluster.")],
    listen: Annotated[str, typer.Option(help="HOST:PORT where this node listens.")] = "127.0.0.1:7400",
    advertise: Annotated[
        str | None, typer.Option(help="HOST:PORT where others reach this node, if it is not --listen.")
    ] = None,
    seed: Annotated[list[str] | None, typer.Option(help="HOST:PORT of a member to ask; may be given again.")] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="NAME=HOST:PORT of each founder, this node included; all must be there.")
    ] = None,
    bootstrap: Annotated[bool, typer.Option(help="Found a new cluster, alone.")] = False,
    data: Data = None,
    diskless: Annotated[
        bool, typer.Option(help="Keep nothing: after the loss of all nodes the cluster is gone for good.")
    ] = False,
    suspect_after_ms: SuspectAfter = 500,
    durable: Annotated[
        bool, typer.Option(help="Keep the store on disk, at every node: acknowledged means on all their disks.")
    ] = False,
    min_copies: Annotated[int, typer.Option(help="With --durable: take no writes with fewer hosts.", min=1)] = 1,
    reserve_mib: Annotated[
        int | None,
        typer.Option(help="MiB to keep free on the disk of --data, at most 5 % of it; by default 256.", min=0),
    ] = None,
    tls: Tls = None,
    metrics: Measured = None,
    lease_ms: Annotated[int, typer.Option(help="Read leases of that length; 0: ask a quorum.", min=0)] = 0,
    busy_poll_us: BusyPoll = 200,
    verbose: Annotated[bool, typer.Option(help="Log every note of the machine.")] = False,
) -> None:
    """Run a node that hosts the key-value store, until SIGTERM or SIGINT, then leave politely."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    _agree(data, diskless, durable, min_copies)
    try:
        measures = _metrics() if metrics is not None else None
        joining = join(
            name,
            listen=listen,
            advertise=advertise,
            seeds=seed or [],
            peers=_peers(peer or []),
            bootstrap=bootstrap,
            data=data,
            limits=Limits() if reserve_mib is None else Limits(reserve=_reserve(reserve_mib, data)),
            timing=timing_of(suspect_after_ms, busy_poll_us),
            objects={"KV": Hosted(KV, lease_ms, durable, min_copies)},
            tls=tls_of(tls, host_of(listen, advertise)),
            metrics=measures,
        )
        raise_limit()
        run(_serve(joining, measures, metrics or ""))
    except (PhalanxError, OSError) as error:
        typer.echo(f"phalanx: {said(error)}", err=True)
        raise typer.Exit(2) from error


def _agree(data: Path | None, diskless: bool, durable: bool, min_copies: int) -> None:
    """Raises `BadParameter` for what cannot be meant together."""
    if data is None and not diskless:
        raise typer.BadParameter("give --data DIRECTORY, or --diskless", param_hint="--data")
    if data is not None and diskless:
        raise typer.BadParameter("--data and --diskless exclude each other", param_hint="--diskless")
    if durable and diskless:
        raise typer.BadParameter("--durable and --diskless exclude each other", param_hint="--durable")
    if min_copies > 1 and not durable:
        raise typer.BadParameter("--min-copies is for --durable", param_hint="--min-copies")


def _reserve(mib: int, data: Path | None) -> int:
    """In bytes.  Raises `BadParameter` for one of no disk, and for one that the disk cannot have."""
    if data is None:
        raise typer.BadParameter("--reserve-mib is for --data", param_hint="--reserve-mib")
    there = next((path for path in (data, *data.absolute().parents) if path.exists()), Path("/"))
    total = disk_usage(there).total
    if mib << 20 > total:
        had = f"the disk of {data} has {total >> 20} in all"
        raise typer.BadParameter(f"{mib} MiB, and {had}", param_hint="--reserve-mib")
    return mib << 20


def timing_of(suspect_after_ms: int, busy_poll_us: int = Timing().busy_poll // MICROSECOND) -> Timing:
    """All periods, with that silence for suspicion: those for which faults wait keep their proportions to it."""
    suspect = suspect_after_ms * MILLISECOND
    return Timing(
        heartbeat=suspect // 10,
        suspect_after=suspect,
        demote_after=suspect * 3 // 10,
        patience=suspect // 5,
        resend_after=suspect // 5,
        busy_poll=busy_poll_us * MICROSECOND,
    )


def _peers(texts: list[str]) -> list[tuple[Name, Address]]:
    out = []
    for text in texts:
        name, found, address = text.partition("=")
        if not found:
            raise typer.BadParameter(f"{text!r} is not NAME=HOST:PORT", param_hint="--peer")
        out.append((name, address))
    return out


def _metrics() -> "Metrics":
    """Raises ConfigurationError if the library is missing that they need."""
    try:  # not at the top of the file: a library that is optional
        from phalanx.metrics import Metrics
    except ImportError as error:
        raise ConfigurationError(f"--metrics: {error}") from error
    return Metrics()


async def _serve(joining: AbstractAsyncContextManager[Process], metrics: "Metrics | None", listen: Address) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    joined = asyncio.Event()
    stopped = asyncio.ensure_future(stop.wait())
    serving = asyncio.ensure_future(_run(joining, metrics, listen, joined, stop))
    await asyncio.wait((stopped, serving), return_when=asyncio.FIRST_COMPLETED)
    if joined.is_set():
        await asyncio.wait((serving,), timeout=LEAVE_S_MAX)
    serving.cancel()  # nothing, if it is done
    stopped.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        before = "it could leave politely" if joined.is_set() else "it was in the cluster"
        logging.getLogger("phalanx").warning("stopped before %s", before)


async def _run(
    joining: AbstractAsyncContextManager[Process],
    metrics: "Metrics | None",
    listen: Address,
    joined: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    tune_gc_for_server()
    async with AsyncExitStack() as stack:
        if metrics is not None:  # first, so that who asks is told what the node waits for
            address = await stack.enter_async_context(metrics.serve(listen))
            logging.getLogger("phalanx").info("metrics at http://%s/metrics", address)
        process = await stack.enter_async_context(joining)
        joined.set()
        logging.getLogger("phalanx").info("%s serves at %s", process.me, process.address)
        await _until(process, stop)


async def _until(process: Process, stop: asyncio.Event) -> None:
    """Until told to stop, or the node fails, which raises what failed."""
    stopped = asyncio.ensure_future(stop.wait())
    failed = asyncio.ensure_future(process.wait())
    await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if failed.done():
        failed.result()
    failed.cancel()
