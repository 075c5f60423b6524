"""What travels in a multicast channel's datagrams, and what its machine and its application say to each other."""

from typing import Annotated

import msgspec

NAME_MAX = 64
"""Letters of the name of a channel or a sender."""

RANGES_MAX = 64
"""Gaps named in one request: more are asked for once these are closed."""

NUMBER_MAX = 1 << 62

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_MAX)]
Number = Annotated[int, msgspec.Meta(ge=0, lt=NUMBER_MAX)]
Range = tuple[Number, Number]
"""First and last, inclusive."""
Ranges = Annotated[tuple[Range, ...], msgspec.Meta(min_length=1, max_length=RANGES_MAX)]

# --- datagrams ----------------------------------------------------------------------------------------------------


class Piece(msgspec.Struct, frozen=True, array_like=True, tag="d", gc=False):
    """A fragment of a payload, or a whole one.

    stream: one life of one sender.  number: of the fragment in it, from 1.  low, high: the sender keeps the fragments
    from `low` on, and has sent those up to `high`.  first, last: of its payload.
    """

    channel: Name
    stream: Number
    sender: Name
    number: Number
    low: Number
    high: Number
    first: bool
    last: bool
    body: bytes


class Beat(msgspec.Struct, frozen=True, array_like=True, tag="b", gc=False):
    """The sender has nothing to send at present: so that the loss of its last fragments is noticed."""

    channel: Name
    stream: Number
    sender: Name
    low: Number
    high: Number


class Nack(msgspec.Struct, frozen=True, array_like=True, tag="n", gc=False):
    """These fragments of the stream have not come.  Multicast, so that nobody else need say so."""

    channel: Name
    stream: Number
    ranges: Ranges


Datagram = Piece | Beat | Nack

# --- requests -----------------------------------------------------------------------------------------------------


class Publish(msgspec.Struct, frozen=True, gc=False):
    """Multicast a payload behind those before it.  Beyond `ChannelLimits.queue` it is the caller's mistake."""

    payload: bytes


class Taken(msgspec.Struct, frozen=True, gc=False):
    """The application has dealt with so many bytes of payloads that were delivered to it."""

    size: int


# --- deliveries ---------------------------------------------------------------------------------------------------


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """A payload, in the order of its sender.  `stream`: which life of the sender."""

    sender: str
    stream: int
    payload: bytes


class Drained(msgspec.Struct, frozen=True, gc=False):
    """Of what was published no more than half of `ChannelLimits.queue` is left to send, or nothing."""


class Missed(msgspec.Struct, frozen=True, gc=False):
    """Here so many fragments of the stream are lost for good: their sender keeps them no more, or has fallen silent.
    What follows begins with a whole payload."""

    sender: str
    stream: int
    fragments: int
