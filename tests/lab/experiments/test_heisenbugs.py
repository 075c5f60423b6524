"""States that spoil with age, and restarts; and with rules taken out, which the tables must show."""

import math
from typing import Any

import pytest

from phalanx.calls import calling
from phalanx.calls.requests import Finish
from phalanx.lab.experiments import heisenbugs
from phalanx.lab.experiments.heisenbugs import MEAN_S, cases, chance_of_right, kind_of, restart_claims, vote_claims
from phalanx.lab.textbook.aging import SERVERS, Aged, Vote, _Aging, age
from phalanx.model.clock import SECOND
from phalanx.node import rolling
from phalanx.node.rolling import Rolling
from tests.lab.experiments.runs import breaks, failing, short

LENGTH_S = 10.0


def observed(*names: str) -> dict[str, Aged]:
    return {case.name: age(case.plan) for case in cases(LENGTH_S) if case.name in names}


# --- the formulas -------------------------------------------------------------------------------------------------


def test_the_share_of_a_life_is_the_integral_of_the_chance() -> None:
    for period in (0.5, 2.0, 50.0):
        steps = 20_000
        chances = [1 - math.exp(-(step + 0.5) * period / steps / MEAN_S) for step in range(steps)]
        assert heisenbugs.share_spoiled(period) == pytest.approx(sum(chances) / steps, rel=1e-6)


def test_the_deviation_is_that_of_lives_that_were_drawn() -> None:
    period, steps = 2.4, 20_000
    lives = [-MEAN_S * math.log((step + 0.5) / steps) for step in range(steps)]  # quantiles
    shares = [max(0.0, period - life) / period for life in lives]
    mean = sum(shares) / steps
    deviation = math.sqrt(sum((share - mean) ** 2 for share in shares) / steps)
    assert heisenbugs.deviation_spoiled(period) == pytest.approx(deviation, rel=1e-3)


def test_the_chance_of_a_vote_is_that_of_more_than_half() -> None:
    half = MEAN_S * math.log(2)
    assert chance_of_right(Vote(0.0, (half,) * 3, 0, 3, Finish.DONE, True)) == pytest.approx(0.5)
    assert chance_of_right(Vote(0.0, (half,) * 2, 0, 2, Finish.DONE, True)) == pytest.approx(0.25)


def test_votes_end_in_every_way() -> None:
    table = short("heisenbugs").tables[0]
    columns = {column: [row[index] for row in table.rows] for index, column in enumerate(table.columns)}
    for kind in ("right", "wrong", "no majority", "no answer"):
        assert any(columns[kind]), kind


# --- without a rule, the table changes ----------------------------------------------------------------------------


@breaks("heisenbugs", "rolling*: one host is away at most, and every call is answered")
def test_a_rolling_restart_that_does_not_wait_takes_two_away(monkeypatch: pytest.MonkeyPatch) -> None:
    found = observed("rolling", "by the clock, slow", "all at once")
    monkeypatch.setattr(Rolling, "_not_back", staticmethod(lambda *_: ""))
    monkeypatch.setattr(rolling, "unsettled", lambda *_: "")
    monkeypatch.setattr(rolling, "cannot_spare", lambda *_: "")

    def bold(self: Rolling, name: str, *_: Any) -> Any:
        self._under_way = name, 0, frozenset()
        return rolling.Restart(name)

    monkeypatch.setattr(Rolling, "_restart", bold)
    found |= observed("rolling, slow")
    assert failing(restart_claims(found)) == ["rolling, slow: one host is away at most, and every call is answered"]


@breaks("heisenbugs", "*: a vote is right exactly if more than half of the hosts are sound")
def test_a_vote_that_counts_wrongly_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phalanx.calls.calling._votes", lambda outcomes: [3] if list(outcomes) else [])
    found = observed("rolling")
    assert "rolling: a vote is right exactly if more than half of the hosts are sound" in failing(vote_claims(found))


@breaks(
    "heisenbugs",
    "*: servers are spoiled for 1 - (1 - exp(-λT))/λT of the time",
    "rolling: more votes are right than without restarts",
)
def test_restarts_that_bring_the_old_state_back_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    born = _Aging._be_born

    def same(self: Any, name: str) -> None:
        if name not in self._spoils or not self._votes:
            born(self, name)

    monkeypatch.setattr(_Aging, "_be_born", same)
    found = {case.name: age(case.plan) for case in cases(30.0) if case.name in ("rolling", "by the clock", "nobody")}
    assert any("servers are spoiled for" in text for text in failing(heisenbugs.age_claims(found)))


def test_kinds_of_ends() -> None:
    def kind(finish: Finish, right: bool = False) -> str:
        return kind_of(Vote(0.0, (), 0, 3, finish, right))

    assert [kind(Finish.DONE, True), kind(Finish.DONE)] == ["right", "wrong"]
    assert [kind(Finish.DIVIDED), kind(Finish.MISSING), kind(Finish.UNKNOWN)] == ["no majority", *["no answer"] * 2]


@breaks("heisenbugs", "rolling: votes are right as often as the ages of the hosts say")
def test_votes_that_need_all_are_right_too_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unanimity is no majority: one spoiled server is enough."""
    votes = calling._votes

    def unanimous(outcomes: Any) -> list[int]:
        found = votes(outcomes)
        return found if len(found) == 1 and found[0] == len(SERVERS) else []

    monkeypatch.setattr(calling, "_votes", unanimous)
    found = {case.name: age(case.plan) for case in cases(30.0) if case.name == "rolling"}
    assert "rolling: votes are right as often as the ages of the hosts say" in failing(vote_claims(found))


@breaks("heisenbugs", "nobody: once a vote is wrong, none is right again")
def test_states_that_recover_by_themselves_make_votes_right_again(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = _Aging._poll

    def heals(self: _Aging, end: int) -> None:
        for name in SERVERS:
            if self.world.now >= self._spoils[name] + SECOND:
                self._be_born(name)
        poll(self, end)

    monkeypatch.setattr(_Aging, "_poll", heals)
    found = {case.name: age(case.plan) for case in cases(15.0) if case.name in ("rolling", "by the clock", "nobody")}
    assert "nobody: once a vote is wrong, none is right again" in failing(heisenbugs.age_claims(found))


@breaks(
    "heisenbugs", "by the clock, slow: more than one host is away at a time", "all at once: calls are left unanswered"
)
def test_a_clock_that_looks_takes_one_away_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    restart = _Aging._restart

    latest: dict[_Aging, int] = {}

    def careful(self: _Aging, name: str) -> None:
        if self._hosts() == len(SERVERS) and self.world.now > latest.get(self, 0) + SECOND // 2:
            latest[self] = self.world.now
            restart(self, name)

    found = observed("rolling", "rolling, slow", "by the clock, slow", "all at once")
    assert failing(restart_claims(found)) == []
    monkeypatch.setattr(_Aging, "_restart", careful)
    found |= observed("by the clock, slow", "all at once")
    assert len(failing(restart_claims(found))) == 2
