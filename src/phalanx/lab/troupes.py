"""Group calls under every fault: nodes that call a troupe, alone or jointly, while its hosts come and go.

Some nodes host the troupe, all call it, by every rule, up a tree or not.  What is demanded: no process executes a call
twice; in total order all execute in one order, and those that go from one view to the next have executed the same; a
call that has not happened was executed by nobody, one that is said to have ended well by those that answered.  After the
storm every node gets the answers of all hosts, and every call is settled.
"""

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from phalanx.calls.messages import CallId
from phalanx.calls.procedures import ServiceType
from phalanx.calls.requests import Abandoned, CallEnded, CallTroupe, CancelCall, Execute, Executed, Finish, Rule, Want
from phalanx.group.config import Config
from phalanx.lab.groups import LIMITS, TIMING
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import Installed
from phalanx.model.machine import Machine
from phalanx.model.procedures import procedure
from phalanx.model.view import GroupId, GroupSpec, Member, Name, Order
from phalanx.node.node import Message
from phalanx.node.node import Node as Machinery
from phalanx.sim.node import Node, Setup
from phalanx.sim.run import Call, Scenario
from phalanx.sim.swarm import Swarm

GROUP = "troupe"

_encode = msgspec.msgpack.Encoder().encode
_decode: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Message)


class Echo:
    """What the troupe does.  (The scenario's application computes it.)"""

    @procedure(combine=max)
    def echo(self, number: int) -> int:
        """The number."""
        return number


SERVICE = ServiceType(Echo)
ECHO = SERVICE.procedures["echo@1"]


class SawExecution(NamedTuple):
    """The process began to execute the call, in that view."""

    process: Member
    group: GroupId
    view: int
    call: CallId
    number: int


class SawInstallation(NamedTuple):
    """The process installed that view, in which these host the troupe."""

    process: Member
    group: GroupId
    view: int
    hosts: frozenset[Member]


class SawEnd(NamedTuple):
    """A call was told to have ended so."""

    caller: Name
    number: int
    want: Want
    is_joint: bool
    ended: CallEnded


class TroupeScenario(Scenario):
    """See the module's text."""

    swarm = Swarm(sizes=(2, 3, 3, 3, 4, 5, 6), storm_ns=4 * SECOND)
    fingerprint = staticmethod(repr)
    packages = ("phalanx.group", "phalanx.node", "phalanx.calls")

    def __init__(self) -> None:
        self._token = 0
        self._asked: dict[int, tuple[Name, int, Want, bool]] = {}
        """What was called and has not ended, by token."""
        self._probes: set[int] | None = None
        self._probe_view = 0

    @staticmethod
    def codec(message: Any) -> Any:
        return _decode.decode(_encode(message))

    # --- the cluster

    def build(self) -> None:
        rng = random.Random(f"{self.plan.seed}/troupe")
        order = rng.choice((Order.TOTAL, Order.TOTAL, Order.TOTAL, Order.CAUSAL, Order.FIFO))
        self.spec = GroupSpec(GROUP, order, rng.random() < 0.3, contract=SERVICE.contract)
        names = self.plan.names
        self.hosts = frozenset(rng.sample(names, rng.randint(1, len(names))))
        self._fanout = rng.choice((0, 0, 1, 2, 3))
        self._work = rng.choice((0, 1, 20, 300)) * MILLISECOND
        self._chance = random.Random(f"{self.plan.seed}/work")
        super().build()

    def start(self, setup: Setup) -> Machine:
        names = self.plan.names
        peers = tuple((name, name) for name in names)
        config = Config(setup.name, setup.address, (), peers, (), TIMING, LIMITS)
        node = Machinery(config, setup.durable, setup.rng, setup.now)
        for token in [token for token, asked in self._asked.items() if asked[0] == setup.name]:
            del self._asked[token]  # whoever called is gone
        if setup.name in self.hosts:
            self.world.schedule(0, self._request, setup.name, setup.life, node.serve(SERVICE, self.spec))
        return node

    def _request(self, name: Name, life: int, request: Any) -> None:
        if self.world.nodes[name].life == life:
            self.world.request(name, request)

    def deliver(self, node: Node, delivery: Any) -> Iterable[Any] | None:
        machine = node.machine
        assert isinstance(machine, Machinery)
        history = self.world.history
        match delivery:
            case Installed(view) if (group := view.group_named(GROUP)) is not None:
                hosts = frozenset(m for m in view.members if m.name in group.hosts)
                me = view.named(node.name)
                assert me is not None
                history.append(SawInstallation(me, group.id, view.id, hosts))
                node.application = me, view.id
            case Installed(view):
                node.application = view.named(node.name), view.id
            case Execute(token, _, call, _, _, arguments):
                assert machine.calls is not None
                serving = machine.calls.serving(GROUP)
                number = ECHO.decode(arguments)["number"]
                me, at = node.application
                history.append(SawExecution(me, serving.group if serving is not None else 0, at, call, number))
                done = Executed(token, ECHO.outcome(number))
                delay = int(self._work * self._chance.random())
                if not delay:
                    return (done,)
                self.world.schedule(delay, self._request, node.name, node.life, done)
            case CallEnded(token) if token in self._asked:
                caller, number, want, is_joint = self._asked.pop(token)
                history.append(SawEnd(caller, number, want, is_joint, delivery))
                if self._probes is not None and token in self._probes and delivery.finish is Finish.DONE:
                    self._probes.remove(token)
            case Abandoned():
                self.world.tell("orphan", node.name)
            case _:
                pass
        return None

    # --- the load

    def workload(self, rng: random.Random) -> Iterable[Call]:
        end = max(1, self.plan.heal_at_ns)
        names = self.plan.names
        joint = 0
        for _ in range(rng.choice((5, 30, 100))):
            want = rng.choice((Want(), Want(Rule.SOME, 1), Want(Rule.SOME, 2), Want(Rule.MAJORITY), Want(Rule.VOTED)))
            at, name = rng.randrange(end), rng.choice(names)
            if rng.random() < 0.3:
                joint += 1
                for other in rng.sample(names, rng.randint(1, len(names))):
                    yield Call(at + rng.randrange(50 * MILLISECOND), other, (want, joint))
            else:
                yield Call(at, name, (want, 0))

    def perform(self, node: Node, what: Any) -> Iterable[Any]:
        want, joint = what
        call = self._call(node, want, joint, SECOND * (1 + self._token % 7))
        if call.token % 11 == 0:
            self.world.schedule(30 * MILLISECOND, self._cancel, node.name, node.life, call.token)
        return (call,)

    def _cancel(self, name: Name, life: int, token: int) -> None:
        """The caller does not want it any more, if it is still under way."""
        if self.world.nodes[name].life == life and token in self._asked:
            del self._asked[token]
            self.world.request(name, CancelCall(token))

    def _call(self, node: Node, want: Want, joint: int, patience_ns: int) -> CallTroupe:
        self._token += 1
        number = -joint if joint else self._token
        self._asked[self._token] = node.name, number, want, bool(joint)
        deadline = node.clocks.mono(self.world.now) + patience_ns
        fanout = self._fanout if want.rule is Rule.ALL else 0
        named = ("clients", joint) if joint else None
        arguments = ECHO.encode(number)
        return CallTroupe(self._token, GROUP, ECHO.id, ECHO.types, arguments, want, deadline, fanout, named)

    # --- the end

    def finished(self) -> bool:
        nodes = [self.world.nodes[name] for name in self.plan.names if name not in self.storm.gone]
        machines = [node.machine for node in nodes]
        views = [m.group.view if isinstance(m, Machinery) else None for m in machines]
        view = views[0]
        if view is None or any(v != view for v in views) or {m.name for m in view.members} != {n.name for n in nodes}:
            return False
        group = view.group_named(GROUP)
        if group is None or set(group.hosts) != {n.name for n in nodes if n.name in self.hosts}:
            return not any(n.name in self.hosts for n in nodes)
        if self._probes is None or self._probe_view != view.id:
            self._probes, self._probe_view = set(), view.id
            for node in nodes:
                request = self._call(node, Want(), 0, 60 * SECOND)
                self._probes.add(request.token)
                self.world.request(node.name, request)
        settled = all(m.calls is None or m.calls.calling.is_idle for m in machines if isinstance(m, Machinery))
        return not self._probes and not self._asked and settled

    def unfinished(self) -> str:
        return f"probes {self._probes}, calls {self._asked}"

    def judge(self, history: Sequence[Any]) -> list[str]:
        executions = [each for each in history if isinstance(each, SawExecution)]
        wrong = list(_twice(executions))
        if self.world.notes["calls.given_up"]:
            wrong.append("settled: some host never said whether it executed a call")
        if self.spec.order is Order.TOTAL:
            wrong += _orders(executions)
            wrong += _views(history)
        wrong += _ends([each for each in history if isinstance(each, SawEnd)], executions, len(self.hosts))
        return wrong


def _twice(executions: Sequence[SawExecution]) -> Iterable[str]:
    seen: set[tuple[Member, GroupId, CallId]] = set()
    for each in executions:
        key = each.process, each.group, each.call
        if key in seen:
            yield f"executed twice: {each.call} by {each.process}"
        seen.add(key)


def _orders(executions: Sequence[SawExecution]) -> Iterable[str]:
    """Any two processes execute what they both execute in the same order."""
    sequences: dict[tuple[Member, GroupId], list[CallId]] = defaultdict(list)
    for each in executions:
        sequences[each.process, each.group].append(each.call)
    for (one, mine), (other, theirs) in itertools.combinations(sequences.items(), 2):
        if one[1] == other[1]:
            common = set(mine) & set(theirs)
            if [call for call in mine if call in common] != [call for call in theirs if call in common]:
                yield f"total order: {one[0]} and {other[0]} differ"


def _views(history: Sequence[Any]) -> Iterable[str]:
    """Those that are hosts in a view and in the next have executed the same in it."""
    last: dict[tuple[Member, GroupId], SawInstallation] = {}
    sets: dict[tuple[GroupId, int, int], dict[Member, set[CallId]]] = defaultdict(dict)
    done: dict[tuple[Member, GroupId, int], set[CallId]] = defaultdict(set)
    for each in history:
        match each:
            case SawExecution(process, group, view, call):
                done[process, group, view].add(call)
            case SawInstallation(process, group, view):
                before = last.get((process, group))
                if before is not None and process in before.hosts & each.hosts:
                    sets[group, before.view, view][process] = done[process, group, before.view]
                last[process, group] = each
            case _:
                pass
    for (group, view, _), found in sets.items():
        if len({frozenset(calls) for calls in found.values()}) > 1:
            yield f"virtual synchrony: in view {view} of group {group} {found} executed different calls"


def _ends(ends: Sequence[SawEnd], executions: Sequence[SawExecution], hosts: int) -> Iterable[str]:
    """What callers were told is so."""
    by_number: dict[int, list[SawExecution]] = defaultdict(list)
    for each in executions:
        by_number[each.number].append(each)
    for end in ends:
        by, told = by_number[end.number], end.ended
        names = {each.process.name for each in by}
        if told.finish is Finish.NOT_HAPPENED and by and not end.is_joint:
            yield f"not happened: call {end.number} of {end.caller} was executed by {names}"
        if not {name for name, _ in told.answers} <= names:
            yield f"answers: call {end.number} was answered by {told.answers}, and executed by {names}"
        if any(ECHO.result(outcome) != end.number for _, outcome in told.answers):
            yield f"answers: call {end.number} was answered with {told.answers}"
        if told.combined and ECHO.result(ECHO.fold([told.value])) != end.number:
            yield f"answers: call {end.number} was answered with {told.value!r} by {told.combined}"
        count = len(told.answers) + told.combined
        if told.finish is Finish.DONE and not 1 <= count <= max(hosts, len(names)):
            yield f"answers: call {end.number} has {count} of {told.hosts}"
        if told.finish is Finish.DONE and end.want.rule is Rule.MAJORITY and count <= told.hosts // 2:
            yield f"majority: call {end.number} has {count} of {told.hosts}"
