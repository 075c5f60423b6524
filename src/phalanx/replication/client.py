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
from typing import Any

from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import LinkDown, LinkUp, Output, Received, Refused, Send
from phalanx.model.view import Address
from phalanx.replication.allegiance import Allegiance
from phalanx.replication.calls import Ask, Call, Cancel, CloseAll, Completed, End, Read
from phalanx.replication.following import Follow, Following, Took, Unfollow
from phalanx.replication.lane import Errand, Lane, Request, Work
from phalanx.replication.links import Links
from phalanx.replication.messages import (
    FINAL,
    Acknowledged,
    Answer,
    Batch,
    CloseSession,
    Command,
    Declined,
    Opened,
    OpenSession,
    Reason,
    Reply,
    SessionKeepAlive,
)
from phalanx.replication.route import PATIENCE_NS_LEAST, Patience, Route

CALLS_MAX = 65_536
"""Calls not completed.  At the limit a call completes at once as not happened."""

OPENINGS_MAX = 8
"""Requests for one session that silent endpoints may still answer; of more, the oldest are given up."""


class ClientMachine:
    """See the module's text.  `rng` only spreads retries; `cluster`: as `Allegiance` has it."""

    def __init__(
        self, endpoints: Sequence[Address], rng: random.Random, patience_ns: int = PATIENCE_NS_LEAST, cluster: int = 0
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._rng = rng
        self._patience_ns = patience_ns
        self._lanes: dict[str, Lane] = {}
        self._works: dict[int, Work] = {}
        self._deadlines: list[tuple[int, int]] = []
        self._by_request: dict[int, Request] = {}
        self._linked = Links()
        self._request = 0
        self._now = 0
        self.allegiance = Allegiance(cluster)
        self._following = Following(lambda: list(self.endpoints), rng, self._next, self.allegiance)

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
        if self.allegiance.untold:
            self._tell(out)
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
        kind = type(event)
        if kind is Received:
            self._listen(event.message, now, out)
            return
        if kind is Call or kind is Read or kind is Ask:
            self._begin(event, out)
            return
        match event:
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
            case LinkUp(address):
                self._linked.came(address)
            case LinkDown(address) | Refused(address):
                self._linked.went(address, self._request)
                if kind is Refused:
                    self._linked.refused(address, self._by_request)
                for lane in self._lanes.values():
                    lane.said.pop(address, None)  # the transport knows better
                    if lane.route.current == address:
                        self._fail_over(lane, now)
                self._following.lost(address, now)

    def _listen(self, message: Any, now: int, out: Output) -> None:
        if isinstance(message, (Batch, Reply, Declined)) and self._following.hear(message, now, out):
            return
        if isinstance(message, (Reply, Opened, Acknowledged, Answer, Declined)):
            self._hear(message, now, out)

    def _begin(self, call: Call | Read | Ask, out: Output) -> None:
        assert call.token not in self._works, "one token per call"
        if len(self._works) >= CALLS_MAX:
            text = f"{CALLS_MAX} calls are under way, which is the limit"
            out.deliveries.append(Completed(call.token, End.NOT_HAPPENED, reason=Reason.BUSY, text=text))
            return
        group = "" if isinstance(call, Ask) else call.group
        if group not in self._lanes:
            endpoints = list(self.endpoints)
            self._lanes[group] = Lane(group, Route(endpoints, self._rng), Patience(self._patience_ns))
        work = self._works[call.token] = Work(call)
        heapq.heappush(self._deadlines, (call.deadline, call.token))
        self._lanes[group].waiting.append(work)

    def _hear(self, message: Opened | Acknowledged | Reply | Answer | Declined, now: int, out: Output) -> None:
        known = self._by_request.pop(message.request, None)
        if known is None:
            return  # of a call that ended, or heard before
        lane, errand, session = known.lane, known.errand, known.session
        current = lane.flight.pop(message.request, None) is not None
        if current and not isinstance(errand, Work):
            lane.own -= 1
        if known.endpoint == lane.route.current:
            lane.silent = False
        lane.patience.answered(now - known.at)
        if isinstance(errand, Work):
            errand.live.discard(message.request)
        if isinstance(message, (Reply, Opened)):
            said, ours = message.cluster, self.allegiance
            if (said or known.cluster != ours.cluster) and not ours.accepts(known.cluster, said):
                text = f"{known.endpoint} is of a cluster that this client does not belong to"
                message = Declined(message.request, Reason.UNKNOWN, text)
        if isinstance(message, Reply) and isinstance(errand, Work):
            self._complete(lane, errand, out, Completed(errand.call.token, End.DONE, message.outcome, message.stamp))
            self._worked(lane, known.endpoint)
            return
        match message:
            case Declined():
                final = isinstance(errand, Work) and message.reason in FINAL  # then it is of that call, and of no other
                lane.blame(known.endpoint, "" if final else message.text)
                self._declined(known, message, current, now, out)
                return
            case Answer(_, data) if isinstance(errand, Work):
                self._complete(lane, errand, out, Completed(errand.call.token, End.DONE, data=data))
            case Opened(_, session, lifetime_ms, endpoints, _):
                if lane.session == 0:
                    lane.session, lane.number, lane.kept_at = session, 1, now
                    lane.lifetime_ns = lifetime_ms * MILLISECOND
                    self._forget_openings(lane, 0)
                lane.route.learn(endpoints)
            case Acknowledged(_, endpoints):
                lane.route.learn(endpoints)
            case _:
                return  # an answer of the wrong kind says nothing
        self._worked(lane, known.endpoint)

    def _worked(self, lane: Lane, endpoint: Address) -> None:
        """That endpoint has answered."""
        lane.said.pop(endpoint, None)
        if lane.silent:
            lane.silent = False
            lane.route.prefer(endpoint)
            self._send_again(lane)
        else:
            lane.route.worked()

    def _declined(self, known: Request, message: Declined, current: bool, now: int, out: Output) -> None:
        """`current`: by the endpoint that is in use; what an earlier one declines has been sent again already."""
        if message.reason is Reason.EXPIRED:
            self._expired(known, current, out)
        elif message.reason is Reason.LOST:
            self._recovered(known, message, now, out)
        else:
            self._refused(known.lane, known.errand, message, current, now, out)

    def _refused(self, lane: Lane, errand: Errand, message: Declined, current: bool, now: int, out: Output) -> None:
        reason = message.reason
        if isinstance(errand, Work):
            if reason is Reason.UNKNOWN:
                errand.live.add(message.request)  # that transmission may still happen; another will tell
            if reason in FINAL or reason is Reason.SETTLED:
                unknown = isinstance(errand.call, Call) and (reason is Reason.SETTLED or bool(errand.live))
                end = End.UNKNOWN if unknown else End.NOT_HAPPENED
                completed = Completed(errand.call.token, end, reason=reason, text=message.text, version=message.version)
                self._complete(lane, errand, out, completed)
                return
            if current:
                lane.waiting.append(errand)
        elif errand is OpenSession and reason is Reason.FULL:
            for work in [work for work in lane.waiting if isinstance(work.call, Call) and not work.live]:
                self._complete(lane, work, out, work.unanswered(reason, message.text))
        if current and reason in (Reason.ELSEWHERE, Reason.UNKNOWN):
            lane.route.redirect(message.endpoints, now)
            self._send_again(lane)
        elif current and reason is Reason.FOREIGN:
            out.note("client.foreign", lane.group, lane.route.current)
            all_are = lane.route.strange(now)
            self._send_again(lane)
            for work in list(lane.waiting) if all_are else ():
                self._complete(lane, work, out, work.unanswered(reason, message.text))
        elif current:
            lane.route.hold(now)

    def _expired(self, known: Request, current: bool, out: Output) -> None:
        """The group does not know the session.  What cannot have happened goes into the next one, under a new number;
        what was sent more than once waits for its other answers, if any can come."""
        lane, errand = known.lane, known.errand
        if lane.session == known.session:
            lane.forget_session()
            out.note("client.session_expired", lane.group)
        if isinstance(errand, Work) and not errand.live:
            errand.number = 0
            if current:  # else it waits already, and one that waited twice would be sent after its end
                lane.waiting.append(errand)
        elif isinstance(errand, Work) and current:
            text = "the session expired before the outcome was learned"
            self._complete(lane, errand, out, errand.unanswered(Reason.EXPIRED, text))

    def _recovered(self, known: Request, declined: Declined, now: int, out: Output) -> None:
        """The cluster that the request named goes on as another one, which knows no session of it.  Who waits for a call
        is told, and only then do we belong to the other."""
        lane, errand, ours = known.lane, known.errand, self.allegiance
        if isinstance(errand, Work):
            told = [errand]
        else:
            told = [work for work in lane.waiting if isinstance(work.call, Call)] if errand is OpenSession else []
            lane.route.hold(now)
        before = ours.cluster if not ours.untold else 0  # where only a watch knows that we are is news
        if told and ours.accepts(known.cluster, declined.cluster) and ours.cluster != before:
            self._moved(lane.group, out)
        elif errand is SessionKeepAlive and known.session == lane.session:
            lane.forget_session()
        for work in told:
            self._complete(lane, work, out, work.unanswered(Reason.LOST, declined.text))

    def _tell(self, out: Output) -> None:
        """A watch has brought us to the recovered cluster: who calls is told as well, now or when somebody does."""
        text = self.allegiance.untold
        for lane in self._lanes.values():
            for work in [work for work in lane.waiting if not isinstance(work.call, Ask)]:
                if self.allegiance.untold:
                    self._moved(lane.group, out)
                self._complete(lane, work, out, work.unanswered(Reason.LOST, text))

    def _moved(self, group: str, out: Output) -> None:
        """We belong to the recovered cluster now, which knows no session of ours, and whoever called is told."""
        self.allegiance.untold = ""
        out.note("client.recovered", group, self.allegiance.cluster)
        for lane in self._lanes.values():
            lane.forget_session()

    # --- rules ----------------------------------------------------------------------------------------------------

    def _fail_over(self, lane: Lane, now: int) -> None:
        lane.silent = False
        lane.route.failed(now)
        self._send_again(lane)

    def _give_up(self, lane: Lane, now: int) -> None:
        """The current endpoint is silent: it may be slow, so what it says later is welcome."""
        openings = [request for request, (errand, _) in lane.flight.items() if errand is OpenSession]
        kept = [self._by_request[request] for request in openings]
        lane.patience.silent()
        if lane.route.current in self._linked:
            lane.blame(lane.route.current, "it does not answer")
        self._fail_over(lane, now)
        self._by_request.update(zip(openings, kept, strict=True))
        lane.openings.extend(openings)
        self._forget_openings(lane, OPENINGS_MAX)
        lane.silent = True

    def _forget_openings(self, lane: Lane, most: int) -> None:
        while len(lane.openings) > most:
            self._by_request.pop(lane.openings.popleft(), None)

    def _send_again(self, lane: Lane) -> None:
        """All that is under way goes to the current endpoint."""
        for request in lane.take_back():
            del self._by_request[request]  # a session that opens too late expires unused

    def _transmit(self, lane: Lane, now: int, out: Output) -> None:
        commands = any(isinstance(work.call, Call) for work in lane.waiting)
        if commands and lane.session == 0 and not lane.errands(OpenSession):
            self._send(lane, OpenSession, OpenSession(self._next(), lane.group, self.allegiance.cluster), now, out)
        held: deque[Work] = deque()
        while lane.waiting:
            work = lane.waiting.popleft()
            message = lane.message(work, self._next, self.allegiance.cluster)
            if message is None:
                held.append(work)
            else:
                self._send(lane, work, message, now, out)
        lane.waiting = held
        keep_at = lane.kept_at + lane.lifetime_ns // 3
        if lane.session and keep_at <= now and not lane.errands(SessionKeepAlive):
            sign = SessionKeepAlive(self._next(), lane.group, lane.session, lane.low, self.allegiance.cluster)
            self._send(lane, SessionKeepAlive, sign, now, out)

    def _send(self, lane: Lane, errand: Errand, message: Any, now: int, out: Output) -> None:
        kind = type(message)
        if kind is Command or kind is SessionKeepAlive:
            lane.kept_at = now
        session = lane.session
        if isinstance(errand, Work):
            errand.live.add(message.request)
            session = errand.session
        else:
            lane.own += 1
        lane.flight[message.request] = (errand, now)
        cluster = self.allegiance.cluster
        self._by_request[message.request] = Request(lane, errand, session, lane.route.current, now, cluster)
        out.sends.append(Send((lane.route.current,), message))

    def _end(self, token: int, out: Output, why: str) -> None:
        """A call ends without an answer."""
        work = self._works.get(token)
        if work is None:
            return
        lane = self._lanes["" if isinstance(work.call, Ask) else work.call.group]
        self._complete(lane, work, out, lane.unreached(work, why))

    def _complete(self, lane: Lane, work: Work, out: Output, completed: Completed) -> None:
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
                what = CloseSession(self._next(), lane.group, lane.session, self.allegiance.cluster)
                out.sends.append(Send((lane.route.current,), what))
        self._lanes.clear()
        self._deadlines.clear()
        self._by_request.clear()

    def _next(self) -> int:
        self._request += 1
        return self._request
