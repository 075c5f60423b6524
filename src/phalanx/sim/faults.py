"""Faults, as data: when, whom, how long.  `storm` carries them out.

These are crashes, and what befalls links, clocks and disks; `failures` has what else processes do wrong.

Nodes are given by their position in the run's list of nodes.  A fault that names a node which the run does not have
does nothing to it, so a schedule can be used for a smaller cluster.  All times are world time in nanoseconds.
"""

from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from phalanx.model.clock import SECOND
from phalanx.sim.failures import (
    Arbitrary,
    Collusion,
    Equivocation,
    FailStop,
    Forgery,
    Lapse,
    NodeIndex,
    Omission,
    ReceiveOmission,
    ReceiveOverflow,
    Replay,
    Response,
    SendOmission,
    SendOverflow,
    Silence,
    SlowProcess,
    StateTransitionFailure,
    ValueFailure,
)

__all__ = [
    "KINDS",
    "Arbitrary",
    "BadDisk",
    "BitRot",
    "ClockOffset",
    "ClockRate",
    "Collusion",
    "Crash",
    "CrashAll",
    "CrashInWrite",
    "DiskError",
    "DiskLost",
    "Equivocation",
    "FailStop",
    "Fault",
    "Flap",
    "Forgery",
    "FullDisk",
    "Hindrance",
    "Killing",
    "Lapse",
    "Loss",
    "LostSync",
    "NodeIndex",
    "Omission",
    "OneWay",
    "Partition",
    "Pause",
    "ReceiveOmission",
    "ReceiveOverflow",
    "Replay",
    "Reset",
    "Response",
    "Ring",
    "SendOmission",
    "SendOverflow",
    "Silence",
    "SlowDisk",
    "SlowLink",
    "SlowProcess",
    "Spoiling",
    "StateTransitionFailure",
    "StrayWrite",
    "ValueFailure",
    "end_ns",
    "unfit",
    "victims",
]

STORM_NS_MAX = 3600 * SECOND
"""A fault that somebody asks for is over by then: a storm lasts as long as its last one, and an hour takes minutes to
simulate."""

OFFSET_NS_MAX = 10**9 * SECOND
"""Thirty years: a clock that is further off has no place in a stamp."""

_SHARES = ("duplicate", "loss", "place", "share")
"""Fields that are fractions of something."""


class Crash(msgspec.Struct, frozen=True, tag=True):
    """The process is killed, and started again `down_ns` later; None: not before the storm is over."""

    at_ns: int
    node: NodeIndex
    down_ns: int | None
    host: bool = False
    """The whole host loses power: nobody answers in its place that the process is gone."""
    for_good: bool = False
    """It does not come back even then."""


class CrashInWrite(msgspec.Struct, frozen=True, tag=True):
    """The process is killed between the beginning of its next write and the release of what waits for it."""

    at_ns: int
    node: NodeIndex
    down_ns: int


class CrashAll(msgspec.Struct, frozen=True, tag=True):
    """All hosts lose power at once; each comes back between `down_ns` and `down_ns + apart_ns` later."""

    at_ns: int
    down_ns: int
    apart_ns: int


class DiskLost(msgspec.Struct, frozen=True, tag=True):
    """The host loses power, and comes back `down_ns` later with an empty disk."""

    at_ns: int
    node: NodeIndex
    down_ns: int


class Pause(msgspec.Struct, frozen=True, tag=True):
    """The process is stopped, as by SIGSTOP, and goes on later: all that came meanwhile is there at once."""

    at_ns: int
    node: NodeIndex
    lasts_ns: int


class Partition(msgspec.Struct, frozen=True, tag=True):
    """Two nodes can talk if some group holds both.  A node in several groups is a bridge; one in none is isolated."""

    at_ns: int
    lasts_ns: int
    groups: tuple[tuple[NodeIndex, ...], ...]


class OneWay(msgspec.Struct, frozen=True, tag=True):
    """Nothing gets from any of the sources to any of the targets; the other way is open."""

    at_ns: int
    lasts_ns: int
    sources: tuple[NodeIndex, ...]
    targets: tuple[NodeIndex, ...]


class Ring(msgspec.Struct, frozen=True, tag=True):
    """Each node is cut off from the next in the ring of all nodes."""

    at_ns: int
    lasts_ns: int


class Flap(msgspec.Struct, frozen=True, tag=True):
    """The link between two nodes is cut and mended in turn, each for half a period; each cut resets the connection."""

    at_ns: int
    lasts_ns: int
    a: NodeIndex
    b: NodeIndex
    period_ns: int


class Reset(msgspec.Struct, frozen=True, tag=True):
    """The connection between two nodes breaks; they can make a new one at once."""

    at_ns: int
    a: NodeIndex
    b: NodeIndex


class SlowLink(msgspec.Struct, frozen=True, tag=True):
    """Messages between two nodes take longer."""

    at_ns: int
    lasts_ns: int
    a: NodeIndex
    b: NodeIndex
    extra_ns: int


class Loss(msgspec.Struct, frozen=True, tag=True):
    """All messages are datagrams for a while: in any order, and these fractions of them lost or doubled."""

    at_ns: int
    lasts_ns: int
    loss: float
    duplicate: float


class ClockOffset(msgspec.Struct, frozen=True, tag=True):
    """The node's wall clock jumps by that much, and back at the end."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    by_ns: int


class ClockRate(msgspec.Struct, frozen=True, tag=True):
    """The node's monotonic clock runs fast (or slow) by that many parts in a million."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    ppm: int


class SlowDisk(msgspec.Struct, frozen=True, tag=True):
    """Each write of the node takes that much longer: a stalled disk if it is long enough."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    extra_ns: int


class BitRot(msgspec.Struct, frozen=True, tag=True):
    """A record of the node's log, at that fraction of its length, cannot be read any more.  Nobody knows before the log
    is read: then everything behind it is cut off if it was in the last write, else the whole log is of no use."""

    at_ns: int
    node: NodeIndex
    place: float


class StrayWrite(msgspec.Struct, frozen=True, tag=True):
    """The disk puts the next write to the node's log where it does not belong, over what is at that fraction of it."""

    at_ns: int
    node: NodeIndex
    place: float


class DiskError(msgspec.Struct, frozen=True, tag=True):
    """Every read, write and fsync of the node fails: the process stops, and cannot be started before that is over."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex


class LostSync(msgspec.Struct, frozen=True, tag=True):
    """The node's disk says that the log is synced when it is not: if the host loses power, any number of the records of
    that time are gone, mostly without a trace."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex


class FullDisk(msgspec.Struct, frozen=True, tag=True):
    """The disk of the node's log fills up: so many more records fit, and what is forgotten makes room.  Then the log
    takes none, and nothing is lost.  `warned`: the process is told at once that there is little left, not only when none
    is."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    left: int
    warned: bool


Killing = Crash | CrashInWrite | CrashAll | DiskLost
"""Faults that end processes."""

Hindrance = Pause | Partition | OneWay | Ring | Flap | Reset | SlowLink | Loss | ClockOffset | ClockRate | SlowDisk
"""Faults that processes live through."""

BadDisk = BitRot | StrayWrite | DiskError | LostSync | FullDisk
"""Faults of disks: drawn apart from the others, and only on request (`Swarm.bad_disks`, `full_disks`)."""

Spoiling = BitRot | StrayWrite | LostSync
"""Those of them that destroy what was durable.  They strike a minority of the nodes."""

Fault = Killing | Hindrance | BadDisk | FailStop | Lapse | Response | Arbitrary

KINDS: dict[str, type[Killing | Hindrance]] = {kind.__name__: kind for kind in get_args(Killing | Hindrance)}
"""Those that a swarm draws unless told otherwise, and `DiskLost`, by name.  The order is that in which a swarm draws:
another order makes other plans of the same seeds."""


def end_ns(fault: Fault) -> int:
    """When the fault is over (a crash that waits for the end of the storm counts as over at once)."""
    match fault:
        case Crash(down_ns=down) | CrashInWrite(down_ns=down) | DiskLost(down_ns=down):
            return fault.at_ns + (down or 0)
        case CrashAll():
            return fault.at_ns + fault.down_ns + fault.apart_ns
        case Reset() | BitRot() | StrayWrite() | FailStop() | StateTransitionFailure():
            return fault.at_ns
        case _:
            return fault.at_ns + fault.lasts_ns


def unfit(fault: Fault) -> str:
    """What cannot be meant by a fault that somebody has written; "" if nothing."""
    for name, value in msgspec.structs.asdict(fault).items():
        least = {"by_ns": -OFFSET_NS_MAX, "ppm": 1 - 1_000_000, "period_ns": 1, "each_ns": 1}.get(name, 0)
        most = 1 if name in _SHARES else STORM_NS_MAX if name.endswith("_ns") else None
        most = OFFSET_NS_MAX if name == "by_ns" else most
        for number in _numbers(value):
            if number < least or (most is not None and number > most):
                return f"{name} is {number}, and must be {least} {'at least' if most is None else f'to {most}'}"
    if (end := end_ns(fault)) > STORM_NS_MAX:
        return f"it is over after {end / SECOND:g} s, and must be by {STORM_NS_MAX // SECOND} s"
    return ""


def _numbers(value: Any) -> Iterator[int | float]:
    """All that there are in the value of a field."""
    if isinstance(value, tuple):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float):
        yield value


def victims(fault: Fault, nodes: int) -> tuple[NodeIndex, ...]:
    """The nodes that it strikes, in a cluster of that many; those at the ends of a link, and of a cut all.  Who lies is
    struck, and who is lied to is not."""
    match fault:
        case CrashAll() | Partition() | Ring() | Loss():
            return tuple(range(nodes))
        case OneWay(sources=sources, targets=targets):
            struck: tuple[NodeIndex, ...] = tuple(sorted({*sources, *targets}))
        case Flap(a=a, b=b) | Reset(a=a, b=b) | SlowLink(a=a, b=b):
            struck = (a, b)
        case Collusion(nodes=several):
            struck = tuple(sorted(set(several)))
        case _:
            struck = (fault.node,)
    return tuple(index for index in struck if index < nodes)
