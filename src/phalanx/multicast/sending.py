"""A sender's side of a channel: what it has published, sent, and keeps for repair; how fast, and when it beats."""

from collections import deque
from typing import NamedTuple

from phalanx.model.clock import SECOND
from phalanx.model.machine import Output, Send
from phalanx.multicast.config import ChannelConfig, cost_of
from phalanx.multicast.messages import Beat, Nack, Piece


class Fragment(NamedTuple):
    """What is to be sent, or was."""

    first: bool
    last: bool
    body: bytes


class Sending:
    """One stream.  Repairs go before what is new, both within the rate (the generic cell rate algorithm: `_free_at` is
    when all that was sent would have left at that rate, and may be ahead of now by as much as a burst takes)."""

    def __init__(self, config: ChannelConfig, stream: int, now: int) -> None:
        self.stream = stream
        self.low = 1
        """The first fragment that is kept."""
        self.high = 0
        """The last one that was sent."""
        self.queued = 0
        """Bytes that are published and not sent."""
        self.sent = 0
        """Bytes that were published and have been sent."""
        self.kept = 0
        """Bytes that are sent and kept."""
        self._config = config
        self._to = list(config.to)
        self._queue: deque[Fragment] = deque()
        self._sent: deque[Fragment] = deque()
        """Those from `low` to `high`."""
        self._sent_at: dict[int, int] = {}
        """Of those that were sent within the last round trip, when: a request that crossed them asks for nothing."""
        self._repairs: deque[int] = deque()
        self._asked: set[int] = set()
        """The same, to look up."""
        self._free_at = 0
        self._burst_ns = config.limits.burst * SECOND // config.limits.rate
        self._beat_after = config.timing.beat_least
        self._beat_at = now
        self._beat_asked = False
        self._beat_sent_at = 0

    def publish(self, payload: bytes) -> None:
        """Queue a payload, cut into fragments."""
        size = self._config.limits.datagram
        count = max(1, -(-len(payload) // size))
        for place in range(count):
            body = payload[place * size : (place + 1) * size]
            self._queue.append(Fragment(place == 0, place == count - 1, body))
            self.queued += cost_of(body)

    def on_nack(self, nack: Nack, now: int, out: Output) -> None:
        """Somebody lacks these.  What left within a round trip is on its way; what is kept no more is lost to it, which
        a beat tells it."""
        for first, last in nack.ranges:
            if first < self.low <= self.high + 1:
                out.note("multicast.too late", nack.stream, first)
                self._beat_asked = True
            for number in range(max(first, self.low), min(last, self.high) + 1):
                if number not in self._asked and not self._is_fresh(number, now):
                    self._asked.add(number)
                    self._repairs.append(number)

    def _is_fresh(self, number: int, now: int) -> bool:
        at = self._sent_at.get(number)
        return at is not None and now - at < self._hold

    @property
    def _hold(self) -> int:
        return self._config.timing.round_trip

    def act(self, now: int, out: Output) -> None:
        """Send what the rate allows, and beat if it is time."""
        while (self._repairs or self._queue) and now >= self._free_at - self._burst_ns:
            if self._repairs:
                number = self._repairs.popleft()
                self._asked.discard(number)
                if number < self.low:
                    continue
                out.note("multicast.repair", number)
            else:
                number = self._advance()
            self._send(number, now, out)
        if self._beat_asked and now - self._beat_sent_at >= self._hold:
            self._beat(now, out)
        elif self.high and now >= self._beat_at:
            self._beat_after = min(2 * self._beat_after, self._config.timing.beat_most)
            self._beat(now, out)

    def _advance(self) -> int:
        """The next fragment is sent for the first time; the oldest go, if too much is kept."""
        fragment = self._queue.popleft()
        self.queued -= cost_of(fragment.body)
        self.sent += cost_of(fragment.body)
        self.high += 1
        self._sent.append(fragment)
        self.kept += cost_of(fragment.body)
        while self.kept > self._config.limits.retained:
            self.kept -= cost_of(self._sent.popleft().body)
            self._sent_at.pop(self.low, None)
            self.low += 1
        return self.high

    def _send(self, number: int, now: int, out: Output) -> None:
        first, last, body = self._sent[number - self.low]
        config = self._config
        piece = Piece(config.channel, self.stream, config.sender, number, self.low, self.high, first, last, body)
        out.eager.append(Send(self._to, piece))
        self._free_at = max(now, self._free_at) + cost_of(body) * SECOND // config.limits.rate
        self._sent_at.pop(number, None)  # to the end: they are in the order of their times
        self._sent_at[number] = now
        while self._sent_at and now - next(iter(self._sent_at.values())) >= self._hold:
            del self._sent_at[next(iter(self._sent_at))]
        self._beat_after = config.timing.beat_least
        self._beat_at = now + self._beat_after

    def _beat(self, now: int, out: Output) -> None:
        config = self._config
        out.eager.append(Send(self._to, Beat(config.channel, self.stream, config.sender, self.low, self.high)))
        self._beat_at = now + self._beat_after
        self._beat_sent_at = now
        self._beat_asked = False

    def deadline(self) -> int | None:
        """When there is something to send, or to say.  One that has sent nothing says nothing: thousands may listen."""
        if not self.high:
            return self._free_at - self._burst_ns if self._queue else None
        due = self._beat_at
        if self._beat_asked:
            due = min(due, self._beat_sent_at + self._hold)
        if self._repairs or self._queue:
            due = min(due, self._free_at - self._burst_ns)
        return due
