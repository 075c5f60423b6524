"""What a replica asks its node to do: answers to hand out, messages to send, findings to tell."""

from typing import final

import msgspec

from phalanx.model.view import Member, Name
from phalanx.replication.audit import Finding
from phalanx.replication.messages import Reason
from phalanx.replication.outcome import Outcome


class CannotGoOn(Exception):
    """A replica here is of no use any more; the text says why."""


@final
class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The entry was not applied, by every replica alike.  version: of the class that the group runs, if that matters."""

    reason: Reason
    text: str
    version: int = 0


class SessionOpened(msgspec.Struct, frozen=True, gc=False):
    """The new session's id."""

    session: int


class Touched(msgspec.Struct, frozen=True, gc=False):
    """The session was kept alive, or closed."""


class Answered(msgspec.Struct, frozen=True, gc=False):
    """What became of this node's entry with that ticket."""

    ticket: int
    result: Outcome | SessionOpened | Touched | Refusal


class Say(msgspec.Struct, frozen=True, gc=False):
    """Multicast this payload to the group."""

    payload: bytes


class Judged(msgspec.Struct, frozen=True, gc=False):
    """An audit found something (see `audit.Finding`); every replica learns it at the same position."""

    finding: Finding


class NotUnderstood(msgspec.Struct, frozen=True, gc=False):
    """An entry of that sender could not be decoded; every replica skipped it."""

    sender: Member


class Ticked(msgspec.Struct, frozen=True, gc=False):
    """This node's `entries.Tick` was ordered."""


class CanRun(msgspec.Struct, frozen=True, gc=False):
    """That host has code for these versions as well, by their contracts."""

    host: Name
    versions: dict[int, str]


class Upgraded(msgspec.Struct, frozen=True, gc=False):
    """The group runs another version from here on, at every replica.  replayed: that was in an earlier view."""

    since: int
    to: int
    replayed: bool


class UpgradeVoid(msgspec.Struct, frozen=True, gc=False):
    """Nothing came of an upgrade, at every replica.  fault: of the conversion; empty: its view ended.  replayed: that was
    in an earlier view."""

    to: int
    fault: str
    replayed: bool


class GivenUp(msgspec.Struct, frozen=True, gc=False):
    """This replica is of no use any more."""

    error: CannotGoOn


Action = Answered | Say | Judged | NotUnderstood | Ticked | CanRun | Upgraded | UpgradeVoid | GivenUp
