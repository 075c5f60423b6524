"""Arguments that cannot be meant: one message that says which, no traceback, and nothing has happened."""

import sys
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from phalanx.cli.main import command_line
from tests.cli.node import a_node


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
        ["lease", "grant", "1e300"],
        ["lease", "show", "9" * 30],
        ["kv", "get", "k", "--at", "9" * 30],
        ["kv", "range", "--limit", "9" * 30],
        ["kv", "compact", "--keep", "1e300"],
        ["txn", "--when", f"version k == {'9' * 30}"],
    ],
)
def test_a_number_that_is_too_large_is_a_wrong_argument(words: list[str], address: str) -> None:
    status, output = run(*words, "-e", address)
    if "1e300" in words:  # refused by the client
        assert status == 1 and "from 0 to 1e+09 seconds, not 1e+300" in output
    else:
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
