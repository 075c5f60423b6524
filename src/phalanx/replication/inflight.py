"""What a gateway has under way for its clients, the limits on that, and what it tells the application."""

from typing import Final, NamedTuple

from msgspec.structs import astuple

from phalanx.model.clock import SECOND
from phalanx.model.view import Address, Name
from phalanx.replication import entries
from phalanx.replication.messages import CloseSession, Command, OpenSession, SessionKeepAlive

_fields_of: Final = astuple  # ARCHITECTURE, decision 58

COMMAND_BYTES_MAX = 1 << 20
"""Encoded arguments of a command or query; a frame must hold it with room to spare."""

REQUESTS_PER_CLIENT = 1_024
"""Requests of one connection that wait for the group: a session's window."""

BYTES_PER_CLIENT = 8 << 20
"""Bytes of arguments of one connection that wait for the group."""

BYTES_IN_FLIGHT = 64 << 20
"""Bytes of entries handed to all groups that have not come back: what clients can make this node hold."""


SLICE_BYTES = 64 << 10
"""Of a state in one turn: it takes half a millisecond to encode, and two to restore."""


class GatewayLimits(NamedTuple):
    """The limits of one node's gateway.  At each the request is declined as `Reason.BUSY` (or `TOO_LARGE`), but for
    `slice_bytes`: beyond that a state, or a log that is replayed, goes on in the next turn.  `quiet_ns`: how long a view
    lasts before an upgrade is ordered in it."""

    command_bytes: int = COMMAND_BYTES_MAX
    client_requests: int = REQUESTS_PER_CLIENT
    client_bytes: int = BYTES_PER_CLIENT
    bytes_in_flight: int = BYTES_IN_FLIGHT
    slice_bytes: int = SLICE_BYTES
    quiet_ns: int = 2 * SECOND


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


class HookFailed(NamedTuple):
    """A delivery to the application: a hook of an object's class raised, which no caller waits for.  It is told once,
    until the hook works again or raises something else.

    where: class and hook.  error: what it raised.  effect: what is not done for it.
    """

    group: str
    where: str
    error: str
    effect: str


class SnapshotUnfaithful(NamedTuple):
    """A delivery to the application: the state that this node got by transfer changes when it is saved and restored,
    so its class cannot be replicated.  The node does not serve the group."""

    group: str
    reason: str


class ObjectUpgraded(NamedTuple):
    """A delivery to the application: the group runs another version of its class from here on."""

    group: str
    since: int
    to: int


class UpgradeFailed(NamedTuple):
    """A delivery to the application: the hosts did not come to one state of a new version, so the group stays with the
    one that it runs.  `reason` says what went wrong with the conversion."""

    group: str
    to: int
    reason: str


class VersionRefused(NamedTuple):
    """A delivery to the application: the group runs a version that this node has no code for.  `keeps`: the node has it
    in its log, and stays one of its hosts without serving it."""

    group: str
    reason: str
    keeps: bool


class Waiter:
    """Who waits for an answer to which request; `size` counts against the limits.  `cluster`: what the answer says."""

    __slots__ = ("at_once", "cluster", "request", "size", "source")

    def __init__(self, source: Address, request: int, size: int, cluster: int = 0) -> None:
        self.source = source
        self.cluster = cluster
        self.request = request
        self.size = size
        self.at_once = False
        """The answer need not wait until this node's disk has written what it was given: nothing in it depends on
        that."""


class _Client:
    """What one connection has under way."""

    __slots__ = ("bytes", "last", "requests")

    def __init__(self) -> None:
        self.last = -1
        self.requests = 0
        self.bytes = 0


class Intake:
    """Which connections there are, and how much each has under way: the limits are kept here."""

    def __init__(self, limits: GatewayLimits) -> None:
        self._limits = limits
        self._clients: dict[Address, _Client] = {}
        self._bytes = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for their groups, of clients that are there."""
        return sum([client.requests for client in self._clients.values()])

    def knows(self, source: Address) -> bool:
        """The connection is there, and has asked for something."""
        return source in self._clients

    def is_new(self, source: Address, request: int) -> bool:
        """Requests of one connection only grow: one that does not is a doubled message."""
        client = self._clients.get(source)
        if client is None:
            client = self._clients[source] = _Client()
        if request <= client.last:
            return False
        client.last = request
        return True

    def admit(self, waiter: Waiter) -> bool:
        """Count it, if no limit stands against it."""
        client, size = self._clients[waiter.source], waiter.size
        if (
            client.requests >= self._limits.client_requests
            or client.bytes + size > self._limits.client_bytes
            or self._bytes + size > self._limits.bytes_in_flight
        ):
            return False
        client.requests += 1
        client.bytes += size
        self._bytes += size
        return True

    def release(self, waiter: Waiter) -> None:
        """It is answered, or will not be."""
        self._bytes -= waiter.size
        client = self._clients.get(waiter.source)
        if client is not None:
            client.requests -= 1
            client.bytes -= waiter.size

    def forget(self, source: Address) -> None:
        """The connection is gone.  What it sent still counts until it is released."""
        self._clients.pop(source, None)


def entry_of(ticket: int, message: OpenSession | SessionKeepAlive | CloseSession | Command) -> entries.Entry:
    """The entry that does what the client asks."""
    if isinstance(message, Command):
        fields: tuple[int, str, int, int, int, str, int, bytes, int] = _fields_of(message)
        _, _, session, number, low, operation, types, arguments, _ = fields
        return entries.Run(ticket, session, number, low, operation, types, arguments)
    match message:
        case OpenSession():
            return entries.Open(ticket)
        case SessionKeepAlive(session=session, low=low):
            return entries.Touch(ticket, session, low)
        case CloseSession(session=session):
            return entries.Close(ticket, session)
