"""What clients ask of a node, and what comes of it: seen from outside of the node, as messages that go in and out.

All are counted; one in `TIMED` is timed, whichever comes when it is due, so that those who ask little are as well.
"""

from collections.abc import Iterable
from typing import Any, Final

from phalanx.group.messages import Envelope
from phalanx.metrics.histogram import Histogram
from phalanx.model.machine import LinkDown, Output, Received
from phalanx.model.view import Address
from phalanx.replication.messages import (
    Acknowledged,
    CloseSession,
    Command,
    Declined,
    Opened,
    OpenSession,
    Query,
    Reply,
    SessionKeepAlive,
    Watch,
)
from phalanx.replication.outcome import Returned
from phalanx.runtime.clock import Clock, system_clock

KINDS: Final[dict[type, str]] = {
    Command: "command",
    Query: "query",
    OpenSession: "session",
    SessionKeepAlive: "session",
    CloseSession: "session",
    Watch: "watch",
}

TIMED: Final = 8
"""Of so many requests one is timed: to time all would cost a node that answers many reads a fifth of its work."""

UNDER_WAY_MAX: Final = 4_096
"""Requests that are being timed.  At one more all are given up: there are some that the node does not answer, as doubled
ones are not, and clients may send these without end."""


class Requests:
    """Of one node."""

    def __init__(self, clock: Clock = system_clock) -> None:
        self.received = dict.fromkeys(KINDS.values(), 0)
        """By kind."""
        self.answered = {"ok": 0, "raised": 0}
        """By outcome: these, or why it was declined."""
        self.durations = {kind: Histogram() for kind in ("command", "query")}
        """Of those of which one was timed that had a result."""
        self._timed: dict[Address, dict[int, tuple[str, int]]] = {}
        """By client and request, its kind, and when it came."""
        self._under_way = 0
        self._clock = clock

    def came(self, events: Iterable[Any], now: int) -> None:
        """What the node is given in a turn that begins now."""
        kinds, received = KINDS, self.received
        for event in events:
            if type(event) is Received:
                if (kind := kinds.get(type(event.message))) is not None:
                    count = received[kind]
                    received[kind] = count + 1
                    if not count % TIMED and kind in self.durations:
                        self._begin(event.source, event.message.request, kind, now)
            elif type(event) is LinkDown:
                self._under_way -= len(self._timed.pop(event.address, ()))

    def _begin(self, source: Address, request: int, kind: str, now: int) -> None:
        if self._under_way >= UNDER_WAY_MAX:
            self._timed.clear()
            self._under_way = 0
        client = self._timed.setdefault(source, {})
        if request not in client:
            client[request] = kind, now
            self._under_way += 1

    def left(self, out: Output) -> None:
        """What it says in that turn."""
        if out.sends:
            self._answers(out.sends)
        if out.eager:
            self._answers(out.eager)

    def _answers(self, sends: Iterable[Any]) -> None:
        timed, returned = self._timed, 0
        for send in sends:
            message = send.message
            if type(message) is Envelope:
                continue
            if type(message) is Reply and type(message.outcome) is Returned:
                returned += 1
            elif (outcome := _other(message)) is not None:
                self.answered[outcome] = self.answered.get(outcome, 0) + 1
            else:
                continue
            if timed and (client := timed.get(send.to[0])) is not None:
                self._end(send.to[0], client, message)
        self.answered["ok"] += returned

    def _end(self, source: Address, client: dict[int, tuple[str, int]], message: Any) -> None:
        known = client.pop(message.request, None)
        if known is None:
            return
        self._under_way -= 1
        if not client:
            del self._timed[source]
        if type(message) is Reply:
            kind, since = known
            self.durations[kind].observe(self._clock().mono - since)


def _other(message: Any) -> str | None:
    """What came of it, if that is no result; None if it is no answer."""
    what = type(message)
    if what is Declined:
        reason: str = message.reason.name.lower()
        return reason
    return "raised" if what is Reply else "ok" if what is Opened or what is Acknowledged else None
