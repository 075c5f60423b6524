"""What a node says about itself: for `phalanx status`, for clients that look for members, for tests."""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from phalanx.group.machine import GroupMachine
from phalanx.model.clock import MILLISECOND
from phalanx.model.signals import Space
from phalanx.model.view import Address, Group, Member, Name
from phalanx.parts.quorum import survives
from phalanx.parts.room import refusal


class GroupStatus(msgspec.Struct, frozen=True):
    """One group, as the answering node's view has it."""

    name: str
    id: int
    order: str
    hosts: tuple[Name, ...]
    learners: tuple[Name, ...]
    here: str
    """What the answering node is to it: "host", "learner" or "" """
    synced: bool
    queued: int
    """Bytes that wait at the answering node to be sent."""
    durable: bool = False
    refuses_writes: str = ""
    """Why it takes no writes, if that is so because disks have no room."""
    min_copies: int = 1
    """Of a durable group: it takes no writes with fewer full hosts."""
    version: int = 0
    """Of a replicated object, which version of its class the group runs; 0: not known at the answering node."""
    versions: dict[Name, int] = {}
    """Up to which version its hosts can go, as far as they have said in this view."""
    upgrade: str = ""
    """Why it does not run the last of these; empty: it does."""


class SuspendedStatus(msgspec.Struct, frozen=True):
    """A durable group that waits for one of its last full hosts to return with its log."""

    name: str
    id: int
    waits_for: tuple[Name, ...]


class Status(msgspec.Struct, frozen=True):
    """One node's view of the cluster.

    survives: how many full members may fail at once, whichever they are, without stopping the rest.
    eldest_decides: half of the members is a quorum with the eldest among them, and none without.
    """

    node: Name
    address: Address
    incarnation: int
    state: str
    """ "member", "learner", "fenced" (cut off from a quorum, or a view change is under way), "out" (not in a view)."""
    cluster: str
    view: int
    members: tuple[Member, ...]
    learners: tuple[Member, ...]
    suspects: tuple[Name, ...]
    survives: int
    eldest_decides: bool
    groups: tuple[GroupStatus, ...]
    suspended: tuple[SuspendedStatus, ...] = ()
    disk: str = "ample"
    """The room on the answering node's disk: "ample", "low" (its reserve is touched: it takes no more batches of durable
    groups than it must), or "full" (its log refuses records)."""
    waits: str = ""
    """What the answering node waits for, if it cannot act or is no full member: in words, to follow its name."""
    missing: tuple[Name, ...] = ()
    """Of the members of the view that it is in, or votes in, or of the founders: those of which it hears nothing."""
    asks: tuple[Address, ...] = ()
    """Where it asks to be let in."""
    slow: dict[str, int] = {}
    """By class and method, how often one took longer than a heartbeat at the answering node since its process began."""
    lineage: tuple[str, ...] = ()
    """The clusters that an operator had this one take the place of (`phalanx recover`), the last one last."""
    clock_ms: int = 0
    """How far the answering node's clock is ahead of the median of the members' clocks; negative: behind it."""
    time_ahead_ms: int = 0
    """How far the groups' time is ahead of what the members' clocks allow: because these were ahead and were put back, or
    for a few seconds after a restart of all.  It goes at half the rate until they have caught up."""
    departed: tuple[Name, ...] = ()
    """Who was in the cluster and is not in its view now: the last 256 of them."""


OfVersions: TypeAlias = Callable[[Group], tuple[int, dict[Name, int], str]]
"""The last three fields of a group's status."""


def status_of(group: GroupMachine, slow: dict[str, int], of_versions: OfVersions) -> Status:
    """What that machine would say now."""
    view, me = group.view, group.me
    waits = group.waiting
    disk = group.short.get(me.name, Space.AMPLE).name.lower()
    if view is None:
        return Status(
            me.name, me.address, me.incarnation, "out", "", -1, (), (), (), 0, False, (), (), disk, *waits, dict(slow)
        )
    state = "learner" if view.rank(me.name) < 0 else "fenced" if group.is_fenced else "member"
    groups = tuple(
        GroupStatus(
            g.spec.name,
            g.id,
            g.spec.order.value,
            g.hosts,
            g.learners,
            "host" if me.name in g.hosts else "learner" if me.name in g.learners else "",
            group.is_synced(g.id),
            group.backlog(g.id),
            g.spec.durable,
            refusal(g, group.short) or "",
            g.spec.min_copies,
            *of_versions(g),
        )
        for g in view.groups
    )
    return Status(
        me.name,
        me.address,
        me.incarnation,
        state,
        f"{view.cluster:x}",
        view.id,
        view.members,
        view.learners,
        tuple(sorted(group.suspects)),
        survives(view),
        len(view.members) % 2 == 0,
        groups,
        tuple(SuspendedStatus(s.group.spec.name, s.group.id, s.group.hosts) for s in view.suspended),
        disk,
        *waits,
        dict(slow),
        tuple(f"{cluster:x}" for cluster in view.lineage),
        group.clock_error // MILLISECOND,
        group.time_lead // MILLISECOND,
        tuple(name for name, _ in view.departed),
    )
