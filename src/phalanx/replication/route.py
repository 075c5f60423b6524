"""Which endpoint a client talks to, how long it waits for it, and when to try again.  Passive;
randomness comes in as `random.Random`.

Sticky: an endpoint is kept until it fails.  After a failure the next one is tried at once; after all have failed in
turn, the client waits, twice as long each round, with jitter so that clients that lost the same node do not come back
together.
"""

import random
from collections.abc import Iterable

from phalanx.model.clock import MILLISECOND
from phalanx.model.view import Address

BACKOFF_NS_LEAST = 10 * MILLISECOND
"""The first wait, before jitter: what a view change takes that nobody has to be waited for."""

PATIENCE_NS_LEAST = 300 * MILLISECOND
"""How long an endpoint may leave a request unanswered when answers come fast.  Longer than a garbage collection, shorter
than `suspect_after`: the clients of a process that hangs have moved on before its peers have begun a view without it."""

PATIENCE_NS_MOST = 2_000 * MILLISECOND
"""The longest patience: more than an ordinary view change takes, however slow the answers and often the silence."""

SLOW_ANSWERS = 4
"""Patience is at least so many times what answers took lately, so that overload is not answered by sending more."""

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
        self._foreign: set[Address] = set()
        """Those of another cluster than the client, as far as was last heard."""
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
        if self._foreign:
            self._foreign.discard(self.current)

    def failed(self, now: int) -> None:
        """The current endpoint did not answer, or cannot serve: go on to the next."""
        self._foreign.discard(self.current)
        self._endpoints.append(self._endpoints.pop(0))
        self._failures += 1
        rounds, within = divmod(self._failures, len(self._endpoints))
        if within == 0:
            self._wait(now, rounds)

    def strange(self, now: int) -> bool:
        """The current endpoint is of another cluster: go on to the next.  True: so are all."""
        endpoint = self.current
        self.failed(now)
        self._foreign.add(endpoint)
        return self._foreign.issuperset(self._endpoints)

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

    def prefer(self, endpoint: Address) -> None:
        """That endpoint answers while the current one is silent."""
        self._endpoints = [endpoint, *(each for each in self._endpoints if each != endpoint)]
        self.worked()


class Patience:
    """How long a request may stay unanswered before another endpoint is tried as well.

    A multiple of what answers have taken, doubled for each silence in a row: like the retransmission timer of TCP
    (RFC 6298), except that every transmission has a number of its own, so no sample is ambiguous.
    """

    def __init__(self, least: int = PATIENCE_NS_LEAST, most: int = PATIENCE_NS_MOST) -> None:
        self._least = least
        self._most = most
        self._took = 0
        self._silences = 0

    @property
    def ns(self) -> int:
        """Nanoseconds, at present."""
        return min(self._most, max(self._least, SLOW_ANSWERS * self._took) << min(self._silences, 16))

    def answered(self, took: int) -> None:
        """An answer came, so long after its request."""
        self._took += (min(took, self._most) - self._took) // 8
        self._silences = 0

    def silent(self) -> None:
        """A request stayed unanswered."""
        self._silences += 1
