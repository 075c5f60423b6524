"""One client's row in the session table, and the limits of the table (see `sessions`)."""

import msgspec

from phalanx.replication.outcome import Outcome

SESSION_LIFETIME_MS = 60_000
"""Idle time after which a session is forgotten."""

SESSIONS_MAX = 100_000
"""Sessions per group.  At the limit no session is opened until one expires or is closed."""

WINDOW = 1_024
"""Commands per session from the low mark on, hence outcomes kept.  A number beyond is refused, not run."""

OUTCOME_BYTES_MAX = 8 << 20
"""Encoded results kept per session.  Once they exceed this, no command runs until the low mark frees some."""


RAISED_BYTES = OUTCOME_BYTES_MAX // WINDOW
"""What an exception counts among them, whatever it says: its text may differ between replicas (by an address, or by
Python's version), and what is kept decides whether the next command runs."""

SESSION_BYTES = 128
"""What a session counts in a slice of a snapshot, besides its outcomes."""


class SavedSession(msgspec.Struct, array_like=True):
    """One client's row as it travels.  `outcomes` by number; `size` is their bytes."""

    id: int
    active_ms: int
    low: int
    size: int
    outcomes: dict[int, Outcome]


class Limits(msgspec.Struct, frozen=True):
    """The limits of a table: the same at every replica of a group."""

    lifetime_ms: int = SESSION_LIFETIME_MS
    sessions: int = SESSIONS_MAX
    window: int = WINDOW
    outcome_bytes: int = OUTCOME_BYTES_MAX


LIMITS = Limits()
