"""What `bench.peers` measures of Phalanx: the benchmarks of this directory, as samples.

Each part is a function that yields workloads with their figures; it raises what the benchmark that it uses raises.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from bench import coordination, failover, multicast
from bench.samples import MEMBERS, Figures, What, Work

SENDERS = (1, 3)
PINGED = (100, 1024)
"""Sizes of which the latency is measured with one message under way."""

MULTICASTS_UNDER_WAY = (4, 16, 64, 256, 1024)
"""Of 100 bytes: latency against load."""

STORE_LOADS = {1: 1, 8: 3, 64: 6, 256: 12, 1024: 12}
"""Operations under way, and in how many sessions; those of `bench.coordination`, and some between and beyond."""

STORE_LOAD = {64: 6}
"""With other numbers of members."""

GROUPS = (1, 10, 100)

Found = AsyncIterator[tuple[Work, Figures]]


class Settings(NamedTuple):
    """Of one round.  members: sizes of groups; kills: how many nodes are killed; number: of the round."""

    seconds: float
    members: Sequence[int]
    kills: int
    number: int = 0


async def throughput(settings: Settings) -> Found:
    """Multicast as fast as it goes, by payload and by senders."""
    for size, batch in multicast.BATCHES.items():
        for senders in SENDERS:
            load = multicast.Load(size, settings.seconds, batch, senders=senders)
            yield Work(What.MULTICAST, size, senders), multicast.run(load)


async def latency(settings: Settings) -> Found:
    """Multicast with one message under way."""
    for size in PINGED:
        yield await _pinged(size, 1, MEMBERS, settings)


async def load(settings: Settings) -> Found:
    """Multicast with more and more under way."""
    for outstanding in MULTICASTS_UNDER_WAY:
        yield await _pinged(PINGED[0], outstanding, MEMBERS, settings)


async def _pinged(size: int, outstanding: int, members: int, settings: Settings) -> tuple[Work, Figures]:
    what = multicast.Load(size, settings.seconds, outstanding=outstanding, members=members)
    return Work(What.MULTICAST, size, outstanding=outstanding, members=members), multicast.run(what)


async def store(settings: Settings) -> Found:
    """Puts and linearizable gets; the latter need no disk."""
    for each in await coordination.measure(settings.seconds, loads=STORE_LOADS):
        yield _stored(each, MEMBERS)
    for each in await coordination.measure(settings.seconds, durable=True, operations=["put"], loads=STORE_LOADS):
        yield _stored(each, MEMBERS, durable=True)


def _stored(measured: coordination.Measured, members: int, *, durable: bool = False) -> tuple[Work, Figures]:
    put = What.DURABLE_PUT if durable else What.PUT
    what = put if measured.operation == "put" else What.GET
    return Work(what, outstanding=measured.outstanding, members=members), measured.runs[0]


async def kill(settings: Settings) -> Found:
    """How long nobody could write, or one client of a survivor waited, whichever is more; and those of the victim."""
    async for each in failover.measure("kill", settings.kills, seed=str(settings.number)):
        yield Work(What.GAP), {"gap_ms": max(each.others, each.slowest)}
        yield Work(What.GAP_OF_VICTIM), {"gap_ms": each.of_victim}


async def members(settings: Settings) -> Found:
    """The same with other numbers of members."""
    size = PINGED[0]
    for count in settings.members:
        stream = multicast.Load(size, settings.seconds, multicast.BATCHES[size], members=count)
        yield Work(What.MULTICAST, size, members=count), multicast.run(stream)
        yield await _pinged(size, 1, count, settings)
        for each in await coordination.measure(settings.seconds, loads=STORE_LOAD, members=count):
            yield _stored(each, count)


async def groups(settings: Settings) -> Found:
    """One sender that sends to many groups in turn."""
    for size in PINGED:
        for count in GROUPS:
            stream = multicast.Load(size, settings.seconds, multicast.BATCHES[size], groups=count)
            yield Work(What.MULTICAST, size, groups=count), multicast.run(stream)


PARTS: dict[str, Callable[[Settings], Found]] = {
    each.__name__: each for each in (throughput, latency, load, store, kill, members, groups)
}
