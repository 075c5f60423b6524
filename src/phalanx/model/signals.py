"""What passes between machines and drivers, one frozen type per meaning: what a step gives out, and what comes in.

See `phalanx.model.machine` for the contract.  Structs are made several times as fast as named tuples, and each message
takes a handful of them on its way.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import msgspec

from phalanx.model.view import Address


class Send(msgspec.Struct, frozen=True, gc=False):
    """One message to each of the addresses: encoded once."""

    to: Sequence[Address]
    message: Any


class Note(msgspec.Struct, frozen=True, gc=False):
    """Something that happened.  `what` is a dotted name from a fixed vocabulary (coverage counts them); `detail` is
    small and printable."""

    what: str
    detail: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.what} {' '.join(map(str, self.detail))}".rstrip()


class Drop(msgspec.Struct, frozen=True, gc=False):
    """Drop the connection to `source`: what came over it breaks the protocol.  Nothing else happens."""

    source: Address
    reason: str


class Journal(msgspec.Struct, frozen=True):
    """A node's log as it is found when a process starts, or asks for it."""

    records: Iterable[Any] = ()
    """Oldest first; they may be read from the disk while they are iterated."""
    cuts: Sequence[int] = ()
    """Places in `records` before which a torn tail was cut off: records are possibly lost there."""
    lost: bool = False
    """There was more before the first record, and nothing of it is known."""
    begins: bool = True
    """The first record is the first there ever was, unless another log is `lost`: nothing was forgotten."""


class Logged(msgspec.Struct, frozen=True, gc=False):
    """So many of the records that this machine has appended are durable: all up to that one."""

    upto: int


class Space(IntEnum):
    """How much room a node's disk has."""

    AMPLE = 0
    LOW = 1
    """Less than its reserve is left: records are still taken, and there should be no more of them than need be."""
    FULL = 2
    """The log refuses to take records.  It tries again by itself; none is lost, none is durable meanwhile."""


class Room(msgspec.Struct, frozen=True, gc=False):
    """What the disk of the node's log has left; told when `space` changes, and when what is too little
    changes much.  Until it is told, there is ample room."""

    space: Space
    free: int
    """Bytes."""


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message arrived from whoever listens at `source` ("" if it has not said).  Links are FIFO between `LinkUp` and
    `LinkDown` in practice, but no machine may rely on more than this: messages can be lost, doubled, late, and in any
    order; they are never altered."""

    source: Address
    message: Any


class LinkUp(msgspec.Struct, frozen=True, gc=False):
    """A connection to that address was made, or made anew.  What was sent before may be lost."""

    address: Address


class LinkDown(msgspec.Struct, frozen=True, gc=False):
    """The connection to that address broke.  Says nothing yet about the process behind it."""

    address: Address


class Refused(msgspec.Struct, frozen=True, gc=False):
    """Nobody listens at that address: positive evidence that the process is gone."""

    address: Address
