"""One end of a channel, stepped by hand."""

import random
from typing import Any

from phalanx.model.clock import SECOND, Instant
from phalanx.model.machine import Output, Received
from phalanx.multicast.channel import ReliableChannel
from phalanx.multicast.config import ChannelConfig, ChannelLimits, ChannelTiming
from phalanx.multicast.messages import Arrived, Beat, Drained, Piece
from tests.multicast.world import QUICK, SMALL


class End:
    """A machine, and the time that it is told."""

    def __init__(self, limits: ChannelLimits = SMALL, timing: ChannelTiming = QUICK) -> None:
        self.now = SECOND
        config = ChannelConfig("test", "me", ("*",), limits, timing)
        self.machine = ReliableChannel(config, random.Random(1), Instant(self.now, 0))
        self.sent: list[Any] = []
        self.got: list[Any] = []
        self.notes: list[str] = []
        self.drained = 0

    def step(self, *events: Any, after: int = 0) -> Output:
        self.now += after
        out = self.machine.step(events, Instant(self.now, 0))
        self.sent += [send.message for send in out.eager]
        self.got += [each for each in out.deliveries if not isinstance(each, Drained)]
        self.drained += sum(isinstance(each, Drained) for each in out.deliveries)
        self.notes += [note.what for note in out.notes]
        return out

    @property
    def deadline(self) -> int:
        due = self.machine.deadline
        assert due is not None
        return due

    def hear(self, *messages: Any, after: int = 0) -> None:
        self.step(*[Received("x", message) for message in messages], after=after)

    def let_pass(self, time: int) -> None:
        """Step at every deadline."""
        end = self.now + time
        while (due := self.machine.deadline) is not None and due <= end:
            self.now = max(self.now, due)
            self.step()
        self.now = end

    def told(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.sent if isinstance(message, kind)]


def piece(
    number: int, body: bytes = b"", *, low: int = 1, high: int = 0, first: bool = True, last: bool = True
) -> Piece:
    return Piece("test", 9, "s", number, low, high or number, first, last, body or b"%d" % number)


def beat(high: int, low: int = 1) -> Beat:
    return Beat("test", 9, "s", low, high)


def payloads(end: End) -> list[bytes]:
    return [each.payload for each in end.got if isinstance(each, Arrived)]
