"""One node of the simulated world: a process that comes and goes, its clocks, and the disk that outlives it."""

import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from phalanx.model.clock import Instant
from phalanx.model.machine import Journal, Machine, Output, Patient, Received
from phalanx.model.view import Address, Name
from phalanx.sim.clocks import Clocks

if TYPE_CHECKING:
    from phalanx.sim.conduct import Conduct
    from phalanx.sim.pipe import Pipe

FOREVER = 1 << 62
"""A time that no run reaches."""


class Setup(NamedTuple):
    """What a node is started with."""

    name: Name
    address: Address
    life: int
    """1 for the first start of the node, then 2, and so on.  (For the scenario's books: no real process knows it.)"""
    durable: Any | None
    """The last write that survived; None if there is none or the disk was lost."""
    rng: random.Random
    now: Instant
    journal: Journal = Journal()
    """The node's log."""


class Node:
    """Read `name`, `address`, `life`, `machine` (None while the process is down), `durable`, `clocks`, `paused`; keep
    in `application` what dies with the process.  The rest belongs to the world and the network."""

    __slots__ = (
        "address",
        "appends",
        "application",
        "barred",
        "can_wait",
        "clocks",
        "conduct",
        "crash_in_write",
        "cuts",
        "derailed",
        "disk_extra_ns",
        "durable",
        "failing",
        "filling",
        "flushed",
        "flushing",
        "found",
        "host_up",
        "inbox",
        "last_write",
        "life",
        "links",
        "log",
        "log_lost",
        "logged",
        "logging",
        "lying",
        "machine",
        "marks",
        "name",
        "outbox",
        "paused",
        "pipes",
        "refused",
        "rereads",
        "retired",
        "room",
        "rotten",
        "slow_ns",
        "spins",
        "stray",
        "strayed",
        "synced",
        "turn_due",
        "wake_at",
        "warned",
        "writing",
    )

    def __init__(self, name: Name, address: Address) -> None:
        self.name = name
        self.address = address
        self.life = 0
        self.machine: Machine | None = None
        self.application: Any = None
        self.durable: Any | None = None
        self.log: list[Any] = []
        """The durable records of its log."""
        self.found = 0
        """How many of its records the present process found."""
        self.cuts: list[int] = []
        """Places in it where a torn tail was cut off."""
        self.last_write = 0
        """Where in it the last write begins."""
        self.log_lost = False
        """There was another log before, which could not be read."""
        self.rotten: list[int] = []
        """Places in it that cannot be read."""
        self.stray: float | None = None
        """Armed: the next write goes over what is at that fraction of it."""
        self.strayed = False
        """Some record is where it does not belong."""
        self.lying = 0
        """How many faults have the disk lie about syncs."""
        self.synced: int | None = None
        """How many records would survive a power cut for certain; None: all."""
        self.failing = 0
        """How many faults have every operation of the disk fail."""
        self.filling = 0
        """How many faults have its disk fill up."""
        self.room: int | None = None
        """How many more records fit; None: any number."""
        self.warned = False
        """The process knows that there is little left."""
        self.barred = False
        """It could not go on, or start, for that reason."""
        self.clocks = Clocks()
        self.host_up = True
        self.retired = False
        """It will never be started again."""
        self.can_wait: Callable[[Received], bool] | None = None
        """Tells of a message that it need not have a turn of its own."""
        self.paused = 0
        """How many faults hold the process at present."""
        self.slow_ns = 0
        """How much later it takes each turn."""
        self.conduct: Conduct | None = None
        """What it does to messages; None: it is correct."""
        self.disk_extra_ns = 0
        self.crash_in_write: int | None = None
        """Armed: crash in the next write and stay down for that long."""
        self.links: dict[Address, Pipe] = {}
        self.pipes: list[Pipe] = []
        self.forget()

    @property
    def up(self) -> bool:
        return self.machine is not None

    def begin(self, machine: Machine) -> None:
        """The process runs that machine."""
        self.machine = machine
        self.can_wait = machine.can_wait if isinstance(machine, Patient) else None

    def forget(self) -> None:
        """Lose everything that is only in the process."""
        self.machine = None
        self.application = None
        self.inbox: list[Any] = []
        self.turn_due = False
        self.wake_at = FOREVER
        self.spins = 0
        self.derailed = 0
        """Armed: so many of its next steps are wrong ones."""
        self.outbox: deque[Output] = deque()
        """Outputs that wait, in order, for their writes or for those of earlier ones."""
        self.marks: deque[Any] = deque()
        """Their fingerprints, if the world takes them."""
        self.appends: list[Any] = []
        """Records that are not durable yet."""
        self.logged = 0
        """How many of this process's are."""
        self.writing = False
        """A write is under way, and covers ..."""
        self.flushing = 0
        """... so many outputs from the front ..."""
        self.rereads = False
        """The machine wants its log, once all of that is durable."""
        self.logging = 0
        """... and so many records."""
        self.refused = False
        """There was no room for that write, which is tried again when there is."""
        self.flushed = False
        """That write is durable, and the process has not noticed yet."""

    def writes_under_way(self) -> list[Any]:
        return [write for output in list(self.outbox)[: self.flushing] for write in output.writes]
