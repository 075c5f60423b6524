"""What every member does in a view change (DESIGN section 6): promise, hold the cut, accept, count.

    coordinator            every member
    PREPARE  ------------> freeze, PROMISE            (or NACK: a higher ballot, or an elder is heard)
    [GATHER  ------------> hold the cut, HELD]        fetch before you propose
    ACCEPT   ------------> accept; ACCEPTED to all
                           a quorum of ACCEPTED: decided

Every message is sent again until answered, and receiving it twice changes nothing.
"""

from collections.abc import Callable

from phalanx.group.channel import Channel
from phalanx.group.core import Core
from phalanx.group.messages import (
    Accept,
    Accepted,
    Cut,
    Decision,
    Gather,
    Held,
    Nack,
    Prepare,
    Progress,
    Promise,
    Pull,
    Wish,
)
from phalanx.model.view import Name, View


class Acceptor:
    """The part of a node that answers a coordinator."""

    def __init__(self, core: Core, wish: Callable[[], Wish], may_accept_at: Callable[[Decision], int]) -> None:
        """`wish`: what this node wants of the next view; `may_accept_at`: when the read leases granted allow a value."""
        self.core = core
        self._wish = wish
        self._may_accept_at = may_accept_at
        self._gather: tuple[Name, Gather] | None = None
        self._pulled_at = 0
        self._waiting: Accept | None = None
        """A value that read leases do not allow yet."""

    def begin(self) -> None:
        self._gather = self._waiting = None

    # --- what is absorbed

    def on_prepare(self, sender: Name, message: Prepare) -> None:
        core = self.core
        view, flush = core.view, core.flush
        if view is None or flush is None or core.excluded or view.named(core.name) is None:
            return
        flush.highest = max(flush.highest, message.ballot.counter)
        if (refusal := self._refusal(view, sender, message)) is not None:
            core.note("nack", sender, message.ballot, refusal)
            hears = core.mask(core.detector.hears(core.now.mono))
            core.post([sender], Nack(view.id, message.ballot, flush.promised, hears))
            return
        again = flush.promised == message.ballot
        flush.promise(message.ballot, core.now.mono)
        if not again:
            core.note("promise", message.ballot)
            core.persist(promised=flush.promised)
            self._gather = self._waiting = None
        core.post([sender], self._promise(message))

    def _refusal(self, view: View, sender: Name, message: Prepare) -> str | None:
        """Why not to promise: one promises only to a coordinator that hears oneself and all of whose elders one
        suspects as well, so that a member that cannot hear does not freeze everybody (counter-example 16)."""
        core = self.core
        assert core.flush is not None
        rank = view.rank(sender)
        if core.flush.promised is not None and message.ballot < core.flush.promised:
            return "a higher ballot is promised"
        if rank < 0 or core.name not in core.unmask(message.hears):
            return "it cannot coordinate"
        stepped_aside = core.suspects | {core.name} if core.detector.aside or sender == core.name else core.suspects
        if any(m.name not in stepped_aside for m in view.members[:rank]):
            return "an elder is heard"
        return None

    def _promise(self, message: Prepare) -> Promise:
        core = self.core
        assert core.flush is not None and core.view is not None
        progress = tuple(
            Progress(group, tuple(c.matrix.received), tuple(c.released), core.is_synced(group), core.view.id)
            for group, c in core.channels.items()
        )
        hears = core.mask(core.detector.hears(core.now.mono))
        return Promise(
            core.view.id,
            message.ballot,
            core.flush.accepted,
            core.live,
            (*(progress if core.live else ()), *core.ledger.progress(core.view)),
            core.clock.now,
            hears,
            self._wish(),
        )

    def on_gather(self, sender: Name, message: Gather) -> None:
        core = self.core
        here = all(self._channel(cut) is not None for cut in message.cuts)
        if core.flush is not None and core.flush.promised == message.ballot and here:
            if self._gather is None or self._gather[1] != message:
                self._pulled_at = core.now.mono - core.timing.resend_after
            self._gather = (sender, message)

    def _channel(self, cut: Cut) -> Channel | None:
        """Where the batches of that cut are."""
        view = self.core.view
        assert view is not None
        return self.core.channel_at(cut.group, cut.view or view.id)

    def on_pull(self, sender: Name, message: Pull) -> None:
        channel = self.core.channel_at(message.group, message.of)
        if channel is not None and 0 <= message.author < len(channel.hosts):
            for data in channel.relay(message.author, message.low, message.high):
                self.core.post([sender], data)

    def on_accept(self, message: Accept) -> None:
        core = self.core
        flush = core.flush
        if core.view is None or flush is None or core.excluded or not core.votes_here:
            return
        if flush.accepted is not None and flush.accepted.ballot == message.ballot:
            core.post([m.name for m in core.view.members], flush.accepted)
            return
        if flush.promised is not None and message.ballot < flush.promised:
            return
        if core.now.mono < self._may_accept_at(message.value):
            core.note("lease.wait", message.ballot)
            self._waiting = message
            return
        self._accept(message)

    def _accept(self, message: Accept) -> None:
        core = self.core
        assert core.flush is not None and core.view is not None
        self._waiting = None
        if core.flush.accept(message.ballot, message.value, core.now.mono):
            core.note("accept", message.ballot)
            core.persist(promised=core.flush.promised, accepted=core.flush.accepted)
            assert core.flush.accepted is not None
            core.post([m.name for m in core.view.members], core.flush.accepted)

    def on_accepted(self, sender: Name, message: Accepted) -> None:
        core = self.core
        if core.flush is None or core.view is None or core.view.rank(sender) < 0:
            return
        value = core.flush.count(sender, message)
        if value is not None and core.decision is None:
            core.note("decided", message.ballot)
            core.decision = value

    # --- rules

    def act(self) -> None:
        """Go on with what had to wait: a value for a lease to end, HELD for the batches that were missing."""
        core = self.core
        if core.decision is not None or core.flush is None:
            return
        if self._waiting is not None and core.now.mono >= self._may_accept_at(self._waiting.value):
            self._accept(self._waiting)
        if self._gather is None:
            return
        coordinator, message = self._gather
        if core.flush.promised != message.ballot:
            self._gather = None
            return
        missing = [
            (channel, author, channel.matrix.received[author], upto, holder)
            for cut, holders in zip(message.cuts, message.holders, strict=True)
            if (channel := self._channel(cut)) is not None
            for author, (upto, holder) in enumerate(zip(cut.upto, holders, strict=True))
            if channel.matrix.received[author] < upto
        ]
        if not missing:
            core.note("held", message.ballot)
            core.post([coordinator], Held(message.view, message.ballot))
            self._gather = None
        elif core.now.mono - self._pulled_at >= core.timing.resend_after:
            self._pulled_at = core.now.mono
            for channel, author, have, upto, holder in missing:
                core.note("pull", holder)
                core.post([holder], Pull(message.view, channel.group.id, channel.view, author, have + 1, upto))

    def deadline(self) -> int | None:
        times = []
        if self._waiting is not None:
            times.append(self._may_accept_at(self._waiting.value))
        if self._gather is not None:
            times.append(self._pulled_at + self.core.timing.resend_after)
        return min(times, default=None)
