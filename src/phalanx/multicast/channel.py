"""The machine of a reliable FIFO multicast channel over datagrams that may be lost, doubled and reordered.

Slides: "Reliable multicast with unreliable multicast".  Numbers tell what is missing; receivers ask for it, and do so
by multicast after a random wait, so that one asks for all (Floyd et al., SRM, 1997; RFC 5401 and 5740, NORM).  Nobody
acknowledges, and a sender does not know who receives: so it costs a sender the same for one receiver as for a thousand.

Promised, of each life of each sender: its payloads are delivered whole, unaltered, once, in the order in which they were
published, to every receiver that is never further behind than `ChannelLimits.retained`; one that is gets a `Missed` in
the place of what it lacks, and goes on behind it.  A receiver that comes while the sender still keeps all it ever sent
gets all of it, a later one what is sent from then on.  Nothing is delivered to the process that published it.

Not promised: that others have received anything; what becomes of the last payloads of a sender that crashes (some may
have them, others not); any order between senders.  That is what process groups are for.

Memory is bounded: `ChannelLimits`.  Whoever can send to the address can publish, and ask for repairs, so it belongs on
a network of one's own; what is no datagram of the channel is dropped and counted.
"""

import random
from collections.abc import Iterable
from typing import Any, assert_never

from phalanx.model.clock import Instant
from phalanx.model.machine import Output, Received
from phalanx.multicast.config import ChannelConfig
from phalanx.multicast.messages import Beat, Drained, Nack, Piece, Publish, Range, Taken
from phalanx.multicast.receiving import Receiving
from phalanx.multicast.sending import Sending


class ReliableChannel:
    """One process's end.  Events: `Received`, `Publish`, `Taken`.  Deliveries: `Arrived`, `Missed`, `Drained`."""

    def __init__(self, config: ChannelConfig, rng: random.Random, now: Instant) -> None:
        """Raises `ConfigurationError`."""
        config.check()
        self.config = config
        self.sending = Sending(config, rng.getrandbits(61) + 1, now.mono)
        self.streams: dict[int, Receiving] = {}
        self.backlog = 0
        """Bytes delivered that the application has not taken."""
        self._rng = rng

    @property
    def queued(self) -> int:
        """Bytes that are published and not sent."""
        return self.sending.queued

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Absorb, then deliver, ask and send."""
        out = Output()
        for event in events:
            match event:
                case Received(message=message):
                    self._hear(message, now.mono, out)
                case Publish(payload):
                    assert len(payload) <= self.config.limits.payload, "whoever publishes looks at the limit"
                    self.sending.publish(payload)
                case Taken(size):
                    self.backlog -= size
                case _:
                    pass  # of connections, which there are none of
        self._forget_silent(now.mono, out)
        for stream in self.streams.values():
            self.backlog += stream.deliver(self.config.limits.backlog - self.backlog, out)
            stream.ask(now.mono, out)
        before = self.sending.queued
        self.sending.act(now.mono, out)
        half = self.config.limits.queue // 2
        if before and (not self.queued or self.queued <= half < before):
            out.deliveries.append(Drained())
        return out

    @property
    def deadline(self) -> int | None:
        due = self.sending.deadline()
        return min([*(() if due is None else (due,)), *[s.deadline() for s in self.streams.values()]], default=None)

    def _hear(self, message: Any, now: int, out: Output) -> None:
        if not isinstance(message, Piece | Beat | Nack) or not is_sound(message, self.config):
            out.note("multicast.foreign", type(message).__name__)
            return
        if message.channel != self.config.channel:
            return
        if message.stream == self.sending.stream:
            if isinstance(message, Nack):
                self.sending.on_nack(message, now, out)
            return
        stream = self.streams.get(message.stream)
        match message:
            case Nack():
                if stream is not None:
                    stream.hear_request(message)
            case Piece() | Beat():
                if stream is None:
                    if len(self.streams) >= self.config.limits.streams:
                        out.note("multicast.too many", message.sender)
                        return
                    stream = self.streams[message.stream] = Receiving(self.config, self._rng, message, now)
                    out.note("multicast.stream", message.sender, stream.next)
                stream.hear(message, now)
            case _:
                assert_never(message)

    def _forget_silent(self, now: int, out: Output) -> None:
        after = self.config.timing.forget_after
        for number in [number for number, stream in self.streams.items() if now - stream.heard_at >= after]:
            out.note("multicast.forgotten", self.streams[number].sender)
            self.streams.pop(number).end(out)


def is_sound(message: Piece | Beat | Nack, config: ChannelConfig) -> bool:
    """What a correct member may say: so that one that is not correct can cost no more than its own stream."""
    if isinstance(message, Nack):
        return _ascends(message.ranges)
    if isinstance(message, Beat):
        return 1 <= message.low <= message.high + 1
    return 1 <= message.low <= message.number <= message.high and len(message.body) <= config.limits.payload


def _ascends(ranges: tuple[Range, ...]) -> bool:
    ends = 0
    for first, last in ranges:
        if not ends < first <= last:
            return False
        ends = last
    return True
