"""Who works: those of a scheduler's workers that share our credentials, as they come and go.

Which of them does what, and that what a dead one was doing is done by another, is the scheduler's affair.  Ours is that
nobody else gets our orders: each is restricted to the workers that were fit when it was given, and is given anew if all
of these are gone.
"""

import asyncio
from collections.abc import Callable, Set
from concurrent.futures import CancelledError
from itertools import count
from typing import Any
from uuid import uuid4

import msgspec
from distributed import Client

from phalanx.errors import ConfigurationError
from phalanx.lab.spread import worker
from phalanx.lab.spread.work import Credentials, decode_credentials, refusal
from phalanx.sim.workers import WorkersLost

POLL_S = 1.0
"""How often the scheduler is asked which workers there are."""

PATIENCE_S = 60.0
"""So long a campaign goes on without any worker: one that is started anew is back by then."""

INSPECTION_S = 10.0
"""So long a campaign waits in the beginning for workers to say what they are.  One that is busy with something else says
it later, and works from then on."""

ANSWER_S = 60.0
"""So long the scheduler or a worker may take to answer a question.  A closed connection is noticed sooner."""

INSTALL = "pip install 'phalanx[campaigns]'"


class _Given(msgspec.Struct, eq=False):
    """An order, and who may carry it out."""

    to: frozenset[str]
    future: Any
    void: bool = False
    """None of them is there any more."""


async def end_all(tasks: Set[asyncio.Task[Any]]) -> None:
    """Cancel them until they have ended, however they do: what waits by asyncio.wait_for, as Dask does, goes on if it is
    cancelled at the moment at which it gets what it waits for (before Python 3.12)."""
    while tasks:
        for task in tasks:
            task.cancel()
        ended, tasks = await asyncio.wait(tasks, timeout=POLL_S)
        await asyncio.gather(*ended, return_exceptions=True)


class Crew:
    """The workers of a scheduler for one scenario.  Everything happens in one event loop."""

    def __init__(
        self, client: Client, address: str, scenario: str, ours: Credentials, tell: Callable[[str], None]
    ) -> None:
        self._client = client
        self._address = address
        self._scenario = scenario
        self._ours = ours
        self._tell = tell
        campaign = uuid4().hex[:12]
        self._names = (f"phalanx-{campaign}-{number}" for number in count())
        self.fit: set[str] = set()
        """Their addresses."""
        self._refused: dict[str, str] = {}
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._given: set[_Given] = set()
        self._watch: asyncio.Task[None] | None = None

    async def muster(self) -> None:
        """Wait until there is somebody to work.  Raises ConfigurationError if there will be nobody."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._client.run_on_scheduler(worker.be_there)
            await self._look()
        except ImportError as error:
            raise ConfigurationError(
                f"the scheduler {self._address} cannot import what it hands on ({error}): there, too, {INSTALL}"
            ) from error
        except (OSError, TimeoutError, WorkersLost) as error:
            raise ConfigurationError(f"the scheduler {self._address} does not answer; nothing was run") from error
        if not self._asked and not self._refused:
            self._tell(f"{self._address} has no workers yet: waiting {PATIENCE_S:.0f} s for some")
        self._watch = asyncio.create_task(self._keep_watch())
        loop = asyncio.get_running_loop()
        until = loop.time() + INSPECTION_S
        while (self._asked and loop.time() < until) or not self.fit:
            if self._refused and not self._asked and not self.fit:
                raise ConfigurationError(
                    f"none of the workers of {self._address} can be used, see above; nothing was run"
                )
            waiting = {self._watch, *self._asked.values()}
            await asyncio.wait(waiting, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
            try:
                self.check()
            except WorkersLost as error:
                raise ConfigurationError(f"{error}; nothing was run") from error

    def check(self) -> None:
        """Raises WorkersLost if there is nobody any more, and why."""
        if self._watch is not None and self._watch.done():
            self._watch.result()

    async def dismiss(self) -> None:
        """Stop looking for workers."""
        await end_all({*self._asked.values(), *([] if self._watch is None else [self._watch])})

    # --- orders -------------------------------------------------------------------------------------------------------

    async def answer(self, order: bytes) -> bytes:
        """What a fit worker makes of it.  Raises KilledWorker if several died of it, and WorkersLost."""
        while True:
            while not self.fit:  # `check` ends this
                await asyncio.sleep(POLL_S)
            given = self._give(order)
            self._given.add(given)
            try:
                answer: bytes = await given.future
                return answer
            except (CancelledError, OSError) as error:
                if not given.void:
                    raise WorkersLost(f"the scheduler {self._address} is gone") from error
            finally:
                self._given.discard(given)
                given.future.release()  # who is at it learns that nobody waits for it

    def _give(self, order: bytes) -> _Given:
        to = frozenset(self.fit)
        future = self._client.submit(worker.run, order, key=next(self._names), workers=list(to), pure=False)
        return _Given(to, future)

    # --- workers ------------------------------------------------------------------------------------------------------

    def refuse(self, address: str, why: str) -> None:
        """Give it nothing (more), until it is started anew."""
        self.fit.discard(address)
        if address not in self._refused:
            self._refused[address] = why
            self._tell(f"the worker {address} is refused: {why}")

    async def _keep_watch(self) -> None:
        """Ends with WorkersLost."""
        loop = asyncio.get_running_loop()
        alone_since = loop.time()
        while True:
            await asyncio.sleep(POLL_S)
            had_some = bool(self.fit)
            await self._look()
            if self.fit:
                alone_since = loop.time()
            elif had_some:
                self._tell(f"all workers of {self._address} are gone: waiting {PATIENCE_S:.0f} s for others")
            elif loop.time() - alone_since > PATIENCE_S:
                raise WorkersLost(f"{self._address} has had no worker to use for {PATIENCE_S:.0f} s")

    async def _look(self) -> None:
        """Who is there?"""
        try:
            async with asyncio.timeout(ANSWER_S):
                present: dict[str, int] = await self._client.nthreads()
        except (OSError, TimeoutError) as error:
            raise WorkersLost(f"the scheduler {self._address} is gone: {error}") from error
        for address in self._refused.keys() - present.keys():
            del self._refused[address]
        for address in self._asked.keys() - present.keys():
            self._asked[address].cancel()
        self.fit &= present.keys()
        for given in tuple(self._given):
            if not given.void and not given.to & present.keys():
                given.void = True
                await given.future.cancel()
        for address, threads in present.items():
            if address not in self.fit and address not in self._refused and address not in self._asked:
                if threads == 1:
                    self._asked[address] = asyncio.create_task(self._inspect(address))
                else:
                    self.refuse(
                        address,
                        f"it has {threads} threads, of which Python would run one at a time: start it with --nthreads 1, "
                        f"and as many as the machine has cores with --nworkers",
                    )

    async def _inspect(self, address: str) -> None:
        """Not by a task: a worker that cannot import what a task calls is ended by it."""
        try:
            async with asyncio.timeout(ANSWER_S):
                said = await self._client.run(worker.inspect, self._scenario, workers=[address])
            why = refusal(self._ours, decode_credentials(said[address]))
        except (OSError, TimeoutError, KeyError):  # it is gone, or slow: it is asked again if it is still there
            why = None
        except Exception as error:
            text = str(error) if type(error) is Exception else repr(error)  # the former is how Dask tells of the others
            remedy = INSTALL if "phalanx" in text else "install the scenario's module"
            why = f"it cannot import what is to be run ({text}): there, too, {remedy}"
        else:
            if why is None:
                self.fit.add(address)
        finally:
            del self._asked[address]
        if why is not None:
            self.refuse(address, why)
