"""What a client machine knows of one group: its route, its session, and what is under way there (see `client`)."""

from collections import deque
from collections.abc import Callable

from phalanx.model.view import Address
from phalanx.replication.calls import Ask, Call, Completed, End, Read
from phalanx.replication.messages import Command, Describe, OpenSession, Query, Reason, SessionKeepAlive
from phalanx.replication.route import ENDPOINTS_MAX, Patience, Route
from phalanx.replication.session import WINDOW


class Work:
    """A call and its transmissions; `number` (in `session`) is 0 until it is sent as a command."""

    __slots__ = ("call", "live", "number", "session")

    def __init__(self, call: Call | Read | Ask) -> None:
        self.call = call
        self.number = 0
        self.session = 0
        self.live: set[int] = set()

    def unanswered(self, reason: Reason, text: str) -> Completed:
        """How it ends without an answer: it has not happened, unless a transmission of it may still."""
        end = End.UNKNOWN if isinstance(self.call, Call) and self.live else End.NOT_HAPPENED
        return Completed(self.call.token, end, reason=reason, text=text)


Errand = Work | type[OpenSession] | type[SessionKeepAlive]


class Request:
    """A transmission that nothing final was heard of."""

    __slots__ = ("at", "cluster", "endpoint", "errand", "lane", "session")

    def __init__(self, lane: "Lane", errand: Errand, session: int, endpoint: Address, at: int, cluster: int) -> None:
        self.lane = lane
        self.cluster = cluster
        self.errand = errand
        self.session = session
        self.endpoint = endpoint
        self.at = at


class Lane:
    """One group as the client sees it (or, for the group "", any node)."""

    def __init__(self, group: str, route: Route, patience: Patience) -> None:
        self.group = group
        self.route = route
        self.patience = patience
        self.silent = False
        """The current endpoint was turned to for the last one's silence, and has said nothing itself."""
        self.openings: deque[int] = deque()
        """Requests for a session at endpoints that were left for their silence."""
        self.waiting: deque[Work] = deque()
        self.unsettled: dict[int, Work] = {}
        self.flight: dict[int, tuple[Errand, int]] = {}
        """Requests at the current endpoint, in the order sent, with the time."""
        self.own = 0
        """How many of them are not calls, but the lane's own."""
        self.said: dict[Address, str] = {}
        """Why endpoints did not do what they were asked, for errors: what each said last."""
        self.session = 0
        self.number = 1
        self.lifetime_ns = 0
        self.kept_at = 0

    @property
    def low(self) -> int:
        return next(iter(self.unsettled), self.number)

    def blame(self, endpoint: Address, text: str) -> None:
        """That endpoint did not do what it was asked.  `text`: why; empty: for nothing that keeps it from other calls."""
        self.said.pop(endpoint, None)
        if not text:
            return
        if len(self.said) >= ENDPOINTS_MAX:
            self.said.clear()
        self.said[endpoint] = text

    def why(self) -> str:
        """What there is to say of why nothing was done."""
        return "".join(f"; {each}: {self.said[each]}" for each in self.route.endpoints if each in self.said)

    def unreached(self, work: Work, why: str) -> Completed:
        """As `Work.unanswered`, with what there is to say."""
        if isinstance(work.call, Call) and work.live:
            return Completed(work.call.token, End.UNKNOWN, text=f"{why} before an answer came; it was sent{self.why()}")
        text = f"{why}; {self.group or 'a node'} could not be reached{self.why()}"
        return Completed(work.call.token, End.NOT_HAPPENED, text=text)

    def forget_session(self) -> None:
        """The group does not know it any more."""
        self.session, self.unsettled = 0, {}

    def message(self, work: Work, number: Callable[[], int], cluster: int) -> Command | Query | Describe | None:
        """The work's next transmission, for a client of that cluster; None if it has to wait for a session or for room in
        its window.  `number` gives that of the request."""
        match work.call:
            case Call(_, group, operation, types, arguments, _):
                if work.number == 0:
                    if self.session == 0 or self.number - self.low >= WINDOW:
                        return None
                    work.session, work.number = self.session, self.number
                    self.unsettled[work.number] = work
                    self.number += 1
                low = self.low if work.session == self.session else 1
                session, count = work.session, work.number
                return Command(number(), group, session, count, low, operation, types, arguments, cluster)
            case Read(_, group, operation, types, arguments, _, stale):
                return Query(number(), group, operation, types, arguments, stale, cluster)
            case Ask(_, what, _):
                return Describe(number(), what)

    def take_back(self) -> list[int]:
        """All that is under way is to be sent again, before what has not been sent; numbers stay.  Requests of the lane's
        own are given up: which those are."""
        works = [errand for errand, _ in self.flight.values() if isinstance(errand, Work)]
        own = [request for request, (errand, _) in self.flight.items() if not isinstance(errand, Work)]
        self.flight.clear()
        self.own = 0
        waiting = dict.fromkeys([*works, *self.waiting])
        self.waiting = deque(sorted(waiting, key=lambda work: work.number or self.number))
        return own

    def errands(self, kind: Errand) -> bool:
        """An errand of its own of that kind is under way."""
        return self.own > 0 and any(errand is kind for errand, _ in self.flight.values())
