"""Small machines and scenarios to try the simulator on: right ones, and ones with a planted bug that it must find."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import LinkUp, Output, Received, Send
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.run import Call, Scenario
from phalanx.sim.swarm import Swarm
from phalanx.sim.world import World

React = Callable[["Scripted", Sequence[Any], Instant, Output], None]


class Scripted:
    """Does what a function says; remembers what it was stepped with."""

    def __init__(self, setup: Setup, react: React | None = None) -> None:
        self.setup = setup
        self.react = react
        self.deadline: int | None = None
        self.steps: list[tuple[list[Any], Instant]] = []

    @property
    def events(self) -> list[Any]:
        return [event for events, _ in self.steps for event in events]

    @property
    def messages(self) -> list[Any]:
        return [event.message for event in self.events if isinstance(event, Received)]

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        out, events = Output(), list(events)
        self.steps.append((events, now))
        if self.react is not None:
            self.react(self, events, now, out)
        return out


class Do(NamedTuple):
    """A request that says what the machine shall put into its output."""

    write: Any = None
    send: tuple[tuple[str, Any], ...] = ()
    eager: tuple[tuple[str, Any], ...] = ()
    deliver: tuple[Any, ...] = ()


def obey(_machine: Scripted, events: Sequence[Any], _now: Instant, out: Output) -> None:
    for event in events:
        if isinstance(event, Do):
            out.writes += [] if event.write is None else [event.write]
            out.sends += [Send((to,), message) for to, message in event.send]
            out.eager += [Send((to,), message) for to, message in event.eager]
            out.deliveries += event.deliver


def scripted(world: World, name: str) -> Scripted:
    machine = world.nodes[name].machine
    assert isinstance(machine, Scripted)
    return machine


def world_of(
    *names: str, react: React = obey, conditions: Conditions | None = None, seed: int = 1, **options: Any
) -> World:
    """Nodes that run already, with disks that take 1 ms."""
    conditions = conditions or Conditions(write_min_ns=MILLISECOND, write_spread_ns=0, stagger_ns=0)
    world = World(seed, lambda setup: Scripted(setup, react), conditions=conditions, **options)
    for name in names:
        world.add(name)
    world.run_for(MILLISECOND)
    return world


# --- gossip: every node ends up with what any node was told and made durable ------------------------------------------


class Gossip:
    """Durable set of words, shown to all peers every 100 ms; delivers a word once it is durable."""

    def __init__(self, setup: Setup, peers: Sequence[str]) -> None:
        self.peers = [peer for peer in peers if peer != setup.address]
        self.words: tuple[str, ...] = setup.durable or ()
        self.deadline: int | None = setup.now.mono + setup.rng.randrange(100 * MILLISECOND)

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        out = Output()
        came = [event.message if isinstance(event, Received) else (event,) for event in events if told(event)]
        new = sorted({word for words in came for word in words} - set(self.words))
        if new:
            self.words = (*self.words, *new)
            out.writes.append(self.words)
            out.deliveries += new
            out.note("gossip.new", len(new))
        assert self.deadline is not None
        if now.mono >= self.deadline:
            self.deadline = now.mono + 100 * MILLISECOND
            out.sends.append(Send(self.peers, self.words))
        return out


def told(event: Any) -> bool:
    return isinstance(event, Received | str)


class GossipScenario(Scenario):
    """After the storm all nodes have all words that any disk has, and nothing was delivered that no disk had."""

    swarm = Swarm(storm_ns=3 * SECOND, calm_ns=20 * SECOND, deaths=True)

    def start(self, setup: Setup) -> Gossip:
        return Gossip(setup, self.plan.names)

    def workload(self, rng: random.Random) -> Iterable[Call]:
        for index in range(20):
            yield Call(rng.randrange(3 * SECOND), rng.choice(self.plan.names), f"word{index}")

    def deliver(self, node: Node, delivery: str) -> None:
        assert delivery in (node.durable or ()), "delivered before it was durable"
        self.world.history.append((node.name, delivery))

    def finished(self) -> bool:
        machines = [node.machine for node in self.world.nodes.values() if node.machine is not None]
        words = [set(machine.words) for machine in machines if isinstance(machine, Gossip)]
        return all(one == words[0] for one in words)

    def codec(self, message: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word.encode().decode() for word in message)


class EndlessScenario(GossipScenario):
    """Nothing is wrong, and it does not come to an end."""

    def finished(self) -> bool:
        return False


# --- a store: what was acknowledged is on the disk -------------------------------------------------------------------


class Store:
    """Keeps numbers; acknowledges each to a witness.  `hasty`: the planted bug, acknowledging before it is durable."""

    def __init__(self, setup: Setup, hasty: bool) -> None:
        self.numbers: tuple[int, ...] = setup.durable or ()
        self.hasty = hasty
        self.deadline = None

    def step(self, events: Iterable[Any], _now: Instant) -> Output:
        out = Output()
        for event in events:
            if isinstance(event, int):
                self.numbers += (event,)
                out.writes.append(self.numbers)
                (out.eager if self.hasty else out.sends).append(Send(("witness",), event))
        return out


class StoreScenario(Scenario):
    """A witness hears what was acknowledged; in the end all of it must be on the store's disk (SCENARIOS 3)."""

    swarm = Swarm(sizes=(1, 3), storm_ns=SECOND, faults=("Crash", "CrashInWrite", "CrashAll", "Pause", "SlowDisk"))
    hasty = False

    def build(self) -> None:
        super().build()
        self.world.add("witness")

    def start(self, setup: Setup) -> Store | Scripted:
        return Scripted(setup) if setup.name == "witness" else Store(setup, self.hasty)

    def workload(self, rng: random.Random) -> Iterable[Call]:
        return [Call(rng.randrange(SECOND), rng.choice(self.plan.names), index) for index in range(12)]

    def finished(self) -> bool:
        idle = not any(node.outbox for node in self.world.nodes.values())
        return idle and self.world.now > self.plan.heal_at_ns + SECOND

    def judge(self, history: Sequence[Any]) -> list[str]:
        assert not history
        kept = {n for name in self.plan.names for n in self.world.nodes[name].durable or ()}
        return [f"lost: {n}" for n in scripted(self.world, "witness").messages if n not in kept]


class HastyStoreScenario(StoreScenario):
    hasty = True


# --- a receiver that relies on FIFO links ----------------------------------------------------------------------------


class Counting:
    """Numbers what it sends to all peers; asserts that each peer's numbers come without gaps while a link stands."""

    def __init__(self, setup: Setup, peers: Sequence[str]) -> None:
        self.peers = [peer for peer in peers if peer != setup.address]
        self.last: dict[str, int] = {}
        self.count = 0
        self.deadline: int | None = setup.now.mono

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        out = Output()
        for event in events:
            if isinstance(event, LinkUp):
                self.last.pop(event.address, None)
            elif isinstance(event, Received):
                last = self.last.get(event.source, event.message - 1)
                assert event.message == last + 1, f"{event.message} came after {last}"
                self.last[event.source] = event.message
        assert self.deadline is not None
        if now.mono >= self.deadline:
            self.deadline = now.mono + 3 * MILLISECOND
            self.count += 1
            out.sends.append(Send(self.peers, self.count))
        return out


class FifoScenario(Scenario):
    """Right on FIFO links, whatever else happens; wrong on datagrams."""

    swarm = Swarm(
        sizes=(2, 3),
        storm_ns=SECOND,
        lossy=0.0,
        faults=("Crash", "Pause", "Partition", "OneWay", "Flap", "Reset", "SlowLink"),
    )

    def start(self, setup: Setup) -> Counting:
        return Counting(setup, self.plan.names)

    def finished(self) -> bool:
        return True


class DatagramScenario(FifoScenario):
    swarm = Swarm(sizes=(2, 3), storm_ns=SECOND, lossy=1.0, faults=("Loss",))


# --- one that asks once ----------------------------------------------------------------------------------------------


class Asking:
    """Asks its peer once, when told to, and waits for the answer for ever: stuck if a message is lost."""

    def __init__(self, setup: Setup, peers: Sequence[str]) -> None:
        self.peers = [peer for peer in peers if peer != setup.address]
        self.asked = self.answers = 0
        self.deadline = None

    def step(self, events: Iterable[Any], _now: Instant) -> Output:
        out = Output()
        for event in events:
            match event:
                case "ask":
                    self.asked += 1
                    out.sends.append(Send(self.peers[:1], "question"))
                case Received(source, "question"):
                    out.sends.append(Send((source,), "answer"))
                case Received(_, "answer"):
                    self.answers += 1
        return out


class AskingScenario(Scenario):
    swarm = Swarm(sizes=(2, 3, 5), storm_ns=2 * SECOND, calm_ns=2 * SECOND, lossy=0.0)

    def start(self, setup: Setup) -> Asking:
        return Asking(setup, self.plan.names)

    def workload(self, rng: random.Random) -> Iterable[Call]:
        if self.plan.nodes > 1:
            for _ in range(10):
                yield Call(rng.randrange(2 * SECOND), rng.choice(self.plan.names), "ask")

    def finished(self) -> bool:
        machines = [node.machine for node in self.world.nodes.values()]
        return all(machine.answers >= machine.asked for machine in machines if isinstance(machine, Asking))

    def unfinished(self) -> str:
        return "an answer is missing"
