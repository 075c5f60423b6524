"""What an application and a group machine say to each other: requests down, deliveries up.

All are plain values.  Requests are passed to `Machine.step` as events; deliveries come back in `Output.deliveries`, in
the order in which the application must take them.
"""

import msgspec

from phalanx.model.clock import Stamp
from phalanx.model.view import GroupId, GroupSpec, Member, View

# --- requests -----------------------------------------------------------------------------------------------------


class Host(msgspec.Struct, frozen=True, gc=False):
    """Have this node host the group: create it if no group has the name, else join it as a learner and be promoted
    once the state is here.  Stands until `Unhost`; idempotent."""

    spec: GroupSpec


class Unhost(msgspec.Struct, frozen=True, gc=False):
    """Stop hosting the group of that name."""

    name: str


class Leave(msgspec.Struct, frozen=True, gc=False):
    """Leave the cluster: the next view is without this node, then `Excluded` is delivered."""


class Multicast(msgspec.Struct, frozen=True, gc=False):
    """Send payloads to the group, in the order given.  They are queued while a view changes, while this node is a
    learner, and while the window is full; a queued payload that has not been sent can be lost only with this process.
    """

    group: GroupId
    payloads: tuple[bytes, ...]


class Consumed(msgspec.Struct, frozen=True, gc=False):
    """The application has dealt with that many bytes of `Delivered` payloads of the group (credit for the senders)."""

    group: GroupId
    size: int


class SnapshotTaken(msgspec.Struct, frozen=True, gc=False):
    """Answer to `SnapshotWanted`: the state as it was when the application came to that delivery, or the next slice.
    `data` None means that the application cannot give one now; `more`, that this was not the last slice, so another
    `SnapshotWanted` with that token follows, or a `SnapshotUnwanted`."""

    group: GroupId
    token: int
    data: bytes | None
    more: bool = False


class RestoreTaken(msgspec.Struct, frozen=True, gc=False):
    """Answer to `Restoring`: the application has taken that slice, and is ready for another."""

    group: GroupId
    token: int


class Shorten(msgspec.Struct, frozen=True, gc=False):
    """What this node's log holds would take long to run again: let it begin with the present states of its groups soon,
    whatever its size."""


class Barrier(msgspec.Struct, frozen=True, gc=False):
    """Ask for a `BarrierReached` after which a local read is linearizable (DESIGN section 9)."""

    group: GroupId
    token: int


Request = Host | Unhost | Leave | Multicast | Consumed | SnapshotTaken | RestoreTaken | Shorten | Barrier

# --- deliveries ---------------------------------------------------------------------------------------------------


class Installed(msgspec.Struct, frozen=True, gc=False):
    """A view begins.  Everything delivered before belongs to the views before; in each group all members that install
    both this view and the next deliver the same set of messages between the two."""

    view: View


class Founded(msgspec.Struct, frozen=True, gc=False):
    """This node hosts a group whose state is empty: a new one, or, if `replayed`, a durable one whose log goes back to
    its founding.  What the log holds follows as `Delivered`.  Fencing tokens begin above `fence`."""

    group: GroupId
    spec: GroupSpec
    replayed: bool = False
    fence: Stamp = 0


class Rescued(msgspec.Struct, frozen=True, gc=False):
    """An operator has had the cluster go on with what one node's log held (`group.lineage`): that was delivered before
    this.  Something that others had delivered may be missing, and some of it may have been delivered to nobody else.
    All fencing tokens that can have been given out are below `fence`."""

    group: GroupId
    fence: Stamp


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """A run of payloads of one batch, from one sender.  `view` is the one that the batch belongs to: the present one,
    or an earlier one for what follows a `Restored` as the last part of a state transfer."""

    group: GroupId
    view: int
    sender: Member
    stamp: Stamp
    payloads: list[bytes]


class SnapshotWanted(msgspec.Struct, frozen=True, gc=False):
    """Give the state as it is after all deliveries before this one, by `SnapshotTaken`; or, if a slice of that token has
    been given, the next of the state as it was then."""

    group: GroupId
    token: int


class SnapshotUnwanted(msgspec.Struct, frozen=True, gc=False):
    """No further slice of that snapshot will be asked for."""

    group: GroupId
    token: int


class Restoring(msgspec.Struct, frozen=True, gc=False):
    """A slice of a state that will replace the group's: keep it for the `Restored` with that token, and say
    `RestoreTaken`.  A first one with another token means that what came before is of no use."""

    group: GroupId
    token: int
    data: bytes


class Restored(msgspec.Struct, frozen=True, gc=False):
    """Replace the group's state by this snapshot; the deliveries that follow continue from it.  It comes to a learner
    once, and again if its state had to be replaced.  With a `token`, `data` is the last slice, and those before it have
    come by `Restoring`; with 0 it is all.  `own`: of the payloads that this process multicast, and that have not been
    delivered to it, the state has so many more, the first ones; they will not be delivered any more."""

    group: GroupId
    data: bytes
    token: int = 0
    own: int = 0


class Writable(msgspec.Struct, frozen=True, gc=False):
    """The group's window has room again after `Multicast` filled it."""

    group: GroupId


class BarrierReached(msgspec.Struct, frozen=True, gc=False):
    """Every operation of the group acknowledged anywhere before the `Barrier` has been delivered here."""

    group: GroupId
    token: int


class BarrierFailed(msgspec.Struct, frozen=True, gc=False):
    """The barrier cannot be reached here (this node is out, or no longer hosts the group): ask elsewhere."""

    group: GroupId
    token: int


class GroupLost(msgspec.Struct, frozen=True, gc=False):
    """All full hosts of a memory group failed: its state is gone.  A new one of that name will have another id.  It
    follows the `Installed` of a view that has the group no more."""

    group: GroupId
    spec: GroupSpec


class GroupSuspended(msgspec.Struct, frozen=True, gc=False):
    """None of the durable group's full hosts is in the view any more.  Its state is on their disks, and the group goes on
    when they return: under its old id, with a `Restored` or `Founded` for whoever hosts it then.  It follows the
    `Installed` of the view that it is suspended in."""

    group: GroupId
    spec: GroupSpec


class HostRefused(msgspec.Struct, frozen=True, gc=False):
    """`Host` cannot be granted (another order or contract is in use under the name)."""

    spec: GroupSpec
    reason: str


class Excluded(msgspec.Struct, frozen=True, gc=False):
    """This process is no member any more and will do nothing further.  Multicasts of its own that were not delivered
    here either are in `view`'s past or never happen: for the caller their outcome is unknown.  Its driver starts a new
    incarnation."""

    view: View | None
    reason: str
    left: bool = False
    """It is out because it asked to leave, and it was let in before."""


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The cluster does not let this node in.  It goes on trying, more and more slowly: the reason may go away."""

    reason: str


Delivery = (
    Installed
    | Founded
    | Rescued
    | Delivered
    | SnapshotWanted
    | SnapshotUnwanted
    | Restoring
    | Restored
    | Writable
    | BarrierReached
    | BarrierFailed
    | GroupLost
    | GroupSuspended
    | HostRefused
    | Excluded
    | Refusal
)
