"""How long a receiver waits before it asks for what it lacks, so that of many who lack the same about one does.

A receiver draws a delay from a distribution that grows exponentially towards its end, and whoever comes first, and is
heard by the others, speaks for all.  Most wait for long, a few not: with lambda = ln n + 1 the expected number of
requests of n receivers hardly grows with n.  Delays drawn uniformly, as in SRM (Floyd et al. 1997), have it grow in
proportion to n.

Nonnenmacher and Biersack, "Scalable Feedback for Large Groups" (IEEE/ACM Transactions on Networking 1999), section IV;
RFC 5401, section 3.2.2.
"""

import math


def backoff(chance: float, interval: int, receivers: int) -> int:
    """The delay, up to `interval` (in whatever unit that has), for a chance drawn uniformly from [0, 1)."""
    growth = math.log(receivers) + 1
    return int(interval / growth * math.log1p(chance * math.expm1(growth)))


def expected_requests(receivers: int, share: float, assumed: int) -> float:
    """How many of `receivers` ask, on average, if all notice at once and a request is heard by the others after `share`
    of the interval; `assumed` is the number that they take themselves for.

    Receiver i asks if none of the others had asked `share` before its own delay t: n times the integral of f(t) times
    (1 - F(t - share))^(n - 1), where F(t) = (e^(g t) - 1) / (e^g - 1) on [0, 1] and g = ln `assumed` + 1.  Since
    f(t + share) = e^(g share) f(t), that is n F(share) + e^(g share) (1 - (1 - F(1 - share))^n).
    """
    growth = math.log(assumed) + 1

    def below(t: float) -> float:
        return math.expm1(growth * min(1.0, t)) / math.expm1(growth)

    if share >= 1:
        return float(receivers)
    return receivers * below(share) + math.exp(growth * share) * (1 - (1 - below(1 - share)) ** receivers)
