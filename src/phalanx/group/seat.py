"""This node's part in one group, across views: what a `Channel` cannot hold because it ends with its view.

A seat is `synced` when the application here has the group's state.  Until then deliveries are kept as a suffix, to be
replayed on top of the snapshot that the transfer brings.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from phalanx.group.batch import PAYLOAD_OVERHEAD, WHOLE, Entry, size_of
from phalanx.group.config import Limits
from phalanx.group.contents import Opening, Partials, Suffix
from phalanx.group.messages import Data
from phalanx.model.events import Delivered, Restored, Restoring, Writable
from phalanx.model.view import GroupId, GroupSpec, Member
from phalanx.parts.retained import Retained, Since
from phalanx.parts.spool import Spool, frame_end, framed


class Tag(NamedTuple):
    """What a snapshot covers: all views before `view`, and of it each host's batches up to `covers`."""

    view: int
    covers: tuple[int, ...]

    def reaches(self, other: "Tag") -> bool:
        """It covers all that `other` covers (whose view may be the earlier one)."""
        if self.view != other.view:
            return self.view > other.view
        if len(self.covers) != len(other.covers):
            return False  # not of one view, whatever they say
        return all(have >= need for have, need in zip(self.covers, other.covers, strict=True))


class Snapshot(NamedTuple):
    """A state as it is restored: the application's slices, and the large payloads of which fragments are delivered.
    `token`: of the slices but the last that the application has been given already; 0: it has been given none."""

    slices: Sequence[bytes]
    partials: Partials
    token: int = 0


REPLAYED = -1
"""The token of slices that come from the log."""

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], Opening | Suffix] = msgspec.msgpack.Decoder(Opening | Suffix).decode


class Seat:
    """See the module's text."""

    def __init__(self, group: GroupId, spec: GroupSpec, limits: Limits, synced: bool) -> None:
        self.group = group
        self.spec = spec
        self.synced = synced
        self.queue: deque[Entry] = deque()
        self.queued = 0
        self.backlog = 0
        self.replay: list[Any] | None = None
        """What the application has yet to be given, since it has not asked for the group after a restart; None: it gets
        everything at once."""
        self.base_at = 0
        """The record that must be durable before the state counts as held here (see `Ledger.append`)."""
        self.full = False
        """The application filled the queue, and is to be told when there is room."""
        self._limits = limits
        self._retained: Retained[tuple[Member, Data]] | None = Retained(limits.retained) if spec.durable else None
        self._open: tuple[list[bytes], int] | None = None
        self._partials: dict[Member, list[bytes]] = {}
        self._suffix: list[tuple[int, Member, Data]] = []
        self._suffix_size = 0
        self._missed = 0
        """Payloads of this process that are in the group's state, and were not delivered here before that was lost."""
        self.suffix_from = Tag(0, ())
        """The suffix has everything after this: only a snapshot that reaches it is of use."""

    # --- what the application multicasts

    def enqueue(self, payloads: Sequence[bytes]) -> None:
        """Pack payloads into batches: small ones together, a large one in fragments."""
        limit = self._limits.batch
        if not payloads:
            return
        sizes = [len(payload) + PAYLOAD_OVERHEAD for payload in payloads]
        total, largest = sum(sizes), max(sizes)
        self.queued += total
        if largest > limit:
            for payload, size in zip(payloads, sizes, strict=True):
                if size > limit:
                    self._enqueue_fragments(payload)
                else:
                    self._enqueue_run([payload], size)
        elif total <= limit:
            self._enqueue_run(list(payloads), total)
        else:  # so many of any of them fit
            count = limit // largest
            for start in range(0, len(sizes), count):
                self._enqueue_run(list(payloads[start : start + count]), sum(sizes[start : start + count]))

    def _enqueue_run(self, payloads: list[bytes], size: int) -> None:
        if self._open is not None and self._open[1] + size <= self._limits.batch:
            batch, filled = self._open
            batch += payloads
            self._open = (batch, filled + size)
            self.queue[-1] = Entry(batch, filled + size, WHOLE)
        else:
            self._open = (payloads, size)
            self.queue.append(Entry(payloads, size, WHOLE))

    def _enqueue_fragments(self, payload: bytes) -> None:
        limit = self._limits.batch
        self._open = None
        starts = range(0, len(payload), limit)
        self.queued += PAYLOAD_OVERHEAD * (len(starts) - 1)
        for left, start in zip(range(len(starts) - 1, -1, -1), starts, strict=True):
            piece = payload[start : start + limit]
            self.queue.append(Entry([piece], len(piece) + PAYLOAD_OVERHEAD, left))

    def next_entry(self) -> Entry:
        self._open = None
        entry = self.queue.popleft()
        self.queued -= entry.size
        return entry

    @property
    def is_within_payload(self) -> bool:
        """A large payload comes next, of which part may have been sent."""
        return bool(self.queue) and self.queue[0].left != WHOLE

    def put_back(self, entries: list[Entry]) -> None:
        """These come before everything that is queued (the view ended before they were delivered anywhere)."""
        self._open = None
        self.queue.extendleft(reversed(entries))
        self.queued += sum(e.size for e in entries)

    def room_again(self, deliveries: list[Any]) -> None:
        if self.full and self.queued <= self._limits.queue // 2:
            self.full = False
            deliveries.append(Writable(self.group))

    # --- what is delivered to it

    def deliver(self, view: int, sender: Member, data: Data, deliveries: list[Any]) -> None:
        """Hand a batch on, or keep it while the state is not here, or the application has not asked for it."""
        if not self.synced:
            self._suffix.append((view, sender, data))
            self._suffix_size += size_of(data.payloads)
            return
        payloads, left = data.payloads, data.left
        if self._retained is not None:
            self._retained.add(view, data.author, data.number, size_of(payloads), (sender, data))
        if left != WHOLE:
            pieces = self._partials.setdefault(sender, [])
            pieces.extend(payloads)
            if left > 0:
                return
            payloads = [b"".join(self._partials.pop(sender))]
        self.backlog += len(payloads[0]) if len(payloads) == 1 else sum(map(len, payloads))
        into = deliveries if self.replay is None else self.replay
        into.append(Delivered(self.group, view, sender, data.stamp, payloads))

    def speak(self, deliveries: list[Any]) -> None:
        """The application asks for the group: it gets what was kept for it."""
        if self.replay is not None:
            deliveries += self.replay
            self.replay = None

    def view_began(self, senders: Iterable[Member]) -> None:
        """Large payloads of those who cannot go on sending will never be complete."""
        alive = set(senders)
        self._partials = {m: pieces for m, pieces in self._partials.items() if m in alive}

    def ended(self, view: int, upto: Sequence[int]) -> None:
        """A view ended with that cut, all of which was delivered to this seat."""
        if self._retained is not None:
            self._retained.ended(view, upto)

    # --- state transfer

    def since(self, view: int, received: Sequence[int]) -> Since[tuple[Member, Data]] | None:
        """What one lacks whose log goes as far as that; None if it is not all here any more."""
        return self._retained.since(view, received) if self._retained is not None and self.synced else None

    @property
    def overflowed(self) -> bool:
        return self._suffix_size > self._limits.suffix

    def lose_state(self, after: Tag) -> None:
        """What follows `after` is kept for replay; what was before is of no use any more."""
        self.synced = False
        if self.replay is not None:
            self.replay.clear()
            self.backlog = 0
        self._suffix.clear()
        self._suffix_size = 0
        self._partials.clear()
        self.suffix_from = after
        if self._retained is not None:
            self._retained.restart(*after)

    def miss(self, own: Iterable[Data]) -> None:
        """These batches of ours belong to the state that is to come, and will not be delivered here."""
        self._missed += sum(len(data.payloads) for data in own if data.left <= 0)

    def partials(self) -> Partials:
        return sorted((member, list(pieces)) for member, pieces in self._partials.items())

    @staticmethod
    def begin_packing(spool: Spool, partials: Partials) -> None:
        """What a snapshot begins with; the application's slices follow as frames."""
        spool.append(framed(_encode(Opening(partials))))

    @staticmethod
    def pack_suffix(spool: Spool, suffix: Suffix) -> None:
        """All of what is sent in place of a snapshot."""
        spool.append(framed(_encode(suffix)))

    @staticmethod
    def unpack_first(data: bytes | None) -> Opening | Suffix | None:
        """What the first frame says; None if it says nothing of the kind."""
        try:
            return _decode(data) if data is not None else None
        except msgspec.MsgspecError:
            return None

    @classmethod
    def unpack(cls, spool: Spool) -> Snapshot | Suffix | None:
        """A whole snapshot, or what is sent in its place; None if it is nothing of the kind."""
        first = spool.frame(0)
        begun = cls.unpack_first(first)
        if first is None or begun is None:
            return None
        if isinstance(begun, Suffix):
            return begun if frame_end(0, first) == len(spool) else None
        slices, offset = [], frame_end(0, first)
        while (data := spool.frame(offset)) is not None:
            slices.append(data)
            offset = frame_end(offset, data)
            spool.drop(offset)
        return Snapshot(slices, begun.partials) if slices and offset == len(spool) else None

    def restore(self, snapshot: Snapshot, tag: Tag, senders: Iterable[Member], deliveries: list[Any]) -> None:
        """The snapshot is complete: take it, and replay what it does not cover.  `senders` of the present view."""
        if self._retained is not None and not self.synced:
            self._retained.restart(*tag)
        token, beginning = snapshot.token, list[Any]()
        if not token and len(snapshot.slices) > 1:
            token = REPLAYED
            beginning += [Restoring(self.group, token, data) for data in snapshot.slices[:-1]]
        beginning.append(Restored(self.group, snapshot.slices[-1], token, self._missed))
        self._missed = 0
        self._go_on(dict(snapshot.partials), beginning, tag, senders, deliveries)

    def resume(self, former: "Seat", tag: Tag, senders: Iterable[Member], deliveries: list[Any]) -> None:
        """The same, with the state that the log held and that was brought up to the tag."""
        assert former.replay is not None, "what a log holds was given to nobody"
        if self._retained is not None and former._retained is not None:
            former._retained.go_on(self._retained)
            self._retained = former._retained
        self._go_on(former._partials, former.replay, tag, senders, deliveries)
        self.backlog += former.backlog

    def _go_on(
        self,
        partials: dict[Member, list[bytes]],
        beginning: list[Any],
        tag: Tag,
        senders: Iterable[Member],
        deliveries: list[Any],
    ) -> None:
        suffix, self._suffix, self._suffix_size = self._suffix, [], 0
        self.synced = True
        self._partials = partials
        if self.replay is not None:
            self.replay.clear()
            self.backlog = 0
        (deliveries if self.replay is None else self.replay).extend(beginning)
        for view, sender, data in suffix:
            if view > tag.view or (view == tag.view and data.number > tag.covers[data.author]):
                self.deliver(view, sender, data, deliveries)
        self.view_began(senders)
