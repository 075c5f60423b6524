"""What a node is told at its start, and every limit and period of the group core, with its reason."""

import msgspec

from phalanx.errors import ConfigurationError
from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND
from phalanx.model.view import Address, GroupSpec, Name


class Timing(msgspec.Struct, frozen=True):
    """Periods in nanoseconds.  They decide how fast a node answers and faults are noticed, never whether the group is
    safe.

    Raises `ConfigurationError` for what cannot work, and `TypeError` for what is no whole number.
    """

    heartbeat: int = 50 * MILLISECOND
    """A row at least this often."""
    row_delay: int = 1 * MILLISECOND
    """What has been received is shown at once to those who wait for it, and this much later, once for all that has
    come meanwhile, to the others, which deliver it then."""
    suspect_after: int = 500 * MILLISECOND
    """Silence that is suspicion: many heartbeats, and longer than a garbage collection or a busy moment."""
    demote_after: int = 150 * MILLISECOND
    """A member that alone holds up deliveries that long goes on as a learner."""
    patience: int = 100 * MILLISECOND
    """How long one-sided accusations are weighed before the largest set that can all talk is taken."""
    resend_after: int = 100 * MILLISECOND
    """What is not acknowledged or answered is sent again."""
    penalty: int = 1 * SECOND
    """How long a demoted member waits for its promotion; doubled with each recurrence, four times as long if that comes
    soon after a promotion, up to 32 times.  A process that was put out again and again waits as long, doubled each time,
    before it asks to be let in."""
    busy_poll: int = 200 * MICROSECOND
    """How long a node looks for news before it lets its core sleep, when news have been coming that fast and nobody else
    needs the core: latency for processor time (runtime/polling.py).  0: never."""
    max_offset: int = 500 * MILLISECOND
    """How far a clock may be beyond the median of the members' clocks."""

    def __post_init__(self) -> None:
        _check(self, "nanoseconds", may_be_none=("row_delay", "patience", "busy_poll"))
        if self.suspect_after < 2 * self.heartbeat:
            raise ConfigurationError(
                f"suspect_after is {self.suspect_after}, and must be two heartbeats at least, each {self.heartbeat}"
            )


class Limits(msgspec.Struct, frozen=True):
    """Sizes in bytes.  Raises as `Timing`."""

    batch: int = 64 << 10
    """A batch is closed at this size; a larger payload is sent in fragments of it, so it does not hold up small ones."""
    payload: int = 64 << 20
    """The largest payload: it is assembled in memory at every host."""
    window: int = 4 << 20
    """Sent and not yet stable, per group and sender; also what a host's application may leave unconsumed."""
    queue: int = 16 << 20
    """Multicast but not yet sent, per group; `Multicast` beyond it is the caller's mistake (see `Writable`)."""
    early: int = 1024
    """Batches per sender held beyond a gap."""
    slack: int = 8 << 20
    """Kept for learners that lag behind the full hosts; one that lags further gets a new snapshot."""
    chunk: int = 256 << 10
    """Of a snapshot."""
    retained: int = 8 << 20
    """Of what was delivered in a durable group, kept in memory for members that come back with an older log: they are
    sent only what they lack, which is packed in one go, in some tens of milliseconds.  One that lacks more gets a
    snapshot, in slices."""
    log: int = 64 << 20
    """What the log of durable groups may hold besides their snapshots; then new ones are written and the log is
    shortened.  If the snapshots are larger, their size counts instead.  So a restart replays about that much at most, and
    writing snapshots costs no more than the writing of batches."""
    reserve: int = 256 << 20
    """Of the log's disk, to be kept free, or 5 % of it if that is less.  When fewer are, the node takes no more batches
    of durable groups, and what is left is for what the protocol must write: some megabytes a day.  0: only when none
    are."""
    suffix: int = 256 << 20
    """What a learner holds while its snapshot is on the way; beyond it the transfer starts again."""

    def __post_init__(self) -> None:
        _check(self, "bytes", may_be_none=("early", "slack", "retained", "reserve"))


def _check(settings: Timing | Limits, unit: str, may_be_none: tuple[str, ...]) -> None:
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if type(value) is not int:
            raise TypeError(f"{name} must be an int, in {unit}, not {value!r}")
        least = 0 if name in may_be_none else 1
        if value < least:
            raise ConfigurationError(f"{name} is {value} {unit}, and must be {least} at least")


class Config(msgspec.Struct, frozen=True):
    """peers: names and addresses that found the cluster together, this node among them (`--bootstrap`: only itself);
    empty: join through the seeds.  Either is ignored when the node has a history."""

    name: Name
    address: Address
    seeds: tuple[Address, ...] = ()
    peers: tuple[tuple[Name, Address], ...] = ()
    hosts: tuple[GroupSpec, ...] = ()
    """Groups to host from the start."""
    timing: Timing = Timing()
    limits: Limits = Limits()
