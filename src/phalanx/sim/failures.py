"""Failures of single processes, by the classes of the literature, as data like all faults (`faults`).

The classes are those of Cristian, "Understanding Fault-Tolerant Distributed Systems" (CACM 1991), and of Hadzilacos and
Toueg, "A Modular Approach to Fault-Tolerant Broadcasts and Related Problems" (1994): omission, timing, response, and
arbitrary failures, each a special case of the next.  (Crashes, and what befalls links, clocks and disks, are in
`faults`; `taxonomy` has the term for each.)  They can be composed: a process may be struck by several at once.

`share`: of the messages concerned, from 0 to 1.  Whatever is "altered" is so as the scenario says (`Scenario.alter`), and
stays a message of its type.  What a process says to itself is never touched.
"""

import msgspec

NodeIndex = int


class FailStop(msgspec.Struct, frozen=True, tag=True):
    """The process halts for good, and every other process is told so at once (Schlichting and Schneider 1983)."""

    at_ns: int
    node: NodeIndex


# --- omission -----------------------------------------------------------------------------------------------------


class SendOmission(msgspec.Struct, frozen=True, tag=True):
    """Of what the process sends, that share never leaves; connections stand, and nobody is told."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    share: float


class ReceiveOmission(msgspec.Struct, frozen=True, tag=True):
    """Of what comes to the process, that share is lost before it is read."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    share: float


class SendOverflow(msgspec.Struct, frozen=True, tag=True):
    """Messages leave the process one every `each_ns`, and `queue` of them may wait: what is sent while so many wait is
    lost.  A send omission by queue overflow, and a timing failure of what does leave."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    queue: int
    each_ns: int


class ReceiveOverflow(msgspec.Struct, frozen=True, tag=True):
    """The process has room for `buffer` messages that it has not read: what comes while so many wait is lost.  A receive
    omission by buffer overflow: it takes a process that is slow, or paused, or a crowd of senders."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    buffer: int


# --- timing -------------------------------------------------------------------------------------------------------


class SlowProcess(msgspec.Struct, frozen=True, tag=True):
    """The process takes each turn, and wakes for each deadline, that much later: a performance failure."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    extra_ns: int


# --- response -----------------------------------------------------------------------------------------------------


class ValueFailure(msgspec.Struct, frozen=True, tag=True):
    """Of what the process says, that share is altered, for all that it is said to alike."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    share: float


class StateTransitionFailure(msgspec.Struct, frozen=True, tag=True):
    """The process takes one step that its program does not have (`Scenario.derail`)."""

    at_ns: int
    node: NodeIndex


# --- arbitrary ----------------------------------------------------------------------------------------------------


class Equivocation(msgspec.Struct, frozen=True, tag=True):
    """Of what the process says, that share is altered for the victims; all others are told the truth."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    victims: tuple[NodeIndex, ...]
    share: float


class Forgery(msgspec.Struct, frozen=True, tag=True):
    """Whenever the process says something, with that probability the same receiver also gets, in the name of `of`, what
    the process last heard from `of`, altered."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    of: NodeIndex
    share: float


class Replay(msgspec.Struct, frozen=True, tag=True):
    """Whenever the process says something, with that probability the same receiver also gets something that the process
    said or heard before, as it was and in the name of whoever said it."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    share: float


class Silence(msgspec.Struct, frozen=True, tag=True):
    """The process says nothing to these, and goes on with all others.  It hears everybody."""

    at_ns: int
    lasts_ns: int
    node: NodeIndex
    towards: tuple[NodeIndex, ...]


class Collusion(msgspec.Struct, frozen=True, tag=True):
    """These processes tell the victims lies that agree: whatever one of them says is altered for the victims, and equal
    messages are altered alike, whoever of them says it.  Each other, and the rest, they tell the truth."""

    at_ns: int
    lasts_ns: int
    nodes: tuple[NodeIndex, ...]
    victims: tuple[NodeIndex, ...]


Omission = SendOmission | ReceiveOmission | SendOverflow | ReceiveOverflow
"""Messages are lost at a process.  (Lost between processes: `faults.Partition`, `OneWay`, `Loss`, ...)"""

Response = ValueFailure | StateTransitionFailure
"""The process is wrong, without meaning to."""

Arbitrary = Equivocation | Forgery | Replay | Silence | Collusion
"""Byzantine: the process does anything whatever."""

Lapse = Omission | SlowProcess
"""What a process that crashes at worst is expected to survive: drawn on request (`Swarm.lapses`)."""

Conducted = Omission | ValueFailure | Arbitrary
"""Carried out on each message (`conduct`)."""
