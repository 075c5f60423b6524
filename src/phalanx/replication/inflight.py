"""What a gateway has under way for its clients, the limits on that, and what it tells the application."""

from typing import Any, NamedTuple

from phalanx.model.view import Address, Name
from phalanx.replication import entries
from phalanx.replication.messages import CloseSession, Command, OpenSession, Query, SessionKeepAlive
from phalanx.replication.replica import Replica

COMMAND_BYTES_MAX = 1 << 20
"""Encoded arguments of a command or query; a frame must hold it with room to spare."""

REQUESTS_PER_CLIENT = 1_024
"""Requests of one connection that wait for the group: a session's window."""

BYTES_PER_CLIENT = 8 << 20
"""Bytes of arguments of one connection that wait for the group."""

BYTES_IN_FLIGHT = 64 << 20
"""Bytes of entries handed to all groups that have not come back: what clients can make this node hold."""


class GatewayLimits(NamedTuple):
    """The limits of one node's gateway.  At each the request is declined as `Reason.BUSY` (or `TOO_LARGE`)."""

    command_bytes: int = COMMAND_BYTES_MAX
    client_requests: int = REQUESTS_PER_CLIENT
    client_bytes: int = BYTES_PER_CLIENT
    bytes_in_flight: int = BYTES_IN_FLIGHT


GATEWAY_LIMITS = GatewayLimits()


class ReplicaDiverged(NamedTuple):
    """A delivery to the application: the replicas of the group disagree (SCENARIOS 35).

    Something was not deterministic between the positions `since` and `position`.  `diverged` names the hosts found
    wrong; each drops its replica and fetches the state anew.  It is empty if no majority agrees: then writes stop until
    hosts leave the group and the rest agree (`resumed`).
    """

    group: str
    since: int
    position: int
    diverged: tuple[Name, ...]
    resumed: bool


class SnapshotUnfaithful(NamedTuple):
    """A delivery to the application: the state that this node got by transfer changes when it is saved and restored,
    so its class cannot be replicated.  The node does not serve the group."""

    group: str
    reason: str


class Waiter(NamedTuple):
    """Who waits for an answer to which request; `size` counts against the limits."""

    source: Address
    request: int
    size: int


class Hosted:
    """A group that this node has a replica of."""

    def __init__(self, replica: Replica[Any]) -> None:
        self.replica = replica
        self.serves = True
        self.payloads: list[bytes] = []
        self.in_flight: dict[int, Waiter] = {}
        self.asking: list[tuple[Waiter, Query]] = []
        self.barriers: dict[int, list[tuple[Waiter, Query]]] = {}
        self.consumed = 0


class Client:
    """What one connection has under way."""

    __slots__ = ("bytes", "last", "requests")

    def __init__(self) -> None:
        self.last = -1
        self.requests = 0
        self.bytes = 0


def entry_of(ticket: int, message: OpenSession | SessionKeepAlive | CloseSession | Command) -> entries.Entry:
    """The entry that does what the client asks."""
    match message:
        case OpenSession():
            return entries.Open(ticket)
        case SessionKeepAlive(session=session, low=low):
            return entries.Touch(ticket, session, low)
        case CloseSession(session=session):
            return entries.Close(ticket, session)
        case Command(session=session, number=number, low=low):
            return entries.Run(ticket, session, number, low, message.operation, message.types, message.arguments)
