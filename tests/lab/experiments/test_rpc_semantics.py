"""The semantics of remote calls, executed; and with rules taken out, which the tables must show."""

import itertools
from typing import Any

import msgspec
import pytest

from phalanx.lab.experiments import rpc_semantics
from phalanx.lab.textbook.calls import AccountServer, CallClient, Memory, Reply, Request
from phalanx.lab.textbook.interposed import Interposed
from phalanx.lab.textbook.printing import PrintClient, PrintServer
from phalanx.lab.textbook.remedies import REMEDIES, Fate, Outcome, call
from phalanx.model.clock import Instant
from phalanx.model.machine import LinkUp, Output, Received, Send
from phalanx.model.view import Address
from phalanx.replication.calls import Completed, End
from phalanx.replication.client import ClientMachine
from phalanx.replication.sessions import Sessions
from tests.lab.experiments.runs import breaks, failing, short

BY_NAME = {remedy.name: remedy for remedy in REMEDIES}
NOW = Instant(0, 0)


def claims_that_fail() -> list[str]:
    return failing(rpc_semantics.run(False))


# --- the parts ----------------------------------------------------------------------------------------------------


class Echo:
    """Answers every message with itself, eagerly and otherwise."""

    deadline = 7

    def step(self, events: Any, now: Instant) -> Output:
        del now
        out = Output()
        for event in events:
            if isinstance(event, Received):
                out.eager.append(Send((event.source,), event.message))
                out.sends.append(Send((event.source,), event.message))
        return out


def test_omissions_strike_single_messages_either_way() -> None:
    machine = Interposed(Echo(), receives=lambda m: m != "in", sends=lambda m: m != "out")
    assert machine.deadline == 7
    out = machine.step([LinkUp("x"), Received("x", "in"), Received("x", "out"), Received("x", "both")], NOW)
    assert [send.message for send in out.eager] == [send.message for send in out.sends] == ["both"]


def test_a_client_that_was_connected_does_not_know_that_nothing_happened() -> None:
    """Else a crash after the execution would be taken for an absent server."""
    for events, end in (([], End.NOT_HAPPENED), ([LinkUp("server")], End.UNKNOWN)):
        client = CallClient("server", Request(1, 10, False), transmissions=1)
        assert client.step([], NOW).sends
        client.step(events, NOW)
        assert client.deadline is not None
        (ended,) = client.step([], Instant(client.deadline, 0)).deliveries
        assert ended.end is end
        assert client.deadline is None


@pytest.mark.parametrize("fate", Fate)
def test_the_product_meets_every_fate_and_executes_once(fate: Fate) -> None:
    assert call(BY_NAME["sessions, replicated"], (fate, fate)) == Outcome(1, 10, End.DONE)


def test_the_six_columns_come_from_what_the_server_did() -> None:
    (table, *_) = short("rpc-semantics").tables
    assert table.columns == ("reissue", "MPC", "MC(P)", "C(MP)", "PMC", "PC(M)", "C(PM)")


# --- without a rule, the table changes ----------------------------------------------------------------------------


@breaks("rpc-semantics", "reissue: Only when ACKed", "reissue: Only when not ACKed")
def test_a_client_that_forgets_the_completion_message_changes_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    step = PrintClient.step

    def forgetful(self: PrintClient, events: Any, now: Instant) -> Output:
        self._acked = False
        return step(self, events, now)

    monkeypatch.setattr(PrintClient, "step", forgetful)
    assert claims_that_fail() == ["reissue: Only when ACKed", "reissue: Only when not ACKed"]


@breaks(
    "rpc-semantics", "the six orders of M, P and C", "reissue: *", "no pair of strategies prints once in every case"
)
def test_a_server_that_does_both_at_once_has_other_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    act = PrintServer._act

    def at_once(self: PrintServer, out: Output) -> None:
        while self._agenda:
            act(self, out)

    monkeypatch.setattr(PrintServer, "_act", at_once)
    assert "the six orders of M, P and C" in claims_that_fail()


@breaks(
    "rpc-semantics",
    "numbers in memory fail if the server forgets what it has executed, and only then",
    "numbers, on disk: effects 1, the client is told: done",
)
def test_a_server_that_does_not_look_at_numbers_executes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = AccountServer._answer

    def anew(self: AccountServer, client: Address, request: Request, out: Output) -> Reply:
        self._replies.clear()
        return answer(self, client, request, out)

    monkeypatch.setattr(AccountServer, "_answer", anew)
    assert any(text.startswith("numbers, on disk") for text in claims_that_fail())


@breaks(
    "rpc-semantics",
    "numbers, in memory: effects 1 to *, the client is told: done",
    "numbers, on disk: effects 1, the client is told: done",
)
def test_a_server_that_does_not_reply_again_leaves_its_client_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slides: sequence numbers do not resolve lost replies, they must always be sent again."""
    step = AccountServer.step

    def once(self: AccountServer, events: Any, now: Instant) -> Output:
        out = step(self, events, now)
        if self._memory is not Memory.NONE and not out.writes:
            out.sends.clear()
        return out

    monkeypatch.setattr(AccountServer, "step", once)
    wrong = claims_that_fail()
    assert any(text.startswith("numbers, on disk") for text in wrong)


@breaks("rpc-semantics", "sessions, replicated: effects 1, the client is told: done")
def test_sessions_that_forget_what_they_executed_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Sessions.begin

    def anew(self: Sessions, session_id: int, number: int, low: int) -> Any:
        session = self._by_id.get(session_id)
        if session is not None:
            session.outcomes.pop(number, None)
        return begin(self, session_id, number, low)

    monkeypatch.setattr(Sessions, "begin", anew)
    assert any(text.startswith("sessions, replicated") for text in claims_that_fail())


def remedies() -> list[str]:
    """The claims on remedies that do not hold now, but for the product's."""
    fates = list(itertools.product(Fate, repeat=2))
    found = {each: {some: call(each, some) for some in fates} for each in REMEDIES if each.memory is not None}
    return failing(rpc_semantics.remedy_claims(found))


@breaks("rpc-semantics", "send once: effects 0 to 1, the client is told: done, unknown")
def test_a_client_that_reissues_after_every_timeout_executes_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    make = CallClient.__init__
    assert remedies() == []
    monkeypatch.setattr(CallClient, "__init__", lambda self, server, request, _: make(self, server, request, 10))
    assert remedies() == ["send once: effects 0 to 1, the client is told: done, unknown"]


@breaks("rpc-semantics", "send until replied: effects 1 to *, the client is told: done", "... and idempotent: *")
def test_a_client_that_gives_up_executes_at_most_once(monkeypatch: pytest.MonkeyPatch) -> None:
    make = CallClient.__init__
    monkeypatch.setattr(CallClient, "__init__", lambda self, server, request, _: make(self, server, request, 1))
    assert not any(text.startswith("send once") for text in remedies())


@breaks("rpc-semantics", "... and idempotent: effects 1, the client is told: done")
def test_a_server_that_adds_what_it_should_set_is_not_idempotent(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = AccountServer._answer

    def adds(self: AccountServer, client: Address, request: Request, out: Output) -> Reply:
        return answer(self, client, Request(request.number, request.amount, False), out)

    monkeypatch.setattr(AccountServer, "_answer", adds)
    assert remedies() == ["... and idempotent: effects 1, the client is told: done"]


@breaks("rpc-semantics", "no server: nothing has happened, and the client is told so")
def test_a_client_that_does_not_look_at_its_connection_does_not_know_that_nothing_happened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = CallClient.step

    def blind(self: CallClient, events: Any, now: Instant) -> Output:
        self._connected = True
        return step(self, events, now)

    monkeypatch.setattr(CallClient, "step", blind)
    assert failing([rpc_semantics.absent_claim({each: call(each, None) for each in REMEDIES[:2]})])


@breaks("rpc-semantics", "sessions are lost if all three nodes crash at once, not if two do, *")
def test_a_client_that_takes_no_answer_for_a_no_says_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    complete = ClientMachine._complete

    def sure(self: ClientMachine, lane: Any, work: Any, out: Output, completed: Completed) -> None:
        if completed.end is End.UNKNOWN:
            completed = msgspec.structs.replace(completed, end=End.NOT_HAPPENED)
        complete(self, lane, work, out, completed)

    def found() -> list[str]:
        total = {nodes: call(REMEDIES[-1], (Fate.CRASH_AFTER,) * nodes) for nodes in (1, 2, 3)}
        return failing([rpc_semantics.loss_claim(total)])

    assert found() == []
    monkeypatch.setattr(ClientMachine, "_complete", sure)
    assert found()
