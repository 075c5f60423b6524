"""Runs of a source and its receivers: everybody loses the same message, or each loses its own.

The textbook's machines are those of `feedback`; the last way is the product's (multicast/channel.py), whose waits are
drawn from a distribution that grows exponentially.
"""

import random
from typing import Any, NamedTuple

from phalanx.lab.textbook import feedback
from phalanx.lab.textbook.feedback import DELAY_NS, PERIOD_NS, ROUND_TRIP_NS, Receiver, Source, Way
from phalanx.lab.textbook.interposed import Interposed
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Machine
from phalanx.multicast.channel import ReliableChannel
from phalanx.multicast.config import ChannelConfig, ChannelTiming
from phalanx.multicast.messages import Arrived, Piece, Publish
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

STAR = Conditions(stagger_ns=0, turn_ns=0, grouped=1.0, lossy=True, delay_min_ns=DELAY_NS, delay_spread_ns=0)
"""All are as far from each other, and what comes at once is heard at once."""

SPREAD = 4
"""Of the product's waits, in round trips: the same interval as `feedback.INTERVAL_NS`."""


class Round(NamedTuple):
    """One message."""

    sent: int
    """Copies of it."""
    heard: int
    """What receivers said, as the source heard it."""


def _names(receivers: int) -> list[str]:
    return [f"R{number}" for number in range(1, receivers + 1)]


def by_textbook(way: Way, receivers: int, count: int, *, loss: float | None, seed: int = 1) -> list[Round]:
    """So many messages.  `loss`: the probability with which each copy is lost at each receiver; None: the first copy of
    each message is lost at all, and no other."""
    names = _names(receivers)
    source = Source(way, names, count)
    rng = random.Random(f"losses {seed}")
    first: set[tuple[str, int]] = set()

    def hears(name: str) -> Any:
        def judge(message: Any) -> bool:
            if not isinstance(message, feedback.Data):
                return True
            if loss is not None:
                return rng.random() >= loss
            if way is Way.POSITIVE or (name, message.number) in first:
                return True
            first.add((name, message.number))
            return False

        return judge

    def start(setup: Setup) -> Machine:
        if setup.name == "S":
            return source
        others = ["S", *(name for name in names if name != setup.name)] if way is Way.UNIFORM else []
        return Interposed(Receiver(way, "S", others, setup.rng), hears(setup.name), lambda _: True)

    world = World(seed, start, conditions=STAR)
    for name in names:
        world.add(name)
    world.run_for(MILLISECOND)
    world.add("S")
    world.run_for(count * PERIOD_NS)
    assert not world.failures, world.failures
    inner = [machine.machine for name in names if isinstance(machine := world.nodes[name].machine, Interposed)]
    assert all(isinstance(each, Receiver) and each.got == count for each in inner), "a message is not repaired"
    return [Round(*each) for each in zip(source.sent, source.heard, strict=True)]


def by_product(receivers: int, count: int, *, seed: int = 1) -> list[Round]:
    """So many messages of which every other is lost at all, by the product's machine."""
    names = _names(receivers)
    timing = ChannelTiming(
        round_trip=ROUND_TRIP_NS, receivers=receivers, spread=SPREAD, beat_least=SECOND, beat_most=SECOND
    )
    arrived = dict.fromkeys(names, 0)
    copies: dict[int, int] = {}

    def sends(message: Any) -> bool:
        if isinstance(message, Piece):
            copies[message.number] = copies.get(message.number, 0) + 1
            return message.number % 2 == 1 or copies[message.number] > 1
        return True

    def start(setup: Setup) -> Machine:
        others = tuple(names) if setup.name == "S" else ("S", *(name for name in names if name != setup.name))
        machine = ReliableChannel(ChannelConfig("lab", setup.name, others, timing=timing), setup.rng, setup.now)
        return Interposed(machine, lambda _: True, sends) if setup.name == "S" else machine

    def deliver(node: Node, delivery: Any) -> None:
        arrived[node.name] = arrived.get(node.name, 0) + isinstance(delivery, Arrived)

    world = World(seed, start, deliver=deliver, conditions=STAR)
    for name in ("S", *names):
        world.add(name)
    world.run_for(SECOND)
    rounds = []
    world.request("S", Publish(b"first"))
    world.run_for(SECOND // 2)
    for number in range(1, count + 1):
        before = world.notes["multicast.nack"]
        for payload in (b"lost", b"next"):
            world.request("S", Publish(payload))
        world.run_for(SECOND)
        rounds.append(Round(copies[2 * number], world.notes["multicast.nack"] - before))
    assert not world.failures, world.failures
    assert all(arrived[name] == 1 + 2 * count for name in names), "a message is not repaired"
    return rounds
