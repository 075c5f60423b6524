"""State transfer, executed; and with rules taken out of it, which the tables must show."""

from collections.abc import Iterable
from typing import Any

import pytest

from phalanx.group.seat import Seat, Tag
from phalanx.group.transfer import Transfer
from phalanx.lab.experiments import state_transfer
from phalanx.lab.experiments.result import Claim
from phalanx.lab.experiments.state_transfer import HISTORY, NAMES, PIECE, SPECS, fall, transfer
from phalanx.lab.figures.model import Messages, Remark
from phalanx.lab.textbook.transferring import ALWAYS, Join, join
from tests.lab.experiments.runs import short

EACH = "total: and if they multicast all the time"


def wrong(claims: Iterable[Claim]) -> list[str]:
    return [claim.text for claim in claims if not claim.holds]


def steady() -> Join:
    return join(NAMES, SPECS["total"], HISTORY, ALWAYS)


def way_claims() -> list[str]:
    return wrong(state_transfer.way_claims({}, {"total": [steady()]}))


def test_a_learner_that_keeps_no_suffix_has_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way_claims() == []
    go_on = Seat._go_on

    def without(self: Seat, *arguments: Any) -> None:
        self._suffix = []
        go_on(self, *arguments)

    monkeypatch.setattr(Seat, "_go_on", without)
    assert EACH in way_claims()


def test_a_suffix_that_is_replayed_as_a_whole_has_messages_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tag covers is in the state already."""
    go_on = Seat._go_on

    def whole(self: Seat, partials: Any, beginning: Any, tag: Tag, senders: Any, deliveries: Any) -> None:
        go_on(self, partials, beginning, Tag(tag.view, (0,) * len(tag.covers)), senders, deliveries)

    monkeypatch.setattr(Seat, "_go_on", whole)
    assert EACH in way_claims()


def test_chunks_that_are_asked_for_twice_change_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Transfer._ask

    def twice(self: Transfer, group: int, fetching: Any) -> None:
        ask(self, group, fetching)
        fetching.download.ask_again()
        ask(self, group, fetching)

    assert wrong(state_transfer.size_claims([transfer(80)])) == []
    monkeypatch.setattr(Transfer, "_ask", twice)
    assert "each is asked for once" in wrong(state_transfer.size_claims([transfer(80)]))


def test_a_learner_that_begins_anew_with_each_donor_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = Transfer._choose

    def anew(self: Transfer, group: int, fetching: Any) -> None:
        if fetching.donor is not None or fetching.blob:
            fetching.restart()
        choose(self, group, fetching)

    runs = {False: [fall(5, False)], True: [fall(5, True)]}
    assert wrong(state_transfer.fallen_claims(runs)) == []
    monkeypatch.setattr(Transfer, "_choose", anew)
    (claim,) = wrong(state_transfer.fallen_claims({False: [fall(5, False)], True: runs[True]}))
    assert claim.startswith("in silence the next donor has the same snapshot")


def test_a_joiner_that_nobody_gives_a_state_does_not_become_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transfer, "on_fetch", lambda *_: None)
    assert not steady().joined
    assert EACH in way_claims()


def test_the_donor_that_crashes_is_the_one_that_gave() -> None:
    made = fall(5, False)
    assert made.fallen and made.donors[0] not in made.states and made.donors[-1] in made.states
    assert sum(len(chunk.data) for chunk in transfer(80).chunks) == transfer(80).chunks[0].total > 5 * PIECE


def test_the_figure_ends_when_all_are_in_the_view() -> None:
    figure = short("state-transfer").figures["transfer-steps"]
    assert isinstance(figure, Messages)
    texts = [event.text for event in figure.events]
    assert texts.count("view 3, full") == 4 and texts[0] == "WISH"
    seen = [event.text for event in figure.events if isinstance(event, Remark) and event.at == "P4"]
    assert seen == ["view 2, learner", "takes a state of 2", "delivers new 1", "view 3, full"]
