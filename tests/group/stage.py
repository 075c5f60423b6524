"""The world that scenarios run in: the simulator's, in which single messages can be lost, held back or repeated, and a
node can be ended after any single thing that it does."""

from collections.abc import Callable
from typing import Any

import msgspec

from phalanx.group.messages import Envelope
from phalanx.model.clock import MICROSECOND
from phalanx.model.machine import Machine, Output, Received, Send
from phalanx.model.view import Address, Name
from phalanx.sim.conditions import Conditions
from phalanx.sim.network import Network
from phalanx.sim.node import Node, Setup
from phalanx.sim.trace import Trace
from phalanx.sim.world import World

CALM = Conditions(
    delay_min_ns=100 * MICROSECOND,
    delay_spread_ns=0,
    turn_ns=0,
    grouped=1.0,
    write_min_ns=200 * MICROSECOND,
    write_spread_ns=0,
    stagger_ns=0,
    codec=True,
)
"""Nothing is left to chance but what the machines draw: a scenario is about the fault that it names."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode


class Rule:
    """What happens to messages of some kinds on some links, until `lift`."""

    def __init__(self, fate: str, kinds: tuple[type, ...], sources: str, targets: str) -> None:
        """sources, targets: names of nodes; "" for all."""
        self.fate = fate
        self.caught: list[tuple[Node, Received]] = []
        """Whom the message was for, and the message, in order."""
        self.active = True
        self._kinds, self._sources, self._targets = kinds, sources, targets

    def concerns(self, source: Name, target: Name, body: Any) -> bool:
        return (
            self.active
            and isinstance(body, self._kinds)
            and (not self._sources or source in self._sources)
            and (not self._targets or target in self._targets)
        )

    def lift(self) -> None:
        self.active = False


class Links(Network):
    """The simulator's network, with rules, and with somebody who sees every message leave."""

    def __init__(self, world: "Stage", conditions: Conditions, codec: Callable[[Any], Any]) -> None:
        super().__init__(world, f"{world.seed}/network", conditions, codec, None)
        self._stage = world
        self.rules: list[Rule] = []

    def send(self, node: Node, send: Send) -> None:
        for address in send.to:
            if node.name in self._stage.doomed:
                return
            if not self._intercept(node, address, send.message):
                super().send(node, Send((address,), send.message))
            self._stage.left(node, f"{type(send.message.body).__name__} to {address}")

    def _intercept(self, node: Node, address: Address, message: Envelope) -> bool:
        target = self._nodes.get(address)
        if target is None or target is node:
            return False
        for rule in self.rules:
            if rule.concerns(node.name, target.name, message.body):
                rule.caught.append((target, Received(node.address, message)))
                return rule.fate != "copy"
        return False


class Stage(World):
    """A world whose nodes can be ended after any single thing that they do."""

    def __init__(self, seed: int, start: Callable[[Setup], Machine], deliver: Any, conditions: Conditions) -> None:
        super().__init__(
            seed,
            start,
            deliver=deliver,
            after_step=lambda node, output: self.stepped(node, output),
            conditions=conditions,
            codec=codec,
            trace=Trace(2_000),
        )
        self.links = Links(self, conditions, codec)
        self.network = self.links
        self.doomed: set[Name] = set()
        """Crashed, though the world will notice only when the present step is over: they do nothing any more."""
        self.left: Callable[[Node, str], None] = nothing
        """Called after everything that leaves a node, with what it was."""
        self.stepped: Callable[[Node, Output], None] = unwatched
        """Called after each step, with what it asks for."""

    def release(self, node: Node, output: Output) -> None:
        if output.writes:
            self.left(node, "write")
        if node.name not in self.doomed:
            super().release(node, output)

    def doom(self, name: Name) -> None:
        self.doomed.add(name)
        self.schedule(0, self._end, name)

    def _end(self, name: Name) -> None:
        self.crash(name)
        self.doomed.discard(name)


def nothing(_node: Node, _what: str) -> None:
    """Nobody watches."""


def unwatched(_node: Node, _output: Output) -> None:
    """Nobody watches."""


def codec(message: Envelope) -> Envelope:
    return _decode(_encode(message))
