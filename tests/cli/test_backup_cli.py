"""`phalanx backup` and `phalanx restore`, with their exit statuses."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phalanx.cli.main import command_line
from tests.cli.node import a_node


def shell(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command_line(), [*words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


@pytest.fixture
def nodes() -> Iterator[tuple[str, str]]:
    """Two clusters."""
    with a_node() as one, a_node() as other:
        yield one, other


def test_a_store_goes_into_a_file_and_into_another_cluster(nodes: tuple[str, str], tmp_path: Path) -> None:
    one, other = nodes
    path = tmp_path / "kv.backup"
    file = str(path)
    for n in range(3):
        assert shell("kv", "put", f"key {n}", "value", "--endpoint", one)[0] == 0
    status, text = shell("backup", file, "--endpoint", one, "--json")
    told = json.loads(text)
    assert (status, told["keys"], told["revision"], told["store"]) == (0, 3, 3, "KV")
    assert shell("backup", file, "--endpoint", one)[0] == 1, "it is there already"
    status, text = shell("backup", file, "--endpoint", one, "--force")
    assert status == 0 and text.startswith("backed up: 3 keys and 0 leases of KV in cluster")
    status, text = shell("backup", "--verify", file, "--json")
    assert (status, json.loads(text)["digest"]) == (0, told["digest"])

    sound = path.read_bytes()
    path.write_bytes(sound[:-5])
    for words in (("backup", "--verify", file), ("restore", file, "--endpoint", other)):
        status, text = shell(*words)
        assert status == 1 and "at byte" in text
    assert shell("kv", "count", "--endpoint", other) == (0, "0\n")
    path.write_bytes(sound)
    status, text = shell("restore", file, "--endpoint", other)
    assert status == 0 and "restored: 3 keys" in text and "revision 3" in text
    assert shell("kv", "get", "key 2", "--endpoint", other) == (0, "value\n")
    assert shell("restore", file, "--endpoint", other)[0] == 3, "it is not empty"


def test_a_file_that_cannot_be_read_or_written_and_a_node_that_is_not_there(tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    assert shell("backup", "--verify", none)[0] == 2
    assert shell("restore", none)[0] == 2
    assert shell("backup", str(tmp_path), "--verify")[0] == 2, "a directory"
    nobody = ("--endpoint", "127.0.0.1:9", "--timeout", "0.2")
    assert shell("backup", none, *nobody)[0] == 3
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_no_place_for_a_backup(nodes: tuple[str, str], tmp_path: Path) -> None:
    assert shell("backup", str(tmp_path / "none" / "file"), "--endpoint", nodes[0])[0] == 2
