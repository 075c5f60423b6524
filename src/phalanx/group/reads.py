"""Linearizable reads that log nothing, and read leases (DESIGN section 9; theory after Gray and Cheriton 1989 for leases,
and Ongaro 2014, section 6.4 for the question to a quorum).

A barrier notes what has been received of its group, and is reached once that is delivered here and a quorum of the view
was not frozen after the barrier began: an acknowledged write was received by every full host before it was acknowledged,
so it is among what was noted; and no later view can have acknowledged one, or the quorum would have been frozen.
The question is a row that asks for an echo, one for all barriers of a turn.

With a lease no echo is needed, and nothing is asked unless what was noted is still to be delivered: hearing a member's
row is a grant not to accept a view without it for `lease`.
"""

from collections.abc import Callable
from typing import NamedTuple

from phalanx.group.core import Core
from phalanx.group.messages import Decision
from phalanx.group.multicast import Multicasting
from phalanx.model.clock import MILLISECOND
from phalanx.model.events import Barrier, BarrierFailed, BarrierReached
from phalanx.model.view import GroupId, Name, View
from phalanx.parts.quorum import is_quorum

DRIFT = 20
"""The holder counts on a lease shorter by this fraction: the bound on how much the rates of two clocks differ (5 %)."""


def lease_in(view: View) -> int:
    """The length of leases in a view: the longest that one of its groups asks for.  Nanoseconds; 0: none does."""
    return max((g.spec.lease_ms for g in view.groups), default=0) * MILLISECOND


class _Waiting(NamedTuple):
    group: GroupId
    token: int
    row: int
    """Our row whose echo counts."""
    noted: tuple[int, ...]


class Reads:
    """The part of a node that answers barriers and grants read leases."""

    def __init__(self, core: Core, multicasting: Multicasting, is_leaving: Callable[[], bool]) -> None:
        """`is_leaving`: this node has asked to leave, or to stop hosting a group: its leases may be void at any time."""
        self.core = core
        self._is_leaving = is_leaving
        self._rows = multicasting
        self._waiting: list[_Waiting] = []
        self._lease = 0
        """How long a lease is in this view, in nanoseconds."""
        self._granted: dict[Name, int] = {}
        """Until when a member's read lease, granted by us, may last."""

    # --- barriers

    def on_barrier(self, request: Barrier) -> None:
        core = self.core
        channel = core.channels.get(request.group)
        if core.excluded or channel is None or channel.me < 0:
            core.out.deliveries.append(BarrierFailed(request.group, request.token))
            return
        noted = tuple(channel.matrix.received)
        if channel.group.spec.lease_ms == 0 or not self._holds_lease() or noted != tuple(channel.held.delivered):
            core.row_asks = True  # with a lease as well: what is noted waits for rows, which come at once to who asks
        self._waiting.append(_Waiting(request.group, request.token, core.row_number + 1, noted))

    def reach(self) -> None:
        """Barriers whose question is answered and whose noted batches are delivered.  Only while active."""
        core = self.core
        if not self._waiting:
            return
        leased = self._holds_lease()
        still = []
        for w in self._waiting:
            channel = core.channels[w.group]
            delivered = all(have >= need for have, need in zip(channel.held.delivered, w.noted, strict=True))
            if delivered and ((leased and channel.group.spec.lease_ms > 0) or self._echoed(w.row)):
                core.out.deliveries.append(BarrierReached(w.group, w.token))
            else:
                still.append(w)
        self._waiting = still

    def _echoed(self, number: int) -> bool:
        """A quorum was not frozen when it heard that row of ours."""
        core = self.core
        view = core.view
        assert view is not None
        if core.row_number < number:
            return False
        place = core.roster.places[core.name]
        names = {name for name, row in core.rows.items() if row.echo[place] >= number}
        return is_quorum(view, names | {core.name})

    def end_view(self, value: Decision | None) -> None:
        """The view ends, and its cut is delivered.  A host asks again in the new one: that view may already have been
        succeeded by one without us, so its installation alone proves nothing (ARCHITECTURE, decision 5)."""
        core = self.core
        again, self._waiting = self._waiting, []
        for w in again:
            group = value.view.group(w.group) if value is not None else None
            if group is not None and core.name in group.hosts:
                self._waiting.append(_Waiting(w.group, w.token, 1, (0,) * len(group.hosts)))
                core.row_asks = True
            else:
                core.out.deliveries.append(BarrierFailed(w.group, w.token))
        self._granted.clear()

    def begin(self, view: View) -> None:
        """A view began here."""
        self._lease = lease_in(view)

    # --- leases

    def on_row(self, sender: Name) -> None:
        """Hearing a row grants its sender a lease, unless we have promised (counter-example 8)."""
        if self._lease and self.core.active and self.core.roster.rank(sender) >= 0:
            self._granted[sender] = self.core.now.mono + self._lease

    def _holds_lease(self) -> bool:
        """A quorum has heard a row of ours that we *sent* less than a lease ago."""
        core = self.core
        view, lease = core.view, self._lease
        if not lease or view is None or not core.active or self._is_leaving():
            return False
        place = core.roster.places[core.name]
        grantors = {core.name}
        for name, row in core.rows.items():
            sent = self._rows.shown_at(row.echo[place])
            if sent is not None and core.now.mono < sent + lease - lease // DRIFT:
                grantors.add(name)
        return is_quorum(view, grantors)

    def may_accept_at(self, value: Decision) -> int:
        """When we may accept a view in which some members are not full members any more.  An explicit leave voids the
        grant; a restarted process does not know what it granted, and waits a whole lease."""
        core = self.core
        view = core.view
        assert view is not None
        lease = lease_in(view)
        if not lease:
            return 0
        if not core.live:
            return core.started + lease
        kept = {m.name for m in value.view.members} | set(value.left)
        for group in view.groups:
            successor = value.view.group(group.id)
            if group.spec.lease_ms and successor is not None:
                kept -= set(group.hosts) - set(successor.hosts) - set(value.left)
        return max((until for name, until in self._granted.items() if name not in kept), default=0)
