"""Keeping a node's log short: snapshots of its durable groups, and what the log needs no more (DESIGN section 8).

Once the log holds `Limits.log` besides the last snapshots, or as much as these have if that is more, a *round* begins,
and with it a new file of the log: it is told the present view again, and the batches that are received and not
delivered; every application is asked for its state, while the groups go on.  The snapshots follow in chunks, a few at a
time, so that batches need not wait for all of a large one; on a disk that runs short of room a round begins sooner; and a
large state is asked for in slices, as the chunks become durable, so that no more than a few are ever in memory.  Only
when all of that is durable is the log told what it may forget: everything before the round.  A round that a view change
meets is given up, for its snapshots would be of the old view; what it has written is harmless.
"""

from typing import Final

from phalanx.group.core import Core
from phalanx.group.messages import Ceiling, Chunk, Turned
from phalanx.group.seat import Seat, Tag
from phalanx.model.events import SnapshotTaken, SnapshotUnwanted, SnapshotWanted
from phalanx.model.signals import Space
from phalanx.model.view import GroupId
from phalanx.parts.spool import Spool, framed

_LOW: Final = Space.LOW
"""Decision 58."""

PIECE = 64 << 10
"""Of a snapshot in one record of the log ..."""

PIECES_AHEAD = 2
"""... and so many of them are on their way to the disk at once: a batch waits for no more, and the disk takes them in a
few milliseconds."""


class Writing:
    """A snapshot on its way from the application to the log: its tag, and what has come of it (first the seat's open
    payloads), as of the moment in which it was asked for."""

    def __init__(self, group: GroupId, tag: Tag, blob: Spool) -> None:
        self.group = group
        self.tag = tag
        self.blob = blob
        self.written = 0
        """How many bytes the log has been given."""
        self.asked = True
        """The application has been asked for what comes next."""
        self.whole = False
        """There is nothing more to come."""

    @property
    def has_chunk(self) -> bool:
        """There is something to write.  The last chunk, which has the digest, is known only in the end."""
        left = len(self.blob) - self.written
        return left > (0 if self.whole else self.blob.piece)

    def chunk(self, token: int) -> Chunk:
        """The next one."""
        offset = self.written
        data = self.blob.read(offset, self.blob.piece)
        self.written += len(data)
        self.blob.drop(self.written)
        last = self.whole and self.written == len(self.blob)
        digest, total = (self.blob.digest, self.written) if last else (b"", 0)
        return Chunk(self.group, token, self.tag.view, self.tag.covers, digest, offset, total, data)


class Compaction:
    """The part of a node that shortens its log."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._start: int | None = None
        """The first record of the round under way."""
        self._view = 0
        self._writing: dict[int, Writing] = {}
        """By the token with which the application was asked."""
        self._upto = 0
        """The last record that this round has written."""
        self._last_token = -(core.me.incarnation << 20)
        """Those of state transfers are positive; an answer meant for a former incarnation fits none of ours."""
        self._written = 0
        """Bytes of snapshots in this round."""

    def act(self) -> None:
        """Begin a round, end it, or give it up."""
        core = self.core
        ledger, view = core.ledger, core.view
        if self._start is not None and (view is None or view.id != self._view or not core.live):
            self._give_up("the view changed")
        if self._start is None:
            due = ledger.is_long or (core.room.space is _LOW and ledger.is_worth_shortening(core.room.free))
            if due and core.active and self._may_begin():
                self._begin()
            return
        self._write()
        if not self._writing and ledger.logged >= self._upto:
            core.note("log.shortened", self._written)
            core.out.forget = self._start
            self._start = None
            ledger.shortened()

    def _write(self) -> None:
        core = self.core
        ledger = core.ledger
        for token, writing in list(self._writing.items()):
            while writing.has_chunk and self._upto - ledger.logged < PIECES_AHEAD:
                chunk = writing.chunk(token)
                self._upto = ledger.append(core.out, chunk)
                self._written += len(chunk.data)
            if writing.whole and not writing.has_chunk:
                del self._writing[token]
            elif not (writing.asked or writing.whole or writing.has_chunk):
                writing.asked = True
                core.out.deliveries.append(SnapshotWanted(writing.group, token))

    def _give_up(self, why: str) -> None:
        self.core.note("log.round_given_up", why)
        self._start, self.core.ledger.in_round = None, False
        self.core.out.deliveries += [SnapshotUnwanted(w.group, token) for token, w in self._writing.items()]
        self._writing.clear()

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
        ledger.begin_round()
        core.out.apart = True
        ledger.former.clear()  # of groups that we do not host any more
        ledger.append(core.out, Turned(made_by))
        ledger.append(core.out, Ceiling(ledger.reserved))
        for seat in self._seats():
            self._last_token -= 1
            tag = Tag(core.view.id, tuple(core.channels[seat.group].held.delivered))
            blob = Spool(min(PIECE, core.config.limits.chunk))
            Seat.begin_packing(blob, seat.partials())
            self._writing[self._last_token] = Writing(seat.group, tag, blob)
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
        writing = self._writing.get(answer.token)
        if writing is None or writing.group != answer.group:
            return
        seat = core.seats.get(writing.group)
        if answer.data is None or seat is None or not seat.synced:
            core.ledger.postpone()
            self._give_up("an application gave no snapshot")
            return
        writing.blob.append(framed(answer.data))
        writing.asked, writing.whole = False, not answer.more
