"""What one member can do next, worked out once.

A machine knows nothing but what it is told, so what a step does depends on that member's state and the event alone.
Every state that a member was ever in gets a number, and so does every message; what an event does to a member is looked
up where it has happened before, in whatever company.  The real code runs once for each pair of state and event, which
is what makes it possible to visit millions of states of three members together.

A member's state here is its machine with what its driver holds: outputs that wait for the disk, the durable votes, the
member's time, and what its application has seen.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from phalanx.group.config import Config, Limits
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Data, Envelope, Prepare, Row, Votes
from phalanx.lab.explore.fork import Steady, encode, fork
from phalanx.lab.explore.scenarios import NAMES, TIMING, Scenario
from phalanx.model.clock import Instant
from phalanx.model.events import (
    Consumed,
    Delivered,
    Excluded,
    Founded,
    Installed,
    Multicast,
    Restored,
    SnapshotTaken,
    SnapshotWanted,
)
from phalanx.model.history import GroupEvent, SawFounding, SawMessage, SawState, SawView, Sent, Stopped
from phalanx.model.machine import Output, Received, Refused
from phalanx.model.view import Address, View
from phalanx.parts.quorum import is_quorum

Place = int
"""Which of the members: 0, 1, 2."""
StateId = int
MessageId = int
Posted = tuple[tuple[Place, MessageId], ...]
"""What leaves, in order: to whom, which message."""

_pack = msgspec.msgpack.Encoder().encode
_unpack_state = msgspec.msgpack.Decoder(list[bytes]).decode


class Broken(Exception):
    """The code itself failed: an assertion, or any other exception, in a step."""


class Batch(NamedTuple):
    """An output that waits: for its own votes to be durable, or for those before it."""

    votes: Votes | None
    posted: Posted
    looped: tuple[MessageId, ...]
    """To the member itself."""
    deliveries: tuple[Any, ...]


class State:
    """One state of one member.  Never changed once it has a number."""

    __slots__ = ("durable", "history", "key", "machine", "mono", "parting", "place", "unsent", "view", "waiting")

    def __init__(self, place: Place, machine: GroupMachine | None, mono: int, unsent: int) -> None:
        self.place = place
        self.machine = machine
        """None: crashed."""
        self.mono = mono
        self.unsent = unsent
        """How many messages its application still has to multicast."""
        self.waiting: tuple[Batch, ...] = ()
        self.durable: Votes | None = None
        self.history: tuple[GroupEvent, ...] = ()
        self.view = 0
        """The last that the application saw."""
        self.parting: View | None = None
        """The successor that it was told of when it was excluded."""
        self.key = b""

    def copy(self) -> "State":
        made = State(self.place, self.machine, self.mono, self.unsent)
        made.waiting, made.durable, made.history = self.waiting, self.durable, self.history
        made.view, made.parting = self.view, self.parting
        return made

    def payloads(self, group: int) -> list[bytes]:
        """The state of the application of a group: what it has delivered."""
        held: list[bytes] = []
        for event in self.history:
            if isinstance(event, SawState) and event.group == group:
                held = list(event.payloads)
            elif isinstance(event, SawMessage) and event.group == group:
                held.append(event.payload)
        return held


class Members:
    """Every state of every member that was met, and what each event did to it."""

    def __init__(self, scenario: Scenario, *, ordered: bool = False) -> None:
        """ordered: tell states apart by the order in which their dicts were filled, too (to test that it is idle)."""
        self.scenario = scenario
        self.states: list[State] = []
        self.messages: list[tuple[Place, Envelope]] = []
        self.steps = 0
        """How often the real code ran."""
        self.wall = 0
        """Physical time, the same at all members and standing still."""
        self._ordered = ordered
        self._ids: dict[bytes, StateId] = {}
        self._message_ids: dict[bytes, MessageId] = {}
        self._known: dict[tuple[StateId, str, int], tuple[StateId, Posted]] = {}

    # --- numbers

    def add(self, state: State) -> StateId:
        """The number of that state."""
        waiting = [(_pack(b.votes), b.posted, b.looped, b.deliveries) for b in state.waiting]
        machine = encode(state.machine, ordered=self._ordered) if state.machine is not None else None
        votes = _pack(state.durable) if self.scenario.restarts else b""
        whole = (state.place, machine, state.mono, state.unsent, waiting, votes, state.history, state.parting)
        key = blake2b(repr(whole).encode(), digest_size=16).digest()
        number = self._ids.get(key)
        if number is None:
            number = self._ids[key] = len(self.states)
            state.key = key
            self.states.append(state)
        return number

    def message(self, place: Place, envelope: Envelope) -> MessageId:
        """The number of that message from that member.  Row numbers and echoes are evened out (see `fork`)."""
        body = envelope.body
        if isinstance(body, Row):
            assert not body.ask, "no scenario reads echoes"
            body = msgspec.structs.replace(body, number=0, echo=(0,) * len(body.echo))
        elif isinstance(body, Data):
            body = msgspec.structs.replace(body, row=0)
        if body is not envelope.body:
            envelope = msgspec.structs.replace(envelope, body=body)
        key = _pack((place, envelope))
        number = self._message_ids.get(key)
        if number is None:
            number = self._message_ids[key] = len(self.messages)
            self.messages.append((place, envelope))
        return number

    def is_prepare(self, message: MessageId) -> bool:
        return isinstance(self.messages[message][1].body, Prepare)

    # --- what events do

    def _once(
        self, number: StateId, what: str, argument: int, act: Callable[[State, int], Posted]
    ) -> tuple[StateId, Posted]:
        found = self._known.get((number, what, argument))
        if found is None:
            before = self.states[number]
            after = before.copy()
            if what not in ("crash", "restart"):
                after.machine = fork(before.machine)
            posted = act(after, argument)
            found = self._known[number, what, argument] = self.add(after), posted
        return found

    def receive(self, number: StateId, message: MessageId) -> tuple[StateId, Posted]:
        """The message arrives."""
        found = self._known.get((number, "receive", message))
        return found or self._once(number, "receive", message, lambda s, m: self.step(s, [self.received(m)]))

    def refused(self, number: StateId, place: Place) -> tuple[StateId, Posted]:
        """A connection to that member is refused."""
        return self._once(number, "refused", place, lambda s, p: self.step(s, [Refused(NAMES[p])]))

    def send(self, number: StateId) -> tuple[StateId, Posted]:
        """The application multicasts its next message."""
        return self._once(number, "send", 0, self._send)

    def tick(self, number: StateId) -> tuple[StateId, Posted]:
        """The member's clock jumps to its deadline."""
        return self._once(number, "tick", 0, self._tick)

    def release(self, number: StateId) -> tuple[StateId, Posted]:
        """The oldest votes become durable; what waited for them leaves."""
        return self._once(number, "release", 0, lambda s, _: self._settle(s, self._release(s)))

    def crash(self, number: StateId) -> tuple[StateId, Posted]:
        """The process ends: what waited for the disk is gone."""
        return self._once(number, "crash", 0, self._crash)

    def restart(self, number: StateId) -> tuple[StateId, Posted]:
        """A new process starts with the durable votes."""
        return self._once(number, "restart", 0, self._restart)

    def received(self, message: MessageId) -> Received:
        """The event of that message arriving."""
        place, envelope = self.messages[message]
        return Received(NAMES[place], envelope)

    def _send(self, state: State, _: int) -> Posted:
        machine = state.machine
        assert machine is not None
        view = machine.view
        group = view.group_named(self.scenario.spec.name) if view is not None else None
        if group is None or machine.me.name not in group.everyone:
            return ()
        payload = b"%s%d" % (machine.me.name.encode(), self.scenario.sends[state.place] - state.unsent + 1)
        state.unsent -= 1
        state.history += (Sent(machine.me, group.id, payload),)
        return self.step(state, [Multicast(group.id, (payload,))])

    def _tick(self, state: State, _: int) -> Posted:
        assert state.machine is not None
        deadline = state.machine.deadline
        if deadline is None:
            return ()
        state.mono = max(state.mono, deadline)
        return self.step(state, [])

    def _crash(self, state: State, _: int) -> Posted:
        assert state.machine is not None
        if state.parting is None:
            state.history += (Stopped(state.machine.me, True),)
        state.machine, state.waiting, state.unsent, state.mono = None, (), 0, 0
        return ()

    def _restart(self, state: State, _: int) -> Posted:
        state.mono = max(s.mono for s in self.states[: len(NAMES)])
        state.machine = self.machine(state.place, state.durable, state.mono)
        return self.step(state, [])

    def machine(self, place: Place, votes: Votes | None, mono: int) -> GroupMachine:
        """A machine as a new process makes it."""
        name = NAMES[place]
        peers = tuple((n, n) for n in NAMES)
        config = Config(name, name, (), peers, (self.scenario.spec,), TIMING, Limits())
        return GroupMachine(config, votes, Steady(), Instant(mono, self.wall + mono))

    # --- the driver and the application

    def step(self, state: State, events: Iterable[Any]) -> Posted:
        """Step the machine, and carry the output out as a driver does: eager sends leave, the rest waits for the disk
        if it must; what the member sent itself and what its application answers are its next turn."""
        machine = state.machine
        assert machine is not None
        self.steps += 1
        try:
            output = machine.step(events, Instant(state.mono, self.wall))
        except Exception as error:
            raise Broken(f"{type(error).__name__}: {error}") from error
        self._check_reach(machine.view)
        eager, looped = self._address(state.place, output, eager=True)
        assert not looped, "nobody sends itself what does not wait for the disk"
        sends, looped = self._address(state.place, output, eager=False)
        votes = output.writes[-1] if output.writes else None
        if votes is not None or sends or looped or output.deliveries:
            state.waiting += (Batch(votes, sends, looped, tuple(output.deliveries)),)
        after = [(eager, list[Any]())]
        while state.waiting and (not self.scenario.slow_disk or state.waiting[0].votes is None):
            after.append(self._release(state))
        return self._settle(state, (sum((p for p, _ in after), ()), [e for _, events in after for e in events]))

    def _settle(self, state: State, released: tuple[Posted, list[Any]]) -> Posted:
        posted, events = released
        return posted + self.step(state, events) if events else posted

    def _release(self, state: State) -> tuple[Posted, list[Any]]:
        """Let the first output that waits go, and those after it that have nothing to write."""
        posted: Posted = ()
        events: list[Any] = []
        first = True
        while state.waiting and (first or state.waiting[0].votes is None):
            first = False
            batch, state.waiting = state.waiting[0], state.waiting[1:]
            state.durable = batch.votes or state.durable
            posted += batch.posted
            events += [self.received(m) for m in batch.looped]
            for delivery in batch.deliveries:
                events += self._take(state, delivery)
        return posted, events

    def _address(self, place: Place, output: Output, *, eager: bool) -> tuple[Posted, tuple[MessageId, ...]]:
        posted: list[tuple[Place, MessageId]] = []
        looped: list[MessageId] = []
        for send in output.eager if eager else output.sends:
            number = self.message(place, send.message)
            for to in map(self._place_of, send.to):
                if to == place:
                    looped.append(number)
                else:
                    posted.append((to, number))
        return tuple(posted), tuple(looped)

    @staticmethod
    def _place_of(address: Address) -> Place:
        return NAMES.index(address)

    def _check_reach(self, view: View | None) -> None:
        """What `fork` leaves out is read by groups whose hosts are no quorum of the view, and by leases."""
        if view is not None:
            for group in view.groups:
                assert is_quorum(view, group.hosts) and not group.spec.lease_ms, f"{group} is beyond the explorer"

    def _take(self, state: State, delivery: Any) -> list[Any]:
        """The application: it notes what it sees, consumes at once, and gives its state when asked."""
        assert state.machine is not None
        me = state.machine.me
        match delivery:
            case Installed(view):
                state.view = view.id
                state.history += (SawView(me, view),)
            case Founded(group, _):
                state.history += (SawFounding(me, group),)
            case Delivered(group, view, sender, _, payloads):
                if view < state.view:
                    whole = (*state.payloads(group), *payloads)
                    state.history += (SawState(me, group, whole),)
                else:
                    state.history += tuple(SawMessage(me, group, view, sender, p) for p in payloads)
                return [Consumed(group, sum(map(len, payloads)))]
            case SnapshotWanted(group, token):
                return [SnapshotTaken(group, token, _pack(state.payloads(group)))]
            case Restored(group, data):
                state.history += (SawState(me, group, tuple(_unpack_state(data))),)
            case Excluded(view, _):
                state.parting = view
                state.history += (Stopped(me, False),)
            case _:
                pass
        return []
