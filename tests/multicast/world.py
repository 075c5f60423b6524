"""Channels in a simulated network whose datagrams are lost, doubled, late and in any order; and what must always hold."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND
from phalanx.model.machine import Machine, Output
from phalanx.multicast.channel import ReliableChannel
from phalanx.multicast.config import ChannelConfig, ChannelLimits, ChannelTiming
from phalanx.multicast.messages import Arrived, Drained, Missed, Publish, Taken
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

SMALL = ChannelLimits(
    datagram=50, payload=400, queue=200_000, retained=20_000, ahead=5_000, backlog=5_000, rate=1 << 20, burst=2_000
)
"""So that fragments, evictions and losses for good are exercised by payloads of a few bytes."""

QUICK = ChannelTiming(round_trip=2 * MILLISECOND, receivers=5, forget_after=20 * SECOND)


class Channels:
    """Some processes on one channel.  `slow`: these take what they are given late."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        seed: int = 1,
        loss: float = 0.0,
        limits: ChannelLimits = SMALL,
        timing: ChannelTiming = QUICK,
        conditions: Conditions | None = None,
        take: Callable[[str, int], int] = lambda _, __: 0,
    ) -> None:
        """`take`: how long a process keeps a payload of that size before it takes the next."""
        self.names = list(names)
        self.published: dict[str, list[bytes]] = {name: [] for name in names}
        self.got: dict[tuple[str, str], list[bytes | Missed]] = defaultdict(list)
        """By receiver and sender."""
        self._limits, self._timing, self._take = limits, timing, take
        self.world = World(
            seed,
            self._start,
            deliver=self._deliver,
            after_step=self._look,
            conditions=conditions or Conditions(lossy=True, duplicate=0.05, late=0.1, late_ns=5 * MILLISECOND),
        )
        self.world.network.loss = loss
        for name in names:
            self.world.add(name)

    def machine(self, name: str) -> ReliableChannel:
        machine = self.world.nodes[name].machine
        assert isinstance(machine, ReliableChannel)
        return machine

    def publish(self, name: str, payload: bytes) -> None:
        self.published[name].append(payload)
        self.world.request(name, Publish(payload))

    def _start(self, setup: Setup) -> Machine:
        others = tuple(name for name in self.names if name != setup.name)
        config = ChannelConfig("test", setup.name, others, self._limits, self._timing)
        return ReliableChannel(config, setup.rng, setup.now)

    def _deliver(self, node: Node, delivery: Any) -> Iterable[Any]:
        if isinstance(delivery, Missed):
            self.got[node.name, delivery.sender].append(delivery)
            return ()
        if isinstance(delivery, Drained):
            return ()
        assert isinstance(delivery, Arrived)
        self.got[node.name, delivery.sender].append(delivery.payload)
        size = len(delivery.payload)
        delay = self._take(node.name, size)
        if not delay:
            return (Taken(size),)
        self.world.schedule(delay, self._taken, node.name, node.life, size)
        return ()

    def _taken(self, name: str, life: int, size: int) -> None:
        if self.world.nodes[name].life == life:
            self.world.request(name, Taken(size))

    def _look(self, node: Node, _: Output) -> str | None:
        """Memory is bounded, whatever comes."""
        machine = node.machine
        assert isinstance(machine, ReliableChannel)
        limits = self._limits
        if machine.backlog > limits.backlog + limits.payload:
            return f"backlog: {machine.backlog}"
        if machine.sending.kept > limits.retained:
            return f"kept: {machine.sending.kept}"
        largest = limits.datagram + 100
        held = max((stream._held for stream in machine.streams.values()), default=0)
        return f"held: {held}" if held > limits.ahead + largest else None

    def run(self, seconds: float) -> None:
        self.world.run_for(int(seconds * SECOND))
        assert not self.world.failures, self.world.failures

    def settled(self, patience_s: float = 60) -> bool:
        """All has come, or is known to be lost."""
        return self.world.run_while(lambda: not self._all_here(), int(patience_s * SECOND), MILLISECOND)

    def _all_here(self) -> bool:
        return all(
            bool(self.got[to, sender]) and self.got[to, sender][-1] == sent[-1]
            for sender, sent in self.published.items()
            if sent
            for to in self.names
            if to != sender
        )


def without_gaps(got: Iterable[bytes | Missed]) -> list[bytes]:
    """What came, of which nothing was missed."""
    came = list(got)
    assert not any(isinstance(each, Missed) for each in came), came
    return [each for each in came if isinstance(each, bytes)]


def is_in_order(got: Iterable[bytes | Missed], sent: Sequence[bytes]) -> bool:
    """Each payload once and in order; where some are left out, it was said so."""
    at = 0
    missed = False
    for each in got:
        if isinstance(each, Missed):
            missed = True
            continue
        found = sent.index(each, at) if each in sent[at:] else -1
        if found < 0 or (found > at and not missed):
            return False
        at, missed = found + 1, False
    return at == len(sent) or missed


CALM = Conditions(stagger_ns=0, lossy=True, delay_min_ns=MILLISECOND, delay_spread_ns=0, turn_ns=MICROSECOND)
