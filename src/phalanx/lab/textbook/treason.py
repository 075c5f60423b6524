"""Every behaviour of traitors, explored: what loyal generals decide under each.

Traitors are no machines.  In each round they know all that was sent to any of them, in this round too, and each of them
sends to each loyal general whatever the protocol's messages allow: that is a list of *slots*, each with its options.
The search goes through all combinations of options in all rounds, with one reduction that leaves nothing out: what a
general decides depends on what it is sent, and what is sent in the last round is answered by nobody.  So the last
round's slots are tried for each receiver apart, and a behaviour of the traitors is one choice for each receiver.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from phalanx.lab.exhaustive import Choices, every
from phalanx.lab.textbook.rounds import ROUND_NS, Letter, Rounds
from phalanx.model.clock import Instant
from phalanx.model.machine import Machine, Received
from phalanx.model.view import Name


class General(Machine, Protocol):
    """A loyal general's machine, which can be copied to see what it would decide."""

    def fork(self) -> "General": ...

    @property
    def rounds(self) -> int:
        """Number of the last round."""


class Slot(NamedTuple):
    """What one traitor may send to one loyal general in one round: one of the options; None is silence."""

    source: Name
    target: Name
    options: tuple[Any, ...]


Slots = Callable[[int, Sequence[Letter]], Sequence[Slot]]
"""Of round n (whose messages arrive in round n + 1), given all letters to traitors so far."""

D = TypeVar("D")


class Behaviours(NamedTuple, Generic[D]):
    """All behaviours of traitors that are alike up to the last round.

    letters: what was sent until then, to whomever, by round.  ends: for each loyal general that is not the commander,
    each decision it can be brought to, with the last letters that do so.  covered: how many behaviours that are.
    """

    letters: tuple[tuple[Letter, ...], ...]
    ends: dict[Name, dict[D, tuple[Letter, ...]]]
    covered: int
    tried: int

    def outcomes(self) -> "Iterator[tuple[D, Name]]":
        """Each decision, with a general that can be brought to it."""
        for name, decisions in self.ends.items():
            for decision in decisions:
                yield decision, name


def behaviours(make: Callable[[], Mapping[Name, General]], slots: Slots) -> Iterator[Behaviours[Any]]:
    """Go through them all.  `make` gives the machines of the loyal generals, new each time."""
    return every(lambda choices: _besiege(make(), slots, choices))


def _besiege(loyal: Mapping[Name, General], slots: Slots, choices: Choices) -> Behaviours[Any]:
    last = next(iter(loyal.values())).rounds
    rounds = Rounds(loyal)
    told: list[Letter] = []
    history: list[tuple[Letter, ...]] = []
    letters: list[Letter] = []
    for number in range(last):
        honest = rounds.turn(letters)
        told += [letter for letter in honest if letter.target not in loyal]
        if number == last - 1:
            return _last(loyal, honest, slots(number, told), tuple(history))
        picked = _pick(slots(number, told), choices)
        letters = honest + picked
        history.append(tuple(letters))
    raise AssertionError("a protocol has at least one round")


def _pick(slots: Sequence[Slot], choices: Choices) -> list[Letter]:
    picked = [Letter(slot.source, slot.target, choices.pick(slot.options)) for slot in slots]
    return [letter for letter in picked if letter.message is not None]


def _last(
    loyal: Mapping[Name, General], honest: list[Letter], slots: Sequence[Slot], history: tuple[tuple[Letter, ...], ...]
) -> Behaviours[Any]:
    now = Instant((len(history) + 1) * ROUND_NS, 0)
    ends: dict[Name, dict[Any, tuple[Letter, ...]]] = {}
    covered, tried = 1, 0
    for name, machine in loyal.items():
        mine = [slot for slot in slots if slot.target == name]
        came = [letter for letter in honest if letter.target == name]
        decisions: dict[Any, tuple[Letter, ...]] = {}
        count = 0
        for picked in every(lambda choices, mine=mine: _pick(mine, choices)):  # type: ignore[misc]  # mypy sees no type for the default
            letters = (*came, *picked)
            output = machine.fork().step([Received(letter.source, letter.message) for letter in letters], now)
            (decision,) = output.deliveries
            decisions.setdefault(decision, letters)
            count += 1
        ends[name] = decisions
        covered *= count
        tried += count
    return Behaviours(history, ends, covered, tried)
