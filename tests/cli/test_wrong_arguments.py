"""Arguments that cannot be meant: one message that says which, no traceback, and nothing has happened."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phalanx.cli.main import command_line
from tests.cli.node import a_node
from tests.cli.test_sim_cli import is_told


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with a_node() as found:
        yield found


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(command_line([words[0]]), list(words), env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize(
    "words",
    [
        ["lease", "show", "9" * 30],
        ["kv", "get", "k", "--at", "9" * 30],
        ["kv", "range", "--limit", "9" * 30],
        ["txn", "--when", f"version k == {'9' * 30}"],
    ],
)
def test_a_number_that_is_too_large_is_a_wrong_argument(words: list[str], address: str) -> None:
    status, output = run(*words, "-e", address)
    assert status == 2 and "a number is too large: nothing has happened" in output


@pytest.mark.parametrize("option", ["--when", "--then", "--else"])
@pytest.mark.parametrize(("text", "why"), [("value 'k", "no closing quotation"), ("put k v \u00b2", "is no ")])
def test_a_condition_or_an_operation_that_cannot_be_read_is_a_wrong_argument(option: str, text: str, why: str) -> None:
    status, output = run("txn", option, text)
    assert status == 2 and why in output


def test_a_command_to_restart_with_that_cannot_be_split_is_a_wrong_argument() -> None:
    status, output = run("roll", "--command", "systemctl 'restart {name}")
    assert status == 2 and "no closing quotation" in output


def test_a_command_that_cannot_be_run_is_named(address: str) -> None:
    assert run("lock", "l", "-e", address, "--", "no-such-command") == (
        127,
        "no-such-command: No such file or directory\n",
    )


def test_a_call_has_more_time_than_none() -> None:
    assert run("kv", "get", "k", "--timeout", "-1")[0] == run("status", "--timeout", "0")[0] == 2


def test_who_waits_for_a_lock_is_told_whether_anybody_holds_it_or_nobody_is_there(address: str) -> None:
    status, output = run("lock", "l", "-e", "127.0.0.1:9", "--wait", "0.1", "--", "true")
    assert (status, output) == (3, "not done: no node has served it in time: 127.0.0.1:9\n")
    words = ["lock", "held", "-e", address]
    inner = [sys.executable, "-m", "phalanx", *words, "--wait", "0.5", "--", "true"]
    assert run(*words, "--", *inner)[0] == 5


WRONG_TEXT = os.fsdecode(b"\xff")


@pytest.mark.parametrize(
    "words",
    [
        ["kv", "get", WRONG_TEXT],
        ["kv", "put", "k", WRONG_TEXT],
        ["kv", "delete", WRONG_TEXT],
        ["kv", "cas", "k", WRONG_TEXT, "v"],
        ["kv", "range", WRONG_TEXT],
        ["txn", "--then", f"put k {WRONG_TEXT}"],
        ["watch", WRONG_TEXT],
        ["lock", WRONG_TEXT, "true"],
        ["elect", "e", "--data", WRONG_TEXT, "true"],
        ["elect", WRONG_TEXT, "--observe"],
    ],
)
def test_bytes_that_are_no_text_are_a_wrong_argument(words: list[str], address: str) -> None:
    status, output = run(*words, "-e", address)
    assert status == 2 and "is no UTF-8, which keys and values are here" in output


def test_utf8_is_taken_where_the_locale_knows_none_of_it(address: str) -> None:
    """In the locale C, where Python is told not to leave it, bytes beyond ASCII come as halves of surrogate pairs."""
    word = "gr\u00fcn".encode().decode("ascii", "surrogateescape")
    assert run("kv", "put", word, word, "-e", address)[0] == 0
    assert run("kv", "get", "gr\u00fcn", "-e", address) == (0, "gr\u00fcn\n")


@pytest.mark.parametrize("words", [["k"], ["k", "old"], ["k", "--absent"], ["k", "old", "new", "--absent"]])
def test_what_cas_expects_and_sets_is_never_guessed(words: list[str], address: str) -> None:
    """One value alone was taken for the expected one, and the key set to nothing."""
    assert run("kv", "put", "k", "old", "-e", address)[0] == 0
    status, output = run("kv", "cas", *words, "-e", address)
    assert status == 2 and "with --absent only the new one" in output
    assert run("kv", "get", "k", "-e", address) == (0, "old\n")


def test_a_time_that_is_no_deadline_is_a_wrong_argument(address: str) -> None:
    for words in (["kv", "get", "k"], ["status"], ["backup", "file"]):
        for time in ("inf", "1e10"):
            assert run(*words, "-e", address, "--timeout", time)[0] == 2


def test_a_watch_from_a_revision_that_cannot_be_is_a_wrong_argument(address: str) -> None:
    status, output = run("watch", "k", "--after", "9" * 30, "-n", "1", "-e", address)
    assert status == 2 and "`after` is at most" in output


@pytest.mark.parametrize("endpoint", ["[::1:1", "::1]:1", "a]:1"])
def test_brackets_that_do_not_match_make_no_address(endpoint: str) -> None:
    status, output = run("kv", "get", "k", "-e", endpoint)
    assert status == 2 and "is no address" in output


def test_a_command_that_a_signal_ended_has_the_exit_status_that_shells_give_it(address: str) -> None:
    assert run("lock", "l", "-e", address, "--", "sh", "-c", "kill -9 $$")[0] == 128 + 9


def test_a_corpus_is_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    status, output = run("sim", "--guided", "--corpus", str(file), "--seeds", "1")
    assert status == 2 and is_told("is no folder", output)
