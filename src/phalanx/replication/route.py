"""Which endpoint a client talks to, and when to try again.  Passive; randomness comes in as `random.Random`.

Sticky: an endpoint is kept until it fails.  After a failure the next one is tried at once; after all have failed in
turn, the client waits, twice as long each round, with jitter so that clients that lost the same node do not come back
together.
"""

import random
from collections.abc import Iterable

from phalanx.model.clock import MILLISECOND
from phalanx.model.view import Address

BACKOFF_NS_LEAST = 50 * MILLISECOND
"""The first wait, before jitter."""

BACKOFF_NS_MOST = 2_000 * MILLISECOND
"""The longest wait: what a client adds to an outage that ends."""

ENDPOINTS_MAX = 64
"""Endpoints remembered; beyond it learned ones are ignored."""


class Route:
    """Endpoints in the order of preference: the first is current."""

    def __init__(self, endpoints: Iterable[Address], rng: random.Random) -> None:
        self._endpoints = list(dict.fromkeys(endpoints))
        assert self._endpoints, "a client needs at least one endpoint"
        self._rng = rng
        self._failures = 0
        self.ready_at = 0
        """Monotonic nanoseconds before which nothing should be sent."""

    @property
    def current(self) -> Address:
        """Whom to talk to."""
        return self._endpoints[0]

    @property
    def endpoints(self) -> tuple[Address, ...]:
        """All that are known."""
        return tuple(self._endpoints)

    def worked(self) -> None:
        """The current endpoint did what was asked."""
        self._failures = 0

    def failed(self, now: int) -> None:
        """The current endpoint did not answer, or cannot serve: go on to the next."""
        self._endpoints.append(self._endpoints.pop(0))
        self._failures += 1
        rounds, within = divmod(self._failures, len(self._endpoints))
        if within == 0:
            self._wait(now, rounds)

    def hold(self, now: int) -> None:
        """The current endpoint is right but cannot take more now."""
        self._failures += len(self._endpoints)
        self._wait(now, self._failures // len(self._endpoints))

    def _wait(self, now: int, rounds: int) -> None:
        longest = min(BACKOFF_NS_MOST, BACKOFF_NS_LEAST << min(rounds - 1, 16))
        self.ready_at = now + int(longest * self._rng.uniform(0.5, 1.0))

    def learn(self, endpoints: Iterable[Address]) -> None:
        """These exist too."""
        for endpoint in endpoints:
            if endpoint not in self._endpoints and len(self._endpoints) < ENDPOINTS_MAX:
                self._endpoints.append(endpoint)

    def redirect(self, endpoints: Iterable[Address], now: int) -> None:
        """The current endpoint says that these serve: they come first, in random order so that clients spread."""
        preferred = [endpoint for endpoint in dict.fromkeys(endpoints) if endpoint != self.current]
        self.failed(now)
        if preferred:
            self._rng.shuffle(preferred)
            rest = [endpoint for endpoint in self._endpoints if endpoint not in preferred]
            self._endpoints = (preferred + rest)[:ENDPOINTS_MAX]
