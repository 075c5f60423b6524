"""The clients of a round: those that call, those that watch, and those that read what may be old."""

import asyncio
import random
import time

from phalanx.api.client import Client, Replicated
from phalanx.api.watch import Watch
from phalanx.errors import LeaseLost, NotHappened, OutcomeUnknown, PhalanxError
from phalanx.lab.soak.records import Call, Told, Watched
from phalanx.lab.soak.workload import Caller, Wish, room, stale_reads
from phalanx.model.history import Outcome
from phalanx.model.view import Name
from phalanx.services.store.kv import KV
from phalanx.services.store.values import position_after, prefix_end
from phalanx.testing.nodes import Nodes

CALLERS = 6
WATCHERS = 4

CALL_S_MAX = 10.0
"""Several failovers; a round must not wait for a call for ever."""

STALE_S_MAX = 1.0
PAUSE_S = 0.012
"""Between two calls of a client, on average: faults meet calls, and a round is still judged quickly."""

CALLS_MAX = 60_000
"""In a round, so that it fits into memory and into the store's history; then the clients rest."""

POLL_S = 0.02

DRAIN_S_MAX = 30.0
"""For a watch to be told the rest, once all is well."""


class Clients:
    """They work until told to end.  What they saw is in `calls` and `watched`."""

    def __init__(self, nodes: Nodes, number: int, base: int, seed: str) -> None:
        self.calls: list[Call] = []
        self.watched: list[Watched] = []
        self._nodes = nodes
        self._number = number
        self._base = base
        self._seed = seed
        self._ending = False
        self._final: int | None = None
        """The last revision of the round, once it is known."""
        self._callers: list[asyncio.Task[None]] = []
        self._watchers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        names = self._nodes.names
        callers = [self._call(f"c{n}", n) for n in range(CALLERS)] + [self._stale(name) for name in names]
        self._callers = [asyncio.create_task(each) for each in callers]
        self._watchers = [asyncio.create_task(self._watch(f"w{n}", n)) for n in range(WATCHERS)]

    async def end_calls(self) -> None:
        """Let each end the call that it is in.  Raises what broke one of them."""
        self._ending = True
        await asyncio.gather(*self._callers)

    async def end_watches(self, final: int) -> None:
        """Let each watch be told everything up to that revision."""
        self._final = final
        await asyncio.gather(*self._watchers)

    async def cancel(self) -> None:
        """End all at once."""
        tasks = [*self._callers, *self._watchers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self._seed}/{name}")

    def _from(self, number: int) -> list[Name]:
        """All nodes, begun with that one."""
        names = list(self._nodes.names)
        at = number % len(names)
        return names[at:] + names[:at]

    # --- calls --------------------------------------------------------------------------------------------------------

    async def _call(self, name: str, number: int) -> None:
        rng = self._rng(name)
        life = 0
        while not self._ending:
            client_name = f"{name}.{self._number}.{life}"
            life += 1
            caller = Caller(client_name, self._number, rng)
            async with self._nodes.connect(CALL_S_MAX, self._from(number)) as client:
                store = client.object(KV)
                leave_at = time.monotonic() + rng.uniform(1.0, 8.0)
                while not self._ending and time.monotonic() < leave_at:
                    while len(self.calls) >= CALLS_MAX and not self._ending:
                        await asyncio.sleep(POLL_S)
                    wish = caller.draw()
                    impatient = rng.uniform(0.0, 0.02) if rng.random() < 0.01 else None
                    call = Call(client_name, wish.f, wish.arguments, time.monotonic_ns())
                    self.calls.append(call)
                    await self._made(call, store, wish, impatient)
                    if call.outcome is Outcome.OK:
                        caller.took(wish, call.result)
                    elif call.error == "LeaseLost":
                        caller.lost(wish.arguments[2])
                    await asyncio.sleep(PAUSE_S * rng.uniform(0.0, 2.0))

    async def _made(self, call: Call, store: Replicated[KV], wish: Wish, impatient: float | None) -> None:
        """Make the call, and say how it ended.  A cancelled one may have happened, or happen yet."""
        try:
            async with asyncio.timeout(impatient):
                call.result = await store.call(wish.method, *wish.arguments)
        except (NotHappened, LeaseLost) as error:
            call.outcome, call.error = Outcome.FAIL, type(error).__name__
        except (OutcomeUnknown, TimeoutError) as error:
            call.error = type(error).__name__
            return
        else:
            call.outcome = Outcome.OK
        call.completed = time.monotonic_ns()

    async def _stale(self, node: Name) -> None:
        """Old answers of one node.  Whoever has heard of others may ask them, and is replaced by another client."""
        rng = self._rng(f"stale {node}")
        reads = stale_reads(self._number, rng)
        life = 0
        while not self._ending:
            async with self._nodes.connect(STALE_S_MAX, [node]) as client:
                store = client.object(KV).stale
                life += 1
                while not self._ending:
                    wish = next(reads)
                    call = Call(f"stale/{node}/{life}", f"stale {wish.f}", wish.arguments, time.monotonic_ns())
                    await self._made(call, store, wish, None)
                    if len(client.endpoints) > 1:
                        break
                    if call.outcome is Outcome.OK and len(self.calls) < CALLS_MAX:
                        self.calls.append(call)
                    await asyncio.sleep(4 * PAUSE_S * rng.uniform(0.0, 2.0))

    # --- watches ------------------------------------------------------------------------------------------------------

    async def _watch(self, name: str, number: int) -> None:
        rng = self._rng(name)
        known = [self._base]
        while self._final is None:
            async with self._nodes.connect(CALL_S_MAX, self._from(number)) as client:
                watched = self._draw(name, rng, known)
                self.watched.append(watched)
                last = await self._follow(client, watched, rng)
                known.append(last)

    def _draw(self, name: str, rng: random.Random, known: list[int]) -> Watched:
        here = room(self._number)
        one, other = sorted((here + b"key/%d" % rng.randrange(6), here + b"key/%d" % rng.randrange(6)))
        start, end = rng.choice(
            ((one, one + b"\0"), (one, other + b"\0"), (here, prefix_end(here)), (b"", None), (b"", None))
        )
        puts, deletes = rng.choice(((True, True), (True, True), (True, False), (False, True)))
        after = rng.choice((None, self._base, known[-1]))
        return Watched(name, start, end, puts, deletes, rng.random() < 0.5, after, time.monotonic_ns())

    async def _follow(self, client: Client, watched: Watched, rng: random.Random) -> int:
        """Read for a while, or to the end of the round; up to which revision it was told everything."""
        options = {
            "start": watched.start,
            "end": watched.end,
            "puts": watched.puts,
            "deletes": watched.deletes,
            "previous": watched.previous,
        }
        position = None if watched.after is None else position_after(watched.after)
        leave_at = time.monotonic() + rng.uniform(0.5, 12.0)
        pace_s = rng.choice((0.0, 0.0, 0.005))
        async with client.object(KV).follow(KV.watch, options, position) as watch:
            reading = asyncio.create_task(_read(watch, watched, pace_s))
            try:
                while not reading.done() and not self._is_over(watch, watched, leave_at):
                    await asyncio.sleep(POLL_S)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            if not watch.pending and watched.begun >= 0:  # else it was left at the moment in which it began
                watched.upto = watch.revision
            return max(watch.revision, self._base)

    def _is_over(self, watch: Watch, watched: Watched, leave_at: float) -> bool:
        if self._final is None:
            return time.monotonic() > leave_at
        if watch.revision >= self._final and not watch.pending:
            return True
        if time.monotonic() > leave_at + DRAIN_S_MAX:
            watched.error = f"it was not told of revision {self._final}, only up to {watch.revision}"
            return True
        return False


async def _read(watch: Watch, watched: Watched, pace_s: float) -> None:
    try:
        watched.begun = await watch.begun()
        async for event in watch:
            watched.told.append(Told(time.monotonic_ns(), event))
            if pace_s:
                await asyncio.sleep(pace_s)
    except PhalanxError as error:
        watched.error = f"{type(error).__name__}: {error}"
