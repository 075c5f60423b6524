"""Whose disk holds up a durable group (SCENARIOS 8): who steps back from hosting it, and when it takes no writes.

A write of a durable group needs the disk of every full host.  A host that lacks space goes on as a learner, which nobody
waits for, as long as enough others are left; if they are not, the group takes no writes until there is room.
"""

from collections.abc import Collection, Mapping

from phalanx.model.signals import Space
from phalanx.model.view import Group, GroupSpec, Name


def stepping_back(spec: GroupSpec, hosts: Collection[Name], size: int, short: Collection[Name]) -> frozenset[Name]:
    """The hosts that are `short` of space, if the group can do without all of them: those left are more than half of its
    `size` hosts and learners, and as many copies as it wants.  Else nobody: fewer copies would help no write."""
    if not short or not spec.durable:
        return frozenset()
    going = frozenset(name for name in hosts if name in short)
    left = len(hosts) - len(going)
    return going if 2 * left > size and left >= spec.min_copies else frozenset()


def refusal(group: Group, short: Mapping[Name, Space]) -> str | None:
    """Why the group takes no writes, for people; None if it does, or will in a moment."""
    if not short or not group.spec.durable:
        return None
    too_few = len(group.hosts) < group.spec.min_copies
    without = [name for name in (group.everyone if too_few else group.hosts) if name in short]
    if not without or stepping_back(group.spec, group.hosts, len(group.everyone), short):
        return None
    names = ", ".join(f"{name} ({short[name].name.lower()})" for name in without)
    return f"group {group.spec.name} takes no writes: too few hosts would be left without the full disks of {names}"


def takes_what_frees(group: Group, short: Mapping[Name, Space]) -> bool:
    """There is a reserve left at every host, for commands that free space."""
    return all(short.get(name, Space.AMPLE) is not Space.FULL for name in group.hosts)
