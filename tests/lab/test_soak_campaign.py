"""Whole campaigns of the soak in this process: a sound store passes, one that acknowledges early is caught (lab/soak)."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from phalanx.api import local
from phalanx.api.hosted import Hosted
from phalanx.group.messages import Data
from phalanx.lab.soak.campaign import Campaign, Progress, Settings
from phalanx.lab.soak.faults import KILL
from phalanx.model.machine import Journal
from phalanx.runtime.contract import Stored
from phalanx.runtime.logdisk import MemoryLog
from phalanx.services.store.kv import KV
from phalanx.testing.nodes import LocalNodes
from phalanx.testing.nodes import Wish as Cluster

KILLS = 9
SEED = 164
"""Of a campaign that begins with three kills of all three nodes; those of fewer lose nothing."""


def soaked(directory: Path, told: list[str]) -> Progress:
    """A short campaign on nodes whose disks are in memory, all of which are killed again and again."""

    async def story() -> Progress:
        nodes = LocalNodes(Cluster(("a", "b", "c"), {"KV": Hosted(KV, durable=True)}, False))
        async with AsyncExitStack() as stack:
            await nodes.run(stack)
            await nodes.wait_until_full()
            settings = Settings(kills=KILLS, seed=SEED, faults=(KILL,), round_s=60.0)
            return await Campaign(nodes, settings, directory, told.append).run()

    return asyncio.run(story())


def test_a_campaign_on_a_sound_store_finds_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    reached = soaked(tmp_path, told)
    assert told == []
    assert (reached.rounds, reached.counts.kills, reached.lost, reached.violations) == (1, KILLS, 0, 0)
    assert reached.operations > 0
    assert str(reached) == f"rounds=1 kills={KILLS} pauses=0 cuts=0 operations={reached.operations} lost=0 violations=0"
    assert list(tmp_path.iterdir()) == [], "a history is kept if something was wrong"


class _Hasty(MemoryLog):
    """It says that messages are on the disk while they are still in a buffer, which dies with the process.  (Not views: a
    node that forgets those may wait for ever, which would be all that is noticed.)"""

    def __init__(self) -> None:
        super().__init__()
        self._buffer: list[Any] = []

    def journal(self) -> Journal:
        self._buffer.clear()
        return super().journal()

    def append(self, records: Sequence[Any], forget: int | None, done: Stored) -> None:
        self._buffer += records
        kept = 40 if all(isinstance(record, Data) for record in self._buffer) else 0
        written = self._buffer[: len(self._buffer) - kept]
        del self._buffer[: len(written)]
        super().append(written, forget, done)


def test_a_store_that_acknowledges_before_its_log_has_it_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SCENARIOS 3."""
    monkeypatch.setattr(local, "MemoryLog", _Hasty)
    told: list[str] = []
    reached = soaked(tmp_path, told)
    assert reached.lost > 0, told
    assert any("was acknowledged and is not in the history" in line for line in told)
    assert reached.history is not None and reached.history.stat().st_size > 0
