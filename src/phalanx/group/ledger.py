"""What a node's log holds of its durable groups, and what is on its way into it (DESIGN sections 5 and 8).

The log has, in the order in which they happened here: batches of durable groups as they were received, the decisions
that ended views, ceilings of the clock, snapshots.  Replaying it runs the very code that ran then (`Seat`, `Channel`),
so it comes to the same state; of the last view, whose cut is not known, the batches are held and nothing is applied.

A restarted process votes for its former incarnation with what the log holds: it shows it in promises, fetches what a cut
has beyond it, and, once a view that it is in decides the cut, goes on from there.  The same is true of a *suspended*
group: its last view stays open here, however many views pass, until one of them decides its cut.

In doubt a log counts for less: after a torn tail it is not `whole` before the next decided cut (counter-example 12).
"""

from collections import deque

from phalanx.group.batch import size_of
from phalanx.group.channel import Channel
from phalanx.group.config import Limits
from phalanx.group.contents import Suffix
from phalanx.group.messages import Base, Ceiling, Chunk, Cut, Data, Decision, Holding, Progress, Record, Turned
from phalanx.group.recovered import LeftOut, Recovered
from phalanx.group.seat import Seat, Tag
from phalanx.model.clock import COUNTER_BITS, NEVER, Stamp
from phalanx.model.machine import Journal, Output
from phalanx.model.view import Group, GroupId, Member, Name, Suspended, View
from phalanx.parts.spool import Spool

CEILING_AHEAD: Stamp = 4_000 << COUNTER_BITS
"""Stamps that are reserved at a time: a record every two seconds while a durable group is hosted, and a clock that runs
at most four seconds ahead after all nodes were restarted at once."""

RECORD_OVERHEAD = 64
"""What a record takes on the disk besides payloads and pieces of snapshots: frame, place, numbers."""

EARLY_BYTES = 1 << 20
"""On a disk that runs short of room the log is shortened when it has grown by that much: less would hardly pay, and as
much is left free beside the snapshots, which are taken to be no larger than the last ones and all that came since."""

CHUNKS_AHEAD = 4
"""Chunks of a fetched snapshot on their way to the disk at once.  Nobody waits for a learner's log."""


def cut_of(value: Decision, group: GroupId) -> Cut | None:
    """The cut of that group; None if it is lost or suspended, or not of the view that ends."""
    return next((cut for cut in value.cuts if cut.group == group), None)


def concerns_logs(old: View | None, new: View) -> bool:
    """Some log has something to say of one of the views."""
    groups = (*new.groups, *(old.groups if old is not None else ()))
    return bool(new.suspended) or any(g.spec.durable for g in groups)


class Ledger:
    """See the module's text.  `journal` None: this node keeps no log, and can host no durable group."""

    def __init__(self, me: Name, limits: Limits, journal: Journal | None, first: int = 0) -> None:
        self.kept = journal is not None
        self.groups: dict[GroupId, Recovered] = {}
        """Of groups that are not in a view that this process is in: what its log holds."""
        self.former: dict[GroupId, Recovered] = {}
        """The same of groups that went on elsewhere, or without us: no vote counts it, but where we learn the group again
        it is the beginning, and only what came since must be sent."""
        self.left_out: list[LeftOut] = []
        """What the log has and decided cuts have not, since it was read."""
        self.decision: Decision | None = None
        """The last one in the log: it made the view that was installed here last."""
        self.ceiling: Stamp = NEVER
        """Nothing was ever stamped above this."""
        self.stamped: Stamp = NEVER
        """The greatest stamp of what this log held when the process began: all that it can have delivered of the groups
        that are in it."""
        self.appended = 0
        self.logged = 0
        """How many of the records that this process has appended there are, and how many of them are durable."""
        self._me = me
        self._limits = limits
        self.first = first
        """The first incarnation that this disk knows of; 0: none has written to it yet."""
        self._lacks_beginning = journal is None or journal.lost
        """Of what it does not mention nothing is known ..."""
        self._mentions_after: int | None = 0 if journal is None or journal.begins else None
        """... unless it was founded in a later view than this, the first that it mentions.  None: it mentions none."""
        self._doubted = False
        """Since the last decision something was cut off."""
        self.reserved: Stamp = NEVER
        """The ceiling that is on its way to the disk, or on it."""
        self.in_round = False
        """Snapshots are on their way, so that the log can be shortened."""
        self._size = 0
        """Bytes of the log, about, as far as they are needed."""
        self._enough = limits.log
        """With so many it is long."""
        self._wished = self._answers = False
        """New snapshots were asked for, and the round under way began after that."""
        self._states: dict[GroupId, int] = {}
        """Bytes of each group's last snapshot that it holds."""
        self._round_at = self._postponed = 0
        """How large it was when the round began, and when it could not be shortened."""
        self._written: dict[GroupId, int] = {}
        """Bytes of each group's snapshot of the round."""
        self._unlogged: deque[tuple[int, Channel, Data]] = deque()
        self._reserving: tuple[int, Stamp] | None = None
        self._parts: dict[GroupId, tuple[int, Spool]] = {}
        """Snapshots of which not all chunks have been read: their token, and what there is."""
        if journal is not None:
            self._replay(journal)
        self.reserved = self.ceiling

    # --- reading it

    def _replay(self, journal: Journal) -> None:
        cuts, place = set(journal.cuts), 0
        for record in journal.records:
            if place in cuts:
                self._doubt()
            self._count(record)
            self._take(record)
            place += 1
        if place in cuts:
            self._doubt()
        self.left_out.clear()

    def _doubt(self) -> None:
        self._parts.clear()
        self._doubted = True
        for recovered in self.groups.values():
            recovered.whole = False

    def _take(self, record: Record) -> None:
        match record:
            case Data():
                self.stamped = max(self.stamped, record.stamp)
                self.ceiling = max(self.ceiling, record.stamp)
                if (recovered := self.groups.get(record.group)) is not None:
                    recovered.receive(record)
            case Turned(value) if self.decision is not None and self.decision.view == value.view:
                pass  # said again, for a log whose beginning is forgotten
            case Turned(value):
                before, self.decision = self.decision, value
                if self._mentions_after is None:
                    self._mentions_after = value.view.id
                self.stamped = max(self.stamped, value.clock)
                self.ceiling = max(self.ceiling, value.clock)
                self.turn(value, rescued=before is not None and before.view.cluster in value.view.lineage)
            case Ceiling(stamp):
                self.ceiling = max(self.ceiling, stamp)
            case Chunk():
                self._take_chunk(record)

    def _take_chunk(self, chunk: Chunk) -> None:
        token, spool = self._parts.pop(chunk.group, (0, Spool(self._limits.chunk)))
        if chunk.offset == 0:
            token, spool = chunk.token, Spool(self._limits.chunk)
        if token != chunk.token or len(spool) != chunk.offset:
            return
        spool.append(chunk.data)
        if not chunk.digest:
            self._parts[chunk.group] = token, spool
            return
        recovered = self.groups.get(chunk.group)
        content = Seat.unpack(spool) if (chunk.digest, chunk.total) == (spool.digest, len(spool)) else None
        if recovered is None or content is None:
            return
        tag, seat = Tag(chunk.view, chunk.covers), recovered.seat
        if tag.view > recovered.view or (seat.synced and tag.view != recovered.view):
            return
        if not seat.synced and not tag.reaches(seat.suffix_from):
            return
        former = self.complete(chunk.group, content) if isinstance(content, Suffix) else None
        if isinstance(content, Suffix) and former is None:
            return  # the log does not go back to where it begins any more, since a snapshot follows
        self.former.pop(chunk.group, None)
        if tag.view == recovered.view:
            recovered.adopt(chunk.covers)
        assert seat.replay is not None
        if isinstance(content, Suffix):
            assert former is not None
            seat.resume(former, tag, recovered.everyone, seat.replay)
        else:
            seat.restore(content, tag, recovered.everyone, seat.replay)

    # --- from view to view

    def turn(self, value: Decision, *, rescued: bool = False) -> None:
        """A view was decided: groups whose open view it ends go on into the new one; of those that went on elsewhere the
        log holds nothing of use any more; those that are suspended stay as they are.  `rescued`: it was an operator who
        decided it, for another cluster (`lineage`)."""
        new = value.view
        for suspended in new.suspended:
            self._catch_up(suspended, new.fence)
        for group_id, recovered in list(self.groups.items()):
            if new.suspended_group(group_id) is not None:
                continue
            cut, place = cut_of(value, group_id), new.group(group_id)
            if cut is None or place is None or self._me not in place.everyone or not recovered.is_ended_by(value, cut):
                self._set_aside(group_id)
                continue
            if not recovered.conclude(cut.upto):
                recovered.seat.lose_state(Tag(new.id, (0,) * len(place.hosts)))
            elif rescued:
                recovered.rescued(new.fence)
            recovered.begin(new.id, place, _hosts(new, place), _learners(new, place))
        for group in new.groups:
            if group.spec.durable and self._me in group.everyone and group.id not in self.groups:
                hosts, others = _hosts(new, group), _learners(new, group)
                self.groups[group.id] = Recovered(
                    self._me, new.id, group, hosts, self._limits, others, new.fence, self.left_out
                )
        known = {group.id for group in (*new.groups, *(suspended.group for suspended in new.suspended))}
        self.former = {group_id: former for group_id, former in self.former.items() if group_id in known}
        self._doubted = False

    def _set_aside(self, group_id: GroupId) -> None:
        """The group is not where the log thinks: nobody will ask about its open view any more."""
        recovered = self.groups.pop(group_id)
        if not recovered.seat.synced:
            return
        for _, channel, data in self._unlogged:
            if channel is recovered.channel:
                channel.settle(data)  # it is in the log before anything that will rely on it
        self.former[group_id] = recovered

    def _catch_up(self, suspended: Suspended, fence: Stamp) -> None:
        """A suspended group stays here if the log has its last view.  So it is if this node was to be a host in that, and
        crashed before it had installed it: then it received nothing in it."""
        group, recovered = suspended.group, self.groups.get(suspended.group.id)
        former = next((m for m in suspended.members if m.name == self._me), None)
        if recovered is None:
            founded = suspended.view == group.id >> 16 and self._would_mention(suspended.view)
            if founded and former is not None and former.incarnation >= self.first > 0:
                fresh = self.groups[group.id] = Recovered(
                    self._me, suspended.view, group, suspended.members, self._limits, (), fence, self.left_out
                )
                fresh.whole = not self._doubted
        elif former is None:
            self._set_aside(group.id)
        elif recovered.view == suspended.before and recovered.conclude(suspended.began):
            recovered.begin(suspended.view, group, suspended.members)
            recovered.whole = not self._doubted
        elif recovered.view != suspended.view:
            self._set_aside(group.id)

    def _would_mention(self, view: int) -> bool:
        """If this node had installed that view, the log would say so."""
        return not self._lacks_beginning and self._mentions_after is not None and view > self._mentions_after

    def base(self, group_id: GroupId) -> Base | None:
        """What need not be sent of a group that we learn."""
        former = self.former.get(group_id)
        return former.base if former is not None else None

    def complete(self, group_id: GroupId, suffix: Suffix) -> Seat | None:
        """What came since was sent: the state.  None if it does not fit: then only a snapshot helps."""
        former = self.former.pop(group_id, None)
        return former.seat if former is not None and former.complete(suffix) else None

    def release(self, group_id: GroupId, view: int) -> Seat | None:
        """The group's seat, for a process that is in that view: if the log has its state, or it is founded there."""
        recovered = self.groups.pop(group_id, None)
        if recovered is None or recovered.view != view or not recovered.seat.synced:
            return None
        return recovered.seat

    # --- what is said of it

    def channel(self, group_id: GroupId, view: int) -> Channel | None:
        """The open view of a group, to fetch into and to relay from."""
        recovered = self.groups.get(group_id)
        return recovered.channel if recovered is not None and recovered.view == view else None

    def progress(self, view: View) -> list[Progress]:
        """What a promise in that view says: of groups in it that this process's former incarnation was in, and of the
        suspended ones that it was a last full host of."""
        out = []
        for group_id, recovered in self.groups.items():
            suspended, channel = view.suspended_group(group_id), recovered.channel
            if suspended is not None and self._me not in suspended.group.hosts:
                continue  # what a learner had is not what the group goes on from
            last = suspended.view if suspended is not None else view.id
            if recovered.view == last and recovered.seat.synced:
                vectors = tuple(channel.matrix.received), tuple(channel.released)
                out.append(Progress(group_id, *vectors, True, last, recovered.whole))
        return out

    def holdings(self) -> tuple[Holding, ...]:
        """The groups that may be suspended, for all that is known here, and that could go on with this log."""
        return tuple(
            Holding(group_id, recovered.view, recovered.whole)
            for group_id, recovered in sorted(self.groups.items())
            if recovered.seat.synced and self._me in recovered.group.hosts
        )

    def could_revive(self, view: View) -> bool:
        """A group that the view has as suspended could go on with this log."""
        return any(
            holding.group == s.group.id and holding.view == s.view
            for holding in self.holdings()
            for s in view.suspended
        )

    # --- writing it

    def append(self, out: Output, record: Record) -> int:
        """Its number among what this process appends."""
        assert self.kept, "only a node with a log hosts durable groups"
        self.appended += 1
        self._count(record)
        out.appends.append(record)
        return self.appended

    def append_fresh(self, out: Output, channel: Channel) -> None:
        """What has arrived in a durable group goes to the log, and counts as received once it is durable there."""
        for data in channel.fresh:
            self._unlogged.append((self.append(out, data), channel, data))
        channel.fresh.clear()

    def _count(self, record: Record) -> None:
        """It is in the log, or on its way there."""
        if isinstance(record, Data):
            self._size += size_of(record.payloads) + RECORD_OVERHEAD
        elif not isinstance(record, Chunk):
            self._size += RECORD_OVERHEAD
        else:
            self._size += len(record.data)
            if record.digest and self.in_round:
                self._written[record.group] = record.total
            elif record.digest:  # what a learner was sent, perhaps only what it lacked: the state is no smaller
                self._states[record.group] = max(record.total, self._states.get(record.group, 0))
                self._judge()

    def _judge(self) -> None:
        states = sum(self._states.values())
        self._enough = states + max(self._limits.log, states)

    @property
    def is_long(self) -> bool:
        """It holds so much besides the last snapshots that new ones are worth while, snapshots of no use and what former
        processes wrote included: who is killed, or fetches the state, again and again keeps it as short as any other."""
        return (self._size >= self._enough or self._wished) and not self.in_round

    def shorten(self) -> None:
        """To run what it holds again would take long, whatever its size: new snapshots are worth while now."""
        self._wished, self._answers = True, False

    def is_worth_shortening(self, free: int) -> bool:
        """With so little room left on the disk it is: it has grown, and there is room for the snapshots."""
        grown = self._size - max(sum(self._states.values()), self._postponed)
        return grown >= EARLY_BYTES and free >= self._size + EARLY_BYTES and not self.in_round

    def begin_round(self) -> None:
        """Snapshots are on their way, so that what is before them can be forgotten."""
        self.in_round, self._round_at = True, self._size
        self._answers = self._wished
        self._written.clear()

    def shortened(self) -> None:
        """It begins with the round now."""
        self.in_round, self._postponed = False, 0
        self._wished = self._wished and not self._answers
        self._size -= self._round_at
        self._states = dict(self._written)
        self._judge()

    def postpone(self) -> None:
        """It cannot be shortened now: not before it has grown as much again."""
        self._enough = self._size + self._limits.log
        self._postponed, self._wished = self._size, False

    def on_logged(self, count: int) -> list[Channel]:
        """So many records are durable.  Returns the channels whose batches are among them, one for each batch."""
        self.logged = max(self.logged, min(count, self.appended))
        settled = []
        while self._unlogged and self._unlogged[0][0] <= self.logged:
            _, channel, data = self._unlogged.popleft()
            channel.settle(data)
            settled.append(channel)
        if self._reserving is not None and self._reserving[0] <= self.logged:
            self.ceiling, self._reserving = max(self.ceiling, self._reserving[1]), None
        return settled

    def reserve(self, out: Output, clock: Stamp) -> None:
        """Have a ceiling ahead of the clock (counter-example 10: a restart never stamps below what was stamped)."""
        if self._reserving is None and clock + CEILING_AHEAD // 2 > self.ceiling:
            self.reserved = clock + CEILING_AHEAD
            self._reserving = (self.append(out, Ceiling(self.reserved)), self.reserved)


def _hosts(view: View, group: Group) -> list[Member]:
    return [m for m in view.members if m.name in group.hosts]


def _learners(view: View, group: Group) -> list[Member]:
    return [m for m in view.everyone if m.name in group.learners]
