"""The client machine: exactly-once calls over nodes that come and go.  Runs in any driver of the machine contract.

One *lane* per group has a route, a session, and what is under way.  A command gets a number in the session when it is
first sent and keeps it in every later transmission, so the group runs it once (replication/sessions.py).  Each
transmission has a request number of its own.  A call's `live` requests are those of which nothing final was heard: when
it must end without an answer, it has *not happened* if none is live, else its outcome is *unknown*.

A broken link, a node that declines, or a request that stays unanswered for longer than the lane's patience (`route`)
makes the lane go to its next endpoint and send all that is under way again there.  Silence proves nothing: what the
silent endpoint answers in the end still counts, and if it does so before the next one has said a word, the lane returns.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import LinkDown, Output, Received, Refused, Send
from phalanx.model.view import Address
from phalanx.replication.calls import Ask, Call, Cancel, CloseAll, Completed, End, Read
from phalanx.replication.following import Follow, Following, Took, Unfollow
from phalanx.replication.messages import (
    FINAL,
    Acknowledged,
    Answer,
    Batch,
    CloseSession,
    Command,
    Declined,
    Describe,
    Opened,
    OpenSession,
    Query,
    Reason,
    Reply,
    SessionKeepAlive,
)
from phalanx.replication.route import PATIENCE_NS_LEAST, Patience, Route
from phalanx.replication.sessions import WINDOW

CALLS_MAX = 65_536
"""Calls not completed.  At the limit a call completes at once as not happened."""

OPENINGS_MAX = 8
"""Requests for one session that silent endpoints may still answer; of more, the oldest are given up."""


class _Work:
    """A call and its transmissions; `number` (in `session`) is 0 until it is sent as a command."""

    __slots__ = ("call", "live", "number", "session")

    def __init__(self, call: Call | Read | Ask) -> None:
        self.call = call
        self.number = 0
        self.session = 0
        self.live: set[int] = set()


_Errand = _Work | type[OpenSession] | type[SessionKeepAlive]


class _Request(NamedTuple):
    """A transmission that nothing final was heard of."""

    lane: "_Lane"
    errand: _Errand
    session: int
    endpoint: Address
    at: int


class _Lane:
    """One group as the client sees it (or, for the group "", any node)."""

    def __init__(self, group: str, route: Route, patience: Patience) -> None:
        self.group = group
        self.route = route
        self.patience = patience
        self.silent = False
        """The current endpoint was turned to for the last one's silence, and has said nothing itself."""
        self.openings: deque[int] = deque()
        """Requests for a session at endpoints that were left for their silence."""
        self.waiting: deque[_Work] = deque()
        self.unsettled: dict[int, _Work] = {}
        self.flight: dict[int, tuple[_Errand, int]] = {}
        """Requests at the current endpoint, in the order sent, with the time."""
        self.session = 0
        self.number = 1
        self.lifetime_ns = 0
        self.kept_at = 0

    @property
    def low(self) -> int:
        return next(iter(self.unsettled), self.number)

    def errands(self, kind: _Errand) -> bool:
        return any(errand is kind for errand, _ in self.flight.values())


class ClientMachine:
    """See the module's text.  `rng` only spreads retries."""

    def __init__(self, endpoints: Sequence[Address], rng: random.Random, patience_ns: int = PATIENCE_NS_LEAST) -> None:
        self._endpoints = tuple(endpoints)
        self._rng = rng
        self._patience_ns = patience_ns
        self._lanes: dict[str, _Lane] = {}
        self._works: dict[int, _Work] = {}
        self._deadlines: list[tuple[int, int]] = []
        self._by_request: dict[int, _Request] = {}
        self._request = 0
        self._now = 0
        self._following = Following(lambda: list(self.endpoints), rng, self._next)

    @property
    def endpoints(self) -> tuple[Address, ...]:
        """All nodes heard of so far."""
        known = [endpoint for lane in self._lanes.values() for endpoint in lane.route.endpoints]
        return tuple(dict.fromkeys([*self._endpoints, *known]))

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Absorb the events, then end what is overdue, give up on silent endpoints, and send what can be sent."""
        out = Output()
        self._now = now.mono
        for event in events:
            self._absorb(event, now.mono, out)
        while self._deadlines and self._deadlines[0][0] <= now.mono:
            self._end(heapq.heappop(self._deadlines)[1], out, "the deadline passed")
        for lane in self._lanes.values():
            oldest = next(iter(lane.flight.values()), None)
            if oldest is not None and oldest[1] + lane.patience.ns <= now.mono:
                out.note("client.silence", lane.group, lane.route.current)
                self._give_up(lane, now.mono)
            if lane.route.ready_at <= now.mono:
                self._transmit(lane, now.mono, out)
        self._following.step(now.mono, out)
        return out

    @property
    def deadline(self) -> int | None:
        """When something is due: a call's end, an endpoint's time, a retry, a sign of life."""
        due = [self._deadlines[0][0]] if self._deadlines else []
        if (at := self._following.deadline) is not None:
            due.append(at)
        for lane in self._lanes.values():
            if lane.flight:
                due.append(next(iter(lane.flight.values()))[1] + lane.patience.ns)
            if lane.waiting and lane.route.ready_at > self._now:
                due.append(lane.route.ready_at)
            if lane.session and not lane.errands(SessionKeepAlive):
                due.append(max(lane.kept_at + lane.lifetime_ns // 3, lane.route.ready_at))
        return min(due, default=None)

    # --- facts ----------------------------------------------------------------------------------------------------

    def _absorb(self, event: Any, now: int, out: Output) -> None:
        match event:
            case Call() | Read() | Ask():
                self._begin(event, out)
            case Follow():
                self._following.follow(event, now, out)
            case Took(token):
                self._following.took(token, now)
            case Unfollow(token):
                self._following.unfollow(token, out)
            case Cancel(token):
                self._end(token, out, "cancelled")
            case CloseAll():
                self._following.close(out)
                self._close(out)
            case LinkDown(address) | Refused(address):
                for lane in self._lanes.values():
                    if lane.route.current == address:
                        self._fail_over(lane, now)
                self._following.lost(address, now)
            case Received(_, Batch() | Reply() | Declined() as message) if self._following.hear(message, now, out):
                pass
            case Received(_, Opened() | Acknowledged() | Reply() | Answer() | Declined() as message):
                self._hear(message, now, out)
            case _:
                pass

    def _begin(self, call: Call | Read | Ask, out: Output) -> None:
        assert call.token not in self._works, "one token per call"
        if len(self._works) >= CALLS_MAX:
            text = f"{CALLS_MAX} calls are under way, which is the limit"
            out.deliveries.append(Completed(call.token, End.NOT_HAPPENED, reason=Reason.BUSY, text=text))
            return
        group = "" if isinstance(call, Ask) else call.group
        if group not in self._lanes:
            endpoints = list(self.endpoints)
            self._lanes[group] = _Lane(group, Route(endpoints, self._rng), Patience(self._patience_ns))
        work = self._works[call.token] = _Work(call)
        heapq.heappush(self._deadlines, (call.deadline, call.token))
        self._lanes[group].waiting.append(work)

    def _hear(self, message: Opened | Acknowledged | Reply | Answer | Declined, now: int, out: Output) -> None:
        known = self._by_request.pop(message.request, None)
        if known is None:
            return  # of a call that ended, or heard before
        lane, errand, session = known.lane, known.errand, known.session
        current = lane.flight.pop(message.request, None) is not None
        if known.endpoint == lane.route.current:
            lane.silent = False
        lane.patience.answered(now - known.at)
        if isinstance(errand, _Work):
            errand.live.discard(message.request)
        match message:
            case Declined():
                if message.reason is Reason.EXPIRED:
                    self._expired(lane, errand, session, out)
                else:
                    self._declined(lane, errand, message, current, now, out)
                return
            case Reply(_, outcome, stamp) if isinstance(errand, _Work):
                self._complete(lane, errand, out, Completed(errand.call.token, End.DONE, outcome, stamp))
            case Answer(_, data) if isinstance(errand, _Work):
                self._complete(lane, errand, out, Completed(errand.call.token, End.DONE, data=data))
            case Opened(_, session, lifetime_ms, endpoints):
                if lane.session == 0:
                    lane.session, lane.number, lane.kept_at = session, 1, now
                    lane.lifetime_ns = lifetime_ms * MILLISECOND
                    self._forget_openings(lane, 0)
                lane.route.learn(endpoints)
            case Acknowledged(_, endpoints):
                lane.route.learn(endpoints)
            case _:
                return  # an answer of the wrong kind says nothing
        if lane.silent:
            lane.silent = False
            lane.route.prefer(known.endpoint)
            self._send_again(lane)
        else:
            lane.route.worked()

    def _declined(self, lane: _Lane, errand: _Errand, message: Declined, current: bool, now: int, out: Output) -> None:
        """`current`: by the endpoint that is in use; what an earlier one declines has been sent again already."""
        reason = message.reason
        if isinstance(errand, _Work):
            if reason is Reason.UNKNOWN:
                errand.live.add(message.request)  # that transmission may still happen; another will tell
            if reason in FINAL or reason is Reason.SETTLED:
                unknown = isinstance(errand.call, Call) and (reason is Reason.SETTLED or bool(errand.live))
                end = End.UNKNOWN if unknown else End.NOT_HAPPENED
                self._complete(lane, errand, out, Completed(errand.call.token, end, reason=reason, text=message.text))
                return
            if current:
                lane.waiting.append(errand)
        if current and reason in (Reason.ELSEWHERE, Reason.UNKNOWN):
            lane.route.redirect(message.endpoints, now)
            self._send_again(lane)
        elif current:
            lane.route.hold(now)

    def _expired(self, lane: _Lane, errand: _Errand, session: int, out: Output) -> None:
        """The group does not know the session.  What cannot have happened goes into the next one, under a new number;
        what was sent more than once waits for its other answers, if any can come."""
        if lane.session == session:
            lane.session, lane.unsettled = 0, {}
            out.note("client.session_expired", lane.group)
        if not isinstance(errand, _Work):
            return
        if not errand.live:
            errand.number = 0
            lane.waiting.append(errand)
        elif errand not in lane.waiting and errand.live.isdisjoint(lane.flight):
            text = "the session expired before the outcome was learned"
            self._complete(
                lane, errand, out, Completed(errand.call.token, End.UNKNOWN, reason=Reason.EXPIRED, text=text)
            )

    # --- rules ----------------------------------------------------------------------------------------------------

    def _fail_over(self, lane: _Lane, now: int) -> None:
        lane.silent = False
        lane.route.failed(now)
        self._send_again(lane)

    def _give_up(self, lane: _Lane, now: int) -> None:
        """The current endpoint is silent: it may be slow, so what it says later is welcome."""
        openings = [request for request, (errand, _) in lane.flight.items() if errand is OpenSession]
        kept = [self._by_request[request] for request in openings]
        lane.patience.silent()
        self._fail_over(lane, now)
        self._by_request.update(zip(openings, kept, strict=True))
        lane.openings.extend(openings)
        self._forget_openings(lane, OPENINGS_MAX)
        lane.silent = True

    def _forget_openings(self, lane: _Lane, most: int) -> None:
        while len(lane.openings) > most:
            self._by_request.pop(lane.openings.popleft(), None)

    def _send_again(self, lane: _Lane) -> None:
        """All that is under way goes to the current endpoint, before what has not been sent; numbers stay."""
        works = [errand for errand, _ in lane.flight.values() if isinstance(errand, _Work)]
        for request, (errand, _) in lane.flight.items():
            if not isinstance(errand, _Work):
                del self._by_request[request]  # a session that opens too late expires unused
        lane.flight.clear()
        waiting = dict.fromkeys([*works, *lane.waiting])
        lane.waiting = deque(sorted(waiting, key=lambda work: work.number or lane.number))

    def _transmit(self, lane: _Lane, now: int, out: Output) -> None:
        commands = any(isinstance(work.call, Call) for work in lane.waiting)
        if commands and lane.session == 0 and not lane.errands(OpenSession):
            self._send(lane, OpenSession, OpenSession(self._next(), lane.group), now, out)
        held: deque[_Work] = deque()
        while lane.waiting:
            work = lane.waiting.popleft()
            message = self._message(lane, work)
            if message is None:
                held.append(work)
            else:
                self._send(lane, work, message, now, out)
        lane.waiting = held
        keep_at = lane.kept_at + lane.lifetime_ns // 3
        if lane.session and keep_at <= now and not lane.errands(SessionKeepAlive):
            sign = SessionKeepAlive(self._next(), lane.group, lane.session, lane.low)
            self._send(lane, SessionKeepAlive, sign, now, out)

    def _message(self, lane: _Lane, work: _Work) -> Command | Query | Describe | None:
        """The work's next transmission; None if it has to wait for a session or for room in its window."""
        match work.call:
            case Ask(_, what, _):
                return Describe(self._next(), what)
            case Read(_, group, operation, types, arguments, _, stale):
                return Query(self._next(), group, operation, types, arguments, stale)
            case Call(_, group, operation, types, arguments, _):
                if work.number == 0:
                    if lane.session == 0 or lane.number - lane.low >= WINDOW:
                        return None
                    work.session, work.number = lane.session, lane.number
                    lane.unsettled[work.number] = work
                    lane.number += 1
                low = lane.low if work.session == lane.session else 1
                return Command(self._next(), group, work.session, work.number, low, operation, types, arguments)

    def _send(self, lane: _Lane, errand: _Errand, message: Any, now: int, out: Output) -> None:
        if isinstance(errand, _Work):
            errand.live.add(message.request)
        if not isinstance(message, (Query, Describe, OpenSession)):
            lane.kept_at = now
        lane.flight[message.request] = (errand, now)
        session = errand.session if isinstance(errand, _Work) else lane.session
        self._by_request[message.request] = _Request(lane, errand, session, lane.route.current, now)
        out.sends.append(Send((lane.route.current,), message))

    def _end(self, token: int, out: Output, why: str) -> None:
        """A call ends without an answer."""
        work = self._works.get(token)
        if work is None:
            return
        lane = self._lanes["" if isinstance(work.call, Ask) else work.call.group]
        if isinstance(work.call, Call) and work.live:
            end, text = End.UNKNOWN, f"{why} before an answer came; it was sent"
        else:
            end, text = End.NOT_HAPPENED, f"{why}; {lane.group or 'a node'} could not be reached"
        self._complete(lane, work, out, Completed(token, end, text=text))

    def _complete(self, lane: _Lane, work: _Work, out: Output, completed: Completed) -> None:
        if self._works.pop(work.call.token, None) is None:
            return
        if lane.unsettled.get(work.number) is work:
            del lane.unsettled[work.number]
        if work in lane.waiting:
            lane.waiting.remove(work)
        for request in work.live:
            self._by_request.pop(request, None)
            lane.flight.pop(request, None)
        if self._deadlines and len(self._deadlines) > 2 * len(self._works) + 64:
            self._deadlines = [each for each in self._deadlines if each[1] in self._works]
            heapq.heapify(self._deadlines)
        out.deliveries.append(completed)

    def _close(self, out: Output) -> None:
        for token in list(self._works):
            self._end(token, out, "the client was closed")
        for lane in self._lanes.values():
            if lane.session:
                out.sends.append(Send((lane.route.current,), CloseSession(self._next(), lane.group, lane.session)))
        self._lanes.clear()
        self._deadlines.clear()
        self._by_request.clear()

    def _next(self) -> int:
        self._request += 1
        return self._request
