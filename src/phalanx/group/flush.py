"""The acceptor's and the learner's side of a view's single decree (DESIGN section 6), and the coordinator's attempt.

The view decides its successor like Paxos decides a value (Lamport 1998): a ballot is promised, a value accepted, a quorum
of acceptances decides.  A promise freezes: from then on the member sends, delivers, acknowledges and grants nothing in
this view.  Promises and acceptances are durable before they are told, to oneself as well: a member's votes for its own
ballot come back to it as messages.
"""

from enum import Enum

from phalanx.group.messages import Accepted, Ballot, Cut, Decision, Promise
from phalanx.group.proposal import Plan
from phalanx.model.view import Name, View
from phalanx.parts.quorum import is_quorum

BALLOTS_MAX = 64
"""Ballots of which acceptances are counted: many coordinators' attempts at once.  Of more, the lowest is forgotten.  It
may have been decided all the same; whoever misses that is told by a commit."""


class Flush:
    """What this node has promised, accepted and learned in one view."""

    def __init__(self, view: View, promised: Ballot | None, accepted: Accepted | None) -> None:
        self.view = view
        self.promised = promised
        self.accepted = accepted
        self.since: int | None = None
        """When it was frozen here; None while it is not, or since before a restart."""
        self.highest = promised.counter if promised else 0
        """The highest ballot counter seen."""
        self._votes: dict[Ballot, set[Name]] = {}

    @property
    def frozen(self) -> bool:
        return self.promised is not None

    def promise(self, ballot: Ballot, now: int) -> bool:
        """Promise the ballot; False if a higher one is promised."""
        self.highest = max(self.highest, ballot.counter)
        if self.promised is not None and ballot < self.promised:
            return False
        if self.promised is None or self.promised.name != ballot.name or self.since is None:
            self.since = now  # the same coordinator's next ballot does not make it less stuck
        self.promised = ballot
        return True

    def accept(self, ballot: Ballot, value: Decision, now: int) -> bool:
        """Accept the value, which counts as a promise; False if a higher ballot is promised."""
        if not self.promise(ballot, now):
            return False
        self.accepted = Accepted(self.view.id, ballot, value)
        return True

    def count(self, name: Name, vote: Accepted) -> Decision | None:
        """A member says that it has accepted.  The value, once a quorum has at one ballot."""
        self.highest = max(self.highest, vote.ballot.counter)
        voters = self._votes.setdefault(vote.ballot, set())
        voters.add(name)
        if len(self._votes) > BALLOTS_MAX:
            del self._votes[min(self._votes)]
        return vote.value if is_quorum(self.view, voters) else None


class Phase(Enum):
    """How far an attempt has come."""

    PREPARE = "prepare"
    GATHER = "gather"
    ACCEPT = "accept"


class Attempt:
    """A coordinator's ballot, from PREPARE to the decision."""

    def __init__(self, ballot: Ballot, now: int) -> None:
        self.ballot = ballot
        self.phase = Phase.PREPARE
        self.started = now
        self.sent_at = now
        """When the phase's message was last sent."""
        self.promises: dict[Name, Promise] = {}
        self.plan: Plan | None = None
        self.value: Decision | None = None
        self.held: set[Name] = set()
        self.promote: frozenset[Name] = frozenset()

    def enter(self, phase: Phase, now: int) -> None:
        self.phase = phase
        self.started = self.sent_at = now

    def adopted(self) -> Decision | None:
        """The value accepted at the highest ballot that any promise shows: it may be decided, so it stands as it is."""
        accepted = [p.accepted for p in self.promises.values() if p.accepted is not None]
        return max(accepted, key=lambda a: a.ballot).value if accepted else None

    def lacking(self) -> dict[Name, tuple[Cut, ...]]:
        """Who has yet to say that it holds what it needs."""
        assert self.plan is not None
        return {name: cuts for name, cuts in self.plan.needs.items() if name not in self.held}
