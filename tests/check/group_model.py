"""A virtually synchronous system, simplified until it is obviously right: the source of histories for the oracle.

One object knows everything.  Views, cuts and states are computed centrally, so there is no protocol that could be
wrong; what is random is who sends, who has delivered how much, who crashes or is left behind, and when anybody notices.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from phalanx.model.history import GroupEvent, SawFounding, SawMessage, SawState, SawView, Sent, Stopped
from phalanx.model.view import Group, GroupSpec, Member, Order, View

NAMES = ("ada", "bob", "cyd", "dan", "eve")


@dataclass(frozen=True)
class Message:
    payload: bytes
    sender: Member
    causes: frozenset[bytes]
    """All that the sender had delivered or sent in this group."""
    own: frozenset[bytes]
    """What the sender had sent before."""


@dataclass
class ModelGroup:
    id: int
    spec: GroupSpec
    hosts: set[Member]
    learners: set[Member] = field(default_factory=set)
    logs: dict[Member, list[bytes]] = field(default_factory=dict)
    alive: dict[bytes, Message] = field(default_factory=dict)
    """All messages but those that died with their senders, in the order sent."""
    delivered: set[bytes] = field(default_factory=set)
    """By anybody, so its sender at least has it."""
    stable: list[bytes] = field(default_factory=list)
    """Uniform groups: what may be delivered; in total order, the order."""

    def ripe(self, message: Message, behind: Iterable[bytes]) -> bool:
        """May it follow these messages?"""
        match self.spec.order:
            case Order.UNORDERED:
                return True
            case Order.FIFO:
                return message.own <= set(behind)
            case Order.CAUSAL | Order.TOTAL:
                return message.causes <= set(behind)

    def deliverable(self, process: Member) -> list[Message]:
        log = self.logs[process]
        if self.spec.order is Order.TOTAL:
            return [self.alive[p] for p in self.stable[len(log) : len(log) + 1]]
        allowed = self.stable if self.spec.is_uniform else list(self.alive)
        return [self.alive[p] for p in allowed if p not in log and self.ripe(self.alive[p], log)]

    def stabilise(self, rng: Random) -> None:
        """One more message reaches every host."""
        ready = [m for m in self.alive.values() if m.payload not in self.stable and self.ripe(m, self.stable)]
        if ready:
            self.stable.append(rng.choice(ready).payload)


class GroupModel:
    """Draws one history: `history` grows with each call; `view` is the last view decided."""

    def __init__(self, seed: int, nodes: int = 4) -> None:
        self.rng = Random(seed)
        self.history: list[GroupEvent] = []
        self.incarnations = dict.fromkeys(NAMES, 0)
        self.alive: set[Member] = set()
        self.groups: list[ModelGroup] = []
        self.ids = 0
        self.messages = 0
        members = tuple(self._start(name) for name in NAMES[:nodes])
        self.view = View(7, 0, members)
        specs = [GroupSpec(order.value, order, uniform=self.rng.random() < 0.3) for order in Order]
        self._install(members, (), [self._found(spec, members) for spec in specs])

    def run(self, views: int = 5, steps: int = 60) -> list[GroupEvent]:
        """A history without an end that anybody cared for."""
        for _ in range(views):
            for _ in range(self.rng.randrange(steps)):
                self.step()
            if self.rng.random() < 0.1:
                self.total_restart()
            else:
                self.change_view()
        return self.history

    def run_and_heal(self, views: int = 5, steps: int = 60) -> list[GroupEvent]:
        """A history whose end is healed and drained; `view.members` are its final members."""
        self.run(views, steps)
        self.change_view(calm=True)
        while self.view.learners or any(group.learners for group in self.groups):
            self.change_view(calm=True)
        for group in self.groups:
            while len(group.stable) < len(group.alive):
                group.stabilise(self.rng)
            for process in sorted(group.hosts):
                self._deliver_all(group, process, set(group.alive))
        return self.history

    def step(self) -> None:
        """One process does one thing."""
        rng = self.rng
        processes = [p for p in sorted(self.alive) if self.view.named(p.name) == p]
        process = rng.choice(processes)
        hosted = [g for g in self.groups if process in g.hosts or process in g.learners]
        if rng.random() < 0.02 and self._is_quorum([p for p in processes if p != process]):
            self._stop(process, crashed=True)
        elif hosted:
            group = rng.choice(hosted)
            if process not in group.logs:
                self._transfer(group, process)
            elif process in group.hosts and rng.random() < 0.3:
                self._send(group, process)
            elif rng.random() < 0.4:
                group.stabilise(rng)
            elif ready := group.deliverable(process):
                self._deliver(group, process, rng.choice(ready).payload)

    def change_view(self, calm: bool = False) -> None:
        """The members decide the next view and a cut; `calm`: nobody alive is left behind and nobody joins or goes."""
        rng, old = self.rng, self.view
        living = [m for m in old.everyone if m in self.alive]
        continuing = [m for m in living if calm or rng.random() < 0.9]
        if not self._is_quorum(continuing):
            continuing = living
        outcasts = [m for m in living if m not in continuing]
        members = tuple(m for m in old.members if m in continuing)
        promoted = tuple(m for m in old.learners if m in continuing and (calm or rng.random() < 0.5))
        learners = tuple(m for m in old.learners if m in continuing and m not in promoted)
        if not calm:
            learners += self._joiners(continuing)
        left = [(g, m, list(g.logs[m])) for g in self.groups for m in outcasts if self._is_idle_host(g, m)]
        groups = [g for g in self.groups if self._cross(g, set(members), set(promoted), calm)]
        lost = {g.spec.name for g in self.groups} - {g.spec.name for g in groups}
        for name in sorted(lost):
            groups.append(self._found(GroupSpec(name, Order(name)), members + promoted))
        self._install(members + promoted, learners, groups)
        for group, member, log in left:
            self._go_on_alone(group, member, log, old)
        for member in outcasts:
            self._stop(member, crashed=False)

    def total_restart(self) -> None:
        """All processes are gone; a quorum of nodes returns.  Memory groups are lost."""
        for process in sorted(self.alive):
            self._stop(process, crashed=True)
        names = [m.name for m in self.view.members]
        back = names[: len(names) // 2 + 1] if self.rng.random() < 0.5 else names
        members = tuple(self._start(name) for name in back)
        specs = [group.spec for group in self.groups]
        self._install(members, (), [self._found(spec, members) for spec in specs])

    # --- views ---

    def _is_quorum(self, processes: list[Member]) -> bool:
        full = self.view.members
        kept = [m for m in full if m in processes]
        return 2 * len(kept) > len(full) or (2 * len(kept) == len(full) and full[0] in kept)

    def _joiners(self, present: Iterable[Member]) -> tuple[Member, ...]:
        free = [name for name in NAMES if name not in {m.name for m in present}]
        free = [name for name in free if not any(m.name == name for m in self.alive)]
        return tuple(self._start(name) for name in free if self.rng.random() < 0.4)

    def _cross(self, group: ModelGroup, members: set[Member], promoted: set[Member], calm: bool) -> bool:
        """Carry a group into the next view: deliver the cut, let hosts leave, promote learners.  False: it is lost."""
        rng = self.rng
        hosts = {m for m in sorted(group.hosts & members) if calm or rng.random() < 0.95}
        if not hosts:
            return False
        cut = self._cut(group, hosts)
        for host in sorted(hosts):
            self._deliver_all(group, host, cut)
        group.alive = {p: m for p, m in group.alive.items() if p in cut or m.sender in hosts}
        for learner in sorted(group.learners & (members | promoted)):
            caught_up = set(group.logs.get(learner, ())) <= cut
            if calm or rng.random() < 0.5:
                if learner not in group.logs or not caught_up:
                    self._transfer(group, learner, rng.choice(sorted(hosts)))
                self._deliver_all(group, learner, cut)
                hosts.add(learner)
            elif not caught_up or rng.random() < 0.3:
                group.logs.pop(learner, None)  # it lags, or has what died with its sender: it needs another state
            elif learner in group.logs:
                self._deliver_all(group, learner, cut)
        learning = {m for m in sorted(members | promoted) if m not in hosts and (calm or rng.random() < 0.6)}
        group.learners &= learning
        group.learners |= {m for m in learning if m not in group.hosts}
        group.hosts = hosts
        group.logs = {m: log for m, log in group.logs.items() if m in hosts or m in group.learners}
        return True

    def _cut(self, group: ModelGroup, hosts: set[Member]) -> set[bytes]:
        if group.spec.is_uniform:
            for _ in range(self.rng.randrange(4)):
                group.stabilise(self.rng)
            return set(group.stable)
        cut = {payload for host in hosts for payload in group.logs[host]}
        cut |= {
            payload for payload in group.delivered if payload in group.alive and group.alive[payload].sender in hosts
        }
        for payload, message in group.alive.items():
            if payload not in cut and group.ripe(message, cut) and self.rng.random() < 0.5:
                cut.add(payload)
        return cut

    def _install(self, members: tuple[Member, ...], learners: tuple[Member, ...], groups: list[ModelGroup]) -> None:
        new = {g.id for g in groups} - {g.id for g in self.groups}
        self.groups = groups
        values = tuple(
            Group(
                g.id,
                g.spec,
                tuple(m.name for m in members if m in g.hosts),
                tuple(m.name for m in members if m in g.learners),
            )
            for g in groups
        )
        self.view = View(7, self.view.id + 1, members, learners, values)
        for process in self.rng.sample(self.view.everyone, len(self.view.everyone)):
            self.history.append(SawView(process, self.view))
            for group in groups:
                if group.id in new and process in group.hosts:
                    self.history.append(SawFounding(process, group.id))

    def _found(self, spec: GroupSpec, members: tuple[Member, ...]) -> ModelGroup:
        self.ids += 1
        hosts = set(members[:1]) | {m for m in members if self.rng.random() < 0.8}
        return ModelGroup(self.ids, spec, hosts, logs={m: [] for m in hosts})

    def _start(self, name: str) -> Member:
        self.incarnations[name] += 1
        member = Member(name, name, self.incarnations[name])
        self.alive.add(member)
        return member

    def _stop(self, process: Member, crashed: bool) -> None:
        self.alive.discard(process)
        self.history.append(Stopped(process, crashed))

    # --- messages ---

    def _new_message(self, group: ModelGroup, sender: Member, log: list[bytes]) -> Message:
        self.messages += 1
        payload = b"m%d" % self.messages
        own = frozenset(m.payload for m in group.alive.values() if m.sender == sender)
        self.history.append(Sent(sender, group.id, payload))
        return Message(payload, sender, own | frozenset(log), own)

    def _send(self, group: ModelGroup, sender: Member) -> None:
        message = self._new_message(group, sender, group.logs[sender])
        group.alive[message.payload] = message

    def _deliver(self, group: ModelGroup, process: Member, payload: bytes) -> None:
        group.logs[process].append(payload)
        group.delivered.add(payload)
        sender = group.alive[payload].sender
        self.history.append(SawMessage(process, group.id, self.view.id, sender, payload))

    def _deliver_all(self, group: ModelGroup, process: Member, cut: set[bytes]) -> None:
        """The rest of the cut, in one of the orders that the group allows."""
        while ready := [m for m in group.deliverable(process) if m.payload in cut]:
            self._deliver(group, process, self.rng.choice(ready).payload)
        assert set(group.logs[process]) == cut

    def _transfer(self, group: ModelGroup, process: Member, donor: Member | None = None) -> None:
        donors = [m for m in sorted(group.hosts) if m in self.alive]
        if donor is None and not donors:
            return
        group.logs[process] = list(group.logs[donor or self.rng.choice(donors)])
        self.history.append(SawState(process, group.id, tuple(group.logs[process])))

    def _is_idle_host(self, group: ModelGroup, process: Member) -> bool:
        """All that it sent it has delivered, so one more message of its own may follow at once."""
        own = {m.payload for m in group.alive.values() if m.sender == process}
        return process in group.hosts and own <= set(group.logs[process])

    def _go_on_alone(self, group: ModelGroup, process: Member, log: list[bytes], old: View) -> None:
        """An excluded process that has not heard of it yet: where nothing is uniform it may even deliver."""
        message = self._new_message(group, process, log)
        if not group.spec.is_uniform:
            self.history.append(SawMessage(process, group.id, old.id, process, message.payload))


class DurableModel(GroupModel):
    """The same with durable groups: they outlive the failure of everybody."""

    def _found(self, spec: GroupSpec, members: tuple[Member, ...]) -> ModelGroup:
        return super()._found(replace(spec, uniform=True, durable=True), members)

    def total_restart(self) -> None:
        """What was stable is on all disks; who returns replays it, and is a host as before."""
        for process in sorted(self.alive):
            self._stop(process, crashed=True)
        names = [m.name for m in self.view.members]
        members = tuple(self._start(name) for name in names)
        for group in self.groups:
            for _ in range(self.rng.randrange(4)):
                group.stabilise(self.rng)
            hosts = {m.name for m in group.hosts}
            group.hosts, group.learners = {m for m in members if m.name in hosts}, set()
            group.alive = {p: m for p, m in group.alive.items() if p in group.stable}
            group.logs = {m: list(group.stable) for m in group.hosts}
        self._install(members, (), self.groups)
        for group in self.groups:
            for process in sorted(group.hosts):
                for count in (0, len(group.stable)):
                    self.history.append(SawState(process, group.id, tuple(group.stable[:count])))


def shuffled(history: list[GroupEvent], rng: Random, passes: int = 3) -> list[GroupEvent]:
    """The same run as another observer may have seen it: events of different processes change places where neither
    causes the other."""
    history = list(history)
    for _ in range(passes):
        for i in range(len(history) - 1):
            a, b = history[i], history[i + 1]
            if a.process != b.process and rng.random() < 0.5 and not _causes(a, b):
                history[i], history[i + 1] = b, a
    return history


def _causes(a: GroupEvent, b: GroupEvent) -> bool:
    if isinstance(a, Sent) and isinstance(b, SawView):
        return True  # what a later view's quorum has frozen against is never sent and delivered in time
    if not isinstance(a, Sent | SawMessage):
        return False
    if isinstance(b, SawMessage):
        return a.payload == b.payload
    return isinstance(b, SawState) and a.payload in b.payloads
