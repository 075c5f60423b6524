"""What a node's log holds of one durable group: its state at the beginning of a view, and the batches of that view.

While that view is the group's last it is *open*: its cut is not known, and nothing of it is applied.  Once the cut is
known, `conclude` applies what it holds, and drops the rest: that was received, and is no part of the group's history.

If the group went on elsewhere meanwhile, the same is done later (`complete`): a host sends the cut that ended the view,
what the log lacks of it, and all that came after.  The beginning of a view is common to all who were told of that view,
for it is the result of decided cuts; of what the log holds beyond it, only what the decided cut has is.
"""

from collections.abc import Sequence
from typing import NamedTuple

from phalanx.group.channel import Channel
from phalanx.group.config import Limits
from phalanx.group.contents import Suffix
from phalanx.group.messages import Base, Cut, Data, Decision
from phalanx.group.seat import Seat, Tag
from phalanx.model.clock import Stamp
from phalanx.model.events import Founded, Rescued
from phalanx.model.view import Group, Member, Name


class LeftOut(NamedTuple):
    """Batches that a log has and the cut that ended their view has not."""

    group: Group
    view: int
    hosts: Sequence[Member]
    """In that view."""
    batches: int


class Recovered:
    """See the module's text."""

    def __init__(
        self,
        me: Name,
        view: int,
        group: Group,
        members: Sequence[Member],
        limits: Limits,
        others: Sequence[Member],
        fence: Stamp,
        left_out: list[LeftOut],
    ) -> None:
        """`members`: the hosts in that view; `others`: its learners; `fence`: the view's; `left_out`: takes what is
        dropped."""
        self.whole = True
        self._left_out = left_out
        founded = me in group.hosts and group.id >> 16 == view
        self.seat = Seat(group.id, group.spec, limits, synced=founded)
        self.seat.replay = [Founded(group.id, group.spec, replayed=True, fence=fence)] if founded else []
        if not founded:
            self.seat.lose_state(Tag(view, (0,) * len(group.hosts)))
        self._me = me
        self._limits = limits
        self.begin(view, group, members, others)

    def begin(self, view: int, group: Group, members: Sequence[Member], others: Sequence[Member] = ()) -> None:
        """The group is in that view."""
        self.view = view
        self.group = group
        self.channel = Channel(view, group, self._me, self._limits)
        self.members = members
        self._early: list[Data] = []
        self.everyone = (*members, *others)
        self.seat.view_began(self.everyone)

    def is_ended_by(self, value: Decision, cut: Cut) -> bool:
        """That cut is of the view that is open here, and not of a later one, in which the group went on elsewhere."""
        return (cut.view or value.old) == self.view

    def conclude(self, upto: Sequence[int]) -> bool:
        """Its view ended with that cut.  False: part of it is not in the log, and the state with it."""
        if len(upto) != len(self.members) or not self.channel.holds(upto) or self.channel.beyond(upto):
            return False
        if beyond := sum(max(0, have - cut) for have, cut in zip(self.channel.arrived, upto, strict=True)):
            self._left_out.append(LeftOut(self.group, self.view, self.members, beyond))
        for data in self.channel.rest(upto):
            assert self.seat.replay is not None
            self.seat.deliver(self.view, self.members[data.author], data, self.seat.replay)
        self.seat.ended(self.view, upto)
        self.whole = True
        return True

    def rescued(self, fence: Stamp) -> None:
        """It was an operator who ended its view, with all that is here."""
        assert self.seat.replay is not None
        self.seat.replay.append(Rescued(self.group.id, fence))

    def receive(self, data: Data) -> None:
        """A batch that is in the log."""
        channel = self.channel
        if data.view != channel.view or not 0 <= data.author < len(channel.hosts):
            return
        if data.number > channel.arrived[data.author] + 1:
            self._early.append(data)
            return
        channel.receive(data)
        self.settle()

    def adopt(self, covers: Sequence[int]) -> None:
        """A snapshot of its view has all up to these numbers; what follows may have been logged before it."""
        if self.seat.synced and self.channel.holds(covers) and not self.channel.beyond(covers):
            for data in self.channel.rest(covers):  # so that it can be handed on
                assert self.seat.replay is not None
                self.seat.deliver(self.view, self.members[data.author], data, self.seat.replay)
        elif self.seat.synced:
            self.seat.lose_state(Tag(self.view, tuple(covers)))
        self.channel.adopt(covers)
        early, self._early = self._early, []
        for data in early:
            self.receive(data)

    def settle(self) -> None:
        """What has arrived is in the log."""
        for data in self.channel.fresh:
            self.channel.settle(data)
        self.channel.fresh.clear()

    # --- the group went on elsewhere

    @property
    def base(self) -> Base:
        """What need not be sent to us."""
        return Base(self.view, tuple(self.channel.arrived))

    def complete(self, suffix: Suffix) -> bool:
        """A host has sent what came after.  False: it does not fit, and this is of no use any more."""
        fits = suffix.since.view == self.view and len(suffix.since.received) == len(self.members)
        if not fits or not all(map(int.__le__, suffix.since.received, self.channel.arrived)):
            return False
        later = []
        for sender, data in suffix.batches:
            if data.view == self.view:
                self.receive(data)
            else:
                later.append((sender, data))
        if not self.conclude(suffix.upto):
            return False
        assert self.seat.replay is not None
        for sender, data in later:
            self.seat.deliver(data.view, sender, data, self.seat.replay)
        for view, upto in suffix.ends:
            self.seat.ended(view, upto)
        return True
