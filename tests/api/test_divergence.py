"""A replica that goes its own way, on whole processes: found, named, replaced (SCENARIOS 35)."""

import asyncio
from typing import Any

import phalanx
from phalanx.model.machine import Note
from phalanx.replication.audit import AUDIT_INTERVAL

PATIENCE_S = 60.0


class Tally:
    """`slip` is not deterministic: the first replica that runs it after `slips` was raised counts wrong."""

    slips = 0
    count: int = 0

    @phalanx.command
    def add(self) -> None:
        self.count += 1

    @phalanx.command
    def slip(self) -> None:
        if Tally.slips:
            Tally.slips -= 1
            self.count += 1_000_000

    @phalanx.query
    def read(self) -> int:
        return self.count


def test_a_replica_that_diverged_is_named_stops_serving_and_gets_the_state_of_the_majority() -> None:
    """SCENARIOS 35."""
    notes: list[tuple[str, Note]] = []
    restored = asyncio.Event()

    def listen(process: phalanx.Process) -> None:
        def hear(note: Note) -> None:
            notes.append((process.name, note))
            if note.what == "gateway.restored":
                restored.set()

        process.on_notes = hear

    async def story(cluster: phalanx.Cluster) -> None:
        for process in cluster.processes:
            listen(process)
        tally = cluster.client().object(Tally).within(PATIENCE_S)
        Tally.slips = 1
        await tally.call(Tally.slip)
        await asyncio.gather(*(tally.call(Tally.add) for _ in range(AUDIT_INTERVAL)))
        await restored.wait()
        await cluster.joined()
        found = [(process, note.detail) for process, note in notes if note.what == "gateway.diverged"]
        victims: set[Any] = {name for _, detail in found for name in detail[-1]}
        (victim,) = victims
        assert {process for process, _ in found} == {"a", "b", "c"}, "everyone learns it"
        assert {process for process, note in notes if note.what == "gateway.restored"} == {victim}
        for process in cluster.processes:
            own = (await process.host(Tally)).stale
            assert await own.call(Tally.read) == AUDIT_INTERVAL, f"{process.name} has what the majority had"

    async def main() -> None:
        async with phalanx.local(3, objects={"Tally": (Tally, 0)}) as cluster:
            await asyncio.wait_for(story(cluster), PATIENCE_S)

    try:
        asyncio.run(main())
    finally:
        Tally.slips = 0
