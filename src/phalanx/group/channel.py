"""Multicast of one group inside one view (DESIGN section 5).

Each host numbers its batches 1, 2, ... in the view.  A channel keeps every batch until all full hosts have shown it (own
ones a little longer for learners), sends again to whoever shows less than it was sent, and takes from the hold-back queue
what the group's order allows.  It lives exactly as long as its view; what survives views is in the `Seat`.

Invariants: received is without gaps; delivered <= received; in a uniform group delivered <= stable at the time.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile

from phalanx.group.batch import Entry, size_of
from phalanx.group.config import Limits
from phalanx.group.messages import Ack, Data, GroupRow
from phalanx.group.showing import Showing
from phalanx.model.clock import Stamp
from phalanx.model.view import Group, Name, Order
from phalanx.parts.holdback import Holdback, holdback
from phalanx.parts.stability import Stability


class Peer:
    """What a host or learner has been sent of our batches, and has shown to have."""

    __slots__ = ("gap", "moved_at", "paused", "sent", "shown")

    def __init__(self) -> None:
        self.sent = 0
        self.shown = 0
        self.moved_at = 0
        """When it last showed more, or was sent something after it had shown all."""
        self.gap = False
        """It has seen a successor of something that it lacks."""
        self.paused = False
        """It is a learner whose disk has no room: it takes nothing."""


class Channel:
    """See the module's text."""

    def __init__(self, view: int, group: Group, me: Name, limits: Limits) -> None:
        self.view = view
        self.group = group
        self.limits = limits
        self.hosts = group.hosts
        self._uniform = group.spec.is_uniform
        self.is_durable = group.spec.durable
        self.is_causal = group.spec.order is Order.CAUSAL
        self.places: dict[Name, int] = {name: place for place, name in enumerate(group.hosts)}
        """Of each host, its index in every vector of the group."""
        self.me = self.places.get(me, -1)
        size = len(group.hosts)
        self.matrix = Stability(size, self.me, durable=self.is_durable)
        self.arrived = [0] * size if self.is_durable else self.matrix.received
        """Of each author, the highest batch that is here without gaps; received in a durable group once on disk."""
        self.fresh: list[Data] = []
        """Of a durable group: what has arrived and has not been given to the log."""
        self.held: Holdback[Data] = holdback(group.spec.order, size)
        self.last = 0
        self.peers: dict[Name, Peer] = {name: Peer() for name in group.everyone if name != me}
        self.backlogs: dict[Name, int] = dict.fromkeys(self.peers, 0)
        self.synced: set[Name] = set()
        """Learners that have shown to hold the state."""
        self.showing = Showing(self.peers)
        self._kept: list[deque[Data]] = [deque() for _ in range(size)]
        self._sizes: list[deque[int]] = [deque() for _ in range(size)]
        self._bytes = [0] * size
        self.released = [0] * size
        """Of each author, up to which number we keep nothing any more."""
        self._learned: dict[Name, tuple[int, ...]] = {name: (0,) * size for name in group.learners if name != me}
        """What learners have shown: they are not waited for, but batches are kept for them within `slack`."""
        self._early: dict[tuple[int, int], Data] = {}
        self._unstable = 0
        self._own_stable = 0
        self._own_sizes: deque[int] = deque()
        """Of our batches that are not stable yet."""
        self._after: tuple[int, ...] = ()
        """What the last of our batches comes after."""
        self._behind: dict[tuple[int, int], tuple[int, int]] = {}
        self._changed = False
        """More was shown or delivered since the last `release`."""

    # --- sending

    @property
    def is_settled(self) -> bool:
        """Every full host has shown all that we sent, and all that it comes after: any cut has both."""
        return self._own_stable == self.last and all(n <= self.matrix.stable(a) for a, n in enumerate(self._after))

    @property
    def unstable(self) -> int:
        """Bytes of our batches that not every full host has shown."""
        return self._unstable

    @property
    def kept(self) -> int:
        """Bytes of batches that are here because somebody may ask for them."""
        return sum(self._bytes)

    @property
    def is_idle(self) -> bool:
        """There is nothing to send again, to deliver, to forget or to show, and nobody to wait for."""
        return not (self.showing.owed or self._behind or any(self._kept))

    @property
    def has_gap(self) -> bool:
        """Batches are here whose predecessors are not."""
        return bool(self._early)

    def has_room(self) -> bool:
        """The window is open: neither our unstable bytes nor the slowest full host's backlog fill it."""
        worst = 0
        for name in self.hosts:
            worst = max(worst, self.backlogs.get(name, 0))
        return self._unstable + worst < self.limits.window

    def send(self, entry: Entry, stamp: Stamp, row: int) -> Data:
        """Make the entry our next batch and receive it ourselves."""
        assert self.me >= 0, "only hosts send"
        after = self._after = tuple(self.held.delivered) if self.is_causal else ()
        data = Data(self.view, self.group.id, self.me, self.last + 1, stamp, row, entry.left, after, entry.payloads)
        self.last += 1
        self._unstable += entry.size
        self._own_sizes.append(entry.size)
        self._take(data)
        return data

    def to_send(self, now: int, resend_after: int) -> list[tuple[list[Name], Data]]:
        """Batches that peers have not been sent, with the peers that lack the same: normally one list of all."""
        if self.me < 0:
            return []
        todo: dict[int, list[Name]] = {}
        for name, peer in self.peers.items():
            if peer.paused:
                continue
            if peer.sent > peer.shown:
                # A gap is mended sooner, but not with every row that shows it: the mending may be under way.
                wait = resend_after // 4 if peer.gap else resend_after
                if now - peer.moved_at >= wait:
                    peer.sent, peer.moved_at = peer.shown, now
            if peer.sent < self.last:
                todo.setdefault(peer.sent, []).append(name)
                if peer.sent == peer.shown:
                    peer.moved_at = now
        out: list[tuple[list[Name], Data]] = []
        for sent, names in todo.items():
            out.extend((names, data) for data in self._kept_after(sent))
            for name in names:
                self.peers[name].sent = self.last
        return out

    def _kept_after(self, number: int) -> list[Data]:
        """Our batches after that number: the last of what we keep."""
        kept = self._kept[self.me]
        if kept and number == self.last - 1:
            return [kept[-1]]
        return list(takewhile(lambda data: data.number > number, reversed(kept)))[::-1]

    def resend_at(self, resend_after: int) -> int | None:
        """When to send again if nothing is shown until then."""
        if self.me < 0:
            return None
        first: int | None = None
        for peer in self.peers.values():
            if peer.sent > peer.shown and not peer.paused:
                at = peer.moved_at + (resend_after // 4 if peer.gap else resend_after)
                if first is None or at < first:
                    first = at
        return first

    def rewind(self, name: Name) -> None:
        """The link to that peer was made anew: what it has not shown may be lost."""
        peer = self.peers.get(name)
        if peer is not None:
            peer.sent = peer.shown

    def pause(self, name: Name, *, paused: bool) -> bool:
        """Whether that peer's disk has no room.  A learner is sent nothing meanwhile, and then what it has not shown.
        True if this changes what is to be sent."""
        peer = self.peers.get(name)
        paused = paused and name not in self.places
        if peer is None or peer.paused == paused:
            return False
        peer.paused = paused
        self.rewind(name)
        return True

    # --- receiving

    def receive(self, data: Data) -> bool:
        """Take a batch from its author or a relay.  False: it was here already, or is too far beyond a gap."""
        author, number = data.author, data.number
        arrived = self.arrived[author]
        if number <= arrived:
            return False
        if number > arrived + 1:
            if number <= arrived + self.limits.early:
                self._early[author, number] = data
            return False
        self._take(data)
        while self._early and (following := self._early.pop((author, number + 1), None)) is not None:
            number += 1
            self._take(following)
        return True

    def _take(self, data: Data) -> None:
        author, size = data.author, size_of(data.payloads)
        self._kept[author].append(data)
        self._sizes[author].append(size)
        self._bytes[author] += size
        if self.is_durable:
            self.arrived[author] = data.number
            self.fresh.append(data)
        else:
            self.settle(data)

    def settle(self, data: Data) -> None:
        """The batch is received: in a durable group, its record is durable."""
        author, number = data.author, data.number
        if number <= self.matrix.received[author]:
            return  # a snapshot that came meanwhile has it
        self.matrix.receive(author, number, data.stamp)
        self.held.add(data)
        if author != self.me:
            self.showing.asked(self.hosts[author])
        elif self.is_durable:  # else the batch itself has shown it
            self.showing.changed()

    def show(self, name: Name, clock: Stamp, row: GroupRow, now: int) -> None:
        """A row of another host or learner."""
        self.show_received(name, clock, row.last, row.backlog, row.received, now)
        if name in self._learned:
            self._learned[name] = tuple(map(max, self._learned[name], row.received))
        (self.synced.add if row.synced else self.synced.discard)(name)
        if row.gap and (peer := self.peers.get(name)) is not None:
            peer.gap = True

    def show_received(
        self, name: Name, clock: Stamp, last: int, backlog: int, received: tuple[int, ...], now: int
    ) -> None:
        """What a row says of deliveries, without a gap."""
        self._changed = True
        place = self.places.get(name)
        if place is not None:
            self.matrix.show(place, clock, last, received)
        self.backlogs[name] = backlog
        if self.me >= 0 and (peer := self.peers.get(name)) is not None:
            shown = received[self.me]
            if shown > peer.shown:
                peer.shown, peer.moved_at = shown, now
            peer.gap = False

    def waiting_for_row(self) -> set[Name]:
        """Who is to be shown our row at once."""
        return self.showing.waiting([self.hosts[a] for a, kept in enumerate(self._kept) if kept and a != self.me])

    def row(self, backlog: int, synced: bool) -> GroupRow:
        received = tuple(self.matrix.received)
        released = self.released[self.me] if self.me >= 0 else 0
        return GroupRow(self.group.id, self.last, released, received, backlog, synced, self.has_gap)

    def ack(self, clock: Stamp, backlog: int) -> Ack:
        return Ack(self.view, self.group.id, clock, self.last, backlog, tuple(self.matrix.received))

    # --- delivering

    def deliver(self, clock: Stamp, may: Callable[[Data], bool] | None) -> list[Data]:
        """What the order allows now.  `clock`: our own, which we will not stamp below.  `may`: the further condition
        of a group whose hosts are no quorum of the view (counter-example 4)."""
        matrix = self.matrix
        if self.me >= 0:
            matrix.clocks[self.me] = clock
        if self._uniform:
            taken = self.held.ready(matrix.stable_all(), matrix.frontier(), may)
        else:
            taken = self.held.ready(matrix.received, matrix.frontier(), None)
        if taken:
            self._changed = True
        return taken

    def release(self) -> None:
        """Forget what no full host can ask for any more, and, within `slack`, no learner either."""
        if not self._changed:
            return
        self._changed = False
        for author, kept in enumerate(self._kept):
            if not kept:
                continue
            done = min(self.matrix.stable(author), self.held.delivered[author])
            if done < kept[0].number and author != self.me:
                continue
            if author == self.me:
                self._count_stable(done)
            sizes = self._sizes[author]
            wanted = min([row[author] for row in self._learned.values()]) if self._learned else done
            while kept and kept[0].number <= done:
                if kept[0].number > wanted and self._bytes[author] <= self.limits.slack:
                    break
                self.released[author] = kept.popleft().number
                self._bytes[author] -= sizes.popleft()

    def _count_stable(self, stable: int) -> None:
        while self._own_stable < stable:
            self._own_stable += 1
            self._unstable -= self._own_sizes.popleft()

    def missed(self, name: Name, row: GroupRow) -> bool:
        """A learner has missed batches of that host which are not kept any more: only a snapshot helps."""
        return self.me < 0 and name in self.places and row.released > self.arrived[self.places[name]]

    def laggards(self, now: int, demote_after: int) -> set[Name]:
        """Full hosts that for too long have not shown what most others had already shown then (lag is judged against
        the median, and by progress: one that is always a little behind under load is no laggard)."""
        slow: set[Name] = set()
        behind: dict[tuple[int, int], tuple[int, int]] = {}
        for author in range(len(self.hosts)):
            column = [row[author] for row in self.matrix.shown]
            median = sorted(column)[len(column) // 2]
            if median == self.matrix.stable(author):
                continue  # nobody is behind it
            for host, shown in enumerate(column):
                if shown < median and host != self.me:
                    goal, since = self._behind.get((host, author), (median, now))
                    if shown >= goal:
                        goal, since = median, now
                    behind[host, author] = (goal, since)
                    if now - since >= demote_after:
                        slow.add(self.hosts[host])
        self._behind = behind
        return slow

    def excuse(self, pause: int) -> None:
        """Nobody could show us anything for that long."""
        self._behind = {key: (goal, since + pause) for key, (goal, since) in self._behind.items()}

    def lag_due(self, demote_after: int) -> int | None:
        """When the longest lag becomes too long."""
        return min([since for _, since in self._behind.values()]) + demote_after if self._behind else None

    # --- the end of the view

    def holds(self, upto: Sequence[int]) -> bool:
        return all(have >= need for have, need in zip(self.matrix.received, upto, strict=True))

    def relay(self, author: int, low: int, high: int) -> Iterable[Data]:
        """What we keep of an author's batches, for one that lacks them."""
        return [data for data in self._kept[author] if low <= data.number <= high]

    def rest(self, upto: Sequence[int]) -> list[Data]:
        """What is still to be delivered of the decided cut."""
        assert self.holds(upto), "a view ends only where its cut is held"
        return self.held.rest(upto)

    def beyond(self, upto: Sequence[int]) -> bool:
        """We have delivered what the cut leaves out (possible only for one that did not answer, in a group that is not
        uniform): our state is not the group's any more."""
        return any(have > cut for have, cut in zip(self.held.delivered, upto, strict=True))

    def unsent(self, upto: Sequence[int]) -> list[Entry]:
        """Our own batches beyond the cut: nobody has delivered them, and they go again in the next view."""
        if self.me < 0 or not self._kept[self.me]:
            return []
        first = self._kept[self.me][0].number
        return [
            Entry(data.payloads, self._sizes[self.me][data.number - first], data.left)
            for data in self._kept[self.me]
            if data.number > upto[self.me]
        ]

    def adopt(self, covers: Sequence[int]) -> None:
        """A learner's snapshot covers each host's batches up to these numbers: go on from there."""
        for author, number in enumerate(covers):
            self.held.skip_to(author, number)
            is_behind = self.arrived[author] < number
            self.matrix.cover(author, number)
            if is_behind:
                self._kept[author].clear()
                self._sizes[author].clear()
                self._bytes[author], self.released[author] = 0, number
                self.arrived[author] = number
                while (following := self._early.pop((author, self.arrived[author] + 1), None)) is not None:
                    self._take(following)
        self._changed = True
        self._early = {key: data for key, data in self._early.items() if key[1] > self.arrived[key[0]]}
        self.showing.changed()
