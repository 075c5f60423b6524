"""`phalanx lock` and `phalanx elect` against a node (SCENARIOS 32)."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phalanx.cli import holding
from phalanx.cli.commands import Command
from phalanx.cli.main import command_line
from tests.cli.node import a_node

TELL = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(os.environ['PHALANX_TOKEN']); sys.exit(7)"
REVOKE = """
import asyncio, sys
import phalanx
async def main():
    async with phalanx.connect(sys.argv[1]) as client:
        [lease] = await client.kv().leases()
        await client.kv().revoke(lease.id)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with a_node() as found:
        yield found


def shell(address: str, *words: str) -> tuple[int, str]:
    before = 2 if words[0] == "kv" else 1
    done = CliRunner().invoke(command_line(), [*words[:before], "--endpoint", address, *words[before:]])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


def test_a_command_runs_under_a_lock_and_its_exit_status_is_told(address: str, tmp_path: Path) -> None:
    tokens = []
    for n in range(2):
        file = tmp_path / str(n)
        assert shell(address, "lock", "it", "--", sys.executable, "-c", TELL, str(file))[0] == 7
        tokens.append(int(file.read_text()))
    assert tokens[0] < tokens[1]
    assert shell(address, "lock", "it", "--", "/no/such/command")[0] == 127
    assert shell(address, "lock", "it", "--", __file__)[0] == 126, "it is there, and no program"


@pytest.fixture(params=[signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """Of a signal that processes begun here heed, also where the suite runs under nohup."""
    found: signal.Signals = request.param
    before = signal.signal(found, signal.SIG_DFL)
    yield found
    signal.signal(found, before)


def test_a_command_is_stopped_before_what_it_held_is_given_up_at_a_signal(address: str, number: signal.Signals) -> None:
    """The command went on, and the lock was another's as soon as the lease had run out."""
    code, name = "import os, time; print(os.getpid(), flush=True); time.sleep(600)", f"until-{number}"
    command = [sys.executable, "-m", "phalanx", "lock", "--endpoint", address, name, "--ttl", "600", "--"]
    with subprocess.Popen([*command, sys.executable, "-c", code], stdout=subprocess.PIPE) as locked:
        assert locked.stdout is not None
        held = int(locked.stdout.readline())
        try:
            with subprocess.Popen([*command, "true"]) as waits:
                while len(json.loads(shell(address, "kv", "range", f"{name}/", "--prefix", "--json")[1])["items"]) < 2:
                    assert waits.poll() is None
                waits.send_signal(number)
                assert waits.wait() == 128 + number
            locked.send_signal(number)
            assert locked.wait() == 128 + number
            with pytest.raises(ProcessLookupError):
                os.kill(held, signal.SIGKILL)
        finally:
            locked.kill()
            with suppress(ProcessLookupError):
                os.kill(held, signal.SIGKILL)
    assert shell(address, "lock", name, "--wait", "60", "--", "true")[0] == 0


def test_under_nohup_a_command_goes_on_after_sighup(address: str) -> None:
    code = "import os, signal; os.kill(os.getppid(), signal.SIGHUP)"
    command = [sys.executable, "-m", "phalanx", "lock", "--endpoint", address, "it", "--", sys.executable, "-c", code]
    assert subprocess.run(["nohup", *command], stdin=subprocess.DEVNULL, check=False).returncode == 0


def test_a_daemon_that_a_command_starts_keeps_no_pipe_open(address: str) -> None:
    """Nor does one that `phalanx roll` starts: `phalanx roll ... | tee log` ended when the nodes did."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    code = f"import subprocess; print(subprocess.Popen(['sleep', '60'], close_fds=False, **{quiet}).pid)"
    command = [sys.executable, "-m", "phalanx", "lock", "--endpoint", address, "it", "--", sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as locked:
        assert locked.stdout is not None
        daemon = int(locked.stdout.readline())
        try:
            assert locked.wait() == 0
            assert select.select([locked.stdout], [], [], 10)[0], "the pipe has no end"
            assert locked.stdout.read() == b""
        finally:
            os.kill(daemon, signal.SIGKILL)


def test_a_command_whose_lock_is_lost_is_stopped(address: str) -> None:
    assert shell(address, "lock", "it", "--ttl", "1", "--", sys.executable, "-c", REVOKE, address)[0] == 6


def test_a_lock_that_is_held_is_not_waited_for_for_ever(address: str) -> None:
    command = [sys.executable, "-m", "phalanx", "lock", "--endpoint", address, "it", "--wait", "0.3", "--", "true"]
    assert shell(address, "lock", "it", "--", *command)[0] == 5


def test_a_leader_is_elected_and_seen(address: str) -> None:
    observe = [sys.executable, "-m", "phalanx", "elect", "--endpoint", address, "who", "--observe", "-n", "1", "--json"]
    code = f"import subprocess, sys; sys.exit(b'me' not in subprocess.run({observe!r}, capture_output=True).stdout)"
    assert shell(address, "elect", "who", "--data", "me", "--", sys.executable, "-c", code)[0] == 0
    status, told = shell(address, "elect", "who", "--observe", "-n", "1", "--json")
    assert (status, json.loads(told)) == (0, None)
    assert shell(address, "elect", "who", "--observe", "-n", "1") == (0, "nobody leads\n")
    assert shell(address, "elect", "who")[0] == 2


def test_a_command_that_does_not_end_is_killed_though_the_wait_for_its_end_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by Ctrl-C, after the loss of the lock."""
    os.mkfifo(told := tmp_path / "told")
    stubborn = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "pathlib.Path(sys.argv[1]).write_text('ignored'); time.sleep(60)"
    )
    started: list[Command] = []

    class Seen(Command):
        def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
            super().__init__(words, environment)
            started.append(self)

    async def main() -> None:
        running = asyncio.create_task(holding._run([sys.executable, "-c", stubborn, str(told)], 1))
        assert await asyncio.to_thread(told.read_text) == "ignored"
        for _ in range(2):
            running.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.wait([running])
        assert running.cancelled()
        assert await started[0].wait() == -signal.SIGKILL

    monkeypatch.setattr(holding, "Command", Seen)
    asyncio.run(main())
