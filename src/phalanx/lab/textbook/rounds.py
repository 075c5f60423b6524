"""The synchronous model: every message that is sent in a round arrives before it ends, and silence can be noticed.

Machines that live in it are ordinary ones: they collect what has come, and act when their deadline, the end of a round,
has passed.  So they run in any driver whose messages take less than a round; `Rounds` is the one without a network.

All machines begin at the same time, as nearly as no message takes less.

Assumptions A1 to A3 of Lamport, Shostak, Pease, "The Byzantine Generals Problem" (TOPLAS 1982), section 2: what is sent
is delivered correctly, the receiver knows the sender, the absence of a message can be detected.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from phalanx.model.clock import SECOND, Instant
from phalanx.model.machine import Machine, Output, Received, Send
from phalanx.model.view import Name

ROUND_NS = SECOND
"""How long a round is: longer than any message takes."""


class Letter(NamedTuple):
    """One message on its way."""

    source: Name
    target: Name
    message: Any


class Lockstep:
    """A machine that acts at the end of rounds only: for others to inherit from.

    Round 0 ends at once, and is for whoever speaks first; what was sent in it arrives in round 1, and so on.
    """

    def __init__(self, rounds: int) -> None:
        self.round = 0
        """The round that is under way; after the last it is past that."""
        self.rounds = rounds
        """The last one."""
        self._begun: int | None = None
        self._came: list[Received] = []

    @property
    def deadline(self) -> int | None:
        if self.round > self.rounds:
            return None
        return 0 if self._begun is None else self._begun + self.round * ROUND_NS

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Collect; act if the round is over."""
        out = Output()
        if self._begun is None:
            self._begun = now.mono
        self._came = [*self._came, *(event for event in events if isinstance(event, Received))]  # forks share the list
        while (deadline := self.deadline) is not None and now.mono >= deadline:
            came, self._came = self._came, []
            for received in came:
                self.absorb(received.source, received.message)
            self.act(out)
            self.round += 1
        return out

    def absorb(self, source: Name, message: Any) -> None:
        """Something that was sent in the round before this one.  What does not make sense is ignored."""
        raise NotImplementedError

    def act(self, out: Output) -> None:
        """The round is over."""
        raise NotImplementedError


M = TypeVar("M", bound=Machine)


class Rounds(Generic[M]):
    """Drives loyal machines in lock step.  What others send is up to the caller."""

    def __init__(self, machines: Mapping[Name, M]) -> None:
        self.machines = dict(machines)
        self.decided: dict[Name, Any] = {}
        """The last delivery of each machine."""
        self.sent = 0
        """Messages that the machines have sent so far, counted per receiver."""
        self._round = 0

    def turn(self, letters: Iterable[Letter]) -> list[Letter]:
        """Let one round end: the letters arrive, and what the machines send then is returned."""
        inbox: dict[Name, list[Received]] = {name: [] for name in self.machines}
        for letter in letters:
            if letter.target in inbox:
                inbox[letter.target].append(Received(letter.source, letter.message))
        now = Instant(self._round * ROUND_NS, 0)
        self._round += 1
        letters_out: list[Letter] = []
        for name, machine in self.machines.items():
            output = machine.step(inbox[name], now)
            letters_out += addressed(name, output.sends)
            for delivery in output.deliveries:
                self.decided[name] = delivery
        self.sent += len(letters_out)
        return letters_out


def addressed(source: Name, sends: Iterable[Send]) -> list[Letter]:
    """One letter for each receiver."""
    return [Letter(source, target, send.message) for send in sends for target in send.to]
