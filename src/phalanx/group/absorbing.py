"""A fetched snapshot, or what came in its place, on its way into the learner's application and log, a little at a time.

The application is given the next slice when it has taken the one before; the log is given a few chunks ahead of what is
durable, so that batches need not wait for the writing of all of it.  The last slice and the last chunk are kept back:
both go in the step in which the learner takes over the state, so nothing is half done for anybody.  A suffix has no
slices: what it is to follow is in the log, and the application is given both as what a log holds is given.
"""

from phalanx.group.contents import Opening, Suffix
from phalanx.group.ledger import CHUNKS_AHEAD, Ledger
from phalanx.group.messages import Base, Chunk
from phalanx.group.seat import Seat, Snapshot, Tag
from phalanx.model.events import Restoring
from phalanx.model.machine import Output
from phalanx.model.view import GroupId
from phalanx.parts.spool import Spool, frame_end


class Absorbing:
    """See the module's text."""

    __slots__ = (
        "_asked",
        "_begun",
        "_blob",
        "_group",
        "_offset",
        "_sliced",
        "_tag",
        "_token",
        "_written",
        "logged_by",
    )

    def __init__(self, group: GroupId, token: int, tag: Tag, blob: Spool, begun: Opening | Suffix) -> None:
        self._group = group
        self._token = token
        self._tag = tag
        self._blob = blob
        self._begun = begun
        self._offset = 0
        """Of the next slice."""
        self._asked = False
        """The application has a slice that it has not taken yet."""
        self._sliced = False
        """It has been given some."""
        self._written = 0
        """How many bytes the log has been given."""
        self.logged_by = 0
        """The last record of it; 0: there is none."""

    @classmethod
    def begin(
        cls, group: GroupId, token: int, tag: Tag, blob: Spool, digest: bytes, base: Base | None = None
    ) -> "Absorbing | None":
        """`base`: what a suffix must follow.  None if the bytes are not those of the digest, or neither of the two."""
        first = blob.frame(0)
        begun = Seat.unpack_first(first)
        if blob.digest != digest or first is None or begun is None:
            return None
        absorbing = cls(group, token, tag, blob, begun)
        absorbing._offset = frame_end(0, first)
        if isinstance(begun, Suffix):
            return absorbing if absorbing._offset == len(blob) and _follows(begun, base, tag) else None
        end: int | None = absorbing._offset
        while end is not None and end < len(blob):
            end = blob.next_frame(end)
        return absorbing if end is not None and end > absorbing._offset else None

    def taken(self, token: int) -> None:
        """The application is ready for another slice."""
        if token == self._token:
            self._asked = False

    def act(self, out: Output, ledger: Ledger | None) -> Snapshot | Suffix | None:
        """Go on as far as it goes now.  When all but the last slice is taken, and all but the last chunk durable: what to
        restore, or to complete the log's state with.  `ledger`: where to write; None: the group is not durable."""
        if ledger is not None:
            self._write(out, ledger)
        if isinstance(self._begun, Suffix):
            assert ledger is not None, "only the log of a durable group can have a base"
            return self._begun if self._end(out, ledger) else None
        if self._asked:
            return None
        data = self._blob.frame(self._offset)
        assert data is not None, "there are whole frames up to the end"
        end = frame_end(self._offset, data)
        if end < len(self._blob):
            self._offset = end
            self._asked = self._sliced = True
            out.deliveries.append(Restoring(self._group, self._token, data))
            self._blob.drop(end if ledger is None else min(end, self._written))
            return None
        if ledger is not None and not self._end(out, ledger):
            return None
        return Snapshot((data,), self._begun.partials, self._token if self._sliced else 0)

    def _end(self, out: Output, ledger: Ledger) -> bool:
        """The last chunk goes to the log, if the others are durable."""
        if self._written < self._last_chunk or ledger.logged < self.logged_by:
            return False
        self._append(out, ledger)
        return True

    @property
    def _last_chunk(self) -> int:
        """Where the last chunk begins."""
        return (len(self._blob) - 1) // self._blob.piece * self._blob.piece

    def _write(self, out: Output, ledger: Ledger) -> None:
        while self._written < self._last_chunk and max(0, self.logged_by - ledger.logged) < CHUNKS_AHEAD:
            self._append(out, ledger)

    def _append(self, out: Output, ledger: Ledger) -> None:
        data = self._blob.read(self._written, self._blob.piece)
        last = self._written + len(data) == len(self._blob)
        digest, total = (self._blob.digest, len(self._blob)) if last else (b"", 0)
        chunk = Chunk(self._group, self._token, self._tag.view, self._tag.covers, digest, self._written, total, data)
        self.logged_by = ledger.append(out, chunk)
        self._written += len(data)


def _follows(suffix: Suffix, base: Base | None, tag: Tag) -> bool:
    """It was made for that base, and what is indexed by its numbers later has a place for them."""
    if base is None or suffix.since != base or len(suffix.upto) != len(base.received) or tag.view <= base.view:
        return False
    sizes = {view: len(upto) for view, upto in suffix.ends if base.view < view < tag.view}
    sizes |= {base.view: len(base.received), tag.view: len(tag.covers)}
    return all(0 <= data.author < sizes.get(data.view, 0) and data.number >= 1 for _, data in suffix.batches)
