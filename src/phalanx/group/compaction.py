"""Keeping a node's log short: snapshots of its durable groups, and what the log needs no more (DESIGN section 8).

Once the log has grown by `Limits.log`, or by the size of the last snapshots if that is more, a *round* begins: the log is
told the present view again, and the batches that are received and not delivered; every application is asked for its
state, while the groups go on.  The snapshots follow in chunks, a few at a time, so that batches need not wait for all of
a large one.  Only when all of that is durable is the log told what it may forget: everything before the round.  A round
that a view change meets is given up, for its snapshots would be of the old view; what it has written is harmless.
"""

from collections import deque
from typing import NamedTuple

from phalanx.group.core import Core
from phalanx.group.ledger import chunks_of
from phalanx.group.messages import Ceiling, Chunk, Turned
from phalanx.group.seat import Seat, Tag
from phalanx.model.events import SnapshotTaken, SnapshotWanted
from phalanx.model.view import GroupId, Member

CHUNKS_AHEAD = 4
"""Chunks on their way to the disk at once: with chunks of 256 KiB a batch waits for the writing of 1 MiB at most."""


class Asked(NamedTuple):
    """A snapshot that the application was asked for: its tag, and the seat's open payloads, as of that moment."""

    group: GroupId
    tag: Tag
    partials: dict[Member, list[bytes]]


class Compaction:
    """The part of a node that shortens its log."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._start: int | None = None
        """The first record of the round under way."""
        self._view = 0
        self._asked: dict[int, Asked] = {}
        self._chunks: deque[Chunk] = deque()
        """What is still to be written."""
        self._upto = 0
        """The last record that this round has written."""
        self._last_token = 0
        """Negative from here: those of state transfers are positive."""
        self._written = 0
        """Bytes of snapshots in this round."""

    def act(self) -> None:
        """Begin a round, end it, or give it up."""
        core = self.core
        ledger, view = core.ledger, core.view
        if self._start is not None and (view is None or view.id != self._view or not core.live):
            self._give_up("the view changed")
        if self._start is None:
            if ledger.is_long and core.active and self._may_begin():
                self._begin()
            return
        while self._chunks and self._upto - ledger.logged < CHUNKS_AHEAD:
            self._upto = ledger.append(core.out, self._chunks.popleft())
        if not self._asked and not self._chunks and ledger.logged >= self._upto:
            core.note("log.shortened", self._written)
            core.out.forget = self._start
            self._start, ledger.in_round = None, False
            ledger.shortened(self._written)

    def _give_up(self, why: str) -> None:
        self.core.note("log.round_given_up", why)
        self._start, self.core.ledger.in_round = None, False
        self._asked.clear()
        self._chunks.clear()

    def _seats(self) -> list[Seat]:
        return [seat for seat in self.core.seats.values() if seat.spec.durable]

    def _may_begin(self) -> bool:
        """The log holds nothing but groups that we can give a snapshot of."""
        ledger = self.core.ledger
        here = all(self.core.is_synced(seat.group) and seat.replay is None for seat in self._seats())
        return here and not ledger.groups and self.core.votes.made_by is not None

    def _begin(self) -> None:
        core = self.core
        ledger, made_by = core.ledger, core.votes.made_by
        assert core.view is not None and made_by is not None
        self._start, self._view, self._written = ledger.appended + 1, core.view.id, 0
        ledger.in_round = True
        ledger.append(core.out, Turned(made_by))
        ledger.append(core.out, Ceiling(ledger.reserved))
        for seat in self._seats():
            self._last_token -= 1
            tag = Tag(core.view.id, tuple(core.channels[seat.group].held.delivered))
            self._asked[self._last_token] = Asked(seat.group, tag, seat.partials())
            channel = core.channels[seat.group]
            for author, covered in enumerate(tag.covers):
                for data in channel.relay(author, covered + 1, channel.arrived[author]):
                    ledger.append(core.out, data)
            core.out.deliveries.append(SnapshotWanted(seat.group, self._last_token))
        self._upto = ledger.appended
        core.note("log.round", core.view.id)

    def on_snapshot(self, answer: SnapshotTaken) -> None:
        """The application's answer to one of our questions."""
        core = self.core
        asked = self._asked.pop(answer.token, None)
        if asked is None or asked.group != answer.group or core.view is None or core.view.id != asked.tag.view:
            return
        seat = core.seats.get(asked.group)
        if answer.data is None or seat is None or not seat.synced:
            core.ledger.postpone()
            self._give_up("an application gave no snapshot")
            return
        blob = seat.pack(answer.data, asked.partials)
        self._written += len(blob)
        self._chunks += chunks_of(asked.group, asked.tag, blob, core.config.limits.chunk)
