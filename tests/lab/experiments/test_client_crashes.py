"""Orphans, treated; and with a rule taken out of each treatment, which the table must show."""

from typing import Any

import pytest

from phalanx.calls.calling import Calling
from phalanx.calls.serving import Serving
from phalanx.lab.experiments import client_crashes
from phalanx.lab.experiments.client_crashes import PLANS, view_claims
from phalanx.lab.textbook.crashing import BACK_S, CRASH_S, Observed, Plan, Span, observe, observe_views
from phalanx.lab.textbook.orphans import (
    MARGIN_NS,
    Book,
    Callers,
    CallId,
    Client,
    Finished,
    Granted,
    Kill,
    Located,
    MoreTime,
    NewEpoch,
    Server,
    Start,
    Treatment,
)
from phalanx.model.clock import SECOND, Instant
from phalanx.model.machine import Output, Received, Send
from tests.lab.experiments.runs import breaks, failing, short

NOW = Instant(0, 0)
CALL = CallId("a", 1, 0)


def claims_that_fail() -> list[str]:
    return failing(client_crashes.run(False))


# --- the parts ----------------------------------------------------------------------------------------------------


def test_a_server_that_comes_back_exterminates_what_it_had_called_for() -> None:
    server = Server(Book(3, (("s2", CALL),)), Treatment.EXTERMINATION, ["s1", "s2"], SECOND)
    out = server.step([], NOW)
    assert out.sends == [Send(("s2",), Kill((CALL,)))]
    assert out.writes == [Book(4)]


def test_a_call_is_on_the_disk_before_it_is_sent_and_off_it_when_it_is_answered() -> None:
    client = Client("a", None, Treatment.EXTERMINATION, ["s1"], [("s1",)], SECOND)
    out = client.step([], NOW)
    assert out.writes[-1] == Book(1, (("s1", CALL),))
    assert [type(send.message) for send in out.sends] == [Start], "not eager: it waits for the write"
    assert not out.eager
    assert client.step([Received("s1", Finished(CALL))], NOW).writes == [Book(1)]


def test_a_client_that_has_come_back_claims_nothing_of_its_earlier_life() -> None:
    client = Client("a", Book(1), Treatment.GENTLE, ["s1"], [("s1",)], SECOND)
    assert client.step([], NOW).sends == [Send(("s1",), NewEpoch(2))]
    out = client.step([Received("s1", MoreTime(CALL)), Received("s1", Finished(CALL))], NOW)
    assert not out.sends
    assert client.callers.pending == {}


def test_a_quantum_is_granted_once_however_often_it_is_asked_for() -> None:
    server = Server(None, Treatment.EXPIRATION, ["s1"], SECOND)
    server.step([Received("a", Start(CALL, 10 * SECOND))], NOW)
    asking = Instant(SECOND - 1, 0)
    assert server.step([], asking).sends == [Send(("a",), MoreTime(CALL))]
    server.step([Received("a", Granted(CALL)), Received("a", Granted(CALL))], asking)
    assert server.running[CALL].expires_at == 2 * SECOND


def test_orphans_are_counted_from_the_crash_on() -> None:
    seen = observe(PLANS[0], Treatment.REINCARNATION)
    assert [seen.orphans_at(time) for time in (CRASH_S - 0.1, CRASH_S, BACK_S - 0.1, BACK_S + 0.1)] == [0, 3, 3, 0]


def test_every_plan_meets_every_treatment() -> None:
    (table, *_) = short("client-crashes").tables
    assert {row[:2] for row in table.rows} == {(plan.name, t.value) for plan in PLANS for t in Treatment}


# --- without a rule, the table changes ----------------------------------------------------------------------------


@breaks("client-crashes", "*, extermination: * seconds of orphans")
def test_kills_that_are_not_passed_on_leave_grand_orphans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Callers, "kill", lambda *_: None)
    assert "a comes back, extermination: 6 seconds of orphans" in claims_that_fail()


@breaks(
    "client-crashes",
    "*, extermination: * seconds of orphans",
    "extermination: one write for each call, and one for each answer",
)
def test_a_log_that_is_not_kept_exterminates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Callers, "_log", lambda *_: None)
    wrong = claims_that_fail()
    assert "a comes back, extermination: 6 seconds of orphans" in wrong
    assert "extermination: one write for each call, and one for each answer" in wrong
    assert not any("expiration" in text for text in wrong)


@breaks("client-crashes", "gentle reincarnation: computations of b that are killed, in each plan")
def test_without_asking_the_owner_a_gentle_reincarnation_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def rough(self: Server, out: Output, now: int) -> None:
        del now
        for call in list(self.running):
            self._end(out, call, killed=True)

    monkeypatch.setattr(Server, "_new_epoch", rough)
    assert claims_that_fail() == ["gentle reincarnation: computations of b that are killed, in each plan"]


@breaks("client-crashes", "*, gentle reincarnation: * seconds of orphans")
def test_an_owner_that_claims_what_an_earlier_life_called_keeps_its_orphans(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Client.step

    def greedy(self: Client, events: Any, now: Instant) -> Output:
        out = step(self, events, now)
        out.sends = [
            Send(send.to, Located(send.message.call, True)) if isinstance(send.message, Located) else send
            for send in out.sends
        ]
        return out

    monkeypatch.setattr(Client, "step", greedy)
    assert "a comes back, gentle reincarnation: 6 seconds of orphans" in claims_that_fail()


@breaks(
    "client-crashes",
    "*, expiration: * seconds of orphans",
    "expiration: computations of b that are killed, in each plan",
    "only expiration sends messages while nothing happens",
    "quanta of * s: an orphan lives for T/2 + m, on average",
    "quanta of * s: a cut of length C kills (C-m)/T of the living",
    "what is shorter for orphans is worse for the living",
)
def test_computations_that_go_on_unasked_outlive_their_client(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Server._start

    def endless(self: Server, out: Output, *arguments: Any) -> None:
        start(self, out, *arguments)
        for running in self.running.values():
            running.expires_at = running.asks_at = None

    monkeypatch.setattr(Server, "_start", endless)
    wrong = claims_that_fail()
    assert "a stays away, expiration: 1.5 seconds of orphans" in wrong
    assert "only expiration sends messages while nothing happens" in wrong


@breaks("client-crashes", "*, views: * seconds of orphans")
def test_without_withdrawals_a_grand_orphan_of_the_product_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calling, "cancel", lambda *_: None)
    plan = PLANS[0]
    assert "a comes back, views: 0 seconds of orphans" in failing(view_claims({plan: observe_views(plan)}))


def test_hosts_of_the_product_that_do_not_look_at_views_keep_their_orphans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Serving, "_abandon", lambda *_: None)
    plan = PLANS[1]
    assert observe_views(plan).orphan_s == pytest.approx(22.5, abs=0.1)


def observed(*treatments: Treatment) -> client_crashes.Found:
    """Every plan, with these treatments."""
    return {(plan, treatment): observe(plan, treatment) for plan in PLANS for treatment in treatments}


def killed(*treatments: Treatment) -> list[str]:
    """The claims that do not hold now, on orphans of these treatments and on what else those kill."""
    found = observed(*treatments)
    claims = [*client_crashes.life_claims(found)]
    claims += client_crashes.killed_claims(
        {(p, t): found.get((p, t), unharmed(p, t)) for p in PLANS for t in Treatment}
    )
    return failing(claims)


def unharmed(plan: Plan, treatment: Treatment) -> Observed:
    """As many killed as are expected: it is not looked at."""
    count = client_crashes.expected_wrongly(plan, treatment)
    return Observed((Span(CallId("b", 1, 0), 0.0, 1.0, True),) * count, 0.0, 0, 0)


@breaks(
    "client-crashes",
    "*, none: * seconds of orphans",
    "none: computations of b that are killed, in each plan",
    "extermination: computations of b that are killed, in each plan",
)
def test_servers_that_end_what_nobody_asks_about_have_no_orphans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quanta under every treatment: then to do nothing is expiration."""
    start = Server._start

    def with_quanta(self: Server, *arguments: Any) -> None:
        start(self, *arguments)
        for running in self.running.values():
            if running.expires_at is None:
                running.expires_at = arguments[-1] + self._quantum_ns
                running.asks_at = running.expires_at - MARGIN_NS

    assert killed(Treatment.NONE) == []
    monkeypatch.setattr(Server, "_start", with_quanta)
    assert len(killed(Treatment.NONE, Treatment.EXTERMINATION)) > 2 * len(PLANS)


@breaks(
    "client-crashes",
    "*, reincarnation: * seconds of orphans",
    "reincarnation: computations of b that are killed, in each plan",
)
def test_servers_that_do_not_hear_of_a_new_epoch_kill_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert killed(Treatment.REINCARNATION) == []
    monkeypatch.setattr(Server, "_new_epoch", lambda *_: None)
    assert len(killed(Treatment.REINCARNATION)) == len(PLANS)


@breaks("client-crashes", "nothing else writes calls down")
def test_clients_that_write_their_calls_down_under_one_more_treatment_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Callers.begin

    def thorough(self: Callers, out: Output, servers: Any) -> None:
        begin(self, out, servers)
        if self._treatment is Treatment.GENTLE:
            out.writes.append(Book(self.epoch))

    monkeypatch.setattr(Callers, "begin", thorough)
    found = {(PLANS[1], treatment): observe(PLANS[1], treatment) for treatment in Treatment}
    assert failing(client_crashes.cost_claims(found)) == ["nothing else writes calls down"]


@breaks("client-crashes", "views: computations of b that are killed, in each plan")
def test_hosts_that_abandon_nothing_kill_nobody_who_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Serving, "_abandon", lambda *_: None)
    viewed = {plan: observe_views(plan) for plan in PLANS}
    assert "views: computations of b that are killed, in each plan" in failing(view_claims(viewed))
