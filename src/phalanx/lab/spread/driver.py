"""The workers of a Dask scheduler as those of a campaign."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from distributed import Client, KilledWorker

from phalanx.errors import ConfigurationError
from phalanx.lab.spread.crew import Crew, end_all
from phalanx.lab.spread.work import (
    Broken,
    Done,
    Dropped,
    Order,
    Unfit,
    credentials,
    decode_answer,
    encode,
    name_of,
)
from phalanx.sim.plan import Plan
from phalanx.sim.run import Result
from phalanx.sim.workers import Chunk, Factory, Task, WorkersLost, chunks_of

UNDER_WAY = 2
"""Chunks that are handed out for each worker: one that it runs, and the next, so that it does not wait.  So the scheduler
holds so many orders and results, and no more, however long the campaign is."""

WAKE_S = 1.0
"""How often it is looked whether there are more workers than before."""

CONNECT_S = 10.0
"""So long a scheduler may take to answer."""

CLOSE_S = 5.0
"""So long it may take to say goodbye to it."""


class Spread:
    """Runs tasks on the workers of the scheduler at `address`, such as tcp://127.0.0.1:8786 or, if Dask is configured for
    TLS, tls://host:8786.

    Workers may join and leave at any time, and `tell` is told, for a person, who cannot be used.  What a worker was doing
    when it died is done again by another.  Raises ConfigurationError if nothing can be run at all.
    """

    def __init__(self, address: str, tell: Callable[[str], None]) -> None:
        self._address = address
        self._tell = tell
        self._runner = asyncio.Runner()
        self._client: Client | None = None
        self._crew: Crew | None = None
        self._order: Order | None = None
        self._under_way: set[asyncio.Task[tuple[int, tuple[Result, ...]]]] = set()

    @property
    def count(self) -> int:
        """How many work now."""
        return 0 if self._crew is None else len(self._crew.fit)

    def run(self, factory: Factory, tasks: Iterator[Task], chunk: int) -> Iterator[tuple[int, Result]]:
        """See `sim.workers.Workers.run`.  The factory is the same in every call."""
        chunks = chunks_of(tasks, chunk)
        self._runner.run(self._begin(factory))
        while done := self._runner.run(self._next(chunks)):
            for at, results in done:
                yield from enumerate(results, at)

    def close(self) -> None:
        """The scheduler forgets what is under way, and workers stop after the run that they are at."""
        try:
            self._runner.run(self._end())
        finally:
            self._runner.close()

    async def _begin(self, factory: Factory) -> None:
        name = name_of(factory)
        if self._order is not None:
            assert name == self._order.scenario, "workers are inspected for one scenario"
            return
        ours = credentials(name)
        self._client = await _connect(self._address)
        self._crew = Crew(self._client, self._address, name, ours, self._tell)
        await self._crew.muster()
        self._order = Order(name, ours, ())

    async def _end(self) -> None:
        await end_all(self._under_way)
        if self._crew is not None:
            await self._crew.dismiss()
        if self._client is not None:
            with suppress(TimeoutError, OSError):
                await self._client.close(CLOSE_S)

    async def _next(self, chunks: Iterator[Chunk]) -> list[tuple[int, tuple[Result, ...]]]:
        """The results of some chunks; none once there are none.  Keeps the workers busy."""
        crew, under_way = self._crew, self._under_way
        assert crew is not None
        while True:
            crew.check()
            # With nobody to work one waits at least, so that it shows whether there is anything left to do.
            room = max(UNDER_WAY * len(crew.fit) - len(under_way), 0 if under_way else 1)
            under_way |= {asyncio.create_task(self._carry_out(chunk)) for chunk in islice(chunks, room)}
            if not under_way:
                return []
            done, _ = await asyncio.wait(under_way, timeout=WAKE_S, return_when=asyncio.FIRST_COMPLETED)
            good = {each for each in done if each.exception() is None}
            under_way -= good
            if good:
                return [each.result() for each in good]
            for each in done:  # raises what went wrong, after all that did not
                each.result()

    async def _carry_out(self, chunk: Chunk) -> tuple[int, tuple[Result, ...]]:
        at, tasks = chunk
        assert self._crew is not None and self._order is not None
        order = encode(Order(self._order.scenario, self._order.credentials, tuple(tasks)))
        while True:
            try:
                answer = decode_answer(await self._crew.answer(order))
            except KilledWorker as error:
                raise WorkersLost(f"{_described(tasks)}: every worker that had them died: {error}") from error
            match answer:
                case Done(results):
                    return at, results
                case Unfit(address, why):  # one that was started anew where a fit one was
                    self._crew.refuse(address, why)
                case Broken(text):
                    raise WorkersLost(f"{_described(tasks)} cannot be run:\n{text}")
                case Dropped():  # the scheduler had given it to somebody else
                    continue


async def _connect(address: str) -> Client:
    # What goes wrong is said by our errors, and not by tracebacks as well.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    client = Client(address, asynchronous=True, set_as_default=False, timeout=CONNECT_S)
    try:
        return await client
    except (OSError, ValueError, TypeError) as error:
        await client.close()
        raise ConfigurationError(f"no Dask scheduler answers at {address}: {error}") from error


def _described(tasks: Sequence[Task]) -> str:
    """For somebody who wants to run them alone."""
    first = tasks[0]
    if isinstance(first, Plan):
        return f"{len(tasks)} plans of the search"
    return f"the seeds --from {first} --seeds {len(tasks)}"
