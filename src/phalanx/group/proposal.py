"""What the next view shall be: a pure function of the promises (DESIGN section 6, step 3).

Voters are the processes that speak for the old view's full members.  A voter that is *live* is that member itself; one
that restarted has lost its state: it votes, and is listed under its new incarnation.  Only if no live member answered
(total failure, or the birth of a cluster out of view 0) do restarted ones become full members at once; otherwise they are
learners, since they would outvote the one that has the state (counter-example 5).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from phalanx.group.ledger import cut_of
from phalanx.group.messages import Cut, Decision, Promise, Wish
from phalanx.group.ranges import EVERYONE_MAX
from phalanx.group.regroup import (
    Census,
    continue_group,
    found_groups,
    is_given_up,
    may_leave,
    revive,
    unhosters,
)
from phalanx.model.view import DEPARTED_MAX, Group, Member, Name, Suspended, View
from phalanx.parts.quorum import is_quorum, largest_clique


class Grounds(NamedTuple):
    """What a coordinator knows when it proposes."""

    promises: Mapping[Name, Promise]
    """By name, of members and learners of the old view."""
    wishes: Mapping[Name, Wish]
    """The latest wish of every node that has one, joiners included."""
    silent: Collection[Name]
    """Members and learners that the coordinator does not hear: no place for them, not even as learners."""
    promote: Collection[Name]
    """Learners that may become full members, if they answered and hold what they must."""
    cluster: int
    """The cluster's id, or the one to give it."""
    made_by: Decision | None = None
    """What made the old view."""
    short: Collection[Name] = ()
    """Nodes whose disks have too little room to host a durable group, where it can do without them."""


class Plan(NamedTuple):
    """A value to propose, and what must be fetched before."""

    decision: Decision
    needs: dict[Name, tuple[Cut, ...]]
    """What each continuing or promoted host must hold before this may be proposed, where it is more than it has."""
    holders: dict[int, tuple[Name, ...]]
    """By group, for each host the name of one that holds its part of the cut."""


def plan(old: View, grounds: Grounds) -> Plan | None:
    """The successor of `old`, or None if those that answered can make none."""
    promises = grounds.promises
    full = _full_members(old, grounds)
    if not full:
        return None
    kept = {m.name for m in full}
    promoted = _promoted(old, grounds, kept)
    members = full + promoted
    learners = _learners(old, grounds, {m.name for m in members})
    everyone = members + learners
    wishes = {m.name: w for m in everyone if (w := _wish(m, grounds)) is not None}
    givers = kept | {n for n in promises if _wants_out(n, grounds)}
    census = Census(old, promises, members, everyone, givers, wishes, grounds.short)
    cuts: list[Cut] = []
    groups: list[Group] = []
    needs: dict[Name, tuple[Cut, ...]] = {}
    holders: dict[int, tuple[Name, ...]] = {}
    suspended: list[Suspended] = []
    for group, last in (*((g, old.id) for g in old.groups), *((s.group, s.view) for s in old.suspended)):
        regrouping = continue_group(group, census) if last == old.id else revive(group, last, census)
        if regrouping is None:
            if group.spec.durable and not is_given_up(group, census):
                suspended.append(old.suspended_group(group.id) or _suspend(old, group, grounds.made_by))
            continue
        groups.append(regrouping.group)
        cuts.append(regrouping.cut)
        holders[group.id] = regrouping.holders
        for name in regrouping.lacking:
            needs[name] = (*needs.get(name, ()), regrouping.cut)
    groups += found_groups(old.id + 1, [*groups, *(s.group for s in suspended)], census)
    departed = _departed(old, everyone)
    places = tuple(members), tuple(learners), tuple(groups), departed, tuple(suspended)
    view = View(grounds.cluster, old.id + 1, *places, lineage=old.lineage, fence=old.fence)
    clock = max(p.clock for p in promises.values())
    left = tuple(n for n, w in sorted(grounds.wishes.items()) if w.leave and w.member not in everyone)
    return Plan(Decision(old.id, view, tuple(cuts), clock, left), needs, holders)


def _suspend(old: View, group: Group, made_by: Decision | None) -> Suspended:
    members = tuple(m for m in old.members if m.name in group.hosts)
    cut = cut_of(made_by, group.id) if made_by is not None and made_by.view.id == old.id else None
    began = (cut.view or old.id - 1, cut.upto) if cut is not None else (0, ())
    return Suspended(msgspec.structs.replace(group, learners=()), old.id, members, *began)


def _departed(old: View, everyone: Sequence[Member]) -> tuple[tuple[Name, int], ...]:
    """What `old` remembers, and those that it has and its successor has not."""
    out = {m.name: m.incarnation for m in old.everyone if m not in everyone and old.id > 0}
    known = {name: at for name, at in old.departed if name not in out}
    return tuple((known | out).items())[-DEPARTED_MAX:]


def _wants_out(name: Name, grounds: Grounds) -> bool:
    wish = grounds.wishes.get(name)
    return wish is not None and wish.leave and wish.member == grounds.promises[name].wish.member


def _full_members(old: View, grounds: Grounds) -> list[Member]:
    """The largest set of those that answered who can all talk, elders preferred; () if there is no quorum."""
    promises = grounds.promises
    answered = [m.name for m in old.members if m.name in promises]
    if not is_quorum(old, answered):
        return []
    live = [n for n in answered if promises[n].live]
    leavers = {n for n in live if _wants_out(n, grounds)}
    absent = {m.name for m in old.members} - set(live)
    lost = {g.id: absent | unhosters(g, grounds.wishes) for g in old.groups}
    going = may_leave(old, leavers, lost)
    live = [n for n in live if n not in going] or live[:1]
    names = live or [n for n in answered if not promises[n].live]
    others = set(answered) - set(names)

    def linked(a: Name, b: Name) -> bool:
        return _hears(old, promises[a], b) and _hears(old, promises[b], a)

    best = largest_clique(names, linked, lambda some: is_quorum(old, {*some, *others}))
    return [m if live else promises[m.name].wish.member for m in old.members if m.name in best]


def _hears(old: View, promise: Promise, name: Name) -> bool:
    place = next(i for i, m in enumerate(old.everyone) if m.name == name)
    return bool(promise.hears >> place & 1)


def _promoted(old: View, grounds: Grounds, full: Collection[Name]) -> list[Member]:
    """Learners that hold the state of all their groups, and hear and are heard by every full member: at most as many
    at once as there are full members, so that losing them all stops nothing (counter-example 5)."""
    promises = grounds.promises
    out: list[Member] = []
    for m in old.learners:
        p = promises.get(m.name)
        if p is None or m.name not in grounds.promote or not p.live or p.wish.member != m:
            continue
        if _wants_out(m.name, grounds):
            continue
        ready = all(x.synced for x in p.progress)
        talk = all(_hears(old, p, n) and _hears(old, promises[n], m.name) for n in full)
        if ready and talk and len(out) < len(full):
            out.append(m)
    return out


def _learners(old: View, grounds: Grounds, members: Collection[Name]) -> list[Member]:
    """Old learners and demoted members that are heard, restarted voters and joiners under their new incarnations."""
    out: dict[Name, Member] = {}
    for m in old.everyone:
        promise = grounds.promises.get(m.name)
        if old.id == 0 or m.name in members or m.name in grounds.silent:
            continue
        out[m.name] = m if promise is None else promise.wish.member
    for name, wish in sorted(grounds.wishes.items()):
        if wish.leave:
            if out.get(name) == wish.member:
                del out[name]
        elif not wish.joining or wish.member.incarnation < old.least_incarnation(name):
            continue  # it is a member, or was one once, or a later life of its process is
        elif name not in members and (name not in out or out[name].incarnation < wish.member.incarnation):
            out[name] = wish.member
    return list(out.values())[: EVERYONE_MAX - len(members)]


def _wish(member: Member, grounds: Grounds) -> Wish | None:
    wish = grounds.wishes.get(member.name)
    promise = grounds.promises.get(member.name)
    for candidate in (promise.wish if promise else None, wish):
        if candidate is not None and candidate.member == member:
            return candidate
    return None
