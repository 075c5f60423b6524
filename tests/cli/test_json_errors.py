"""With --json what goes wrong is one JSON object on standard error, and the exit status is what it is without."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phalanx.cli.main import command_line, main
from tests.cli.node import a_node

NOBODY = ["-e", "127.0.0.1:9"]


def shell(*line: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(command_line([line[0]]), line)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (["kv", "put", "k", "v", *NOBODY, "--timeout", "0.1"], "not done"),
        (["kv", "get", "k", *NOBODY, "--timeout", "0.1"], "not done"),
        (["txn", "--then", "get k", *NOBODY, "--timeout", "0.1"], "not done"),
        (["backup", "no/such/folder/file", *NOBODY, "--timeout", "0.1"], "not done"),
        (["restore", "no-such-file"], "failed"),
        (["log", "dump", "no-such-folder"], "failed"),
    ],
    ids=lambda line: " ".join(line[:2]) if isinstance(line, list) else "",
)
def test_an_error_is_an_object_with_the_words_that_it_has_without(line: list[str], kind: str) -> None:
    status, out, words = shell(*line)
    assert status != 0 and out == ""
    as_json = shell(*line, "--json")
    assert as_json[:2] == (status, "")
    told = json.loads(as_json[2])
    assert (told["kind"], told["status"]) == (kind, status)
    assert told["error"].split("(")[0] == words.strip().split("(")[0]
    assert shell(*line)[2] == words, "and the next command tells it in words again"


def test_of_several_nodes_each_that_does_not_answer_is_told_of_and_the_result_stands() -> None:
    with a_node() as address:
        status, out, error = shell("status", "--json", "-e", address, *NOBODY, "--timeout", "1")
    assert status == 0
    assert json.loads(out)["127.0.0.1:9"] is None and json.loads(out)[address]["node"] == "a"
    told = json.loads(error)
    assert told.keys() == {"error", "kind", "endpoint"} and told["endpoint"] == "127.0.0.1:9"


def test_a_damaged_backup_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    file.write_bytes(b"something else" * 10)
    status, out, error = shell("backup", "--verify", "--json", str(file))
    assert (status, out) == (1, "")
    assert json.loads(error)["kind"] == "damaged"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["kv", "get"], "Missing argument"),
        (["kv", "get", "k", "--no-such-option"], "No such option"),
        (["kv", "get", "k", "--timeout", "soon"], "--timeout"),
        (["kv", "get", "k", "-e", "nowhere"], "'nowhere' is no address"),
        (["kv", "frob"], "No such command"),
        (["elect", "e"], "give a command, or --observe"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_told_so_as_well(
    words: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["phalanx", *words, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    out, error = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    told = json.loads(error)
    assert (told["kind"], told["status"]) == ("usage", 2)
    assert says in told["error"]


def test_it_does_not_matter_where_in_the_line_it_stands_nor_what_is_wrong_before_it() -> None:
    for line in (["kv", "get", "--json"], ["kv", "--json", "get", "k"], ["kv", "get", "--frob", "k", "--json"]):
        status, out, error = shell(*line)
        assert (status, out) == (2, "") and json.loads(error)["kind"] == "usage"
    assert "Missing argument" in shell("kv", "get")[2], "and the next line is answered in words"


def test_what_stands_behind_two_dashes_is_another_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["phalanx", "kv", "get", "--", "a", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert not capsys.readouterr().err.startswith("{")
