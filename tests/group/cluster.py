"""A scenario language for tests of the group core: real group machines in virtual time, and faults by hand.

    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.send("a", "hello")
        cluster.crash("a")
        cluster.until_members("bc")
        assert cluster.deliveries("b") == cluster.deliveries("c")

The application of a group is the list of the payloads delivered.  When the block ends, the whole history is held against
`check.check_groups`, and every read that was answered must have seen what was acknowledged before it began.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from phalanx.check.groups import check_groups, check_progress
from phalanx.group.config import Config, Limits, Timing
from phalanx.group.machine import GroupMachine
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.events import (
    Barrier,
    Leave,
    Multicast,
)
from phalanx.model.history import SawView, Sent
from phalanx.model.view import Address, Group, GroupSpec, Name, Order, View
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from tests.group.applications import App, Applications, Read
from tests.group.stage import CALM, Rule, Stage, nothing

G = GroupSpec("g")
"""A group in total order: what scenarios use unless they say otherwise."""

_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(list[bytes]).decode


class Cluster:
    """Nodes of one letter each, which found one cluster together; all want to host all `groups`."""

    def __init__(
        self,
        names: str,
        *groups: GroupSpec,
        founders: str = "",
        late: str = "",
        hosts: Mapping[Name, Sequence[GroupSpec]] | None = None,
        timing: Timing | None = None,
        limits: Limits | None = None,
        seed: int = 1,
        returns: bool = True,
        conditions: Conditions = CALM,
    ) -> None:
        """founders: who founds a cluster together instead ("ab cd": two clusters); the rest join.  late: not started yet.
        hosts: what single nodes want to host instead.  returns: excluded nodes come back as new incarnations."""
        self.names = names
        self.apps = Applications(lambda name: returns and name not in self.leavers)
        self.world = self.apps.world = Stage(seed, self._start, self.apps.deliver, conditions)
        self.groups = groups or (G,)
        self.hosts = {name: tuple((hosts or {}).get(name, self.groups)) for name in names}
        self.timing = timing or Timing()
        self.limits = limits or Limits()
        self.seeds: dict[Name, tuple[Address, ...]] = {}
        sets = (founders or names).split()
        self.founders: dict[Name, str] = {name: together for together in sets for name in together}
        self.leavers: set[Name] = set()
        self._blocks: list[tuple[Name, Name]] = []
        for name in names:
            self.world.add(name, start=name not in late)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.check()

    def check(self) -> None:
        """Judge what has happened so far."""
        assert not self.world.failures, self.world.failures
        wrong = check_groups(self.world.history, leavers=self.leavers)
        assert not wrong, "\n".join(map(str, wrong))

    # --- processes and applications

    def _start(self, setup: Setup) -> GroupMachine:
        name = setup.name
        founders = tuple((n, self.world.nodes[n].address) for n in self.founders.get(name, ""))
        known = self.founders.get(name) or next(iter(self.founders.values()))
        seeds = self.seeds.get(name, tuple(self.world.nodes[n].address for n in known))
        config = Config(name, setup.address, seeds, founders, self.hosts[name], self.timing, self.limits)
        machine = GroupMachine(config, setup.durable, setup.rng, setup.now, setup.journal)
        self.apps.stopped(name, crashed=True)
        self.world.nodes[name].application = App(machine.me)
        return machine

    # --- what is seen

    def machine(self, name: Name) -> GroupMachine:
        machine = self.world.nodes[name].machine
        assert isinstance(machine, GroupMachine), f"{name} is down"
        return machine

    def app(self, name: Name) -> App:
        app: App = self.world.nodes[name].application
        return app

    def log(self, name: Name, kind: type) -> list[Any]:
        """The deliveries of that kind that the present process at `name` has had."""
        return [delivery for delivery in self.app(name).log if isinstance(delivery, kind)]

    def is_up(self, name: Name) -> bool:
        return self.world.nodes[name].machine is not None

    def view(self, name: Name) -> View | None:
        """The view that the process at `name` is in."""
        return self.machine(name).view if self.is_up(name) else None

    def members(self, name: Name) -> str:
        """The full members of that view, in seniority; "" if it is in none."""
        view = self.view(name)
        return "".join(m.name for m in view.members) if view is not None else ""

    def learners(self, name: Name) -> str:
        view = self.view(name)
        return "".join(m.name for m in view.learners) if view is not None else ""

    def group(self, name: Name, group: str = "g") -> Group | None:
        view = self.view(name)
        return view.group_named(group) if view is not None else None

    def deliveries(self, name: Name, group: str = "g") -> list[str]:
        """The state of the group at `name`: all that was delivered, transferred or not."""
        place = self.group(name, group)
        return [p.decode() for p in self.app(name).state.get(place.id, [])] if place is not None else []

    def views(self) -> list[View]:
        """All views that anybody installed, by id."""
        return sorted({e.view.id: e.view for e in self.world.history if isinstance(e, SawView)}.values(), key=_id)

    def status(self) -> str:
        def at(name: Name) -> str:
            view = self.view(name)
            if not self.is_up(name) or view is None:
                return "down" if not self.is_up(name) else "out"
            groups = " ".join(f"{g.spec.name}:{''.join(g.hosts)}+{''.join(g.learners)}" for g in view.groups)
            suspects = "".join(sorted(self.machine(name).suspects))
            return f"view {view.id} {self.members(name)}+{self.learners(name)} {groups} suspects {suspects or 'nobody'}"

        return f"after {self.world.now / SECOND:.3f} s: " + "; ".join(f"{name} {at(name)}" for name in self.names)

    # --- time

    def run(self, seconds: float) -> None:
        self.world.run_for(int(seconds * SECOND))
        assert not self.world.failures, self.world.failures

    def until(self, condition: Callable[[], bool], what: str = "it", within: float = 20.0) -> None:
        """Run until the condition holds."""
        reached = self.world.run_while(lambda: not condition(), int(within * SECOND), 5 * MILLISECOND)
        assert not self.world.failures, self.world.failures
        assert reached, f"{what} did not come within {within} s; {self.status()}"

    def until_members(self, names: str, within: float = 20.0, groups: bool = True) -> None:
        """Run until these nodes are in one view, of which they are the full members; with their groups' states."""

        def there() -> bool:
            views = [self.view(name) for name in names]
            view = views[0]
            if view is None or any(v != view for v in views) or {m.name for m in view.members} != set(names):
                return False
            return not groups or all(self._hosts_fully(name, view) for name in names)

        self.until(there, f"a view of {names}", within)

    def _hosts_fully(self, name: Name, view: View) -> bool:
        places = [view.group_named(spec.name) for spec in self.hosts[name]]
        return all(place is not None and name in place.hosts for place in places)

    def until_all_deliver(self, names: str, *payloads: str, group: str = "g", within: float = 20.0) -> None:
        def there() -> bool:
            return all(set(payloads) <= set(self.deliveries(name, group)) for name in names)

        self.until(there, f"{payloads} at {names}", within)

    def converge(self, names: str, within: float = 30.0) -> None:
        """Healed and drained: these are the full members of one view, a message of each reaches all of them, and
        everything owed to them has come (`check.check_progress`)."""
        end = self.world.now + int(within * SECOND)
        while not self._drained(names, end):
            pass  # a view change may have excluded a sender of a last message: then each sends another
        self.run(0.2)
        wrong = check_progress(self.world.history, [self.machine(name).me for name in names])
        assert not wrong, "\n".join(map(str, wrong))

    def _drained(self, names: str, end: int) -> bool:
        """A last message of each host reached all; False if views went on changing meanwhile."""
        self.until_members(names, (end - self.world.now) / SECOND)
        view = self.view(names[0])
        at = {spec.name: [n for n in names if spec in self.hosts[n]] for spec in self.groups}
        last = {group: {self.send(n, f"{n} {self.world.now}", group=group) for n in at[group]} for group in at}

        def changed() -> bool:
            return any(self.view(n) != view for n in names)

        def came() -> bool:
            return all(payloads <= set(self.deliveries(n, g)) for g, payloads in last.items() for n in at[g])

        self.until(lambda: changed() or came(), "last messages", (end - self.world.now) / SECOND)
        return not changed()

    # --- what applications do

    def multicast(self, name: Name, *payloads: str, group: str = "g") -> Multicast:
        """The request, with its sending noted in the history."""
        place = self.group(name, group)
        assert place is not None and name in place.everyone, f"{name} does not host {group}; {self.status()}"
        app = self.app(name)
        self.world.history += [Sent(app.process, place.id, payload.encode()) for payload in payloads]
        return Multicast(place.id, tuple(payload.encode() for payload in payloads))

    def send(self, name: Name, payload: str, *more: str, group: str = "g") -> str:
        """Multicast payloads, which must be unique in the scenario.  Returns the first."""
        self.world.request(name, self.multicast(name, payload, *more, group=group))
        return payload

    def read(self, name: Name, group: str = "g") -> Read:
        """Begin a linearizable read."""
        place = self.group(name, group)
        assert place is not None
        reads = self.apps.reads
        reads.append(Read(place.id, self.apps.acked.get(place.id, 0)))
        self.world.request(name, Barrier(place.id, len(reads) - 1))
        return reads[-1]

    def leave(self, name: Name) -> None:
        self.leavers.add(name)
        self.apps.asked_to_leave(name)
        self.world.request(name, Leave())

    # --- faults

    def join(self, name: Name, *, seeds: str | None = None) -> None:
        """A new node comes, knowing the founders, or the given ones."""
        self.names += name
        self.hosts[name] = self.groups
        if seeds is not None:
            self.seeds[name] = tuple(seeds)
        self.world.add(name)

    def crash(self, *names: Name, host: bool = False, wipe: bool = False) -> None:
        """`host`: the host loses power, so nobody refuses connections in its place."""
        for name in names:
            self.apps.stopped(name, crashed=True)
            self.world.crash(name, host=host, wipe=wipe)

    def restart(self, *names: Name) -> None:
        for name in names:
            self.world.start(name)

    def pause(self, name: Name) -> None:
        self.world.pause(name)

    def resume(self, name: Name) -> None:
        self.world.resume(name)

    def one_way(self, source: Name, target: Name) -> None:
        """Nothing gets from source to target."""
        self.world.network.block(self.world.nodes[source], self.world.nodes[target])
        self._blocks.append((source, target))

    def cut(self, a: Name, b: Name) -> None:
        self.one_way(a, b)
        self.one_way(b, a)

    def mend(self, a: Name, b: Name) -> None:
        """Undo `cut`."""
        for source, target in ((a, b), (b, a)):
            self._blocks.remove((source, target))
            self.world.network.unblock(self.world.nodes[source], self.world.nodes[target])

    def partition(self, *sides: str) -> None:
        """Only nodes of one side can talk."""
        for a in self.names:
            for b in self.names:
                if a != b and not any(a in side and b in side for side in sides):
                    self.one_way(a, b)

    def heal(self) -> None:
        for source, target in self._blocks:
            self.world.network.unblock(self.world.nodes[source], self.world.nodes[target])
        self._blocks.clear()

    def _rule(self, fate: str, kinds: tuple[type, ...], source: str, target: str) -> Rule:
        rule = Rule(fate, kinds, source, target)
        self.world.links.rules.append(rule)
        return rule

    def drop(self, *kinds: type, source: str = "", target: str = "") -> Rule:
        """Lose messages of these kinds between these nodes."""
        return self._rule("drop", kinds, source, target)

    def hold(self, *kinds: type, source: str = "", target: str = "") -> Rule:
        """Keep them back; `let_go` lets them arrive."""
        return self._rule("hold", kinds, source, target)

    def copy(self, *kinds: type, source: str = "", target: str = "") -> Rule:
        """Keep a copy of them, which `let_go` lets arrive a second time."""
        return self._rule("copy", kinds, source, target)

    def let_go(self, rule: Rule) -> int:
        """Lift the rule; what it caught arrives now, whatever has become of its senders.  Returns how many."""
        rule.lift()
        for target, received in rule.caught:
            self.world.arrive(target, received)
        return len(rule.caught)

    def crash_after(self, name: Name, steps: int) -> Callable[[], str]:
        """Crash the node right after the given number of further steps: a write that became durable, or a message
        that left for one receiver.  Returns what tells which step it was ("" if it did not come to it)."""
        left = iter(range(steps - 1, -1, -1))
        died: list[str] = []

        def watch(node: Node, what: str) -> None:
            if node.name == name and not died and what.split()[0] in STEPS and next(left) == 0:
                died.append(what)
                self.apps.stopped(name, crashed=True)
                self.world.doom(name)

        self.world.left = watch
        return lambda: died[0] if died else ""

    def spare(self) -> None:
        """Call off `crash_after`."""
        self.world.left = nothing


STEPS = frozenset({"write", "Prepare", "Promise", "Gather", "Held", "Pull", "Accept", "Accepted", "Commit"})
"""What counts as a step of a view change."""


def _id(view: View) -> int:
    return view.id


def group_of(order: Order, *, uniform: bool = False, lease_ms: int = 0) -> GroupSpec:
    """The group "g" in another order, or with leases."""
    return GroupSpec("g", order, uniform, lease_ms)
