"""What a node finds in its data directory must go together, and be its own (SCENARIOS 4, 6, 7)."""

import asyncio
import shutil
from pathlib import Path

import pytest

from phalanx.api.joining import join
from phalanx.api.storage import open_storage
from phalanx.errors import ConfigurationError
from phalanx.runtime.loop import run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Of a node that has lived."""

    async def live() -> None:
        async with asyncio.timeout(30), join("a", listen="127.0.0.1:0", data=tmp_path / "a", bootstrap=True) as process:
            group = await process.group("g", durable=True, snapshot=lambda: b"", restore=lambda _: None)
            await group.send(b"kept")

    run(live())
    return tmp_path / "a"


def test_votes_whose_log_is_gone_say_that_there_was_one(data: Path) -> None:
    """It would count as a whole log with nothing in it, and so as proof that there was nothing."""
    storage = open_storage(data, "a")
    assert storage.journal is not None and not storage.journal.lost
    assert any(True for _ in storage.journal.records)
    storage.close()
    shutil.rmtree(data / "log")
    storage = open_storage(data, "a")
    assert storage.journal is not None and storage.journal.lost
    storage.close()


def test_a_log_whose_votes_are_gone_is_nobodys(data: Path) -> None:
    (data / "votes").unlink()
    with pytest.raises(ConfigurationError, match="has a log and no votes"):
        open_storage(data, "a")


def test_the_directory_of_another_node_is_refused(data: Path) -> None:
    with pytest.raises(ConfigurationError, match="is the data directory of node a"):
        open_storage(data, "b")
