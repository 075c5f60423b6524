"""What becomes of each group in the next view: its cut, its hosts, its learners (DESIGN sections 4, 6 and 8)."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from phalanx.group.messages import Cut, Progress, Promise, Wish
from phalanx.model.view import Group, GroupId, GroupSpec, Member, Name, View


class Regrouping(NamedTuple):
    """One group, from the old view to the new."""

    group: Group
    cut: Cut
    lacking: list[Name]
    """Hosts of the new view that do not hold all of the cut yet."""
    holders: tuple[Name, ...]
    """For each host of the old view, one that keeps what the lacking lack of its batches."""


class Census(NamedTuple):
    """Who is in the next view, and what they want."""

    old: View
    promises: Mapping[Name, Promise]
    members: Sequence[Member]
    everyone: Sequence[Member]
    givers: Collection[Name]
    """Full members that go on, or leave politely: the batches that they hold belong to the cut of a group that is not
    uniform."""
    wishes: Mapping[Name, Wish]


def may_leave(
    view: View, leavers: Collection[Name], lost: Mapping[GroupId, Collection[Name]] | None = None
) -> set[Name]:
    """Who of those that want to leave may do so in one step: not all full members, and of no group that somebody is
    still learning all hosts.  The eldest concerned stay until others can take over.  `lost`: hosts of a group that do not
    count, for they are gone or stop hosting it."""
    going = set(leavers)
    names = [m.name for m in view.members]
    if set(names) <= going:
        going.discard(names[0])
    for group in view.groups:
        remaining = [n for n in group.hosts if n not in (lost or {}).get(group.id, ())]
        if remaining and set(remaining) <= going and set(group.learners) - going:
            going.discard(remaining[0])
    return going


def may_unhost(group: Group, unhosts: Collection[Name], gone: Collection[Name] = ()) -> set[Name]:
    """Who may stop hosting the group in one step.  If all its hosts want to, and somebody is learning it, the eldest
    stays until that is done; if nobody is, the group is given up.  `gone`: members that do not count any more."""
    going = set(unhosts) & set(group.everyone)
    remaining = [n for n in group.hosts if n not in gone]
    if remaining and set(remaining) <= going and set(group.learners) - going - set(gone):
        going.discard(remaining[0])
    return going


def unhosters(group: Group, wishes: Mapping[Name, Wish]) -> set[Name]:
    """Those that want to stop hosting it."""
    return {n for n, w in wishes.items() if group.spec.name in w.unhosts}


def continue_group(group: Group, census: Census) -> Regrouping | None:
    """The group in the next view; None if it ends: no full host is left that has its state."""
    progress = _progress(group, census.promises)
    full = {m.name for m in census.members}
    answered = [n for n in group.hosts if n in progress]
    stay = [n for n in answered if n in census.givers]
    if not any(n in full for n in stay):
        return None
    if group.spec.is_uniform:  # nobody can have delivered more than each of them has received
        upto = tuple(map(min, zip(*(progress[n].received for n in answered), strict=True)))
    else:  # whoever goes on may have delivered all that it has received
        upto = tuple(map(max, zip(*(progress[n].received for n in stay), strict=True)))
    holders = tuple(_holder(answered, progress, author, number) for author, number in enumerate(upto))
    ready = [n for n in group.learners if n in full and n in progress and _is_ready(progress, n, upto, holders, group)]
    hosts = {n for n in (*stay, *ready) if n in full}
    lacking = [n for n in (*stay, *ready) if n in hosts and not _covers(progress[n].received, upto)]
    here = {m.name for m in census.everyone}
    absent = {n for n in group.hosts if n not in hosts} | {n for n in group.learners if n not in here}
    gone = may_unhost(group, unhosters(group, census.wishes), absent)
    hosts -= gone
    if not hosts:
        return None
    successor = Group(group.id, group.spec, *_seats(group, census, hosts, gone))
    return Regrouping(successor, Cut(group.id, upto), lacking, holders)


def _progress(group: Group, promises: Mapping[Name, Promise]) -> dict[Name, Progress]:
    """What its hosts and learners reported; those that lost their state with a restart report nothing (19)."""
    found = {}
    for name in group.everyone:
        promise = promises.get(name)
        if promise is not None and promise.live:
            rows = [row for row in promise.progress if row.group == group.id]
            if rows:
                found[name] = rows[0]
    return found


def _covers(received: Sequence[int], upto: Sequence[int]) -> bool:
    return all(have >= need for have, need in zip(received, upto, strict=True))


def _holder(answered: Sequence[Name], progress: Mapping[Name, Progress], author: int, number: int) -> Name:
    """Of those that have the author's batches up to that number, the one that keeps the most of them."""
    able = [n for n in answered if progress[n].received[author] >= number]
    return min(able, key=lambda n: progress[n].released[author])


def _is_ready(
    progress: Mapping[Name, Progress], name: Name, upto: Sequence[int], holders: Sequence[Name], group: Group
) -> bool:
    """A learner can become a host: it holds the state, can still get what it lacks of the cut, and, where delivery is on
    receipt, has nothing that the cut leaves out."""
    mine = progress[name]
    if not mine.synced:
        return False
    if not group.spec.is_uniform and not _covers(upto, mine.received):
        return False
    return all(
        have >= need or progress[holder].released[author] <= have
        for author, (have, need, holder) in enumerate(zip(mine.received, upto, holders, strict=True))
    )


def _seats(
    group: Group, census: Census, hosts: Collection[Name], gone: Collection[Name]
) -> tuple[tuple[Name, ...], tuple[Name, ...]]:
    """Hosts and learners in the new view's order.  Who was in the group stays as a learner; a restarted process only if
    it wishes to."""
    before = set(census.old.everyone)
    same = {m.name for m in census.everyone if m in before}
    learners = {n for n in group.everyone if n in same} - set(hosts) - set(gone)
    learners |= {n for n, w in census.wishes.items() if group.spec in w.hosts and n not in hosts}
    names = [m.name for m in census.everyone]
    return tuple(n for n in names if n in hosts), tuple(n for n in names if n in learners)


def found_groups(view: int, existing: Sequence[Group], census: Census) -> list[Group]:
    """Groups that are wanted and do not exist: founded by the full members that want them."""
    taken = {g.spec.name for g in existing}
    wishes = census.wishes
    wanted: dict[str, GroupSpec] = {}
    for m in census.members:
        for spec in wishes[m.name].hosts if m.name in wishes else ():
            if spec.name not in taken:
                wanted.setdefault(spec.name, spec)
    out = []
    for count, name in enumerate(sorted(wanted)):
        spec = wanted[name]
        interested = [m.name for m in census.everyone if m.name in wishes and spec in wishes[m.name].hosts]
        full = {m.name for m in census.members}
        hosts = tuple(n for n in interested if n in full)
        out.append(Group(view << 16 | count, spec, hosts, tuple(n for n in interested if n not in full)))
    return out
