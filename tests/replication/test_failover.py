"""How clients get past a node that is silent, gone, or in the middle of a view change."""

import random
from typing import Any

from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.events import Excluded, Founded, Installed, Multicast, Request
from phalanx.model.machine import LinkDown, LinkUp, Output, Received, Refused
from phalanx.replication.calls import Call, Cancel, Completed, End, Read
from phalanx.replication.client import OPENINGS_MAX, ClientMachine
from phalanx.replication.gateway import Gateway
from phalanx.replication.inflight import GATEWAY_LIMITS, GatewayLimits
from phalanx.replication.messages import Command, Declined, Opened, OpenSession, Query, Reason, Reply
from phalanx.replication.outcome import Returned
from phalanx.replication.route import BACKOFF_NS_LEAST, PATIENCE_NS_LEAST, PATIENCE_NS_MOST, Patience, Route
from phalanx.replication.standing import HOLD_NS, Standing
from tests.replication.samples import ACCOUNT, A, Account, view

ADD = ACCOUNT.invoke(Account.add, 1)
READ = ACCOUNT.invoke(Account.read)


class Program:
    """A client machine and what it has sent and completed.  Its endpoints answer only what the test says."""

    def __init__(self, *endpoints: str) -> None:
        self.client = ClientMachine(endpoints, random.Random(1))
        self.now = 0
        self.sent: list[tuple[str, Any]] = []
        self.completed: list[Completed] = []

    def step(self, *events: Any, ms: int = 0) -> None:
        self.now += ms * MILLISECOND
        out = self.client.step(events, Instant(self.now, self.now))
        self.sent += [(send.to[0], send.message) for send in out.sends]
        self.completed += out.deliveries

    def take(self) -> list[tuple[str, Any]]:
        sent, self.sent = self.sent, []
        return sent

    def call(self, token: int) -> None:
        operation = ADD.operation
        deadline = self.now + 60 * SECOND
        self.step(Call(token, "bank", operation.id, operation.types, ADD.arguments, deadline))

    def read(self, token: int) -> None:
        operation = READ.operation
        deadline = self.now + 60 * SECOND
        self.step(Read(token, "bank", operation.id, operation.types, READ.arguments, deadline))

    def open(self) -> None:
        """A session, by way of the first endpoint, that lives for ten minutes."""
        self.call(0)
        ((endpoint, opening),) = self.take()
        self.step(Received(endpoint, Opened(opening.request, 5, 600_000, ())))
        ((_, command),) = self.take()
        self.answer(endpoint, command)

    def answer(self, endpoint: str, message: Command | Query) -> None:
        self.step(Received(endpoint, Reply(message.request, Returned(b"\x01"), 1)))


# --- nobody listens -----------------------------------------------------------------------------------------------


def outcome_after(*events: Any) -> End:
    """Of a command that was sent to `b:1` after `a:1` had declined it, and then this happened."""
    program = Program("a:1", "b:1")
    program.step(LinkUp("a:1"))
    program.open()
    program.step(*(event for event in events if isinstance(event, LinkUp)))
    program.call(1)
    ((_, command),) = program.take()
    program.step(Received("a:1", Declined(command.request, Reason.ELSEWHERE, "a is cut off", ())))
    ((endpoint, _),) = program.take()
    assert endpoint == "b:1"
    program.step(*(event for event in events if not isinstance(event, LinkUp)), ms=1)
    while (sent := program.take()) and program.completed[-1].token != 1:
        ((endpoint, again),) = sent
        assert endpoint == "a:1"
        program.step(Received("a:1", Declined(again.request, Reason.ELSEWHERE, "a is cut off", ())))
    program.step(Cancel(1))
    assert program.completed[-1].token == 1
    return program.completed[-1].end


def test_what_was_sent_where_nobody_listens_has_not_happened() -> None:
    """One node is left of three, and takes no writes: nor can the others have taken any."""
    assert outcome_after(Refused("b:1")) is End.NOT_HAPPENED


def test_what_was_sent_on_a_link_that_broke_may_have_happened_though_nobody_listens_there_now() -> None:
    assert outcome_after(LinkUp("b:1"), LinkDown("b:1"), Refused("b:1")) is End.UNKNOWN


def test_what_waits_for_a_link_may_happen_yet() -> None:
    assert outcome_after() is End.UNKNOWN


# --- silence ------------------------------------------------------------------------------------------------------


def test_a_silent_endpoint_is_left_within_its_patience_and_the_command_keeps_its_number() -> None:
    """A paused process (SIGSTOP) costs its clients 300 ms, not the two seconds of a slow answer."""
    program = Program("a:1", "b:1")
    program.open()
    program.call(1)
    ((first, command),) = program.take()
    program.step(ms=PATIENCE_NS_LEAST // MILLISECOND - 1)
    assert program.take() == []
    assert program.client.deadline == program.now + MILLISECOND
    program.step(ms=1)
    ((second, again),) = program.take()
    assert (first, second) == ("a:1", "b:1")
    assert (again.session, again.number) == (command.session, command.number), "the group runs it once"
    program.answer("b:1", again)
    assert [each.token for each in program.completed] == [0, 1]


def test_what_a_silent_endpoint_answers_in_the_end_still_counts() -> None:
    program = Program("a:1", "b:1")
    program.open()
    program.call(1)
    program.read(2)
    (_, command), (_, query) = program.take()
    program.step(ms=300)
    assert [endpoint for endpoint, _ in program.take()] == ["b:1", "b:1"]
    program.answer("a:1", command)
    program.answer("a:1", query)
    assert [(each.token, each.end) for each in program.completed[1:]] == [(1, End.DONE), (2, End.DONE)]


def test_a_client_returns_to_the_endpoint_that_answers_while_the_next_one_is_silent() -> None:
    """It left a healthy node that was in a view change, and came to the one that hangs."""
    program = Program("a:1", "b:1", "c:1")
    program.open()
    program.call(1)
    ((_, command),) = program.take()
    program.step(ms=300)
    program.call(2)
    assert [endpoint for endpoint, _ in program.take()] == ["b:1", "b:1"]
    program.answer("a:1", command)
    ((endpoint, again),) = program.take()
    assert endpoint == "a:1", "what only the silent one was sent goes there as well"
    assert again.number == command.number + 1
    program.call(3)
    ((endpoint, _),) = program.take()
    assert endpoint == "a:1"


def test_a_client_stays_with_an_endpoint_that_has_spoken_when_the_one_before_wakes_up() -> None:
    program = Program("a:1", "b:1")
    program.open()
    program.call(1)
    program.call(2)
    (_, first), _ = program.take()
    program.step(ms=300)
    _, (_, second) = program.take()
    program.answer("b:1", second)
    program.answer("a:1", first)
    program.call(3)
    ((endpoint, _),) = program.take()
    assert endpoint == "b:1"


def test_a_session_that_a_silent_endpoint_opens_late_is_used() -> None:
    program = Program("a:1", "b:1")
    program.call(1)
    ((_, opening),) = program.take()
    program.step(ms=300)
    ((_, second),) = program.take()
    assert isinstance(second, OpenSession)
    program.step(Received("a:1", Opened(opening.request, 5, 600_000, ())))
    ((endpoint, command),) = program.take()
    assert endpoint == "a:1"
    assert command.session == 5
    program.step(Received("b:1", Opened(second.request, 6, 600_000, ())))
    assert program.take() == [], "the second one expires unused"


def test_a_command_whose_session_is_unknown_is_not_sent_when_it_has_ended() -> None:
    """The only endpoint was left for its silence when it says so, and the command waits for the next attempt already."""
    program = Program("a:1")
    program.open()
    program.call(1)
    ((_, command),) = program.take()
    program.step(ms=300)
    assert program.take() == []
    program.step(Received("a:1", Declined(command.request, Reason.EXPIRED, "unknown", ())))
    program.step(Cancel(1))
    assert [(each.token, each.end) for each in program.completed[1:]] == [(1, End.NOT_HAPPENED)]
    program.call(2)
    program.step(ms=300)
    ((_, opening),) = program.take()
    program.step(Received("a:1", Opened(opening.request, 6, 600_000, ())))
    ((_, command),) = program.take()
    program.answer("a:1", command)
    assert [each.token for each in program.completed] == [0, 1, 2], "and no other was sent"


def test_of_many_requests_for_a_session_only_the_last_are_waited_for() -> None:
    program = Program("a:1", "b:1")
    program.call(1)
    while len(program.sent) < OPENINGS_MAX + 1:
        program.step(ms=PATIENCE_NS_MOST // MILLISECOND)
    openings = [(endpoint, message.request) for endpoint, message in program.take()]
    while not (more := program.take()):
        program.step(ms=PATIENCE_NS_MOST // MILLISECOND)
    assert isinstance(more[0][1], OpenSession)
    for (endpoint, request), session in zip(openings, range(5, 100), strict=False):
        program.step(Received(endpoint, Opened(request, session, 600_000, ())))
    ((_, command),) = program.take()
    assert command.session == 6, "of the oldest nothing is known any more"


def test_patience_doubles_with_each_silence_and_follows_slow_answers() -> None:
    """Overload is not answered by sending everything again and again."""
    patience = Patience()
    assert patience.ns == PATIENCE_NS_LEAST
    patience.silent()
    assert patience.ns == 2 * PATIENCE_NS_LEAST
    for _ in range(20):
        patience.silent()
    assert patience.ns == PATIENCE_NS_MOST
    patience.answered(MILLISECOND)
    assert patience.ns == PATIENCE_NS_LEAST
    for _ in range(40):
        patience.answered(200 * MILLISECOND)
    assert 700 * MILLISECOND < patience.ns <= 800 * MILLISECOND
    for _ in range(40):
        patience.answered(60 * SECOND)
    assert patience.ns == PATIENCE_NS_MOST


def test_the_first_wait_after_a_round_of_failures_is_short() -> None:
    route = Route(["a:1", "b:1"], random.Random(1))
    route.failed(0)
    assert route.ready_at == 0
    route.failed(0)
    assert BACKOFF_NS_LEAST // 2 <= route.ready_at <= BACKOFF_NS_LEAST == 10 * MILLISECOND


def test_a_broken_link_is_no_silence() -> None:
    program = Program("a:1", "b:1")
    program.open()
    program.call(1)
    program.take()
    program.step(LinkDown("a:1"))
    ((endpoint, _),) = program.take()
    assert endpoint == "b:1"


# --- a view change at the node ------------------------------------------------------------------------------------


class Node:
    """The gateway of `a`, which hosts the bank with `b` and `c`."""

    def __init__(self, limits: GatewayLimits = GATEWAY_LIMITS) -> None:
        self.gateway = Gateway(A, limits)
        self.gateway.register("bank", ACCOUNT)
        self.gateway.deliver(Installed(view("a", "b", "c")))
        self.gateway.deliver(Founded(7, view("a").groups[0].spec))

    def stand(self, standing: Standing, *suspects: str, ms: int = 0) -> tuple[list[Request], list[Any]]:
        """What it asks of the group, and what it says to clients."""
        self.gateway.stand(standing, frozenset(suspects), ms * MILLISECOND)
        out = Output()
        requests = self.gateway.flush(out)
        return requests, [send.message for send in out.sends]

    def command(self, request: int, source: str = "~0") -> None:
        operation = ADD.operation
        command = Command(request, "bank", 1, request, 1, operation.id, operation.types, ADD.arguments)
        assert self.gateway.receive(source, command)


def declined(messages: list[Any]) -> list[tuple[Reason, tuple[str, ...]]]:
    assert all(isinstance(message, Declined) for message in messages)
    return [(message.reason, message.endpoints) for message in messages]


def test_what_comes_during_a_view_change_is_held_and_then_goes_to_the_group() -> None:
    node = Node()
    node.stand(Standing.CHANGES)
    node.command(1)
    node.gateway.receive("~0", Query(2, "bank", READ.operation.id, READ.operation.types, READ.arguments))
    assert node.gateway.is_holding
    assert node.stand(Standing.CHANGES, ms=100) == ([], [])
    requests, said = node.stand(Standing.ACTS, ms=120)
    assert [type(request).__name__ for request in requests] == ["Multicast", "Barrier"]
    assert said == []
    assert node.gateway.deadline is None


def test_what_is_held_for_too_long_goes_elsewhere_and_has_not_happened() -> None:
    node = Node()
    node.stand(Standing.CHANGES, ms=50)
    node.command(1)
    assert node.gateway.deadline == 50 * MILLISECOND + HOLD_NS
    requests, said = node.stand(Standing.CHANGES, ms=50 + HOLD_NS // MILLISECOND)
    assert requests == []
    assert declined(said) == [(Reason.ELSEWHERE, ("b:1", "c:1"))]
    node.command(2)
    _, said = node.stand(Standing.CHANGES, ms=700)
    assert declined(said) == [(Reason.ELSEWHERE, ("b:1", "c:1"))], "a change that lasts holds nothing more"
    node.stand(Standing.ACTS, ms=800)
    node.stand(Standing.CHANGES, ms=900)
    node.command(3)
    assert node.gateway.is_holding, "the next one is another one"


def test_a_node_that_is_excluded_declines_what_it_held_as_never_sent() -> None:
    node = Node()
    node.command(1)
    node.stand(Standing.CHANGES)
    node.command(2)
    node.gateway.deliver(Excluded(None, "test"))
    requests, said = node.stand(Standing.CUT_OFF, ms=10)
    assert requests == []
    assert sorted((message.request, message.reason) for message in said) == [(1, Reason.UNKNOWN), (2, Reason.ELSEWHERE)]


def test_a_node_that_turns_out_to_be_cut_off_sends_what_it_held_elsewhere() -> None:
    node = Node()
    node.stand(Standing.CHANGES)
    node.command(1)
    requests, said = node.stand(Standing.CUT_OFF, "b", "c", ms=10)
    assert requests == []
    assert declined(said) == [(Reason.ELSEWHERE, ("b:1", "c:1"))]


def test_clients_are_not_sent_to_suspected_nodes_unless_the_quorum_may_be_theirs() -> None:
    node = Node()
    node.gateway.deliver(Installed(view("b", "c")))
    for standing, suspects, expected in (
        (Standing.ACTS, (), ("b:1", "c:1")),
        (Standing.ACTS, ("b",), ("c:1",)),
        (Standing.CHANGES, ("c",), ("b:1",)),
        (Standing.CUT_OFF, ("b", "c"), ("b:1", "c:1")),
    ):
        node.gateway.stand(standing, frozenset(suspects), 0)
        node.gateway.receive(f"~{standing}{suspects}", OpenSession(1, "bank"))
        _, said = node.stand(standing, *suspects)
        assert declined(said)[-1] == (Reason.ELSEWHERE, expected)


def test_what_is_held_counts_against_the_limits_and_is_counted_back() -> None:
    """At the limit of `client_requests` the next one is declined at once, held or not."""
    node = Node(GatewayLimits(client_requests=2))
    node.stand(Standing.CHANGES)
    for request in (1, 2, 3):
        node.command(request)
    _, said = node.stand(Standing.CHANGES, ms=1)
    assert [reason for reason, _ in declined(said)] == [Reason.BUSY]
    node.stand(Standing.CUT_OFF, ms=2)
    node.stand(Standing.CHANGES, ms=3)
    for request in (4, 5):
        node.command(request)
    assert node.stand(Standing.CHANGES, ms=4) == ([], []), "there is room again"


def test_nothing_is_sent_for_a_client_that_is_gone_when_the_view_has_changed() -> None:
    node = Node()
    node.stand(Standing.CHANGES)
    node.command(1)
    node.command(1, "~1")
    node.gateway.forget("~0")
    requests, said = node.stand(Standing.ACTS, ms=10)
    (request,) = requests
    assert isinstance(request, Multicast) and len(request.payloads) == 1
    assert said == []
