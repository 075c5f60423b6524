"""The payloads that replicas of one group order: what is replicated is a sequence of these.

`ticket` is the sending gateway's own number for the entry, by which it finds who waits for the answer; it means nothing
to other nodes.  An entry that cannot be decoded is counted and skipped by all replicas alike, never guessed at.
"""

import msgspec


class Open(msgspec.Struct, frozen=True, array_like=True, tag="o", gc=False):
    """Open a session."""

    ticket: int


class Run(msgspec.Struct, frozen=True, array_like=True, tag="r", gc=False):
    """Run a command once.

    number: of the command in its session, from 1.  low: the client has all answers below, and wants none of them run.
    operation, types: its id "name@version" and the fingerprint of its types, as the caller knows them.
    """

    ticket: int
    session: int
    number: int
    low: int
    operation: str
    types: int
    arguments: bytes


class Touch(msgspec.Struct, frozen=True, array_like=True, tag="t", gc=False):
    """Keep a session alive."""

    ticket: int
    session: int
    low: int


class Close(msgspec.Struct, frozen=True, array_like=True, tag="c", gc=False):
    """Forget a session."""

    ticket: int
    session: int


class Hosts(msgspec.Struct, frozen=True, array_like=True, tag="h", gc=False):
    """The hosts in the sender's view: an audit is judged by them from here on, if that is the view in which this is
    ordered (see `audit`)."""

    view: int
    names: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, array_like=True, tag="d", gc=False):
    """The sender's state at an audit's position: its digest, and the bytes that had to be encoded for it."""

    position: int
    digest: bytes
    cost: int
    hosts: Hosts


class Tick(msgspec.Struct, frozen=True, array_like=True, tag="k", gc=False):
    """Nothing: it makes time pass (DESIGN section 9)."""


class Able(msgspec.Struct, frozen=True, array_like=True, tag="a", gc=False):
    """The sender has code for these versions of the class, by their contracts, besides the one that the group runs."""

    versions: dict[int, str]


class Upgrade(msgspec.Struct, frozen=True, array_like=True, tag="u"):
    """All are to go over from version `since` to version `to` of the class, if `hosts` convert the state as it is here
    alike, in this view (see `replica`)."""

    view: int
    since: int
    to: int
    contract: str
    hosts: tuple[str, ...]


class Converted(msgspec.Struct, frozen=True, array_like=True, tag="v", gc=False):
    """What the sender's conversion at the position of an `Upgrade` came to: the digest of the new state; or, with none,
    why there is no new state."""

    position: int
    digest: bytes
    fault: str = ""


OfHosts = Report | Hosts | Tick | Able | Upgrade | Converted
"""What hosts say among themselves."""

Entry = Open | Run | Touch | Close | OfHosts

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Entry).decode
"""Raises one of `UNREADABLE`."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)
"""What decoding raises when bytes are not what they should be; all replicas read the same bytes alike."""
