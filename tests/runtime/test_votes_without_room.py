"""Votes on a disk without room (SCENARIOS 8): what is refused is tried again, and the last record is as it was."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phalanx.runtime.disk import SLOT_BYTES_MIN, VoteFile
from phalanx.runtime.space import NoRoom


def test_votes_that_have_outgrown_their_file_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = VoteFile(tmp_path / "votes")
    file.load()
    file.store(b"first")
    large = bytes(2 * SLOT_BYTES_MIN)

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("phalanx.runtime.disk._write_all", refuse)
        with pytest.raises(NoRoom):
            file.store(large)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".new"] == []
    file.store(large)
    file.close()
    again = VoteFile(tmp_path / "votes")
    assert again.load() == large
    again.close()


def refusing(room: int) -> Callable[[int, bytes, int], int]:
    """`os.pwrite` of a file system that never writes in place, and has so many bytes left."""
    write = os.pwrite

    def pwrite(file: int, data: bytes, at: int) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(file, data[:room], at)
        room -= done
        return done

    return pwrite


@pytest.mark.parametrize("number", [2, 3])
def test_votes_that_are_not_written_in_place_wait_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Any part of a record may be in its slot when there is no more room: power may fail then, in either slot the last
    record that was durable counts, or one that came after it."""
    path = tmp_path / "votes"
    for room in range(0, 200, 7):
        path.unlink(missing_ok=True)
        file = VoteFile(path)
        file.load()
        known = [b"record %d" % n + bytes(50) for n in range(number)]
        for record in known:
            file.store(record)
        for tried in (b"first", b"second"):
            with monkeypatch.context() as patch:
                patch.setattr(os, "pwrite", refusing(room))
                with pytest.raises(NoRoom):
                    file.store(tried + bytes(100))
            known.append(tried + bytes(100))
            assert found(tmp_path / "copy", path.read_bytes()) in known[number - 1 :]
        file.store(b"last")
        file.close()
        assert found(path, path.read_bytes()) == b"last"


def found(path: Path, data: bytes) -> bytes | None:
    """In a vote file of these bytes."""
    path.write_bytes(data)
    file = VoteFile(path)
    try:
        return file.load()
    finally:
        file.close()


def test_a_refused_record_and_the_one_tried_again_cannot_be_confused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first try one copy is whole; of the second, that was said to be durable, the disk has lost that copy."""
    path = tmp_path / "votes"
    file = VoteFile(path)
    file.load()
    file.store(b"before")
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refusing(100))
        with pytest.raises(NoRoom):
            file.store(b"tried" + bytes(60))
    first = path.read_bytes()
    at = next(at for at in range(0, len(before), SLOT_BYTES_MIN) if first[at : at + 90] != before[at : at + 90])
    file.store(b"again" + bytes(60))
    file.close()
    data = bytearray(path.read_bytes())
    data[at : at + SLOT_BYTES_MIN] = first[at : at + SLOT_BYTES_MIN]
    assert found(path, bytes(data)) == b"again" + bytes(60)


def test_a_vote_file_with_a_torn_record_is_read_where_there_is_no_room_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node came back from a power cut to a full disk."""
    path = tmp_path / "votes"
    file = VoteFile(path)
    file.load()
    for record in (b"one", b"two"):
        file.store(record)
    file.close()
    data = bytearray(path.read_bytes())
    place = SLOT_BYTES_MIN  # of "one", in whose place the third was being written
    data[place + 10 : place + 20] = data[3 * SLOT_BYTES_MIN + 10 : 3 * SLOT_BYTES_MIN + 20] = bytes(10)
    path.write_bytes(data)
    file = VoteFile(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refusing(0))
        assert file.load() == b"two"
    assert file.damage
    file.store(b"three")
    file.close()
    assert found(path, path.read_bytes()) == b"three"
    path.write_bytes(path.read_bytes()[:-1])
    file = VoteFile(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refusing(0))
        with pytest.raises(NoRoom):
            file.load()
    file.close()
