"""`phalanx log`: exit statuses, and what a repair keeps (SCENARIOS 6)."""

import json
import os
import subprocess
import sys
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
    spool.append(framed(next(replica.slices(1 << 16))))
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
    for command in ("verify", "dump"):
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
