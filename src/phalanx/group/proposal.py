"""What the next view shall be: a pure function of the promises (DESIGN section 6, step 3).

Voters are the processes that speak for the old view's full members.  A voter that is *live* is that member itself; one
that restarted has lost its state: it votes, and is listed under its new incarnation.  Only if no live member answered
(total failure, or the birth of a cluster out of view 0) do restarted ones become full members at once; otherwise they are
learners, since they would outvote the one that has the state (counter-example 5).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from phalanx.group.messages import Cut, Decision, Progress, Promise, Wish
from phalanx.model.view import DEPARTED_MAX, Group, GroupSpec, Member, Name, View
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
    cuts: list[Cut] = []
    groups: list[Group] = []
    needs: dict[Name, tuple[Cut, ...]] = {}
    holders: dict[int, tuple[Name, ...]] = {}
    givers = kept | {n for n in promises if _leaves(n, grounds)}
    for group in old.groups:
        step = _continue_group(group, promises, members, everyone, givers, wishes)
        if step is None:
            continue
        successor, cut, lacking, held_by = step
        groups.append(successor)
        cuts.append(cut)
        holders[group.id] = held_by
        for name in lacking:
            needs[name] = (*needs.get(name, ()), cut)
    groups += _new_groups(old.id + 1, groups, members, everyone, wishes)
    departed = _departed(old, everyone)
    view = View(grounds.cluster, old.id + 1, tuple(members), tuple(learners), tuple(groups), departed)
    clock = max(p.clock for p in promises.values())
    left = tuple(n for n, w in sorted(grounds.wishes.items()) if w.leave and w.member not in everyone)
    return Plan(Decision(old.id, view, tuple(cuts), clock, left), needs, holders)


def _departed(old: View, everyone: Sequence[Member]) -> tuple[tuple[Name, int], ...]:
    """What `old` remembers, and those that it has and its successor has not."""
    out = {m.name: m.incarnation for m in old.everyone if m not in everyone and old.id > 0}
    known = {name: at for name, at in old.departed if name not in out}
    return tuple((known | out).items())[-DEPARTED_MAX:]


def _leaves(name: Name, grounds: Grounds) -> bool:
    wish = grounds.wishes.get(name)
    return wish is not None and wish.leave and wish.member == grounds.promises[name].wish.member


def _full_members(old: View, grounds: Grounds) -> list[Member]:
    """The largest set of those that answered who can all talk, elders preferred; () if there is no quorum."""
    promises = grounds.promises
    answered = [m.name for m in old.members if m.name in promises]
    if not is_quorum(old, answered):
        return []
    live = [n for n in answered if promises[n].live]
    live = [n for n in live if not _leaves(n, grounds)] or live  # the last stay until a learner can take over
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
        if p is None or m.name not in grounds.promote or not p.live or p.wish.member != m or _leaves(m.name, grounds):
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
        elif (
            old.named(name) != wish.member
            and name not in members
            and (name not in out or out[name].incarnation < wish.member.incarnation)
        ):
            out[name] = wish.member
    return list(out.values())


def _wish(member: Member, grounds: Grounds) -> Wish | None:
    wish = grounds.wishes.get(member.name)
    promise = grounds.promises.get(member.name)
    for candidate in (promise.wish if promise else None, wish):
        if candidate is not None and candidate.member == member:
            return candidate
    return None


def _continue_group(
    group: Group,
    promises: Mapping[Name, Promise],
    members: Sequence[Member],
    everyone: Sequence[Member],
    givers: Collection[Name],
    wishes: Mapping[Name, Wish],
) -> tuple[Group, Cut, list[Name], tuple[Name, ...]] | None:
    """The group in the next view, its cut, who lacks part of the cut, and who holds each part; None if it is lost.
    `givers`: those whose batches belong to the cut of a group that is not uniform: they go on, or leave politely."""
    progress = {
        name: row
        for name in group.everyone
        if name in promises and promises[name].live and (row := _progress(promises[name], group)) is not None
    }
    answered = [name for name in group.hosts if name in progress]
    stay = [name for name in answered if name in givers]
    full = {m.name for m in members}
    if not any(name in full for name in stay):
        return None
    ready = [n for n in group.learners if n in full and n in progress and progress[n].synced]
    if group.spec.is_uniform:  # nobody can have delivered more than each of them has received
        upto = tuple(map(min, zip(*(progress[n].received for n in answered), strict=True)))
    else:  # whoever goes on as a host, promoted learners too, may have delivered all that it has received
        upto = tuple(map(max, zip(*(progress[n].received for n in (*stay, *ready)), strict=True)))
    hosts = {n for n in (*stay, *ready) if n in full}
    lacking = [
        n for n in (*stay, *ready) if n in hosts and any(a < b for a, b in zip(progress[n].received, upto, strict=True))
    ]
    holders = tuple(
        next(n for n in (*answered, *ready) if progress[n].received[author] >= number)
        for author, number in enumerate(upto)
    )
    hosts = {n for n in hosts if not _unhosts(n, group, wishes)} or hosts
    here = {m.name for m in everyone}
    learners = {n for n in group.everyone if n in here and n not in hosts and not _unhosts(n, group, wishes)}
    learners |= {n for n, w in wishes.items() if group.spec in w.hosts and n not in hosts}
    names = [m.name for m in everyone]
    successor = Group(
        group.id,
        group.spec,
        tuple(n for n in names if n in hosts),
        tuple(n for n in names if n in learners),
    )
    return successor, Cut(group.id, upto), lacking, holders


def _progress(promise: Promise, group: Group) -> Progress | None:
    return next((row for row in promise.progress if row.group == group.id), None)


def _unhosts(name: Name, group: Group, wishes: Mapping[Name, Wish]) -> bool:
    return name in wishes and group.spec.name in wishes[name].unhosts


def _new_groups(
    view: int,
    existing: Sequence[Group],
    members: Sequence[Member],
    everyone: Sequence[Member],
    wishes: Mapping[Name, Wish],
) -> list[Group]:
    """Groups that are wanted and do not exist: founded by the full members that want them."""
    taken = {g.spec.name for g in existing}
    wanted: dict[str, GroupSpec] = {}
    for m in members:
        for spec in wishes[m.name].hosts if m.name in wishes else ():
            if spec.name not in taken:
                wanted.setdefault(spec.name, spec)
    out = []
    for count, spec in enumerate(wanted[name] for name in sorted(wanted)):
        hosts = tuple(m.name for m in members if m.name in wishes and spec in wishes[m.name].hosts)
        learners = tuple(m.name for m in everyone[len(members) :] if m.name in wishes and spec in wishes[m.name].hosts)
        out.append(Group(view << 16 | count, spec, hosts, learners))
    return out
