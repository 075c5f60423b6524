"""State transfer, executed; and with rules taken out of it, which the tables must show."""

from typing import Any

import msgspec
import pytest

from phalanx.group.seat import Seat, Tag
from phalanx.group.transfer import Transfer
from phalanx.lab.experiments import state_transfer
from phalanx.lab.experiments.state_transfer import HISTORY, LONG, NAMES, PIECE, SPECS, fall, transfer
from phalanx.lab.figures.model import Messages, Remark
from phalanx.lab.groups import LIMITS
from phalanx.lab.textbook import transferring
from phalanx.lab.textbook.transferring import ALWAYS, Join, Keeper, join
from phalanx.model.events import Restored, SnapshotWanted
from tests.lab.experiments.runs import breaks, failing, short

EACH = "total: and if they multicast all the time"


def steady() -> Join:
    return join(NAMES, SPECS["total"], HISTORY, ALWAYS)


def way_claims() -> list[str]:
    return failing(state_transfer.way_claims({}, {"total": [steady()]}))


@breaks("state-transfer", "*: and if they multicast all the time")
def test_a_learner_that_keeps_no_suffix_has_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way_claims() == []
    go_on = Seat._go_on

    def without(self: Seat, *arguments: Any) -> None:
        self._suffix = []
        go_on(self, *arguments)

    monkeypatch.setattr(Seat, "_go_on", without)
    assert EACH in way_claims()


@breaks("state-transfer", "*: and if they multicast all the time")
def test_a_suffix_that_is_replayed_as_a_whole_has_messages_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tag covers is in the state already."""
    go_on = Seat._go_on

    def whole(self: Seat, partials: Any, beginning: Any, tag: Tag, senders: Any, deliveries: Any) -> None:
        go_on(self, partials, beginning, Tag(tag.view, (0,) * len(tag.covers)), senders, deliveries)

    monkeypatch.setattr(Seat, "_go_on", whole)
    assert EACH in way_claims()


@breaks("state-transfer", "s bytes take s / c chunks, rounded up", "each is asked for once")
def test_chunks_that_are_asked_for_twice_change_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Transfer._ask

    def twice(self: Transfer, group: int, fetching: Any) -> None:
        ask(self, group, fetching)
        fetching.download.ask_again()
        ask(self, group, fetching)

    assert failing(state_transfer.size_claims([transfer(80)])) == []
    monkeypatch.setattr(Transfer, "_ask", twice)
    assert "each is asked for once" in failing(state_transfer.size_claims([transfer(80)]))


@breaks(
    "state-transfer",
    "in silence the next donor has the same snapshot: after its first chunk, which shows that, it goes on",
)
def test_a_learner_that_begins_anew_with_each_donor_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = Transfer._choose

    def anew(self: Transfer, group: int, fetching: Any) -> None:
        if fetching.donor is not None or fetching.blob:
            fetching.restart()
        choose(self, group, fetching)

    runs = {False: [fall(5, False)], True: [fall(5, True)]}
    assert failing(state_transfer.fallen_claims(runs)) == []
    monkeypatch.setattr(Transfer, "_choose", anew)
    (claim,) = failing(state_transfer.fallen_claims({False: [fall(5, False)], True: runs[True]}))
    assert claim.startswith("in silence the next donor has the same snapshot")


@breaks(
    "state-transfer",
    "*: and if they multicast all the time",
    "then a part is in the suffix, and a part comes later",
    "and in some a part is in the state, besides the history",
)
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


MOMENTS = (5, 14, 40)
"""Of the short form, one for each way in which P4 comes by what is multicast then."""


def single() -> list[str]:
    """The claims on single multicasts that do not hold now."""
    runs = [join(NAMES, SPECS["total"], HISTORY, range(at, at + 1)) for at in MOMENTS]
    return failing(state_transfer.way_claims({"total": runs}, {}))


@breaks(
    "state-transfer",
    "total: whenever a member multicasts, P4 has what all have, each once",
    "total: there are three ways to it",
)
def test_without_a_suffix_one_way_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert single() == []
    go_on = Seat._go_on

    def without(self: Seat, *arguments: Any) -> None:
        self._suffix = []
        go_on(self, *arguments)

    monkeypatch.setattr(Seat, "_go_on", without)
    assert len(single()) == 2


@breaks("state-transfer", "the state that is given is the state that was there")
def test_a_learner_that_takes_the_last_chunk_for_the_first_has_another_state(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = Keeper.take

    def shuffled(self: Keeper, delivery: Any) -> Any:
        if isinstance(delivery, Restored):
            found = restore(self, delivery)
            self.state = (self.state or [])[::-1]
            return found
        return restore(self, delivery)

    monkeypatch.setattr(Keeper, "take", shuffled)
    assert "the state that is given is the state that was there" in failing(state_transfer.size_claims([transfer(10)]))


@breaks("state-transfer", "the donor crashes in every run")
def test_a_state_in_one_chunk_leaves_its_donor_no_time_to_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transferring, "_limits", lambda _: msgspec.structs.replace(LIMITS, chunk=1 << 12))
    runs = {False: [fall(5, False)], True: [fall(5, True)]}
    assert "the donor crashes in every run" in failing(state_transfer.fallen_claims(runs))


@breaks("state-transfer", "whenever it does, P4 has what all have")
def test_a_learner_that_never_looks_for_another_donor_waits_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = Transfer._choose
    faithful: dict[int, str | None] = {}

    def once(self: Transfer, group: int, fetching: Any) -> None:
        choose(self, group, fetching)
        fetching.donor = faithful.setdefault(id(fetching), fetching.donor)

    monkeypatch.setattr(Transfer, "_choose", once)
    assert "whenever it does, P4 has what all have" in failing(
        state_transfer.fallen_claims({False: [fall(5, False)], True: []})
    )


@breaks("state-transfer", "under traffic it starts over, at least once")
def test_donors_that_give_what_there_was_before_the_traffic_have_the_same_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take = Keeper.take

    def old(self: Keeper, delivery: Any) -> Any:
        if not isinstance(delivery, SnapshotWanted):
            return take(self, delivery)
        whole, self.state = self.state, list(LONG)
        given = take(self, delivery)
        self.state = whole
        return given

    assert failing(state_transfer.fallen_claims({False: [], True: [fall(5, True)]})) == []
    monkeypatch.setattr(Keeper, "take", old)
    assert "under traffic it starts over, at least once" in failing(
        state_transfer.fallen_claims({False: [], True: [fall(5, True)]})
    )
