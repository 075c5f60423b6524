"""What a program and the group calls of its node say to each other: requests down, deliveries up.  Tokens of calls are
the program's, tokens of executions the node's."""

from enum import StrEnum

import msgspec

from phalanx.calls.messages import CallId
from phalanx.model.view import Name
from phalanx.replication.outcome import Outcome


class Rule(StrEnum):
    """How many answers end a call."""

    ALL = "all"
    """Those of all hosts that live."""
    SOME = "some"
    """A given number of them."""
    MAJORITY = "majority"
    """More than half of the hosts that the call was delivered to."""
    VOTED = "voted"
    """More than half of those hosts, with the same result."""


class Want(msgspec.Struct, frozen=True):
    """Which answers.  `count`: for SOME."""

    rule: Rule = Rule.ALL
    count: int = 0


class CallTroupe(msgspec.Struct, frozen=True):
    """Call the troupe of that name.  Answer: `CallEnded`.

    deadline: monotonic nanoseconds.  fanout: as `Invoke` has it.
    joint: the call is the same as that of every node that names this client troupe and number.
    """

    token: int
    group: str
    operation: str
    types: int
    arguments: bytes
    want: Want
    deadline: int
    fanout: int = 0
    joint: tuple[str, int] | None = None


class CancelCall(msgspec.Struct, frozen=True):
    """Nobody waits for it any more, and hosts that execute it are told so.  It may happen all the same."""

    token: int


class Executed(msgspec.Struct, frozen=True):
    """Answer to `Execute`."""

    token: int
    outcome: Outcome


CallRequest = CallTroupe | CancelCall | Executed


class Execute(msgspec.Struct, frozen=True):
    """Run a procedure of the troupe of that name.  In the group's order; none comes twice."""

    token: int
    group: str
    id: CallId
    operation: str
    types: int
    arguments: bytes
    patience_ms: int


class Abandoned(msgspec.Struct, frozen=True):
    """Nobody is left who wants it: whoever called has failed, or said so; or this host has lost its place in the troupe.
    What runs of it is an orphan, and may stop."""

    token: int


class Finish(StrEnum):
    """How a call ended."""

    DONE = "done"
    NOT_HAPPENED = "not happened"
    """It was given to nobody, and never will be."""
    UNKNOWN = "outcome unknown"
    """It was given to a host, and nothing was heard of it."""
    MISSING = "replies missing"
    """All hosts had it delivered, and too few answered."""
    DIVIDED = "no majority"
    """All hosts had it delivered, and no result is that of a majority."""


class CallEnded(msgspec.Struct, frozen=True):
    """The end of a call.

    answers: by host.  value: of `combined` further hosts, combined.  hosts: how many the call was delivered to; 0 if that
    is not known.
    """

    token: int
    finish: Finish
    answers: tuple[tuple[Name, Outcome], ...] = ()
    value: bytes = b""
    combined: int = 0
    hosts: int = 0
    text: str = ""
