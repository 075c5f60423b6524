"""What becomes of each group in the next view: its cut, its hosts, its learners (DESIGN sections 4, 6 and 8)."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from phalanx.group.messages import Cut, Progress, Promise, Wish
from phalanx.model.view import Group, GroupId, GroupSpec, Member, Name, View
from phalanx.parts.room import stepping_back


class Regrouping(NamedTuple):
    """One group, from the view that it was active in to the new one."""

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
    short: Collection[Name] = ()
    """Nodes whose disks have too little room."""


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
    stays until that is done; if nobody is, the group is given up (a durable one only if all of its hosts want to, even
    those that are gone).  `gone`: members that do not count any more."""
    going = set(unhosts) & set(group.everyone)
    remaining = [n for n in group.hosts if n not in gone]
    others = set(group.everyone) if group.spec.durable else set(group.learners) - set(gone)
    if remaining and set(remaining) <= going and others - going:
        going.discard(remaining[0])
    return going


def unhosters(group: Group, wishes: Mapping[Name, Wish]) -> set[Name]:
    """Those that want to stop hosting it."""
    return {n for n, w in wishes.items() if group.spec.name in w.unhosts}


def continue_group(group: Group, census: Census) -> Regrouping | None:
    """The group in the next view; None if it ends: no full host is left that lives and has its state."""
    progress = {n: p for n, p in _progress(group, census.old.id, census.promises).items() if census.promises[n].live}
    full = {m.name for m in census.members}
    answered = [n for n in group.hosts if n in progress]
    stay = [n for n in answered if n in census.givers]
    if not any(n in full for n in stay):
        return revive(group, census.old.id, census) if group.spec.durable else None
    if group.spec.is_uniform:  # nobody can have delivered more than each of them has received
        upto = tuple(map(min, zip(*(progress[n].received for n in answered), strict=True)))
    else:  # whoever goes on may have delivered all that it has received
        upto = tuple(map(max, zip(*(progress[n].received for n in stay), strict=True)))
    holders = tuple(_holder(answered, progress, author, number) for author, number in enumerate(upto))
    fit = full - set(census.short) if group.spec.durable else full
    ready = [n for n in group.learners if n in fit and n in progress and _is_ready(progress, n, upto, holders, group)]
    hosts = {n for n in (*stay, *ready) if n in full}
    here = {m.name for m in census.everyone}
    hosts -= stepping_back(group.spec, hosts, len(here & set(group.everyone)), census.short)
    lacking = [n for n in (*stay, *ready) if n in hosts and not _covers(progress[n].received, upto)]
    absent = {n for n in group.hosts if n not in hosts} | {n for n in group.learners if n not in here}
    gone = may_unhost(group, unhosters(group, census.wishes), absent)
    hosts -= gone
    if not hosts:
        return None
    successor = Group(group.id, group.spec, *_seats(group, census, hosts, gone))
    return Regrouping(successor, Cut(group.id, upto), lacking, holders)


def revive(group: Group, view: int, census: Census) -> Regrouping | None:
    """A durable group none of whose full hosts lives: it goes on from the logs of those that answered, if they are full
    members of the next view and there are enough of them.  None: it is, or stays, suspended.

    What was delivered anywhere is in the log of every last full host, so all that any of them holds may be kept: the cut
    is the maximum, fetched first (DESIGN section 6)."""
    progress = {n: p for n, p in _progress(group, view, census.promises).items() if n in group.hosts and p.synced}
    if not progress or not is_enough(group, {n: p.whole for n, p in progress.items()}):
        return None
    answered = [n for n in group.hosts if n in progress]
    upto = tuple(map(max, zip(*(progress[n].received for n in answered), strict=True)))
    holders = tuple(_holder(answered, progress, author, number) for author, number in enumerate(upto))
    full = {m.name for m in census.members}
    hosts = {n for n in answered if n in full and _can_get(progress, n, upto, holders)}
    if not hosts:
        return None
    lacking = [n for n in answered if n in hosts and not _covers(progress[n].received, upto)]
    learners = {n for n, w in census.wishes.items() if group.spec in w.hosts and n not in hosts}
    names = [m.name for m in census.everyone]
    places = tuple(n for n in names if n in hosts), tuple(n for n in names if n in learners)
    cut = Cut(group.id, upto, 0 if view == census.old.id else view)
    return Regrouping(Group(group.id, group.spec, *places), cut, lacking, holders)


def is_enough(group: Group, logs: Mapping[Name, bool]) -> bool:
    """A suspended group may go on from these logs of its last full hosts; the value says whether the log is whole.  One
    that is whole suffices.  Of those whose end was cut off it takes more than half of all: no more than a minority of
    disks rots, so the end of one of these was torn and never acknowledged.  With fewer hosts than `min_copies` nothing
    was sent in the last view, so of such a group any log that reaches that view has everything."""
    names = [n for n in group.hosts if n in logs]
    if names and len(group.hosts) < group.spec.min_copies:
        return True
    return any(logs[n] for n in names) or 2 * len(names) > len(group.hosts)


def is_given_up(group: Group, census: Census) -> bool:
    """All who were in the group want it no more."""
    return set(group.everyone) <= unhosters(group, census.wishes)


def _progress(group: Group, view: int, promises: Mapping[Name, Promise]) -> dict[Name, Progress]:
    """What its hosts and learners reported of that view; those that lost their state with a restart report nothing
    (19)."""
    found = {}
    for name in group.everyone:
        promise = promises.get(name)
        rows = [row for row in promise.progress if (row.group, row.view) == (group.id, view)] if promise else []
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
    return _can_get(progress, name, upto, holders)


def _can_get(progress: Mapping[Name, Progress], name: Name, upto: Sequence[int], holders: Sequence[Name]) -> bool:
    """What it lacks of the cut is kept by somebody."""
    return all(
        have >= need or progress[holder].released[author] <= have
        for author, (have, need, holder) in enumerate(zip(progress[name].received, upto, holders, strict=True))
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
