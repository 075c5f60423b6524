"""What is left of a log whose oldest files are gone is not taken for one that was shortened (group/beginning.py)."""

from pathlib import Path
from typing import Any

from phalanx.api.storage import RECORDS, VOTES, open_storage
from phalanx.group.beginning import lacks_beginning, lacks_beginning_for_all
from phalanx.group.config import Limits
from phalanx.group.ledger import Ledger
from phalanx.group.messages import Ceiling, Chunk, Data, Decision, Record, Turned, Votes
from phalanx.model.signals import Journal
from phalanx.model.view import Group, GroupSpec, Member, Order, Suspended, View
from phalanx.runtime.disk import VoteFile
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import Log

SPEC = GroupSpec("g", Order.TOTAL, durable=True)
MEMBERS = tuple(Member(name, name, 1) for name in "ab")
G, H = 1 << 16, 1 << 16 | 1


def turned(view: int, *groups: int, suspended: tuple[Suspended, ...] = ()) -> Turned:
    """Both host all of these."""
    placed = tuple(Group(group, SPEC, ("a", "b")) for group in groups)
    return Turned(Decision(view - 1, View(7, view, MEMBERS, groups=placed, suspended=suspended), (), 1))


def batch(number: int, view: int = 1) -> Data:
    return Data(view, G, 0, number, number << 16, 1, -1, (), [b"x" * 100])


def snapshot(view: int, group: int = G, token: int = -1) -> list[Record]:
    """In two chunks."""
    return [
        Chunk(group, token, view, (0, 0), b"", 0, 0, b"one"),
        Chunk(group, token, view, (0, 0), b"digest", 3, 6, b"two"),
    ]


BATCHES: list[Record] = [batch(number) for number in range(5, 9)]


def test_batches_of_a_view_that_is_not_told_of_are_what_is_left() -> None:
    for records in ([], BATCHES, [Ceiling(1), *BATCHES]):
        assert lacks_beginning(records, "a")
        assert lacks_beginning_for_all(records)


def test_a_round_is_whole_with_a_snapshot_of_each_group() -> None:
    begun: list[Record] = [*BATCHES, turned(1, G, H), Ceiling(1)]
    one, other = snapshot(1, G), snapshot(1, H, -2)
    assert lacks_beginning(begun, "a")
    assert lacks_beginning([*begun, *one, batch(9), other[0]], "a"), "a crash in the middle of it"
    assert lacks_beginning([*begun, one[1], *other], "a"), "not from its first chunk on"
    assert lacks_beginning([*begun, one[0], *snapshot(1, G, -3)[1:], *other], "a"), "of two snapshots"
    whole = [*begun, one[0], other[0], batch(9), other[1], one[1]]
    assert not lacks_beginning(whole, "a")
    assert not lacks_beginning_for_all(whole)
    assert not lacks_beginning(begun, "c"), "who is in no group needs no snapshot"


def test_a_round_that_a_view_change_met_is_none() -> None:
    met: list[Record] = [turned(1, G, H), *snapshot(1), turned(2, G, H), *snapshot(1, H)]
    assert lacks_beginning(met, "a")
    assert not lacks_beginning([*met, turned(2, G, H), *snapshot(2), *snapshot(2, H)], "a")


def test_what_is_behind_the_round_is_not_read() -> None:
    read: list[Record] = []

    def records() -> Any:
        for record in [turned(1, G), *snapshot(1), *BATCHES]:
            read.append(record)
            yield record

    assert not lacks_beginning(records(), "a")
    assert len(read) == 3


def test_a_group_that_such_a_log_does_not_mention_is_not_taken_for_one_that_had_not_begun() -> None:
    """It was: with the first file gone, of one node or of most, a store came back empty, and nothing was said."""

    def known(journal: Journal, founded: int) -> list[int]:
        log = Ledger("a", Limits(), journal, first=1)
        group = Group(founded << 16, SPEC, ("a", "b"))
        log.turn(turned(9, suspended=(Suspended(group, founded, MEMBERS, 0, ()),)).value)
        return list(log.groups)

    shortened: list[Record] = [turned(3), Ceiling(1)]
    assert known(Journal((), begins=True), 1) == [1 << 16], "it crashed before it had installed that view"
    assert known(Journal(BATCHES, begins=False), 1) == []
    assert known(Journal(shortened, begins=False), 3) == []
    assert known(Journal(shortened, begins=False), 4) == [4 << 16]


def test_a_node_sets_such_a_log_aside_and_one_that_was_shortened_not(tmp_path: Path) -> None:
    def opened(name: str, *records: Record) -> tuple[bool, bool]:
        data = tmp_path / name
        votes = VoteFile(data / "votes")
        votes.load()
        votes.store(VOTES.encode(Votes(1, name="a")))
        votes.close()
        log = Log(PosixFiles(data / "log"), 100)
        log.recover()
        for record in records:
            log.append([RECORDS.encode(record)])
        log.close()
        min((data / "log").iterdir()).unlink()
        storage = open_storage(data, "a")
        storage.close()
        assert storage.journal is not None
        return storage.journal.lost, (data / "log.damaged.1").exists()

    assert opened("left", turned(1, G), *BATCHES) == (True, True)
    assert opened("shortened", *BATCHES, turned(1, G), *snapshot(1)) == (False, False)
