"""Modular redundancy: stages of alike modules, with voters between them, and components that fail.

    source --> module 1.1 --> voter 1.1 --> module 2.1 --> ... --> reader
          \\-> module 1.2 -x> voter 1.2 --> module 2.2 -x>
           \\> module 1.3 --> voter 1.3 --> module 2.3 -->

Each module of a stage computes the same; each voter reads all modules of its stage, and passes on what more than half of
them say.  There are as many voters as modules, or only one.  The reader is no component: it takes what more than half
of the last voters say.

Source: Lyons and Vanderkulk, "The Use of Triple-Modular Redundancy to Improve Computer Reliability" (IBM Journal 1962);
slides "L-15 Fault Tolerance", Failure Masking by Redundancy; Tanenbaum and van Steen, figure 8-2.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from phalanx.lab.textbook.rounds import Lockstep
from phalanx.model.clock import Instant
from phalanx.model.machine import Machine, Output, Send
from phalanx.model.view import Name


class Fault(enum.StrEnum):
    """How a component fails, in the terms of Cristian 1991."""

    OMISSION = "omission"
    """It sends nothing."""
    VALUE_ALIKE = "value, alike"
    """It sends a wrong value, the same as others that fail."""
    VALUE_APART = "value, different"
    """It sends a wrong value of its own."""


class Reading(msgspec.Struct, frozen=True):
    """A value on its way from one component to the next."""

    value: int


class Module(Lockstep):
    """Adds one to what it gets in its round.  Without an input it says nothing."""

    def __init__(self, at: int, readers: Sequence[Name]) -> None:
        super().__init__(rounds=at)
        self._readers = tuple(readers)
        self._input: int | None = None

    def absorb(self, source: Name, message: Any) -> None:  # noqa: ARG002  it has only one source
        if isinstance(message, Reading):
            self._input = message.value

    def act(self, out: Output) -> None:
        if self.round == self.rounds and self._input is not None:
            out.sends.append(Send(self._readers, Reading(self._input + 1)))


class Voter(Lockstep):
    """Passes on what at least `enough` of its inputs say; nothing if there is no such value, or more than one.

    `readers`: to whom.  Nobody: the value is delivered, None if it is undefined.
    """

    def __init__(self, at: int, inputs: Sequence[Name], enough: int, readers: Sequence[Name] = ()) -> None:
        super().__init__(rounds=at)
        self._inputs = frozenset(inputs)
        self._enough = enough
        self._readers = tuple(readers)
        self._said: dict[Name, int] = {}

    def absorb(self, source: Name, message: Any) -> None:
        if isinstance(message, Reading) and source in self._inputs:
            self._said[source] = message.value

    def act(self, out: Output) -> None:
        if self.round < self.rounds:
            return
        value = self._vote()
        if not self._readers:
            out.deliveries.append(value)
        elif value is not None:
            out.sends.append(Send(self._readers, Reading(value)))

    def _vote(self) -> int | None:
        winners = [value for value, count in Counter(self._said.values()).items() if count >= self._enough]
        return winners[0] if len(winners) == 1 else None


class Faulty:
    """A machine whose sends are those of a component that fails."""

    def __init__(self, machine: Machine, fault: Fault, number: int) -> None:
        self._machine = machine
        self._error = {Fault.VALUE_ALIKE: 1_000, Fault.VALUE_APART: 1_000 * (number + 2)}.get(fault)

    @property
    def deadline(self) -> int | None:
        return self._machine.deadline

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """As the machine, but for what it sends."""
        out = self._machine.step(events, now)
        if self._error is None:
            out.sends.clear()
        else:
            out.sends[:] = [Send(send.to, Reading(send.message.value + self._error)) for send in out.sends]
        return out
