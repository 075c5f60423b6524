"""A fetched snapshot on its way into the learner's application and log, a little at a time.

The application is given the next slice when it has taken the one before; the log is given a few chunks ahead of what is
durable, so that batches need not wait for the writing of all of it.  The last slice and the last chunk are kept back:
both go in the step in which the learner takes over the state, so nothing is half done for anybody.
"""

from phalanx.group.ledger import CHUNKS_AHEAD, Ledger
from phalanx.group.messages import Chunk, Partials
from phalanx.group.seat import Seat, Snapshot, Tag
from phalanx.model.events import Restoring
from phalanx.model.machine import Output
from phalanx.model.view import GroupId
from phalanx.parts.spool import Spool, frame_end


class Absorbing:
    """See the module's text."""

    __slots__ = (
        "_asked",
        "_blob",
        "_group",
        "_offset",
        "_partials",
        "_sliced",
        "_tag",
        "_token",
        "_written",
        "logged_by",
    )

    def __init__(self, group: GroupId, token: int, tag: Tag, blob: Spool, partials: Partials) -> None:
        self._group = group
        self._token = token
        self._tag = tag
        self._blob = blob
        self._partials = partials
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
    def begin(cls, group: GroupId, token: int, tag: Tag, blob: Spool, digest: bytes) -> "Absorbing | None":
        """None if the bytes are not those of the digest, or no snapshot."""
        first = blob.frame(0)
        partials = Seat.unpack_partials(first)
        if blob.digest != digest or first is None or partials is None:
            return None
        absorbing = cls(group, token, tag, blob, partials)
        absorbing._offset = frame_end(0, first)
        end: int | None = absorbing._offset
        while end is not None and end < len(blob):
            end = blob.next_frame(end)
        return absorbing if end is not None and end > absorbing._offset else None

    def taken(self, token: int) -> None:
        """The application is ready for another slice."""
        if token == self._token:
            self._asked = False

    def act(self, out: Output, ledger: Ledger | None) -> Snapshot | None:
        """Go on as far as it goes now.  When all but the last slice is taken, and all but the last chunk durable: what to
        restore.  `ledger`: where to write; None: the group is not durable."""
        if ledger is not None:
            self._write(out, ledger)
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
        if ledger is not None:
            if self._written < self._last_chunk or ledger.logged < self.logged_by:
                return None
            self._append(out, ledger)
        return Snapshot((data,), self._partials, self._token if self._sliced else 0)

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
