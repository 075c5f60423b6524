"""The print server of the slides: it prints a text (P) and tells its client that it has (M), in one order or the other,
and may crash (C) before, between and after.  When it comes back it tells its clients that it had crashed, and they
reissue the request or not.

Source: slides "L-15 Fault Tolerance", Server Crashes (3) to (6); Tanenbaum and van Steen, section 8.3.2.
"""

import enum
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import Output, Received, Send
from phalanx.model.view import Address

PACE_NS = 10 * MILLISECOND
"""From one action of the server to the next: time enough for a message to arrive."""


class Request(msgspec.Struct, frozen=True):
    """Print this."""

    text: str


class Done(msgspec.Struct, frozen=True):
    """The completion message."""


class Recovered(msgspec.Struct, frozen=True):
    """The server had crashed, and is back."""


class Printed(msgspec.Struct, frozen=True):
    """The text is on paper: the server's delivery."""

    text: str


class Reissue(enum.StrEnum):
    """What a client does when it hears that the server had crashed."""

    ALWAYS = "Always"
    NEVER = "Never"
    ACKED = "Only when ACKed"
    NOT_ACKED = "Only when not ACKed"


class PrintServer:
    """Takes one action after the other, each in a step of its own.  `actions`: "MP" or "PM"."""

    def __init__(self, actions: str, clients: Sequence[Address], recovered: bool) -> None:
        self._actions = actions
        self._clients = tuple(clients)
        self._recovered = recovered
        self._agenda: list[tuple[str, Address, str]] = []
        self._next = 0
        self.taken = ""
        """The actions of this life so far."""
        self.accepted = 0
        """Requests of this life so far."""

    @property
    def deadline(self) -> int | None:
        return 0 if self._recovered else self._next if self._agenda else None

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Accept requests; take the next action when it is time."""
        out = Output()
        if self._recovered:
            self._recovered = False
            out.sends.append(Send(self._clients, Recovered()))
        for event in events:
            if isinstance(event, Received) and isinstance(event.message, Request):
                if not self._agenda:
                    self._next = now.mono + PACE_NS
                self.accepted += 1
                self._agenda += [(action, event.source, event.message.text) for action in self._actions]
        if self._agenda and now.mono >= self._next:
            self._act(out)
            self._next = now.mono + PACE_NS
        return out

    def _act(self, out: Output) -> None:
        action, client, text = self._agenda.pop(0)
        self.taken += action
        if action == "M":
            out.sends.append(Send((client,), Done()))
        else:
            out.deliveries.append(Printed(text))


class PrintClient:
    """Wants one text printed once."""

    def __init__(self, server: Address, text: str, reissue: Reissue) -> None:
        self._server = server
        self._text = text
        self._reissue = reissue
        self._asked = False
        self._acked = False

    @property
    def deadline(self) -> int | None:
        return None if self._asked else 0

    def step(self, events: Iterable[Any], now: Instant) -> Output:  # noqa: ARG002  it waits for messages only
        """Ask; note the completion message; reissue, perhaps, when the server has recovered."""
        out = Output()
        ask = not self._asked
        self._asked = True
        for event in events:
            match event:
                case Received(_, Done()):
                    self._acked = True
                case Received(_, Recovered()):
                    ask = ask or self._reissues()
                case _:
                    pass
        if ask:
            out.sends.append(Send((self._server,), Request(self._text)))
        return out

    def _reissues(self) -> bool:
        match self._reissue:
            case Reissue.ALWAYS:
                return True
            case Reissue.NEVER:
                return False
            case Reissue.ACKED:
                return self._acked
            case Reissue.NOT_ACKED:
                return not self._acked
