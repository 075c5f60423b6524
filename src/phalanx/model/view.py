"""Who is in: members, views, and the groups that a view hosts (DESIGN section 4).

Everything here is a frozen value.  A view owns nothing and does nothing; rules about views live in `parts.quorum`
and `group`.
"""

from enum import StrEnum

import msgspec

from phalanx.model.clock import NEVER, Stamp

Name = str
"""The name of a node.  Unique among the live members of a cluster."""

Address = str
"""Where a node listens, as the driver understands it ("host:port" for sockets, anything in the simulator)."""

GroupId = int
"""Identity of a group.  A group that is lost and created again under its old name has another id."""


DEPARTED_MAX = 256
"""Names of former members that a view remembers: a message older than so many departures is not expected."""


LINEAGE_MAX = 16
"""Recoveries that a view remembers: each is an operator's decision after a disaster."""


class Member(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One life of a node.  A restarted process is a new member: same name, higher incarnation."""

    name: Name
    address: Address
    incarnation: int

    def __str__(self) -> str:
        return f"{self.name}#{self.incarnation}"


class Order(StrEnum):
    """In which order a group delivers."""

    UNORDERED = "unordered"
    FIFO = "fifo"
    CAUSAL = "causal"
    TOTAL = "total"


class GroupSpec(msgspec.Struct, frozen=True, array_like=True):
    """What a group is, fixed at its creation.

    uniform: deliver only what every full host has received.  Always so in total order; on request elsewhere.
    lease_ms: length of read leases; 0 means that a linearizable read asks a quorum.
    contract: fingerprint of the typed messages and commands spoken in the group ("" = bytes).  A host that speaks
        another contract is refused at join, so two versions of a class cannot misread each other.
    durable: "received" means "on the host's disk" (DESIGN section 5).  What was delivered anywhere is on the disks of all
        its full hosts, and the group goes on after all of them failed.  Such a group is always uniform.
    min_copies: nothing is sent while the group has fewer full hosts (durable groups only).  What was under way when hosts
        were lost is settled by those that remain.
    """

    name: str
    order: Order = Order.TOTAL
    uniform: bool = False
    lease_ms: int = 0
    contract: str = ""
    durable: bool = False
    min_copies: int = 1

    @property
    def is_uniform(self) -> bool:
        return self.uniform or self.durable or self.order is Order.TOTAL


class Group(msgspec.Struct, frozen=True, array_like=True):
    """A group as one view has it: `hosts` hold the state and are waited for; `learners` are sent to, not waited for.
    Both are names of members of the view; hosts are in the view's order of seniority."""

    id: GroupId
    spec: GroupSpec
    hosts: tuple[Name, ...]
    learners: tuple[Name, ...] = ()

    @property
    def everyone(self) -> tuple[Name, ...]:
        return self.hosts + self.learners


class Suspended(msgspec.Struct, frozen=True, array_like=True):
    """A durable group that no member can go on with: what it delivered last is on the disks of its last full hosts, and
    its last view has no decided cut (counter-example 3).  Carried from view to view until they return with their logs."""

    group: Group
    """As it was, with its last full hosts; by name, since they return as new incarnations."""
    view: int
    """The last view that it was active in."""
    members: tuple[Member, ...]
    """The last full hosts, as they were in it."""
    before: int
    began: tuple[int, ...]
    """The view that it was active in before, and the cut that ended that: for a host that crashed before it had installed
    its last view, and so received nothing in it.  0 and () if it was founded in its last view."""


def _listed(members: tuple[Member, ...]) -> str:
    return " ".join(map(str, members)) or "nobody"


class View(msgspec.Struct, frozen=True, array_like=True):
    """A membership view.  `members` are the full members in order of seniority: rank 0 is the eldest.

    A quorum of a view is more than half of `members`, or exactly half with rank 0 among them (dynamic linear voting,
    Jajodia and Mutchler 1990).  View 0 is no view of live processes: it lists, with incarnation 0, the names that must
    found the cluster together, and its quorum is all of them (see group/birth).
    """

    cluster: int
    id: int
    members: tuple[Member, ...]
    learners: tuple[Member, ...] = ()
    groups: tuple[Group, ...] = ()
    departed: tuple[tuple[Name, int], ...] = ()
    """Of nodes that are in no more, the last incarnation that was: it never returns.  The latest `DEPARTED_MAX`."""
    suspended: tuple[Suspended, ...] = ()
    lineage: tuple[int, ...] = ()
    """The clusters that this one was recovered from by an operator, the last one last (`group.lineage`).  The latest
    `LINEAGE_MAX`."""
    fence: Stamp = NEVER
    """Above every fencing token that those may have given out: groups of this cluster begin there (`group.lineage`)."""

    def __str__(self) -> str:
        """Who is in: its `repr` has all that it says, which is long, and tells views apart."""
        learning = f", learning: {_listed(self.learners)}" if self.learners else ""
        waiting = f", suspended: {' '.join(s.group.spec.name for s in self.suspended)}" if self.suspended else ""
        return f"view {self.id} of {_listed(self.members)}{learning}{waiting}"

    @property
    def everyone(self) -> tuple[Member, ...]:
        return self.members + self.learners

    @property
    def has_learners(self) -> bool:
        """Somebody in it learns: as a member, or a group."""
        return bool(self.learners) or any(group.learners for group in self.groups)

    def rank(self, name: Name) -> int:
        """Seniority of a full member, by name; -1 if there is none of that name."""
        for rank, member in enumerate(self.members):
            if member.name == name:
                return rank
        return -1

    def standing(self, name: Name) -> str:
        """What somebody of that name is in it, in words."""
        rank = self.rank(name)
        return f"{f'rank {rank}' if rank >= 0 else 'no full member'} in {self}"

    def named(self, name: Name) -> Member | None:
        """The member or learner of that name."""
        return next((m for m in self.everyone if m.name == name), None)

    def least_incarnation(self, name: Name) -> int:
        """Of a process that may join under that name: all that are less have been members, or been passed over."""
        present = self.named(name)
        return max(dict(self.departed).get(name, -1), present.incarnation if present is not None else -1) + 1

    def group(self, group_id: GroupId) -> Group | None:
        return next((g for g in self.groups if g.id == group_id), None)

    def suspended_group(self, group_id: GroupId) -> Suspended | None:
        return next((s for s in self.suspended if s.group.id == group_id), None)

    def group_named(self, name: str) -> Group | None:
        return next((g for g in self.groups if g.spec.name == name), None)
