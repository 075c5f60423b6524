"""The group calls of one node: its calls (`calling`), the troupes that it is a host of (`serving`), and their letters.

The node drives it: `turn` at the start of a turn, `request` for what the program asks, `receive` for letters, `deliver`
for what the group machine delivers and no replica takes, `flush` at the end of a turn.

A letter counts only if its sender is in the view, in that life: whoever has left says nothing any more.
"""

import itertools
from typing import Any

from phalanx.calls.calling import Calling
from phalanx.calls.messages import Answers, Ask, Letter, Missed, Part, Submit, Taken, Withdraw
from phalanx.calls.procedures import ServiceType
from phalanx.calls.requests import CallRequest, CallTroupe, CancelCall, Executed
from phalanx.calls.serving import Serving
from phalanx.model.clock import Instant
from phalanx.model.events import (
    Consumed,
    Delivered,
    Delivery,
    Excluded,
    Founded,
    Installed,
    Multicast,
    Request,
    Restored,
    SnapshotTaken,
    SnapshotUnwanted,
    SnapshotWanted,
)
from phalanx.model.machine import Output, Send
from phalanx.model.view import GroupId, GroupSpec, Member, View


class GroupCalls:
    """See the module's text."""

    def __init__(self, me: Member) -> None:
        self._me = me
        self._view: View | None = None
        self._now = 0
        self._calling = Calling(me)
        self._services: dict[str, ServiceType[Any]] = {}
        self._serving: dict[GroupId, Serving] = {}
        self._waiting: list[CallTroupe] = []
        """Calls that this node's next life is to make."""
        self._tokens = itertools.count(1)
        self._requests: list[Request] = []
        self._out = Output()

    def register(self, name: str, service: ServiceType[Any]) -> None:
        """Groups of that name are troupes, which this node is about to host."""
        self._services[name] = service

    def serving(self, name: str) -> Serving | None:
        """The troupe of that name, if it is here."""
        return next((each for each in self._serving.values() if each.spec.name == name), None)

    @property
    def calling(self) -> Calling:
        """What this node calls."""
        return self._calling

    # --- a turn ---------------------------------------------------------------------------------------------------

    def turn(self, me: Member, view: View | None, now: Instant) -> None:
        """The beginning.  A node is another member once it was excluded, or had to take a higher incarnation."""
        self._now = now.mono
        if me != self._me:
            self._end_life(f"{self._me} is now {me}")
            self._me, self._view = me, None
            waiting, self._waiting = self._waiting, []
            self._calling = Calling(me)
            for request in waiting:
                self._calling.call(request, self._now, self._out)
        if view is not None and view is not self._view:
            self._install(view)

    @property
    def deadline(self) -> int | None:
        """When a turn is due even if nothing happens."""
        return self._calling.deadline

    def flush(self, out: Output) -> list[Request]:
        """The end: letters, deliveries and notes go to `out`, the rest is for the group machine."""
        self._calling.act(self._now, self._out)
        if self._view is not None:
            for query in self._calling.queries:
                out.sends.append(Send((query.to.address,), Letter(self._view.cluster, self._me, query.body)))
            for serving in self._serving.values():
                for message in serving.messages:
                    out.sends.append(Send((message.to.address,), Letter(self._view.cluster, self._me, message.body)))
                serving.messages.clear()
        self._calling.queries.clear()
        out.deliveries += self._out.deliveries
        out.notes += self._out.notes
        self._out = Output()
        requests, self._requests = self._requests, []
        return requests

    # --- what comes -----------------------------------------------------------------------------------------------

    def request(self, request: CallRequest) -> None:
        """Of the program."""
        match request:
            case CallTroupe():
                self._calling.call(request, self._now, self._out)
            case CancelCall(token):
                self._calling.cancel(token, self._now)
            case Executed(token, outcome):
                for serving in self._serving.values():
                    serving.executed(token, outcome)

    def receive(self, letter: Letter) -> None:
        """From another node, or from this one."""
        view, sender, body = self._view, letter.sender, letter.body
        if view is None or letter.cluster != view.cluster or view.named(sender.name) != sender:
            self._out.note("calls.stranger", str(sender))
            return
        serving = self._serving.get(body.group)
        match body:
            case Taken():
                self._calling.taken(body, self._now)
            case Missed():
                self._calling.missed(body, self._now)
            case Answers(part=Part.BRANCH):
                if serving is not None:
                    serving.answered(sender, body)
            case Answers():
                self._calling.answered(sender, body)
            case Submit(group, invoke):
                payload = serving.submitted(invoke) if serving is not None and invoke.caller == sender else None
                if payload is not None:
                    self._requests.append(Multicast(group, (payload,)))
            case Ask():
                if serving is not None:
                    serving.asked(body, sender)
            case Withdraw():
                if serving is not None:
                    serving.withdrawn(body, sender, self._out)

    def deliver(self, delivery: Delivery, into: list[Any]) -> bool:
        """A delivery, in order.  False if it is not of a troupe here: it is the application's.  What is to be executed
        goes to `into`, before whatever follows, such as the next view."""
        match delivery:
            case Delivered(group) if group in self._serving:
                if self._view is not None:
                    self._serving[group].delivered(delivery, self._view, self._out)
                self._requests.append(Consumed(group, sum(map(len, delivery.payloads))))
                into += self._out.deliveries
                self._out.deliveries.clear()
            case Founded(group, spec) if spec.name in self._services:
                self._host(group, spec)
            case Restored(group, data) if (known := self._spec(group)) is not None:
                self._host(group, known).restore(data)
            case SnapshotWanted(group, token) if group in self._serving:
                self._requests.append(SnapshotTaken(group, token, self._serving[group].snapshot()))
            case SnapshotUnwanted(group) if group in self._serving:
                pass
            case Installed(view):
                self._install(view)
                return False
            case Excluded(_, reason):
                self._end_life(f"{self._me} was excluded: {reason}")
                return False
            case _:
                return False
        return True

    def _install(self, view: View) -> None:
        if view is self._view:
            return
        self._view = view
        for group, serving in list(self._serving.items()):
            place = view.group(group)
            if place is None or self._me.name not in place.everyone:
                self._drop(group)
            else:
                serving.installed(view, self._out)
        self._calling.installed(view, self._now)

    def _end_life(self, why: str) -> None:
        self._waiting += self._calling.excluded(self._out, why)
        for group in list(self._serving):
            self._drop(group)

    def _spec(self, group: GroupId) -> GroupSpec | None:
        """Of a troupe that is to be here."""
        place = self._view.group(group) if self._view is not None else None
        return place.spec if place is not None and place.spec.name in self._services else None

    def _host(self, group: GroupId, spec: GroupSpec) -> Serving:
        self._drop(group)
        view = self._view.id if self._view is not None else 0
        serving = Serving(group, spec, self._me, view, self._services[spec.name], self._tokens)
        self._serving[group] = serving
        return serving

    def _drop(self, group: GroupId) -> None:
        serving = self._serving.pop(group, None)
        if serving is not None:
            serving.end(self._out)
