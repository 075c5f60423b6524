"""The reduction from weak to strong completeness; and with rules taken out, which the table must show."""

import random
from collections.abc import Iterable
from typing import Any

import pytest

from phalanx.lab.experiments.weak_detectors import THREE, ring_claims, rings
from phalanx.lab.textbook.consensus import Rotating
from phalanx.lab.textbook.weak import Here, Poll, Reduction, Ring, Suspected, WeaklyWatchful
from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import Received
from tests.lab.experiments.runs import breaks, failing

COMPLETE = "the reduction makes it strongly complete: all that live suspect whoever crashed"
ACCURATE = "and keeps its accuracy: nobody who lives is suspected in the end"
DECIDES = "with the reduction all decide, and alike"
STOPS = "without it the crash of the first coordinator stops those that do not watch it"
WEAK = "in a ring whoever crashed is suspected by some, not by all"


# --- the parts ----------------------------------------------------------------------------------------------------


def test_a_ring_watches_its_nearest_successor_that_it_does_not_suspect() -> None:
    ring = Ring("P2", ("P1", "P2", "P3", "P4"), 50)
    ring.look(0)
    assert (ring.watched, ring.deadline) == ("P3", 50)
    ring.hear("P3", 30)
    ring.look(50)
    assert (ring.watched, ring.deadline) == ("P3", 80)
    for now in (80, 130, 180):
        ring.look(now)
    assert ring.suspected == {"P3", "P4", "P1"} and ring.watched is None and ring.deadline is None


def test_a_mistake_doubles_the_limit_and_leaves_those_behind_to_others() -> None:
    ring = Ring("P1", ("P1", "P2", "P3", "P4"), 50)
    for now in (0, 50, 100):
        ring.look(now)
    assert (ring.suspected, ring.watched) == ({"P2", "P3"}, "P4")
    ring.hear("P2", 120)
    assert (ring.suspected, ring.watched, ring.mistakes, ring.deadline) == (set(), "P2", 1, 220)


def test_the_reduction_adds_what_others_suspect_and_takes_out_who_speaks() -> None:
    reduction = Reduction()
    reduction.told("P2", ("P1", "P3"))
    assert reduction.output == {"P1", "P3"}
    reduction.told("P3", ("P2",))
    assert reduction.output == {"P1", "P2"}
    reduction.told("P2", ())
    assert reduction.output == {"P1"}


def test_the_reduction_keeps_its_promises_whatever_the_order_of_messages() -> None:
    """Strong completeness, and eventual weak accuracy: from some time on one process suspects whoever crashed, nobody
    suspects P4, and all else changes at random; messages of one sender may overtake each other."""
    names = ("P1", "P2", "P3", "P4")
    for seed in range(200):
        rng = random.Random(seed)
        reductions = {name: Reduction() for name in names[1:]}  # P1 has crashed
        under_way: list[tuple[str, str, tuple[str, ...]]] = []
        for turn in range(120):
            settled = turn >= 40
            for source in reductions:
                suspects = {name for name in names if name != source and rng.random() < 0.3}
                suspects -= {"P4"} if settled else set()
                suspects |= {"P1"} if settled and source == "P3" else set()
                under_way += [(source, target, tuple(sorted(suspects))) for target in reductions]
            rng.shuffle(under_way)
            late = len(under_way) // 2 if turn < 119 else 0
            for source, target, suspects_told in under_way[late:]:
                reductions[target].told(source, suspects_told)
            under_way = under_way[:late]
        assert all("P1" in reduction.output and "P4" not in reduction.output for reduction in reductions.values())


def test_a_process_answers_polls_reports_and_believes_reports() -> None:
    machine = WeaklyWatchful(Rotating("P2", THREE, 1), THREE, 50 * MILLISECOND, reduced=True)

    def step(at_ms: int, *events: Any) -> list[tuple[tuple[str, ...], Any]]:
        out = machine.step(events, Instant(at_ms * MILLISECOND, 0))
        return [(tuple(send.to), send.message) for send in out.sends]

    first = step(0, Received("P1", Poll()))
    assert (("P1",), Here()) in first and (("P3",), Poll()) in first and (("P1", "P3"), Suspected(())) in first
    assert machine.process.round == 1 and machine.process.waits_for == "P1"
    step(10, Received("P3", Here()), Received("P3", Suspected(("P1",))))
    assert machine.suspected == {"P1"} and machine.ring.suspected == set()
    assert machine.process.round == 2, "it has given P1 up, which it does not watch"
    step(60, Received("P1", Suspected(())))
    assert "P1" not in machine.suspected


# --- without a rule, the table changes ----------------------------------------------------------------------------


@breaks(
    "weak-detectors",
    "the reduction makes it strongly complete: all that live suspect whoever crashed",
    "with the reduction all decide, and alike",
)
def test_a_reduction_that_tells_nobody_is_as_weak_as_its_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Reduction.told
    monkeypatch.setattr(Reduction, "told", lambda self, source, _: told(self, source, ()))
    assert {COMPLETE, DECIDES} <= set(failing(ring_claims(rings((5, 100)))))


@breaks("weak-detectors", "and keeps its accuracy: nobody who lives is suspected in the end")
def test_a_reduction_that_takes_nobody_out_is_never_accurate(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(self: Reduction, source: str, suspects: Iterable[str]) -> None:
        del source
        self.output |= frozenset(suspects)

    monkeypatch.setattr(Reduction, "told", told)
    assert ACCURATE in failing(ring_claims(rings((5, 100))))


@breaks(
    "weak-detectors",
    "in a ring whoever crashed is suspected by some, not by all",
    "without it the crash of the first coordinator stops those that do not watch it",
)
def test_a_ring_in_which_all_watch_all_is_not_weak(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no reduction, then."""
    look = Ring.look

    def every(self: Ring, now: int) -> None:
        look(self, now)
        if now >= 60 * MILLISECOND:
            self.suspected |= {"P1"} & set(self._successors)

    monkeypatch.setattr(Ring, "look", every)
    assert {WEAK, STOPS} <= set(failing(ring_claims(rings((5,)))))


@breaks(
    "weak-detectors",
    "and keeps its accuracy: nobody who lives is suspected in the end",
    "though there were mistakes where messages are slow",
)
def test_a_ring_that_takes_no_mistake_back_is_never_accurate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ring, "hear", lambda *_: None)
    assert ACCURATE in failing(ring_claims(rings((100,))))
