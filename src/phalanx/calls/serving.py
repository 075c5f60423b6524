"""The hosts' side of group calls: what is delivered to a troupe is executed once, whoever sent it and however often.

A call is known by its id from its delivery until its client has settled it (`Invoke.low`) or has left the view, so copies
of it, by callers that try again or by the members of a client troupe, find it known and only add a caller.  Which calls
are known is decided by what the group delivers, so in a group of total order all hosts know the same; a new host is given
the list with the state.

Answers go to the callers, or up a tree (`tree`) made of the view in which the call was delivered.  When that view ends
before the call is settled, the tree may be broken: from then on every host answers callers itself.

Source: Cooper, "Replicated Distributed Programs" (SOSP 1985), Circus: troupes, and calls from each member to each; Birman
and Joseph 1987 for replies to group calls; Nelson 1981 for orphans: those whose callers have all left the view.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from phalanx.calls.messages import Answers, Ask, CallId, Invoke, Missed, Part, Taken, Withdraw
from phalanx.calls.procedures import ServiceType
from phalanx.calls.requests import Abandoned, Execute
from phalanx.calls.tree import above, below
from phalanx.model.events import Delivered
from phalanx.model.machine import Output
from phalanx.model.view import GroupId, GroupSpec, Member, Name, View
from phalanx.replication.outcome import Outcome, Raised, Returned

WINDOW = 1024
"""Calls of one client that are not settled, at most: each is known at every host.  Of a client troupe, the latest."""

CLIENTS_MAX = 256
"""Client troupes that are known at a time.  The one that called least recently is forgotten first."""

EARLY_MAX = 4096
"""Answers from below that may wait for the call itself to be delivered here; beyond it they are dropped, and the caller
asks again."""

FANOUT_MAX = 64
"""Below one host in a tree."""

_encode = msgspec.msgpack.Encoder().encode


class Message(NamedTuple):
    """To a member."""

    to: Member
    body: Taken | Answers | Ask | Missed


class Execution:
    """A call at this host.  `hosts`: of the view that it was delivered in."""

    __slots__ = ("branches", "callers", "direct", "hosts", "invoke", "mine", "outcome", "sent", "token", "view")

    def __init__(self, invoke: Invoke, view: int, hosts: tuple[Member, ...], mine: int, token: int) -> None:
        self.invoke = invoke
        self.hosts = hosts
        self.mine = mine
        """This host's place among them."""
        self.view = view
        self.token = token
        self.callers: list[Member] = []
        self.outcome: Outcome | None = None
        self.direct = invoke.fanout == 0
        self.branches: dict[Name, Answers] = {}
        """What came from the hosts below."""
        self.sent: Answers | None = None
        """What went up the tree."""


class Known(msgspec.Struct, array_like=True):
    """The state of a troupe: which calls its hosts know.  For new hosts."""

    calls: list[CallId]
    lows: list[tuple[str, int, int]]
    """Client, life and low mark, in the order of their latest calls."""


_decode = msgspec.msgpack.Decoder(Known).decode
_decode_invoke = msgspec.msgpack.Decoder(Invoke).decode


class Serving:
    """One troupe at one of its hosts.  `view`: the present one.  `tokens`: for executions, unique at this node."""

    def __init__(
        self,
        group: GroupId,
        spec: GroupSpec,
        me: Member,
        view: int,
        service: ServiceType[object],
        tokens: Iterator[int],
    ) -> None:
        self.group = group
        self.spec = spec
        self.executions: dict[int, Execution] = {}
        """By token, those that have not ended."""
        self.messages: list[Message] = []
        """To be sent, by the node."""
        self._me = me
        self._view = view
        self._service = service
        self._tokens = tokens
        self._calls: dict[CallId, Execution | None] = {}
        """None: it was executed, but not here."""
        self._lows: dict[tuple[str, int], int] = {}
        self._early: dict[CallId, dict[Name, Answers]] = {}

    # --- what the group delivers ----------------------------------------------------------------------------------

    def delivered(self, message: Delivered, view: View, out: Output) -> None:
        """Payloads of the group, while that is the view."""
        for payload in message.payloads:
            try:
                invoke = _decode_invoke(payload)
            except msgspec.DecodeError:
                out.note("calls.not_understood", self.spec.name)
                continue
            call, caller = invoke.id, invoke.caller
            client = call.client, call.life
            if view.named(caller.name) != caller or call.number < self._lows.get(client, 0):
                out.note("calls.settled", str(caller), call.number)  # a copy of what nobody waits for
                continue
            self._settle(client, invoke.low)
            if call in self._calls:
                out.note("calls.repeated", call.client, call.number)
            else:
                self._begin(invoke, view if view.id == message.view else None, out)
            self._add_caller(call, caller, is_ours=message.sender == self._me)

    def _begin(self, invoke: Invoke, view: View | None, out: Output) -> None:
        """A call that was not known.  view: None if it was delivered in one that this host was not in."""
        hosts = hosts_of(view, self.group) if view is not None else ()
        mine = next((index for index, host in enumerate(hosts) if host.name == self._me.name), None)
        if view is None or mine is None:
            self._calls[invoke.id] = None  # a learner executes nothing, but knows what the hosts have executed
            return
        execution = self._calls[invoke.id] = Execution(invoke, view.id, hosts, mine, next(self._tokens))
        execution.branches = self._early.pop(invoke.id, {})
        if self._service.find(invoke.operation, invoke.types) is None:
            text = f"{self._me.name} has no {invoke.operation} of these types"
            execution.outcome = Raised("TypeError", b"", text)
            self._climb(execution)
            return
        self.executions[execution.token] = execution
        what = invoke.operation, invoke.types, invoke.arguments, invoke.patience_ms
        out.deliveries.append(Execute(execution.token, self.spec.name, invoke.id, *what))
        out.note("calls.executed", self.spec.name)

    def _add_caller(self, call: CallId, caller: Member, *, is_ours: bool) -> None:
        """Somebody waits for it.  is_ours: who has asked the group through this host is told that it was delivered."""
        execution = self._calls[call]
        if execution is None:
            return
        if is_ours:
            self.messages.append(Message(caller, Taken(self.group, call, execution.view, execution.hosts)))
        if caller not in execution.callers:
            execution.callers.append(caller)
        self._answer(execution, [caller])

    def installed(self, view: View, out: Output) -> None:
        """A view: clients that are not in it make no more calls.  What is not settled is answered without a tree."""
        self._view = view.id
        hosts = set(hosts_of(view, self.group))
        gone = [c for c in self._lows if c[1] and not _is_in(view, *c)]
        for client in gone:
            del self._lows[client]
        for call, execution in list(self._calls.items()):
            if execution is not None:
                callers = [caller for caller in execution.callers if view.named(caller.name) == caller]
                execution.callers = callers
                if not callers and not call.is_joint:
                    self._abandon(execution, out)
            if (call.client, call.life) not in self._lows:
                del self._calls[call]
            elif execution is not None and not execution.direct and not hosts.issuperset(execution.hosts):
                execution.direct = True
                self._answer(execution, execution.callers)
        self._early.clear()

    def snapshot(self) -> bytes:
        """What a new host must know."""
        return _encode(Known(list(self._calls), [(*client, low) for client, low in self._lows.items()]))

    def restore(self, data: bytes) -> None:
        """Begin with that.  Raises `msgspec.DecodeError`."""
        known = _decode(data)
        self._calls = dict.fromkeys(known.calls)
        self._lows = {(client, life): low for client, life, low in known.lows}

    def end(self, out: Output) -> None:
        """This node holds the troupe no more."""
        for execution in list(self.executions.values()):
            self._abandon(execution, out)

    def _settle(self, client: tuple[str, int], low: int) -> None:
        """What is below is forgotten."""
        before = self._lows.pop(client, 0)
        self._lows[client] = max(before, low)  # the latest last
        for number in range(before, low) if low - before <= WINDOW else ():
            self._forget(CallId(*client, number))
        if low - before > WINDOW:
            for call in [c for c in self._calls if (c.client, c.life) == client and c.number < low]:
                self._forget(call)
        joint = [each for each in self._lows if each[1] == 0]
        if len(joint) > CLIENTS_MAX:
            del self._lows[joint[0]]
            for call in [c for c in self._calls if (c.client, c.life) == joint[0]]:
                self._forget(call)

    def _forget(self, call: CallId) -> None:
        self._calls.pop(call, None)
        self._early.pop(call, None)

    # --- what callers and other hosts say -------------------------------------------------------------------------

    def submitted(self, invoke: Invoke) -> bytes | None:
        """A caller wants the group to have this.  What to multicast; None if all hosts know that it waits."""
        execution = self._calls.get(invoke.id)
        if execution is None or invoke.caller not in execution.callers:
            return _encode(invoke)
        self._add_caller(invoke.id, invoke.caller, is_ours=True)
        return None

    def asked(self, ask: Ask, sender: Member) -> None:
        """A caller, or the host above, lacks something."""
        execution = self._calls.get(ask.id)
        if execution is None:
            if ask.part is not Part.BRANCH:
                self._deny(ask, sender)
            return
        if ask.part is Part.OWN:
            execution.direct = True
            if sender not in execution.callers:
                execution.callers.append(sender)
            self._answer(execution, [sender])
        elif execution.sent is not None:
            self.messages.append(Message(sender, execution.sent))
        else:
            for host in self._below(execution):
                if host.name not in execution.branches:
                    self.messages.append(Message(host, Ask(self.group, ask.id, Part.BRANCH, ask.view)))

    def withdrawn(self, withdraw: Withdraw, sender: Member, out: Output) -> None:
        """A caller wants it no more.  Who else may still want a joint call is not known, so that goes on."""
        execution = self._calls.get(withdraw.id)
        if execution is None:
            self._deny(withdraw, sender)
            return
        execution.callers = [caller for caller in execution.callers if caller != sender]
        if not execution.callers and not withdraw.id.is_joint:
            self._abandon(execution, out)
        self.messages.append(Message(sender, Answers(self.group, withdraw.id, Part.OWN, ())))

    def _deny(self, asked: Ask | Withdraw, sender: Member) -> None:
        """There will be no answer; unless the call is still to be delivered, in the view that the caller speaks of."""
        if asked.id in self._calls:
            self.messages.append(Message(sender, Answers(self.group, asked.id, Part.OWN, ())))
        elif self._view > asked.view:
            self.messages.append(Message(sender, Missed(self.group, asked.id, self._view)))

    def answered(self, sender: Member, answers: Answers) -> None:
        """From a host below in the tree."""
        if answers.id not in self._calls:
            if sum(map(len, self._early.values())) < EARLY_MAX:
                self._early.setdefault(answers.id, {})[sender.name] = answers
            return
        execution = self._calls[answers.id]
        if execution is not None:
            execution.branches[sender.name] = answers
            self._climb(execution)

    # --- what is executed -----------------------------------------------------------------------------------------

    def executed(self, token: int, outcome: Outcome) -> None:
        """The program is done with it."""
        execution = self.executions.pop(token, None)
        if execution is not None:
            self._ended(execution, outcome)

    def _ended(self, execution: Execution, outcome: Outcome) -> None:
        execution.outcome = outcome
        if execution.direct:
            self._answer(execution, execution.callers)
        else:
            self._climb(execution)

    def _abandon(self, execution: Execution, out: Output) -> None:
        if self.executions.pop(execution.token, None) is not None:
            out.deliveries.append(Abandoned(execution.token))
            out.note("calls.orphan", self.spec.name)

    def _answer(self, execution: Execution, callers: list[Member]) -> None:
        """Tell these what is known here: our own answer, or as the root of a tree the whole."""
        call, outcome = execution.invoke.id, execution.outcome
        answers = execution.sent if execution.sent is not None and execution.sent.part is Part.WHOLE else None
        if answers is None and execution.direct and outcome is not None:
            answers = Answers(self.group, call, Part.OWN, ((self._me.name, outcome),))
        if answers is not None:
            self.messages += [Message(caller, answers) for caller in callers]

    def _climb(self, execution: Execution) -> None:
        """One step up the tree, once all below have answered."""
        if execution.direct or execution.sent is not None or execution.outcome is None:
            return
        hosts, fanout = execution.hosts, execution.invoke.fanout
        names = [host.name for host in self._below(execution)]
        if any(name not in execution.branches for name in names):
            return
        up = above(execution.mine, fanout)
        branches = [execution.branches[name] for name in names]
        execution.sent = self._joined(execution, branches, Part.WHOLE if up is None else Part.BRANCH)
        execution.branches = {}
        if up is None:
            self._answer(execution, execution.callers)
        else:
            self.messages.append(Message(hosts[up], execution.sent))

    def _below(self, execution: Execution) -> list[Member]:
        hosts, fanout = execution.hosts, execution.invoke.fanout
        return [hosts[index] for index in below(execution.mine, len(hosts), fanout)] if fanout else []

    def _joined(self, execution: Execution, branches: list[Answers], part: Part) -> Answers:
        """Our own answer and those of the hosts below in one message, with results combined if they can be."""
        assert execution.outcome is not None
        call, outcome = execution.invoke.id, execution.outcome
        procedure = self._service.find(execution.invoke.operation, execution.invoke.types)
        singles = [single for branch in branches for single in branch.singles]
        values = [branch.value for branch in branches if branch.combined]
        combined = sum(branch.combined for branch in branches)
        if procedure is None or not procedure.combines or isinstance(outcome, Raised):
            singles.append((self._me.name, outcome))
        else:
            values.append(outcome.value)
            combined += 1
        value = b""
        if values:
            assert procedure is not None
            folded = procedure.fold(values)
            if isinstance(folded, Returned):
                value = folded.value
            else:
                singles.append((self._me.name, folded))
                combined = 0
        return Answers(self.group, call, part, tuple(singles), value, combined)


def hosts_of(view: View, group: GroupId) -> tuple[Member, ...]:
    """The full hosts of the group, in order of seniority."""
    place = view.group(group)
    if place is None:
        return ()
    names = set(place.hosts)
    return tuple(member for member in view.members if member.name in names)


def _is_in(view: View, name: Name, incarnation: int) -> bool:
    member = view.named(name)
    return member is not None and member.incarnation == incarnation
