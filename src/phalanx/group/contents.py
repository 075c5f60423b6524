"""What the chunks of a state transfer make up apart from the application's slices, on a wire and in a log alike."""

import msgspec

from phalanx.group.messages import Base, Data, Vector
from phalanx.model.view import Member

Partials = list[tuple[Member, list[bytes]]]
"""Large payloads of which fragments have been delivered."""


class Opening(msgspec.Struct, frozen=True, array_like=True, tag="snapshot"):
    """What a snapshot begins with."""

    partials: Partials


class Suffix(msgspec.Struct, frozen=True, array_like=True, tag="suffix"):
    """What is sent in place of a snapshot to one whose log has the beginning: all that was delivered since.

    upto: the cut that ended the view of `since`.  batches: of that view those that the log lacks, and all of later views,
    with their senders, as they were delivered.  ends: the views that have ended since, and their cuts.
    """

    since: Base
    upto: Vector
    batches: list[tuple[Member, Data]]
    ends: list[tuple[int, Vector]]
