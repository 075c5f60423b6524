"""A transport of a process that fails without crashing, by the classes of the literature (docs/simulator.md).

What passes between it and its peers is lost, late, altered or repeated; what passes between it and clients is not.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Sequence

import msgspec

from phalanx.api.arguments import seconds_of
from phalanx.errors import ConfigurationError
from phalanx.model.view import Address
from phalanx.runtime.contract import LinkEvent, Transport
from phalanx.testing.severed import Severable
from phalanx.wire.errors import WireError

KEPT_MAX = 64
"""Messages to each peer that a process remembers, to repeat one of them."""

SLOW_S_MAX = 60.0
"""More than this is a process that is paused."""


class Failures(msgspec.Struct, frozen=True):
    """How a process fails.  Fractions of messages, from 0 to 1; seconds."""

    send_omission: float = 0.0
    """Of what it sends to peers, so much never leaves."""
    receive_omission: float = 0.0
    """Of what peers send to it, so much is lost before it is read."""
    slow_s: float = 0.0
    """A timing failure: it reads everything that peers send so much later."""
    value: float = 0.0
    """A value failure: one byte of so many of its messages is another."""
    replay: float = 0.0
    """An arbitrary failure: with so many of its messages an earlier one goes to the same peer again."""

    def check(self) -> None:
        """Raises `ConfigurationError`, and `TypeError` for what is no number."""
        for name in ("send_omission", "receive_omission", "value", "replay"):
            if type(getattr(self, name)) not in (float, int):
                raise TypeError(f"{name} is a fraction of messages, from 0 to 1, not {getattr(self, name)!r}")
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name} is a fraction of messages, from 0 to 1, not {getattr(self, name)}")
        if not 0 <= seconds_of(self.slow_s, "slow_s") <= SLOW_S_MAX:
            raise ConfigurationError(f"slow_s is at most {SLOW_S_MAX:g} seconds, not {self.slow_s}")


class Faulty(Severable):
    """Around another transport; it can also be cut off from single peers."""

    def __init__(self, inner: Transport, peers: Collection[Address], rng: random.Random) -> None:
        super().__init__(inner)
        self._peers = frozenset(peers)
        self._rng = rng
        self._failures = Failures()
        self._late: deque[Callable[[], None]] = deque()
        """What has come and is not handed on yet, in order: connections' ends as well as messages."""
        self._due_s = 0.0
        """By the loop's clock, when the last of them will be handed on."""
        self._said: dict[Address, deque[bytes]] = {}

    def fail(self, failures: Failures) -> None:
        """From now on it fails so.  What is late already stays so."""
        self._failures = failures

    def send(self, to: Sequence[Address], body: bytes) -> None:
        """To those that are to get it, as they are to get it."""
        failures = self._failures
        if failures == Failures():
            super().send(to, body)
            return
        body_said = self._altered(body) if self._draws(failures.value) else body
        for address in to:
            if address not in self._peers:
                super().send([address], body)
            elif not self._draws(failures.send_omission):
                super().send([address], body_said)
                said = self._said.setdefault(address, deque(maxlen=KEPT_MAX))
                if said and self._draws(failures.replay):
                    super().send([address], self._rng.choice(said))
                said.append(body)

    def received(self, source: Address, body: bytes | memoryview) -> None:
        """Now, later or never."""
        if source in self._peers and self._draws(self._failures.receive_omission):
            return
        if source in self._peers and (self._failures.slow_s or self._late):
            copied = bytes(body)
            self._later(lambda: self._hand_on(source, copied))
        else:
            super().received(source, body)

    def link(self, event: LinkEvent) -> None:
        """Not before what came before it."""
        if self._late:
            self._later(lambda: super(Faulty, self).link(event))
        else:
            super().link(event)

    async def close(self) -> None:
        """What is late is lost."""
        self._late.clear()
        await super().close()

    def _later(self, action: Callable[[], None]) -> None:
        self._late.append(action)
        loop = asyncio.get_running_loop()
        self._due_s = max(self._due_s, loop.time() + self._failures.slow_s)
        loop.call_at(self._due_s, self._next)

    def _next(self) -> None:
        if self._late:
            self._late.popleft()()

    def _hand_on(self, source: Address, body: bytes) -> None:
        try:
            super().received(source, body)
        except WireError as error:
            self.drop(source, str(error))

    def _draws(self, share: float) -> bool:
        return share > 0 and self._rng.random() < share

    def _altered(self, body: bytes) -> bytes:
        at = self._rng.randrange(max(1, len(body)))
        return body[:at] + bytes([(body[at] if body else 0) ^ self._rng.randint(1, 255)]) + body[at + 1 :]
