"""What a node can do for clients at present, and whom it can send them to instead.  Passive.

While a view change is under way the node holds what clients send, for a moment: mostly it can act again before the
client has found another node.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from phalanx.model.clock import MILLISECOND
from phalanx.model.signals import Space
from phalanx.model.view import Address, Member, Name, View
from phalanx.parts.room import refusal, takes_what_frees
from phalanx.replication.messages import Asked, Command, Query, Reason, Watch
from phalanx.replication.replica import Replica

HOLD_NS = 500 * MILLISECOND
"""How long requests are held while a view change is under way: many times what one takes in which nobody has to be
waited for.  After that another node may be more lucky."""

Short: TypeAlias = Mapping[Name, Space]
"""Whose disk has too little room."""

AMPLE: Short = {}
"""Every disk has room."""


class Standing(Enum):
    """What a node can do for clients."""

    ACTS = "acts"
    CHANGES = "a view change is under way"
    """It acts again in a moment, as far as it can tell: a quorum is there."""
    CUT_OFF = "cut off from a quorum"


class Place:
    """This node's place among the others, as its clients need to know it."""

    def __init__(self, me: Member) -> None:
        self._me = me
        self.view: View | None = None
        self.excluded = False
        self._standing = Standing.ACTS
        self._suspects: frozenset[Name] = frozenset()
        self.short: Short = AMPLE
        self._since = 0
        self._now = 0

    def stand(self, standing: Standing, suspects: frozenset[Name], now: int, short: Short = AMPLE) -> None:
        """From now on it is like this."""
        self.short = short
        if standing is not self._standing:
            self._since = now
        self._standing, self._suspects, self._now = standing, suspects, now

    @property
    def acts(self) -> bool:
        """It can serve clients."""
        return self._standing is Standing.ACTS and not self.excluded

    @property
    def holds(self) -> bool:
        """It cannot, and expects to in a moment."""
        return self._standing is Standing.CHANGES and not self.excluded and self._now < self.holds_until

    @property
    def holds_until(self) -> int:
        """When it does not expect that any more."""
        return self._since + HOLD_NS

    @property
    def is_full(self) -> bool:
        """This node's log refuses records, so nothing that waits for its disk is said."""
        return self.short.get(self._me.name) is Space.FULL

    def no_room(self, replica: Replica[Any], asked: Asked) -> tuple[Reason, str] | None:
        """Why what the group would have to log is not taken for want of room: nobody takes it, or others do."""
        group, short = replica.group, self.short
        if not short or not group.spec.durable or isinstance(asked, (Query, Watch)):
            return None
        operation = replica.kind.operations.get(asked.operation) if isinstance(asked, Command) else None
        frees = operation is None or operation.when_full  # sessions are small, and needed to free something
        why = refusal(group, short)
        if why is not None:
            return None if frees and takes_what_frees(group, short) else (Reason.FULL, why)
        if self.is_full:
            return Reason.ELSEWHERE, f"the disk of {self._me} is full"
        return None

    def is_foreign(self, cluster: int) -> bool:
        """A client of that cluster is not for this node: its own is another, and does not come from that one."""
        view = self.view
        return view is not None and cluster not in (0, view.cluster) and cluster not in view.lineage

    def stranger(self, cluster: int) -> str:
        """Why such a client is declined."""
        assert self.view is not None, "only one in a cluster declines them"
        return f"{self._me} is of cluster {self.view.cluster:x}, and this client belongs to cluster {cluster:x}"

    def other_than(self, cluster: int) -> int:
        """This node's cluster, if it is another; else 0."""
        view = self.view
        return view.cluster if view is not None and view.cluster != cluster else 0

    def news(self, cluster: int) -> tuple[Reason, str] | None:
        """Why a client of that cluster, which is not this node's, is declined; None: it is of none yet.  One of a cluster
        that this node's comes from belongs to this one from then on."""
        if self.is_foreign(cluster):
            return Reason.FOREIGN, self.stranger(cluster)
        if not cluster or self.view is None:
            return None
        went = f"cluster {cluster:x} was recovered by its operator as {self.view.cluster:x}"
        return Reason.LOST, f"{went}, accepting loss: what was told of it may be lost"

    def why_not(self, name: str) -> str:
        """Why it does not serve that group."""
        if self.excluded:
            return f"{self._me} is not a member any more"
        if self._standing is Standing.CHANGES:
            return f"{self._me} cannot act: a view change is under way"
        if self._standing is Standing.CUT_OFF:
            return f"{self._me} is cut off from a quorum"
        if self.view is None or self.view.group_named(name) is None:
            hosts = self._waits_for(name)
            text = (
                f"says that group {name!r} waits for the log of one of {' '.join(hosts)}"
                if hosts
                else f"knows no group {name!r}"
            )
            return f"{self._me} {text}"
        return f"{self._me} does not serve group {name!r}"

    def _waits_for(self, name: str) -> tuple[Name, ...]:
        """The last hosts of that group, if it is suspended."""
        suspended = self.view.suspended if self.view is not None else ()
        return next((each.group.hosts for each in suspended if each.group.spec.name == name), ())

    def endpoints(self, name: str, serves: bool) -> tuple[Address, ...]:
        """Where the group is served, this node aside unless it `serves` it; else the other members.  Not those that are
        suspected, unless this node is cut off from a quorum: then the quorum may be theirs."""
        if self.view is None:
            return ()
        group = self.view.group_named(name)
        names: Sequence[Name] = group.hosts if group else [member.name for member in self.view.members]
        without = set() if self._standing is Standing.CUT_OFF else set(self._suspects)
        if not serves:
            without.add(self._me.name)
        found = (self.view.named(each) for each in names if each not in without)
        return tuple(member.address for member in found if member is not None)
