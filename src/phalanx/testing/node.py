"""What a node's process of a real cluster under test runs: a node that its parent can cut off from others, and have fail.

The parent writes lines of JSON to its standard input: first an order, which says what to be; then what to do.  Its end is
the node's end, so nothing outlives the tests.
"""

import asyncio
import functools
import logging
import random
import sys
from pathlib import Path

import msgspec

from phalanx.api.hosted import Hosted
from phalanx.api.process import Process
from phalanx.api.storage import open_storage
from phalanx.api.tls import TLS
from phalanx.group.config import Config, Limits, Timing
from phalanx.model.view import Address, Name
from phalanx.runtime.loop import run
from phalanx.runtime.transport import TcpTransport
from phalanx.testing.faulty import Failures, Faulty
from phalanx.testing.located import Located


class Object(msgspec.Struct, frozen=True):
    """A replicated object to host."""

    cls: Located
    lease_ms: int
    durable: bool
    min_copies: int


class Order(msgspec.Struct, frozen=True):
    """What to be."""

    name: Name
    listen: Address
    peers: tuple[tuple[Name, Address], ...]
    data: str
    objects: dict[str, Object]
    timing: Timing
    path: list[str]
    cut: tuple[Address, ...] = ()
    """Peers to be cut off from at once."""
    tls: tuple[str, str, str] | None = None
    """Files of a certificate, its key, and the authorities."""
    failures: Failures = Failures()
    """How to fail from the beginning."""


class Change(msgspec.Struct, frozen=True):
    """What to do: be cut off from just these peers, and fail so."""

    cut: tuple[Address, ...]
    failures: Failures


def main() -> None:
    """Be a node, as ordered on standard input."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    run(_obey())


async def _obey() -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin.buffer)
    order = msgspec.json.decode(await reader.readline(), type=Order)
    sys.path[:] = order.path
    await _serve(order, reader)


async def _serve(order: Order, reader: asyncio.StreamReader) -> None:
    host, _, port = order.listen.rpartition(":")
    credentials = None
    if order.tls is not None:
        certificate, key, authorities = order.tls
        credentials = TLS(certificate=certificate, key=key, authorities=authorities).credentials(host)
    others = [address for _, address in order.peers if address != order.listen]
    transport = Faulty(await TcpTransport.listen(host, int(port), tls=credentials), others, random.Random())
    transport.fail(order.failures)
    for address in order.cut:
        transport.cut(address)
    objects = {
        name: Hosted(each.cls.load(), each.lease_ms, each.durable, each.min_copies)
        for name, each in order.objects.items()
    }
    config = Config(order.name, transport.address, (), order.peers, (), order.timing, Limits())
    client = functools.partial(TcpTransport.client, tls=credentials)
    process = Process(config, transport, open_storage(Path(order.data), order.name), client, objects)
    process.start()
    changing = asyncio.create_task(_change(reader, transport, set(order.cut)))
    ended = asyncio.create_task(process.wait())
    await asyncio.wait((changing, ended), return_when=asyncio.FIRST_COMPLETED)
    changing.cancel()
    ended.cancel()
    await process.close()


async def _change(reader: asyncio.StreamReader, transport: Faulty, cut: set[Address]) -> None:
    while line := await reader.readline():
        change = msgspec.json.decode(line, type=Change)
        transport.fail(change.failures)
        wanted = set(change.cut)
        for address in sorted(wanted - cut):
            transport.cut(address)
        for address in sorted(cut - wanted):
            transport.heal(address)
        cut = wanted
