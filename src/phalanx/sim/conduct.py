"""What a faulty process does to each message that it sends or is sent (`failures`), while its faults last.

The machine knows nothing of it: it goes on as it is programmed, and what it says is changed on its way out, what it is
told on its way in.  So any machine can be made to omit, to be wrong, and to lie.  Faults apply in the order in which they
began, each to what the one before has left.  A correct process has no conduct, and draws nothing from chance.
"""

import random
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

from phalanx.model.machine import Received, Send
from phalanx.model.view import Address
from phalanx.sim.failures import (
    Collusion,
    Conducted,
    Equivocation,
    Forgery,
    NodeIndex,
    ReceiveOmission,
    ReceiveOverflow,
    Replay,
    SendOmission,
    SendOverflow,
    Silence,
    ValueFailure,
)
from phalanx.sim.node import Node
from phalanx.sim.taxonomy import term

if TYPE_CHECKING:
    from phalanx.sim.world import World

KEPT_MAX = 256
"""Messages that a faulty process remembers, of those it said and heard since it became so, for forgery and replay."""


class Utterance(NamedTuple):
    """One message to one receiver."""

    to: Address
    message: Any
    claimed: Address | None = None
    """In whose name; None: its own."""
    wait_ns: int = 0
    """It leaves that much later."""


class _Kept(NamedTuple):
    """A message that was said or heard."""

    source: Address
    message: Any
    for_client: bool
    """It was said to a client.  (What clients say is not kept: their addresses mean nothing to others.)"""


class Conduct:
    """Of one node.  `node.conduct` while some fault of these is under way."""

    def __init__(self, world: "World", node: Node, nodes: Sequence[Node], before: int = 0) -> None:
        """nodes: those that faults number, by their numbers.  before: how often the node was faulty before."""
        self._world = world
        self._node = node
        self._nodes = nodes
        self._rng = random.Random(f"{world.seed}/conduct/{node.name}" + (f"/{before}" if before else ""))
        self._faults: list[Conducted] = []
        self._kept: deque[_Kept] = deque(maxlen=KEPT_MAX)
        self._busy_until = 0
        """When all that waits to leave will have left."""

    def begin(self, fault: Conducted) -> None:
        self._faults.append(fault)

    def end(self, fault: Conducted) -> None:
        self._faults.remove(fault)

    @property
    def is_correct(self) -> bool:
        """Nothing of it is left, not even messages that wait to leave."""
        return not self._faults and self._busy_until <= self._world.now

    @property
    def idle_in_ns(self) -> int | None:
        """After so long what waits will have left; None: it goes on being faulty."""
        return None if self._faults else max(0, self._busy_until - self._world.now)

    # --- what it sends

    def say(self, send: Send) -> None:
        """Have leave what leaves instead of that message."""
        world, node = self._world, self._node
        for to, message, claimed, wait_ns in self.says(send):
            if wait_ns:
                world.schedule(wait_ns, self._say_later, node.life, to, message, claimed)
            else:
                world.network.post(node, (to,), message, claimed)

    def _say_later(self, life: int, to: Address, message: Any, claimed: Address | None) -> None:
        """Unless the process has ended, and with it what waited."""
        if self._node.machine is not None and self._node.life == life:
            self._world.network.post(self._node, (to,), message, claimed)

    def says(self, send: Send) -> list[Utterance]:
        """What leaves instead of that message, in order."""
        own, message = self._node.address, send.message
        said = [Utterance(to, message) for to in send.to if to != own]
        for fault in self._faults:
            said = self._spoken(fault, message, said)
        if self._busy_until > self._world.now and not any(isinstance(fault, SendOverflow) for fault in self._faults):
            wait_ns = self._busy_until - self._world.now  # behind what waits still, or it would overtake that
            said = [each._replace(wait_ns=wait_ns) for each in said]
        for client in dict.fromkeys(to[:1] == "~" for to in send.to):
            self._kept.append(_Kept(own, message, client))
        return [*(Utterance(to, message) for to in send.to if to == own), *said]

    def _spoken(self, fault: Conducted, message: Any, said: list[Utterance]) -> list[Utterance]:
        match fault:
            case SendOmission(share=share):
                return [each for each in said if not (self._draws(share) and self._commits(fault, each))]
            case Silence(towards=towards):
                mute = self._at(towards)
                return [each for each in said if not (each.to in mute and self._commits(fault, each))]
            case SendOverflow():
                return [late for each in said if (late := self._queued(fault, each)) is not None]
            case ValueFailure(share=share):
                return self._altered(fault, message, said, ()) if self._draws(share) else said
            case Equivocation(victims=victims, share=share):
                return self._altered(fault, message, said, self._at(victims)) if self._draws(share) else said
            case Collusion(victims=victims):
                return self._altered(fault, message, said, self._at(victims))
            case Forgery():
                return [also for each in said for also in self._forged(fault, each)]
            case Replay():
                return [also for each in said for also in self._replayed(fault, each)]
            case ReceiveOmission() | ReceiveOverflow():
                return said
            case _:
                assert_never(fault)

    def _queued(self, fault: SendOverflow, said: Utterance) -> Utterance | None:
        now = self._world.now
        waiting_ns = max(0, self._busy_until - now)
        if waiting_ns > fault.queue * fault.each_ns:
            self._commits(fault, said)
            return None
        self._busy_until = now + waiting_ns + fault.each_ns
        return said._replace(wait_ns=waiting_ns)

    def _altered(
        self,
        fault: ValueFailure | Equivocation | Collusion,
        message: Any,
        said: list[Utterance],
        whom: tuple[Address, ...],
    ) -> list[Utterance]:
        """The message, altered once for these receivers (of `ValueFailure` for all, whoever they are)."""
        rng = self._rng
        if isinstance(fault, Collusion):  # equal messages are altered alike, by all who take part
            rng = random.Random(f"{self._world.seed}/collusion/{fault.at_ns}")
        struck = [isinstance(fault, ValueFailure) or each.to in whom for each in said]
        if not any(struck):
            return said
        untrue = self._world.wrongs.alter(message, rng)
        if untrue is message or untrue == message:
            return said
        for each, lied in zip(said, struck, strict=True):
            if lied:
                self._commits(fault, each._replace(message=untrue))
        return [
            each._replace(message=untrue) if lied and each.message is message else each
            for each, lied in zip(said, struck, strict=True)
        ]

    def _forged(self, fault: Forgery, said: Utterance) -> list[Utterance]:
        [of] = self._at((fault.of,)) or ("",)
        heard = next((each.message for each in reversed(self._kept) if each.source == of), None)
        among_peers = said.to[:1] != "~" and said.to != of != self._node.address
        if heard is None or not among_peers or not self._draws(fault.share):
            return [said]
        false = Utterance(said.to, self._world.wrongs.alter(heard, self._rng), of)
        self._commits(fault, false)
        return [said, false]

    def _replayed(self, fault: Replay, said: Utterance) -> list[Utterance]:
        client = said.to[:1] == "~"
        known = [each for each in self._kept if each.for_client == client and each.source != said.to]
        if not known or not self._draws(fault.share):
            return [said]
        source, message, _ = self._rng.choice(known)
        again = Utterance(said.to, message, source)
        self._commits(fault, again)
        return [said, again]

    # --- what it is sent

    def hears(self, received: Received) -> str | None:
        """Why the process does not get the message; None: it does, if it runs."""
        if self._node.machine is None:
            return None
        for fault in self._faults:
            omits = False
            if isinstance(fault, ReceiveOmission):
                omits = self._draws(fault.share)
            elif isinstance(fault, ReceiveOverflow):
                unread = sum(isinstance(event, Received) for event in self._node.inbox)
                omits = unread >= fault.buffer
            if omits:
                self._world.tell(term(fault), self._node.name, f"{received.source}:", received.message)
                return term(fault)
        if received.source[:1] != "~":
            self._kept.append(_Kept(received.source, received.message, False))
        return None

    # --- both

    def _draws(self, share: float) -> bool:
        return share >= 1 or self._rng.random() < share

    def _at(self, nodes: tuple[NodeIndex, ...]) -> tuple[Address, ...]:
        return tuple(self._nodes[node].address for node in nodes if node < len(self._nodes))

    def _commits(self, fault: Conducted, said: Utterance) -> bool:
        """Put it on record."""
        name = () if said.claimed is None else (f"as {said.claimed}",)
        self._world.tell(term(fault), self._node.name, f"to {said.to}", *name, said.message)
        return True
