"""Failure detectors, executed; and with rules taken out, which the table must show."""

from collections.abc import Iterable
from typing import Any

import pytest

from phalanx.lab.experiments import failure_detectors
from phalanx.lab.experiments.failure_detectors import gaps_of
from phalanx.lab.textbook.detectors import Fixed, Heart, Monitor, PhiAccrual, Suspicion
from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import Output, Received
from phalanx.model.view import Name
from phalanx.parts.silence import Silence
from tests.lab.experiments.runs import breaks, failing

MS = MILLISECOND


def claims_that_fail() -> list[str]:
    return failing(failure_detectors.run(False))


def deadline_ms(monitor: Monitor) -> float | None:
    return None if monitor.deadline is None else monitor.deadline / MS


def told(monitor: Monitor, at_ms: int, *heartbeats: str) -> list[Suspicion]:
    return monitor.step([Received("p", text) for text in heartbeats], Instant(at_ms * MS, 0)).deliveries


def test_a_monitor_suspects_once_and_takes_it_back() -> None:
    monitor = Monitor({"fixed": Fixed(100 * MS)})
    assert deadline_ms(monitor) is None
    assert told(monitor, 0, "beat") == []
    assert deadline_ms(monitor) == 100
    assert told(monitor, 100) == [Suspicion("fixed", True)]
    assert deadline_ms(monitor) is None
    assert told(monitor, 150) == []
    assert told(monitor, 200, "beat") == [Suspicion("fixed", False)]
    assert deadline_ms(monitor) == 300


def test_a_heart_beats_at_its_interval_and_once_after_a_pause() -> None:
    heart = Heart("m", 100 * MS)
    beats = [at for at in (0, 50, 100, 201, 300, 750, 760, 850) if heart.step([], Instant(at * MS, 0)).sends]
    assert beats == [0, 100, 201, 300, 750, 850]


def test_phi_waits_longer_the_more_arrivals_vary() -> None:
    regular, varied = PhiAccrual(4.0), PhiAccrual(4.0)
    assert regular.overdue_at() is None
    now = 0
    for number in range(100):
        now += 100 * MS
        regular.heard(now)
        varied.heard(now + (number % 2) * 40 * MS)
    assert 100 * MS < (regular.overdue_at() or 0) - now < 103 * MS
    assert (varied.overdue_at() or 0) - now > 200 * MS


def test_gaps_are_counted_from_the_first_that_arrived() -> None:
    drawn = tuple(letter == "x" for letter in "xx.x.xx.xxx.")
    assert [gaps_of(drawn, least) for least in (1, 2, 3, 4)] == [3, 2, 1, 0]


@breaks("failure-detectors", "the adaptive detector waits for its limit at least and twice that at most")
def test_an_adaptive_detector_without_its_bound_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unbounded(self: Silence, name: Name) -> int:
        return self._heard[name] + int(max(self.limit, 2 * self._gap[name]))

    monkeypatch.setattr(Silence, "overdue_at", unbounded)
    assert claims_that_fail() == ["the adaptive detector waits for its limit at least and twice that at most"]


@breaks("failure-detectors", "and less often where mistakes are frequent")
def test_an_adaptive_detector_that_does_not_adapt_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Silence, "overdue_at", lambda self, name: self._heard[name] + self.limit)
    assert claims_that_fail() == ["and less often where mistakes are frequent"]


@breaks(
    "failure-detectors",
    "the adaptive detector errs no more often than a fixed one of its limit",
    "the adaptive detector waits for its limit at least and twice that at most",
)
def test_an_adaptive_detector_that_is_hasty_errs_where_the_fixed_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Silence, "overdue_at", lambda self, name: self._heard[name] + self.limit // 2)
    assert "the adaptive detector errs no more often than a fixed one of its limit" in claims_that_fail()


@breaks(
    "failure-detectors",
    "*: a fixed timeout of * ms errs where * or more in a row are lost",
    "*: that is (1-p) p^* of the heartbeats",
)
def test_a_fixed_timeout_that_counts_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fixed, "overdue_at", lambda self: None if self._last is None else self._last + 2 * self._limit)
    assert any("in a row are lost" in text for text in claims_that_fail())


@breaks("failure-detectors", "phi * errs with probability 10^-*")
def test_phi_without_the_variance_does_not_keep_its_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = PhiAccrual.heard

    def constant(self: PhiAccrual, now: int) -> None:
        heard(self, now)
        self._squares = -(-(self._sum**2) // max(1, len(self._gaps)))  # as if all gaps were alike

    monkeypatch.setattr(PhiAccrual, "heard", constant)
    assert any(text.startswith("phi") for text in claims_that_fail())


@breaks("failure-detectors", "all suspect a crashed process for ever (completeness)")
def test_a_monitor_that_takes_suspicions_back_by_itself_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Monitor.step

    def fickle(self: Monitor, events: Iterable[Any], now: Instant) -> Output:
        out = step(self, events, now)
        out.deliveries += [Suspicion(name, False) for name in sorted(self._suspected)]
        return out

    monkeypatch.setattr(Monitor, "step", fickle)
    assert "all suspect a crashed process for ever (completeness)" in claims_that_fail()
