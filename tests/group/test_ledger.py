"""When a node's log is so long that snapshots are worth while (group/ledger.py, group/compaction.py)."""

from types import SimpleNamespace
from typing import Any, cast

from phalanx.group.config import Limits
from phalanx.group.ledger import EARLY_BYTES, RECORD_OVERHEAD, Ledger
from phalanx.group.messages import Ceiling, Chunk, Data, Record
from phalanx.model.machine import Journal, Output
from phalanx.model.view import Group, GroupSpec, Member, Name, Order, Suspended, View

LIMIT = 10_000
BATCH = Data(1, 1 << 16, 1, 1, 10, 1, 0, (), [bytes(984)])
BATCHES = LIMIT // (1000 + RECORD_OVERHEAD) + 1
"""So many are more than the limit."""


def is_long(log: Ledger) -> bool:
    """Now."""
    return log.is_long


def ledger(*records: Record) -> Ledger:
    return Ledger("a", Limits(log=LIMIT), Journal(records))


def written(log: Ledger, *records: Record) -> None:
    for record in records:
        log.append(Output(), record)


def snapshot(size: int, token: int = 1, group: int = 1 << 16) -> list[Record]:
    """In two chunks."""
    half = size // 2
    return [
        Chunk(group, token, 1, (0,), b"", 0, 0, bytes(half)),
        Chunk(group, token, 1, (0,), b"digest", half, size, bytes(size - half)),
    ]


def test_a_log_is_long_once_it_holds_the_limit_of_batches() -> None:
    log = ledger()
    written(log, *[BATCH] * (BATCHES - 1))
    assert not is_long(log)
    written(log, BATCH)
    assert is_long(log)


def test_small_records_count_for_what_they_take() -> None:
    log = ledger()
    written(log, *[Ceiling(1)] * (LIMIT // RECORD_OVERHEAD + 1))
    assert is_long(log)


def test_what_former_processes_have_written_counts() -> None:
    """Found by the soak: a node that was killed every few seconds never shortened its log."""
    lives: list[Record] = []
    for _ in range(BATCHES):
        assert not is_long(ledger(*lives))
        lives.append(BATCH)
    assert is_long(ledger(*lives))


def test_as_much_as_the_snapshots_have_may_follow_them() -> None:
    log = ledger()
    written(log, *snapshot(3 * LIMIT))
    written(log, *[BATCH] * 2 * BATCHES)
    assert not is_long(log)
    written(log, *[BATCH] * BATCHES)
    assert is_long(log)
    again = ledger(*snapshot(3 * LIMIT), *[BATCH] * 2 * BATCHES)
    assert not is_long(again), "and the same is said by a process that reads it"


def test_snapshots_of_no_use_any_more_count() -> None:
    """Found by the soak: a node that fetched the state again and again kept each in its log."""
    log = ledger()
    written(log, *snapshot(3 * LIMIT, 1))
    written(log, *snapshot(2 * LIMIT, 2))
    assert not is_long(log)
    written(log, *snapshot(2 * LIMIT, 3))
    assert is_long(log)


def test_after_a_round_only_what_it_wrote_and_what_followed_counts() -> None:
    log = ledger()
    written(log, *snapshot(5 * LIMIT), *[BATCH] * 5 * BATCHES)
    assert is_long(log)
    log.begin_round()
    assert not is_long(log), "one at a time"
    written(log, *snapshot(LIMIT // 2), *[BATCH] * (BATCHES - 1))
    log.shortened()
    assert not is_long(log), "the state has become small, and so does the log"
    written(log, BATCH)
    assert is_long(log)


def test_what_cannot_be_shortened_now_is_tried_again_after_the_limit_of_batches() -> None:
    log = ledger()
    written(log, *[BATCH] * BATCHES)
    log.begin_round()
    log.postpone()
    log.in_round = False
    written(log, *[BATCH] * (BATCHES - 1))
    assert not is_long(log)
    written(log, BATCH)
    assert is_long(log)


def test_where_room_is_short_what_cannot_be_shortened_is_not_tried_again_before_it_has_grown() -> None:
    log, large = ledger(), Ceiling(1)
    growth = [large] * (EARLY_BYTES // RECORD_OVERHEAD + 1)

    def is_worth() -> bool:
        return log.is_worth_shortening(100 * EARLY_BYTES)

    written(log, *growth)
    assert is_worth()
    log.begin_round()
    log.postpone()
    log.in_round = False
    assert not is_worth()
    written(log, *growth)
    assert is_worth()
    log.begin_round()
    log.postpone()
    log.begin_round()
    written(log, *growth)
    log.shortened()
    assert is_worth(), "what it was has gone with the round"


def test_a_log_that_is_to_be_shortened_is_long_until_a_round_that_began_afterwards_has_ended() -> None:
    log = ledger()
    log.shorten()
    assert is_long(log)
    log.begin_round()
    log.in_round = False
    assert is_long(log), "the round was given up"
    log.begin_round()
    log.shorten()
    log.shortened()
    assert is_long(log), "what it is for came after the round had begun"
    log.begin_round()
    log.shortened()
    assert not is_long(log)
    log.shorten()
    log.begin_round()
    log.postpone()
    log.in_round = False
    assert not is_long(log), "the application gives no snapshot"


def test_only_last_full_hosts_report_what_they_have_of_a_suspended_group() -> None:
    """A former learner whose promise told of it was refused for ever, by itself as well (seed 12000766)."""
    spec = GroupSpec("g", Order.TOTAL, durable=True)
    members = tuple(Member(name, name, 1) for name in "ab")
    log = ledger()
    matrix = SimpleNamespace(received=[3])
    channel = SimpleNamespace(matrix=matrix, released=[0])
    kept = SimpleNamespace(view=1, whole=True, seat=SimpleNamespace(synced=True), channel=channel)
    cast(Any, log).groups[1 << 16] = kept

    def told(host: Name) -> list[int]:
        suspended = Suspended(Group(1 << 16, spec, (host,)), 1, members, 0, ())
        return [each.group for each in log.progress(View(7, 2, members, suspended=(suspended,)))]

    assert told("a") == [1 << 16]
    assert told("b") == []
