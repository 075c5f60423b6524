"""The callers' side of group calls.

A call is submitted to one host of the troupe, and to another if that is not heard of; the hosts know copies by the call's
id.  `Taken` says that it was delivered, and to whom: by virtual synchrony each of these executes it or leaves the view.
So what to wait for is known, and shrinks only by views; silence alone ends nothing but the patience of the caller.

A call that has ended for its caller goes on being collected until every host has answered or left (it *lingers*): only
then is it settled, and the hosts may forget it.

Source: Birman and Joseph, "Reliable Communication in the Presence of Failures" (1987), replies to group calls: all, some,
a majority; Cooper 1985, collators (unanimous, majority, first come).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from phalanx.calls.messages import Answers, Ask, CallId, Invoke, Missed, Part, Submit, Taken, Withdraw
from phalanx.calls.procedures import ARGUMENTS_BYTES_MAX
from phalanx.calls.requests import CallEnded, CallTroupe, Finish, Rule
from phalanx.calls.serving import WINDOW, hosts_of
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Output
from phalanx.model.view import GroupId, Member, Name, View
from phalanx.replication.outcome import Outcome, Returned

RETRY_NS = 250 * MILLISECOND
"""How long nothing must be heard of a call before it is asked for again: several times what a calm network needs ..."""

RETRY_MAX_NS = 4 * SECOND
"""... and it doubles up to this: procedures may take long."""

LINGER_NS = 60 * SECOND
"""How long after its deadline a call is collected that some host does not answer: hosts give it up at the deadline, so
one that says nothing for so long hangs, and must not keep the others from forgetting."""


class Query(NamedTuple):
    """To a member."""

    to: Member
    body: Submit | Ask | Withdraw


class Pending:
    """A call under way."""

    __slots__ = (
        "answers",
        "backoff",
        "combined",
        "delivered_in",
        "ended",
        "expected",
        "group",
        "hosts",
        "invoke",
        "request",
        "retry_at",
        "tried",
        "value",
        "whole",
        "withdrawn",
    )

    def __init__(self, request: CallTroupe, invoke: Invoke, now: int) -> None:
        self.request = request
        self.invoke = invoke
        self.group: GroupId | None = None
        """The group that it was submitted to; None: it was given to nobody."""
        self.hosts: tuple[Member, ...] = ()
        """Where it was delivered; empty: not known to be."""
        self.delivered_in = 0
        """The view."""
        self.expected: set[Member] = set()
        """Those of them that have been hosts in every view since, and so have executed it, or will."""
        self.answers: dict[Name, Outcome] = {}
        self.value = b""
        self.combined = 0
        self.whole = False
        """The tree has answered for all."""
        self.tried: list[Name] = []
        """Hosts that it was submitted to, since all had been tried."""
        self.retry_at = now
        self.backoff = RETRY_NS
        self.ended = False
        self.withdrawn = False
        """Nobody wants it any more: the hosts are told."""


class Calling:
    """All calls of one node, in one of its lives."""

    def __init__(self, me: Member) -> None:
        self.queries: list[Query] = []
        """To be sent, by the node."""
        self._me = me
        self._next = 0
        self._pending: dict[CallId, Pending] = {}
        self._view: View | None = None

    @property
    def is_idle(self) -> bool:
        """Nothing is under way."""
        return not self._pending

    @property
    def deadline(self) -> int | None:
        """When something is due."""
        return min(
            (
                pending.retry_at if pending.ended else min(pending.retry_at, pending.request.deadline)
                for pending in self._pending.values()
            ),
            default=None,
        )

    # --- the program ----------------------------------------------------------------------------------------------

    def call(self, request: CallTroupe, now: int, out: Output) -> None:
        """Begin a call."""
        if request.joint is not None:
            client, number = request.joint
            call, low = CallId(client, 0, number), max(0, number - WINDOW + 1)
        else:
            low = min((c.number for c in self._pending if not c.is_joint), default=self._next)
            call = CallId(self._me.name, self._me.incarnation, self._next)
        why = ""
        if len(request.arguments) > ARGUMENTS_BYTES_MAX:
            why = f"{len(request.arguments)} bytes of arguments, the limit is {ARGUMENTS_BYTES_MAX}"
        elif call in self._pending:
            why = f"{self._me.name} makes call {call.number} of {call.client} already"
        elif call.number - low >= WINDOW or len(self._pending) >= WINDOW:
            why = f"{len(self._pending)} calls of this node are not settled, the limit is {WINDOW}: hosts do not answer"
        if why:
            out.deliveries.append(CallEnded(request.token, Finish.NOT_HAPPENED, text=why))
            return
        self._next += request.joint is None
        patience_ms = max(1, (request.deadline - now) // MILLISECOND)
        invoke = Invoke(
            call, self._me, low, request.operation, request.types, request.arguments, request.fanout, patience_ms
        )
        self._pending[call] = Pending(request, invoke, now)

    def cancel(self, token: int, now: int) -> None:
        """Nobody waits for it: hosts that are known to execute it are told so."""
        for call, pending in list(self._pending.items()):
            if pending.request.token == token and not pending.ended:
                pending.ended = pending.withdrawn = True
                pending.retry_at, pending.backoff = now, RETRY_NS
                if not pending.hosts:
                    del self._pending[call]

    # --- what is heard --------------------------------------------------------------------------------------------

    def installed(self, view: View, now: int) -> None:
        """A view: whoever is not in it will not answer, and what was submitted there may be lost."""
        self._view = view
        for pending in self._pending.values():
            self._narrow(pending)
            if not pending.hosts:
                pending.retry_at = min(pending.retry_at, now)

    def _narrow(self, pending: Pending) -> None:
        """Whoever is no host in a later view executes nothing that it has not executed."""
        if pending.group is not None and self._view is not None and self._view.id > pending.delivered_in:
            pending.expected.intersection_update(hosts_of(self._view, pending.group))

    def excluded(self, out: Output, why: str) -> list[CallTroupe]:
        """This life of the node is over.  Calls that were given to nobody are returned: the next life may make them."""
        left = [p.request for p in self._pending.values() if p.group is None and not p.ended]
        for pending in self._pending.values():
            if pending.group is not None:
                self._end(pending, out, why)
        self._pending.clear()
        return left

    def taken(self, taken: Taken, now: int) -> None:
        """It was delivered."""
        pending = self._pending.get(taken.id)
        if pending is not None and pending.group == taken.group and not pending.hosts:
            pending.hosts, pending.delivered_in = taken.hosts, taken.view
            pending.expected = set(taken.hosts)
            self._narrow(pending)
            pending.retry_at, pending.backoff = now + RETRY_NS, RETRY_NS

    def answered(self, sender: Member, answers: Answers) -> None:
        """Some have answered."""
        pending = self._pending.get(answers.id)
        if pending is None or pending.group != answers.group or pending.whole:
            return
        if answers.part is Part.WHOLE:
            pending.answers = dict(answers.singles)  # what some had said themselves is among the combined
            pending.whole, pending.value, pending.combined = True, answers.value, answers.combined
            return
        pending.answers.update(answers.singles)
        if not answers.singles:
            pending.expected.discard(sender)

    def missed(self, missed: Missed, now: int) -> None:
        """Whoever had it has failed, or it was delivered to some only: it is to be submitted once more."""
        pending = self._pending.get(missed.id)
        if pending is None or pending.group != missed.group or pending.whole or not pending.hosts:
            return
        if pending.withdrawn:
            del self._pending[missed.id]
        elif missed.view > pending.delivered_in:
            pending.hosts, pending.expected = (), set()
            pending.retry_at, pending.backoff = now, RETRY_NS

    # --- what follows ---------------------------------------------------------------------------------------------

    def act(self, now: int, out: Output) -> None:
        """End what can be ended, give up what is too late, try again what is overdue."""
        for call, pending in list(self._pending.items()):
            if not pending.ended:
                self._judge(pending, now, out)
            if pending.ended and self._settle(call, pending):
                continue
            if now >= pending.request.deadline + LINGER_NS:
                out.note("calls.given_up", pending.request.group)
                del self._pending[call]
                continue
            if now >= pending.retry_at:
                self._try(pending, now)

    def _is_lost(self, pending: Pending) -> bool:
        """The group that it was submitted to is no more."""
        return pending.group is not None and self._view is not None and self._view.group(pending.group) is None

    def _silent(self, pending: Pending) -> list[Member]:
        """Who may still answer."""
        if pending.whole:
            return []
        return [host for host in pending.hosts if host in pending.expected and host.name not in pending.answers]

    def _judge(self, pending: Pending, now: int, out: Output) -> None:
        want, total = pending.request.want, len(pending.hosts)
        silent = self._silent(pending)
        count = pending.combined + len(pending.answers)
        is_taken = bool(pending.hosts)
        finish: Finish | None = None
        match want.rule:
            case Rule.ALL:
                if pending.whole or (is_taken and not silent):
                    finish = Finish.DONE if count else Finish.MISSING
            case Rule.SOME | Rule.MAJORITY:
                needed = want.count if want.rule is Rule.SOME else total // 2 + 1
                if count >= needed and (is_taken or want.rule is Rule.SOME):
                    finish = Finish.DONE
                elif is_taken and count + len(silent) < needed:
                    finish = Finish.MISSING
            case Rule.VOTED:
                votes = _votes(pending.answers.values())
                first = max(votes, default=0)
                if is_taken and first > total // 2:
                    finish = Finish.DONE
                elif is_taken and first + len(silent) <= total // 2:
                    finish = Finish.DIVIDED if count > total // 2 else Finish.MISSING
        if finish is not None:
            self._tell(pending, finish, "", out)
        elif self._is_lost(pending):
            self._end(pending, out, "all hosts of the troupe have failed")
        elif now >= pending.request.deadline:
            self._end(pending, out, "the deadline passed")

    def _end(self, pending: Pending, out: Output, why: str) -> None:
        """Without what was wanted."""
        if pending.ended:
            return
        if pending.hosts or pending.answers:
            self._tell(pending, Finish.MISSING, why, out)
        elif pending.group is not None:
            self._tell(pending, Finish.UNKNOWN, why, out)
        else:
            name = pending.request.group
            self._tell(pending, Finish.NOT_HAPPENED, f"{why}, and no host of {name} was known", out)

    def _tell(self, pending: Pending, finish: Finish, text: str, out: Output) -> None:
        pending.ended = True
        answers = tuple(sorted(pending.answers.items(), key=lambda item: item[0]))
        ended = CallEnded(
            pending.request.token,
            finish,
            answers,
            pending.value,
            pending.combined,
            len(pending.hosts),
            text,
        )
        out.deliveries.append(ended)
        out.note(f"calls.{finish.name.lower()}", pending.request.group)

    def _settle(self, call: CallId, pending: Pending) -> bool:
        """Whether an ended call needs no attention any more.  One that nothing was heard of is given up."""
        if not self._is_lost(pending):
            if pending.hosts and self._silent(pending):
                return False
            if not pending.hosts and pending.answers:
                return False  # it was delivered, and who else executes it is not known yet
        del self._pending[call]
        return True

    def _try(self, pending: Pending, now: int) -> None:
        pending.retry_at = now + pending.backoff
        pending.backoff = min(2 * pending.backoff, RETRY_MAX_NS)
        if pending.hosts:
            self._ask(pending)
            return
        place = self._view.group_named(pending.request.group) if self._view is not None else None
        if place is None or self._view is None or (pending.group is not None and pending.group != place.id):
            return  # there is none, or it is another by now: what was submitted is lost with the first
        hosts = [name for name in place.hosts if name not in pending.tried]
        if not hosts:
            pending.tried, hosts = [], list(place.hosts)
        name = self._me.name if self._me.name in hosts else next(self._from(hosts))
        host = self._view.named(name)
        if host is not None:
            pending.tried.append(name)
            pending.group = place.id
            self.queries.append(Query(host, Submit(place.id, pending.invoke)))

    def _ask(self, pending: Pending) -> None:
        """What is lacking: of the tree's root as long as the tree is whole, else of each host."""
        assert pending.group is not None
        hosts, what = pending.hosts, (pending.group, pending.invoke.id)
        if pending.withdrawn:
            withdraw = Withdraw(*what, pending.delivered_in)
            self.queries += [Query(host, withdraw) for host in self._silent(pending)]
        elif pending.request.fanout and len(pending.expected) == len(hosts):
            self.queries.append(Query(hosts[0], Ask(*what, Part.WHOLE, pending.delivered_in)))
        else:
            self.queries += [Query(host, Ask(*what, Part.OWN, pending.delivered_in)) for host in self._silent(pending)]

    def _from(self, hosts: Sequence[Name]) -> Iterator[Name]:
        """Beginning with one that other callers do not begin with, if there are enough."""
        assert self._view is not None
        first = max(0, self._view.rank(self._me.name)) % len(hosts)
        return iter([*hosts[first:], *hosts[:first]])


def _votes(outcomes: Iterable[Outcome]) -> list[int]:
    """How many gave each result."""
    counts: dict[bytes, int] = {}
    for outcome in outcomes:
        if isinstance(outcome, Returned):
            counts[outcome.value] = counts.get(outcome.value, 0) + 1
    return list(counts.values())
