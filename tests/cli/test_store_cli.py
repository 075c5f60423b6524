"""`phalanx kv`, `txn`, `watch` and `lease` against a node."""

import json
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from phalanx.cli.main import command_line
from tests.cli.node import a_node

Shell = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with a_node() as found:
        yield found


@pytest.fixture
def shell(address: str) -> Shell:
    """Runs a command; its exit status, and what it prints: JSON decoded, if it is asked for."""

    def command(*words: str) -> tuple[int, Any]:
        done = CliRunner().invoke(command_line(), [*words, "--endpoint", address])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        if "--json" in words and done.stdout:
            return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]
        return done.exit_code, done.stdout

    return command


def test_keys(shell: Shell) -> None:
    _, (before,) = shell("kv", "info", "--json")
    for value in ("1", "2"):
        assert shell("kv", "put", "keys/a", value)[0] == 0
    revision = before["revision"] + 2
    assert shell("kv", "get", "keys/a") == (0, "2\n")
    assert shell("kv", "get", "keys/a", "--at", str(revision - 1)) == (0, "1\n")
    assert shell("kv", "get", "keys/a", "--at", "1d ago") == (5, ""), "it was not there yet"
    assert shell("kv", "count", "keys/", "keys/b", "--at", "2001-01-01T00:00:00Z") == (0, "0\n")
    assert shell("kv", "get", "keys/a", "--at", "2999-01-01T00:00:00Z")[0] == 3, "it is to come"
    for words in ("yesterday", "2026-11-21T09:00:00", "-1s ago", "9" * 400 + "x"):
        assert shell("kv", "get", "keys/a", "--at", words)[0] == 2
    assert shell("kv", "get", "keys/none", "--json") == (5, [None])
    assert shell("kv", "cas", "keys/a", "1", "3")[0] == 5
    assert shell("kv", "cas", "keys/b", "--absent", "3") == (0, "set\n")
    _, (found,) = shell("kv", "range", "keys/", "--prefix", "--json")
    assert [(item["key"], item["value"]) for item in found["items"]] == [("keys/a", "2"), ("keys/b", "3")]
    assert shell("kv", "count", "keys/", "keys/b") == (0, "1\n")
    _, (rows,) = shell("kv", "history", "keys/a", "--json")
    assert [row["value"] for row in rows] == ["1", "2"]
    assert "keys/b" in shell("kv", "range", "keys/", "--prefix")[1]
    assert shell("kv", "compact", str(revision + 1))[0] == 0
    assert shell("kv", "get", "keys/a", "--at", "1")[0] == 3
    assert shell("kv", "compact", "--keep", "60")[0] == 0
    assert shell("kv", "compact")[0] == 2
    assert shell("kv", "delete", "keys/", "--prefix", "--json") == (0, [{"deleted": 2}])
    assert shell("kv", "delete", "keys/a")[0] == 5
    assert shell("kv", "put", "keys/c", "3")[0] == 0
    assert shell("kv", "delete", "", "--prefix")[0] == 2, "an unset variable of a shell"
    assert shell("kv", "delete", "--all") == (0, "deleted 1\n")


def test_transactions(shell: Shell) -> None:
    words = [
        "--when",
        "absent txn/a",
        "--when",
        "version txn/a == 0",
        "--then",
        "put txn/a 'x y'",
        "--else",
        "get txn/a",
    ]
    status, (done,) = shell("txn", *words, "--json")
    assert (status, done["succeeded"], done["results"][0]["put"]) == (0, True, "txn/a")
    status, (done,) = shell("txn", *words, "--json")
    assert (status, done["results"][0]["found"]["value"]) == (5, "x y")
    operations = ["--then", "range txn/ txn0", "--then", "delete txn/a", "--then", "delete-range txn/b txn/c"]
    status, text = shell("txn", "--when", "value txn/a != z", "--when", "created txn/a > 0", *operations)
    assert status == 0 and "deleted 1" in text and "deleted 0" in text
    words = ["--then", "append txn/q/ one", "--then", "append txn/q/ 'two words'"]
    status, (done,) = shell("txn", *words, "--json")
    keys = [result["appended"] for result in done["results"]]
    assert status == 0 and keys == sorted(keys) and all(key.startswith("txn/q/") for key in keys)
    assert shell("kv", "get", keys[1])[1].strip().endswith("two words")
    for wrong in ("--when", "version k =="), ("--then", "append k"), ("--then", "put k"), ("--when", "size k == 3"):
        assert shell("txn", *wrong)[0] == 2


def test_watch_prints_what_happens(shell: Shell) -> None:
    _, (before,) = shell("kv", "info", "--json")
    for value in ("1", "2"):
        shell("kv", "put", "watch/a", value)
    shell("kv", "delete", "watch/a")
    words = ("watch", "watch/", "--prefix", "--after", str(before["revision"]), "--previous", "-n", "3")
    first = before["revision"] + 1
    lines = f"{first} put watch/a 1\n{first + 1} put watch/a 2 (was 1)\n{first + 2} delete watch/a (was 2)\n"
    assert shell(*words) == (0, lines)
    _, events = shell("watch", "watch/a", "--after", str(before["revision"]), "-n", "2", "--json")
    assert [(event["type"], event["item"]["value"]) for event in events] == [("put", "1"), ("put", "2")]
    assert shell("watch", "a", "b", "--prefix")[0] == 2


def test_leases(shell: Shell) -> None:
    _, (lease,) = shell("lease", "grant", "5", "--json")
    name = str(lease["id"])
    assert shell("kv", "put", "lease/a", "1", "--lease", name)[0] == 0
    assert shell("lease", "keep", name, "--once")[0] == 0
    _, (found,) = shell("lease", "show", name, "--json")
    assert found["keys"] == ["lease/a"] and 0 < found["remaining_ms"] <= 5000
    assert "lease/a" in shell("lease", "show", name)[1]
    assert lease["id"] in [row["id"] for row in shell("lease", "list", "--json")[1][0]]
    assert shell("lease", "revoke", name) == (0, "revoked\n")
    assert shell("kv", "get", "lease/a")[0] == 5
    assert [shell("lease", word, name)[0] for word in ("revoke", "show", "keep")] == [5, 5, 5]
    assert shell("kv", "put", "lease/a", "1", "--lease", name)[0] == 1
    assert shell("lease", "grant", "0.1")[0] == 2


@pytest.mark.parametrize("words", [["kv", "get", "k", "-e", "localhost"], ["status", "-e", "localhost"]])
def test_an_endpoint_that_is_no_address_is_a_mistake_of_the_command_line(words: list[str]) -> None:
    done = CliRunner().invoke(command_line(), words)
    assert done.exit_code == 2
    assert "'localhost' is no address: it has no port" in done.output


def test_tables_are_cut_nowhere(shell: Shell, address: str) -> None:
    value = "long" * 100
    shell("kv", "put", "long/a", value)
    assert value in shell("kv", "range", "long/", "--prefix")[1]
    status, told = shell("status")
    assert status == 0
    (row,) = [line for line in told.splitlines() if address in line]
    assert "member" in row


def test_only_the_cluster_that_is_meant_is_asked(shell: Shell, address: str) -> None:
    _, (answers,) = shell("status", "--json")
    assert shell("kv", "put", "which", "1", "--cluster", answers[address]["cluster"])[0] == 0
    assert shell("kv", "put", "which", "2", "--cluster", "c0ffee") == (3, ""), "not done"
    assert shell("kv", "get", "which", "--cluster", "mine")[0] == 2, "no id"
    named = {"PHALANX_CLUSTER": "c0ffee", "PHALANX_ENDPOINTS": address}
    for words in (
        "kv get which",
        "kv delete which",
        "kv cas which 1 2",
        "kv compact --keep 60",
        "txn --then 'delete which'",
        "lease grant 30",
        "lock which -- true",
        "elect which -- true",
        "watch which",
    ):
        done = CliRunner().invoke(command_line(), shlex.split(words), env=named)
        assert (done.exit_code, done.stdout) == (3, ""), words
        assert "c0ffee" in done.stderr
    assert shell("kv", "get", "which") == (0, "1\n")
