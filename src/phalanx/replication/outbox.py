"""What a gateway gives out at the end of a turn: answers, facts, notes, and requests for the group machine."""

from typing import Any, TypeAlias

from phalanx.model.events import Request
from phalanx.model.machine import Output, Send
from phalanx.model.view import Address
from phalanx.replication.actions import Refusal, SessionOpened, Touched
from phalanx.replication.inflight import HookFailed, Intake, Waiter
from phalanx.replication.messages import Acknowledged, Declined, Opened, Reason

Settled: TypeAlias = SessionOpened | Touched | Refusal


class Outbox:
    """Filled during the turn.  Answers to connections that are gone are dropped."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.requests: list[Request] = []
        self.sends: list[Send] = []
        self._eager: list[Send] = []
        self.deliveries: list[Any] = []
        self._notes: list[tuple[str, tuple[Any, ...]]] = []

    def answer(self, waiter: Waiter, message: Any) -> None:
        """Send it to whoever waits."""
        if self._intake.knows(waiter.source):
            (self._eager if waiter.at_once else self.sends).append(Send((waiter.source,), message))

    def settle(self, waiter: Waiter, result: Settled, lifetime_ms: int, endpoints: tuple[Address, ...]) -> None:
        """Tell whoever waits what became of a session, or why nothing came of what was asked.  lifetime_ms: of sessions;
        endpoints: who hosts the group."""
        match result:
            case SessionOpened(session):
                self.answer(waiter, Opened(waiter.request, session, lifetime_ms, endpoints, waiter.cluster))
            case Touched():
                self.answer(waiter, Acknowledged(waiter.request, endpoints))
            case Refusal(reason, text, version):
                self.decline(waiter, reason, text, (), version)

    def decline(
        self, waiter: Waiter, reason: Reason, text: str, endpoints: tuple[Address, ...], version: int = 0
    ) -> None:
        """Tell whoever waits that it is not done here."""
        cluster = waiter.cluster if reason is Reason.LOST else 0
        self.answer(waiter, Declined(waiter.request, reason, text, endpoints, cluster, version))

    def abandon(self, in_flight: dict[int, Waiter], why: str, endpoints: tuple[Address, ...]) -> None:
        """What was in flight may have happened or may yet, and nobody here can tell who waits for it: others can."""
        for waiter in in_flight.values():
            self._intake.release(waiter)
            self.decline(waiter, Reason.UNKNOWN, why, endpoints)
        in_flight.clear()

    def failed(self, fault: HookFailed) -> None:
        """A hook of a class raised: whoever looks after the node is told."""
        self.deliveries.append(fault)
        self.note("gateway.hook_failed", fault.group, fault.where, fault.error)

    def note(self, what: str, *detail: Any) -> None:
        """Something happened."""
        self._notes.append((what, detail))

    def empty(self, out: Output) -> list[Request]:
        """The turn ends: everything goes to `out`, but for the requests."""
        if self.sends:
            out.sends += self.sends
            self.sends = []
        if self._eager:
            out.eager += self._eager
            self._eager = []
        if self.deliveries:
            out.deliveries += self.deliveries
            self.deliveries = []
        if self._notes:
            for what, detail in self._notes:
                out.note(what, *detail)
            self._notes = []
        requests, self.requests = self.requests, []
        return requests
