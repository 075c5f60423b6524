"""FLP, executed; and with rules taken out of the protocol and the detectors, which the tables must show."""

import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from phalanx.lab.experiments import flp
from phalanx.lab.experiments.flp import DIVIDED, THREE, delay, detectors, start
from phalanx.lab.textbook.adversary import (
    ANYTHING,
    Accuracy,
    Adversary,
    Configuration,
    Doubt,
    Oracle,
    Survey,
    by_chance,
    follow,
    survey,
    ways,
)
from phalanx.lab.textbook.consensus import Decide, Estimate, Proposal, Reply, Rotating, Suspects
from phalanx.lab.textbook.rounds import Letter
from phalanx.lab.textbook.watchful import Watchful, in_network
from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import Output, Received
from phalanx.model.view import Name
from tests.lab.experiments.runs import breaks, failing, short

NOW = Instant(0, 0)


def agreement() -> list[str]:
    return failing(flp.chance_claims(flp.chance(300)))


def told(machine: Rotating, *events: Any) -> list[tuple[tuple[Name, ...], Any]]:
    return [(tuple(send.to), send.message) for send in machine.step(events, NOW).sends]


# --- the algorithm, phase by phase --------------------------------------------------------------------------------


def test_a_coordinator_proposes_what_was_adopted_last_and_decides_if_a_majority_takes_it() -> None:
    first = Rotating("P1", THREE, 0)
    assert told(first) == []
    estimate = Estimate(1, 7, 3)
    assert told(first, Received("P2", estimate)) == [(("P2", "P3"), Proposal(1, 7))]
    assert told(first, Received("P3", Reply(1, True))) == [(("P2", "P3"), Decide(7))]
    assert first.decided == 7


def test_a_process_takes_the_proposal_or_gives_the_coordinator_up() -> None:
    taking, doubting = Rotating("P2", THREE, 1), Rotating("P2", THREE, 1)
    assert told(taking) == told(doubting) == [(("P1",), Estimate(1, 1, 0))]
    assert told(taking, Received("P1", Proposal(1, 0))) == [(("P1",), Reply(1, True))]
    assert told(doubting, Suspects(frozenset({"P3"}))) == []
    assert told(doubting, Suspects(frozenset({"P1"}))) == [(("P1",), Reply(1, False))]
    assert (taking.round, doubting.round) == (2, 2)


def test_a_refusal_that_comes_before_the_proposal_counts() -> None:
    """Else the coordinator waits for a second one that never comes, if the third process has crashed."""
    first = Rotating("P1", THREE, 0)
    told(first)
    told(first, Received("P2", Reply(1, False)))
    sent = told(first, Received("P2", Estimate(1, 1, 0)))
    assert sent == [(("P2", "P3"), Proposal(1, 0)), (("P2",), Estimate(2, 0, 1))]


def test_whoever_learns_the_decision_tells_all() -> None:
    third = Rotating("P3", THREE, 1)
    told(third)
    assert told(third, Received("P1", Decide(0))) == [(("P1", "P2"), Decide(0))]
    assert told(third, Received("P2", Decide(0)), Suspects(frozenset({"P1"}))) == []


def test_strangers_are_not_heard() -> None:
    first = Rotating("P1", THREE, 0)
    assert told(first, Received("P4", Estimate(1, 1, 0)), Received("P1", Estimate(1, 1, 0))) == []


# --- the adversary ------------------------------------------------------------------------------------------------


def test_the_schedule_of_the_adversary_can_be_replayed_and_leaves_both_decisions_open() -> None:
    configuration = start(THREE, DIVIDED)
    for stage in delay(THREE, DIVIDED, 30)[2]:
        for event in stage.events:
            assert isinstance(event, Doubt) or event in configuration.letters
            configuration = configuration.after(event)
        assert configuration.key() == stage.after.key()
        reached = {follow(configuration, way, ANYTHING) for way in ways(THREE)}
        assert configuration.decisions == set() and {0, 1} <= reached


def test_the_adversary_withholds_nothing() -> None:
    """Whatever is on its way after ten stages has arrived twenty stages later, and everybody has taken part."""
    adversary = Adversary(start(THREE, DIVIDED))
    for _ in range(10):
        assert adversary.stage() is not None
    before, rounds = adversary.configuration.letters, adversary.configuration.round
    arrived: list[Letter] = []
    for _ in range(20):
        stage = adversary.stage()
        assert stage is not None
        arrived += [event for event in stage.events if isinstance(event, Letter)]
    assert set(before) <= set(arrived)
    assert all(machine.round > rounds for machine in adversary.configuration.machines.values())


def test_nobody_who_is_trusted_is_suspected_and_nobody_who_crashed_takes_a_step() -> None:
    configuration = delay(THREE, DIVIDED, 20)[1]
    for _, _, accuracy in detectors():
        adversary = Adversary(configuration, accuracy)
        while (stage := adversary.stage()) is not None:
            for event in stage.events:
                assert (event.at if isinstance(event, Doubt) else event.target) not in accuracy.crashed
                assert not isinstance(event, Doubt) or event.of not in accuracy.trusted


def test_a_survey_finds_what_every_run_by_chance_finds() -> None:
    """The dumb twin: schedules drawn one by one, under an accurate detector."""
    configuration, accuracy = delay(THREE, DIVIDED, 24)[1], Accuracy(frozenset({"P1"}))
    found = survey(configuration, accuracy)
    decided, longest = set(), 0
    for number in range(500):
        rng, now, length = random.Random(f"twin {number}"), configuration, 0
        while not now.decisions:
            now, length = now.after(rng.choice(list(now.enabled(accuracy)))), length + 1
        decided |= now.decisions
        longest = max(longest, length)
    assert decided == found.decisions and longest <= found.longest


def test_there_is_no_survey_of_what_never_ends() -> None:
    with pytest.raises(OverflowError):
        survey(start(THREE, DIVIDED), ANYTHING)


# --- with rules taken out -----------------------------------------------------------------------------------------


@breaks(
    "flp",
    "it stays bivalent for as long as asked, without a crash",
    "with an eventually strong or perfect detector every schedule comes to a decision",
)
def test_a_process_that_suspects_nobody_cannot_be_kept_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it decide if its coordinator crashes: this is what the theorem is about."""

    def never(self: Rotating, suspected: frozenset[Name], out: Output) -> bool:
        del self, suspected, out
        return False

    monkeypatch.setattr(Rotating, "_give_up", never)
    assert failing(flp.stage_claims([delay(THREE, DIVIDED, 20)[0]])) == [
        "it stays bivalent for as long as asked, without a crash"
    ]
    found = [flp.detect(start(THREE, DIVIDED), each) for each in detectors() if "P1" in each.accuracy.crashed]
    assert "with an eventually strong or perfect detector every schedule comes to a decision" in failing(
        flp.detector_claims(found)
    )


@breaks("flp", "no two processes decide differently, whoever is suspected")
def test_a_coordinator_that_proposes_its_own_estimate_breaks_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(self: Rotating, estimates: Sequence[Estimate]) -> int:
        del estimates
        return self._value

    monkeypatch.setattr(Rotating, "_select", own)
    assert "no two processes decide differently, whoever is suspected" in agreement()


@breaks("flp", "no two processes decide differently, whoever is suspected")
def test_a_coordinator_that_decides_without_a_majority_breaks_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(self: Rotating, out: Output) -> bool:
        self._decide(self._value, out)
        return True

    monkeypatch.setattr(Rotating, "_judge", alone)
    assert "no two processes decide differently, whoever is suspected" in agreement()


def test_a_refusal_that_is_forgotten_stops_a_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    absorb = Rotating._absorb

    def forgetful(self: Rotating, message: Any, out: Output) -> None:
        if self._proposed or not isinstance(message, Reply):
            absorb(self, message, out)

    monkeypatch.setattr(Rotating, "_absorb", forgetful)
    accuracy = Accuracy(frozenset({"P2"}), frozenset({"P3"}))
    assert survey(start(THREE, DIVIDED), accuracy).stuck > 0


def test_a_coordinator_that_waits_for_all_is_stopped_by_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Rotating.__init__

    def unanimous(self: Rotating, me: Name, processes: Sequence[Name], proposal: int) -> None:
        make(self, me, processes, proposal)
        self._majority = len(processes)

    monkeypatch.setattr(Rotating, "__init__", unanimous)
    everybody_else = Accuracy(frozenset({"P2", "P3"}), frozenset({"P1"}))
    assert survey(start(THREE, DIVIDED), everybody_else).stuck > 0


@breaks("flp", "timeouts that grow with each mistake are eventually accurate, and all decide")
def test_timeouts_that_forget_their_mistakes_never_become_accurate(monkeypatch: pytest.MonkeyPatch) -> None:
    def hear(self: Watchful, source: Name, now: int) -> None:
        del now
        self._suspected.discard(source)

    monkeypatch.setattr(Watchful, "_hear", hear)
    assert failing(flp.timed_claims(flp.timeouts())) == [
        "timeouts that grow with each mistake are eventually accurate, and all decide"
    ]


# --- timeouts -----------------------------------------------------------------------------------------------------


def test_a_limit_is_doubled_by_each_mistake() -> None:
    machine = Watchful(Rotating("P2", THREE, 1), 50 * MILLISECOND, grows=True)

    def step(at_ms: int, *events: Any) -> int | None:
        machine.step(events, Instant(at_ms * MILLISECOND, 0))
        return None if machine.deadline is None else machine.deadline // MILLISECOND

    assert machine.deadline == 0
    assert step(0) == 50
    assert step(50) is None, "it suspects the coordinator of the first round, and is that of the second"
    assert machine.mistakes == 0
    step(60, Received("P1", Estimate(2, 0, 0)))
    assert (machine.mistakes, machine.process.waits_for) == (1, None)
    step(70, Received("P1", Reply(2, False)))
    assert machine.process.waits_for == "P3" and machine.deadline == 120 * MILLISECOND
    assert step(120) == 220, "twice as long for P1, in the fourth round"


def test_what_decides_in_the_network_decides_alike() -> None:
    for delay_ms in (1, 60, 300):
        run = in_network(THREE, (1, 0, 0), 50, delay_ms, crashed=False, grows=True)
        assert run.decided and len(run.values) == 1


def test_a_run_by_chance_ends_with_one_decision_of_all() -> None:
    first, values = by_chance(start(THREE, DIVIDED), random.Random(1))
    assert first >= 1 and len(values) == 1
    assert Oracle(ANYTHING).outcomes(start(THREE, (1, 1, 1))) == {1}


@breaks(
    "flp",
    "if all propose the same, that is decided",
    "there are proposals from which both decisions can be reached",
)
def test_a_coordinator_that_proposes_what_nobody_told_it_decides_what_nobody_proposed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Rotating, "_select", lambda *_: 0)
    proposed: list[tuple[int, ...]] = [(0, 0, 0), DIVIDED, (1, 1, 1)]
    reached = {each: flp.outcomes(each) for each in proposed}
    assert set(reached.values()) == {frozenset({0})}
    assert len(failing(flp.reached_claims(reached))) == 2


@breaks("flp", "and no message is withheld: the longest wait does not grow with the run")
def test_an_adversary_that_forgets_one_process_for_long_withholds_its_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Adversary.__init__

    def unfair(self: Adversary, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        self._turns = deque([*THREE[:2] * 20, THREE[2]])

    def found() -> list[str]:
        return failing(flp.stage_claims([delay(THREE, DIVIDED, asked)[0] for asked in (10, 50)]))

    assert found() == []
    monkeypatch.setattr(Adversary, "__init__", unfair)
    assert "and no message is withheld: the longest wait does not grow with the run" in found()


@breaks("flp", "and the adversary comes to its end")
def test_detectors_that_suspect_whom_they_trust_leave_the_adversary_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    enabled = Configuration.enabled

    def anybody(self: Configuration, accuracy: Accuracy) -> Iterable[Any]:
        return enabled(self, Accuracy(frozenset(), accuracy.crashed))

    (perfect,) = (each for each in detectors() if each.name == "eventually perfect" and not each.accuracy.crashed)

    def found() -> list[str]:
        return failing(flp.detector_claims([flp.detect(start(THREE, DIVIDED), perfect)]))

    monkeypatch.setattr(flp, "STAGES_MAX", 20)
    monkeypatch.setattr(flp, "survey", lambda *_: Survey(0, 0, frozenset(), 0))  # with the change it would not end
    assert "and the adversary comes to its end" not in found()
    monkeypatch.setattr(Configuration, "enabled", anybody)
    assert "and the adversary comes to its end" in found()


@breaks("flp", "a detector that does not suspect who crashed does not suffice")
def test_a_detector_that_suspects_who_crashed_suffices(monkeypatch: pytest.MonkeyPatch) -> None:
    enabled = Configuration.enabled

    def complete(self: Configuration, accuracy: Accuracy) -> Iterable[Any]:
        return enabled(self, Accuracy(accuracy.trusted - accuracy.crashed, accuracy.crashed))

    def found() -> list[str]:
        lame = [each for each in detectors() if each.name == flp.LAME]
        return failing(flp.detector_claims([flp.detect(start(THREE, DIVIDED), each) for each in lame]))

    assert found() == []
    monkeypatch.setattr(Configuration, "enabled", complete)
    assert found() == ["a detector that does not suspect who crashed does not suffice"]


@breaks("flp", "by chance, the probability to be undecided is at least halved by every five rounds")
def test_coordinators_that_decide_late_are_undecided_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Rotating._judge

    def late(self: Rotating, out: Output) -> bool:
        if self.round > 10:
            return judge(self, out)
        if len(self._replies[self.round]) < self._majority:
            return False
        self._begin_round(out)
        return True

    assert agreement() == []
    monkeypatch.setattr(Rotating, "_judge", late)
    assert any(text.startswith("by chance") for text in agreement())


@breaks("flp", "where messages take longer than the timeout, nothing is decided in a minute")
def test_timeouts_that_always_grow_decide_in_any_network(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Watchful.__init__

    def growing(self: Watchful, process: Rotating, limit: int, *, grows: bool) -> None:
        del grows
        make(self, process, limit, grows=True)

    monkeypatch.setattr(Watchful, "__init__", growing)
    assert failing(flp.timed_claims(flp.timeouts()))


def test_the_adversary_is_drawn_as_far_as_it_ran() -> None:
    """What was not executed is not in the figure."""
    runs = [(30, frozenset({0})), (1, frozenset({1}))]
    for asked, rounds in ((10, 3), (20, 5)):
        (reached, *_) = delay(THREE, DIVIDED, asked)
        _, adversary = flp.chance_figure(runs, [reached]).series
        assert reached.rounds == rounds and len(adversary.points) == rounds


def test_from_all_mixed_proposals_both_decisions_are_reached() -> None:
    """Two of three that agree do not settle it: whoever differs may be heard first by the next coordinator."""
    table = short("flp").tables[0]
    assert all(row[-1] == (row[0] if len(set(row[:3])) == 1 else "0 or 1") for row in table.rows)
