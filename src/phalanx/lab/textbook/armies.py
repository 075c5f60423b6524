"""Two armies that can win together only, and messengers that may be caught: three ways to try.

`Handshake`: an order, its acknowledgement, the acknowledgement of that, and so on, each sent when the one before is here.
`Copies`: the order many times over, and no acknowledgement.  `Levels`: in every round each general tells the other how
far its knowledge of the other's knowledge goes; they attack if it goes as far as a number that one of them has drawn
and both know (Varghese and Lynch, "The Generals' Problem with Randomization", 1992; Lynch 1996, section 5.2).

Source: Gray, "Notes on Data Base Operating Systems" (1978), the generals' paradox; slides "Principles of Reliable
Communication & Shared State" (Piper), Agreement and the Two-Army Problem.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from phalanx.lab.textbook.rounds import Letter, Lockstep, Rounds
from phalanx.model.machine import Output, Send
from phalanx.model.view import Name

FIRST, SECOND = "A", "B"


class Numbered(msgspec.Struct, frozen=True):
    """The order, if the number is 1; else what acknowledges the message before, or another copy."""

    number: int


class Level(msgspec.Struct, frozen=True):
    """`level`: how far the sender's knowledge goes.  `key`: the number that was drawn, if the sender knows it."""

    level: int
    key: int | None


class General(Lockstep):
    """Delivers whether it attacks, after the last round."""

    def __init__(self, me: Name, rounds: int) -> None:
        super().__init__(rounds)
        self._me = me
        self._other = SECOND if me == FIRST else FIRST

    def _tell(self, out: Output, message: Any) -> None:
        out.sends.append(Send([self._other], message))


class Handshake(General):
    """`length` messages at most.  It attacks if the number of those that it got is in `attacks_at`."""

    def __init__(self, me: Name, length: int, attacks_at: frozenset[int]) -> None:
        super().__init__(me, length)
        self._attacks_at = attacks_at
        self._got = 0
        self._due = 1 if me == FIRST else None

    def absorb(self, source: Name, message: Any) -> None:  # noqa: ARG002  there is only one
        if isinstance(message, Numbered):
            self._got += 1
            self._due = message.number + 1

    def act(self, out: Output) -> None:
        if self._due is not None and self._due <= self.rounds:
            self._tell(out, Numbered(self._due))
        self._due = None
        if self.round == self.rounds:
            out.deliveries.append(self._got in self._attacks_at)


class Copies(General):
    """The first general sends so many copies, and attacks; the other does if one of them comes."""

    def __init__(self, me: Name, copies: int) -> None:
        super().__init__(me, rounds=1)
        self._copies = copies
        self._attacks = me == FIRST

    def absorb(self, source: Name, message: Any) -> None:  # noqa: ARG002  there is only one
        self._attacks = True

    def act(self, out: Output) -> None:
        if self.round < self.rounds:
            for number in range(1, self._copies + 1) if self._me == FIRST else ():
                self._tell(out, Numbered(number))
        else:
            out.deliveries.append(self._attacks)


class Levels(General):
    """`key`: what the first general has drawn, from 1 to the number of rounds; None at the other."""

    def __init__(self, me: Name, rounds: int, key: int | None) -> None:
        super().__init__(me, rounds)
        self._key = key
        self._level = 0 if key is None else 1

    def absorb(self, source: Name, message: Any) -> None:  # noqa: ARG002  there is only one
        if isinstance(message, Level):
            self._key = message.key if self._key is None else self._key
            if self._key is not None:
                self._level = max(self._level, message.level + 1)

    def act(self, out: Output) -> None:
        if self.round < self.rounds:
            self._tell(out, Level(self._level, self._key))
        else:
            out.deliveries.append(self._key is not None and self._level >= self._key)


def campaign(generals: Sequence[General], arrives: Callable[[Letter], bool]) -> tuple[bool, bool, int]:
    """Whether each attacks, and how many messages were sent.  `arrives` is asked about each message."""
    rounds = Rounds(dict(zip((FIRST, SECOND), generals, strict=True)))
    letters: list[Letter] = []
    for _ in range(generals[0].rounds + 1):
        letters = [letter for letter in rounds.turn(letters) if arrives(letter)]
    return rounds.decided[FIRST], rounds.decided[SECOND], rounds.sent
