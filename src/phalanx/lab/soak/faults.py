"""What is done to the nodes of a round: kills, pauses, and cuts, each at its own times, so that they meet."""

import asyncio
import random
from collections.abc import Iterable
from itertools import combinations

from phalanx.model.view import Name
from phalanx.testing.nodes import Nodes

KILL, PAUSE, CUT = "kill", "pause", "cut"
FAULTS = (KILL, PAUSE, CUT)

CALM_S_MAX = 1.5
"""Between two faults of one kind: often too short for the cluster to get well."""

DOWN_S_MAX = 1.0
PAUSE_S_MAX = 2.5
CUT_S_MAX = 2.5
"""Both reach far beyond the silence that is suspicion."""


class Counts:
    """What was done so far."""

    def __init__(self) -> None:
        self.kills = 0
        """Processes ended by SIGKILL."""
        self.pauses = 0
        """Processes stopped for a while."""
        self.cuts = 0
        """Times that nodes were cut off from each other."""


class Storm:
    """Faults of these kinds, until it is ended; then all nodes run and reach each other again."""

    def __init__(self, nodes: Nodes, kinds: Iterable[str], counts: Counts, rng: random.Random, kills_max: int) -> None:
        works = {KILL: self._kills, PAUSE: self._pauses, CUT: self._cuts}
        self._nodes = nodes
        self._works = [works[kind] for kind in kinds]
        self._counts = counts
        self._rng = rng
        self._kills_max = kills_max
        self._turn = asyncio.Lock()  # what a node is may not change between a look at it and what is done to it
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(work()) for work in self._works]

    @property
    def failure(self) -> BaseException | None:
        """What broke the storm itself."""
        ended = (task for task in self._tasks if task.done() and not task.cancelled())
        return next((error for task in ended if (error := task.exception()) is not None), None)

    async def end(self) -> None:
        """Undo everything."""
        async with self._turn:  # so that nobody is cancelled in the middle of a kill or a start
            for task in self._tasks:
                task.cancel()
        for error in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(error, Exception):
                raise error
        await self._nodes.heal()
        for name in self._nodes.names:
            if name in self._nodes.running:
                await self._nodes.resume(name)
            else:
                await self._nodes.start(name)

    async def _calm(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.05, CALM_S_MAX))

    def _some(self) -> list[Name]:
        """One node, some, or all of those that run."""
        running = list(self._nodes.running)
        count = self._rng.choices((1, 2, len(self._nodes.names)), (50, 20, 30))[0]
        return self._rng.sample(running, min(count, len(running)))

    # --- kills --------------------------------------------------------------------------------------------------------

    async def _kills(self) -> None:
        while True:
            await self._calm()
            async with self._turn:
                victims = self._some()[: self._kills_max - self._counts.kills]
                await asyncio.gather(*map(self._nodes.kill, victims))
                self._counts.kills += len(victims)
            for name in victims:
                await asyncio.sleep(self._rng.uniform(0.0, DOWN_S_MAX) / len(victims))
                async with self._turn:
                    await self._nodes.start(name)
            if self._rng.random() < 0.5:  # else the next kill may find it at its beginning
                await self._calm()

    # --- pauses -------------------------------------------------------------------------------------------------------

    async def _pauses(self) -> None:
        while True:
            await self._calm()
            async with self._turn:
                victims = self._some()
                for name in victims:
                    await self._nodes.pause(name)
                    self._counts.pauses += 1
            await asyncio.sleep(self._rng.uniform(0.05, PAUSE_S_MAX))
            async with self._turn:
                for name in victims:
                    if name in self._nodes.running:
                        await self._nodes.resume(name)

    # --- cuts ---------------------------------------------------------------------------------------------------------

    async def _cuts(self) -> None:
        while True:
            await self._calm()
            names = self._rng.sample(self._nodes.names, len(self._nodes.names))
            async with self._turn:
                kind = self._rng.random()
                if kind < 0.5:
                    await self._nodes.partition(names[:1])
                elif kind < 0.85:
                    await self._nodes.cut(*self._rng.choice(list(combinations(names, 2))))
                else:
                    await self._nodes.partition(*([name] for name in names))
                self._counts.cuts += 1
            await asyncio.sleep(self._rng.uniform(0.05, CUT_S_MAX))
            async with self._turn:
                await self._nodes.heal()
