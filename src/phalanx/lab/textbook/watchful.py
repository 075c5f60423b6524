"""Chandra and Toueg's processes with a failure detector of their own: how long they have waited for a coordinator.

A coordinator that has said nothing for `limit` is suspected.  If something comes from one that was suspected, that was
a mistake, and if `grows`, its limit is doubled.  (Chandra and Toueg 1996, section 9.1: timeouts that grow make a detector
that is eventually perfect, where messages take no longer than some time that nobody knows.)
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from phalanx.lab.textbook.consensus import Rotating, Suspects
from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import Machine, Output, Received
from phalanx.model.view import Name
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World


class Watchful:
    """Drives one process of the algorithm; times are monotonic nanoseconds."""

    def __init__(self, process: Rotating, limit: int, *, grows: bool) -> None:
        self.process = process
        self.mistakes = 0
        self._first_limit = limit
        self._grows = grows
        self._limits: dict[Name, int] = {}
        self._suspected: set[Name] = set()
        self._since = 0
        """It has waited for the coordinator of this round since then, or since it last heard it."""

    @property
    def deadline(self) -> int | None:
        if self.process.deadline is not None:
            return self.process.deadline
        of = self.process.waits_for
        return None if of is None else self._since + self._limit(of)

    def _limit(self, of: Name) -> int:
        return self._limits.get(of, self._first_limit)

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Hear, then ask the detector, then take the step."""
        events = list(events)
        for event in events:
            if isinstance(event, Received):
                self._hear(event.source, now.mono)
        of, number = self.process.waits_for, self.process.round
        if of is not None and number and now.mono >= self._since + self._limit(of):
            self._suspected.add(of)
            events.append(Suspects(frozenset({of})))
        out = self.process.step(events, now)
        if self.process.round != number:
            self._since = now.mono
        return out

    def _hear(self, source: Name, now: int) -> None:
        if source == self.process.waits_for:
            self._since = now
        if source in self._suspected:
            self._suspected.discard(source)
            self.mistakes += 1
            if self._grows:
                self._limits[source] = 2 * self._limit(source)


PATIENCE_NS = 60 * SECOND


class Ended(NamedTuple):
    """A run of consensus in the simulated network."""

    world: World
    alive: tuple[Name, ...]
    values: frozenset[int]
    """What was decided, by whomever."""
    decided: bool
    """By all that live."""
    at_s: float


def until_decided(
    names: Sequence[Name],
    begin: Callable[[Name], Machine],
    delay_ms: int,
    crashed: Collection[Name],
    patience_ns: int,
) -> Ended:
    """Run the machines that `begin` makes until all that live have decided, or for `patience_ns`.

    Messages take `delay_ms` to five quarters of it; those that crash do so in the first millisecond.
    """
    decided: dict[Name, int] = {}

    def begin_process(setup: Setup) -> Machine:
        return begin(setup.name)

    def deliver(node: Node, value: int) -> None:
        decided[node.name] = value

    delay_ns = delay_ms * MILLISECOND
    conditions = Conditions(stagger_ns=0, delay_min_ns=delay_ns, delay_spread_ns=delay_ns // 4)
    world = World(1, begin_process, deliver=deliver, conditions=conditions)
    for name in names:
        world.add(name)
    for name in crashed:
        world.at(MILLISECOND, world.crash, name)
    alive = tuple(name for name in names if name not in crashed)
    done = world.run_while(lambda: len(decided) < len(alive), patience_ns)
    assert not world.failures, world.failures
    return Ended(world, alive, frozenset(decided.values()), done, world.now / SECOND)


class Timed(NamedTuple):
    """One run in the simulated network."""

    delay_ms: int
    crashed: bool
    grows: bool
    values: frozenset[int]
    decided: bool
    """By all that live."""
    at_s: float
    rounds: int
    mistakes: int


def in_network(
    names: Sequence[Name], proposals: Sequence[int], limit_ms: int, delay_ms: int, crashed: bool, grows: bool
) -> Timed:
    """Run them as `until_decided` does.  If `crashed`, the first process crashes."""

    def begin(name: Name) -> Machine:
        process = Rotating(name, names, proposals[names.index(name)])
        return Watchful(process, limit_ms * MILLISECOND, grows=grows)

    end = until_decided(names, begin, delay_ms, names[:1] if crashed else (), PATIENCE_NS)
    machines = [machine for name in end.alive if isinstance(machine := end.world.nodes[name].machine, Watchful)]
    rounds = max(machine.process.round for machine in machines)
    mistakes = sum(machine.mistakes for machine in machines)
    return Timed(delay_ms, crashed, grows, end.values, end.decided, end.at_s, rounds, mistakes)
