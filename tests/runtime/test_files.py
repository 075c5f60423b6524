"""What the system is asked to make durable, and in which order (SCENARIOS 3, 5): a test that kills processes cannot see
it, for the page cache outlives them.  What logs make of such files is in test_log_crashes.py, with files in memory; a
real power cut in tests/real/test_power_cut.py.
"""

import os
import random
from pathlib import Path

import pytest

from phalanx.api.backup.files import PartFile
from phalanx.runtime import disk as disk_module
from phalanx.runtime import files as files_module
from phalanx.runtime.disk import SLOT_BYTES_MIN, VoteFile
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import repair
from tests.runtime.logs import FIRST, opened, read, record
from tests.runtime.power import PowerFiles


class Asked:
    """What was asked of the system since `begin`, in its order: ("sync", path), ("write", path), ("replace", path)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.calls: list[tuple[str, str]] = []
        self._root = root

        def noted(what: str, real: object) -> object:
            def call(file: int, *rest: object) -> object:
                self.calls.append((what, self._name(file)))
                return real(file, *rest)  # type: ignore[operator]  # a function of os

            return call

        for module in (files_module, disk_module):
            monkeypatch.setattr(module, "_fdatasync", noted("sync", module._fdatasync))
        monkeypatch.setattr(os, "fsync", noted("sync", os.fsync))
        monkeypatch.setattr(os, "pwrite", noted("write", os.pwrite))
        replace, read_bytes = Path.replace, Path.read_bytes

        def replaced(path: Path, target: Path) -> Path:
            self.calls.append(("replace", str(target.relative_to(root))))
            return replace(path, target)

        def was_read(path: Path) -> bytes:
            self.calls.append(("read", str(path.relative_to(root))))
            return read_bytes(path)

        monkeypatch.setattr(Path, "replace", replaced)
        monkeypatch.setattr(Path, "read_bytes", was_read)

    def _name(self, file: int) -> str:
        """By what the file is, not by how it was opened."""
        found = os.fstat(file)
        for path in (self._root, *self._root.rglob("*")):
            if os.path.samestat(found, path.stat()):
                return str(path.relative_to(self._root))
        return "?"

    def begin(self) -> None:
        self.calls.clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    return Asked(monkeypatch, tmp_path)


def test_a_file_is_synced_when_it_is_said_to_be_and_so_is_its_directory(asked: Asked, tmp_path: Path) -> None:
    files = PosixFiles(tmp_path / "log")
    files.create("one")
    asked.begin()
    files.write("one", 0, b"data")
    files.sync("one")
    files.sync_directory()
    files.close()
    assert asked.calls == [("write", "log/one"), ("sync", "log/one"), ("sync", "log")]


def test_an_append_to_real_files_returns_after_its_sync(asked: Asked, tmp_path: Path) -> None:
    log, _ = opened(PosixFiles(tmp_path / "log"))
    asked.begin()
    log.append([record(1)])
    log.close()
    assert asked.calls == [("write", f"log/{FIRST}"), ("sync", f"log/{FIRST}")]


def test_a_directory_that_is_made_is_there_after_a_power_cut_and_so_are_those_above_it(
    asked: Asked, tmp_path: Path
) -> None:
    PosixFiles(tmp_path / "new" / "data" / "log").close()
    assert {name for what, name in asked.calls if what == "sync"} == {".", "new", "new/data"}


def test_the_directory_of_a_vote_file_is_there_after_a_power_cut(asked: Asked, tmp_path: Path) -> None:
    file = VoteFile(tmp_path / "new" / "data" / "votes")
    assert file.load() is None
    file.close()
    assert {name for what, name in asked.calls if what == "sync"} >= {".", "new", "new/data"}


def test_a_log_directory_that_a_killed_process_has_made_is_made_durable(asked: Asked, tmp_path: Path) -> None:
    """It was killed between the two."""
    (tmp_path / "log").mkdir()
    PosixFiles(tmp_path / "log").close()
    assert ("sync", ".") in asked.calls


def test_a_vote_is_written_and_synced_before_it_counts(asked: Asked, tmp_path: Path) -> None:
    file = VoteFile(tmp_path / "votes")
    file.load()
    asked.begin()
    file.store(b"promise")
    assert asked.calls == [("write", "votes"), ("write", "votes"), ("sync", "votes")], "both copies, before one sync"
    file.close()


def test_what_takes_the_place_of_a_vote_file_is_whole_before_and_there_for_good_after(
    asked: Asked, tmp_path: Path
) -> None:
    """A name that is durable before what it stands for is an empty vote file; a name that never is, an older promise."""
    file = VoteFile(tmp_path / "votes")
    file.load()
    asked.begin()
    file.store(bytes(SLOT_BYTES_MIN))
    file.close()
    assert [call for call in asked.calls if call[0] != "write"] == [
        ("sync", "votes.new"),
        ("replace", "votes"),
        ("sync", "."),
    ]


def test_a_vote_file_is_durable_before_it_is_believed_and_so_is_its_name(asked: Asked, tmp_path: Path) -> None:
    """The process before was killed between a write and its sync, or between a replacement and the sync of the directory,
    which the page cache survives.  What its successor says must survive a power cut, too."""
    file = VoteFile(tmp_path / "votes")
    file.load()
    file.store(b"promise")
    file.close()
    asked.begin()
    file = VoteFile(tmp_path / "votes")
    assert file.load() == b"promise"
    file.close()
    before = asked.calls[: asked.calls.index(("read", "votes"))]
    assert {("sync", "votes"), ("sync", ".")} <= set(before)


def test_a_backup_is_whole_before_it_gets_its_name_and_there_for_good_after(asked: Asked, tmp_path: Path) -> None:
    file = PartFile(tmp_path / "store.backup", overwrite=False)
    file.write(b"all of it")
    file.publish()
    assert asked.calls == [("sync", "store.backup.part"), ("replace", "store.backup"), ("sync", ".")]


def test_a_repair_sets_files_aside_for_good_before_it_begins_another(asked: Asked, tmp_path: Path) -> None:
    files = PosixFiles(tmp_path / "log")
    log, _ = opened(files)
    for n in range(20):
        log.append([record(n)])
    log.close()
    (tmp_path / "log" / FIRST).write_bytes(b"damaged" * 100)
    asked.begin()
    assert repair(tmp_path / "log", really=True)
    changes = [call for call in asked.calls if call[0] != "read"]
    assert changes[0] == ("sync", "log"), "else the files could be back, and be taken for what follows the new one"


# --- what a killed process leaves in the page cache -----------------------------------------------------------------


@pytest.mark.parametrize("killed_in", ["sync", "sync directory"])
def test_what_a_killed_process_had_not_synced_is_durable_before_it_is_believed(killed_in: str) -> None:
    """It was killed in the sync of its records, or, beginning a segment, before the sync of the directory.  Its successor
    finds all that it had written, goes on behind that, and loses power."""
    files = PowerFiles()
    log, _ = opened(files, segment_bytes=1)  # each append begins one
    log.append([record(0)])
    before = len(files.done)
    log.append([record(1)])
    kinds = [operation.what for operation in files.done[before:]]
    assert kinds == ["create", "write", "sync", "sync directory", "write", "sync"]

    files = PowerFiles()
    log, _ = opened(files, segment_bytes=1)
    log.append([record(0)])
    files.fail_at = before + (5 if killed_in == "sync" else 3)
    with pytest.raises(OSError, match="Input/output"):
        log.append([record(1)])
    files.fail_at = None
    log, found = opened(files)
    believed = list(found.records)
    assert believed == [record(n) for n in range(2 if killed_in == "sync" else 1)]
    recovered = len(files.done)
    log.append([b"later"])
    for count, sure in ((recovered, believed), (len(files.done), [*believed, b"later"])):
        for luck in range(40):
            left = files.after_power_cut(count, random.Random(luck))
            assert list(read(left).records)[: len(sure)] == sure
