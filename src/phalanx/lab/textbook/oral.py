"""OM(m): Byzantine generals with oral messages (Lamport, Shostak, Pease 1982, section 3), without recursion.

The paper's recursive calls become paths: what came over `(0, 4, 2)` is what 2 says that 4 says that 0, the commander, has
ordered.  In round k messages with paths of k names arrive; whoever gets one in a round before the last passes it on to
all who are not on the path.  At the end each lieutenant folds the tree of paths up by majorities, as step (3) of OM(m)
says.  A message that does not come counts as RETREAT, in passing on and in folding up.
"""

import copy
import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from phalanx.lab.textbook.rounds import Lockstep
from phalanx.model.machine import Output, Send
from phalanx.model.view import Name


class Value(enum.StrEnum):
    """What generals agree on."""

    ATTACK = "attack"
    RETREAT = "retreat"


Path = tuple[Name, ...]


class Oral(msgspec.Struct, frozen=True):
    """`value` was ordered, as the generals of the path said, each to the next; the last of them to the receiver."""

    path: Path
    value: Value

    def __str__(self) -> str:
        before = self.path[-2::-1]
        return f"{' said that '.join(before)} said: {self.value}" if before else f"{self.value}!"


def majority(values: Sequence[Value]) -> Value:
    """The value of more than half; RETREAT if there is none."""
    return Value.ATTACK if sum(v is Value.ATTACK for v in values) * 2 > len(values) else Value.RETREAT


def paths(generals: Sequence[Name], commander: Name, length: int) -> Iterator[Path]:
    """All paths of that length that begin at the commander, in order."""
    if length == 1:
        yield (commander,)
        return
    for path in paths(generals, commander, length - 1):
        yield from ((*path, name) for name in generals if name not in path)


class OralGeneral(Lockstep):
    """One loyal general; its delivery, after the last round, is what it does.

    `order` is what it commands, if it is the commander.  `m` is how many traitors there may be.
    """

    def __init__(self, me: Name, generals: Sequence[Name], commander: Name, m: int, order: Value | None = None) -> None:
        super().__init__(rounds=m + 1)
        assert (order is not None) == (me == commander), "only the commander orders"
        self._me = me
        self._generals = tuple(generals)
        self._commander = commander
        self._order = order
        self._heard: dict[Path, Value] = {}

    def fork(self) -> "OralGeneral":
        """An equal machine that goes its own way."""
        other = copy.copy(self)
        other._heard = dict(self._heard)
        return other

    def absorb(self, source: Name, message: Any) -> None:
        if isinstance(message, Oral) and self._is_due(source, message.path):
            self._heard.setdefault(message.path, message.value)

    def _is_due(self, source: Name, path: Path) -> bool:
        return (
            len(path) == self.round
            and path[0] == self._commander
            and path[-1] == source
            and len({*path, self._me}) == len(path) + 1
            and all(name in self._generals for name in path)
        )

    def act(self, out: Output) -> None:
        if self._me == self._commander:
            if self.round == 0:
                assert self._order is not None
                self._tell(out, (self._me,), self._order)
            elif self.round == self.rounds:
                out.deliveries.append(self._order)
        elif self.round == self.rounds:
            out.deliveries.append(self._fold((self._commander,)))
        elif self.round > 0:
            for path in self._due_paths():
                self._tell(out, (*path, self._me), self._heard.get(path, Value.RETREAT))

    def _due_paths(self) -> Iterable[Path]:
        return (path for path in paths(self._generals, self._commander, self.round) if self._me not in path)

    def _tell(self, out: Output, path: Path, value: Value) -> None:
        others = [name for name in self._generals if name not in path]
        if others:
            out.sends.append(Send(others, Oral(path, value)))

    def _fold(self, path: Path) -> Value:
        """What the last general of the path means, as far as I can tell: OM's step (3)."""
        said = self._heard.get(path, Value.RETREAT)
        if len(path) == self.rounds:
            return said
        others = [name for name in self._generals if name not in path and name != self._me]
        return majority([said, *(self._fold((*path, name)) for name in others)])
