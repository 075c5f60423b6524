"""The facts that the parts of a group machine share, and how they speak: one `Core` per node.

The parts (multicast, view change, membership, transfer, reads) absorb events into these facts and act by rules that the
machine runs in a fixed order; none of them calls another.
"""

import random
from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec

from phalanx.group.channel import Channel
from phalanx.group.config import Config
from phalanx.group.detector import Claims, Detector
from phalanx.group.flush import Attempt, Flush
from phalanx.group.ledger import Ledger
from phalanx.group.messages import (
    Ack,
    Alive,
    Body,
    Chunk,
    Commit,
    Data,
    Decision,
    Envelope,
    Fetch,
    Pull,
    Row,
    Superseded,
    Votes,
)
from phalanx.group.seat import Seat
from phalanx.model.clock import Instant
from phalanx.model.machine import Journal, Output, Room, Send, Space
from phalanx.model.view import Address, GroupId, Member, Name, View
from phalanx.parts.hybrid import HybridClock
from phalanx.parts.quorum import is_quorum
from phalanx.parts.roster import Roster

_EAGER = frozenset({Data, Row, Ack, Fetch, Chunk, Pull})
"""What states no ballot and no durable receipt."""

NOBODY = View(0, -1, ())

CLAIMS_KEPT: Final = 1 << 12
"""Different claims whose translation into names is kept: in a healthy view there is one for each member."""

REMEMBERED = 32
"""Past decisions kept to answer stragglers; one further behind can only be told that it is out."""


TOLD_MAX = 1024
"""Addresses of stragglers of which is remembered when they were last answered.  Of more, the one answered longest ago is
forgotten, and may be answered sooner than it should."""


class Core:
    """What a node knows, and its mouth.  Written by the parts, each in its own fields."""

    def __init__(
        self, config: Config, me: Member, votes: Votes, rng: random.Random, now: Instant, journal: Journal | None = None
    ) -> None:
        self.config = config
        self.timing = config.timing
        self.me = me
        self.rng = rng
        self.now = now
        self.out = Output()
        self.votes = msgspec.structs.replace(votes, name=me.name)
        self.cluster = votes.cluster
        self.view: View | None = None
        """The view that we are in or vote in: read it, and change it by `turn_to`."""
        self.roster = Roster(NOBODY)
        """Look-ups in the view."""
        self.live = False
        """This process is the member of the view that has its name; False: it only votes for its former incarnation."""
        self.excluded = False
        self.started = self.installed_at = now.mono
        self.clock = HybridClock(config.timing.max_offset)
        self.ledger = Ledger(me.name, config.limits, journal, votes.first)
        self.clock.merge(self.ledger.ceiling)
        self.detector = Detector(me.name, config.timing)
        self.suspects: frozenset[Name] = frozenset()
        self.flush: Flush | None = None
        self.attempt: Attempt | None = None
        self.decision: Decision | None = None
        """The successor of `view`, once known and until it is installed."""
        self.past: dict[int, Decision] = {}
        self.channels: dict[GroupId, Channel] = {}
        self.busy: dict[GroupId, Channel] = {}
        """Those of them in which there may be something to send, deliver, forget or show, now or later."""
        self.touched: dict[GroupId, Channel] = {}
        """Those for which something has come since the rules of traffic last looked; `busy` after the turn's events."""
        self.seats: dict[GroupId, Seat] = {}
        self.rows: dict[Name, Row] = {}
        """The latest row of each other member in this view."""
        self.row_number = 0
        """Of our last row in this view."""
        self.row_asks = False
        """Our next row asks for an answer."""
        self.row_due = False
        """A row (or sign of life) goes to all at the end of this turn."""
        self.dead: set[Name] = set()
        """Members of the view whose process is known to be gone while a newer one speaks for the name."""
        self.freezers: dict[Name, int] = {}
        """Members that say they are frozen in this view, and when they said it."""
        self.moved: dict[Name, Address] = {}
        """Where processes are that came back at another address than the view says: add to it by `has_moved`."""
        self.room = Room(Space.AMPLE, 0)
        self.short: dict[Name, Space] = {}
        """Whose disk has too little room, as far as is known, our own (`room`) included.  Replaced, never changed."""
        self._claims: dict[tuple[int, int, int, tuple[int, ...]], Claims] = {}
        self.stirred = True
        """Something else than traffic has come since the rules of membership were last run."""
        self._told: dict[Address, int] = {}
        self._heard: tuple[frozenset[Name], int] = (frozenset(), 0)
        """Whom we heard last, and the mask of that in the present view."""
        self._hear_said: tuple[int, tuple[int, ...]] = (-1, ())
        """What `said_to_hear` last found, and as of which state of the detector."""

    # --- who we are

    @property
    def name(self) -> Name:
        return self.me.name

    @property
    def frozen(self) -> bool:
        return self.flush is not None and self.flush.frozen

    @property
    def active(self) -> bool:
        """We take part in the view: live, and neither frozen nor out."""
        return self.view is not None and self.live and not self.excluded and not self.frozen and self.decision is None

    @property
    def votes_here(self) -> bool:
        """We speak for a full member of the view."""
        return self.view is not None and not self.excluded and self.roster.rank(self.name) >= 0

    def hears_quorum(self) -> bool:
        """A quorum of the view can be reached, whatever it is suspected of."""
        assert self.view is not None
        now = self.now.mono
        return is_quorum(self.view, [m.name for m in self.view.members if not self.detector.is_cut_off(m.name, now)])

    def channel_at(self, group: GroupId, view: int) -> Channel | None:
        """The group's channel in that view: the present one, or one that is open in our log only."""
        channel = self.channels.get(group)
        return channel if channel is not None and channel.view == view else self.ledger.channel(group, view)

    def is_synced(self, group: GroupId) -> bool:
        """We hold the group's state, in a durable group on disk."""
        seat = self.seats.get(group)
        return seat is not None and seat.synced and self.ledger.logged >= seat.base_at

    def turn_to(self, view: View | None) -> None:
        """From now on we are, or vote, in that view."""
        self.view = view
        self._claims.clear()
        self._hear_said = (-1, ())
        self._heard = (frozenset(), 0)
        self.roster = Roster(view or NOBODY)
        self.moved.clear()
        if self.name in self.roster.members:
            self.moved[self.name] = self.me.address

    def has_moved(self, name: Name, address: Address) -> None:
        """The process of that name is not where the view says."""
        self.moved[name] = address

    def mask(self, names: Collection[Name]) -> int:
        return self.roster.mask(names)

    def unmask(self, mask: int) -> frozenset[Name]:
        return self.roster.unmask(mask)

    def claims(self, hears: int, suspects: int, grounds: int, others: tuple[int, ...]) -> Claims:
        """What a member says, by name.  Equal claims are one object: what recurs is soon recognized."""
        key = (hears, suspects, grounds, others)
        known = self._claims.get(key)
        if known is None:
            known = Claims(self.unmask(hears), self.unmask(suspects), self.unmask(grounds), others)
            if len(self._claims) < CLAIMS_KEPT:  # a peer may send any mask
                self._claims[key] = known
        return known

    # --- speaking

    def post(self, names: Iterable[Name], body: Body) -> None:
        """To members of the view, by name (ourselves included, if named)."""
        self.post_to(self.addresses(names), body)

    def addresses(self, names: Iterable[Name]) -> tuple[Address, ...]:
        """Where these members of the view are."""
        members, moved = self.roster.members, self.moved
        return tuple([moved.get(name) or members[name].address for name in names if name in members])

    def post_to(self, addresses: Iterable[Address], body: Body, cluster: int | None = None) -> None:
        to = tuple(addresses)
        if not to:
            return
        envelope = Envelope(self.cluster if cluster is None else cluster, self.me, body)
        (self.out.eager if type(body) in _EAGER else self.out.sends).append(Send(to, envelope))

    def others(self) -> list[Name]:
        return [name for name in self.roster.members if name != self.name]

    def persist(self, **changes: Any) -> None:
        """Change the durable state; everything sent from this step on waits for it."""
        self.votes = msgspec.structs.replace(self.votes, **changes)
        self.out.writes.append(self.votes)

    def note(self, what: str, *detail: Any) -> None:
        self.out.note(what, *detail)

    # --- stragglers

    def tell_successor(self, address: Address, view: int) -> None:
        """Somebody there speaks of a view whose successor we know: tell it, now and then."""
        value = self.past.get(view) or self.votes.made_by
        if value is None or value.view.id <= view or not self._may_tell(address):
            return
        self.note("straggler.told", address, view)
        self.post_to([address], Commit(value), value.view.cluster)

    def tell_superseded(self, address: Address, cluster: int) -> None:
        """Somebody there speaks for a cluster that this one was recovered from."""
        if self._may_tell(address):
            self.note("superseded.told", address, cluster)
            self.post_to([address], Superseded(self.cluster), cluster)

    def show_view(self, address: Address) -> None:
        """Somebody there is ahead of us: say where we are, so that it tells us the decision."""
        if self.view is not None and self._may_tell(address):
            self.note("behind.asked", address)
            self.post_to([address], self.sign_of_life())

    def _may_tell(self, address: Address) -> bool:
        last = self._told.get(address)
        if last is not None and self.now.mono - last < self.timing.heartbeat // 2:
            return False
        self._told.pop(address, None)
        self._told[address] = self.now.mono
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]
        return True

    def sign_of_life(self) -> Alive:
        assert self.view is not None
        promised = self.flush.promised if self.flush else None
        hears = self.said_hears()
        suspects, grounds = self.mask(self.suspects), self.mask(self.detector.grounds)
        return Alive(self.view.id, self.live, promised, hears, self.said_to_hear(), suspects, grounds)

    def said_hears(self) -> int:
        """The mask of whom we hear."""
        hears = self.detector.hears(self.now.mono)
        if hears is not self._heard[0]:
            self._heard = (hears, self.mask(hears))
        return self._heard[1]

    def said_to_hear(self) -> tuple[int, ...]:
        """For each member that we hear, the mask of whom it said to hear."""
        hears, claims, mask = self.detector.hears(self.now.mono), self.detector.claims, self.roster.mask
        if self._hear_said[0] != self.detector.version:
            said = tuple(mask(claims[n].hears) if n in claims and n in hears else 0 for n in self.roster.members)
            self._hear_said = (self.detector.version, said)
        return self._hear_said[1]
