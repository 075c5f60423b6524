"""Clients that use a store while things go wrong, and remember what came of each call.

Each client is a `connect` of its own with one call at a time, as a program would have.  What it records is honest: a call
that raised `NotHappened` failed, one whose outcome nobody learned may have happened or may yet.  All clients are in one
process, so the times of their calls are of one clock and the history can be judged (`phalanx.check`).

Half of the writes go to a *ledger*: each to a key of its own, never written again, so that a lost write is one that was
acknowledged and is not there at the end.  The other calls get, put, delete and compare-and-set few keys that all share.
"""

import asyncio
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

from phalanx.api.client import connect
from phalanx.api.store import Store
from phalanx.api.tls import TLS
from phalanx.errors import NotHappened, OutcomeUnknown
from phalanx.model.clock import MILLISECOND
from phalanx.model.history import Operation, Outcome
from phalanx.model.view import Address, Name

BIN_NS = 100 * MILLISECOND
"""Width of the bins of `Records.rates`."""

LEDGER = "ledger/"

WRITES = frozenset({"put", "delete", "cas"})

CALL_S_MAX = 10.0
"""Long enough for any failover: what does not succeed by then is a fault of the cluster, not of the client's haste."""


class Record(NamedTuple):
    """A call, and the node that its client prefers: where it is connected unless that node failed lately."""

    home: Name
    operation: Operation


class Records:
    """All that has been recorded so far.  Times are `time.monotonic_ns()`."""

    def __init__(self) -> None:
        self.all: list[Record] = []
        self._ended: Counter[int] = Counter()
        self._outcomes: Counter[Outcome] = Counter()

    def add(self, record: Record) -> None:
        """A call has ended."""
        self.all.append(record)
        operation = record.operation
        self._outcomes[operation.outcome] += 1
        if operation.outcome is Outcome.OK and operation.completed is not None:
            self._ended[operation.completed // BIN_NS] += 1

    @property
    def operations(self) -> list[Operation]:
        """The client history, for `check_linearizable`."""
        return [record.operation for record in self.all]

    def count(self, outcome: Outcome) -> int:
        """How many calls ended so."""
        return self._outcomes[outcome]

    def rates(self, now: int, bins: int) -> list[int]:
        """Successful calls in each of the last whole 100 ms, the latest last."""
        last = now // BIN_NS
        return [self._ended[b] for b in range(last - bins, last)]

    def latencies(self, since: int, homes: Iterable[Name] | None = None) -> list[int]:
        """Nanoseconds that successful calls took that ended after `since`, sorted; by the clients of these homes."""
        wanted = None if homes is None else set(homes)
        found = []
        for home, operation in reversed(self.all):
            if operation.completed is not None:
                if operation.completed < since:
                    break  # records are in the order of their ends
                if operation.outcome is Outcome.OK and (wanted is None or home in wanted):
                    found.append(operation.completed - operation.invoked)
        return sorted(found)

    def gaps(self, since: int, until: int, homes: Iterable[Name] | None = None) -> list[int]:
        """The times in ns between successful writes, one after the other, by the clients of these homes together (None:
        of all); begun at the last success before `since`, the last one ended by `until`."""
        wanted = None if homes is None else set(homes)
        times = sorted(
            operation.completed
            for home, operation in self.all
            if operation.completed is not None
            and operation.outcome is Outcome.OK
            and operation.f in WRITES
            and (wanted is None or home in wanted)
        )
        begin = max((t for t in times if t <= since), default=since)
        points = [begin, *(t for t in times if since < t < until), until]
        return [after - before for before, after in itertools.pairwise(points)]

    def longest_gap(self, since: int, until: int, homes: Iterable[Name] | None = None) -> int:
        """The longest of `gaps`: how long nobody of them could write."""
        return max(self.gaps(since, until, homes))

    def lost(self, final: Mapping[str, str]) -> list[str]:
        """Keys of the ledger whose write was acknowledged, and that do not have the value in the end."""
        return [o.key for o in self._ledger() if o.outcome is Outcome.OK and final.get(o.key) != o.argument]

    def phantoms(self, final: Mapping[str, str]) -> list[str]:
        """Keys of the ledger whose write was said not to have happened, and that are there in the end."""
        return [o.key for o in self._ledger() if o.outcome is Outcome.FAIL and o.key in final]

    def acknowledged(self) -> int:
        """How many writes of the ledger were acknowledged."""
        return sum(o.outcome is Outcome.OK for o in self._ledger())

    def _ledger(self) -> Iterator[Operation]:
        return (o for _, o in self.all if o.f == "put" and o.key.startswith(LEDGER))


def percentile(values: Sequence[int], share: float) -> int:
    """The least value that at least that share of the sorted values do not exceed; 0 of none."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else 0


class Load:
    """Clients that work while the block runs.

    nodes: addresses by name; client i prefers the i-th, and goes on to those that follow when it fails.
    pause_s: what a client does nothing for between two calls.  seed: of which calls are made.  tls: what they show.
    """

    def __init__(
        self,
        nodes: Mapping[Name, Address],
        clients: int = 6,
        keys: int = 6,
        pause_s: float = 0.005,
        seed: int = 1,
        records: Records | None = None,
        tls: TLS | None = None,
    ) -> None:
        self._tls = tls
        self.records = records if records is not None else Records()
        self._nodes = dict(nodes)
        self._clients = clients
        self._keys = [f"key/{number}" for number in range(keys)]
        self._pause_s = pause_s
        self._rng = random.Random(seed)
        self._names = list(nodes)
        self._numbers = itertools.count(1)
        self._generation = 0
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        ended = await self.finish()
        for failure in ended:
            if error is None and failure is not None:
                raise failure

    async def finish(self) -> list[BaseException | None]:
        """Let each client end the call that it is in."""
        self._ending = True
        return await asyncio.gather(*self._tasks, return_exceptions=True)

    async def make(self, calls: int) -> None:
        """Wait until that many more calls have succeeded."""
        enough = self.records.count(Outcome.OK) + calls
        while self.records.count(Outcome.OK) < enough:
            await asyncio.sleep(0.01)

    def rebalance(self) -> None:
        """Have each client connect anew after its present call, to the node that it prefers: clients stay with the node
        that they fled to."""
        self._generation += 1

    async def _client(self, number: int) -> None:
        rng = random.Random(self._rng.getrandbits(64))
        at = number % len(self._names)
        names = self._names[at:] + self._names[:at]
        seen: dict[str, str | None] = {}
        while not self._ending:
            generation = self._generation
            async with connect(*(self._nodes[name] for name in names), timeout_s=CALL_S_MAX, tls=self._tls) as client:
                store = client.kv()
                while not self._ending and generation == self._generation:
                    await self._call(store, number, names[0], rng, seen)
                    await asyncio.sleep(self._pause_s * rng.uniform(0.5, 1.5))

    async def _call(
        self, store: Store, number: int, home: Name, rng: random.Random, seen: dict[str, str | None]
    ) -> None:
        """Choose a call, make it, and record how it ended."""
        value = f"{number}.{next(self._numbers)}"
        key = rng.choice(self._keys)
        f = rng.choices(("ledger", "put", "get", "cas", "delete"), (40, 15, 30, 12, 3))[0]
        argument: str | list[str | None] | None = value
        if f == "ledger":
            f, key = "put", f"{LEDGER}{value}"
        elif f == "cas":
            argument = [seen.get(key), value]
        elif f in ("get", "delete"):
            argument = None
        invoked = time.monotonic_ns()
        outcome, result = Outcome.INFO, None
        try:
            result = await perform(store, f, key, argument)
            outcome = Outcome.OK
        except NotHappened:
            outcome = Outcome.FAIL
        except OutcomeUnknown:
            pass
        finally:  # a cancelled call, too, may have happened
            ended = None if outcome is Outcome.INFO else time.monotonic_ns()
            # Whoever does not know what became of its call goes on as another: the call may still be under way.
            process = f"{number}.{value}" if outcome is Outcome.INFO else number
            self.records.add(Record(home, Operation(process, f, key, argument, result, outcome, invoked, ended)))
        if f == "get":
            seen[key] = result if isinstance(result, str) else None


async def perform(store: Store, f: str, key: str, argument: str | list[str | None] | None) -> str | bool | None:
    """Make the call that an operation of that kind stands for, and give what its `result` is to be."""
    raw = key.encode()
    match f, argument:
        case "get", None:
            found = await store.get(raw)
            return None if found is None else found.value.decode()
        case "delete", None:
            await store.delete(raw)
            return None
        case "cas", [expected, str(value)]:
            before = expected.encode() if isinstance(expected, str) else None
            return await store.compare_and_set(raw, before, value.encode())
        case "put", str(value):
            await store.put(raw, value.encode())
            return None
    raise ValueError(f"no operation {f} with {argument!r}")


async def read_all(store: Store, records: Records) -> dict[str, str]:
    """Everything that the store holds, each key that was ever used read once more and recorded: the end of a history.
    A key that is found changed meanwhile makes the history wrong, so nobody may write any more."""
    invoked = time.monotonic_ns()
    final: dict[str, str] = {}
    start, more = b"", True
    while more:
        page = await store.range(start)
        final |= {key.decode(): item.value.decode() for key, item in page.items}
        start, more = page.items[-1][0] + b"\0" if page.items else b"", page.more
    ended = time.monotonic_ns()
    for key in sorted({o.key for o in records.operations}):
        read = Operation("final", "get", key, None, final.get(key), Outcome.OK, invoked, ended)
        records.add(Record("", read))
    return final
