"""`phalanx log`: exit statuses, and what a repair keeps (SCENARIOS 6)."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phalanx.api.storage import RECORDS
from phalanx.cli.log import log_app
from phalanx.group.messages import Ceiling, Chunk, Data, Decision, Record, Turned
from phalanx.group.seat import Seat
from phalanx.model.view import Group, GroupSpec, Member, View
from phalanx.parts.spool import Spool, framed
from phalanx.replication import entries
from phalanx.replication.objects import describe
from phalanx.replication.replica import Replica
from phalanx.runtime.files import PosixFiles
from phalanx.runtime.log import Log
from phalanx.runtime.segments import HEAD_BYTES, encode_head, name_of
from phalanx.services.store.kv import KV

KIND = describe(KV)


def batch(number: int) -> Data:
    return Data(1, 7, 0, number, number << 16, 1, -1, (), [b"x" * 100])


RECORDED: list[Record] = [Ceiling(5), *map(batch, range(1, 12))]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a log of several segments."""
    log = Log(PosixFiles(tmp_path / "log"), segment_bytes=600)
    log.recover()
    for record in RECORDED:
        log.append([RECORDS.encode(record)])
    log.close()
    return tmp_path


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(log_app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def segments(data: Path) -> list[Path]:
    return sorted((data / "log").glob("*.log"))


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_whole_log_verifies_with_0_and_is_dumped_record_by_record(data: Path) -> None:
    assert run("verify", data) == (0, "12 records\n")
    status, output = run("dump", data, "--json")
    rows = [json.loads(line) for line in output.splitlines()]
    assert status == 0
    assert [row["is"] for row in rows] == ["ceiling"] + ["batch"] * 11
    assert rows[3] == {
        "record": 3, "is": "batch", "group": 7, "view": 1, "host": 0, "number": 3, "stamp": 3 << 16, "payloads": 1,
        "bytes": 100,
    }  # fmt: skip
    assert run("dump", data, "--from", "11")[1] == "record=11 is=batch group=7 view=1 host=0 number=11 " + (
        f"stamp={11 << 16} payloads=1 bytes=100\n"
    )


def test_a_torn_tail_verifies_with_1(data: Path) -> None:
    last = segments(data)[-1]
    last.write_bytes(last.read_bytes()[:-3])
    status, output = run("verify", data)
    assert status == 1
    assert "11 records" in output
    assert "possibly lost" in output
    assert run("repair", data) == (0, "nothing is damaged\n"), "the next start deals with that"


def test_no_log_verifies_with_3(tmp_path: Path) -> None:
    assert run("verify", tmp_path / "nowhere")[0] == 3
    assert run("dump", tmp_path / "nowhere")[0] == 3
    assert run("repair", tmp_path / "nowhere")[0] == 3
    assert run("repair", tmp_path / ("n" * 1000))[0] == 3


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("at", [3, 60, 200])
def test_damage_verifies_with_2_and_is_repaired_only_by_force(data: Path, which: int, at: int) -> None:
    flip(segments(data)[which], at)
    before = {path.name: path.read_bytes() for path in (data / "log").iterdir()}
    status, output = run("verify", data)
    assert status == 2
    assert output.startswith("damaged: ")
    status, line = run("dump", data, "--json")
    assert (status, json.loads(line)) == (2, {"damaged": output.removeprefix("damaged: ").strip()})
    status, output = run("repair", data)
    assert status == 2
    assert "nothing was changed" in output
    assert {path.name: path.read_bytes() for path in (data / "log").iterdir()} == before
    assert run("repair", data, "--force")[0] == 0
    status, output = run("verify", data)
    assert status == 1
    assert "possibly lost" in output
    kept = Log(PosixFiles(data / "log")).recover()
    assert [RECORDS.decode(record) for record in kept.records] == RECORDED[: len(kept.records)]
    assert kept.lost == (not kept.records), "a log that begins anew is no proof of anything"
    aside = [path.read_bytes() for path in (data / "log").glob("*.aside")]
    assert all(content in before.values() for content in aside), "nothing is erased"


def test_a_repair_gives_up_what_follows_a_file_that_was_cut_short(data: Path) -> None:
    first = segments(data)[0]
    first.write_bytes(first.read_bytes()[:-150])
    assert run("verify", data)[0] == 2
    assert run("repair", data, "--force")[0] == 0
    assert run("verify", data)[0] == 1
    kept = Log(PosixFiles(data / "log")).recover()
    assert 0 < len(kept.records) < 5
    assert not kept.lost


def remove(*files: Path) -> None:
    for file in files:
        file.unlink()


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


def remove_first_and_cut(files: list[Path]) -> None:
    remove(files[0])
    cut_short(files[1])


def swap(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def misplace(to: Path, source: Path) -> None:
    """The records of one segment behind the head of another."""
    to.write_bytes(to.read_bytes()[:HEAD_BYTES] + source.read_bytes()[HEAD_BYTES:])


DAMAGES: dict[str, Callable[[list[Path]], object]] = {
    "the oldest is missing": lambda s: s[0].unlink(),
    "all but the last are missing": lambda s: remove(*s[:-1]),
    "the oldest is missing, and a later one damaged": remove_first_and_cut,
    "one is missing in the middle": lambda s: s[1].unlink(),
    "one is empty": lambda s: s[1].write_bytes(b""),
    "the beginning of one is bad": lambda s: flip(s[1], 3),
    "a record is bad": lambda s: flip(s[1], 200),
    "one is cut short": lambda s: cut_short(s[1]),
    "two have changed places": lambda s: swap(s[0], s[1]),
    "the first is the last": lambda s: s[0].write_bytes(s[-1].read_bytes()),
    "the last is the first": lambda s: s[-1].write_bytes(s[0].read_bytes()),
    "the last has another name": lambda s: s[-1].rename(s[-1].with_name(name_of(99))),
    "a record is in another's place": lambda s: misplace(s[1], s[0]),
    "a record of the last is in another's place": lambda s: misplace(s[-1], s[0]),
    "one has other records than it says": lambda s: s[1].write_bytes(
        encode_head(2, 99, s[0].stat().st_size, 0) + s[1].read_bytes()[HEAD_BYTES:]
    ),
    "one that is none": lambda s: s[0].with_name("daemon.log").write_text("something of a daemon" * 10),
}
"""What a disk, or somebody who copies files, can make of the segments of a log."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_found_to_be_damaged_is_repaired(damage: str, data: Path) -> None:
    DAMAGES[damage](segments(data))
    there = sorted(path.read_bytes() for path in segments(data))
    status, found = run("verify", data)
    assert status == 2 and found.startswith("damaged: ")
    status, output = run("repair", data)
    assert status == 2 and found.strip() in output and "nothing was changed" in output
    assert run("repair", data, "--force")[0] == 0
    assert run("verify", data)[0] == 1, "possibly lost, and damaged no more"
    assert run("repair", data) == (0, "nothing is damaged\n")
    kept = Log(PosixFiles(data / "log")).recover()
    assert [RECORDS.decode(record) for record in kept.records] == RECORDED[: len(kept.records)]
    left = sorted(path.read_bytes() for path in (data / "log").iterdir())
    assert all(content in left for content in there), "nothing is erased"


def test_a_second_repair_leaves_what_the_first_has_set_aside(data: Path) -> None:
    last = segments(data)[-1]
    for life in (b"one", b"other"):
        last.write_bytes(life * 100)
        assert run("repair", data, "--force")[0] == 0
        assert len(segments(data)) == 3, "a new one has the name of the damaged one"
    aside = sorted((data / "log").glob("*.aside"))
    assert [path.read_bytes()[:5] for path in aside] == [b"other", b"oneon"]


def test_a_repair_of_a_log_in_use_is_refused(data: Path) -> None:
    from phalanx.runtime.disk import VoteFile

    node = VoteFile(data / "votes")
    flip(segments(data)[1], 60)
    assert run("repair", data, "--force")[0] == 3
    node.close()
    assert run("repair", data, "--force")[0] == 0


def test_a_dump_says_which_version_of_a_class_a_state_is_of_and_where_the_group_goes_over(tmp_path: Path) -> None:
    """By which one knows whether a node still needs the code of a former version."""
    member = Member("a", "a:1", 1)
    replica = Replica(KIND, Group(7, GroupSpec("KV", contract=KIND.contract), ("a",)), member)
    view = View(1, 1, (member,), groups=(replica.group,))
    upgrade = entries.encode(entries.Upgrade(1, 1, 2, "object/2:2:x", ("a",)))
    spool = Spool(1 << 16)
    Seat.begin_packing(spool, [])
    (data,) = replica.slices(1 << 16)
    assert data is not None
    spool.append(framed(data))
    told: list[Record] = [
        Turned(Decision(0, view, (), 5)),
        Data(1, 7, 0, 1, 5, 1, -1, (), [b"?", upgrade]),
        Data(1, 8, 0, 1, 5, 1, -1, (), [upgrade]),
        Chunk(7, 1, 1, (1,), spool.digest, 0, len(spool), spool.read(0, len(spool))),
    ]
    log = Log(PosixFiles(tmp_path / "log"))
    log.recover()
    log.append([RECORDS.encode(record) for record in told])
    log.close()
    rows = [json.loads(line) for line in run("dump", tmp_path, "--json")[1].splitlines()]
    assert [(row.get("upgrade"), row.get("version")) for row in rows] == [
        (None, None), ("1->2", None), (None, None), (None, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("there", ["nothing", "a log directory without files", "a log of something else"])
def test_a_directory_without_a_log_is_not_a_whole_log(tmp_path: Path, there: str) -> None:
    if there == "a log directory without files":
        (tmp_path / "log").mkdir()
    elif there != "nothing":
        (tmp_path / "daemon.log").write_text("something of a daemon" * 10)
    for command in ("verify", "dump", "repair"):
        status, output = run(command, tmp_path)
        assert status == 3
        assert "there is no log in" in output


@pytest.mark.parametrize("left", [0, 20])
@pytest.mark.parametrize("all_of_it", [False, True])
def test_a_last_segment_without_a_beginning_is_possibly_lost(data: Path, all_of_it: bool, left: int) -> None:
    """Nobody can tell it from one that was never written to: the next start takes it for that."""
    *before, last = segments(data)
    for segment in before if all_of_it else []:
        segment.unlink()
    last.write_bytes(last.read_bytes()[:left])
    content = {path.name: path.read_bytes() for path in segments(data)}
    status, output = run("verify", data)
    what = "all of this log" if all_of_it else "what came after these records"
    assert status == 1 and f"possibly lost: {what}: {last.name} has no beginning" in output
    status, output = run("dump", data)
    assert status == 1 and "possibly lost" in output
    assert content == {path.name: path.read_bytes() for path in segments(data)}
    assert Log(PosixFiles(data / "log")).recover().unbegun == last.name


def test_a_segment_whose_beginning_is_bad_though_something_was_written_behind_it_is_damaged(data: Path) -> None:
    """Its beginning had been synced before anything was."""
    last = segments(data)[-1]
    last.write_bytes(bytes(last.stat().st_size))
    assert run("verify", data)[0] == 2
    assert run("repair", data, "--force")[0] == 0
    assert run("verify", data)[0] == 1


def test_who_reads_no_further_says_nothing_of_the_log(data: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "phalanx", "log", "dump", str(data)], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_log_whose_oldest_files_are_missing_is_damaged(data: Path) -> None:
    segments(data)[0].unlink()
    status, output = run("verify", data)
    assert (status, output) == (2, "damaged: its oldest files are missing, and no snapshots stand for them\n")
    assert run("dump", data)[0] == 2
