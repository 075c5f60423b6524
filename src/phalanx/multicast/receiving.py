"""A receiver's side of one stream: order, gaps, and when to ask for what fills them."""

import random
from collections.abc import Iterable, Iterator

from phalanx.model.clock import MILLISECOND
from phalanx.model.machine import Output, Send
from phalanx.multicast.config import FRAGMENT_COST, ChannelConfig, cost_of
from phalanx.multicast.messages import RANGES_MAX, Arrived, Beat, Missed, Nack, Piece, Range
from phalanx.multicast.suppression import backoff

PATIENCE_MAX = 8
"""Requests in vain double the wait for repair up to so many times: the rate of a busy sender is shared by many."""


class Receiving:
    """One stream.  `next` is the fragment that it is to go on with.

    A request goes through two waits (RFC 5401, section 3.2.2).  First a random one, in which others may ask for the same;
    if they have asked for all that is lacking, this process does not.  Then, whoever asked, one that is long enough for
    the repair to come.
    """

    def __init__(self, config: ChannelConfig, rng: random.Random, message: Piece | Beat, now: int) -> None:
        """The stream is heard for the first time.  While its sender keeps all that it ever sent, it is taken from the
        beginning; later on from what is sent next."""
        self.sender = message.sender
        self.stream = message.stream
        self.next = 1
        self.heard_at = now
        self._config = config
        self._rng = rng
        self._low = 1
        self._high = 0
        self._early: dict[int, Piece] = {}
        """Those that have come, from `next` on."""
        self._held = 0
        """What they count."""
        self._parts: list[bytes] = []
        """Of a payload that has begun: the fragments before `next`."""
        self._size = 0
        self._skipping = False
        """The fragments at `next` belong to a payload whose beginning is lost."""
        self._ask_at: int | None = None
        self._others: list[Range] = []
        """What others asked for in the meantime."""
        self._hold_until = now
        self._patience = 1
        if message.low > 1:
            self.next = (
                message.high if isinstance(message, Piece) and message.number == message.high else message.high + 1
            )
            self._low = self.next
            self._skipping = True

    # --- what comes

    def hear(self, message: Piece | Beat, now: int) -> None:
        """A fragment, or how far the sender got."""
        self.heard_at = now
        self._high = max(self._high, message.high)
        self._low = max(self._low, min(message.low, self._high + 1))
        if not isinstance(message, Piece) or message.number < self.next or message.number in self._early:
            return
        self._held += cost_of(message.body)
        self._early[message.number] = message
        self._patience = 1
        while self._held > self._config.limits.ahead and len(self._early) > 1:
            self._held -= cost_of(self._early.pop(max(self._early)).body)  # what is nearer is of use sooner

    def hear_request(self, nack: Nack) -> None:
        """Somebody else lacks these."""
        if self._ask_at is not None and len(self._others) < RANGES_MAX:
            self._others += nack.ranges

    # --- what is delivered

    def deliver(self, room: int, out: Output) -> int:
        """What is complete, as long as there is room for it; how much that was."""
        given = 0
        while given < room:
            piece = self._early.pop(self.next, None)
            if piece is None:
                if not self._skip_lost(out):
                    break
                continue
            self._held -= cost_of(piece.body)
            self.next += 1
            given += self._assemble(piece, out)
        return given

    def _assemble(self, piece: Piece, out: Output) -> int:
        if piece.first:
            self._parts, self._size, self._skipping = [], 0, False
        if self._skipping:
            return 0
        self._parts.append(piece.body)
        self._size += len(piece.body)
        if self._size > self._config.limits.payload:
            out.note("multicast.too large", piece.sender, piece.number)
            out.deliveries.append(Missed(self.sender, self.stream, len(self._parts)))
            self._parts, self._size, self._skipping = [], 0, True
            return 0
        if not piece.last:
            return 0
        payload, size = b"".join(self._parts), self._size
        self._parts, self._size, self._skipping = [], 0, True
        out.deliveries.append(Arrived(self.sender, self.stream, payload))
        return size

    def _skip_lost(self, out: Output) -> bool:
        """The fragment at `next` is kept by nobody: go on with the first that is there, or can be."""
        if self.next >= self._low:
            return False
        upto = min((number for number in self._early if number < self._low), default=self._low)
        out.note("multicast.missed", self.sender, upto - self.next)
        out.deliveries.append(Missed(self.sender, self.stream, upto - self.next + len(self._parts)))
        self.next = upto
        self._parts, self._size, self._skipping = [], 0, True
        return True

    def end(self, out: Output) -> None:
        """The sender has fallen silent: what is lacking will not come."""
        if self._parts or self._high >= self.next:
            lost = self._high + 1 - self.next + len(self._parts)
            out.deliveries.append(Missed(self.sender, self.stream, lost))

    # --- what is asked for

    def _reach(self) -> int:
        """Up to where there is room, counted from the last that is held."""
        limits = self._config.limits
        room = max(0, limits.ahead - self._held) // (limits.datagram + FRAGMENT_COST)
        return min(self._high, max(self._early, default=max(self.next, self._low) - 1) + room)

    def _gaps(self) -> Iterator[Range]:
        """What is lacking, and there is room for."""
        number = max(self.next, self._low)
        for held in sorted(self._early):
            if held > number:
                yield number, held - 1
            number = max(number, held + 1)
        if number <= (reach := self._reach()):
            yield number, reach

    def ask(self, now: int, out: Output) -> None:
        """Ask, or wait until it is time to, or leave it to others."""
        if not self._lacks():
            self._ask_at = None
            self._others.clear()
            return
        if self._ask_at is None:
            if now >= self._hold_until:
                timing = self._config.timing
                wait = backoff(self._rng.random(), timing.spread * timing.round_trip, timing.receivers)
                self._ask_at = now + wait
                out.note("multicast.gap", self.sender, wait // MILLISECOND)
        elif now >= self._ask_at:
            self._speak(now, out)

    def _speak(self, now: int, out: Output) -> None:
        ranges = first_of(self._gaps())
        if covered(ranges, self._others):
            out.note("multicast.suppressed", self.sender)
        else:
            out.note("multicast.nack", self.sender)
            out.eager.append(Send(list(self._config.to), Nack(self._config.channel, self.stream, ranges)))
        timing = self._config.timing
        self._ask_at = None
        self._others.clear()
        self._hold_until = now + (timing.spread + 2) * timing.round_trip * self._patience
        self._patience = min(2 * self._patience, PATIENCE_MAX)

    def _lacks(self) -> bool:
        return self._reach() + 1 - self.next > len(self._early)

    def deadline(self) -> int:
        """When to ask, or to forget the stream."""
        due = self.heard_at + self._config.timing.forget_after
        if self._ask_at is not None:
            return min(due, self._ask_at)
        return min(due, self._hold_until) if self._lacks() else due


def first_of(gaps: Iterable[Range]) -> tuple[Range, ...]:
    """As many as a request has room for."""
    return tuple(gap for gap, _ in zip(gaps, range(RANGES_MAX), strict=False))


def covered(ranges: Iterable[Range], asked: Iterable[Range]) -> bool:
    """All of the ranges lies within what was asked for."""
    merged: list[list[int]] = []
    for first, last in sorted(asked):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return all(any(low <= first and last <= high for low, high in merged) for first, last in ranges)
