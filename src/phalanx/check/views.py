"""Properties of the membership: who may install which view after which.

Sources: Chockler, Keidar, Vitenberg, "Group communication specifications: a comprehensive study", ACM Computing Surveys
33(4), 2001 (CKV below); Jajodia and Mutchler, "Dynamic voting algorithms", ACM TODS 15(2), 1990; DESIGN section 4.
"""

from collections.abc import Collection, Iterator
from itertools import pairwise

from phalanx.check.observed import Observed, Violation
from phalanx.model.view import Group, GroupId, Member, Name, View


def self_inclusion(run: Observed) -> Iterator[Violation]:
    """If p installs V then p is a full member or learner of V, in just this incarnation (CKV, Self Inclusion)."""
    for installation in run.installations:
        process, view = installation.process, installation.view
        if process not in view.everyone:
            text = f"{process} installed view {view.id}, which lists {_names(view.everyone)}"
            yield Violation("self_inclusion", text, (installation.position,))


def local_monotony(run: Observed) -> Iterator[Violation]:
    """If p installs V' after V then id(V') > id(V), both are of one cluster, and nobody installs the pseudo-view 0
    (CKV, Local Monotonicity; DESIGN section 4)."""
    for installation in run.installations:
        process, view, former = installation.process, installation.view, installation.previous
        if view.id < 1:
            yield Violation("local_monotony", f"{process} installed pseudo-view {view.id}", (installation.position,))
        if former is None:
            continue
        where = (former.position, installation.position)
        if view.cluster != former.view.cluster:
            text = f"{process} went from cluster {former.view.cluster} to {view.cluster}"
            yield Violation("local_monotony", text, where)
        elif view.id <= former.view.id:
            yield Violation("local_monotony", f"{process} installed view {view.id} after {former.view.id}", where)


def view_agreement(run: Observed) -> Iterator[Violation]:
    """If p installs V and q installs V' with id(V) = id(V') then V = V': a view has one successor (CKV, Primary
    Component Membership; DESIGN section 6)."""
    for installation in run.installations:
        first = run.views[installation.view.id]
        if installation.view is not first.view and installation.view != first.view:
            text = (
                f"{first.process} and {installation.process} installed different views {first.view.id}: "
                f"{first.view} and {installation.view}"
            )
            yield Violation("view_agreement", text, (first.position, installation.position))


def well_formed_views(run: Observed) -> Iterator[Violation]:
    """Every view V names each node once; a name stands for one group; the hosts of a group are full members of V, in
    V's order of seniority, its learners are of V too, and nobody is both (model/view; DESIGN section 4)."""
    for view in run.ordered_views:
        where = (run.views[view.id].position,)
        names = [member.name for member in view.everyone]
        if len(set(names)) < len(names):
            text = f"view {view.id} has two incarnations of a node: {_names(view.everyone)}"
            yield Violation("well_formed_views", text, where)
        groups = [group.spec.name for group in view.groups]
        ids = {group.id for group in view.groups}
        if len(set(groups)) < len(groups) or len(ids) < len(groups):
            yield Violation("well_formed_views", f"view {view.id} has two groups of one name or id: {groups}", where)
        for group in view.groups:
            flaw = _flaw(view, group)
            if flaw:
                yield Violation("well_formed_views", f"group {group.spec.name} of view {view.id}: {flaw}", where)


def _flaw(view: View, group: Group) -> str:
    full = [member.name for member in view.members]
    ranks = [full.index(name) for name in group.hosts if name in full]
    if len(ranks) < len(group.hosts):
        return f"hosts {group.hosts} are not all full members {full}"
    if any(a >= b for a, b in pairwise(ranks)):
        return f"hosts {group.hosts} are not in the order of seniority {full}"
    if any(view.named(name) is None for name in group.learners):
        return f"learners {group.learners} are not all in the view"
    if len(set(group.everyone)) < len(group.everyone):
        return f"{group.everyone} names a host twice"
    return ""


def primary_chain(run: Observed, leavers: Collection[Name] | None = None) -> Iterator[Violation]:
    """Some full member of V is a full member of V's direct successor, by name: a restarted node votes for its former
    incarnation (CKV, Primary Component Membership; DESIGN sections 6 and 8).

    Stronger where `leavers`, the nodes that were ever asked to leave, are known: the full members of V that are in the
    successor (full or as learners), with the leavers, are a quorum of V: more than half, or half with rank 0.
    """
    for old, new in _successions(run):
        where = (run.views[old.id].position, run.views[new.id].position)
        names = [member.name for member in old.members]
        if not any(new.rank(name) >= 0 for name in names):
            text = f"no full member of view {old.id} ({_names(old.members)}) is one of view {new.id}"
            yield Violation("primary_chain", f"{text} ({_names(new.members)})", where)
        elif leavers is not None:
            kept = [name for name in names if new.named(name) is not None or name in leavers]
            half = 2 * len(kept) == len(names) and names[0] in kept
            if 2 * len(kept) <= len(names) and not half:
                text = f"view {new.id} ({_names(new.everyone)}) holds no quorum of view {old.id}"
                yield Violation("primary_chain", f"{text} ({_names(old.members)})", where)


def removal_is_final(run: Observed) -> Iterator[Violation]:
    """A member of V that is not in V' > V is in no view after V' (DESIGN section 4: a removed member never returns
    under the same incarnation)."""
    removed: dict[Member, int] = {}
    present: set[Member] = set()
    for view in run.ordered_views:
        everyone = set(view.everyone)
        removed.update(dict.fromkeys(present - everyone, view.id))
        for member in sorted(everyone & removed.keys()):
            text = f"{member} is in view {view.id}, though view {removed.pop(member)} had removed it"
            yield Violation("removal_is_final", text, (run.views[view.id].position,))
        present = everyone


def seniority(run: Observed) -> Iterator[Violation]:
    """The full members of V that are full members of its direct successor keep their order and come before those that
    are promoted; by name, since after total failure new incarnations return in the old seniority (DESIGN sections 4,
    8)."""
    for old, new in _successions(run):
        before = [member.name for member in old.members]
        after = [member.name for member in new.members]
        expected = [name for name in before if name in after]
        if after[: len(expected)] != expected:
            text = f"view {old.id} has the order {before}, view {new.id} {after}"
            yield Violation("seniority", text, (run.views[old.id].position, run.views[new.id].position))


def group_identity(run: Observed) -> Iterator[Violation]:
    """The id of a group stands for one specification, and a group that has left the views never returns: a new one of
    its name has another id (DESIGN section 8)."""
    gone: dict[GroupId, int] = {}
    present: set[GroupId] = set()
    for view in run.ordered_views:
        where = (run.views[view.id].position,)
        ids = {group.id for group in (*view.groups, *(s.group for s in view.suspended))}
        gone.update(dict.fromkeys(present - ids, view.id))
        for group in view.groups:
            if group.id in gone:
                text = f"group {group.id} is in view {view.id}, though it was gone in view {gone.pop(group.id)}"
                yield Violation("group_identity", text, where)
            if group.spec != run.specs[group.id]:
                text = f"group {group.id} of view {view.id} is {group.spec}, but it was {run.specs[group.id]}"
                yield Violation("group_identity", text, where)
        present = ids


def _successions(run: Observed) -> Iterator[tuple[View, View]]:
    """The pairs of a view and its direct successor, where both were installed by somebody."""
    for old, new in pairwise(run.ordered_views):
        if new.id == old.id + 1:
            yield old, new


def _names(members: Collection[Member]) -> str:
    return ", ".join(map(str, members)) or "nobody"
