"""What was observed: the two kinds of history that `check` judges.

A *group history* is the list of events of all processes, in the order in which an observer outside saw them; the order
between processes matters only where a checker says so.  A *client history* is Jepsen's: operations with an invocation
and a completion.
"""

from enum import StrEnum
from typing import Any, NamedTuple

from phalanx.model.view import GroupId, Member, View

# --- group histories ----------------------------------------------------------------------------------------------


class Sent(NamedTuple):
    """The application at `process` multicast that payload (payloads are unique in a history)."""

    process: Member
    group: GroupId
    payload: bytes


class SawView(NamedTuple):
    """`process` installed the view."""

    process: Member
    view: View


class SawMessage(NamedTuple):
    """`process` delivered the payload while it was in the view of that id."""

    process: Member
    group: GroupId
    view: int
    sender: Member
    payload: bytes


class SawFounding(NamedTuple):
    """`process` began to host a new group with an empty state."""

    process: Member
    group: GroupId


class SawState(NamedTuple):
    """`process` got the state of a group by transfer.  The test application's state is the sequence of the payloads
    delivered, so the checker can hold it against what others delivered."""

    process: Member
    group: GroupId
    payloads: tuple[bytes, ...]


class AskedToLeave(NamedTuple):
    """The application of `process` asked for a polite end."""

    process: Member


class Stopped(NamedTuple):
    """`process` crashed or was told that it is out; it does nothing afterwards."""

    process: Member
    crashed: bool
    left: bool = False
    """It was told that it left, as it had asked."""


GroupEvent = Sent | SawView | SawMessage | SawFounding | SawState | AskedToLeave | Stopped

# --- client histories ---------------------------------------------------------------------------------------------


class Outcome(StrEnum):
    """How an operation ended, in Jepsen's words."""

    OK = "ok"
    FAIL = "fail"
    """It did not happen and never will."""
    INFO = "info"
    """It may have happened, may still happen at any later time, or never."""


class Operation(NamedTuple):
    """One operation of a client.  Times are positions in any total order of events (integers; only their order counts).

    `completed` is None for an operation that never ended, which is the same as `Outcome.INFO`.
    """

    process: int | str
    f: str
    key: Any
    argument: Any
    result: Any
    outcome: Outcome
    invoked: int
    completed: int | None
