"""Chandra and Toueg's processes with an eventually weak failure detector, and the reduction that makes it strong.

*Weak completeness*: whoever crashes is in the end suspected by some process that lives, and not by all of them.  The
detector here is a ring: each process polls its nearest successor that it does not suspect, so of the living one notices.
(Larrea, Arevalo, Fernandez, "Efficient Algorithms to Implement Unreliable Failure Detectors in Partially Synchronous
Systems", DISC 1999.)  A limit that was too short is doubled, so in the end nobody who lives is suspected.

The reduction (Chandra and Toueg 1996, section 3, figure 3) has each process tell all, again and again, whom its own
detector suspects.  Of such a message from q each adds the suspects to its *output*, and takes q out:

    output := (output ∪ suspects of q) - {q}

The output is strongly complete, and as accurate as the detectors were.  The algorithm for strong ones runs on it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from phalanx.lab.textbook.consensus import Rotating, Suspects
from phalanx.lab.textbook.watchful import until_decided
from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import Machine, Output, Received, Send
from phalanx.model.view import Name

INTERVAL = 20 * MILLISECOND
"""From one poll to the next, and from one report of suspects to the next."""

PATIENCE_NS = 20 * SECOND
"""Of a run: after so long it is not decided."""


class Poll(msgspec.Struct, frozen=True):
    """Are you there?"""


class Here(msgspec.Struct, frozen=True):
    """Yes."""


class Suspected(msgspec.Struct, frozen=True):
    """Task 1 of the reduction: whom the sender's own detector suspects now."""

    names: tuple[Name, ...]


class Ring:
    """The eventually weak detector of one process; times are monotonic nanoseconds."""

    def __init__(self, me: Name, processes: Sequence[Name], limit: int) -> None:
        at = list(processes).index(me)
        self._successors = (*processes[at + 1 :], *processes[:at])
        self._first_limit = limit
        self._limits: dict[Name, int] = {}
        self._since: int | None = None
        self.suspected: set[Name] = set()
        self.mistakes = 0

    @property
    def watched(self) -> Name | None:
        """The nearest successor that is not suspected."""
        return next((name for name in self._successors if name not in self.suspected), None)

    @property
    def deadline(self) -> int | None:
        """When it will suspect whom it watches, if nothing is heard."""
        watched = self.watched
        return None if watched is None or self._since is None else self._since + self._limit(watched)

    def hear(self, source: Name, now: int) -> None:
        """It answered.  If it was suspected, it is watched again, and those behind it are left to others."""
        if source == self.watched:
            self._since = now
        if source in self.suspected:
            self.suspected = set(self._successors[: self._successors.index(source)]) & self.suspected
            self.mistakes += 1
            self._limits[source] = 2 * self._limit(source)
            self._since = now

    def look(self, now: int) -> None:
        """Time has passed."""
        if self._since is None:
            self._since = now
        deadline, watched = self.deadline, self.watched
        if watched is not None and deadline is not None and now >= deadline:
            self.suspected.add(watched)
            self._since = now

    def _limit(self, of: Name) -> int:
        return self._limits.get(of, self._first_limit)


class Reduction:
    """Task 2, at one process."""

    def __init__(self) -> None:
        self.output: frozenset[Name] = frozenset()

    def told(self, source: Name, suspects: Iterable[Name]) -> None:
        """What `source` (who may be this process) said that it suspects."""
        self.output = (self.output | frozenset(suspects)) - {source}


class WeaklyWatchful:
    """One process with its ring.  `reduced`: the algorithm is given the reduction's output, else what the ring says."""

    def __init__(self, process: Rotating, processes: Sequence[Name], limit: int, *, reduced: bool) -> None:
        self.process = process
        self.ring = Ring(process.me, processes, limit)
        self.reduction = Reduction()
        self.reduced = reduced
        self._others = tuple(name for name in processes if name != process.me)
        self._next = 0
        """When to poll and to report again."""

    @property
    def suspected(self) -> frozenset[Name]:
        """What the algorithm is told."""
        return self.reduction.output if self.reduced else frozenset(self.ring.suspected)

    @property
    def deadline(self) -> int | None:
        ring = self.ring.deadline
        return self._next if ring is None else min(self._next, ring)

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Hear, look, report, then take the algorithm's step."""
        own = Output()
        rest: list[Any] = []
        for event in events:
            match event:
                case Received(source, Poll()):
                    own.sends.append(Send([source], Here()))
                case Received(source, Here()):
                    self.ring.hear(source, now.mono)
                case Received(source, Suspected(names)):
                    self.reduction.told(source, names)
                case _:
                    rest.append(event)
        self.ring.look(now.mono)
        if now.mono >= self._next:
            self._next = now.mono + INTERVAL
            self._speak(own)
        out = self.process.step([*rest, Suspects(self.suspected)], now)
        out.sends += own.sends
        return out

    def _speak(self, out: Output) -> None:
        if (watched := self.ring.watched) is not None:
            out.sends.append(Send([watched], Poll()))
        if self.reduced:
            suspects = tuple(sorted(self.ring.suspected))
            self.reduction.told(self.process.me, suspects)
            out.sends.append(Send(self._others, Suspected(suspects)))


class Weakly(NamedTuple):
    """One run in the simulated network."""

    processes: int
    crashed: tuple[Name, ...]
    delay_ms: int
    reduced: bool
    values: frozenset[int]
    decided: bool
    """By all that live."""
    at_s: float
    rounds: int
    mistakes: int
    by_detectors: tuple[int, ...]
    """Of each that crashed: how many of the living suspect it in the end, by their own detectors ..."""
    by_output: tuple[int, ...]
    """... and in the output of the reduction."""
    wrongly: int
    """How often a living process suspects a living one in the end, in what the algorithm is told."""


def in_network(
    names: Sequence[Name],
    proposals: Sequence[int],
    limit_ms: int,
    delay_ms: int,
    crashed: Sequence[Name],
    reduced: bool,
) -> Weakly:
    """Run them as `until_decided` does.  After the decision the detectors go on for a while, so that what holds in the
    end can be seen."""

    def begin(name: Name) -> Machine:
        process = Rotating(name, names, proposals[names.index(name)])
        return WeaklyWatchful(process, names, limit_ms * MILLISECOND, reduced=reduced)

    end = until_decided(names, begin, delay_ms, crashed, PATIENCE_NS)
    world, alive = end.world, end.alive
    world.run_until(max(world.now, PATIENCE_NS))
    assert not world.failures, world.failures
    machines = [machine for name in alive if isinstance(machine := world.nodes[name].machine, WeaklyWatchful)]
    return Weakly(
        len(names),
        tuple(crashed),
        delay_ms,
        reduced,
        end.values,
        end.decided,
        end.at_s,
        max(machine.process.round for machine in machines),
        sum(machine.ring.mistakes for machine in machines),
        tuple(sum(name in machine.ring.suspected for machine in machines) for name in crashed),
        tuple(sum(name in machine.reduction.output for machine in machines) for name in crashed),
        sum(name in machine.suspected for machine in machines for name in alive),
    )
