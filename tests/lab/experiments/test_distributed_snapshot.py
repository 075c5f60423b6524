"""Snapshots, executed; and with rules taken out of the product's algorithm, which the tables must show."""

from collections.abc import Iterable

import pytest

from phalanx.lab.experiments import distributed_snapshot
from phalanx.lab.experiments.distributed_snapshot import MONEY, NAMES
from phalanx.lab.experiments.result import Claim
from phalanx.lab.figures.model import Messages
from phalanx.lab.textbook.banking import audit, spoil
from phalanx.lab.textbook.working import detect
from phalanx.model.clock import MILLISECOND
from phalanx.model.view import GroupSpec, Order
from phalanx.replication import globalstate
from phalanx.replication.globalstate import PLAIN, Message, Recorder, Report, Taken, _Recording
from tests.lab.experiments.runs import short

FIFO = GroupSpec("bank", Order.FIFO)


def wrong(claims: Iterable[Claim]) -> list[str]:
    return [claim.text for claim in claims if not claim.holds]


def snapshots() -> list[str]:
    """The claims on snapshots that do not hold now."""
    return wrong(distributed_snapshot.snapshot_claims([audit(NAMES, FIFO, 10, polls=False)], []))


def test_snapshots_that_forget_the_channels_miss_money(monkeypatch: pytest.MonkeyPatch) -> None:
    assert snapshots() == []
    monkeypatch.setattr(_Recording, "add", lambda *_: None)
    found = snapshots()
    assert "every snapshot has all the money" in found and "channels hold what was sent and not received" in found


def test_channels_that_are_not_closed_by_markers_hold_money_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Recorder.take

    def always(self: Recorder, sender: str, payload: bytes) -> Taken:
        if payload[:1] == PLAIN:
            for recording in self._recordings.values():
                recording.channels[sender].append(payload[1:])
            return Taken(payload[1:])
        return take(self, sender, payload)

    monkeypatch.setattr(Recorder, "take", always)
    run = audit(NAMES, FIFO, 10, polls=False)
    assert max(cut.money for cut in run.cuts) > MONEY
    assert "channels hold what was sent and not received" in snapshots()


def test_members_that_record_at_a_marker_of_their_own_choice_show_payments_that_were_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rule that the first marker or question counts: here the last branch waits for the marker of the one that
    asked, by the long way, whatever it has heard from others."""
    follow = Recorder._follow

    def stubbornly(self: Recorder, sender: str, message: Message) -> tuple[bytes, ...]:
        if self._me == NAMES[-1] and sender != NAMES[0] and message.key not in self._recordings:
            assert not isinstance(message, Report)
            return ()
        return follow(self, sender, message)

    monkeypatch.setattr(Recorder, "_follow", stubbornly)
    assert "every question is answered" in snapshots(), "a channel whose marker was not heeded is never closed"


def test_a_report_to_each_of_the_others_changes_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    follow = Recorder._follow

    def to_each(self: Recorder, sender: str, message: Message) -> tuple[bytes, ...]:
        sends = follow(self, sender, message)
        last = globalstate.decoded(sends[-1]) if sends else None
        return (*sends, sends[-1]) if isinstance(last, Report) else sends

    def found() -> list[str]:
        return wrong(distributed_snapshot.snapshot_claims([three], [audit(NAMES[:2], FIFO, 2, polls=False)]))

    three = audit(NAMES, FIFO, 2, polls=False)
    assert found() == []
    monkeypatch.setattr(Recorder, "_follow", to_each)
    assert found() == ["a snapshot takes 2 n + 1 multicasts, in groups of 2 to 5"]


def test_a_snapshot_that_outlives_its_view_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder, "_end", lambda *_: None)
    with pytest.raises(ValueError, match="unpack"):
        spoil(NAMES, FIFO, 0)


def test_without_the_channels_work_is_done_too_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = GroupSpec("work", Order.FIFO)

    def found() -> list[str]:
        polled = [detect(NAMES, spec, polls=True, seed=1)]
        runs = [detect(NAMES, spec, polls=False, seed=seed) for seed in range(3)]
        return wrong(distributed_snapshot.detection_claims({False: runs, True: polled}))

    assert found() == []
    monkeypatch.setattr(_Recording, "add", lambda *_: None)
    assert "no snapshot says that it is done before it is" in found()


def test_the_branch_that_crashes_is_in_the_snapshot_only_if_it_has_reported() -> None:
    early, late = spoil(NAMES, FIFO, 0), spoil(NAMES, FIFO, 56 * MILLISECOND)
    assert (early.whole, late.whole) == (False, True)
    assert early.next is not None and late.next is not None
    assert set(early.next.state.states) == set(late.next.state.states) == {"P1", "P2"}


def test_the_figure_shows_every_marker_and_ends_when_all_have_recorded() -> None:
    figure = short("distributed-snapshot").figures["snapshot-markers"]
    assert isinstance(figure, Messages)
    texts = [event.text for event in figure.events]
    assert texts.count("MARKER") == 6 and sum(text.startswith("records") for text in texts) == 3
    assert any(text.endswith("under way") for text in texts)
