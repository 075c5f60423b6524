"""Omission failures, one message at a time: a machine some of whose messages are lost, either way.

Receive omission: what came is not given to the machine.  Send omission: what it sent does not leave.  (Hadzilacos and
Toueg 1993; a message lost in the network is one or the other.)  Whoever decides may also have the process crash then.
"""

from collections.abc import Callable, Container, Iterable
from typing import Any

from phalanx.model.clock import Instant
from phalanx.model.machine import Machine, Output, Received, Send
from phalanx.model.view import Name

Judge = Callable[[Any], bool]
"""Of a message: True if it gets through."""


class Interposed:
    """The machine as the network shows it.  `receives` and `sends` are asked about each message, in order."""

    def __init__(self, machine: Machine, receives: Judge, sends: Judge) -> None:
        self.machine = machine
        self._receives = receives
        self._sends = sends

    @property
    def deadline(self) -> int | None:
        return self.machine.deadline

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """As the machine, without what is lost."""
        came = [e for e in events if not isinstance(e, Received) or self._receives(e.message)]
        out = self.machine.step(came, now)
        out.eager = self._through(out.eager)
        out.sends = self._through(out.sends)
        return out

    def _through(self, sends: list[Send]) -> list[Send]:
        return [send for send in sends if self._sends(send.message)]


class Severed:
    """The machine of a process that may be cut off: while its name, or the sender's, is in `severed`, it hears nothing.
    Addresses are names."""

    def __init__(self, machine: Machine, me: Name, severed: Container[Name]) -> None:
        self.machine = machine
        self._me = me
        self._severed = severed

    @property
    def deadline(self) -> int | None:
        return self.machine.deadline

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """As the machine, with what is heard."""
        return self.machine.step([e for e in events if not isinstance(e, Received) or self._hears(e.source)], now)

    def _hears(self, source: Name) -> bool:
        return source == self._me or not (source in self._severed or self._me in self._severed)
