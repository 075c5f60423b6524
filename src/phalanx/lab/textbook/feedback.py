"""Reliable multicast over an unreliable one, and what its receivers have to say: three ways of the slides.

A source multicasts to receivers that are all as far away.  It sends each message at its time, and right behind it an
announcement, which is never lost, nor is any other control message (as the analyses assume).

`POSITIVE`: receivers acknowledge every copy of every message to the source, which sends again until all have.
`NEGATIVE`: a receiver that lacks what was announced says so to the source.
`UNIFORM`: it multicasts that, after a wait drawn uniformly from an interval, unless another has been heard to say so
    meanwhile (SRM: Floyd, Jacobson, Liu, McCanne, Zhang 1997, section IV, with C1 = 0).

Whoever asks is answered by a multicast, one for all that ask within a round trip.
"""

import enum
import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import Output, Received, Send
from phalanx.model.view import Address

DELAY_NS = 10 * MILLISECOND
"""From the source to each receiver, and from each receiver to all others."""

ROUND_TRIP_NS = 2 * DELAY_NS
INTERVAL_NS = 8 * DELAY_NS
"""From which waits are drawn."""

MARGIN_NS = MILLISECOND
"""For what comes a little after its time."""

PERIOD_NS = SECOND
"""From one message to the next: the one is repaired by then."""


class Way(enum.StrEnum):
    """What receivers say."""

    POSITIVE = "positive acknowledgements"
    NEGATIVE = "negative acknowledgements"
    UNIFORM = "multicast, uniform waits"


class Data(msgspec.Struct, frozen=True):
    """A message, or a copy of it."""

    number: int


class Announce(msgspec.Struct, frozen=True):
    """It was sent just now."""

    number: int


class Ack(msgspec.Struct, frozen=True):
    """A copy has come."""

    number: int


class Nack(msgspec.Struct, frozen=True):
    """It has not."""

    number: int


class Source:
    """Sends `count` messages.  `sent` counts copies, `heard` what receivers say, by message."""

    def __init__(self, way: Way, receivers: Sequence[Address], count: int) -> None:
        self.sent: list[int] = []
        self.heard: list[int] = []
        self._way = way
        self._receivers = list(receivers)
        self._count = count
        self._acked: set[Address] = set()
        self._sent_at = 0
        self._next: int | None = None

    @property
    def deadline(self) -> int | None:
        times = [0 if self._next is None else self._next] if len(self.sent) < self._count else []
        if self._lacking:
            times.append(self._sent_at + ROUND_TRIP_NS + MARGIN_NS)
        return min(times, default=None)

    @property
    def _lacking(self) -> bool:
        """Somebody has not acknowledged."""
        return self._way is Way.POSITIVE and bool(self.sent) and len(self._acked) < len(self._receivers)

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Hear, repair, and send the next message if it is time."""
        out = Output()
        asked = False
        for event in events:
            if isinstance(event, Received):
                self.heard[-1] += 1
                asked = asked or isinstance(event.message, Nack)
                self._acked |= {event.source} if isinstance(event.message, Ack) else set()
        waited = now.mono - self._sent_at
        if (asked and waited >= ROUND_TRIP_NS - MARGIN_NS) or (self._lacking and waited >= ROUND_TRIP_NS + MARGIN_NS):
            self._send(now.mono, out)
        if len(self.sent) < self._count and now.mono >= (self._next or 0):
            self._next = now.mono + PERIOD_NS
            self._acked.clear()
            self.sent.append(0)
            self.heard.append(0)
            self._send(now.mono, out)
        return out

    def _send(self, now: int, out: Output) -> None:
        number = len(self.sent)
        self.sent[-1] += 1
        self._sent_at = now
        out.eager += [Send(self._receivers, Data(number)), Send(self._receivers, Announce(number))]


class Receiver:
    """One of them."""

    def __init__(self, way: Way, source: Address, everybody: Sequence[Address], rng: random.Random) -> None:
        self.got = 0
        """The last message that has come."""
        self._way = way
        self._source = source
        self._to = list(everybody) if way is Way.UNIFORM else [source]
        self._rng = rng
        self._lacks = 0
        self._ask_at: int | None = None

    @property
    def deadline(self) -> int | None:
        return self._ask_at

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Hear, and say what there is to say."""
        out = Output()
        for event in events:
            match event:
                case Received(message=Data(number)):
                    self.got = number
                    if self._way is Way.POSITIVE:
                        out.eager.append(Send([self._source], Ack(number)))
                case Received(message=Announce(number)) if self._way is not Way.POSITIVE and number > self.got:
                    self._lacks = number
                    self._ask_at = now.mono + self._wait()
                case Received(message=Nack(number)) if number == self._lacks:
                    self._ask_at = None  # another has asked
                case _:
                    pass
        if self._lacks <= self.got:
            self._ask_at = None
        if self._ask_at is not None and now.mono >= self._ask_at:
            self._ask_at = None
            out.eager.append(Send(self._to, Nack(self._lacks)))
        return out

    def _wait(self) -> int:
        return int(self._rng.random() * INTERVAL_NS) if self._way is Way.UNIFORM else 0
