"""Client machines, gateways and replicas over a toy total order that loses messages, links and nodes (SCENARIOS 30)."""

import random
from collections import Counter
from typing import Any

import pytest

from phalanx.lab.mutants import planted
from phalanx.model.clock import MILLISECOND, SECOND, Instant, stamp_of
from phalanx.model.events import Barrier, BarrierReached, Delivered, Excluded, Founded, Installed, Multicast
from phalanx.model.machine import LinkDown, Output, Received
from phalanx.model.view import Member
from phalanx.replication import client as client_module
from phalanx.replication.calls import Call, Completed, End, Read
from phalanx.replication.client import ClientMachine
from phalanx.replication.gateway import Gateway
from phalanx.replication.messages import (
    CloseSession,
    Command,
    Declined,
    Describe,
    OpenSession,
    Query,
    Reason,
    SessionKeepAlive,
    Watch,
)
from phalanx.replication.outcome import Outcome
from phalanx.replication.sessions import Fresh, Sessions, Verdict
from phalanx.replication.standing import Standing
from tests.replication.samples import ACCOUNT, A, Account, B, C, view

ADD = ACCOUNT.invoke(Account.add, 1)
READ = ACCOUNT.invoke(Account.read)


class Bus:
    """Three gateways in one total order, and clients whose links lose messages.  Everything follows from the seed."""

    def __init__(self, seed: int, clients: int, loss: float) -> None:
        self.rng = random.Random(seed)
        self.loss = loss
        self.now = 1_000 * SECOND
        self.gateways = {member.address: (member, Gateway(member)) for member in (A, B, C)}
        self.clients = {
            f"~{n}": ClientMachine([A.address, B.address, C.address], random.Random(seed + n), 300 * MILLISECOND)
            for n in range(clients)
        }
        self.order: list[tuple[Member, bytes]] = []
        self.inbox: dict[str, list[Any]] = {name: [] for name in self.clients}
        self.completed: list[Completed] = []
        spec = view("a").groups[0].spec
        for _, gateway in self.gateways.values():
            gateway.register("bank", ACCOUNT)
            gateway.deliver(Installed(view("a", "b", "c")))
            gateway.deliver(Founded(7, spec))

    def turn(self) -> None:
        """Clients step, gateways flush, some of what is queued is ordered and delivered everywhere."""
        self.now += 50 * MILLISECOND
        for name, client in self.clients.items():
            events, self.inbox[name] = self.inbox[name], []
            out = client.step(events, Instant(self.now, self.now))
            self.completed += out.deliveries
            for send in out.sends:
                if self.rng.random() >= self.loss:
                    self._hand_over(name, send.to[0], send.message)
        for member, gateway in list(self.gateways.values()):
            self._flush(member, gateway)
        count = self.rng.randint(0, len(self.order))
        ordered, self.order = self.order[:count], self.order[count:]
        for sender, payload in ordered:
            for _, gateway in self.gateways.values():
                gateway.deliver(Delivered(7, 1, sender, stamp_of(self.now), [payload]))

    def _hand_over(self, name: str, address: str, message: Any) -> None:
        if address not in self.gateways:
            self.inbox[name].append(LinkDown(address))
            return
        for _ in range(1 + (self.rng.random() < self.loss)):
            self.gateways[address][1].receive(name, message)

    def _flush(self, member: Member, gateway: Gateway) -> None:
        out = Output()
        for request in gateway.flush(out):
            match request:
                case Multicast(_, payloads):
                    self.order += [(member, payload) for payload in payloads]
                case Barrier(group, token) if not self.order:
                    gateway.deliver(BarrierReached(group, token))
        for send in out.sends:
            if self.rng.random() >= self.loss:
                self.inbox[send.to[0]].append(Received(member.address, send.message))

    def exclude(self, member: Member) -> None:
        """The node is out: a part of its queue is lost, the rest was in time."""
        _, gateway = self.gateways.pop(member.address)
        self.order = [each for each in self.order if each[0] != member or self.rng.random() < 0.5]
        gateway.deliver(Excluded(None, "test"))
        self._flush(member, gateway)

    def balance(self, address: str) -> int:
        replica = self.gateways[address][1].replica("bank")
        assert replica is not None
        return READ.result(replica.query(READ.operation.id, READ.operation.types, READ.arguments))  # type: ignore[arg-type]  # it is no refusal

    def call(self, name: str, token: int, seconds: int = 600) -> None:
        operation = ADD.operation
        call = Call(token, "bank", operation.id, operation.types, ADD.arguments, self.now + seconds * SECOND)
        self.inbox[name].append(call)


@pytest.mark.parametrize("seed", range(25))
def test_every_call_happens_exactly_once_across_losses_and_exclusions(seed: int) -> None:
    """SCENARIOS 30; DESIGN 13, counter-example 15."""
    bus = Bus(seed, clients=2, loss=0.2)
    for token in range(40):
        bus.call(f"~{token % 2}", token)
        bus.turn()
        if token in (12, 25):
            bus.exclude(A if token == 12 else B)
    bus.loss = 0.0
    for _ in range(400):
        bus.turn()
    assert Counter(each.token for each in bus.completed) == Counter(range(40))
    assert {each.end for each in bus.completed} == {End.DONE}
    answers = sorted(ADD.result(each.outcome) for each in bus.completed if each.outcome is not None)
    assert answers == list(range(1, 41)), "each ran once, and each caller got its own answer"
    assert bus.balance(C.address) == 40


def test_a_client_has_so_many_calls_under_way_and_the_next_has_not_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CALLS_MAX", 2)
    client = ClientMachine(["a:1"], random.Random(1))
    calls = [Call(n, "bank", ADD.operation.id, ADD.operation.types, ADD.arguments, 5) for n in range(3)]
    ended = client.step(calls, Instant(0, 0)).deliveries
    assert [(each.token, each.end, each.reason) for each in ended] == [(2, End.NOT_HAPPENED, Reason.BUSY)]
    client.step([], Instant(5, 5))  # the end of both
    late = Call(3, "bank", ADD.operation.id, ADD.operation.types, ADD.arguments, 9)
    assert not client.step([late], Instant(6, 6)).deliveries


def test_the_end_of_a_call_is_told_truthfully() -> None:
    """Never sent is not happened; sent and unanswered is unknown."""
    client = ClientMachine(["a:1"], random.Random(1))
    read = Read(2, "bank", READ.operation.id, READ.operation.types, READ.arguments, 5)
    call = Call(1, "bank", ADD.operation.id, ADD.operation.types, ADD.arguments, 5)
    client.step([call, read], Instant(0, 0))
    ends = {each.token: each.end for each in client.step([], Instant(5, 5)).deliveries}
    assert ends == {1: End.NOT_HAPPENED, 2: End.NOT_HAPPENED}
    bus = Bus(1, clients=1, loss=0.0)
    bus.call("~0", 1, seconds=30)
    for _ in range(20):
        bus.turn()
    bus.loss = 1.0
    bus.call("~0", 2, seconds=30)
    for _ in range(700):
        bus.turn()
    assert [(each.token, each.end) for each in bus.completed] == [(1, End.DONE), (2, End.UNKNOWN)]


def test_an_excluded_gateway_never_sends_what_it_had_not_sent() -> None:
    """DESIGN 13, counter-example 15: an excluded node replaying its queue."""
    bus = Bus(1, clients=1, loss=0.0)
    gateway = bus.gateways[A.address][1]
    gateway.receive("~0", OpenSession(0, "bank"))
    gateway.deliver(Excluded(None, "test"))
    out = Output()
    assert gateway.flush(out) == []
    gateway.receive("~0", OpenSession(1, "bank"))
    assert gateway.flush(out) == []
    reasons = [send.message.reason for send in out.sends if isinstance(send.message, Declined)]
    assert reasons == [Reason.UNKNOWN, Reason.ELSEWHERE]


OF_READ = READ.operation.id, READ.operation.types, READ.arguments


@pytest.mark.parametrize("standing", [Standing.ACTS, Standing.CHANGES])
@pytest.mark.parametrize(
    "message",
    [
        Command(3, "bank", 1, 1, 1, ADD.operation.id, ADD.operation.types, ADD.arguments),
        Query(3, "bank", *OF_READ),
        Query(3, "bank", *OF_READ, stale=True),
        Watch(3, "bank", 0, *OF_READ, -1, 1),
        OpenSession(3, "bank"),
        SessionKeepAlive(3, "bank", 1, 1),
        CloseSession(3, "bank", 1),
    ],
    ids=lambda value: f"{type(value).__name__}{' stale' * getattr(value, 'stale', False)}",
)
def test_a_gateway_drops_repeated_requests(message: Any, standing: Standing) -> None:
    gateway = Bus(1, clients=1, loss=0.0).gateways[A.address][1]
    gateway.stand(standing, frozenset(), 0)
    assert gateway.receive("~0", message)
    waiting = gateway.intake.waiting
    assert gateway.receive("~0", message)
    out = Output()
    taken = len(gateway.flush(out)) + len(out.eager) + gateway.is_holding
    assert (gateway.intake.waiting, taken) == (waiting, 1)
    assert [note.what for note in out.notes].count("gateway.repeated") == 1


def test_a_gateway_leaves_descriptions_to_the_node() -> None:
    assert not Bus(1, clients=1, loss=0.0).gateways[A.address][1].receive("~0", Describe(4, "status"))


def test_a_node_without_the_group_redirects_to_its_hosts() -> None:
    gateway = Gateway(C)
    gateway.deliver(Installed(view("a", "b")))
    gateway.receive("~0", OpenSession(0, "bank"))
    out = Output()
    gateway.flush(out)
    (send,) = out.sends
    assert send.message.reason is Reason.ELSEWHERE and send.message.endpoints == (A.address, B.address)


def test_the_bus_notices_a_session_table_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: resent commands run again."""
    begin = Sessions.begin

    def forgetful(table: Sessions, session: int, number: int, low: int) -> Outcome | Verdict | Fresh:
        found = begin(table, session, number, low)
        return found if isinstance(found, Verdict) else Fresh.FRESH

    monkeypatch.setattr(Sessions, "begin", forgetful)
    monkeypatch.setattr(Sessions, "record", lambda *_: None)
    with pytest.raises(AssertionError):
        test_every_call_happens_exactly_once_across_losses_and_exclusions(0)


def test_the_bus_notices_a_session_that_remembers_its_highest_number_only() -> None:
    """DESIGN 13, counter-example 15: what is lost and sent again comes after later commands."""
    with planted("a session remembers its highest number only"), pytest.raises(AssertionError):
        test_every_call_happens_exactly_once_across_losses_and_exclusions(0)
