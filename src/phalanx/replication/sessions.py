"""The session table: what makes a resent command run once.  Passive and deterministic; part of the replicated state.

A client numbers the commands of its session from 1 and says with each the *low mark* below which it has settled all.
The table keeps the outcome of every command that was run at or above the low mark, so commands may arrive in any order
and any number of times: a number below the mark is settled, one with an outcome is answered from the table, any other
has not been run (DESIGN 13, counter-example 15: #6 arrives before a resent #5).

Sessions expire by *session time*, which is made of the stamps of ordered messages: no replica's clock is asked.  A gap
between two messages of more than a third of the lifetime counts as a third, since a group that orders nothing (it lost
its quorum, or restarted) gave nobody the chance to keep a session alive.  Clients send a sign of life in every third.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014), section 6.3, with a window instead of one number.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final

from phalanx.replication.outcome import Outcome, Returned
from phalanx.replication.session import LIMITS, RAISED_BYTES, SESSION_BYTES, Limits, SavedSession


class Verdict(Enum):
    """Why a command is not to be run and has no outcome either."""

    UNKNOWN = "unknown session"
    SETTLED = "below the session's low mark"
    WINDOW = "beyond the session's window"


class Fresh(Enum):
    """The command is to be run, and its outcome to be recorded."""

    FRESH = "fresh"


FRESH: Final = Fresh.FRESH

_RETURNED: Final = Returned  # ARCHITECTURE, decision 58


class Session:
    """One client's row: see `SavedSession`."""

    __slots__ = ("active_ms", "id", "low", "outcomes", "size")

    def __init__(self, session_id: int, active_ms: int, low: int, size: int, outcomes: dict[int, Outcome]) -> None:
        self.id = session_id
        self.active_ms = active_ms
        self.low = low
        self.size = size
        self.outcomes = outcomes

    def copy(self) -> "Session":
        """One that does not change with this one."""
        return Session(self.id, self.active_ms, self.low, self.size, self.outcomes.copy())


class Frozen:
    """A table as it was, least recently active first, read in slices while the table changes (copy on write)."""

    def __init__(self, time_ms: int, stamped_ms: int, sessions: dict[int, Session]) -> None:
        self.time_ms = time_ms
        self.stamped_ms = stamped_ms
        self._unread = sessions

    def keep(self, session: Session) -> None:
        """It is about to change."""
        if self._unread.get(session.id) is session:
            self._unread[session.id] = session.copy()

    def slices(self, size: int) -> Iterator[list[SavedSession]]:
        """In slices of about so many bytes.  What one has is to be encoded before anything else happens."""
        found: list[SavedSession] = []
        room = size
        for session_id in list(self._unread):
            each = self._unread.pop(session_id)
            found.append(SavedSession(each.id, each.active_ms, each.low, each.size, each.outcomes))
            room -= each.size + SESSION_BYTES
            if room <= 0:
                yield found
                found, room = [], size
        if found:
            yield found


class Sessions:
    """All sessions of a group."""

    def __init__(self, limits: Limits = LIMITS, time_ms: int = 0, stamped_ms: int = 0) -> None:
        """`time_ms`, `stamped_ms`: of the table that this one is to become, as `Frozen` says."""
        self._limits = limits
        self._time_ms = time_ms
        self._stamped_ms = stamped_ms
        self._by_id: OrderedDict[int, Session] = OrderedDict()
        """The least recently active first."""
        self._latest: Session | None = None
        """The last of them: mostly the next command is of it too.  None: not known."""
        self._frozen: list[Frozen] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def freeze(self) -> Frozen:
        """The table as it is now.  `thaw` it in the end."""
        frozen = Frozen(self._time_ms, self._stamped_ms, dict(self._by_id))
        self._frozen.append(frozen)
        return frozen

    def thaw(self, frozen: Frozen) -> None:
        """It is not read any more."""
        self._frozen.remove(frozen)

    def restore(self, sessions: Iterable[SavedSession]) -> None:
        """Some sessions of the table that this one is to become, in their order."""
        for each in sessions:
            self._by_id[each.id] = Session(each.id, each.active_ms, each.low, each.size, each.outcomes)
        self._latest = None

    def advance(self, stamped_ms: int) -> None:
        """An ordered message carries this time: forget the sessions that were idle for too long."""
        step = min(max(0, stamped_ms - self._stamped_ms), self._limits.lifetime_ms // 3)
        self._stamped_ms = max(self._stamped_ms, stamped_ms)
        self._time_ms += step
        oldest = self._time_ms - self._limits.lifetime_ms
        while self._by_id:
            session = next(iter(self._by_id.values()))
            if session.active_ms >= oldest:
                break
            del self._by_id[session.id]
            self._latest = None

    def open(self, session_id: int) -> bool:
        """Begin a session; False at the limit."""
        assert session_id not in self._by_id
        if len(self._by_id) >= self._limits.sessions:
            return False
        self._latest = self._by_id[session_id] = Session(session_id, self._time_ms, 1, 0, {})
        return True

    def forget(self) -> None:
        """None of them is known any more."""
        self._by_id.clear()
        self._latest = None

    def close(self, session_id: int) -> bool:
        """Forget a session; False if it is unknown."""
        self._latest = None
        return self._by_id.pop(session_id, None) is not None

    def touch(self, session_id: int, low: int) -> bool:
        """A sign of life, and the client's low mark; False if the session is unknown."""
        session = self._find(session_id)
        if session is None:
            return False
        self._touch(session, low)
        return True

    def _find(self, session_id: int) -> Session | None:
        latest = self._latest
        return latest if latest is not None and latest.id == session_id else self._by_id.get(session_id)

    def _touch(self, session: Session, low: int) -> None:
        for frozen in self._frozen:
            frozen.keep(session)
        session.active_ms = self._time_ms
        if session is not self._latest:
            self._by_id.move_to_end(session.id)
            self._latest = session
        if low > session.low:
            self._settle(session, low)

    def begin(self, session_id: int, number: int, low: int) -> Outcome | Verdict | Fresh:
        """What to do about a command that came."""
        session = self._find(session_id)
        if session is None:
            return Verdict.UNKNOWN
        self._touch(session, low)
        if number < session.low:
            return Verdict.SETTLED
        if (outcome := session.outcomes.get(number)) is not None:
            return outcome
        if number - session.low >= self._limits.window or session.size > self._limits.outcome_bytes:
            return Verdict.WINDOW
        return FRESH

    def record(self, session_id: int, number: int, outcome: Outcome) -> None:
        """The command was run and ended like this."""
        session = self._find(session_id)
        assert session is not None, "begin found it"
        for frozen in self._frozen:
            frozen.keep(session)
        outcomes = session.outcomes
        assert number >= session.low and number not in outcomes
        outcomes[number] = outcome
        session.size += _size(outcome)

    @staticmethod
    def _settle(session: Session, low: int) -> None:
        outcomes = session.outcomes
        if low - session.low < len(outcomes):
            for number in range(session.low, low):
                if (outcome := outcomes.get(number)) is not None:
                    session.size -= _size(outcome)
                    del outcomes[number]
        else:
            for number in [known for known in outcomes if known < low]:
                session.size -= _size(outcomes[number])
                del outcomes[number]
        session.low = low


def _size(outcome: Outcome) -> int:
    return len(outcome.value) if type(outcome) is _RETURNED else RAISED_BYTES
