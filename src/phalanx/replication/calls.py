"""What a program and a client machine say to each other: calls down, completions up.  Deadlines are monotonic
nanoseconds; tokens are the program's, one per call."""

from enum import StrEnum

import msgspec

from phalanx.errors import (
    ClusterRecovered,
    NotHappened,
    OutcomeUnknown,
    Outdated,
    PhalanxError,
    Refused,
    StorageFull,
    TooLarge,
    Unavailable,
    UpgradePending,
    WrongArguments,
    WrongCluster,
)
from phalanx.model.clock import Stamp
from phalanx.replication.messages import FINAL, Reason
from phalanx.replication.outcome import Outcome


class Call(msgspec.Struct, frozen=True, gc=False):
    """Run a command exactly once."""

    token: int
    group: str
    operation: str
    types: int
    arguments: bytes
    deadline: int


class Read(msgspec.Struct, frozen=True, gc=False):
    """Answer a query, linearizably or stale."""

    token: int
    group: str
    operation: str
    types: int
    arguments: bytes
    deadline: int
    stale: bool = False


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Have any node describe itself (`messages.Describe`)."""

    token: int
    what: str
    deadline: int


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Do not wait for this call any more: it completes at once, as at a deadline."""

    token: int


class CloseAll(msgspec.Struct, frozen=True, gc=False):
    """Close the sessions, so that the groups can forget them, and stop keeping them alive.  Calls under way complete as
    at a deadline."""


class End(StrEnum):
    """How a call ended."""

    DONE = "done"
    """`outcome` (or `data`, of an `Ask`) is the answer."""
    NOT_HAPPENED = "not happened"
    """No transmission of it can have or take effect."""
    UNKNOWN = "unknown"
    """It was sent, and what became of it was not learned: it may have happened, or may yet if it is under way."""


class Completed(msgspec.Struct, frozen=True, gc=False):
    """The end of a call; exactly one for each."""

    token: int
    end: End
    outcome: Outcome | None = None
    stamp: Stamp = 0
    data: bytes = b""
    reason: Reason | None = None
    text: str = ""
    version: int = 0
    """Of the class that the group runs, after `Reason.OPERATION`."""


def error_of(completed: Completed, version: int = 0) -> PhalanxError:
    """The public error for a call that was not done.  `version`: of the caller's class."""
    assert completed.end is not End.DONE
    if completed.end is End.UNKNOWN:
        declined = completed.reason is Reason.FOREIGN or completed.reason in FINAL
        before = "; but it had been sent before that, and may have happened" if declined else ""
        return OutcomeUnknown(f"{completed.text}{before}")
    if completed.reason is Reason.OPERATION and 0 < completed.version < version:
        told = f"the group still runs version {completed.version}, and the caller's class is version {version}"
        return UpgradePending(f"{completed.text}: {told}; call again when all hosts run the new code")
    if completed.reason is Reason.OPERATION and completed.version > version > 0:
        told = f"the group runs version {completed.version}, and the caller's class is version {version}"
        return Outdated(f"{completed.text}: {told}; start this program with the newer class")
    kinds: dict[Reason, type[NotHappened]] = {
        Reason.OPERATION: Refused,
        Reason.ARGUMENTS: WrongArguments,
        Reason.DIVERGED: Refused,
        Reason.TOO_LARGE: TooLarge,
        Reason.FULL: StorageFull,
        Reason.FOREIGN: WrongCluster,
        Reason.LOST: ClusterRecovered,
    }
    return kinds.get(completed.reason or Reason.ELSEWHERE, Unavailable)(completed.text)
