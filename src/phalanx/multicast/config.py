"""What a multicast channel is told at its start, and every limit and period of it, with its reason."""

import msgspec

from phalanx.errors import ConfigurationError
from phalanx.model.clock import MILLISECOND, SECOND

FRAGMENT_COST = 100
"""Bytes that a fragment counts beside its own, in memory and on the wire: else many small ones would be free."""


def cost_of(body: bytes) -> int:
    """What a fragment counts against the limits."""
    return len(body) + FRAGMENT_COST


class ChannelLimits(msgspec.Struct, frozen=True):
    """Sizes in bytes.  Each fragment counts `FRAGMENT_COST` more than it has."""

    datagram: int = 1_200
    """Of a payload in one datagram: with short names and all headers near the 1,280 that every path of IPv6 carries, and
    far below the 1,500 of an Ethernet: IP need not cut it."""
    payload: int = 1 << 20
    """The largest payload: it is put together in memory at every receiver."""
    queue: int = 4 << 20
    """Published and not yet sent."""
    retained: int = 8 << 20
    """Sent, and kept for repair: what a receiver lacks that is older is lost to it.  At full rate that is the time for
    which one can be deaf, 0.8 seconds by default."""
    ahead: int = 4 << 20
    """Of one stream, received beyond a gap or not yet taken by the application; what exceeds it is as if lost, and asked
    for again."""
    backlog: int = 4 << 20
    """Delivered and not taken by the application, of all streams; more stay undelivered."""
    streams: int = 256
    """Senders that a receiver listens to: each costs it up to `ahead`.  Others are not heard."""
    rate: int = 10 << 20
    """Bytes a second that a sender sends, repairs included.  There is no other congestion control."""
    burst: int = 64 << 10
    """That it may send at once after a silence."""


class ChannelTiming(msgspec.Struct, frozen=True):
    """Periods in nanoseconds.  They decide what repair costs and how long it takes, never what is delivered."""

    round_trip: int = 10 * MILLISECOND
    """What a datagram takes to any process and another back.  If it is too short there, requests and repairs are
    doubled; if too long, repair is slow."""
    receivers: int = 100
    """About how many there are, to the order of magnitude: the more, the longer most of them wait before they ask."""
    spread: int = 4
    """Requests are spread over so many round trips (K of RFC 5401).  Less is quicker, and suppresses less."""
    beat_least: int = 20 * MILLISECOND
    """After its last fragment a sender tells how far it got after this, ..."""
    beat_most: int = SECOND
    """... then twice as late each time up to this (Holbrook, Singhal, Cheriton 1995)."""
    forget_after: int = 30 * SECOND
    """A sender that is silent for so long is forgotten: many of its beats."""


class ChannelConfig(msgspec.Struct, frozen=True):
    """channel: those who give the same name hear each other.  sender: the name under which what this process publishes is
    delivered.  to: the addresses that its datagrams go to, as the driver understands them."""

    channel: str
    sender: str
    to: tuple[str, ...]
    limits: ChannelLimits = ChannelLimits()
    timing: ChannelTiming = ChannelTiming()

    def check(self) -> None:
        """Raises `ConfigurationError` for what cannot work, and `TypeError` for what is no whole number."""
        limits, timing = self.limits, self.timing
        for name, value in (*_fields(limits), *_fields(timing)):
            if type(value) is not int:
                raise TypeError(f"{name} must be an int, not {value!r}")
            if value < 1:
                raise ConfigurationError(f"{name} is {value}, and must be positive")
        if limits.datagram > 60_000:
            raise ConfigurationError(f"datagram is {limits.datagram}: UDP takes at most 60,000 bytes and our headers")
        for name in ("queue", "retained", "ahead", "backlog"):
            least = self.cost_of_payload(limits.payload)
            if getattr(limits, name) < least:
                raise ConfigurationError(f"{name} is {getattr(limits, name)}; a payload may take {least}")
        if timing.beat_least > timing.beat_most or timing.forget_after <= timing.beat_most:
            raise ConfigurationError("beat_least, beat_most and forget_after must grow in this order")

    def cost_of_payload(self, size: int) -> int:
        """What a payload of that size counts, with all its fragments."""
        return size + FRAGMENT_COST * max(1, -(-size // self.limits.datagram))


def _fields(struct: msgspec.Struct) -> list[tuple[str, int]]:
    return [(name, getattr(struct, name)) for name in struct.__struct_fields__]
