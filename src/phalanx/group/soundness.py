"""Whether a decision makes sense: by itself, and as the successor of what this node knows for certain."""

from phalanx.group.core import Core
from phalanx.group.messages import Cut, Decision
from phalanx.group.ranges import (
    COUNT_MAX,
    EVERYONE_MAX,
    INCARNATION_MAX,
    STAMP_MAX,
    are_counts,
    are_unique,
    fault_in_member,
    fault_in_spec,
    is_name,
    is_view,
)
from phalanx.model.view import DEPARTED_MAX, LINEAGE_MAX, Group, View


def fault_in_decision(core: Core, value: Decision) -> str | None:
    """Why no correct coordinator can have proposed that; None if one can."""
    view = value.view
    if not is_view(value.old) or view.id != value.old + 1 or not 0 < view.cluster < 1 << 64:
        return f"view {view.id} of cluster {view.cluster:x} after view {value.old}"
    if not 0 <= value.clock < STAMP_MAX or not all(map(is_name, value.left)):
        return "a clock or a leaver that cannot be"
    return (
        _fault_in_members(view)
        or next((fault for group in view.groups if (fault := _fault_in_group(view, group))), None)
        or _fault_in_suspended(view)
        or _fault_in_cuts(view, value.cuts)
        or _fault_in_succession(core, value)
    )


def _fault_in_members(view: View) -> str | None:
    everyone = view.everyone
    if not view.members or len(everyone) > EVERYONE_MAX or not are_unique([m.name for m in everyone]):
        return "a view without members, with too many, or with one twice"
    if len(view.lineage) > LINEAGE_MAX or not all(0 < cluster < 1 << 64 for cluster in view.lineage):
        return "a lineage that cannot be"
    if not 0 <= view.fence < STAMP_MAX:
        return "a fence that cannot be"
    former = [name for name, _ in view.departed]
    if len(former) > DEPARTED_MAX or not are_unique(former) or not all(map(is_name, former)):
        return "departed members that cannot be"
    if not all(0 <= incarnation < INCARNATION_MAX for _, incarnation in view.departed):
        return "departed incarnations that cannot be"
    return next((fault for m in everyone if (fault := fault_in_member(m))), None)


def _fault_in_group(view: View, group: Group) -> str | None:
    members = {m.name for m in view.members}
    everyone = members | {m.name for m in view.learners}
    if not group.hosts or not members.issuperset(group.hosts) or not everyone.issuperset(group.learners):
        return f"group {group.id} without hosts, or with some that are not in the view"
    if not are_unique(group.everyone) or not 0 <= group.id < COUNT_MAX or group.id >> 16 > view.id:
        return f"group {group.id} with somebody twice, or of a view to come"
    return fault_in_spec(group.spec)


def _fault_in_suspended(view: View) -> str | None:
    """Durable groups whose last hosts are known, and that are not active as well."""
    groups = [s.group for s in view.suspended]
    names = [g.spec.name for g in (*view.groups, *groups)]
    if not are_unique([g.id for g in (*view.groups, *groups)]) or not are_unique(names):
        return "a group that is suspended and active, or suspended twice"
    for s in view.suspended:
        hosts = s.group.hosts
        if (
            not s.group.spec.durable
            or not 0 < s.view < view.id
            or not 0 <= s.group.id >> 16 <= s.view
            or s.group.learners
        ):
            return f"group {s.group.id} cannot be suspended"
        if not hosts or len(hosts) > EVERYONE_MAX or not are_unique(hosts) or hosts != tuple(m.name for m in s.members):
            return f"group {s.group.id} is suspended, and was hosted by nobody"
        if not 0 <= s.before < s.view or not are_counts(*s.began) or bool(s.before) != bool(s.began):
            return f"group {s.group.id} is suspended since a view that cannot be"
        if fault := fault_in_spec(s.group.spec) or next(filter(None, map(fault_in_member, s.members)), None):
            return fault
    return None


def _fault_in_cuts(view: View, cuts: tuple[Cut, ...]) -> str | None:
    """A group that was founded before this view has a cut, and no other has."""
    if not are_unique([g.id for g in view.groups]) or not are_unique([g.spec.name for g in view.groups]):
        return "a group twice in one view"
    if sorted(cut.group for cut in cuts) != sorted(g.id for g in view.groups if g.id >> 16 != view.id):
        return "cuts of other groups than go on"
    sane = all(cut.upto and are_counts(*cut.upto) and 0 <= cut.view < view.id for cut in cuts)
    return None if sane else "a cut that cannot be"


def _fault_in_succession(core: Core, value: Decision) -> str | None:
    """The successor of our own view: the groups that go on were in it, with those hosts, and what it leaves to us we
    hold, because we said so before it was proposed."""
    old, new = core.view, value.view
    if old is None or old.id != value.old or (old.id > 0 and old.cluster != new.cluster):
        return None
    for m in new.everyone:
        if m != old.named(m.name) and m.incarnation < old.least_incarnation(m.name):
            return f"{m} is put into the view after a later life of its process, or is back though it was removed"
    for s in new.suspended:
        known, group = old.suspended_group(s.group.id), old.group(s.group.id)
        active = group is not None and (group.spec, group.hosts, old.id) == (s.group.spec, s.group.hosts, s.view)
        if not active and known != s:
            return f"group {s.group.id} is suspended, and was not so before"
    return next((fault for cut in value.cuts if (fault := _fault_in_cut(core, old, new, cut))), None)


def _fault_in_cut(core: Core, old: View, new: View, cut: Cut) -> str | None:
    suspended, after = old.suspended_group(cut.group), new.group(cut.group)
    before = suspended.group if suspended is not None else old.group(cut.group)
    if before is None or after is None or before.spec != after.spec:
        return f"group {cut.group} was not in view {old.id}"
    if len(cut.upto) != len(before.hosts) or cut.view != (suspended.view if suspended is not None else 0):
        return f"a cut that is not of {len(before.hosts)} hosts, or of another view"
    returned = before.spec.durable  # with their logs, as new incarnations
    if not set(after.hosts) <= set(before.everyone) or (
        not returned and any(old.named(n) != new.named(n) for n in after.hosts)
    ):
        return f"group {cut.group} has a host without its state"
    if core.live and core.name in after.hosts and not _holds(core, cut):
        return f"this node does not hold the cut of group {cut.group}"
    return None


def _holds(core: Core, cut: Cut) -> bool:
    if cut.view:
        kept = core.ledger.channel(cut.group, cut.view)
        return kept is not None and kept.holds(cut.upto)
    channel, seat = core.channels.get(cut.group), core.seats.get(cut.group)
    if channel is None or seat is None:
        return False
    return seat.synced and channel.holds(cut.upto) and not channel.beyond(cut.upto)
