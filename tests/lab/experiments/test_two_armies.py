"""Two armies, executed; and with rules taken out, which the tables must show."""

from fractions import Fraction
from typing import Any

import pytest

from phalanx.lab.exhaustive import Choices
from phalanx.lab.experiments import two_armies
from phalanx.lab.experiments.two_armies import alone, enemy, runs_of, sure_handshake, try_rules
from phalanx.lab.textbook.armies import Copies, Handshake, Level, Levels
from phalanx.model.machine import Output
from phalanx.model.view import Name
from tests.lab.experiments.runs import breaks, failing


def claims_that_fail() -> list[str]:
    return failing(two_armies.run(False))


def test_a_handshake_stops_where_a_message_is_lost() -> None:
    """One run for each message that can be the first to be lost, and one in which none is."""
    runs = [(came, lost) for _, _, came, lost in runs_of(sure_handshake(4))]
    assert sorted(runs) == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 0)]


def test_one_attacks_alone_only_if_the_last_message_is_lost() -> None:
    assert alone(5, sure_handshake(5)).runs == {(4, 1): 1}


def test_a_random_key_can_be_met_by_no_pattern_of_loss() -> None:
    found = enemy(3)
    assert (found.patterns, found.worst, found.sure) == (64, Fraction(1, 3), Fraction(1))


@breaks(
    "two-armies",
    "under two rules only, always and never, the generals do the same in every run",
    "no number of acknowledgements suffices",
)
def test_generals_whose_messages_are_never_lost_can_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses are what makes it impossible."""
    monkeypatch.setattr(Choices, "pick", lambda _, options: options[0])
    assert try_rules(2).useful > 0
    assert any("no number of acknowledgements" in text for text in claims_that_fail())


@breaks("two-armies", "a handshake of k messages: one attacks alone with probability p (1-p)^(k-1)")
def test_acknowledging_unasked_changes_the_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake that goes on without an answer is no handshake."""
    act = Handshake.act

    def regardless(self: Handshake, out: Output) -> None:
        mine = self.round % 2 == (0 if self._me == "A" else 1)
        self._due = self.round + 1 if mine else None
        act(self, out)

    monkeypatch.setattr(Handshake, "act", regardless)
    assert any("a handshake of k messages" in text for text in claims_that_fail())


@breaks("two-armies", "n copies of the order: one attacks alone with probability p^n")
def test_one_copy_only_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Copies.__init__

    def once(self: Copies, me: Name, copies: int) -> None:
        del copies
        make(self, me, 1)

    monkeypatch.setattr(Copies, "__init__", once)
    assert any("n copies of the order" in text for text in claims_that_fail())


@breaks("two-armies", "r rounds and a random key: at worst one attacks alone with probability 1/r")
def test_levels_that_do_not_wait_for_the_other_give_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """To count rounds instead of what the other is known to know."""

    def absorb(self: Levels, source: Name, message: Any) -> None:
        del source
        assert isinstance(message, Level)
        self._key = message.key if self._key is None else self._key
        self._level = self.rounds

    monkeypatch.setattr(Levels, "absorb", absorb)
    assert any("at worst one attacks alone" in text for text in claims_that_fail())


@breaks("two-armies", "and if nothing is lost they attack")
def test_levels_that_must_go_beyond_the_key_do_not_attack_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    act = Levels.act

    def hesitant(self: Levels, out: Output) -> None:
        self._level -= self.round == self.rounds
        act(self, out)

    monkeypatch.setattr(Levels, "act", hesitant)
    assert failing(two_armies.enemy_claims([enemy(2), enemy(3)]))
