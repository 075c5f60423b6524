"""A node's counter for clients: their messages in, entries and barriers for the group out, answers back.

It keeps no queue of what was sent.  A command becomes a multicast at once, or is declined at once; what has been handed
to the group and not come back is *in flight*, bounded by bytes and number.  So there is nothing to replay when the node
is excluded (DESIGN 13, counter-example 15): whoever waits is told that the outcome is unknown here, asks another node
with the same number, and learns from the session table what happened.

Linearizable queries of one turn share one barrier; they are answered from the replica when it is reached.

While a view change is under way, what clients send is *held* for a moment: mostly this node can act again before the
client has found another.  What is held has been given to nobody, so it can be declined as if it had never come.

The node drives it: `stand` at the start of a turn, `receive` for clients' messages, `forget` when a connection is gone,
`deliver` for everything that the group machine delivers, `flush` at the end of a turn.
"""

from collections.abc import Mapping
from typing import Any

from phalanx.model.clock import Stamp
from phalanx.model.events import (
    BarrierFailed,
    BarrierReached,
    Delivered,
    Delivery,
    Excluded,
    Founded,
    Installed,
    Request,
    Rescued,
    Restored,
)
from phalanx.model.machine import Output
from phalanx.model.view import Address, Group, GroupId, GroupSpec, Member, Name, View
from phalanx.replication.actions import Action, Answered
from phalanx.replication.feeds import Feeds
from phalanx.replication.findings import Findings
from phalanx.replication.hosted import Hosted, Rounds, withdraw
from phalanx.replication.hosting import Hosting
from phalanx.replication.inflight import GATEWAY_LIMITS, GatewayLimits, Intake, SnapshotUnfaithful, Waiter
from phalanx.replication.messages import (
    Asked,
    CloseSession,
    Command,
    OpenSession,
    Query,
    Reason,
    Reply,
    SessionKeepAlive,
    Unwatch,
    Watch,
    WatchMore,
)
from phalanx.replication.objects import ObjectType
from phalanx.replication.outbox import Outbox
from phalanx.replication.outcome import Raised, Returned, text_of
from phalanx.replication.replica import Replica
from phalanx.replication.session import LIMITS, Limits
from phalanx.replication.standing import AMPLE, Place, Short, Standing
from phalanx.replication.versions import CannotRun


class Gateway:
    """See the module's text."""

    def __init__(
        self, me: Member, limits: GatewayLimits = GATEWAY_LIMITS, sessions: Limits = LIMITS, audit_interval: int = 0
    ) -> None:
        self._me = me
        self._limits = limits
        self._session_limits = sessions
        self.intake = Intake(limits)
        self._out = Outbox(self.intake)
        self._hosting = Hosting(me, sessions, audit_interval, limits.slice_bytes, limits.quiet_ns, self._out.failed)
        self._hosted = self._hosting.groups
        self._feeds = Feeds()
        self._place = Place(me)
        self._rounds = Rounds(me.name, self._hosted)
        self._held: list[tuple[Waiter, Asked]] = []
        self._now = 0
        self._findings = Findings(me, self._hosting, self._feeds, self._out)
        self._taking = self._hosting.taking

    # --- what the node tells --------------------------------------------------------------------------------------

    def register(self, name: str, kind: ObjectType[Any]) -> None:
        """Groups of that name hold such objects here.  Before the node asks to host it; its spec must carry the
        contract of the kind."""
        self._hosting.kinds[name] = kind
        self._hosting.refused.pop(name, None)

    def replica(self, name: str) -> Replica[Any] | None:
        """The replica of the group of that name, if there is one here."""
        hosted = self._hosting.named(name)
        return hosted.replica if hosted is not None else None

    @property
    def refused(self) -> Mapping[str, str]:
        """Groups of which this node has been told that it cannot host them, and why."""
        return self._hosting.refused

    def of_versions(self, group: Group) -> tuple[int, dict[Name, int], str]:
        """Which version of its class that group runs, up to which its hosts can go, and why it does not; (0, {}, "") if
        that is not known here."""
        hosted = self._hosted.get(group.id)
        if hosted is None or hosted.stranded:
            return 0, {}, ""
        replica, rollout = hosted.replica, hosted.rollout
        return replica.kind.version, rollout.versions(replica), rollout.why_not(replica)

    def stand(self, standing: Standing, suspects: frozenset[Name], now: int, short: Short = AMPLE) -> None:
        """What the node can do now, whom it suspects (clients are not sent to those), and whose disks are short.  What
        was held is taken up, or sent elsewhere, as soon as the view change is over or has lasted too long.  Ticks that
        are due go out."""
        self._now = now
        self._place.stand(standing, suspects, now, short)
        self._taking.begin_turn(now)
        self._catch_up()
        self._out.requests += self._hosting.giving.act(now)
        if self._place.acts:
            self._rounds.tick(now)
        if self._held and not self._place.holds:
            self._take_up()

    @property
    def is_holding(self) -> bool:
        """Something waits for the end of a view change."""
        return bool(self._held)

    @property
    def deadline(self) -> int | None:
        """When a turn is due even if nothing happens: for what is held, a tick, or a sign of life."""
        first = self._hosting.due
        if self._held and (first is None or self._place.holds_until < first):
            first = self._place.holds_until
        if self._place.acts:
            for at in (self._feeds.deadline, self._rounds.deadline):
                if at is not None and (first is None or at < first):
                    first = at
        return first

    def forget(self, source: Address) -> None:
        """The client's connection is gone.  What it sent may still happen."""
        self.intake.forget(source)
        self._feeds.forget(source)

    def flush(self, out: Output) -> list[Request]:
        """The end of a turn: answers, facts and notes go to `out`, the rest is for the group machine."""
        if self._hosting.reading:
            for hosted in self._hosting.read_to_end():
                self._rounds.touch(hosted.replica.group.id)
                self._act(hosted, hosted.caught_up())
        self._out.requests += self._rounds.settle()
        self._out.sends += self._feeds.flush(self._now, silent=not self._place.acts)
        return self._out.empty(out)

    # --- clients --------------------------------------------------------------------------------------------------

    def receive(self, source: Address, message: Any) -> bool:
        """A message from a client.  False if it is not for the gateway (`Describe` is the node's to answer)."""
        match message:
            case Command() | Query() | Watch():
                self._take(source, message, len(message.arguments))
            case OpenSession() | SessionKeepAlive() | CloseSession():
                self._take(source, message, 0)
            case WatchMore(_, watch, credit):
                self._feeds.more(source, watch, credit, self._now)
            case Unwatch(_, watch):
                self._feeds.end(source, watch)
                waiting = [each for hosted in self._hosted.values() for each in hosted.waiting]
                for waiter in [*withdraw([self._held], source, watch), *withdraw(waiting, source, watch)]:
                    self.intake.release(waiter)
            case _:
                return False
        return True

    def _take(self, source: Address, message: Asked, size: int) -> None:
        if not self.intake.is_new(source, message.request):
            self._out.note("gateway.repeated", source, message.request)
            return
        cluster = self._place.other_than(message.cluster)
        waiter = Waiter(source, message.request, size, cluster)
        if cluster and (news := self._place.news(message.cluster)) is not None:
            waiter.at_once = True
            self._out.decline(waiter, *news, ())
            return
        hosted = self._hosting.serving(message.group)
        holds = self._place.holds
        stale = type(message) is Query and message.stale  # rather than isinstance: its metaclass makes that slow
        if stale and not holds:
            hosted = hosted or self._hosting.showing(message.group)
        if hosted is None or not (holds or self._place.acts):
            self._elsewhere(waiter, message.group)
        elif size > self._limits.command_bytes:
            text = f"{size} bytes of arguments, the limit is {self._limits.command_bytes}"
            self._out.decline(waiter, Reason.TOO_LARGE, text, ())
        elif stale and not holds and isinstance(message, Query):
            waiter.at_once = True  # it says what was certain before
            self._answer_query(hosted, waiter, message)
        elif not self.intake.admit(waiter):
            self._out.decline(waiter, Reason.BUSY, "too much is under way", self._endpoints(message.group))
        elif holds:
            self._held.append((waiter, message))
            self._out.note("gateway.held", message.group)
        else:
            self._hand_on(hosted, waiter, message)

    def _hand_on(self, hosted: Hosted, waiter: Waiter, message: Asked) -> None:
        if (refused := self._place.no_room(hosted.replica, message)) is not None:
            waiter.at_once = True
            self.intake.release(waiter)
            self._out.decline(waiter, *refused, self._endpoints(message.group))
            return
        self._rounds.touch(hosted.replica.group.id)
        if type(message) is Command or not isinstance(message, (Query, Watch)):  # most are commands
            hosted.order(self._rounds.new_ticket(), waiter, message)
        elif isinstance(message, Watch) and message.position >= 0:
            self.intake.release(waiter)
            self._watch(hosted, waiter, message)
        else:
            hosted.asking.append((waiter, message))

    def _take_up(self) -> None:
        """What was held need not wait any more.  Nobody waits for it if its client is gone."""
        held, self._held = self._held, []
        for waiter, message in held:
            hosted = self._serving(message.group)
            if hosted is not None and self.intake.knows(waiter.source):
                self._hand_on(hosted, waiter, message)
            else:
                self.intake.release(waiter)
                self._elsewhere(waiter, message.group)

    def _serving(self, name: str) -> Hosted | None:
        return self._hosting.serving(name) if self._place.acts else None

    def _endpoints(self, name: str) -> tuple[Address, ...]:
        return self._place.endpoints(name, self._serving(name) is not None)

    # --- deliveries of the group machine --------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> bool:
        """A delivery, in order.  False if it is of no replica of this node: it is the application's."""
        if isinstance(delivery, Delivered) and not self._taking.busy and not self._hosting.is_behind(delivery.group):
            return self._apply(delivery)
        if self._taking.takes(delivery, begins=self._hosting.begins(delivery, self._place.view)):
            self._catch_up()
            return True
        return self._deal_with(delivery)

    def _catch_up(self) -> None:
        """Deal with what waits, as far as this turn allows."""
        while (waiting := self._taking.next()) is not None:
            group, delivery = waiting
            if not isinstance(delivery, Installed):
                self._deal_with(delivery)
            elif group in self._hosted:
                self._rounds.touch(group)
                self._act(self._hosted[group], self._hosted[group].install(delivery.view, self._now))

    def _deal_with(self, delivery: Delivery) -> bool:
        match delivery:
            case Delivered():
                return self._apply(delivery)
            case Founded(group, spec, fence=fence) if spec.name in self._hosting.kinds:
                self._found(group, spec, fence)
            case Rescued(group, fence) if group in self._hosted:
                self._rounds.touch(group)
                self._act(self._hosted[group], self._hosted[group].rescued(fence))
            case Restored(group) if self._hosting.kind(group, self._place.view) is not None:
                self._restore(delivery)
            case BarrierReached(group, token) if group in self._hosted:
                for waiter, asked in self._hosted[group].barriers.pop(token, ()):
                    self.intake.release(waiter)
                    if isinstance(asked, Watch):
                        self._watch(self._hosted[group], waiter, asked)
                    else:
                        self._answer_query(self._hosted[group], waiter, asked)
            case BarrierFailed(group, token) if group in self._hosted:
                for waiter, _ in self._hosted[group].barriers.pop(token, ()):
                    self.intake.release(waiter)
                    self._elsewhere(waiter, self._hosted[group].replica.group.spec.name)
            case Installed(view):
                self._install(view)
                return False
            case Excluded():
                self._place.excluded = True
                self._take_up()
                for group in list(self._hosted):
                    self._drop(group, f"{self._me} was excluded")
                return False
            case _:
                return self._hosting.exchange(delivery, self._place.view, self._now, self._out)
        return True

    def _found(self, group: GroupId, spec: GroupSpec, fence: Stamp) -> None:
        fault = self._hosting.found(group, spec, self._place.view, self._now, fence)
        self._rounds.touch(group)
        self._out.note("gateway.founded", spec.name)
        if fault is not None:
            self._strand(self._hosted[group], CannotRun(fault))

    def _apply(self, delivered: Delivered) -> bool:
        hosted = self._hosted.get(delivered.group)
        if hosted is not None:
            self._rounds.touch(delivered.group)
            self._act(hosted, hosted.apply(delivered, self._now))
        return hosted is not None

    def _strand(self, hosted: Hosted, why: CannotRun) -> None:
        self._findings.stranded(hosted, why, self._endpoints(hosted.replica.group.spec.name))

    def _install(self, view: View) -> None:
        self._place.view = view
        self._taking.keep_only({group.id for group in view.groups if self._me.name in group.everyone})
        for group_id, hosted in list(self._hosted.items()):
            group = view.group(group_id)
            if group is None or self._me.name not in group.everyone:
                self._drop(group_id, f"{self._me} no longer hosts the group")
            else:
                hosted.ticking = False
                self._rounds.touch(group_id)
                if group_id not in self._taking:  # else it is the view's turn when what came before it is dealt with
                    self._act(hosted, hosted.install(view, self._now))
        self._out.requests += self._hosting.again(view)

    def _restore(self, restored: Restored) -> None:
        group = restored.group
        if group in self._hosted:
            # Commands that the snapshot covers are not delivered here any more: nobody can tell their callers.
            self._drop(group, "the state was replaced by a transfer")
        replica, error = self._hosting.restore(restored, self._place.view, self._now)
        self._rounds.touch(group)
        if isinstance(error, CannotRun):
            self._strand(self._hosted[group], error)
        elif error is not None:
            unfaithful = SnapshotUnfaithful(replica.group.spec.name, f"{type(error).__name__}: {text_of(error)}")
            self._out.deliveries.append(unfaithful)
        self._out.note("gateway.restored", replica.group.spec.name, replica.position)

    def _drop(self, group: GroupId, why: str) -> None:
        """The replica is gone."""
        hosted = self._hosting.drop(group, self._out)
        self._rounds.touch(group)
        name = hosted.replica.group.spec.name
        self._feeds.drop(group, why, self._endpoints(name))
        self._out.abandon(hosted.in_flight, why, self._endpoints(name))
        for waiter, _ in [*hosted.asking, *(each for asked in hosted.barriers.values() for each in asked)]:
            self.intake.release(waiter)
            self._elsewhere(waiter, name)
        self._out.note("gateway.dropped", name, why)

    # --- answers --------------------------------------------------------------------------------------------------

    def _act(self, hosted: Hosted, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Answered):
                waiter = hosted.in_flight.pop(action.ticket, None)
                if waiter is not None:  # it may have been sent before the state here was replaced
                    self.intake.release(waiter)
                    self._answer(hosted, waiter, action.result)
            else:
                self._findings.take(hosted, action, self._endpoints(hosted.replica.group.spec.name), self._now)

    def _answer(self, hosted: Hosted, waiter: Waiter, result: Any) -> None:
        replica = hosted.replica
        if isinstance(result, (Returned, Raised)):
            self._out.answer(waiter, Reply(waiter.request, result, replica.stamp, waiter.cluster))
        else:
            endpoints = self._endpoints(replica.group.spec.name)
            self._out.settle(waiter, result, self._session_limits.lifetime_ms, endpoints)

    def _answer_query(self, hosted: Hosted, waiter: Waiter, query: Query) -> None:
        if hosted.serves:
            self._answer(hosted, waiter, hosted.replica.query(query.operation, query.types, query.arguments))
        else:
            self._elsewhere(waiter, query.group)

    def _watch(self, hosted: Hosted, waiter: Waiter, watch: Watch) -> None:
        """Begin a watch."""
        if not hosted.serves:
            self._elsewhere(waiter, watch.group)
        elif self.intake.knows(waiter.source):
            refusal = self._feeds.add(waiter.source, watch, hosted.replica, self._now, waiter.cluster)
            if refusal is not None:
                self._out.decline(waiter, refusal.reason, refusal.text, self._endpoints(watch.group))

    def _elsewhere(self, waiter: Waiter, name: str) -> None:
        waiter.at_once = waiter.at_once or self._place.is_full
        self._out.decline(waiter, Reason.ELSEWHERE, self._place.why_not(name), self._endpoints(name))
