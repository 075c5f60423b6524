"""The way between two nodes, as one of them sees it."""

from phalanx.model.clock import MILLISECOND
from phalanx.model.machine import Received
from phalanx.sim.node import FOREVER, Node

BACKOFF_MIN_NS = MILLISECOND
"""Between the first two attempts to connect."""


class Stream:
    """One direction of one connection."""

    __slots__ = ("cut", "last")

    def __init__(self) -> None:
        self.last = 0
        """When the last message sent on it arrives."""
        self.cut = FOREVER
        """What would arrive later than this is lost."""


class Pipe:
    """The way from one node to another; it lives as long as the world, and connections come and go on it."""

    __slots__ = (
        "backoff_ns",
        "blocked",
        "called",
        "dialling",
        "latest",
        "reverse",
        "sent_at",
        "slow_ns",
        "source",
        "stream",
        "target",
        "target_address",
        "timing_out",
        "waiting",
    )

    reverse: "Pipe"

    def __init__(self, source: Node, target: Node) -> None:
        self.source = source
        self.target = target
        self.target_address = target.address
        """What the source calls the target."""
        self.called = source.address
        """What the target calls the source."""
        self.blocked = 0
        """How many faults let nothing through at present."""
        self.slow_ns = 0
        self.stream: Stream | None = None
        """The connection as the source sees it: it may be broken already."""
        self.latest: Stream | None = None
        """The last connection that was made: some of it may still be in flight after the source has noticed its end."""
        self.waiting: list[Received] = []
        self.sent_at = -FOREVER
        self.dialling = 0
        """Number of the dialling under way; 0: none."""
        self.timing_out = False
        self.backoff_ns = BACKOFF_MIN_NS

    def hang_up(self) -> None:
        self.stream = None
        self.waiting.clear()
        self.sent_at = -FOREVER
        self.dialling = 0
        self.timing_out = False
        self.backoff_ns = BACKOFF_MIN_NS
