"""Consensus with a rotating coordinator and an unreliable failure detector.

Chandra and Toueg, "Unreliable Failure Detectors for Reliable Distributed Systems" (JACM 1996), section 6.2, figure 6, for
detectors of class eventually strong, while a majority is correct.  (Out of eventually weak ones these are made by telling
all whom one suspects: section 3, and `weak`.)  Of round r the coordinator is process r mod n.  In it

1. each process sends its estimate to the coordinator, with the round in which it was adopted;
2. the coordinator proposes, of a majority's estimates, one that was adopted last;
3. each waits for the proposal or suspects the coordinator: it adopts the proposal and says so, or says that it did not;
4. the coordinator waits for a majority's replies, and if all have adopted, the value is decided, which it tells all.

The detector is asked by whoever drives the machine: an event `Suspects` is what it says at that moment. What a process
would send to itself it takes note of at once.
"""

import copy
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import msgspec

from phalanx.model.clock import Instant
from phalanx.model.machine import Output, Received, Send
from phalanx.model.view import Name


class Estimate(msgspec.Struct, frozen=True):
    """Phase 1: what the sender holds for right, and the round in which it adopted that; 0: it is its own proposal."""

    round: int
    value: int
    adopted: int

    def __str__(self) -> str:
        return f"round {self.round}: {self.value}, {f'of round {self.adopted}' if self.adopted else 'its own'}"


class Proposal(msgspec.Struct, frozen=True):
    """Phase 2."""

    round: int
    value: int

    def __str__(self) -> str:
        return f"round {self.round}: take {self.value}"


class Reply(msgspec.Struct, frozen=True):
    """Phase 3."""

    round: int
    adopted: bool

    def __str__(self) -> str:
        return f"round {self.round}: {'taken' if self.adopted else 'no'}"


class Decide(msgspec.Struct, frozen=True):
    """Phase 4: it is decided."""

    value: int

    def __str__(self) -> str:
        return f"decided: {self.value}"


class Suspects(msgspec.Struct, frozen=True):
    """The failure detector suspects these now.  It may be wrong, and differ from one process to another."""

    names: frozenset[Name]


class Rotating:
    """One process.  Its one delivery is the value that it decides."""

    def __init__(self, me: Name, processes: Sequence[Name], proposal: int) -> None:
        self.me = me
        self.round = 0
        """The round that it is in; 0 before its first step."""
        self.decided: int | None = None
        self._processes = tuple(processes)
        self._others = tuple(name for name in processes if name != me)
        self._majority = len(processes) // 2 + 1
        self._value = proposal
        self._adopted = 0
        self._estimates: dict[int, tuple[Estimate, ...]] = {}
        """By the round that they are for, in the order in which they came."""
        self._proposals: dict[int, int] = {}
        self._proposed = False
        """As coordinator of this round."""
        self._replies: dict[int, tuple[bool, ...]] = {}
        """By their round: who suspects a coordinator does not wait until it proposes."""

    def fork(self) -> "Rotating":
        """An equal machine that goes its own way."""
        other = copy.copy(self)
        other._estimates = dict(self._estimates)
        other._proposals = dict(self._proposals)
        other._replies = dict(self._replies)
        return other

    def key(self) -> Hashable:
        """Equal for machines of one process that will behave alike."""
        waiting = [tuple(sorted(each.items())) for each in (self._estimates, self._proposals, self._replies)]
        return self.round, self.decided, self._value, self._adopted, self._proposed, *waiting

    def heeds(self, message: Any) -> bool:
        """False: it makes no difference to this process, now or later."""
        if self.decided is not None:
            return False
        match message:
            case Estimate(round=number):
                return number > self.round or (number == self.round and not self._proposed)
            case Proposal(round=number) | Reply(round=number):
                return number >= self.round
            case _:
                return isinstance(message, Decide)

    @property
    def coordinator(self) -> Name:
        """Of this round."""
        return self._processes[(self.round - 1) % len(self._processes)]

    @property
    def waits_for(self) -> Name | None:
        """The coordinator that it would give up if it suspected it."""
        return None if self.decided is not None or self.coordinator == self.me else self.coordinator

    @property
    def deadline(self) -> int | None:
        return None if self.round else 0

    def step(self, events: Iterable[Any], now: Instant) -> Output:  # noqa: ARG002  an asynchronous process has no clock
        """Absorb, then take the phases that can be taken."""
        out = Output()
        suspected: frozenset[Name] = frozenset()
        for event in events:
            if isinstance(event, Suspects):
                suspected = event.names
            elif isinstance(event, Received) and event.source in self._others:
                self._absorb(event.message, out)
        if not self.round:
            self._begin_round(out)
        while self.decided is None and self._advance(suspected, out):
            pass
        return out

    def _absorb(self, message: Any, out: Output) -> None:
        if not self.heeds(message):
            return
        match message:
            case Estimate(round=number):
                self._estimates[number] = (*self._estimates.get(number, ()), message)
            case Proposal(number, value):
                self._proposals[number] = value
            case Reply(number, adopted):
                self._replies[number] = (*self._replies.get(number, ()), adopted)
            case Decide(value):
                self._decide(value, out)

    def _advance(self, suspected: frozenset[Name], out: Output) -> bool:
        """Take one phase.  False: this process has to wait."""
        if self.coordinator == self.me:
            return self._judge(out) if self._proposed else self._propose(out)
        return self._adopt(out) or self._give_up(suspected, out)

    def _begin_round(self, out: Output) -> None:
        """Phase 1."""
        self.round += 1
        self._proposed = False
        for waiting in (self._estimates, self._proposals, self._replies):
            for number in [number for number in waiting if number < self.round]:
                del waiting[number]
        mine = Estimate(self.round, self._value, self._adopted)
        if self.coordinator == self.me:
            self._estimates[self.round] = (*self._estimates.get(self.round, ()), mine)
        else:
            out.sends.append(Send([self.coordinator], mine))

    def _propose(self, out: Output) -> bool:
        """Phase 2."""
        estimates = self._estimates[self.round]
        if len(estimates) < self._majority:
            return False
        self._value = self._select(estimates)
        self._adopted = self.round
        self._proposed = True
        del self._estimates[self.round]
        self._replies[self.round] = (*self._replies.get(self.round, ()), True)
        out.sends.append(Send(self._others, Proposal(self.round, self._value)))
        return True

    def _select(self, estimates: Sequence[Estimate]) -> int:
        """The one that was adopted last; of several, that which came first."""
        return max(estimates, key=lambda estimate: estimate.adopted).value

    def _adopt(self, out: Output) -> bool:
        """Phase 3, the proposal is here."""
        value = self._proposals.get(self.round)
        if value is None:
            return False
        self._value, self._adopted = value, self.round
        out.sends.append(Send([self.coordinator], Reply(self.round, True)))
        self._begin_round(out)
        return True

    def _give_up(self, suspected: frozenset[Name], out: Output) -> bool:
        """Phase 3, the coordinator is suspected."""
        if self.coordinator not in suspected:
            return False
        out.sends.append(Send([self.coordinator], Reply(self.round, False)))
        self._begin_round(out)
        return True

    def _judge(self, out: Output) -> bool:
        """Phase 4."""
        replies = self._replies[self.round]
        if len(replies) < self._majority:
            return False
        if all(replies):
            self._decide(self._value, out)
        else:
            self._begin_round(out)
        return True

    def _decide(self, value: int, out: Output) -> None:
        """Whoever learns it tells all others before it stops, so that all learn it or nobody does."""
        self.decided = value
        out.sends.append(Send(self._others, Decide(value)))
        out.deliveries.append(value)
