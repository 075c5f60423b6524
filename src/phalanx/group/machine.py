"""The group machine: one node's views, multicast and state transfer, as one pure state machine (DESIGN sections 3 to 8).

`step` absorbs the events of a turn as facts, then runs the rules in one fixed order; no rule is called from elsewhere.

    look at the clock  note whether it is right
    suspect            weigh silence, evidence and accusations
    coordinate         start, advance or abandon a view change
    accept             go on with what a lease or a missing batch held up
    succeed            install the decided view, or stop
    send               form batches, send what peers lack
    deliver            hand on what each group's order allows; forget what is stable
    reach              answer barriers (these three only while active)
    transfer           fetch the state of groups we learn
    compact            write snapshots, and have the log forget what they cover
    show rows          acknowledge, claim, show that we live
    wish               ask for what the next view should have

While a view is at *rest* (nobody is suspected, learns, wishes, leaves, and no view change was begun) only traffic
comes, and the rules that do not carry it or log it have nothing to weigh before a known instant: they are skipped until
that instant, or until something else than traffic comes.  That changes no output, which tests/group/test_rest.py holds.
"""

import random
from collections.abc import Iterable
from typing import Any, assert_never

from phalanx.errors import ClusterSuperseded
from phalanx.group import birth, room
from phalanx.group.acceptor import Acceptor
from phalanx.group.channel import Channel
from phalanx.group.clocks import Clocks
from phalanx.group.compaction import Compaction
from phalanx.group.config import Config
from phalanx.group.coordinator import Coordinator
from phalanx.group.core import Core
from phalanx.group.intake import Intake
from phalanx.group.lag import Lag
from phalanx.group.membership import Membership
from phalanx.group.messages import (
    Envelope,
    Votes,
)
from phalanx.group.multicast import Multicasting
from phalanx.group.patience import Patience
from phalanx.group.ranges import GROUPS_MAX, fault_in_member, fault_in_spec
from phalanx.group.reads import Reads
from phalanx.group.succession import Succession, superseded_text
from phalanx.group.transfer import Transfer
from phalanx.group.waiting import Waiting, waiting
from phalanx.model.clock import Instant
from phalanx.model.events import (
    Barrier,
    Consumed,
    Host,
    Leave,
    Multicast,
    RestoreTaken,
    Shorten,
    SnapshotTaken,
    Unhost,
)
from phalanx.model.machine import (
    Drop,
    Journal,
    LinkDown,
    LinkUp,
    Logged,
    Output,
    Patient,
    Received,
    Refused,
    Room,
    Space,
)
from phalanx.model.view import Address, Member, Name, View

_RareRequest = Host | Unhost | Leave | SnapshotTaken | RestoreTaken | Shorten


class GroupMachine(Patient):
    """See the module's text.  `journal`: the node's log as it was found, if it keeps one.  `asks_at`: when it may ask to
    be let in, should it be in no view.  Raises ValueError for a configuration that cannot be meant, and
    ClusterSuperseded if the votes say so."""

    def __init__(
        self,
        config: Config,
        votes: Votes | None,
        rng: random.Random,
        now: Instant,
        journal: Journal | None = None,
        asks_at: int = 0,
    ) -> None:
        if config.peers and (config.name, config.address) not in config.peers:
            raise ValueError(f"{config.name} at {config.address} is not among the founding peers {config.peers}")
        if votes is not None and votes.superseded:
            raise ClusterSuperseded(superseded_text(votes.cluster, votes.superseded))
        me = birth.incarnate(config, votes, now)
        if faults := [f for f in (fault_in_member(me), *map(fault_in_spec, config.hosts)) if f is not None]:
            raise ValueError("; ".join(faults))
        if len(config.hosts) > GROUPS_MAX:
            raise ValueError(f"{config.name} is to host {len(config.hosts)} groups, the limit is {GROUPS_MAX}")
        if journal is None and any(spec.durable for spec in config.hosts):
            raise ValueError("a node without a log cannot host a durable group")
        self._core = core = Core(config, me, votes or Votes(0), rng, now, journal)
        self._transfer = Transfer(core)
        self._compaction = Compaction(core)
        self._multicast = Multicasting(core, lambda: self._transfer.busy)
        self._lag = Lag(core)
        self._clocks = Clocks(core)
        self._patience = Patience(core)
        self._membership = Membership(core, asks_at)
        self._reads = Reads(core, self._multicast, self._membership.is_leaving)
        self._acceptor = Acceptor(core, self._membership.wish, self._reads.may_accept_at)
        self._coordinator = Coordinator(core, self._membership, lambda: core.rng.getrandbits(56) | 1)
        self._succession = Succession(core, self._reads)
        self._intake = Intake(
            core,
            self._acceptor,
            self._coordinator,
            self._membership,
            self._multicast,
            self._reads,
            self._succession,
            self._transfer,
        )
        self._begun = False
        self._deadline: int | None = now.mono
        self._rest_until = 0
        """Until when the view is at rest if nothing but traffic comes; 0: it is not."""
        self._rest_deadline: int | None = None
        """The earliest deadline of the rules that are skipped meanwhile."""

    # --- what others may see

    @property
    def me(self) -> Member:
        """This process: its name, address and incarnation."""
        return self._core.me

    @property
    def view(self) -> View | None:
        """The view that this process is in; None before it is let in and after it is out."""
        core = self._core
        return core.view if core.live and not core.excluded else None

    @property
    def is_fenced(self) -> bool:
        """It cannot act at present: frozen, out, not in yet, or cut off from a quorum of its view."""
        return not self._rest_until and (not self._core.active or not self._core.hears_quorum())

    @property
    def is_excluded(self) -> bool:
        return self._core.excluded

    @property
    def waiting(self) -> Waiting:
        """What it waits for, if it cannot act."""
        return waiting(self._core, self._membership)

    @property
    def suspects(self) -> frozenset[Name]:
        return self._core.suspects

    @property
    def short(self) -> dict[Name, Space]:
        """Whose disk has too little room, as far as is known here, this node's included."""
        return self._core.short

    @property
    def clock_error(self) -> int:
        """Nanoseconds that our physical clock is ahead of the median of the full members', or behind it if negative."""
        return self._core.clock.error(self._core.now)

    @property
    def time_lead(self) -> int:
        """Nanoseconds that the groups' time is ahead of what the members' clocks allow: 0, unless these were put back, or
        all nodes were restarted with logs a moment ago."""
        return self._core.clock.lead(self._core.now)

    def backlog(self, group: int) -> int:
        """Bytes that `Multicast` has queued for the group and that have not been sent."""
        seat = self._core.seats.get(group)
        return seat.queued if seat is not None else 0

    def is_synced(self, group: int) -> bool:
        """This node holds the group's state."""
        return self._core.is_synced(group)

    def unread(self, group: int) -> int:
        """Bytes delivered here that the application has not dealt with."""
        seat = self._core.seats.get(group)
        return seat.backlog if seat is not None else 0

    def channel(self, group: int) -> Channel | None:
        """What this node holds of the group in the present view, to look at; None if it takes no part in it."""
        return self._core.channels.get(group)

    def stable(self, group: int) -> tuple[int, ...]:
        """Of each host of the group in the present view, up to which of its batches all full hosts are known to hold
        them; empty if this node does not take part in it."""
        channel = self._core.channels.get(group)
        return tuple(channel.matrix.stable_all()) if channel is not None else ()

    # --- the contract

    def can_wait(self, event: Received) -> bool:
        """What it brings is absorbed with the next step, and nothing would follow from it now (group/patience.py)."""
        return self._rest_until > 0 and self._patience.can_wait(event)

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        out = Output()
        self.step_into(out, events, now)
        return out

    def step_into(self, out: Output, events: Iterable[Any], now: Instant) -> None:
        """A step whose output is added to what is there."""
        core = self._core
        core.now = now
        self._patience.stepped()
        if self._deadline is not None and now.mono - self._deadline > core.timing.suspect_after // 4:
            self._excuse(now.mono - self._deadline)
        core.out = out
        if not self._begun:
            self._begun = True
            birth.begin(core)
        for event in events:
            self._absorb(event)
        core.busy.update(core.touched)
        if core.stirred or now.mono >= self._rest_until or core.detector.must_judge(now.mono):
            self._rest_until = 0
            self._act()
            self._rest()
        else:
            self._carry(everything=False)
            self._compaction.act()
            self._multicast.show_rows()
        self._deadline = self._next_deadline()

    def _excuse(self, pause: int) -> None:
        """We were not stepped for that long: what we wait for may have come, unread, and nobody else is to blame."""
        for part in (self._core.detector, self._coordinator, self._lag):
            part.excuse(pause)

    @property
    def deadline(self) -> int | None:
        return self._deadline

    def _next_deadline(self) -> int | None:
        traffic, rest = self._multicast.deadline(), self._rest_deadline
        if self._lag.due and traffic is not None and self._core.active:
            traffic = self._lag.deadline(traffic)
        return traffic if rest is None or (traffic is not None and traffic < rest) else rest

    def _rest(self) -> None:
        """Whether the view is at rest from here on, and until when."""
        core = self._core
        times = [
            self._membership.deadline(),
            self._coordinator.deadline(),
            self._acceptor.deadline(),
            self._transfer.deadline(),
            core.detector.deadline if core.view is not None and not core.excluded else None,
        ]
        self._rest_deadline = min((t for t in times if t is not None), default=None)
        core.stirred = False
        view = core.view
        if (
            view is not None
            and view.id > 0
            and core.active
            and not view.has_learners
            and core.attempt is None
            and not (core.suspects or core.dead or core.freezers)
            and core.detector.hears_all
            and self._membership.is_at_rest()
            and self._transfer.is_at_rest()
        ):
            until = min(self._lag.at, self._clocks.at)
            self._rest_until = until if self._rest_deadline is None else min(until, self._rest_deadline)

    # --- facts in

    def _absorb(self, event: Any) -> None:
        core, kind = self._core, type(event)
        if kind is Received and type(event.message) is Envelope:
            self._intake.absorb(event.source, event.message)
            return
        if kind is Multicast:
            self._multicast.on_multicast(event)
            return
        if kind is Consumed:
            self._multicast.on_consumed(event)
            return
        match event:
            case Barrier():
                self._reads.on_barrier(event)
            case Received(source, _):
                core.out.drops.append(Drop(source, "not a message between nodes"))
            case LinkUp(address):
                core.stirred = True
                for name in self._names_at(address):
                    self._multicast.on_link_up(name)
            case LinkDown():
                pass
            case Logged(upto):
                self._multicast.on_logged(upto)
            case Room():
                room.told(core, event)
            case Refused(address):
                core.stirred = True
                for name in self._names_at(address):
                    core.note("gone", name)
                    core.detector.is_gone(name)
            case _:
                core.stirred = True
                self._absorb_request(event)

    def _absorb_request(self, request: _RareRequest) -> None:
        match request:
            case SnapshotTaken():
                self._transfer.on_snapshot(request)
                self._compaction.on_snapshot(request)
            case RestoreTaken():
                self._transfer.on_restored(request)
            case Shorten():
                self._core.ledger.shorten()
            case Host():
                self._membership.on_host(request)
            case Unhost():
                self._membership.on_unhost(request)
            case Leave():
                self._membership.on_leave(request)
            case _:
                assert_never(request)

    def _names_at(self, address: Address) -> list[Name]:
        core = self._core
        return [m.name for m in core.view.everyone if m.address == address and m.name != core.name] if core.view else []

    # --- rules out

    def _act(self) -> None:
        core = self._core
        if not core.excluded:
            self._succession.leave_alone(self._membership.may_go_alone())
        if core.view is not None and not core.excluded:
            self._clocks.judge()
            self._suspect()
            self._coordinator.act()
            self._acceptor.act()
        if core.decision is not None:
            self._succeed()
        if core.active:
            self._carry(everything=True)
        self._transfer.act()
        self._compaction.act()
        self._multicast.show_rows()
        self._membership.say_wish(lambda: birth.seeds(core))

    def _carry(self, *, everything: bool) -> None:
        """The rules that carry traffic, in a view in which we are active."""
        if self._core.busy:
            self._multicast.look(everything=everything)
            self._multicast.send()
            self._multicast.deliver()
        self._reads.reach()

    def _suspect(self) -> None:
        core = self._core
        self._lag.judge()
        before = core.suspects
        core.suspects = core.detector.suspects(core.now.mono)
        if core.suspects != before:
            core.note("suspects", *sorted(core.suspects))
            core.row_due = True

    def _succeed(self) -> None:
        core = self._core
        value = core.decision
        assert value is not None
        old = core.view
        if old is not None:
            self._coordinator.announce(value)
        if self._succession.goes_on(value):
            self._succession.install(value)
            self._membership.installed(old, value)
            self._multicast.begin(value.view)
            self._lag.begin()
            self._reads.begin(value.view)
            self._transfer.begin()
        else:
            self._succession.leave_out(value)
        self._acceptor.begin()
        self._coordinator.begin()
