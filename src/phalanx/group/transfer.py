"""State transfer: a learner pulls a snapshot from the least busy full host, while the group goes on (DESIGN section 8).

The snapshot's tag says what it covers: everything before a view, and of that view each host's batches up to a number.
What follows the tag the learner has received itself, as one of those to whom everything is sent: its seat keeps it as
the suffix.  If a donor fails, another continues only where tag and digest are the same.

A large state is never handled in one go.  The donor's application gives it in slices, one after the other, and a learner
that asks meanwhile is told that it is being made.  Once the learner has all of it, and the digest is right, it gives the
slices to its own application (and the bytes to its log), again one after the other; only when the last is due has the
group's state changed hands.  Until then the learner stays one, so nobody waits for it.

A learner whose log has an older state of a durable group says how far it goes (`Base`).  A donor that still keeps all
that was delivered since then gives that in place of a snapshot: the cut that ended the learner's view, and what follows.
"""

from typing import NamedTuple

from phalanx.group.absorbing import Absorbing
from phalanx.group.channel import Channel
from phalanx.group.contents import Suffix
from phalanx.group.core import Core
from phalanx.group.ledger import cut_of
from phalanx.group.leftout import note_left_out, replaced
from phalanx.group.messages import Base, Chunk, Fetch
from phalanx.group.seat import Seat, Tag
from phalanx.model.events import RestoreTaken, SnapshotTaken, SnapshotUnwanted, SnapshotWanted
from phalanx.model.view import GroupId, Name
from phalanx.parts.download import Download
from phalanx.parts.spool import Spool, framed


class Snap(NamedTuple):
    """What a donor gives, ready to be sent: a snapshot, or what follows a learner's base."""

    token: int
    tag: Tag
    blob: Spool
    base: Base | None = None


Key = tuple[GroupId, Name]
"""Which of them: of a group, for all ("") or, if it only follows a learner's base, for that learner."""


class Wanted(NamedTuple):
    """A snapshot that the application was asked for: its tag, what has come of it (first the seat's open payloads as of
    that moment), and who wants it."""

    group: GroupId
    tag: Tag
    blob: Spool
    asked: set[Name]


PIECES_AHEAD = 8
"""Pieces of a snapshot under way at once: with pieces of 256 KiB, 2 MiB in each round trip."""


class Fetching:
    """A learner's transfer of one group."""

    __slots__ = ("absorbing", "avoid", "blob", "digest", "donor", "download", "moved_at", "piece", "tag", "token")

    def __init__(self, piece: int) -> None:
        self.piece = piece
        self.donor: Name | None = None
        self.avoid: set[Name] = set()
        self.moved_at = 0
        """When this donor last got us further."""
        self.restart()

    def restart(self) -> None:
        """Nothing of what has come is of use."""
        self.token = 0
        self.tag: Tag | None = None
        self.digest = b""
        self.download = Download(self.piece, PIECES_AHEAD)
        self.blob = Spool(self.piece)
        """What has come of it without a gap."""
        self.absorbing: Absorbing | None = None
        """All of it is here, and on its way to the application."""


class Transfer:
    """The part of a node that gives and fetches state."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._snaps: dict[Key, Snap] = {}
        self._used_at: dict[Key, int] = {}
        self._wanted: dict[int, Wanted] = {}
        self._fetching: dict[GroupId, Fetching] = {}
        self._last_token = core.rng.getrandbits(40)  # an answer meant for a former incarnation fits none of ours

    def begin(self) -> None:
        """A view began: donors may be gone, and members that failed before may do now."""
        core = self.core
        assert core.view is not None
        for group, fetching in self._fetching.items():
            fetching.avoid.clear()
            place = core.view.group(group)
            if place is None or fetching.donor not in place.hosts:
                fetching.donor = None
        self._fetching = {g: f for g, f in self._fetching.items() if g in core.seats}
        self._drop_snapshots()

    def _drop_snapshots(self) -> None:
        """Snapshots of states that are not the group's any more, or not here."""
        synced = {g for g, seat in self.core.seats.items() if seat.synced}
        self._snaps = {k: s for k, s in self._snaps.items() if k[0] in synced and self._is_sound(k[0], s.tag)}
        for token, wanted in list(self._wanted.items()):
            if wanted.group not in synced or not self._is_sound(wanted.group, wanted.tag):
                del self._wanted[token]
                self.core.out.deliveries.append(SnapshotUnwanted(wanted.group, token))

    @property
    def busy(self) -> int:
        """Snapshots that this node is giving out."""
        return len(self._snaps) + len(self._wanted)

    def is_at_rest(self) -> bool:
        """No state is fetched, and none that is here is given out."""
        return not (self._fetching or self._used_at) and all(seat.synced for seat in self.core.seats.values())

    def _is_sound(self, group: GroupId, tag: Tag) -> bool:
        """A snapshot of a view that has ended must not go beyond the cut: its donor may have delivered on receipt what
        nobody else has, and be gone."""
        view = self.core.view
        if view is None or tag.view > view.id:
            return True
        if tag.view == view.id:
            place = view.group(group)
            return place is None or len(place.hosts) == len(tag.covers)
        decision = self.core.past.get(tag.view)
        cut = cut_of(decision, group) if decision is not None else None
        if cut is None or len(cut.upto) != len(tag.covers):
            return False
        return all(have <= upto for have, upto in zip(tag.covers, cut.upto, strict=True))

    # --- the donor

    def on_fetch(self, sender: Name, message: Fetch) -> None:
        core = self.core
        seat, channel = core.seats.get(message.group), core.channels.get(message.group)
        if seat is None or channel is None or not seat.synced or channel.me < 0 or core.view is None or core.excluded:
            return
        if seat.replay is not None:
            return  # nobody here holds the state yet
        least = Tag(message.view, message.covers)
        if least.view > core.view.id:
            return
        if least.view == core.view.id and len(least.covers) != len(channel.hosts):
            return
        if message.base is not None and (suffix := self._since(sender, seat, channel, message.base, least)) is not None:
            self._send_chunk(sender, (message.group, sender), suffix, message.offset)
            return
        snap = self._snaps.get((message.group, ""))
        if snap is not None and snap.tag.reaches(least):
            self._send_chunk(sender, (message.group, ""), snap, message.offset)
            return
        for token, wanted in list(self._wanted.items()):
            if wanted.group != message.group:
                continue
            if wanted.tag.reaches(least):
                wanted.asked.add(sender)
                core.post([sender], Chunk(message.group, token, wanted.tag.view, wanted.tag.covers, b"", 0, 0, b""))
                return
            wanted.asked.discard(sender)
            if not wanted.asked:  # of a former view, and nobody can use it any more
                del self._wanted[token]
                core.out.deliveries.append(SnapshotUnwanted(message.group, token))
        self._last_token += 1
        tag = Tag(core.view.id, tuple(channel.held.delivered))
        blob = Spool(core.config.limits.chunk)
        Seat.begin_packing(blob, seat.partials())
        self._wanted[self._last_token] = Wanted(message.group, tag, blob, {sender})
        core.note("snapshot.wanted", message.group, tag.view)
        core.out.deliveries.append(SnapshotWanted(message.group, self._last_token))

    def _since(self, learner: Name, seat: Seat, channel: Channel, base: Base, least: Tag) -> Snap | None:
        """What was delivered here after that base, if it is all kept."""
        key = (seat.group, learner)
        snap = self._snaps.get(key)
        if snap is not None and snap.base == base and snap.tag.reaches(least):
            return snap
        found = seat.since(base.view, base.received)
        if found is None:
            self._snaps.pop(key, None)
            return None
        blob = Spool(self.core.config.limits.chunk)
        Seat.pack_suffix(blob, Suffix(base, found.upto, found.items, found.ends))
        self._last_token += 1
        self.core.note("suffix.given", seat.group, len(blob))
        tag = Tag(channel.view, tuple(channel.held.delivered))
        snap = self._snaps[key] = Snap(self._last_token, tag, blob, base)
        return snap

    def on_snapshot(self, answer: SnapshotTaken) -> None:
        """A slice from the application."""
        core = self.core
        wanted = self._wanted.get(answer.token)
        if wanted is None or wanted.group != answer.group:
            return
        if answer.data is None or answer.group not in core.seats or core.view is None:
            del self._wanted[answer.token]
            return
        wanted.blob.append(framed(answer.data))
        if answer.more:
            core.out.deliveries.append(SnapshotWanted(answer.group, answer.token))
            return
        del self._wanted[answer.token]
        if not self._is_sound(wanted.group, wanted.tag):
            return
        snap = Snap(answer.token, wanted.tag, wanted.blob)
        self._snaps[answer.group, ""] = snap
        for name in sorted(wanted.asked):
            self._send_chunk(name, (answer.group, ""), snap, 0)

    def _send_chunk(self, to: Name, key: Key, snap: Snap, offset: int) -> None:
        self._used_at[key] = self.core.now.mono
        blob = snap.blob
        data = blob.read(offset, self.core.config.limits.chunk)
        self.core.post(
            [to],
            Chunk(key[0], snap.token, snap.tag.view, snap.tag.covers, blob.digest, offset, len(blob), data),
        )

    # --- the learner

    def on_chunk(self, sender: Name, chunk: Chunk) -> None:
        core = self.core
        seat, fetching = core.seats.get(chunk.group), self._fetching.get(chunk.group)
        if seat is None or seat.synced or fetching is None or fetching.donor != sender or core.view is None:
            return
        if not chunk.digest:
            fetching.moved_at = core.now.mono  # it is being made
            return
        tag = Tag(chunk.view, chunk.covers)
        place = core.past[chunk.view - 1].view.group(chunk.group) if chunk.view - 1 in core.past else None
        if place is not None and len(place.hosts) != len(chunk.covers):
            return
        if (fetching.tag, fetching.digest) != (tag, chunk.digest):
            if fetching.token >= chunk.token:
                return  # late, of a snapshot that this donor has replaced
            if fetching.tag is not None:
                core.note("transfer.restart", chunk.group)
            fetching.restart()
            fetching.tag, fetching.digest = tag, chunk.digest
        fetching.token = chunk.token
        if fetching.download.take(chunk.offset, chunk.total, chunk.data):
            fetching.moved_at = core.now.mono
            for data in fetching.download.drain():
                fetching.blob.append(data)

    def on_restored(self, answer: RestoreTaken) -> None:
        """The application has taken a slice."""
        fetching = self._fetching.get(answer.group)
        if fetching is not None and fetching.absorbing is not None:
            fetching.absorbing.taken(answer.token)

    def act(self) -> None:
        """Ask, ask elsewhere, finish; forget snapshots that nobody fetches any more."""
        core = self.core
        now = core.now.mono
        if any(g not in core.seats or not core.seats[g].synced for g, _ in self._snaps):
            self._drop_snapshots()
        idle = 8 * core.timing.suspect_after
        for key in [k for k, at in self._used_at.items() if now - at >= idle]:
            del self._used_at[key]
            self._snaps.pop(key, None)
        if core.view is None or not core.live or core.excluded or core.decision is not None:
            return
        for group, seat in core.seats.items():
            if seat.synced or self._waits(group):
                continue
            fetching = self._fetching.setdefault(group, Fetching(core.config.limits.chunk))
            if seat.overflowed:
                core.note("transfer.overflow", group)
                seat.lose_state(Tag(core.view.id, tuple(core.channels[group].held.delivered)))
                fetching.restart()
            self._pursue(group, fetching)

    def _waits(self, group: GroupId) -> bool:
        """There is no room for its state on our disk."""
        core = self.core
        return bool(core.room.space) and group in core.seats and core.seats[group].spec.durable

    def _pursue(self, group: GroupId, fetching: Fetching) -> None:
        core = self.core
        view, seat, channel = core.view, core.seats[group], core.channels.get(group)
        assert view is not None
        if channel is None:
            return
        if fetching.tag is not None and not fetching.tag.reaches(seat.suffix_from):
            fetching.restart()  # what follows that snapshot is not here any more
            fetching.donor = None
        if fetching.tag is not None and fetching.download.complete:
            if not self._is_sound(group, fetching.tag):
                fetching.restart()
            elif fetching.tag.view <= view.id:
                self._absorb(group, fetching, fetching.tag)
                return
            else:
                return
        if fetching.donor is None or fetching.donor in core.suspects:
            self._choose(group, fetching)
        elif core.now.mono - fetching.moved_at >= 2 * core.timing.suspect_after:
            fetching.avoid.add(fetching.donor)
            self._choose(group, fetching)
        self._ask(group, fetching)

    def _choose(self, group: GroupId, fetching: Fetching) -> None:
        """The least busy full host that we hear, not the eldest if another will do."""
        core = self.core
        assert core.view is not None
        hosts = core.channels[group].hosts
        usable = [n for n in hosts if n not in core.suspects and n not in fetching.avoid and n != core.name]
        if not usable:
            fetching.avoid.clear()
            usable = [n for n in hosts if n not in core.suspects and n != core.name]
        if not usable:
            fetching.donor = None
            return
        busy = {n: core.rows[n].busy if n in core.rows else 0 for n in usable}
        fetching.donor = min(reversed(usable), key=lambda n: busy[n])
        fetching.moved_at = core.now.mono
        fetching.token = 0
        fetching.download.ask_again()
        core.note("transfer.fetch", group, fetching.donor)

    def _ask(self, group: GroupId, fetching: Fetching) -> None:
        if fetching.donor is None:
            return
        least = fetching.tag or self.core.seats[group].suffix_from
        base = self.core.ledger.base(group)
        for offset in fetching.download.to_ask(self.core.now.mono, 2 * self.core.timing.resend_after):
            self.core.post([fetching.donor], Fetch(group, offset, *least, base))

    def _absorb(self, group: GroupId, fetching: Fetching, tag: Tag) -> None:
        core = self.core
        view, seat, channel = core.view, core.seats[group], core.channels[group]
        assert view is not None
        if fetching.absorbing is None:
            self._last_token += 1
            base = core.ledger.base(group)
            fetching.absorbing = Absorbing.begin(group, self._last_token, tag, fetching.blob, fetching.digest, base)
        if fetching.absorbing is None:
            self._give_up(group, fetching)
            return
        content = fetching.absorbing.act(core.out, core.ledger if seat.spec.durable else None)
        if content is None:
            return
        former = core.ledger.complete(group, content) if isinstance(content, Suffix) else None
        if isinstance(content, Suffix) and former is None:
            self._give_up(group, fetching)
            return
        seat.base_at = fetching.absorbing.logged_by
        if tag.view == view.id:
            channel.adopt(tag.covers)
            core.touched[group] = channel
            core.ledger.append_fresh(core.out, channel)
        core.note("transfer.done", group, tag.view, len(fetching.blob))
        if isinstance(content, Suffix):
            assert former is not None
            core.note("transfer.suffix", group, len(fetching.blob))
            note_left_out(core)
            seat.resume(former, tag, view.everyone, core.out.deliveries)
        else:
            replaced(core, group)
            seat.restore(content, tag, view.everyone, core.out.deliveries)
        del self._fetching[group]
        core.row_due = True

    def _give_up(self, group: GroupId, fetching: Fetching) -> None:
        """What has come is nothing that we can go on with."""
        self.core.note("transfer.corrupt", group, fetching.donor)
        if fetching.donor is not None:
            fetching.avoid.add(fetching.donor)
        fetching.restart()
        fetching.donor = None

    def deadline(self) -> int | None:
        core = self.core
        if core.excluded or not core.live:
            return None
        again = 2 * core.timing.resend_after
        pursued = [f for g, f in self._fetching.items() if f.absorbing is None and not self._waits(g)]
        times = [at for f in pursued if f.donor is not None and (at := f.download.due(again)) is not None]
        times += [at + 8 * core.timing.suspect_after for at in self._used_at.values()]
        if any(not s.synced and g not in self._fetching for g, s in core.seats.items()) or any(
            f.donor is None for f in pursued
        ):
            times.append(core.now.mono + core.timing.resend_after)
        return min(times, default=None)
