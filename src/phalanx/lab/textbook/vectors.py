"""The four-phase algorithm of the lecture slides: every process learns the true values of all correct ones.

1. Each process sends its value to all others.  2. Each makes a vector of what it was told.  3. Each sends its vector to
all others.  4. Each takes, for every process, the value that more than half of the vectors that it was sent have for
it, or else UNKNOWN.

Source: slides "L-15 Fault Tolerance", Byzantine Agreement Algorithm (oral messages) 1 to 4, after Lamport, Shostak, Pease
1982; Tanenbaum and van Steen, "Distributed Systems", section 8.2.3, figure 8-5.
"""

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from phalanx.lab.textbook.rounds import Lockstep
from phalanx.model.machine import Output, Send
from phalanx.model.view import Name

UNKNOWN = 0
"""Nothing that more than half say.  Also what a process is taken to have said that said nothing: values are positive."""


class Strength(msgspec.Struct, frozen=True):
    """Phase 1: the sender's value."""

    value: int

    def __str__(self) -> str:
        return str(self.value)


class Vector(msgspec.Struct, frozen=True):
    """Phase 3: what the sender was told, in the order of the processes."""

    values: tuple[int, ...]

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.values))})"


class VectorProcess(Lockstep):
    """One correct process; its delivery is its result vector."""

    def __init__(self, me: Name, processes: Sequence[Name], value: int) -> None:
        super().__init__(rounds=2)
        self._me = me
        self._processes = tuple(processes)
        self._told = {me: value}
        self._vectors: dict[Name, tuple[int, ...]] = {}

    def fork(self) -> "VectorProcess":
        """An equal machine that goes its own way."""
        other = copy.copy(self)
        other._told = dict(self._told)
        other._vectors = dict(self._vectors)
        return other

    def absorb(self, source: Name, message: Any) -> None:
        match message:
            case Strength(value) if self.round == 1 and source != self._me:
                self._told.setdefault(source, value)
            case Vector(values) if self.round == 2 and source != self._me and len(values) == len(self._processes):
                self._vectors.setdefault(source, values)
            case _:
                pass

    def act(self, out: Output) -> None:
        others = [name for name in self._processes if name != self._me]
        match self.round:
            case 0:
                out.sends.append(Send(others, Strength(self._told[self._me])))
            case 1:
                vector = tuple(self._told.get(name, UNKNOWN) for name in self._processes)
                out.sends.append(Send(others, Vector(vector)))
            case _:
                out.deliveries.append(tuple(map(self._common, range(len(self._processes)))))

    def _common(self, index: int) -> int:
        others = [name for name in self._processes if name != self._me]
        silent = (UNKNOWN,) * len(self._processes)
        said = Counter(self._vectors.get(name, silent)[index] for name in others)
        value, count = said.most_common(1)[0]
        return value if count * 2 > len(others) else UNKNOWN
