"""The session table beside an obviously right one: the same verdicts, and the same rows in the same order, which
snapshots have and expiry goes by."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from phalanx.replication.outcome import Outcome, Raised, Returned
from phalanx.replication.session import RAISED_BYTES, Limits, SavedSession
from phalanx.replication.sessions import FRESH, Fresh, Sessions, Verdict

encode = msgspec.msgpack.Encoder().encode

LIMITS = Limits(sessions=4, window=5, outcome_bytes=RAISED_BYTES + 60, lifetime_ms=900)


class Twin:
    """A list of rows, the least recently active first, which is looked through from the beginning."""

    def __init__(self) -> None:
        self.time_ms = 0
        self.stamped_ms = 0
        self.rows: list[tuple[int, int, int, dict[int, Outcome]]] = []

    def advance(self, stamped_ms: int) -> None:
        self.time_ms += min(max(0, stamped_ms - self.stamped_ms), LIMITS.lifetime_ms // 3)
        self.stamped_ms = max(self.stamped_ms, stamped_ms)
        self.rows = [row for row in self.rows if row[1] >= self.time_ms - LIMITS.lifetime_ms]

    def open(self, session: int) -> bool:
        if len(self.rows) >= LIMITS.sessions:
            return False
        self.rows.append((session, self.time_ms, 1, {}))
        return True

    def close(self, session: int) -> bool:
        before, self.rows = self.rows, [row for row in self.rows if row[0] != session]
        return len(self.rows) < len(before)

    def touch(self, session: int, low: int) -> bool:
        for row in self.rows:
            if row[0] == session:
                least = max(low, row[2])
                self.rows.remove(row)
                kept = {number: outcome for number, outcome in row[3].items() if number >= least}
                self.rows.append((session, self.time_ms, least, kept))
                return True
        return False

    def begin(self, session: int, number: int, low: int) -> object:
        if not self.touch(session, low):
            return Verdict.UNKNOWN
        _, _, least, outcomes = self.rows[-1]
        if number < least:
            return Verdict.SETTLED
        if number in outcomes:
            return outcomes[number]
        full = size_of(outcomes) > LIMITS.outcome_bytes
        return Verdict.WINDOW if full or number - least >= LIMITS.window else FRESH

    @property
    def saved(self) -> list[SavedSession]:
        return [SavedSession(each, at, low, size_of(kept), dict(kept)) for each, at, low, kept in self.rows]


def size_of(outcomes: dict[int, Outcome]) -> int:
    return sum(len(each.value) if isinstance(each, Returned) else RAISED_BYTES for each in outcomes.values())


def saved(table: Sessions) -> list[SavedSession]:
    frozen = table.freeze()
    found = [each for some in frozen.slices(1) for each in some]
    table.thaw(frozen)
    return found


def walk(seed: int) -> set[object]:
    """The verdicts that came up."""
    seen: set[object] = set()
    rng, twin, table = random.Random(seed), Twin(), Sessions(LIMITS)
    opened = 0
    for _ in range(60):
        session = rng.randint(max(1, opened - 5), opened + 1)
        match rng.randrange(24):
            case 0 | 1 | 2:
                opened += 1
                assert table.open(opened) == twin.open(opened)
            case 3:
                assert table.close(session) == twin.close(session)
            case 4 | 5:
                low = rng.randint(1, 12)
                assert table.touch(session, low) == twin.touch(session, low)
            case 6 | 7 | 8 | 9:
                stamp = twin.stamped_ms + rng.choice((-1, 10, 200, 300, 2_000))
                table.advance(stamp)
                twin.advance(stamp)
            case 10 if rng.random() < 0.3:
                table.forget()
                twin.rows.clear()
            case 11:
                rows, size = saved(table), rng.randint(1, 3)
                table = Sessions(LIMITS, twin.time_ms, twin.stamped_ms)
                for at in range(0, len(rows), size):
                    table.restore(rows[at : at + size])
            case _:
                number = rng.randint(1, 12)
                low = rng.randint(1, number)
                verdict = table.begin(session, number, low)
                assert verdict == twin.begin(session, number, low), f"seed {seed}"
                seen.add(verdict if isinstance(verdict, Verdict) else type(verdict))
                if verdict is FRESH:
                    outcome: Outcome = rng.choice((Returned(bytes(rng.choice((0, 5, 40)))), Raised("E", b"", "")))
                    table.record(session, number, outcome)
                    twin.rows[-1][3][number] = outcome
        assert encode(saved(table)) == encode(twin.saved), f"seed {seed}"
    return seen


def test_the_table_is_as_its_twin_whatever_comes() -> None:
    seen: set[object] = set()
    for seed in range(1_000):
        seen |= walk(seed)
    assert seen == {*Verdict, Fresh, Returned, Raised}, "or it would show nothing"


def without(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, which does not take notice that the last row is not the last one any more."""

    def careless(table: Sessions, *args: Any) -> Any:
        latest = table._latest
        found = method(table, *args)
        table._latest = latest
        return found

    return careless


@pytest.mark.parametrize("name", ["advance", "open", "close", "forget"])
def test_a_table_that_takes_another_row_for_the_last_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sessions, name, without(getattr(Sessions, name)))
    with pytest.raises((AssertionError, KeyError)):
        for seed in range(1_000):
            walk(seed)
