"""The root of the command line: every subcommand is there, and none has to wait for what the others import."""

import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from phalanx.cli.main import COMMANDS, command_line, main

PROGRAM = """
import sys
from phalanx.cli.main import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""

FOR_SOME = {"phalanx.lab", "phalanx.sim", "phalanx.check", "phalanx.diagram"}
"""Layers that only some of the commands need."""


def loaded_by(*words: str) -> set[str]:
    """The modules that a process has imported when it has done that."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], env=os.environ, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_every_command_is_listed() -> None:
    done = CliRunner().invoke(command_line(), ["--help"], env={"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200"})
    assert done.exit_code == 0
    assert set(re.findall(r"^[│|\s]*([a-z]+)  +[A-Z]", done.stdout, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_the_same_without_the_others(name: str) -> None:
    alone, among = (CliRunner().invoke(command_line(names), [name, "--help"]) for names in ([name], COMMANDS))
    assert (alone.exit_code, alone.stdout) == (0, among.stdout)


def test_only_what_is_asked_for_is_imported() -> None:
    """`phalanx kv get` in a script, and a node that comes back, wait for the interpreter and not for the laboratory."""
    told, served = loaded_by("--version"), loaded_by("serve", "--help")
    assert {name for name in told if name.startswith("phalanx.cli.")} == {"phalanx.cli.complaints", "phalanx.cli.main"}
    assert "phalanx.cli.serve" in served
    assert not served & FOR_SOME and not loaded_by("kv", "--help") & FOR_SOME
    assert loaded_by("sim", "--help") >= {"phalanx.sim", "phalanx.lab"}


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["simulate"], 2, "No such command"),
        (["--seeds"], 2, "No such option"),
        ([], 2, "soak"),
        (["--help"], 0, "soak"),
    ],
)
def test_what_is_no_command_is_answered_by_all(
    words: list[str], status: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["phalanx", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    assert told in "".join(capsys.readouterr())


def test_an_interrupt_while_a_command_is_imported_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("phalanx.cli.main.command_line", interrupted)
    monkeypatch.setattr(sys, "argv", ["phalanx", "status"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_whose_standard_streams_are_closed_ends_as_it_would(closed: str) -> None:
    words = f"-m phalanx status --endpoint 127.0.0.1:9 --timeout 0.1 {closed}"
    done = subprocess.run(["/bin/sh", "-c", f'exec "$0" {words}', sys.executable], capture_output=True, check=False)
    assert done.returncode == 3
