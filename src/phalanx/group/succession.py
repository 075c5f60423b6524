"""From one view to the next: what a decision does to this node (DESIGN section 6, step 5).

A member that goes on delivers the rest of the cut and installs the view.  One that is not in it tells its application and
stops.  A restarted process takes up its new membership, or goes on voting for its former incarnation in the new view, or
joins like a stranger.  Those told of a view further on can only be in it as learners, and start with a new snapshot.
"""

from phalanx.group.channel import Channel
from phalanx.group.core import REMEMBERED, Core
from phalanx.group.flush import Flush
from phalanx.group.ledger import concerns_logs, cut_of
from phalanx.group.leftout import note_left_out
from phalanx.group.lineage import fence_at
from phalanx.group.messages import Decision, Turned
from phalanx.group.reads import Reads
from phalanx.group.seat import Seat, Tag
from phalanx.model.clock import Stamp
from phalanx.model.events import Excluded, Founded, GroupLost, GroupSuspended, Installed
from phalanx.model.view import Group, Order, View


class Succession:
    """The part of a node that goes from view to view."""

    def __init__(self, core: Core, reads: Reads) -> None:
        self.core = core
        self._reads = reads

    # --- learning of a decision

    def on_commit(self, value: Decision) -> None:
        """A decision, told by somebody: of our view, or of a later one if we were left behind."""
        core = self.core
        view = core.view
        if core.excluded or core.decision is not None:
            return
        if view is None:
            listed = core.cluster in (0, value.view.cluster) and value.view.named(core.name) == core.me
            if listed or (core.cluster == value.view.cluster and self._was_promoted(value.view)):
                core.decision = value
        elif (view.id != 0 and value.view.cluster != view.cluster) or value.view.id <= view.id:
            return
        elif value.old == view.id or value.view.named(core.name) != core.me:
            core.decision = value
        elif core.me in value.view.learners:
            core.note("jump", value.view.id)
            core.decision = value

    def _was_promoted(self, view: View) -> bool:
        """Our former incarnation is a full member there, and lost power before that was on its disk.  So it has promised
        nothing in that view, and we may vote for it."""
        votes = self.core.votes
        known = votes.decided.view if votes.decided is not None else votes.view
        former = view.named(self.core.name)
        if former is None or former not in view.members or (known is not None and view.id <= known.id):
            return False  # in a view that we know to be over, it may have promised whatever it liked
        return votes.first <= former.incarnation < self.core.me.incarnation

    def on_superseded(self, by: int) -> None:
        """The cluster goes on as another, without us: this is its operator's decision, and it is for good."""
        core = self.core
        if core.excluded:
            return
        core.note("superseded", by)
        self._reads.end_view(None)
        core.excluded = True
        core.persist(superseded=by)
        core.out.deliveries.append(Excluded(None, superseded_text(core.cluster, by)))

    # --- installing it

    def goes_on(self, value: Decision) -> bool:
        """This process is in the view, and can go on in it.  A learner cannot that has lost track of messages of its
        own: it is told that it is out, so that its application learns that their outcome is unknown.  Nor can a last
        full host of a group that was suspended without it: it starts again from its log.  Nor one that has sent part of
        a large payload to a group that is suspended, and has lost the rest: the hosts would join what it sends next to
        that part.  Nor one that has delivered in a causal group what is lost.  The last two may be full members of the
        view, which learn that group: then the next life votes for this one."""
        core = self.core
        if value.view.named(core.name) != core.me:
            return False
        if core.view is None or not core.live:
            return True
        return not any(self._loses_own(core.view, value, channel) for channel in core.channels.values())

    def _loses_own(self, old: View, value: Decision, channel: Channel) -> bool:
        spec, group, seat = channel.group.spec, channel.group.id, self.core.seats[channel.group.id]
        cut, successor = cut_of(value, group) if value.old == old.id else None, value.view.group(group)
        if cut is None and value.view.suspended_group(group) is not None:
            return channel.me >= 0 or seat.is_within_payload
        if cut is None and successor is None:
            return False  # the group is lost, which is told
        upto = cut.upto if cut is not None else channel.matrix.stable_all()
        if spec.order is Order.CAUSAL and seat.synced and channel.beyond(upto):
            return True  # all that it sends from now on comes after what is lost
        if cut is None:  # it may have been suspended meanwhile, and go on without us
            lacks_place = successor is not None and self.core.name not in successor.everyone
            return not channel.is_settled or (lacks_place and bool(seat.queue))
        if spec.is_uniform or (channel.holds(upto) and not channel.beyond(upto)):
            return False
        return channel.me >= 0 and not channel.is_settled

    def install(self, value: Decision) -> None:
        """End the old view here and begin the new one, of which this process is a member."""
        core = self.core
        old, new = core.view, value.view
        if old is not None and core.live:
            self._end_groups(old, value)
        if (
            not core.live
        ):  # it comes from its disk: the quorum has said how far stamps went, and it need not reserve any
            core.clock.now = core.ledger.stamped
        core.turn_to(new)
        core.cluster, core.live = new.cluster, True
        core.decision = core.attempt = None
        core.installed_at = core.now.mono
        self._remember(value)
        core.clock.restart(value.clock)
        core.clock.watch((m.name for m in new.members), core.name)
        core.flush = Flush(new, None, None)
        core.detector.begin(new, core.now.mono)
        core.suspects = frozenset()  # judged anew: those of the old view must not accuse in the new one
        core.dead.clear()
        core.freezers.clear()
        self._log(old, value)
        core.persist(cluster=new.cluster, view=new, promised=None, accepted=None, made_by=value, decided=None)
        core.note("installed", new.id, *map(str, new.members), "|", *map(str, new.learners))
        core.out.deliveries.append(Installed(new))
        self._begin_groups(old, new, value.clock)

    def _log(self, old: View | None, value: Decision) -> None:
        """The log learns of the decision before the votes do."""
        ledger = self.core.ledger
        if ledger.kept and concerns_logs(old, value.view):
            ledger.append(self.core.out, Turned(value))
            ledger.turn(value)
            note_left_out(self.core)

    def _remember(self, value: Decision) -> None:
        past = self.core.past
        past[value.old] = value
        if len(past) > REMEMBERED:
            del past[min(past)]

    def _end_groups(self, old: View, value: Decision) -> None:
        """Deliver the rest of each cut where it is held; elsewhere the state must come anew."""
        core = self.core
        for group_id, channel in core.channels.items():
            seat = core.seats[group_id]
            cut = cut_of(value, group_id) if value.old == old.id else None
            successor = value.view.group(group_id)
            if cut is None:
                if successor is not None:
                    seat.lose_state(self._beginning(value.view, group_id))
            elif channel.holds(cut.upto) and not channel.beyond(cut.upto):
                for data in channel.rest(cut.upto):
                    sender = old.named(channel.hosts[data.author])
                    assert sender is not None
                    seat.deliver(old.id, sender, data, core.out.deliveries)
                seat.ended(old.id, cut.upto)
                seat.put_back(channel.unsent(cut.upto))
            else:
                assert successor is None or core.name not in successor.hosts, "a host holds the cut"
                core.note("resync", group_id)
                if (me := channel.me) >= 0:
                    seat.miss(channel.relay(me, channel.held.delivered[me] + 1, cut.upto[me]))
                seat.lose_state(self._beginning(value.view, group_id))
                seat.put_back(channel.unsent(cut.upto))
        self._reads.end_view(value)

    def _begin_groups(self, old: View | None, new: View, clock: Stamp) -> None:
        core = self.core
        mine = {g.id: g for g in new.groups if core.name in g.everyone}
        for group_id in [g for g in core.seats if g not in mine]:
            seat = core.seats.pop(group_id)
            if new.suspended_group(group_id) is not None:
                core.note("group.suspended", group_id)
                core.out.deliveries.append(GroupSuspended(group_id, seat.spec))
            elif new.group(group_id) is None:
                core.note("group.lost", group_id)
                core.out.deliveries.append(GroupLost(group_id, seat.spec))
        core.channels = {}
        for group_id, group in mine.items():
            found = core.ledger.release(group_id, new.id)
            if group_id not in core.seats:
                recovered = found if group_id >> 16 != new.id else None
                if recovered is not None:
                    core.note("group.recovered", group_id)
                core.seats[group_id] = recovered or self._new_seat(old, new, group, clock)
            seat = core.seats[group_id]
            assert seat.synced or core.name not in group.hosts, "a full host holds the state"
            limits = core.config.limits
            channel = core.channels[group_id] = Channel(new.id, group, core.name, limits)
            channel.showing.changed()
            seat.view_began(m for m in new.everyone if m.name in group.everyone)

    def _beginning(self, view: View, group_id: int) -> Tag:
        group = view.group(group_id)
        return Tag(view.id, (0,) * len(group.hosts) if group is not None else ())

    def _new_seat(self, old: View | None, new: View, group: Group, clock: Stamp) -> Seat:
        core = self.core
        founded = core.name in group.hosts
        seat = Seat(group.id, group.spec, core.config.limits, synced=founded)
        if founded:
            assert old is None or old.group(group.id) is None, "only founders host without a transfer"
            fence = new.fence if group.spec.durable else fence_at(new, clock)  # as who reads it from a log is told
            core.out.deliveries.append(Founded(group.id, group.spec, fence=fence))
        else:
            seat.lose_state(self._beginning(new, group.id))
        return seat

    # --- not in it

    def leave_alone(self, ready: bool) -> None:
        """Leaving needs nobody's consent where nobody is left behind: the only full member stops, once it is ready, and
        so does a process that is in no view."""
        core = self.core
        if not ready or core.decision is not None:
            return
        view = core.view
        if view is not None and core.live and (view.members != (core.me,) or view.learners):
            return
        self._reads.end_view(None)
        core.excluded = True
        reason = "it left, and was the last full member" if core.live else "it left before it was let in"
        core.out.deliveries.append(Excluded(None, reason, core.live))

    def leave_out(self, value: Decision) -> None:
        """The next view is without this process.  It goes on answering for the decision."""
        core = self.core
        core.decision = core.attempt = None
        self._remember(value)
        if core.live:
            core.note("excluded", value.view.id)
            self._reads.end_view(None)
            core.excluded = True
            if value.view.rank(core.name) >= 0 and value.view.named(core.name) == core.me:
                self._log(core.view, value)  # others count on its vote there: its next life gives it
                core.persist(
                    cluster=value.view.cluster,
                    view=value.view,
                    promised=None,
                    accepted=None,
                    made_by=value,
                    decided=None,
                )
            else:
                core.persist(decided=value)
            left = core.name in value.left
            reason = "it was suspected, or could not be reached"
            if left:
                reason = "it left"
            elif value.view.named(core.name) == core.me:
                reason = "it was left behind, and cannot know the outcome of what it had sent"
            core.out.deliveries.append(Excluded(value.view, reason, left))
            return
        if self._was_promoted(value.view):
            core.note("votes.on", value.view.id)
            self._log(core.view, value)
            core.turn_to(value.view)
            core.cluster = value.view.cluster
            core.flush = Flush(value.view, None, None)
            core.installed_at = core.now.mono
            core.detector.begin(value.view, core.now.mono)
            core.persist(
                cluster=core.cluster, view=value.view, promised=None, accepted=None, made_by=value, decided=None
            )
        else:
            core.note("votes.over", value.view.id)
            core.cluster = value.view.cluster
            core.turn_to(None)
            core.flush = None
            core.persist(cluster=core.cluster, decided=value)
        core.dead.clear()
        core.freezers.clear()


def superseded_text(cluster: int, by: int) -> str:
    """For the operator."""
    return (
        f"cluster {cluster:x} was recovered by its operator as cluster {by:x}, without this node: "
        "move its data directory away, and start it as a new node"
    )
