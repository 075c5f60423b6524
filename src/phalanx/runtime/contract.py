"""What a driver asks of the network and the disk below it, so that each comes in a real and a pretended kind."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from phalanx.model.machine import Journal, LinkDown, LinkUp, Refused
from phalanx.model.view import Address
from phalanx.runtime.space import Looked

LinkEvent = LinkUp | LinkDown | Refused


class Receiver(Protocol):
    """Who takes what a transport brings.  Called on the loop, many times in one turn of it."""

    def received(self, source: Address, body: bytes | memoryview) -> None:
        """An encoded message.  Raises WireError if it is none; the transport then drops that connection."""

    def link(self, event: LinkEvent) -> None:
        """A connection came or went, or was refused."""


class Transport(Protocol):
    """The node's end of the network.

    A message sent to an address goes out on the one connection there is to it, which is dialled if there is none.
    Messages are lost while there is none (only the first ones wait for the first dial), when it breaks, and when its
    peer does not read; machines resend.  When nobody listens, nothing that was sent before `Refused` arrives any more.
    What arrives, arrives unaltered and in the order of its connection.
    """

    @property
    def address(self) -> Address:
        """Where this node listens; empty if it does not (a client)."""

    def start(self, receiver: Receiver) -> None:
        """Begin to accept and to deliver.  Called once, with the loop running."""

    def connect(self, address: Address) -> None:
        """Dial that address, if there is no connection to it, without anything to say yet."""

    def send(self, to: Sequence[Address], body: bytes) -> None:
        """Queue one encoded message to each of the addresses until `flush`."""

    def flush(self) -> None:
        """Let everything queued leave: one write for each peer."""

    def drop(self, address: Address, reason: str) -> None:
        """Cut the connection to or from that address, whose peer broke the protocol, and log the reason."""

    async def close(self) -> None:
        """Cut every connection and stop listening.  No event comes any more.  Idempotent."""


Stored = Callable[[BaseException | None], None]
"""Told on the loop, once, that a record is durable, or why not."""


class LogDisk(Protocol):
    """Where the node's log lives."""

    def append(self, records: Sequence[Any], forget: int | None, done: Stored) -> None:
        """Append the records; call `done` when all are durable, or one cannot be; with `NoRoom`, none was written, and
        they may be appended again.  A driver never has two of these under way.  `forget`: records with lower numbers are
        needed no more (the first one that this process appended has the number 1; those that it found when it began end
        with 0); they may be removed little by little, with this append and later ones."""

    def part(self) -> None:
        """Records that are appended from now on are to be kept when all before are forgotten: a hint, for a log that is
        kept in files, to begin a new one before the next append."""

    def read(self, done: Callable[[Journal | None, BaseException | None], None]) -> None:
        """Call `done` with all that the log holds, or with why it cannot be read.  Not with an `append` under way."""

    def look(self, done: Looked) -> None:
        """Find out, off the loop, what the disk has left, and call `done` with that.  Not at all if there is no disk."""

    def close(self) -> None:
        """Let go of the files.  Not called with an `append` or `read` under way.  Idempotent."""


class Disk(Protocol):
    """Where the node's small durable state lives."""

    def store(self, record: Any, done: Stored) -> None:
        """Replace what is stored by the record; call `done` when it is durable, or has failed.  A driver never has two
        of these under way.  After a failure that is not `NoRoom` nothing may be assumed about what is stored."""

    def close(self) -> None:
        """Let go of the files.  Not called with a `store` under way.  Idempotent."""
