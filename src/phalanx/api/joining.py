"""Beginning to be a node of a cluster."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from phalanx.api.arguments import (
    addresses_of,
    check_settings,
    directory_of,
    flag_of,
    host_of,
    node_name,
    peers_of,
    place_of,
)
from phalanx.api.hosted import Objects, all_hosted
from phalanx.api.observing import Observer, check_observer
from phalanx.api.process import Process
from phalanx.api.storage import open_storage
from phalanx.api.tls import TLS, credentials_of
from phalanx.errors import ConfigurationError, Refused
from phalanx.group.config import Config, Limits, Timing
from phalanx.model.view import Address, Name
from phalanx.runtime.credentials import Credentials
from phalanx.runtime.transport import TcpTransport

LEAVE_S = 5.0
"""How long a node that cannot host its objects takes to leave: many view changes."""


async def _listening(listen: Address, advertise: Address | None, credentials: Credentials | None) -> TcpTransport:
    host, port = place_of(listen)
    try:
        return await TcpTransport.listen(host, port, advertise=advertise, tls=credentials)
    except OSError as error:
        raise type(error)(error.errno, f"cannot listen at {listen}: {error.strerror}") from error


@asynccontextmanager
async def join(
    name: Name,
    *,
    listen: Address = "127.0.0.1:0",
    advertise: Address | None = None,
    seeds: Sequence[Address] = (),
    peers: Sequence[tuple[Name, Address]] = (),
    bootstrap: bool = False,
    data: Path | str | None = None,
    objects: Objects | None = None,
    timing: Timing = Timing(),
    limits: Limits = Limits(),
    tls: TLS | None = None,
    metrics: Observer | None = None,
) -> AsyncIterator[Process]:
    """Be a node of a cluster while the block runs, and leave it politely at its end (on an error: just stop).

    name: unique in the cluster.  listen: where this node listens; port 0 takes any free one.
    advertise: where others reach it, if that is another address: it listens on all interfaces (0.0.0.0, ::), or is in a
        container or behind NAT, and its port is forwarded.
    seeds: addresses of members to ask to be let in.
    peers: names and addresses of all founders, this node among them: together they found the cluster, if none of them
        has been in one before.  bootstrap: found it alone.
    data: directory of the node's small durable state (what it promised), and of the log of durable groups.  None: it is
        kept in memory only, and the process must never come back under its old identity; a cluster all of whose members
        are gone is then gone too.

    objects: replicated objects to host from the very beginning: by name, the class and the length of its read leases in
        milliseconds, or all that `Hosted` says (see `Process.host`, which takes up more later).
    tls: talk to nobody without TLS and a certificate, members and clients alike (see `TLS`); all of a cluster do, or
        none.  None: who can reach the port is believed.
    metrics: a `phalanx.metrics.Metrics`, which measures this process from its beginning.

    Raises `ConfigurationError` for settings that make no sense, and `TypeError`; `OSError` if the address cannot be used;
    `DataDirectoryInUse` and `DamagedVoteFile`; `Refused` if one of the objects is another one in the cluster: of another
    version of the class, or with other settings.
    """
    host = host_of(listen, advertise)
    node_name(name)
    seeds, peers = addresses_of(seeds, "seeds"), peers_of(peers)
    if flag_of(bootstrap, "bootstrap") and peers:
        raise ConfigurationError("bootstrap founds a cluster alone: give no peers")
    if peers and (name, advertise or listen) not in peers:
        raise ConfigurationError(f"{name} at {advertise or listen} is not among the founding peers {list(peers)}")
    hosted = all_hosted(objects)
    check_settings(timing, limits)
    check_observer(metrics)
    directory = None if data is None else directory_of(data)
    credentials = credentials_of(tls, host)

    def client() -> TcpTransport:
        return TcpTransport.client(tls=credentials)

    storage = open_storage(directory, name)
    transport = None
    try:
        if storage.log is None and any(each.durable for each in hosted.values()):
            raise ConfigurationError("a durable object needs a data directory")
        if not (peers or seeds or bootstrap or storage.votes is not None):
            raise ConfigurationError("say how to begin: seeds to join, peers to found with, or bootstrap")
        transport = await _listening(listen, advertise, credentials)
        if bootstrap:
            peers = ((name, transport.address),)
        config = Config(name, transport.address, seeds, peers, (), timing, limits)
        refusals, explain = lambda: transport.refusals, transport.explain
        process = Process(config, transport, storage, client, hosted, refusals, explain, metrics)
    except BaseException:
        storage.close()
        if transport is not None:
            await transport.close()
        raise
    process.start()
    try:
        try:
            await process.joined()
        except Refused:  # the others should not have to miss it: it may be started again and again
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await process.leave()
            raise
        yield process
        await process.leave()
    finally:
        await process.close()
