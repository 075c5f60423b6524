"""A new lineage of a cluster, founded by an operator who accepts loss (DESIGN section 8).

When too few nodes of the last view can ever return, nobody may go on: what they acknowledged together may be unknown
here.  An operator can decide that what one node's log holds is the group from now on.  That decision is of the same kind
as any other, made by force: it ends the last view of each group with a cut, which is all that this log holds of it, and
begins a view of a *new cluster* with this node as its only member.  From there everything takes its usual way.

The new cluster remembers which clusters it comes from (`View.lineage`).  A process of one of these that speaks to it is
told (`Superseded`), writes that down and stops: its view must not decide anything any more.  Its data stay as they are.
Members of the last view that turn up later speak to this node at once, for it is a member of that view, too.  Those that
have gone on without it have no reason to: no protocol stops a majority that is alive when its operator says it is not.

What the log holds and what was delivered may differ at both ends: something may be missing, and what it holds of its last
view may have been delivered to nobody.  Groups are told where that is (`Rescued`), after all that the log holds, so that
nothing is taken for what others saw.  Fencing tokens go on from the new view's *fence* (`View.fence`), which is above all
that can have been given out: those are made of clocks, so it is a day beyond the operator's clock, the log's, and the
last fence; one day more with each recovery, for tokens of the last cluster run ahead of its clock by as much.  Groups in
memory, which can be lost and founded again under their name, begin further on with each founding (`fence_at`).

The ids of views jump, so no view, group or suffix of the new lineage can be taken for one that others may have decided in
the old one after this node had lost sight of it.
"""

from typing import NamedTuple

import msgspec

from phalanx.errors import ConfigurationError
from phalanx.group.config import Limits
from phalanx.group.ledger import Ledger
from phalanx.group.messages import Cut, Decision, Turned, Votes
from phalanx.group.recovered import Recovered
from phalanx.model.clock import COUNTER_BITS, Stamp, wall_ms
from phalanx.model.machine import Journal
from phalanx.model.view import DEPARTED_MAX, LINEAGE_MAX, Group, Member, Name, View

VIEWS_AHEAD = 1 << 20
"""More views than the others can have decided since: one each second for twelve days."""

FENCE_AHEAD: Stamp = 86_400_000 << COUNTER_BITS
"""A day: the clocks of those who are gone were less ahead of the operator's.  (Where many groups' tokens run ahead of the
clock since an earlier recovery, it is also more commands than there can have been.)"""

CLOCK_BEHIND: Stamp = 60_000 << COUNTER_BITS
"""So far the operator's clock may be behind what the log has reserved, which is some seconds ahead of what was shown."""


class Kept(NamedTuple):
    """A durable group that the log holds the end of, as far as this node knows."""

    group: Group
    """As it was in its last view here."""
    view: int
    received: tuple[int, ...]
    """Of each host's batches in that view, up to which they are here: all of this is kept."""
    whole: bool
    """False: something at the end of this log was cut off, and may have been received."""


class Rescue(NamedTuple):
    """What a recovery would do, and what it cannot know."""

    view: View
    """The last view that this node knows of."""
    kept: tuple[Kept, ...]
    lost: tuple[Group, ...]
    """Groups of that view of which this log does not hold the end: they begin anew."""
    missing: tuple[Member, ...]
    """Members of that view besides this node: what they had received or decided without it is given up."""
    went_on: bool
    """A later view was decided without this node: everything since then is given up."""
    votes: Votes
    record: Turned | None
    """To be written to the log before the votes; None: an interrupted recovery has written it."""


def rescue(name: Name, votes: Votes, journal: Journal, cluster: int, now: Stamp) -> Rescue:
    """How the node of that name, with these votes and this log, goes on alone as a new cluster with that id.  `now`: by
    the operator's clock.

    Raises ConfigurationError if it was in no view, or under another name, or if the clock is behind the log.
    """
    if votes.name not in ("", name):
        raise ConfigurationError(f"this is the data of node {votes.name}, and not of {name}")
    ledger = Ledger(name, Limits(), journal, votes.first)
    begun = ledger.decision
    if begun is not None and votes.cluster in begun.view.lineage and begun.view.named(name) is not None:
        votes = _votes(votes, begun)
        return Rescue(begun.view, (), (), (), False, votes, None)
    view = votes.view
    if begun is not None and begun.view.cluster == votes.cluster and (view is None or view.id < begun.view.id):
        view = begun.view
    if view is None or view.id == 0:
        raise ConfigurationError(f"{name} was never in a view of a cluster: there is nothing to recover")
    me = view.named(name)
    if me is None:
        names = ", ".join(m.name for m in view.everyone)
        raise ConfigurationError(f"no member of the last view is named {name}; this is the data of one of {names}")
    held = {g: recovered for g, recovered in ledger.groups.items() if recovered.seat.synced}
    known = (*view.groups, *(suspended.group for suspended in view.suspended))
    kept = tuple(_kept(recovered) for _, recovered in sorted(held.items()))
    lost = tuple(group for group in known if group.id not in held)
    went_on = votes.decided is not None and votes.decided.view.id > view.id
    clock = max(ledger.ceiling, votes.made_by.clock if votes.made_by is not None else 0)
    if now + CLOCK_BEHIND < clock:
        behind = (wall_ms(clock) - wall_ms(now)) // 1_000
        raise ConfigurationError(
            f"the clock of this machine is {behind} s behind what the log of {name} has seen: set it first, for what has "
            "been given out since by others is told by clocks (if it is right already, for the groups' time was ahead, "
            "set it beyond that while this command runs)"
        )
    newest = max(view.id, votes.decided.view.id if votes.decided is not None else 0)
    survivor = Member(name, me.address, max(votes.incarnation, me.incarnation))
    missing = tuple(m for m in view.everyone if m.name != name)
    lineage = (*view.lineage, view.cluster)[-LINEAGE_MAX:]
    departed = (d for d in view.departed if view.named(d[0]) is None)
    successor = View(
        cluster,
        newest + VIEWS_AHEAD,
        (survivor,),
        groups=tuple(Group(k.group.id, k.group.spec, (name,)) for k in kept),
        departed=(*departed, *((m.name, m.incarnation) for m in missing))[-DEPARTED_MAX:],
        lineage=lineage,
        fence=max(view.fence + FENCE_AHEAD, max(clock, now) + len(lineage) * FENCE_AHEAD),
    )
    cuts = tuple(Cut(k.group.id, k.received, k.view) for k in kept)
    decision = Decision(successor.id - 1, successor, cuts, clock)
    return Rescue(view, kept, lost, missing, went_on, _votes(votes, decision), Turned(decision))


def fence_at(view: View, clock: Stamp) -> Stamp:
    """The fence for a group in memory that is founded in that view, when the clock was there: by as much later as it is
    than the recovery, for a group of that name may have been founded since, and lost with all its hosts."""
    recovered_at = view.fence - len(view.lineage) * FENCE_AHEAD
    return view.fence + max(0, clock - recovered_at) if view.lineage else view.fence


def _kept(recovered: Recovered) -> Kept:
    return Kept(recovered.group, recovered.view, tuple(recovered.channel.matrix.received), recovered.whole)


def _votes(votes: Votes, decision: Decision) -> Votes:
    view = decision.view
    return msgspec.structs.replace(
        votes,
        cluster=view.cluster,
        view=view,
        promised=None,
        accepted=None,
        made_by=decision,
        decided=None,
        superseded=0,
    )
