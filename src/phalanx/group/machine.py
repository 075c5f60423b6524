"""The group machine: one node's views, multicast and state transfer, as one pure state machine (DESIGN sections 3 to 8).

`step` absorbs the events of a turn as facts, then runs the rules in one fixed order; no rule is called from elsewhere.

    suspect            weigh silence, evidence and accusations
    coordinate         start, advance or abandon a view change
    accept             go on with what a lease or a missing batch held up
    succeed            install the decided view, or stop
    send               form batches, send what peers lack
    deliver            hand on what each group's order allows; forget what is stable
    reach              answer barriers
    transfer           fetch the state of groups we learn
    show rows          acknowledge, claim, show that we live
    wish               ask for what the next view should have
"""

import random
from collections.abc import Iterable
from typing import Any, assert_never

from phalanx.group import birth
from phalanx.group.acceptor import Acceptor
from phalanx.group.config import Config
from phalanx.group.coordinator import Coordinator
from phalanx.group.core import Core
from phalanx.group.detector import Claims
from phalanx.group.membership import Membership
from phalanx.group.messages import (
    Accept,
    Accepted,
    Alive,
    Chunk,
    Commit,
    Data,
    Envelope,
    Fetch,
    Gather,
    Held,
    Nack,
    Prepare,
    Promise,
    Pull,
    Refuse,
    RefuseHost,
    Row,
    Votes,
    Wish,
)
from phalanx.group.multicast import Multicasting
from phalanx.group.ranges import fault_in_member, fault_in_spec
from phalanx.group.reads import Reads
from phalanx.group.succession import Succession
from phalanx.group.transfer import Transfer
from phalanx.group.validity import fault_in
from phalanx.model.clock import Instant
from phalanx.model.events import (
    Barrier,
    Consumed,
    Excluded,
    Host,
    Leave,
    Multicast,
    Request,
    SnapshotTaken,
    Unhost,
)
from phalanx.model.machine import Drop, LinkDown, LinkUp, Output, Received, Refused
from phalanx.model.view import Address, Member, Name, View


class GroupMachine:
    """See the module's text.  Raises ValueError for a configuration that cannot be meant."""

    def __init__(self, config: Config, votes: Votes | None, rng: random.Random, now: Instant) -> None:
        if config.peers and (config.name, config.address) not in config.peers:
            raise ValueError(f"{config.name} at {config.address} is not among the founding peers {config.peers}")
        me = birth.incarnate(config, votes, now)
        if faults := [f for f in (fault_in_member(me), *map(fault_in_spec, config.hosts)) if f is not None]:
            raise ValueError("; ".join(faults))
        self._core = core = Core(config, me, votes or Votes(0), rng, now)
        self._transfer = Transfer(core)
        self._multicast = Multicasting(core, lambda: self._transfer.busy)
        self._membership = Membership(core)
        self._reads = Reads(core, self._multicast, self._membership.is_leaving)
        self._acceptor = Acceptor(core, self._membership.wish, self._reads.may_accept_at)
        self._coordinator = Coordinator(core, self._membership, lambda: core.rng.getrandbits(56) | 1)
        self._succession = Succession(core, self._reads)
        self._begun = False
        self._deadline: int | None = now.mono

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
        return not self._core.active or not self._core.hears_quorum()

    @property
    def is_excluded(self) -> bool:
        return self._core.excluded

    @property
    def suspects(self) -> frozenset[Name]:
        return self._core.suspects

    def backlog(self, group: int) -> int:
        """Bytes that `Multicast` has queued for the group and that have not been sent."""
        seat = self._core.seats.get(group)
        return seat.queued if seat is not None else 0

    def is_synced(self, group: int) -> bool:
        """This node holds the group's state."""
        seat = self._core.seats.get(group)
        return seat is not None and seat.synced

    # --- the contract

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        core = self._core
        core.now = now
        if self._deadline is not None and now.mono - self._deadline > core.timing.suspect_after // 4:
            core.detector.excuse(now.mono - self._deadline)
        out = core.out = Output()
        if not self._begun:
            self._begun = True
            birth.begin(core)
        for event in events:
            self._absorb(event)
        self._act()
        core.out = Output()
        self._deadline = self._next_deadline()
        return out

    @property
    def deadline(self) -> int | None:
        return self._deadline

    def _next_deadline(self) -> int | None:
        core = self._core
        times = [
            self._multicast.deadline(),
            self._membership.deadline(),
            self._coordinator.deadline(),
            self._acceptor.deadline(),
            self._transfer.deadline(),
            core.detector.deadline if core.view is not None and not core.excluded else None,
        ]
        return min((t for t in times if t is not None), default=None)

    # --- facts in

    def _absorb(self, event: Any) -> None:
        core = self._core
        match event:
            case Received(source, Envelope() as envelope):
                self._absorb_envelope(source, envelope)
            case Received(source, _):
                core.out.drops.append(Drop(source, "not a message between nodes"))
            case LinkUp(address):
                for name in self._names_at(address):
                    self._multicast.on_link_up(name)
            case LinkDown():
                pass
            case Refused(address):
                for name in self._names_at(address):
                    core.note("gone", name)
                    core.detector.is_gone(name)
            case _:
                self._absorb_request(event)

    def _absorb_request(self, request: Request) -> None:
        match request:
            case Multicast():
                self._multicast.on_multicast(request)
            case Consumed():
                self._multicast.on_consumed(request)
            case SnapshotTaken():
                self._transfer.on_snapshot(request)
            case Barrier():
                self._reads.on_barrier(request)
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

    def _absorb_envelope(self, source: Address, envelope: Envelope) -> None:
        """Check who speaks, of which cluster and view; then pass the message on to its part."""
        core = self._core
        sender, body = envelope.sender, envelope.body
        if self._is_faulty(source, envelope):
            return
        if isinstance(body, Wish):
            if envelope.cluster in (0, core.cluster):
                self._membership.on_wish(source, body)
            elif core.view is not None and core.view.id > 0:
                core.note("join.foreign", str(sender), envelope.cluster)
                reason = f"{sender.name} belongs to cluster {envelope.cluster:x}, and this is {core.cluster:x}"
                core.post_to([sender.address], Refuse(sender, reason, 0))
        elif isinstance(body, Commit):
            self._on_commit(envelope.cluster, body)
        elif isinstance(body, Refuse):
            self._on_refuse(body)
        elif envelope.cluster != core.cluster:
            if isinstance(body, Alive | Prepare) and body.view == 0 and core.view is not None and core.view.id > 0:
                core.tell_successor(source, 0)
            elif core.view is not None and core.view.id > 0:
                core.note("foreign", envelope.cluster)
                core.out.drops.append(
                    Drop(source, f"{sender} is of cluster {envelope.cluster:x}, not {core.cluster:x}")
                )
        elif isinstance(body, RefuseHost):
            self._membership.on_refuse_host(body)
        elif isinstance(body, Fetch | Chunk):
            if self._is_known(source, sender):
                (self._transfer.on_fetch if isinstance(body, Fetch) else self._transfer.on_chunk)(sender.name, body)  # type: ignore[arg-type]  # matched by the condition
        elif self._is_of_our_view(source, body.view) and self._is_known(source, sender):
            self._absorb_body(sender, body)

    def _is_faulty(self, source: Address, envelope: Envelope) -> bool:
        """No correct member says that: its connection is dropped, and nothing else happens (SCENARIOS 41)."""
        core = self._core
        if envelope.cluster != core.cluster and not isinstance(envelope.body, Wish | Refuse | Commit):
            return False  # it is looked at no further
        fault = fault_in(core, envelope.sender, envelope.body)
        if fault is None:
            return False
        core.note("fault", fault)
        core.out.drops.append(Drop(source, fault))
        return True

    def _is_of_our_view(self, source: Address, view: int) -> bool:
        """Messages speak of one view.  Whoever speaks of an older one is told its successor; of a newer one, asked."""
        core = self._core
        ours = core.view.id if core.view is not None and not core.excluded else -1
        if view == ours:
            return True
        if view > ours >= 0:
            core.show_view(source)
        else:
            core.tell_successor(source, view)
        return False

    def _is_known(self, source: Address, sender: Member) -> bool:
        """The sender is a member, or the newer incarnation that votes for one (which is evidence that it is gone)."""
        core = self._core
        view = core.view
        if view is None or core.excluded:
            return False
        member = core.roster.members.get(sender.name)
        if member is None or sender.incarnation < member.incarnation or sender.address != source:
            core.note("stranger", str(sender))
            return False
        if member.incarnation < sender.incarnation and view.id > 0:
            core.dead.add(sender.name)
            if sender.address != member.address:
                core.moved[sender.name] = sender.address
        elif sender.address != member.address:
            core.note("stranger", str(sender))
            return False
        elif sender.name in core.dead:
            return False  # it was replaced: this is an old message
        if sender.name != core.name:
            core.detector.heard(sender.name, core.now.mono)
        return True

    def _hear_claims(self, name: Name, said: Row | Alive) -> None:
        core = self._core
        claims = Claims(core.unmask(said.hears), core.unmask(said.suspects), said.others)
        core.detector.claimed(name, claims, core.now.mono)

    def _absorb_body(self, sender: Member, body: Any) -> None:
        core = self._core
        name = sender.name
        match body:
            case Data():
                self._multicast.on_data(name, body)
            case Row():
                if (
                    core.view is not None
                    and core.roster.members.get(name) == sender
                    and len(body.echo) == len(core.view.everyone)
                ):
                    self._hear_claims(name, body)
                    self._multicast.on_row(name, body)
                    self._reads.on_row(name)
            case Alive():
                self._hear_claims(name, body)
                if body.promised is not None and core.flush is not None:
                    core.flush.highest = max(core.flush.highest, body.promised.counter)
                    core.freezers[name] = core.now.mono
            case Prepare():
                self._acceptor.on_prepare(name, body)
            case Promise():
                self._coordinator.on_promise(name, body)
            case Nack():
                self._coordinator.on_nack(name, body)
            case Gather():
                self._acceptor.on_gather(name, body)
            case Held():
                self._coordinator.on_held(name, body)
            case Pull():
                self._acceptor.on_pull(name, body)
            case Accept():
                self._acceptor.on_accept(body)
            case Accepted():
                self._acceptor.on_accepted(name, body)
            case _:
                assert_never(body)

    def _on_commit(self, cluster: int, body: Commit) -> None:
        if not self._core.excluded and cluster == body.value.view.cluster:
            self._succession.on_commit(body.value)

    def _on_refuse(self, body: Refuse) -> None:
        core = self._core
        if body.member != core.me or core.live or core.view is not None or core.decision is not None:
            return
        if body.least > core.me.incarnation:
            core.note("incarnation.raised", body.least)
            core.me = Member(core.me.name, core.me.address, body.least)
            core.persist(incarnation=body.least)
        self._membership.on_refuse(body)

    # --- rules out

    def _act(self) -> None:
        core = self._core
        if not core.excluded:
            self._leave_alone()
        if core.view is not None and not core.excluded:
            self._suspect()
            self._coordinator.act()
            self._acceptor.act()
        if core.decision is not None:
            self._succeed()
        self._multicast.send()
        self._multicast.deliver()
        self._reads.reach()
        self._transfer.act()
        self._multicast.show_rows()
        self._membership.say_wish(lambda: birth.seeds(core))

    def _suspect(self) -> None:
        core = self._core
        self._multicast.judge_lag()
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
            self._transfer.begin()
        else:
            self._succession.leave_out(value)
        self._acceptor.begin()
        self._coordinator.begin()

    def _leave_alone(self) -> None:
        """Leaving needs nobody's consent where nobody is left behind: the only full member stops as it stands, and so
        does a process that is in no view."""
        core = self._core
        if not self._membership.leaving or core.decision is not None:
            return
        view = core.view
        if view is not None and core.live and (view.members != (core.me,) or view.learners):
            return
        self._reads.end_view(None)
        core.excluded = True
        reason = "it left, and was the last full member" if core.live else "it left before it was let in"
        core.out.deliveries.append(Excluded(None, reason))
