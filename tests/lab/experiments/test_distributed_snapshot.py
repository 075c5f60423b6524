"""Snapshots, executed; and with rules taken out of the product's algorithm, which the tables must show."""

from typing import Any

import pytest

from phalanx.lab.experiments import distributed_snapshot
from phalanx.lab.experiments.distributed_snapshot import MONEY, NAMES, ORDERS
from phalanx.lab.figures.model import Messages
from phalanx.lab.textbook import banking, working
from phalanx.lab.textbook.banking import audit, spoil
from phalanx.lab.textbook.working import detect
from phalanx.model.clock import MILLISECOND
from phalanx.model.globalstate import GlobalState
from phalanx.model.view import GroupSpec, Order
from phalanx.parts.holdback import Causal
from phalanx.replication import globalstate
from phalanx.replication.globalstate import PLAIN, Message, Recorder, Report, Taken, _Recording
from tests.lab.experiments.runs import breaks, failing, short

FIFO = GroupSpec("bank", Order.FIFO)


def snapshots() -> list[str]:
    """The claims on snapshots that do not hold now."""
    return failing(distributed_snapshot.snapshot_claims([audit(NAMES, FIFO, 10, polls=False)], []))


@breaks(
    "distributed-snapshot",
    "every snapshot has all the money",
    "channels hold what was sent and not received",
    "something is under way, in every order",
)
def test_snapshots_that_forget_the_channels_miss_money(monkeypatch: pytest.MonkeyPatch) -> None:
    assert snapshots() == []
    monkeypatch.setattr(_Recording, "add", lambda *_: None)
    found = snapshots()
    assert "every snapshot has all the money" in found and "channels hold what was sent and not received" in found


@breaks("distributed-snapshot", "every snapshot has all the money", "channels hold what was sent and not received")
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


@breaks("distributed-snapshot", "every question is answered")
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


@breaks("distributed-snapshot", "a snapshot takes 2 n + 1 multicasts, in groups of 2 to 5")
def test_a_report_to_each_of_the_others_changes_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    follow = Recorder._follow

    def to_each(self: Recorder, sender: str, message: Message) -> tuple[bytes, ...]:
        sends = follow(self, sender, message)
        last = globalstate.decoded(sends[-1]) if sends else None
        return (*sends, sends[-1]) if isinstance(last, Report) else sends

    def found() -> list[str]:
        return failing(distributed_snapshot.snapshot_claims([three], [audit(NAMES[:2], FIFO, 2, polls=False)]))

    three = audit(NAMES, FIFO, 2, polls=False)
    assert found() == []
    monkeypatch.setattr(Recorder, "_follow", to_each)
    assert found() == ["a snapshot takes 2 n + 1 multicasts, in groups of 2 to 5"]


def test_a_snapshot_that_outlives_its_view_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder, "_end", lambda *_: None)
    with pytest.raises(ValueError, match="unpack"):
        spoil(NAMES, FIFO, 0)


@breaks("distributed-snapshot", "no snapshot says that it is done before it is")
def test_without_the_channels_work_is_done_too_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = GroupSpec("work", Order.FIFO)

    def found() -> list[str]:
        polled = [detect(NAMES, spec, polls=True, seed=2)]
        runs = [detect(NAMES, spec, polls=False, seed=seed) for seed in range(3)]
        return failing(distributed_snapshot.detection_claims({False: runs, True: polled}))

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


@breaks("distributed-snapshot", "nothing is received that was not sent")
def test_members_that_record_when_they_report_show_what_others_had_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state as of the last marker, not of the first."""
    follow = Recorder._follow

    def late(self: Recorder, sender: str, message: Message) -> tuple[bytes, ...]:
        recording = self._recordings.get(message.key)
        if recording is not None and self._me == NAMES[1]:
            recording.state = self._record()
        return follow(self, sender, message)

    monkeypatch.setattr(Recorder, "_follow", late)
    assert "nothing is received that was not sent" in snapshots()


def polls(*orders: Order) -> list[str]:
    """The claims on polls that do not hold now."""
    audits = [audit(NAMES, GroupSpec("bank", order), 10, polls=True) for order in orders]
    return failing(distributed_snapshot.poll_claims(audits))


@breaks(
    "distributed-snapshot",
    "a poll finds too little, in every order",
    "by a poll, payments are received that were not sent: *",
)
def test_a_poll_that_is_a_snapshot_finds_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banking, "Poll", lambda branch: Recorder(branch.name, branch.record))
    assert len(polls(*ORDERS)) == 2


@breaks("distributed-snapshot", "by a poll, payments are received that were not sent: *")
def test_causal_order_without_its_rule_has_payments_before_they_were_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert polls(*ORDERS) == []
    monkeypatch.setattr(Causal, "_due", lambda *_: True)
    (found,) = polls(*ORDERS)
    assert found.startswith("by a poll, payments are received that were not sent")


@breaks(
    "distributed-snapshot",
    "whenever P3 crashes, there is a whole snapshot or none",
    "both happen",
)
def test_a_snapshot_that_is_made_of_what_has_been_reported_when_its_view_ends_lacks_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def with_what_there_is(self: Recorder, why: str) -> None:
        del why
        self._recordings.clear()
        self.results += [(key, globalstate._assembled(key.view, reports)) for key, reports in self._wanted.items()]
        self._wanted.clear()

    def found() -> list[str]:
        return failing(distributed_snapshot.spoiled_claims([spoil(NAMES, FIFO, ms * MILLISECOND) for ms in (36, 56)]))

    assert found() == []
    monkeypatch.setattr(Recorder, "_end", with_what_there_is)
    assert found() == ["whenever P3 crashes, there is a whole snapshot or none", "both happen"]


@breaks("distributed-snapshot", "the next one is of the others, and has all that they have")
def test_the_next_snapshot_without_its_channels_has_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Recording, "add", lambda *_: None)
    assert failing(distributed_snapshot.spoiled_claims([spoil(NAMES, FIFO, 0)]))


@breaks("distributed-snapshot", "every snapshot begun after that says so")
def test_channels_that_are_never_emptied_hold_work_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assembled = globalstate._assembled
    before: dict[tuple[str, str], tuple[bytes, ...]] = {}

    def with_old(view: int, reports: dict[str, Report]) -> Any:
        state = assembled(view, reports)
        assert isinstance(state, GlobalState)
        for channel, payloads in state.channels.items():
            before[channel] = (*before.get(channel, ()), *payloads)
        return GlobalState(view, state.states, dict(before))

    monkeypatch.setattr(globalstate, "_assembled", with_old)
    assert "every snapshot begun after that says so" in detections()


@breaks("distributed-snapshot", "there are some, in every run", "every question is answered")
def test_reports_that_nobody_sends_answer_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    follow = Recorder._follow

    def silent(self: Recorder, sender: str, message: Message) -> tuple[bytes, ...]:
        sends = follow(self, sender, message)
        return tuple(each for each in sends if not isinstance(globalstate.decoded(each), Report))

    monkeypatch.setattr(Recorder, "_follow", silent)
    assert "there are some, in every run" in detections()
    assert "every question is answered" in snapshots()


@breaks("distributed-snapshot", "a poll says it too soon")
def test_a_poll_that_is_a_snapshot_says_it_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert detections() == []
    monkeypatch.setattr(working, "Poll", lambda worker: Recorder(worker.name, worker.record))
    assert detections() == ["a poll says it too soon"]


def detections() -> list[str]:
    """The claims on the end of all work that do not hold now."""
    spec = GroupSpec("work", Order.FIFO)
    runs = {polled: [detect(NAMES, spec, polls=polled, seed=2)] for polled in (False, True)}
    return failing(distributed_snapshot.detection_claims(runs))
