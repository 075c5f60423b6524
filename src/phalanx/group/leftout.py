"""Batches that a node has in its log and that their group went on without: the node that drops them says so.

Ordinarily nobody had delivered them.  If some host lived on, that is certain: what was delivered anywhere is at all full
hosts, so the cut has it.  If all hosts failed, and the group went on from other logs than this one, these batches are
what those did not have; if the ends of those had been cut off, they may have been acknowledged.  Whoever comes back later
cannot tell, for a decision does not say which logs were whole.
"""

from collections.abc import Sequence

from phalanx.group.core import Core
from phalanx.model.view import Group, GroupId, Member, View


def note_left_out(core: Core) -> None:
    """What decided cuts have left out since this was last called."""
    for group, view, hosts, count in core.ledger.left_out:
        core.note("log.left_out", group.spec.name, view, count, _may_be_known(core, group, view, hosts))
    core.ledger.left_out.clear()


def replaced(core: Core, group: GroupId) -> None:
    """The group's state was fetched as a whole: where the view ended that is open in the log is not known here."""
    former = core.ledger.former.pop(group, None)
    if former is None:
        return
    count = sum(former.channel.arrived)
    if count and _may_be_known(core, former.group, former.view, former.members):
        core.note("log.replaced", former.group.spec.name, former.view, count)


def _may_be_known(core: Core, group: Group, view: int, hosts: Sequence[Member]) -> bool:
    """No host of that view is known to have lived on in the group."""
    known = [value.view for value in core.past.values()] + ([core.view] if core.view is not None else [])
    later = [each for each in known if each.id > view]
    return not any(_lives_on(each, group.id, member) for each in later for member in hosts)


def _lives_on(view: View, group: GroupId, member: Member) -> bool:
    """It is a host there, in the same life."""
    place = view.group(group)
    return place is not None and member.name in place.hosts and view.named(member.name) == member
