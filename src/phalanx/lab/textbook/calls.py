"""Remote procedure calls on an account, with every remedy of the slides against lost messages and crashes.

The client sends a request, and again if no reply comes in time, as often as it may.  The server executes requests on a
balance that is on its disk; it may know requests that it has executed by their numbers, in memory or on its disk.

Source: slides "Principles of Reliable Communication & Shared State" (Piper), Acks, Idempotency, Sequencing; "L-15 Fault
Tolerance", Lost Messages; Birrell and Nelson, "Implementing Remote Procedure Calls" (TOCS 1984).
"""

import enum
from collections.abc import Iterable
from typing import Any

import msgspec

from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import LinkUp, Output, Received, Send
from phalanx.model.view import Address
from phalanx.replication.calls import End

RETRY_NS = 50 * MILLISECOND
"""How long a client waits for a reply."""


class Memory(enum.StrEnum):
    """What a server remembers of requests that it has executed."""

    NONE = "none"
    VOLATILE = "in memory"
    DURABLE = "on disk"


class Request(msgspec.Struct, frozen=True):
    """Change the balance: by `amount`, or to it if `sets`, which is idempotent."""

    number: int
    amount: int
    sets: bool


class Reply(msgspec.Struct, frozen=True):
    """The balance after the request of that number."""

    number: int
    balance: int


class Account(msgspec.Struct, frozen=True):
    """What is on the server's disk."""

    balance: int = 0
    executed: int = 0
    """How often it executed a request: for the books of the experiment."""
    replies: tuple[tuple[Address, Reply], ...] = ()
    """The last reply to each client, if it remembers on disk."""


class AccountServer:
    """See the module's text."""

    def __init__(self, durable: Account | None, memory: Memory) -> None:
        self._account = durable or Account()
        self._memory = memory
        self._replies = dict(self._account.replies)

    @property
    def deadline(self) -> int | None:
        return None

    def step(self, events: Iterable[Any], now: Instant) -> Output:  # noqa: ARG002  it waits for messages only
        """Execute requests, or answer again those that it knows.  Replies wait for the disk."""
        out = Output()
        for event in events:
            if isinstance(event, Received) and isinstance(event.message, Request):
                out.sends.append(Send((event.source,), self._answer(event.source, event.message, out)))
        return out

    def _answer(self, client: Address, request: Request, out: Output) -> Reply:
        known = self._replies.get(client)
        if known is not None and known.number == request.number and self._memory is not Memory.NONE:
            return known
        balance = request.amount if request.sets else self._account.balance + request.amount
        reply = self._replies[client] = Reply(request.number, balance)
        kept = tuple(sorted(self._replies.items())) if self._memory is Memory.DURABLE else ()
        self._account = Account(balance, self._account.executed + 1, kept)
        out.writes.append(self._account)
        return reply


class Ended(msgspec.Struct, frozen=True):
    """What the caller is told: the client's delivery."""

    end: End


class CallClient:
    """Makes one call.  `transmissions`: how often it may send the request, in all."""

    def __init__(self, server: Address, request: Request, transmissions: int) -> None:
        self._server = server
        self._request = request
        self._left = transmissions
        self._sent = 0
        self._next = 0
        self._connected = False
        self._ended = False

    @property
    def deadline(self) -> int | None:
        return None if self._ended else self._next

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Send, and again, until there is a reply or nothing is left to try."""
        out = Output()
        for event in events:
            match event:
                case Received(_, Reply(number)) if number == self._request.number:
                    self._end(out, End.DONE)
                case LinkUp():
                    self._connected = True
                case _:
                    pass
        if not self._ended and now.mono >= self._next:
            if self._sent and not self._connected:  # nobody listens there: the request has not arrived anywhere
                self._end(out, End.NOT_HAPPENED)
            elif self._sent == self._left:
                self._end(out, End.UNKNOWN)
            else:
                self._sent += 1
                self._next = now.mono + RETRY_NS
                out.sends.append(Send((self._server,), self._request))
        return out

    def _end(self, out: Output, end: End) -> None:
        if not self._ended:
            self._ended = True
            out.deliveries.append(Ended(end))
