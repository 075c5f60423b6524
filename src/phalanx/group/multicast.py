"""Sending, receiving and delivering in the groups of the present view, and the rows (DESIGN section 5)."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from msgspec.structs import astuple

from phalanx.group import birth, room
from phalanx.group.channel import Channel
from phalanx.group.core import Core
from phalanx.group.messages import Ack, Data, Row
from phalanx.group.seat import Tag
from phalanx.model.clock import MILLISECOND, Stamp
from phalanx.model.events import Consumed, Multicast
from phalanx.model.view import GroupId, Name, View
from phalanx.parts.quorum import is_quorum

_fields_of: Final = astuple  # ARCHITECTURE, decision 58

SENT_KEPT: Final = 4096
"""Rows of which it is known when they were sent: of more than a lease's length, even at a row each millisecond."""


class Multicasting:
    """The part of a node that sends, receives, delivers and shows rows."""

    def __init__(self, core: Core, busy: Callable[[], int]) -> None:
        """`busy`: how many state transfers this node serves."""
        self.core = core
        self.busy = busy
        self._row_at = core.now.mono
        """When a full row is due."""
        self._spread_at: int | None = None
        """When those are shown our row whom it did not help at once."""
        self._answer: list[Name] = []
        """Who asked for an echo."""
        self._fresh: set[Name] = set()
        """Members that have not shown a row in this view yet."""
        self._sent_at: dict[int, int] = {}
        self._durable = False
        """We host or learn a durable group in this view."""
        self._quorate: dict[GroupId, bool] = {}
        """Whether the hosts of a group are a quorum of the view."""
        self._apart: list[GroupId] = []
        """The groups whose hosts are none: what they may deliver depends on everybody's rows."""
        self._owed: dict[GroupId, Channel] = {}
        """Groups of which somebody has not been shown our row as it is."""
        self._resend_at: int | None = None
        """Not after the time at which the first busy group sends again; None: none does."""

    def begin(self, view: View) -> None:
        core = self.core
        self._fresh = {m.name for m in view.everyone} - {core.name}
        self._answer.clear()
        self._sent_at = {}
        self._quorate = {group: self._is_quorate(channel) for group, channel in core.channels.items()}
        self._durable = any(channel.is_durable for channel in core.channels.values())
        self._row_at = core.now.mono
        self._spread_at = None
        core.busy, core.touched = dict(core.channels), dict(core.channels)
        self._owed = {}
        self._apart = [group for group, is_quorate in self._quorate.items() if not is_quorate]
        self._resend_at = None
        core.row_number = 0
        core.row_due = True
        core.rows = {}
        room.begin(core)

    # --- what is absorbed

    def on_multicast(self, request: Multicast) -> None:
        seat = self.core.seats.get(request.group)
        if seat is None:
            self.core.note("multicast.no_seat", request.group)
            return
        seat.enqueue(request.payloads)
        self.core.touched[request.group] = self.core.channels[request.group]
        seat.full = seat.full or seat.queued > self.core.config.limits.queue

    def on_consumed(self, request: Consumed) -> None:
        seat = self.core.seats.get(request.group)
        if seat is not None:
            window = self.core.config.limits.window
            before, seat.backlog = seat.backlog, max(0, seat.backlog - request.size)
            if before >= window // 2 > seat.backlog:
                self.core.row_due = True  # senders may be waiting for this

    def on_data(self, sender: Name, data: Data) -> None:
        core = self.core
        group, author, stamp = data.group, data.author, data.stamp
        channel = core.channel_at(group, data.view)
        if channel is None or not 0 <= author < len(channel.hosts):
            return
        if channel is core.channels.get(group):
            if author == channel.me:
                return
            if core.clock.is_ahead(stamp, core.now):
                core.note("clock.refused", channel.hosts[author])
                return
            if core.room.space and channel.me < 0 and channel.is_durable:
                return  # there is no room for it; it is sent again once there is
            core.touched[group] = channel
        core.clock.merge(stamp)
        if channel.receive(data):
            if channel.hosts[author] != sender:
                core.note("data.relayed")
            if channel.fresh:
                core.ledger.append_fresh(core.out, channel)
        else:
            channel.showing.asked(sender)
            core.note("data.again")

    def on_logged(self, count: int) -> None:
        """So many of our records are durable: the batches among them are received now, and snapshots held."""
        core = self.core
        before = core.ledger.logged
        for channel in core.ledger.on_logged(count):
            if core.channels.get(channel.group.id) is channel:
                core.touched[channel.group.id] = channel
        if any(before < seat.base_at <= core.ledger.logged for seat in core.seats.values()):
            core.row_due = core.stirred = True

    def on_ack(self, sender: Name, ack: Ack) -> None:
        core = self.core
        fields: tuple[int, int, int, int, int, tuple[int, ...]] = _fields_of(ack)
        _, group, clock, last, backlog, received = fields
        channel = core.channels.get(group)
        if channel is not None:
            core.touched[group] = channel
            channel.show_received(sender, clock, last, backlog, received, core.now.mono)
        self._hear_clock(clock)

    def _hear_clock(self, stamp: Stamp) -> None:
        core = self.core
        if stamp > core.clock.now and not core.clock.is_ahead(stamp, core.now):
            core.clock.merge(stamp)

    def on_row(self, sender: Name, row: Row) -> None:
        core = self.core
        if row.space or core.short:
            room.heard(core, sender, row.space)
        old = core.rows.get(sender)
        for group_row in row.groups:
            channel = core.channels.get(group_row.group)
            if channel is not None and len(group_row.received) == len(channel.hosts):
                core.touched[group_row.group] = channel
                channel.show(sender, row.clock, group_row, core.now.mono)
                if channel.me < 0 and core.active and not core.room.space and channel.missed(sender, group_row):
                    core.note("missed", group_row.group, sender)
                    self._miss(channel, sender, group_row.released)
        if sender in self._fresh:  # what we sent before it had installed the view fell on deaf ears
            self._fresh.discard(sender)
            for channel in core.channels.values():
                channel.rewind(sender)
            core.touched.update(core.busy)
        if row.ask and core.active:
            self._answer.append(sender)
        if old is not None and row.number < old.number:
            return
        core.clock.shown(sender, row.wall, core.now)
        self._hear_clock(row.clock)
        core.rows[sender] = row
        if core.freezers:
            core.freezers.pop(sender, None)

    def _miss(self, channel: Channel, host: Name, released: int) -> None:
        """What a learner lacks is kept no more: only a snapshot that covers it will do."""
        after = list(channel.held.delivered)
        author = channel.hosts.index(host)
        after[author] = max(after[author], released)
        seat = self.core.seats[channel.group.id]
        if seat.synced or Tag(channel.view, tuple(after)) != seat.suffix_from:
            seat.lose_state(Tag(channel.view, tuple(after)))

    def on_link_up(self, name: Name) -> None:
        for channel in self.core.channels.values():
            channel.rewind(name)
        self.core.row_due = True

    # --- rules

    def look(self, *, everything: bool) -> None:
        """At which groups this turn looks, besides those for which something has come: those that wait for everybody's
        rows, all if it is time to send something again, and all if `everything` may have changed."""
        core = self.core
        for group in self._apart:
            if group in core.busy:
                core.touched[group] = core.busy[group]
        if everything or (self._resend_at is not None and self._resend_at <= core.now.mono):
            core.touched.update(core.busy)

    def send(self) -> None:
        """Form batches from what is queued, as far as the window allows; send what peers lack.  Only while active."""
        core = self.core
        if not core.clock.knows_median:
            return
        first = None if len(core.touched) == len(core.busy) else self._resend_at
        for group_id, channel in core.touched.items():
            if channel.me < 0:
                continue
            seat = core.seats[group_id]
            while seat.queue and channel.has_room() and self._may_stamp(channel):
                channel.send(seat.next_entry(), core.clock.tick(core.now), core.row_number + 1)
                if not self._quorate[group_id]:
                    core.row_due = core.row_asks = True
            if channel.fresh:
                core.ledger.append_fresh(core.out, channel)
            if seat.full:
                seat.room_again(core.out.deliveries)
            for names, data in channel.to_send(core.now.mono, core.timing.resend_after):
                core.post(names, data)
            at = channel.resend_at(core.timing.resend_after)
            if at is not None and (first is None or at < first):
                first = at
        self._resend_at = first

    def _may_stamp(self, channel: Channel) -> bool:
        """A durable group has the copies that it wants, and the stamp stays below the ceiling that is on disk."""
        if not channel.is_durable:
            return True
        spec, core = channel.group.spec, self.core
        core.ledger.reserve(core.out, core.clock.read(core.now))
        return len(channel.hosts) >= spec.min_copies and core.clock.now < core.ledger.ceiling

    def _claim(self) -> Stamp:
        """The clock that we show: in a durable group it is a promise that outlives us, so a ceiling must be on disk."""
        core = self.core
        clock = core.clock.read(core.now)
        if not self._durable:
            return clock
        core.ledger.reserve(core.out, clock)
        return min(clock, core.ledger.ceiling)

    def deliver(self) -> None:
        """Hand on what each group's order allows; forget what is stable.  Only while active."""
        core = self.core
        view = core.view
        assert view is not None
        clock = core.clock.read(core.now)
        touched, core.touched = core.touched, {}
        for group_id, channel in touched.items():
            seat = core.seats[group_id]
            if not channel.held.is_empty():
                may = None if self._quorate[group_id] else partial(self._echoed, channel)
                taken = channel.deliver(clock, may)
                if taken:
                    deliveries, members = core.out.deliveries, core.roster.members
                    for data in taken:
                        seat.deliver(view.id, members[channel.hosts[data.author]], data, deliveries)
            channel.release()
            if channel.showing.owed:
                self._owed[group_id] = channel
            elif channel.is_idle and not seat.queue:
                del core.busy[group_id]
            if seat.queue and channel.has_room():
                core.touched[group_id] = channel  # it waits for its clock, or its log, which are not its own

    def _is_quorate(self, channel: Channel) -> bool:
        assert self.core.view is not None
        return is_quorum(self.core.view, channel.hosts)

    def _echoed(self, channel: Channel, data: Data) -> bool:
        """A quorum of the view, not frozen, has heard a row that the author sent after the batch: so the hosts were
        not cut off from the rest when they sent it (counter-example 4)."""
        core = self.core
        view = core.view
        assert view is not None
        author = channel.hosts[data.author]
        place = core.roster.places[author]
        heard = {name for name, row in core.rows.items() if row.echo[place] >= data.row}
        shown = core.row_number if author == core.name else core.rows[author].number if author in core.rows else 0
        if shown >= data.row:
            heard |= {core.name, author}
        return is_quorum(view, heard)

    def show_rows(self) -> None:
        """Rows.  Of the groups that received something: at once to those who wait for it, `row_delay` later to the rest.
        Of all groups: to all at every heartbeat.  To those who asked.  One that is frozen or only votes gives a sign of
        life instead."""
        core = self.core
        if core.view is None or core.excluded:
            return
        now = core.now.mono
        everything = now >= self._row_at
        if everything:
            self._row_at = now + core.timing.heartbeat
        if not core.active:
            if everything or core.row_due:
                core.row_due = False
                core.post(core.others(), core.sign_of_life())
                if not core.live:  # the others may have moved, or be in a cluster that goes on
                    known = {m.address for m in core.roster.everyone}
                    core.post_to([a for a in birth.seeds(core) if a not in known], core.sign_of_life())
            self._answer.clear()
            return
        if everything or core.row_due:
            self._spread_at = None
            self._show(core.others(), list(core.channels))
        else:
            self._show_owed()
        core.row_due = core.row_asks = False
        self._answer.clear()

    def _show_owed(self) -> None:
        """Of the groups that received something, and to those who asked."""
        core = self.core
        owed = list(self._owed)
        if not owed:
            self._spread_at = None
            if not (self._answer or core.row_asks):
                return
        elif self._spread_at is None:
            self._spread_at = core.now.mono + core.timing.row_delay
        if core.row_asks:
            self._spread_at = None
            self._show(core.others(), owed)
            return
        names = set(self._answer)
        if self._spread_at is not None and self._spread_at <= core.now.mono:
            self._spread_at = None
            for group in owed:
                names |= core.channels[group].showing.unaware()
        else:
            for group in owed:
                names |= core.channels[group].waiting_for_row()
        if not names:
            return
        to = [name for name in core.roster.members if name in names]
        channel = core.channels[owed[0]] if len(owed) == 1 else None
        if channel is None or channel.me < 0 or channel.has_gap or self._answer:
            self._show(to, owed)
        else:  # what they need in order to deliver
            core.post(to, channel.ack(self._claim(), core.seats[owed[0]].backlog))
            self._shown(channel, to)

    def _show(self, names: Collection[Name], groups: list[GroupId]) -> None:
        """Our row of these groups, to these members."""
        core = self.core
        now, rows, me = core.now, core.rows, core.me.name
        assert core.view is not None
        core.row_number = number = core.row_number + 1
        self._sent_at[number] = now.mono
        if len(self._sent_at) > SENT_KEPT:
            del self._sent_at[next(iter(self._sent_at))]
        row = Row(
            core.view.id,
            number,
            self._claim(),
            now.wall // MILLISECOND,
            tuple([number if n == me else rows[n].number if n in rows else 0 for n in core.roster.members]),
            core.said_hears(),
            core.said_to_hear(),
            core.mask(core.suspects) if core.suspects else 0,
            core.mask(core.detector.grounds) if core.detector.grounds else 0,
            self.busy(),
            core.row_asks,
            tuple([core.channels[g].row(core.seats[g].backlog, core.is_synced(g)) for g in groups]),
            core.room.space.value,
        )
        for group in groups:
            self._shown(core.channels[group], names)
        core.post(names, row)

    def _shown(self, channel: Channel, names: Collection[Name]) -> None:
        """Our row of that group was shown to these."""
        group = channel.group.id
        channel.showing.shown_to(names)
        if not channel.showing.owed:
            self._owed.pop(group, None)
            if channel.is_idle and not self.core.seats[group].queue and group not in self.core.touched:
                self.core.busy.pop(group, None)

    def shown_at(self, number: int) -> int | None:
        """When we sent our row of that number in this view."""
        return self._sent_at.get(number)

    def deadline(self) -> int | None:
        core = self.core
        if core.view is None or core.excluded:
            return None
        first = self._row_at
        if core.active:
            if self._spread_at is not None:
                first = min(first, self._spread_at)
            if self._resend_at is not None and self._resend_at < first:
                first = self._next_resend(first)
        return first

    def _next_resend(self, before: int) -> int:
        """When the next group sends again, if that is before the given time."""
        core = self.core
        now, after = core.now.mono, core.timing.resend_after
        times = [at for channel in core.busy.values() if (at := channel.resend_at(after)) is not None]
        self._resend_at = min(times, default=None)
        return min([at for at in times if now < at < before], default=before)
