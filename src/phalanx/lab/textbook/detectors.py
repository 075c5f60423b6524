"""Failure detectors that judge by silence, and a monitor that runs several beside each other.

`Fixed`: so long and no longer.  `Adaptive`: the product's own (parts/silence.py).  `PhiAccrual`: the less likely so long
a silence was under the normal distribution of recent gaps, the more suspect; phi is the negative decimal logarithm of
that likelihood (Hayashibara, Defago, Yared, Katayama, "The phi Accrual Failure Detector", SRDS 2004, section IV).
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any, Protocol

import msgspec

from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import Output, Received, Send
from phalanx.model.view import Address
from phalanx.parts.silence import Silence

WINDOW = 1_000
"""Gaps that phi accrual remembers."""

DEVIATION_NS_LEAST = MILLISECOND // 2
"""Of perfectly regular arrivals the smallest delay would be infinitely suspect."""


class Detector(Protocol):
    """Monotonic nanoseconds throughout."""

    def heard(self, now: int) -> None:
        """A heartbeat has come."""

    def overdue_at(self) -> int | None:
        """When it begins to suspect if nothing is heard until then; None: not yet known."""


class Fixed:
    """Suspects after `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last: int | None = None

    def heard(self, now: int) -> None:
        """A heartbeat has come."""
        self._last = now

    def overdue_at(self) -> int | None:
        """When the silence becomes too long."""
        return None if self._last is None else self._last + self._limit


class Adaptive:
    """The product's, with its own `limit`."""

    def __init__(self, limit: int) -> None:
        self._silence = Silence(limit)
        self._watches = False

    def heard(self, now: int) -> None:
        """A heartbeat has come."""
        if not self._watches:
            self._watches = True
            self._silence.watch(["it"], now)
        self._silence.heard("it", now)

    def overdue_at(self) -> int | None:
        """When the silence becomes too long."""
        return self._silence.overdue_at("it") if self._watches else None


class PhiAccrual:
    """Suspects when phi reaches the threshold."""

    def __init__(self, threshold: float) -> None:
        self._deviations = NormalDist().inv_cdf(1 - 10**-threshold)
        self._gaps: deque[int] = deque()
        self._sum = 0
        self._squares = 0
        self._last: int | None = None

    def heard(self, now: int) -> None:
        """A heartbeat has come."""
        if self._last is not None:
            gap = now - self._last
            self._gaps.append(gap)
            self._sum += gap
            self._squares += gap * gap
            if len(self._gaps) > WINDOW:
                old = self._gaps.popleft()
                self._sum -= old
                self._squares -= old * old
        self._last = now

    def overdue_at(self) -> int | None:
        """When so long a silence is so unlikely."""
        count = len(self._gaps)
        if self._last is None or count < 2:
            return None
        variance = (self._squares * count - self._sum**2) / count**2
        deviation = max(math.sqrt(variance), DEVIATION_NS_LEAST)
        return self._last + int(self._sum / count + self._deviations * deviation)


class Heartbeat(msgspec.Struct, frozen=True):
    """I live."""


class Heart:
    """Sends a heartbeat every `interval`."""

    def __init__(self, monitor: Address, interval: int) -> None:
        self._monitor = monitor
        self._interval = interval
        self._next: int | None = None

    @property
    def deadline(self) -> int | None:
        return 0 if self._next is None else self._next

    def step(self, events: Iterable[Any], now: Instant) -> Output:  # noqa: ARG002  it listens to nobody
        """Beat if it is time.  After a pause it beats once, and goes on from there."""
        out = Output()
        if self._next is None or now.mono >= self._next:
            late = self._next is None or now.mono - self._next >= self._interval
            self._next = now.mono + self._interval if late or self._next is None else self._next + self._interval
            out.sends.append(Send([self._monitor], Heartbeat()))
        return out


class Suspicion(msgspec.Struct, frozen=True):
    """A detector begins to suspect, or ceases to: the monitor's delivery."""

    detector: str
    suspected: bool


class Monitor:
    """Runs all the detectors on the same heartbeats."""

    def __init__(self, detectors: Mapping[str, Detector]) -> None:
        self._detectors = dict(detectors)
        self._suspected: set[str] = set()
        self.patience: dict[str, list[int]] = {name: [] for name in detectors}
        """After each heartbeat, how long the detector would wait for the next: the longest that a crash then stays
        unnoticed."""

    @property
    def deadline(self) -> int | None:
        times = (d.overdue_at() for name, d in self._detectors.items() if name not in self._suspected)
        return min((at for at in times if at is not None), default=None)

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Hear, then look who has been silent for too long."""
        out = Output()
        for event in events:
            if isinstance(event, Received):
                self._hear(now.mono, out)
        for name, detector in self._detectors.items():
            at = detector.overdue_at()
            if name not in self._suspected and at is not None and now.mono >= at:
                self._suspected.add(name)
                out.deliveries.append(Suspicion(name, True))
        return out

    def _hear(self, now: int, out: Output) -> None:
        for name, detector in self._detectors.items():
            detector.heard(now)
            if (at := detector.overdue_at()) is not None:
                self.patience[name].append(at - now)
            if name in self._suspected:
                self._suspected.discard(name)
                out.deliveries.append(Suspicion(name, False))
