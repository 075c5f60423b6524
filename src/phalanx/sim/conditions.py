"""What the world is like during one run, apart from faults: delays, disks, scheduling."""

import msgspec

from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND


class Conditions(msgspec.Struct, frozen=True, omit_defaults=True, repr_omit_defaults=True):
    """Constant during a run.  Times are in nanoseconds.  The defaults are a calm local network; `swarm`
    draws others."""

    delay_min_ns: int = 50 * MICROSECOND
    """Least time that a message takes."""
    delay_spread_ns: int = 200 * MICROSECOND
    """A message takes up to this much longer, uniformly."""
    delay_tail: float = 0.0
    """Fraction of messages that are much slower than that."""
    delay_tail_ns: int = 0
    """How much slower those can be."""
    lossy: bool = False
    """Messages are datagrams during the whole run: any order, some doubled, some very late.  Else links are FIFO."""
    duplicate: float = 0.0
    """Fraction of datagrams that arrive twice."""
    late: float = 0.0
    """Fraction of datagrams that come up to `late_ns` later than others."""
    late_ns: int = 0
    keep_unsent: float = 1.0
    """Probability that what was sent before a connection was made goes out once it is made."""
    break_after_ns: int = SECOND
    """A connection whose messages do not get through breaks after this, more or less."""
    backoff_max_ns: int = 200 * MILLISECOND
    """Attempts to connect start 1 ms apart and get rarer up to this."""

    turn_ns: int = 20 * MICROSECOND
    """A node takes its turn up to this long after the first event came: what comes meanwhile is in the same turn."""
    grouped: float = 0.8
    """Probability that a turn takes all events that wait in one step; else it takes some, and the rest a step later."""
    timer_late_ns: int = 0
    """A wake-up comes up to this much after the deadline."""
    write_min_ns: int = 100 * MICROSECOND
    """Least time that a write takes to become durable."""
    write_spread_ns: int = 400 * MICROSECOND
    """It takes up to this much longer."""
    release_spread_ns: int = 0
    """A process notices the end of its write up to this much later: room for a crash between write and release."""
    stagger_ns: int = 5 * MILLISECOND
    """Nodes that start together start within this time of each other."""

    codec: bool = False
    """Send messages through the scenario's codec instead of by reference."""
    fingerprints: bool = False
    """Check on arrival, and when durable, that nobody has changed what was sent or written."""
