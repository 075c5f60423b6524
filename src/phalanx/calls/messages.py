"""What callers and hosts of a troupe say to each other.

`Invoke` is a payload of the troupe's group, so it comes to all its hosts or none, in the group's order.  Everything else
goes from one node to another, in a `Letter`, and may be lost, doubled or late.
"""

from enum import StrEnum

import msgspec

from phalanx.model.view import GroupId, Member, Name
from phalanx.replication.outcome import Outcome


class CallId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Which call it is, whoever sends it and however often.

    client, life: the calling member and its incarnation; or, with life 0, which no member has, the name of a troupe all
        of whose members make this call (Cooper 1985: the calls of one client troupe are one call).
    number: grows by one from call to call of that client.
    """

    client: str
    life: int
    number: int

    @property
    def is_joint(self) -> bool:
        """The call of a troupe."""
        return self.life == 0


class Invoke(msgspec.Struct, frozen=True, array_like=True, tag="invoke"):
    """Execute this, once, and answer `caller`.

    low: what this client has called under lower numbers is settled: it needs no answer, and never executes any more.
    fanout: 0: every host answers the caller.  Else answers go up a tree, in which a host has so many below it.
    patience_ms: how long the caller waits.  What takes longer is given up.
    """

    id: CallId
    caller: Member
    low: int
    operation: str
    types: int
    arguments: bytes
    fanout: int
    patience_ms: int


class Submit(msgspec.Struct, frozen=True, array_like=True, tag="submit"):
    """To one host: have your group do this, unless it knows the call.  Answer: `Taken`, once it is delivered."""

    group: GroupId
    invoke: Invoke


class Taken(msgspec.Struct, frozen=True, array_like=True, tag="taken"):
    """The call was delivered in that view, in which the group had these hosts: each of them executes it, or is no host
    in some later view."""

    group: GroupId
    id: CallId
    view: int
    hosts: tuple[Member, ...]


class Part(StrEnum):
    """Whose answers these are."""

    OWN = "own"
    """The sender's."""
    BRANCH = "branch"
    """The sender's and those of all below it in the tree: for the host above."""
    WHOLE = "whole"
    """Those of all hosts: from the root of the tree, for the caller."""


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    """To a host that executes the call, from a caller: answer me as soon as you can, yourself (OWN), or as the root of
    the tree (WHOLE).  From the host above: I lack your branch (BRANCH).  view: in which the call was delivered."""

    group: GroupId
    id: CallId
    part: Part
    view: int


class Withdraw(msgspec.Struct, frozen=True, array_like=True, tag="withdraw"):
    """To a host that executes the call, from a caller: I do not want it any more.  If nobody does, it is given up.  view:
    as `Ask` has it.  Answer: `Answers` without any, or `Missed`."""

    group: GroupId
    id: CallId
    view: int


class Missed(msgspec.Struct, frozen=True, array_like=True, tag="missed"):
    """To a caller: I am in this view, a later one, and the call was not delivered to me.  (In a group that is not
    uniform, what only hosts that have failed had received is lost with them.)"""

    group: GroupId
    id: CallId
    view: int


class Answers(msgspec.Struct, frozen=True, array_like=True, tag="answers"):
    """How the call ended at hosts.  `value`: the results of `combined` of them combined into one; the others' are in
    `singles`, by name.  OWN and nothing: there will be no answer of the sender's, which got the state anew
    since, or has been told that nobody wants one."""

    group: GroupId
    id: CallId
    part: Part
    singles: tuple[tuple[Name, Outcome], ...]
    value: bytes = b""
    combined: int = 0


Body = Submit | Taken | Ask | Withdraw | Missed | Answers


class Letter(msgspec.Struct, frozen=True, array_like=True, tag="call"):
    """Each of these, with the cluster and the sender."""

    cluster: int
    sender: Member
    body: Body
