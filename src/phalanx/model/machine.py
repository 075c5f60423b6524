"""The one contract: pure machines, thin drivers (DESIGN section 3).

A machine is a deterministic state machine without I/O, clocks or randomness of its own.  A driver (`runtime` on real
sockets and files, `sim` in virtual time) gathers what has happened, calls `step`, and carries out the `Output`:

- `eager` sends leave at once.  Nothing that states a ballot or a durable receipt is ever eager.
- `writes` are made durable; only then do this output's `sends` leave and its `deliveries` reach the application,
  and not before those of all earlier outputs.  Steps go on meanwhile, so one fsync serves many outputs.
- `appends` go to the end of the node's log.  They gate nothing, so whoever appends nothing never waits for somebody
  else's fsync; a `Logged` event tells how many are durable.  Only `writes` wait for them: a write is not made durable
  before all that was appended before it, so the small state is never ahead of the log.
- A disk that refuses an append cleanly (there is no room) is asked again until it takes it; a `Room` event tells, and
  tells beforehand that room runs short.
- A send to the machine's own address comes back as a `Received` event when it is released: this is how a machine
  learns that its own vote is durable.
- `again`: the machine has more to do in this turn, for which nobody else waits: it is to be stepped once more when what
  it has said so far is on its way.
- A message that is not worth a turn, in the eyes of a machine that is `Patient`, waits for the next one.
- `notes` are facts for logs, metrics, traces and coverage.  They are available at once and change nothing.

A crash between two releases loses the rest: whatever a machine says must already be true on its disk.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from phalanx.model.clock import Instant
from phalanx.model.signals import Drop, Journal, LinkDown, LinkUp, Logged, Note, Received, Refused, Room, Send, Space

__all__ = [
    "Drop",
    "Journal",
    "LinkDown",
    "LinkUp",
    "Logged",
    "Machine",
    "Note",
    "Output",
    "Patient",
    "Received",
    "Refused",
    "Room",
    "Send",
    "Space",
]


class Output:
    """What one step asks its driver to do.  Lists in order; see the module's text for when each is released."""

    __slots__ = (
        "again",
        "apart",
        "appends",
        "deliveries",
        "drops",
        "eager",
        "forget",
        "notes",
        "reread",
        "sends",
        "writes",
    )

    def __init__(self) -> None:
        self.writes: list[Any] = []
        """The node's whole small durable state, as it shall be from now on (the last one of a batch suffices)."""
        self.appends: list[Any] = []
        """Records for the log, in order."""
        self.apart = False
        """What is appended from this output on is to be kept when all before is forgotten: a log may begin a new file."""
        self.forget: int | None = None
        """Log records with lower numbers are needed no more.  A machine counts what it appends from 1; what was in the
        log at its start has the numbers up to 0, the last of them 0."""
        self.reread = False
        """Read the log again, once all that was appended is durable, and give it to the machine as a `Journal` event."""
        self.sends: list[Send] = []
        self.eager: list[Send] = []
        self.deliveries: list[Any] = []
        self.again = False
        """Step again in the same turn: at the same time, without events.  A driver that does not is told so by the
        deadline; what comes with that step comes after what the machine put off."""
        self.notes: list[Note] = []
        self.drops: list[Drop] = []
        """Carried out at once, like eager sends."""

    @property
    def concerns_log(self) -> bool:
        """It has something for the node's log, or wants something of it."""
        return bool(self.appends or self.reread or self.forget is not None)

    def take_forget(self) -> int | None:
        """What `forget` says, which then says nothing any more."""
        forget, self.forget = self.forget, None
        return forget

    def note(self, what: str, *detail: Any) -> None:
        self.notes.append(Note(what, detail))

    def __bool__(self) -> bool:
        said = self.writes or self.sends or self.eager or self.deliveries or self.notes or self.drops
        return bool(said) or self.concerns_log


class Machine(Protocol):
    """See the module's text."""

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Absorb all events of one turn of the driver's loop, then act.  `events` may be empty (a tick)."""

    @property
    def deadline(self) -> int | None:
        """Monotonic nanoseconds at which to step next even if nothing happens; derived from state.  None: never."""


class Patient:
    """A machine that knows that some messages are not worth a turn of their own says so by being one of these."""

    def can_wait(self, event: Received) -> bool:
        """A message that has come would have nothing follow from it: its driver need not make a turn for it, but steps it
        with whatever comes next, at the latest with the deadline.  Asked once for each, before the turn that it is in, if
        none is due already."""
        raise NotImplementedError
