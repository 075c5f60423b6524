"""`phalanx serve`: what its options say to `join`, and how it ends."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from phalanx.cli import serve
from phalanx.cli.main import command_line
from phalanx.errors import ConfigurationError
from phalanx.group.config import Limits, Timing
from phalanx.model.clock import MICROSECOND, MILLISECOND
from phalanx.runtime.loop import run as run_on_loop
from tests.cli.node import PATIENCE_S
from tests.cli.test_sim_cli import is_told


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `join` was called with; the command ends there."""
    said: dict[str, Any] = {}

    def join(name: str, **words: Any) -> None:
        said.update(words, name=name)
        raise ConfigurationError("far enough")

    monkeypatch.setattr(serve, "join", join)
    return said


def run(*words: str) -> None:
    done = CliRunner().invoke(command_line(), ["serve", "--name", "n", "--diskless", "--bootstrap", *words])
    assert done.exit_code == 2 and "far enough" in done.output


def test_unless_told_otherwise_a_node_has_the_periods_and_limits_of_join(joined: dict[str, Any]) -> None:
    run()
    assert joined["timing"] == Timing() and joined["limits"] == Limits()


def test_periods_follow_suspect_after_and_busy_polling_does_not(joined: dict[str, Any]) -> None:
    run("--suspect-after-ms", "1000", "--busy-poll-us", "70")
    timing = joined["timing"]
    assert (timing.suspect_after, timing.heartbeat) == (1000 * MILLISECOND, 100 * MILLISECOND)
    assert timing.busy_poll == 70 * MICROSECOND
    run("--busy-poll-us", "0")
    assert joined["timing"].busy_poll == 0


def test_a_reserve_is_one_that_the_disk_can_have(joined: dict[str, Any], tmp_path: Path) -> None:
    def told(mib: int, *disk: str) -> str:
        words = ["serve", "--name", "n", "--bootstrap", "--reserve-mib", str(mib), *disk]
        done = CliRunner().invoke(command_line(["serve"]), words, env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert done.exit_code == 2
        return done.output

    data = "--data", str(tmp_path / "not" / "there")
    assert "far enough" in told(3, *data)
    assert joined["limits"].reserve == 3 << 20
    joined.clear()
    total = shutil.disk_usage(tmp_path).total >> 20
    for much in (total + 1, 10**30):
        assert is_told(f"{much} MiB, and the disk of {data[1]} has {total} in all", told(much, *data))
    assert is_told("greater than or equal to 0", told(-1, *data))
    assert is_told("--reserve-mib is for --data", told(3, "--diskless"))
    assert not joined, "nothing was started"


def test_a_node_that_was_never_let_in_ends_at_once_when_told_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve, "LEAVE_S_MAX", 10 * PATIENCE_S)
    ended: list[str] = []

    @asynccontextmanager
    async def never() -> AsyncIterator[Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.Event().wait()
            yield
        finally:
            ended.append("closed")

    async def story() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await serve._serve(never(), None, "")

    run_on_loop(story())
    assert ended == ["closed"]
    assert "stopped before it was in the cluster" in caplog.text


@pytest.mark.parametrize("below", ["", "a/b"])
def test_a_file_where_the_data_directory_should_be_is_said_to_be_one(below: str, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.touch()
    words = ["serve", "--name", "n", "--bootstrap", "--listen", "127.0.0.1:0", "--data", str(file / below)]
    done = CliRunner().invoke(command_line(["serve"]), words)
    assert done.exit_code == 2
    fault = "Not a directory" if below else "it is a file, and must be a directory"
    assert done.output == f"phalanx: {file / below}: {fault}\n"


def test_a_file_where_the_log_should_be_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    words = ["serve", "--name", "n", "--bootstrap", "--listen", "127.0.0.1:0", "--data", str(tmp_path)]
    done = CliRunner().invoke(command_line(["serve"]), words)
    assert (done.exit_code, done.output) == (2, f"phalanx: {tmp_path / 'log'}: it is a file, and must be a directory\n")
