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
