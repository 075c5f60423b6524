"""Round after round on one cluster: clients and faults at once; then calm, a look at every replica, and judgement.

A round is short, so that what is kept of it is small and judging is quick; the cluster, its files and its older keys stay
from round to round.  Keys of a round are deleted at its end, but for the ledger's: those stay for a few rounds more.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from phalanx.api.client import Replicated
from phalanx.errors import PhalanxError
from phalanx.lab.processes import NodeEnded, NotReached
from phalanx.lab.soak.clients import Clients
from phalanx.lab.soak.faults import FAULTS, Counts, Storm
from phalanx.lab.soak.judge import Violation, judge
from phalanx.lab.soak.records import Replica, Round, lines_of
from phalanx.lab.soak.workload import LEDGER, room
from phalanx.model.view import Name
from phalanx.services.store.kv import KV
from phalanx.services.store.values import Event, Versioned, position_after, prefix_end
from phalanx.testing.nodes import Nodes

ROUND_S = 10.0
"""Of faults, in each round."""

WELL_S_MAX = 90.0
"""For a cluster without faults to be whole again, to answer, and to end its leases: beyond it is stuck.  It judges no
speed."""

LEDGERS_MAX = 5
"""Rounds whose ledger is kept in the store."""

VIOLATIONS_MAX = 100
"""Of one round are told; what is wrong once is often wrong again and again."""

POLL_S = 0.05


class Settings(NamedTuple):
    """What is wanted.  The campaign ends with the round in which the first of both is reached."""

    seconds: float | None = None
    """Of faults."""
    kills: int | None = None
    seed: int = 1
    faults: tuple[str, ...] = FAULTS
    round_s: float = ROUND_S


class Progress:
    """How far the campaign has come."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.rounds = 0
        self.faulted_s = 0.0
        self.operations = 0
        self.lost = 0
        self.violations = 0
        self.history: Path | None = None
        """Of the round that went wrong."""

    def __str__(self) -> str:
        return (
            f"rounds={self.rounds} kills={self.counts.kills} pauses={self.counts.pauses} cuts={self.counts.cuts} "
            f"operations={self.operations} lost={self.lost} violations={self.violations}"
        )


class Stuck(Exception):
    """A cluster that nothing was done to any more did not get well; the text says what was waited for."""


class Campaign:
    """See the module's text.  It stops at the first round in which something was wrong.

    directory: where the history of that round goes.  tell: hears what is wrong, as it is found.
    progress: where it says how far it has come.  advance: is called when it has come further.
    """

    def __init__(
        self,
        nodes: Nodes,
        settings: Settings,
        directory: Path,
        tell: Callable[[str], None] = lambda _: None,
        progress: Progress | None = None,
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        self.progress = Progress() if progress is None else progress
        self._nodes = nodes
        self._settings = settings
        self._directory = directory
        self._tell = tell
        self._advance = advance
        self._ledgers: deque[int] = deque()
        self._expected: list[tuple[bytes, Versioned]] = []
        """What the store holds between two rounds."""
        self._read: dict[Path, int] = {}
        """How much of the nodes' logs was looked at."""

    async def run(self) -> Progress:
        """Round after round."""
        while not self.progress.lost and not self.progress.violations and not self._is_enough():
            await self._round()
        return self.progress

    def _is_enough(self) -> bool:
        wanted = self._settings
        return (wanted.seconds is not None and self.progress.faulted_s >= wanted.seconds) or (
            wanted.kills is not None and self.progress.counts.kills >= wanted.kills
        )

    async def _round(self) -> None:
        number = self.progress.rounds
        seed = f"{self._settings.seed}/{number}"
        round_ = Round(number, 0, {}, [], [], [])
        clients: Clients | None = None
        found: list[Violation] = []
        try:
            async with self._nodes.connect(WELL_S_MAX) as client:
                store = client.object(KV)
                round_.base = (await store.call(KV.info)).revision
                items = await everything(store)
                if items != self._expected:
                    found.append(Violation("replicas", f"between two rounds this changed: {_changed(items, self)}"))
                round_.initial = dict(items)
            clients = Clients(self._nodes, number, round_.base, seed)
            round_.calls, round_.watched = clients.calls, clients.watched
            clients.start()
            await self._storm(seed)
            await self._calm(clients, round_)
        except (NotReached, NodeEnded, Stuck, PhalanxError) as error:
            found.append(Violation("stuck", f"{type(error).__name__}: {error}"))
        finally:
            if clients is not None:
                await clients.cancel()
        if round_.replicas:
            found += await asyncio.to_thread(judge, round_)
        found += self._complaints()
        self.progress.rounds += 1
        self.progress.operations += len(round_.calls)
        self._report(found, round_)
        if not found:
            await self._tidy(number)
        self._advance()

    async def _storm(self, seed: str) -> None:
        kills_max = self._settings.kills if self._settings.kills is not None else 1 << 62
        rng = random.Random(f"{seed}/faults")
        storm = Storm(self._nodes, self._settings.faults, self.progress.counts, rng, kills_max)
        began, before = time.monotonic(), self.progress.faulted_s
        storm.start()
        try:
            while time.monotonic() < began + self._settings.round_s and not self._is_enough():
                await asyncio.sleep(POLL_S)
                self.progress.faulted_s = before + time.monotonic() - began
                self._advance()
                if storm.failure is not None:
                    break
        finally:
            await storm.end()

    async def _calm(self, clients: Clients, round_: Round) -> None:
        """Everything is undone: the cluster gets well, calls end, leases run out, and everybody is told the rest."""
        await self._nodes.wait_until_full(self._nodes.names, WELL_S_MAX)
        await clients.end_calls()
        async with self._nodes.connect(WELL_S_MAX) as client:
            store = client.object(KV)
            await self._until_no_lease(store)
            final = (await store.call(KV.info)).revision
        await clients.end_watches(final)
        for name in self._nodes.names:
            round_.replicas.append(await self._look(name, round_.base, final))

    async def _until_no_lease(self, store: Replicated[KV]) -> None:
        deadline = time.monotonic() + WELL_S_MAX
        while leases := await store.call(KV.leases):
            if time.monotonic() > deadline:
                raise Stuck(f"nobody keeps these leases alive, and they do not end: {leases}")
            await asyncio.sleep(POLL_S)

    async def _look(self, name: Name, base: int, final: int) -> Replica:
        """What that node itself holds; it has to have come to the end by itself."""
        deadline = time.monotonic() + WELL_S_MAX
        while time.monotonic() < deadline:
            async with self._nodes.connect(1.0, [name]) as client:
                store = client.object(KV).stale
                try:
                    if (await store.call(KV.info)).revision >= final:
                        log: list[Event] = []
                        async with client.object(KV).follow(KV.watch, _EVERYTHING, position_after(base), 1.0) as watch:
                            while await watch.begun() < final or watch.pending:
                                log.append(await anext(watch))
                        found = Replica(name, await everything(store), log, await store.call(KV.leases))
                        if len(client.endpoints) == 1:  # else another node may have answered
                            return found
                except PhalanxError:
                    pass
                await asyncio.sleep(POLL_S)
        raise Stuck(f"{name} does not come to revision {final}, or does not answer")

    async def _tidy(self, number: int) -> None:
        """Make room: what the next rounds do not need is deleted and forgotten."""
        self._ledgers.append(number)
        async with self._nodes.connect(WELL_S_MAX) as client:
            store = client.object(KV)
            here, ledger = room(number), room(number) + LEDGER
            await store.call(KV.delete_range, here, ledger)
            await store.call(KV.delete_range, prefix_end(ledger) or b"", prefix_end(here))
            while len(self._ledgers) > LEDGERS_MAX:
                await self._delete(store, room(self._ledgers.popleft()))
            await store.call(KV.compact, (await store.call(KV.info)).revision)
            self._expected = await everything(store)

    async def _delete(self, store: Replicated[KV], prefix: bytes) -> None:
        """In parts: there are more than one call may delete."""
        while page := (await store.call(KV.range, prefix, prefix_end(prefix))).items:
            await store.call(KV.delete_range, prefix, page[-1][0] + b"\0")

    def _complaints(self) -> list[Violation]:
        """What the nodes themselves say is wrong."""
        found = []
        for path in sorted(self._directory.glob("*.log")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                text = file.read().decode(errors="replace")
                self._read[path] = file.tell()
            for line in text.splitlines():
                if any(word in line for word in ("Traceback", " ERROR ", " CRITICAL ", "AssertionError")):
                    found.append(Violation("node", f"{path.name} says: {line}"))
        return found

    def _report(self, found: list[Violation], round_: Round) -> None:
        self.progress.lost += sum(each.kind == "lost" for each in found)
        self.progress.violations += sum(each.kind != "lost" for each in found)
        for each in found[:VIOLATIONS_MAX]:
            self._tell(f"round {round_.number}: {each}")
        if found:
            self.progress.history = self._directory / "history.jsonl"
            self.progress.history.write_text("".join(f"{line}\n" for line in lines_of(round_)))


_EVERYTHING = {"start": b"", "end": None, "puts": True, "deletes": True, "previous": True}


async def everything(store: Replicated[KV]) -> list[tuple[bytes, Versioned]]:
    """All that the store holds, page by page; nobody may write meanwhile."""
    items: list[tuple[bytes, Versioned]] = []
    start, more = b"", True
    while more:
        page = await store.call(KV.range, start)
        items += page.items
        start, more = page.items[-1][0] + b"\0" if page.items else b"", page.more
    return items


def _changed(items: list[tuple[bytes, Versioned]], campaign: Campaign) -> str:
    return str(sorted({key for key, _ in set(items) ^ set(campaign._expected)})[:10])
