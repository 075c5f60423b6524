"""`phalanx demo`: it plays to its end, ends when it is interrupted, and would tell if a client had been cheated."""

import asyncio
import io
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from rich.console import Console

from phalanx.cli.demo import judge
from phalanx.lab.load import LEDGER, Record, Records
from phalanx.model.history import Operation, Outcome
from tests.real.cluster import on_processes, real

pytestmark = real

PUT = Operation(0, "put", f"{LEDGER}1", "v", None, Outcome.OK, 1, 2)
REFUSED = Operation(0, "put", f"{LEDGER}2", "v", None, Outcome.FAIL, 3, 4)


def read(key: str, value: str | None) -> Operation:
    return Operation("final", "get", key, None, value, Outcome.OK, 5, 6)


@pytest.mark.parametrize(
    ("operations", "final", "holds"),
    [
        ([PUT, REFUSED, read(PUT.key, "v"), read(REFUSED.key, None)], {PUT.key: "v"}, True),
        ([PUT], {}, False),
        ([REFUSED], {REFUSED.key: "v"}, False),
        ([PUT, read(PUT.key, "stale")], {PUT.key: "v"}, False),
    ],
    ids=["sound", "lost write", "phantom", "not linearizable"],
)
def test_the_demo_tells_what_is_wrong_with_a_history(
    operations: list[Operation], final: dict[str, str], holds: bool
) -> None:
    records, text = Records(), io.StringIO()
    for operation in operations:
        records.add(Record("a", operation))
    assert asyncio.run(judge(Console(file=text), records, final)) is holds
    assert ("✗" in text.getvalue()) is not holds


@asynccontextmanager
async def demo(directory: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command as a process, with its output in a pipe and its nodes' files in that directory."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "phalanx", "demo", "--short"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"TMPDIR": directory, "TERM": "dumb", "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_the_demo_plays_to_its_end_and_cleans_up() -> None:
    """SCENARIOS 3, 16."""

    async def story(directory: str) -> None:
        async with demo(directory) as process:
            output, _ = await process.communicate()
        text = output.decode()
        assert process.returncode == 0, text
        for part in ("kill -9", "SIGSTOP", "learned that it is out", "✓ all three are in view", "✓ linearizable"):
            assert part in text, text
        assert not list(Path(directory).iterdir()), "its files are gone"

    with tempfile.TemporaryDirectory() as directory:
        on_processes(story(directory))


def test_an_interrupted_demo_ends_its_nodes() -> None:
    """Ctrl-C while clients are at work."""

    async def story(directory: str) -> None:
        async with demo(directory) as process:
            assert process.stdout is not None
            began = (await process.stdout.readline()).decode()
            while b"six clients" not in await process.stdout.readline():
                assert process.returncode is None
            process.send_signal(signal.SIGINT)
            await process.communicate()
        assert process.returncode == 130
        nodes = re.findall(r"pid (\d+)", began)
        assert len(nodes) == 3
        for pid in nodes:
            with pytest.raises(ProcessLookupError):
                os.kill(int(pid), 0)  # asks only whether it exists
        assert not list(Path(directory).iterdir()), "its files are gone"

    with tempfile.TemporaryDirectory() as directory:
        on_processes(story(directory))
