"""What clients and nodes say to each other.  One frozen type per meaning; the tags begin with "c.".

`request` is the client's number for one transmission.  On one connection it only grows: a gateway drops what does not,
so a doubled message is never acted on twice, and a client that is told that a transmission was declined knows that
nothing of that transmission can still happen.

`cluster` is, in what a client asks, the id of the cluster that it belongs to; 0: of none yet.  In an answer it is the id
of the cluster that answers, if the client did not say that one; else 0.  See `replication.allegiance`.
"""

from enum import StrEnum

import msgspec

from phalanx.model.clock import Stamp
from phalanx.model.view import Address
from phalanx.replication.outcome import Outcome

# --- from a client ------------------------------------------------------------------------------------------------


class OpenSession(msgspec.Struct, frozen=True, array_like=True, tag="c.open"):
    """Open a session with the group of that name.  Answer: `Opened`."""

    request: int
    group: str
    cluster: int = 0


class SessionKeepAlive(msgspec.Struct, frozen=True, array_like=True, tag="c.keep"):
    """A sign of life; all commands below `low` are settled.  Answer: `Acknowledged`."""

    request: int
    group: str
    session: int
    low: int
    cluster: int = 0


class CloseSession(msgspec.Struct, frozen=True, array_like=True, tag="c.close"):
    """The session is not needed any more.  Answer: `Acknowledged`."""

    request: int
    group: str
    session: int
    cluster: int = 0


class Command(msgspec.Struct, frozen=True, array_like=True, tag="c.command", gc=False):
    """Run a command exactly once: resend it with the same `number`, here or elsewhere, until it is answered.

    low: all commands of the session below it are settled; their outcomes are forgotten and they never run any more.
    operation, types, arguments: see `replication.objects.Operation`.  Answer: `Reply`.
    """

    request: int
    group: str
    session: int
    number: int
    low: int
    operation: str
    types: int
    arguments: bytes
    cluster: int = 0


class Query(msgspec.Struct, frozen=True, array_like=True, tag="c.query", gc=False):
    """Answer from the state, linearizably or, if `stale`, at once from what is here.  Answer: `Reply`."""

    request: int
    group: str
    operation: str
    types: int
    arguments: bytes
    stale: bool = False
    cluster: int = 0


class Watch(msgspec.Struct, frozen=True, array_like=True, tag="c.watch", gc=False):
    """Feed me: everything beyond `position` (-1: beyond what is acknowledged by now), as long as the connection lives.

    identity: the group's id, if it is known; 0: any group of that name will do.  A group that was founded anew has
        another history.
    credit: how many batches may be sent until `WatchMore`.
    Answers: any number of `Batch`; at the end, if not the client ends it, `Reply` with an exception, or `Declined`.
    """

    request: int
    group: str
    identity: int
    operation: str
    types: int
    arguments: bytes
    position: int
    credit: int
    cluster: int = 0


class WatchMore(msgspec.Struct, frozen=True, array_like=True, tag="c.more", gc=False):
    """The client has taken that many batches of the watch with that request number.  No answer."""

    request: int
    watch: int
    credit: int


class Unwatch(msgspec.Struct, frozen=True, array_like=True, tag="c.unwatch", gc=False):
    """The watch with that request number is not needed any more.  No answer."""

    request: int
    watch: int


class Describe(msgspec.Struct, frozen=True, array_like=True, tag="c.describe"):
    """Tell about yourself; `what` is in the node's vocabulary ("status", ...).  Answer: `Answer`."""

    request: int
    what: str


# --- to a client --------------------------------------------------------------------------------------------------


class Opened(msgspec.Struct, frozen=True, array_like=True, tag="c.opened"):
    """The session is open and lives `lifetime_ms` from one sign of life to the next.  `endpoints` host the group."""

    request: int
    session: int
    lifetime_ms: int
    endpoints: tuple[Address, ...]
    cluster: int = 0


class Acknowledged(msgspec.Struct, frozen=True, array_like=True, tag="c.done"):
    """Done: the session was kept alive or closed.  `endpoints` host the group now."""

    request: int
    endpoints: tuple[Address, ...]


class Reply(msgspec.Struct, frozen=True, array_like=True, tag="c.reply"):
    """How the operation ended.  `stamp`: of the last message that the answering replica had applied."""

    request: int
    outcome: Outcome
    stamp: Stamp
    cluster: int = 0


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="c.answer", gc=False):
    """What was asked by `Describe`, encoded as the node likes."""

    request: int
    data: bytes


class Batch(msgspec.Struct, frozen=True, array_like=True, tag="c.batch", gc=False):
    """What a watch is told.  `request`: the watch's.  identity: the group's id.

    after, position: it covers everything between these positions; a client that is not at `after` has lost something, and
        asks again.
    data: the feed's encoded result; empty: nothing happened up to `position`, which is a sign of life.
    """

    request: int
    identity: int
    after: int
    position: int
    data: bytes
    cluster: int = 0


class Reason(StrEnum):
    """Why a request was declined."""

    ELSEWHERE = "elsewhere"
    """This node does not serve the group now (no host, a learner, fenced, not founded yet): ask the `endpoints`."""
    BUSY = "busy"
    """A limit of this node: try again later, or elsewhere."""
    UNKNOWN = "unknown outcome"
    """The transmission was under way when this node was cut off from it: resend it elsewhere to learn what happened."""
    EXPIRED = "session expired"
    """The group does not know the session."""
    SETTLED = "settled"
    """The session's low mark has passed the command: it does not run any more.  Whether it did is not known here."""
    WINDOW = "window"
    """The session has too many outcomes that the client has not settled: settle some, then resend."""
    SESSIONS = "too many sessions"
    """The group's limit: try again later."""
    OPERATION = "unknown operation"
    """The object has no operation of that name, version and types.  Final."""
    ARGUMENTS = "bad arguments"
    """They cannot be decoded.  Final."""
    TOO_LARGE = "too large"
    """The arguments exceed the limit of a command.  Final."""
    LOST = "state lost"
    """The group was lost and founded anew, so what is to be followed does not go on; or an operator recovered the
    client's cluster as this one, to which it belongs from then on, and what it was told may be lost.  Final."""
    DIVERGED = "diverged"
    """The replicas disagree and none is right by majority: writes are stopped.  Final, until people act."""
    FOREIGN = "another cluster"
    """This node is of another cluster than the client.  The client's may be at other endpoints."""
    FULL = "storage full"
    """The disks of the group's hosts have no room.  Final, until there is."""


FINAL = frozenset({Reason.OPERATION, Reason.ARGUMENTS, Reason.TOO_LARGE, Reason.LOST, Reason.DIVERGED, Reason.FULL})
"""Sending the same again will not help."""


class Declined(msgspec.Struct, frozen=True, array_like=True, tag="c.declined"):
    """The transmission had no effect and never will have one; only after `Reason.UNKNOWN` it may.

    endpoints: who may do it instead, if anybody is known.
    cluster: after `Reason.LOST`, the one that the client's was recovered as, if that is why.
    version: of the class that the group runs, after `Reason.OPERATION`.
    """

    request: int
    reason: Reason
    text: str
    endpoints: tuple[Address, ...] = ()
    cluster: int = 0
    version: int = 0


Asked = OpenSession | SessionKeepAlive | CloseSession | Command | Query | Watch
"""What a gateway answers when it can."""

FromClient = Asked | WatchMore | Unwatch | Describe
ToClient = Opened | Acknowledged | Reply | Answer | Batch | Declined
ClientMessage = FromClient | ToClient
