"""The group core under every fault: the scenario behind `phalanx sim`.

Each seed draws how the cluster is born, which groups there are, of which order, and on which nodes.  The application of a
group is the list of the payloads delivered, so the checker can hold states against deliveries.  Besides virtual synchrony
(`check.groups`) this demands that a read after a barrier sees every payload that its sender had delivered before the
barrier began (a stale read is a violation), and that after the storm every node becomes a full member, holds every group
it wants, and delivers a last message from every host.

A founder that founds its cluster alone, and loses its disk, founds another one (docs/operations.md), in which numbers of
views and groups begin anew.  What was acknowledged is counted for each cluster alone then, and neither need get on: the
first may be without a quorum for good, and the two do not become one.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from phalanx.check.groups import check_groups
from phalanx.group.config import Config, Limits, Timing
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Data, Envelope
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import (
    Barrier,
    BarrierFailed,
    BarrierReached,
    Consumed,
    Delivered,
    Excluded,
    Founded,
    GroupLost,
    GroupSuspended,
    Host,
    Installed,
    Leave,
    Multicast,
    Restored,
    RestoreTaken,
    Restoring,
    SnapshotTaken,
    SnapshotUnwanted,
    SnapshotWanted,
    Unhost,
)
from phalanx.model.history import AskedToLeave, SawFounding, SawMessage, SawState, SawView, Sent, Stopped
from phalanx.model.view import GroupId, GroupSpec, Member, Name, Order, View
from phalanx.sim.altering import altered
from phalanx.sim.faults import DiskLost
from phalanx.sim.node import Node, Setup
from phalanx.sim.run import Call, Scenario
from phalanx.sim.swarm import Swarm

TIMING = Timing(
    heartbeat=100 * MILLISECOND,
    suspect_after=600 * MILLISECOND,
    demote_after=300 * MILLISECOND,
    patience=150 * MILLISECOND,
    resend_after=150 * MILLISECOND,
    penalty=SECOND,
)
LIMITS = Limits(batch=64, window=2048, chunk=100, suffix=1 << 20, slack=1024, early=64, retained=2000, log=600)
"""Small, so that fragments, windows, chunks and resyncs are exercised by payloads of a few bytes."""

SETTLES_NS = 2 * SECOND
"""How long two clusters that need not get on are watched after the storm: until members that returned have met both."""

_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(list[bytes]).decode
_decode = msgspec.msgpack.Decoder(Envelope).decode


def falsified(message: Any, rng: random.Random) -> Any:
    """The message, with another payload if it carries some."""
    if not isinstance(message, Envelope) or not isinstance(message.body, Data) or not message.body.payloads:
        return message
    payloads = list(message.body.payloads)
    at = rng.randrange(len(payloads))
    payloads[at] = altered(bytes(payloads[at]), rng)
    return msgspec.structs.replace(message, body=msgspec.structs.replace(message.body, payloads=payloads))


class App:
    """What one process's application holds: of each group the payloads so far."""

    def __init__(self, process: Member) -> None:
        self.process = process
        self.view = 0
        self.cluster = 0
        self.state: dict[GroupId, list[bytes]] = {}
        self.giving: dict[int, list[bytes]] = {}
        """Slices of a snapshot that are to be given, by its token, the last first."""
        self.taking: dict[GroupId, tuple[int, list[bytes]]] = {}
        """Slices of a state that have come, and their token."""

    def slices(self, group: GroupId, size: int) -> list[bytes]:
        """The state now, in slices of so many payloads, the last first."""
        state = self.state[group]
        return [_encode(state[at : at + size]) for at in range(0, max(1, len(state)), size)][::-1]

    def take(self, group: GroupId, token: int, data: bytes) -> list[bytes]:
        """A slice has come; all that have."""
        known, slices = self.taking.get(group, (0, []))
        self.taking[group] = token, [*(slices if token == known != 0 else ()), data]
        return self.taking[group][1]


class GroupScenario(Scenario):
    """See the module's text."""

    swarm = Swarm(storm_ns=4 * SECOND)
    fingerprint = staticmethod(repr)
    packages = ("phalanx.group",)

    def __init__(self) -> None:
        self._count = 0
        self._acked: dict[tuple[int, GroupId], int] = {}
        """By cluster and total-order group: how many payloads some sender's own delivery has acknowledged."""
        self._clusters: set[int] = set()
        """All in which somebody has installed a view."""
        self._barriers: dict[int, int] = {}
        self._probes: list[tuple[GroupId, bytes]] | None = None
        self._probe_view = 0
        self._processes: dict[Name, Member] = {}
        self._leavers: set[Name] = set()

    @staticmethod
    def codec(message: Any) -> Any:
        return _decode(_encode(message))

    def alter(self, message: Any, rng: random.Random) -> Any:
        """A lie is a payload that nobody sent.  (Other lies are told from the truth by group/validity.py, or are
        believed: members are trusted.)"""
        return falsified(message, rng)

    # --- the cluster

    def build(self) -> None:
        rng = random.Random(f"{self.plan.seed}/cluster")
        self._slicing = random.Random(f"{self.plan.seed}/slices")
        names = self.plan.names
        self.specs: dict[str, GroupSpec] = {}
        self.wanted: dict[Name, list[GroupSpec]] = {name: [] for name in names}
        for i in range(rng.choice((1, 1, 2, 3))):
            order = rng.choice((Order.TOTAL, Order.TOTAL, Order.TOTAL, Order.CAUSAL, Order.FIFO, Order.UNORDERED))
            lease = rng.choice((0, 0, 0, 400)) if order is Order.TOTAL else 0
            spec = self.specs[f"g{i}"] = GroupSpec(f"g{i}", order, rng.random() < 0.3, lease)
            everywhere = rng.random() < 0.6
            hosts = names if everywhere else rng.sample(names, rng.randint(1, len(names)))
            for name in hosts:
                self.wanted[name].append(spec)
        row_delay = random.Random(f"{self.plan.seed}/rows").choice((0, 1, 1, 30)) * MILLISECOND
        self._timing = msgspec.structs.replace(TIMING, row_delay=row_delay)
        founders = rng.choice((len(names), len(names), 1, rng.randint(1, len(names))))
        self.founders = tuple((name, name) for name in names[:founders])
        super().build()

    def start(self, setup: Setup) -> GroupMachine:
        return self.started(setup, GroupMachine(self.config(setup), setup.durable, setup.rng, setup.now))

    def config(self, setup: Setup) -> Config:
        """What the node is told."""
        peers = self.founders if (setup.name, setup.address) in self.founders else ()
        seeds = tuple(a for _, a in self.founders if a != setup.address)
        wanted = tuple(self.wanted[setup.name])
        return Config(setup.name, setup.address, seeds, peers, wanted, self._timing, LIMITS)

    def started(self, setup: Setup, machine: GroupMachine) -> GroupMachine:
        """The books of its application begin."""
        self._stopped(setup.name, crashed=True)
        self.world.nodes[setup.name].application = App(machine.me)
        return machine

    def _stopped(self, name: Name, *, crashed: bool, left: bool = False) -> None:
        """(A process that crashed before it was in a view may have its incarnation used again: it never spoke.)"""
        process = self._processes.pop(name, None)
        if process is not None:
            self.world.history.append(Stopped(process, crashed, left))

    # --- the application

    def _give(self, name: Name, app: App, group: GroupId, token: int) -> Iterable[Any]:
        """The first slice of a state at once, the others after a while, in which the group goes on and nodes crash."""
        first = token not in app.giving
        if first:
            app.giving[token] = app.slices(group, self._slicing.choice((1, 3, 10, 1_000)))
        data = app.giving[token].pop()
        more = bool(app.giving[token])
        if not more:
            del app.giving[token]
        answer = SnapshotTaken(group, token, data, more)
        return (answer,) if first else self._soon(name, answer)

    def _soon(self, name: Name, request: Any) -> Iterable[Any]:
        delay = self._slicing.choice((0, 0, 1, 10, 100)) * MILLISECOND
        if not delay:
            return (request,)
        life = self.world.nodes[name].life
        self.world.schedule(delay, self._request, name, life, request)
        return ()

    def _request(self, name: Name, life: int, request: Any) -> None:
        if self.world.nodes[name].life == life:
            self.world.request(name, request)

    def _exchange(self, node: Node, app: App, delivery: Any) -> Iterable[Any] | None:
        """Slices of states."""
        match delivery:
            case SnapshotWanted(group, token):
                return self._give(node.name, app, group, token)
            case SnapshotUnwanted(_, token):
                app.giving.pop(token, None)
            case Restoring(group, token, data):
                app.take(group, token, data)
                return self._soon(node.name, RestoreTaken(group, token))
            case Restored(group, data, token):
                slices = app.take(group, token, data)
                app.state[group] = [payload for each in slices for payload in _decode_state(each)]
                del app.taking[group]
                self.world.history.append(SawState(app.process, group, tuple(app.state[group])))
        return None

    def deliver(self, node: Node, delivery: Any) -> Iterable[Any] | None:
        app: App = node.application
        history = self.world.history
        match delivery:
            case Installed(view):
                machine = node.machine
                assert isinstance(machine, GroupMachine)
                app.process = self._processes[node.name] = machine.me
                app.view, app.cluster = view.id, view.cluster
                self._clusters.add(view.cluster)
                history.append(SawView(app.process, view))
            case Founded(group, _, replayed):
                app.state[group] = []
                history.append(SawState(app.process, group, ()) if replayed else SawFounding(app.process, group))
            case Delivered(group, view, sender, _, payloads):
                state = app.state[group]
                state += map(bytes, payloads)
                if view < app.view:  # replayed on top of a snapshot: it is a part of the state that was transferred
                    history.append(SawState(app.process, group, tuple(state)))
                else:
                    history += [SawMessage(app.process, group, view, sender, bytes(p)) for p in payloads]
                if sender == app.process:
                    book = app.cluster, group
                    self._acked[book] = max(self._acked.get(book, 0), len(state))
                return (Consumed(group, sum(map(len, payloads))),)
            case SnapshotWanted() | SnapshotUnwanted() | Restoring() | Restored():
                return self._exchange(node, app, delivery)
            case BarrierReached(group, token):
                need = self._barriers.pop(token)
                if len(app.state[group]) < need:
                    self.world.fail("stale read", f"{app.process} sees {len(app.state[group])} of {need} in {group}")
            case BarrierFailed(_, token):
                self._barriers.pop(token)
            case GroupLost(group, _) | GroupSuspended(group, _):
                app.state.pop(group, None)
            case Excluded(left=left):
                self._stopped(node.name, crashed=False, left=left)
                self.world.restart(node.name, random.Random(f"{self.plan.seed}/{node.life}").randrange(SECOND))
            case _:
                pass
        return None

    # --- the load

    def workload(self, rng: random.Random) -> Iterable[Call]:
        end = self.plan.heal_at_ns
        names = self.plan.names
        rude = rng.choice((0.0, 0.0, 0.02, 0.1))
        for _ in range(rng.choice((5, 30, 100, 200))):
            name = rng.choice(names)
            group = rng.choice(sorted(self.specs))
            chance = rng.random()
            if chance < 0.2:
                yield Call(rng.randrange(end), name, ("read", group, 0))
            elif chance < 0.2 + rude:
                yield Call(rng.randrange(end), name, (rng.choice(("leave", "unhost")), group, 0))
            else:
                size = rng.choice((0, 0, 0, 20, 50, 300))
                yield Call(rng.randrange(end), name, ("send", group, size))

    def perform(self, node: Node, what: Any) -> Iterable[Any]:
        kind, name, size = what
        machine = node.machine
        assert isinstance(machine, GroupMachine)
        view = machine.view
        if view is None:
            return ()
        group = view.group_named(name)
        if group is None or node.name not in group.everyone:
            return ()
        self._count += 1
        if kind == "leave":
            self._leavers.add(node.name)
            self.world.history.append(AskedToLeave(machine.me))
            return (Leave(),)
        if kind == "unhost":
            self.world.schedule(SECOND // 2, self._ask, node.name, Host(group.spec))
            return (Unhost(name),)
        if kind == "read":
            if group.spec.order is not Order.TOTAL:
                return ()
            self._barriers[self._count] = self._acked.get((view.cluster, group.id), 0)
            return (Barrier(group.id, self._count),)
        payload = b"%d/%s" % (self._count, node.name.encode()) + b"." * size
        self.world.history.append(Sent(machine.me, group.id, payload))
        return (Multicast(group.id, (payload,)),)

    def _ask(self, name: Name, request: Host) -> None:
        self.world.request(name, request)

    # --- the end

    @property
    def is_refounded(self) -> bool:
        """The only founder has lost its disk, and founded another cluster."""
        lost = {
            self.plan.names[f.node] for f in self.plan.faults if isinstance(f, DiskLost) and f.node < self.plan.nodes
        }
        return len(self._clusters) > 1 and len(self.founders) == 1 and self.founders[0][0] in lost

    def finished(self) -> bool:
        if self.is_refounded:
            return self.world.now >= self.plan.heal_at_ns + SETTLES_NS
        nodes = [self.world.nodes[n] for n in self.plan.names if n not in self.storm.gone]
        machines = {n.name: n.machine for n in nodes}
        views = [m.view if isinstance(m, GroupMachine) else None for m in machines.values()]
        view = views[0]
        if view is None or any(v != view for v in views) or {m.name for m in view.members} != set(machines):
            return False
        for spec in self.specs.values():
            hosts = {name for name, wanted in self.wanted.items() if spec in wanted and name in machines}
            group = view.group_named(spec.name)
            if hosts and (group is None or set(group.hosts) != hosts) and not self.is_excused(view, spec):
                return False
        if self._probes is None or self._probe_view != view.id:
            self._probe(view.id, [(g.id, n) for g in view.groups for n in g.hosts])
            return False
        for group_id, payload in self._probes:
            place = view.group(group_id)
            if place is None or any(payload not in self._state(n, group_id) for n in place.hosts):
                return False
        return True

    def is_excused(self, view: View, spec: GroupSpec) -> bool:  # noqa: ARG002  for those who override
        """Nothing more can be asked of that group."""
        return False

    def _state(self, name: Name, group: GroupId) -> list[bytes]:
        state: list[bytes] = self.world.nodes[name].application.state.get(group, [])
        return state

    def _probe(self, view: int, pairs: list[tuple[GroupId, Name]]) -> None:
        self._probes, self._probe_view = [], view
        for group, name in pairs:
            self._count += 1
            payload = b"%d/%s last" % (self._count, name.encode())
            self._probes.append((group, payload))
            app: App = self.world.nodes[name].application
            self.world.history.append(Sent(app.process, group, payload))
            self.world.request(name, Multicast(group, (payload,)))

    def unfinished(self) -> str:
        def at(name: Name) -> str:
            machine = self.world.nodes[name].machine
            if not isinstance(machine, GroupMachine) or machine.view is None:
                return "out"
            view = machine.view
            groups = " ".join(f"{g.spec.name}:{'/'.join(g.hosts)}+{'/'.join(g.learners)}" for g in view.groups)
            return f"view {view.id} {[m.name for m in view.members]} + {[m.name for m in view.learners]} {groups}"

        return "; ".join(f"{name} {at(name)}" for name in self.plan.names)

    def judge(self, history: Sequence[Any]) -> list[str]:
        return [f"{v.property}: {v.text}" for v in check_groups(history, leavers=self._leavers)]
