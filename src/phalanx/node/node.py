"""One node, pure: peers' messages go to the group machine, clients' to the gateway, deliveries to replicas or onwards.

A turn is one step of the group machine with everything that came, the gateway's requests last, so that a barrier notes
what has just been received.  Replies leave with the output that delivered what they answer.  Where the step has also
something for others (receipts, say), that leaves first: what was delivered is *put off* to a second step of the turn, so
that nobody waits while commands are executed that were delivered with it.

A process that is excluded returns by itself as a new incarnation, with nothing of the old one but its votes; the
application is told by `Excluded` first.  One that is excluded again and again waits before it asks (group/backoff.py).
One that left stays out.
"""

import random
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from phalanx.calls.machine import GroupCalls
from phalanx.calls.messages import Letter
from phalanx.calls.procedures import ServiceType
from phalanx.calls.requests import CallTroupe, CancelCall, Executed
from phalanx.group.backoff import Backoff, is_wanted
from phalanx.group.config import Config
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Envelope, Votes
from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.events import Consumed, Delivered, Excluded, Host, HostRefused, Installed, Leave, Multicast, Unhost
from phalanx.model.machine import Drop, Journal, LinkDown, Logged, Output, Patient, Received, Room, Send, Space
from phalanx.model.view import Address, GroupSpec, View
from phalanx.node.objects import Objects
from phalanx.node.status import Status, status_of
from phalanx.parts.quorum import is_quorum
from phalanx.parts.room import refusal
from phalanx.replication.gateway import Gateway
from phalanx.replication.inflight import GATEWAY_LIMITS, SLICE_BYTES
from phalanx.replication.messages import Answer, ClientMessage, Describe
from phalanx.replication.objects import ObjectType
from phalanx.replication.standing import Standing

Message = Envelope | Letter | ClientMessage
"""Everything that a node's connections carry."""

QUIET_SILENCES = 4
"""So many times `suspect_after` a view lasts before an object's class is upgraded in it: two seconds, by default."""

_status_json = msgspec.json.Encoder().encode


class Node(Patient):
    """A `Machine`.  `objects`: the replicated objects to host from the start, by group name; their specs are made here.
    More come with `host`."""

    def __init__(
        self,
        config: Config,
        votes: Votes | None,
        rng: random.Random,
        now: Instant,
        objects: Mapping[str, tuple[ObjectType[Any], GroupSpec]] | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._rng = rng
        self._objects = Objects(objects or {})
        self._config = config
        self._specs = {spec.name: spec for spec in config.hosts} | self._objects.specs()
        """What this node asks to host, by name."""
        last = votes.decided if votes is not None else None
        self._specs |= self._objects.known_to(last.view if last is not None else votes.view if votes else None)
        self._asks: list[Host | HostRefused] = []
        """What it asks for otherwise now; and what was refused before it knew a view."""
        self._votes = votes
        self._journal = journal
        """What a new group machine begins with; it is let go of then."""
        self._put_off: list[Any] = []
        """Delivered by the group machine, and not handed on yet."""
        self.slow: dict[str, int] = {}
        """By class and method, how often one took too long here; whoever runs this machine counts."""
        self._keeps_log = journal is not None
        self._appended = 0
        """How many records all our group machines have appended ..."""
        self._before = 0
        """... and those before the present one."""
        self._rereading = False
        self._leaving = False
        self._backoff = Backoff(config.timing)
        self._asks_at = 0
        """Before that a new group machine does not ask to be let in."""
        self._turn = now
        """The time of the present turn."""
        self._room = Room(Space.AMPLE, 0)
        self.calls: GroupCalls | None = None
        """Made when somebody first calls a troupe, or hosts one."""
        self._begin(now)

    def _begin(self, now: Instant) -> None:
        config = msgspec.structs.replace(self._config, hosts=tuple(self._specs.values()))
        self.group = GroupMachine(config, self._votes, self._rng, now, self._journal, self._asks_at)
        self._journal = None
        slice_bytes, quiet_ns = min(SLICE_BYTES, config.limits.chunk), QUIET_SILENCES * config.timing.suspect_after
        limits = GATEWAY_LIMITS._replace(slice_bytes=slice_bytes, quiet_ns=quiet_ns)
        self.gateway = Gateway(self.group.me, limits)
        for name, kind in self._objects.kinds():
            self.gateway.register(name, kind)
        self._consumed: list[Any] = []
        self._first: list[Any] = [self._room] if self._room.space else []
        """What a new group machine is told before anything that has come since."""

    def host(self, name: str, kind: ObjectType[Any], spec: GroupSpec) -> Host:
        """Register an object; the request that hosts it is to be submitted."""
        self._objects.add(kind, spec)
        self.gateway.register(name, kind)
        view = self.group.view
        return Host((self._objects.asked(name, view) if view is not None else None) or spec)

    def serve(self, service: ServiceType[Any], spec: GroupSpec) -> Host:
        """Register a troupe; the request that hosts it is to be submitted."""
        self._calls().register(spec.name, service)
        return Host(spec)

    def _calls(self) -> GroupCalls:
        if self.calls is None:
            self.calls = GroupCalls(self.group.me)
            self.calls.turn(self.group.me, self.group.view, self._turn)
        return self.calls

    @property
    def status(self) -> Status:
        return status_of(self.group, self.slow, self.gateway.of_versions)

    def no_room(self, name: str) -> str | None:
        """Why this node cannot send in that group for want of room on disks; None if it can, or will in a moment."""
        group = self.group.view.group_named(name) if self.group.view is not None else None
        if group is None or not group.spec.durable:
            return None
        me, short = self.group.me.name, self.group.short
        if me in short and (me not in group.hosts or short[me] is Space.FULL):
            return f"the disk of {me} has no room: group {name} goes on without it until there is"
        return refusal(group, short)

    # --- the contract

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        out = Output()
        requests: list[Any] = []
        if self._put_off:  # the turn goes on
            put_off, self._put_off = self._put_off, []
            self._hand_on(put_off, out)
            requests = self._requests(out, now)
            if not (requests or events):
                return out
        if self.group.is_excluded and not self._leaving:
            self._return(events := list(events), now, out)
        self._stand(now)
        self._turn = now
        if self.calls is not None:
            self.calls.turn(self.group.me, self.group.view, now)
        pending = self._first + self._sort(events, out)
        pending += self._consumed
        pending += requests
        pending += self.gateway.flush(out)
        if self.calls is not None:
            pending += self.calls.flush(out)
        self._first, self._consumed = [], []
        while True:
            self._step_group(out, pending, now)
            if self._put_off:
                out.again = True
                return out
            pending = self._requests(out, now)
            if not pending:
                return out

    def _requests(self, out: Output, now: Instant) -> list[Any]:
        """What follows for the group machine from what it has delivered, but for what can wait for the next turn."""
        if self.gateway.is_holding:
            self._stand(now)
        requests: list[Any] = self.gateway.flush(out)
        if self._asks:
            requests += self._take_asks(out)
        if self.calls is not None:
            requests += self.calls.flush(out)
        if not requests:
            return requests
        self._consumed += [r for r in requests if isinstance(r, Consumed)]
        return [r for r in requests if not isinstance(r, Consumed)]

    def _return(self, events: list[Any], now: Instant, out: Output) -> None:
        """Begin again as a new incarnation; with what the log holds, if we keep one, which must be read for that."""
        journal = next((event for event in events if isinstance(event, Journal)), None)
        if not self._keeps_log or journal is not None:
            self._journal, self._rereading = journal, False
            self._before = self._appended
            self._begin(now)
        elif not self._rereading:
            self._rereading = out.reread = True

    def can_wait(self, event: Received) -> bool:
        """As `GroupMachine.can_wait`."""
        return self.group.can_wait(event)

    @property
    def deadline(self) -> int | None:
        if self._put_off:
            return 0
        if self.group.is_excluded and not self._leaving and not self._rereading:
            return 0
        group, gateway = self.group.deadline, self.gateway.deadline
        first = group if gateway is None or (group is not None and group < gateway) else gateway
        if self.calls is not None:
            calls = self.calls.deadline
            if calls is not None and (first is None or calls < first):
                first = calls
        return first

    def _stand(self, now: Instant) -> None:
        """Tell the gateway what this node can do at present."""
        self.gateway.stand(self.standing, self.group.suspects, now.mono, self.group.short)

    @property
    def standing(self) -> Standing:
        """What this node can do at present.  Who cannot act, but suspects less than would cost the view its quorum, is in
        the middle of a view change."""
        group = self.group
        if not group.is_fenced:
            return Standing.ACTS
        suspects, view = group.suspects, group.view
        there = [m.name for m in view.members if m.name not in suspects] if view is not None else []
        return Standing.CHANGES if view is not None and is_quorum(view, there) else Standing.CUT_OFF

    def _sort(self, events: Iterable[Any], out: Output) -> list[Any]:
        """Give clients' messages to the gateway; the rest is for the group machine."""
        for_group: list[Any] = []
        for event in events:
            kind = type(event)
            if kind is Received:
                source, message = event.source, event.message
                if type(message) is Envelope:
                    for_group.append(event)
                elif type(message) is Letter and not source.startswith("~"):  # nodes' affair
                    self._calls().receive(message)
                elif type(message) is Describe:
                    out.eager.append(self._answer(source, message.request, message.what))
                elif not self.gateway.receive(source, message):
                    out.drops.append(Drop(source, f"a node does not take {type(message).__name__}"))
                continue
            if kind is Multicast or kind is Consumed:
                for_group.append(event)
                continue
            match event:
                case LinkDown(address) if address.startswith("~"):
                    self.gateway.forget(address)
                case Logged(upto):
                    if upto > self._before:
                        for_group.append(Logged(upto - self._before))
                case CallTroupe() | CancelCall() | Executed():
                    self._calls().request(event)
                case Journal():
                    pass  # taken up when it came
                case _:
                    self._remember(event)
                    for_group.append(event)
        return for_group

    def _remember(self, event: Any) -> None:
        """What the application wants of the group machine outlives an exclusion."""
        match event:
            case Host(spec):
                self._specs[spec.name] = spec
            case Unhost(name):
                self._specs.pop(name, None)
            case Leave():
                self._leaving = True
            case Room():
                self._room = event

    def _ask_as_it_is(self, view: View) -> None:
        """Objects may have been founded with another version of their class than this node has."""
        for name, spec in list(self._specs.items()):
            if name in self._objects and name not in self.gateway.refused:
                asked = self._objects.asked(name, view)
                if asked is not None and asked != spec:
                    self._specs[name] = asked
                    self._asks.append(Host(asked))

    def _take_asks(self, out: Output) -> list[Host]:
        """What to ask the group machine for.  A refusal stands if there is nothing else to ask for."""
        view, asks = self.group.view, self._asks
        if view is None:
            return []
        self._asks = []
        wanted = [ask for ask in asks if isinstance(ask, Host)]
        for ask in asks:
            if isinstance(ask, HostRefused):
                asked = self._objects.asked(ask.spec.name, view)
                if asked is None or asked == ask.spec:
                    out.deliveries.append(ask)
                elif ask.spec.name in self._specs:
                    self._specs[asked.name] = asked
                    wanted.append(Host(asked))
        return wanted

    def _answer(self, source: Address, request: int, what: str) -> Send:
        data = _status_json(self.status) if what == "status" else b"null"
        return Send((source,), Answer(request, data))

    def _step_group(self, out: Output, events: list[Any], now: Instant) -> None:
        """A step of the group machine.  Its deliveries are handed on, or put off."""
        others, out.deliveries = out.deliveries, []
        forget = out.take_forget()
        appended = len(out.appends)
        self.group.step_into(out, events, now)
        self._appended += len(out.appends) - appended
        since = out.take_forget()
        out.forget = forget if since is None else self._before + since
        if out.writes:
            self._votes = out.writes[-1]
        deliveries, out.deliveries = out.deliveries, others
        if deliveries and self._objects and (out.eager or out.appends) and _are_messages(deliveries):
            self._put_off = deliveries
        elif deliveries:
            self._hand_on(deliveries, out)

    def _hand_on(self, deliveries: list[Any], out: Output) -> None:
        """To the replicas; those that are of none, to `out`."""
        others = out.deliveries
        for delivery in deliveries:
            if not self.gateway.deliver(delivery):
                if self.calls is not None and self.calls.deliver(delivery, others):
                    continue
                if type(delivery) is Delivered:  # nearly all are
                    others.append(delivery)
                    continue
                if isinstance(delivery, HostRefused) and delivery.spec.name in self._objects:
                    self._asks.append(delivery)
                    continue
                if isinstance(delivery, Installed):
                    self._backoff.is_in(self._turn.mono)
                    self._ask_as_it_is(delivery.view)
                others.append(delivery)
                if isinstance(delivery, Excluded):
                    self._put_out(delivery, out)

    def _put_out(self, excluded: Excluded, out: Output) -> None:
        out.note("node.excluded", excluded.reason)
        if excluded.left:
            return
        now = self._turn.mono
        until = self._backoff.put_out(now)
        self._asks_at = now if is_wanted(excluded.view, self.group.me.name, self._specs) else until
        if self._asks_at > now:
            out.note("node.waits", (self._asks_at - now) // MILLISECOND)


def _are_messages(deliveries: list[Any]) -> bool:
    """Nothing else: neither a view nor a state, after which this node stands differently."""
    return all(type(delivery) is Delivered for delivery in deliveries)
