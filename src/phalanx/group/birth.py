"""Where a node begins (DESIGN sections 4 and 8): with a history, as a founder, or as a stranger.

A node with a history votes in its last view for its former incarnation.  One that is to found a cluster votes in view 0,
whose members are all the founders.  Any other asks its seeds to be let in.
"""

from collections.abc import Iterable
from hashlib import blake2b

from phalanx.group.config import Config
from phalanx.group.core import Core
from phalanx.group.flush import Flush
from phalanx.group.messages import Commit, Votes
from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.view import Address, Member, Name, View


def genesis(peers: Iterable[tuple[Name, Address]]) -> View:
    """View 0: the names that must found the cluster together.  Its cluster id is a digest of them, so two lists of
    founders never vote in one decree."""
    members = tuple(Member(name, address, 0) for name, address in sorted(peers))
    text = "\n".join(f"{m.name} {m.address}" for m in members).encode()
    return View(int.from_bytes(blake2b(text, digest_size=7).digest(), "big"), 0, members)


def incarnate(config: Config, votes: Votes | None, now: Instant) -> Member:
    """The new process: one incarnation above the last, or, with nothing to go by, as high as the clock is."""
    incarnation = max(1, now.wall // MILLISECOND) if votes is None else votes.incarnation + 1
    return Member(config.name, config.address, incarnation)


def _catch_up(core: Core) -> None:
    """The log may know of a view that the votes do not: power failed after the one was written and before the other.
    So nothing can have been promised in that view."""
    votes, value = core.votes, core.ledger.decision
    if value is None or votes.cluster != value.view.cluster:
        return
    known = [v for v in (votes.view, votes.decided.view if votes.decided is not None else None) if v is not None]
    if all(view.id < value.view.id for view in known):
        core.note("votes.behind", value.view.id)
        core.persist(view=value.view, promised=None, accepted=None, made_by=value, decided=None)


def begin(core: Core) -> None:
    """Make the new incarnation durable; take up the former one's vote, or the founders', or none."""
    _catch_up(core)
    if core.votes.first == 0:
        core.persist(incarnation=core.me.incarnation, first=core.me.incarnation)
    core.ledger.first = core.votes.first
    votes, peers = core.votes, core.config.peers
    if votes.decided is not None and votes.view is not None:
        core.past[votes.view.id] = votes.decided  # we may be the only one that knows (counter-example 9)
        core.persist(incarnation=core.me.incarnation)
        core.post_to(seeds(core), Commit(votes.decided), votes.decided.view.cluster)
        return
    unvoted = votes.view is None or (votes.view.id == 0 and votes.accepted is None)
    if peers and unvoted and votes.cluster == 0:
        view = genesis(peers)
        same = view == votes.view
        core.turn_to(view)
        core.persist(incarnation=core.me.incarnation, view=view, promised=votes.promised if same else None)
    else:
        core.turn_to(votes.view)
        core.persist(incarnation=core.me.incarnation)
    if core.view is not None:
        core.cluster = core.view.cluster
        core.flush = Flush(core.view, core.votes.promised, core.votes.accepted)
        if votes.made_by is not None:
            core.past[votes.made_by.old] = votes.made_by
            core.clock.merge(votes.made_by.clock)
        core.detector.begin(core.view, core.now.mono)
        if core.view.rank(core.name) < 0:
            core.turn_to(None)  # it was a learner: there is nothing to vote on
            core.flush = None
    core.note("begin", str(core.me), "votes" if core.view is not None else "joins")


def seeds(core: Core) -> tuple[Address, ...]:
    """Where to ask to be let in: the configured seeds and founders, and the members last known."""
    known = core.votes.decided.view if core.votes.decided is not None else core.votes.view
    members = [m.address for m in known.everyone] if known is not None else []
    addresses = [*core.config.seeds, *(a for _, a in core.config.peers), *members]
    return tuple(a for a in dict.fromkeys(addresses) if a != core.me.address)
