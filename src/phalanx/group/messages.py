"""Every message of the group core, one frozen type per meaning, and the node's small durable state.

Vectors are indexed by the place of a host in `Group.hosts` of the view that the message names; bit masks by the place of
a member in `View.everyone`.  Ballots are per view: a ballot of one view says nothing about another.
"""

import msgspec

from phalanx.model.clock import Stamp
from phalanx.model.view import GroupId, GroupSpec, Member, Name, View

Vector = tuple[int, ...]


class Ballot(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """Totally ordered and never used twice: a restarted coordinator has another incarnation (counter-example 18)."""

    counter: int
    name: Name
    incarnation: int

    def __str__(self) -> str:
        return f"{self.counter}.{self.name}#{self.incarnation}"


class Cut(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of each host's batches in a group, the last that belongs to the old view."""

    group: GroupId
    upto: Vector
    view: int = 0
    """Of a suspended group that goes on: its last view, which this ends.  0: the view that decides."""


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """What a view decides: its successor, and what was delivered before it."""

    old: int
    """The view that decided."""
    view: View
    cuts: tuple[Cut, ...]
    clock: Stamp
    """At or above every clock shown in the old view: the new view starts above it."""
    left: tuple[Name, ...] = ()
    """Those that are out by their own wish; an exclusion of these voids their lease grants."""


class Accepted(msgspec.Struct, frozen=True, array_like=True, tag="accepted"):
    """The sender has durably accepted the value at this ballot.  To all members, so that each learns by itself."""

    view: int
    ballot: Ballot
    value: Decision


# --- data -----------------------------------------------------------------------------------------------------------


class Data(msgspec.Struct, frozen=True, array_like=True, tag="data", gc=False):
    """Batch `number` of host `author` in the group, or a copy of it relayed to a member that lacks it.

    left: WHOLE, or how many fragments of the large payload follow after this one, which is the only payload.
    after: causal groups only: how many batches of each host the author had delivered.
    row: the author's row number when it sent the batch (see `Row.number`).
    """

    view: int
    group: GroupId
    author: int
    number: int
    stamp: Stamp
    row: int
    left: int
    after: Vector
    payloads: list[bytes]


class GroupRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a member says of one group.

    last, released: its own last batch, and up to which of its own it keeps nothing any more.
    received: for each host the highest batch received without gaps.  gap: it lacks something whose successor it has.
    backlog: bytes that its application has not consumed.  synced: it holds the state.
    """

    group: GroupId
    last: int
    released: int
    received: Vector
    backlog: int
    synced: bool
    gap: bool


class Row(msgspec.Struct, frozen=True, array_like=True, tag="row", gc=False):
    """A member's row of the view's matrix; also its heartbeat.  Shown only while the member is not frozen.

    number: grows with each row of this member in this view.  echo: the highest number heard of each member.
    clock: all that the member sends from now on is stamped later.  wall: its physical clock, milliseconds.
    hears, suspects: bit masks.  others: of each member that the sender hears, whom that one last said to hear; else 0.
    grounds: those of the suspects that it would suspect if nobody else did.
    busy: state transfers that it serves.  space: how much room its disk has, as a `Space`.
    ask: answer with a row at once (a linearizable read waits for the echo).
    """

    view: int
    number: int
    clock: Stamp
    wall: int
    echo: Vector
    hears: int
    others: Vector
    suspects: int
    grounds: int
    busy: int
    ask: bool
    groups: tuple[GroupRow, ...]
    space: int = 0


class Ack(msgspec.Struct, frozen=True, array_like=True, tag="ack", gc=False):
    """What others need of a host's row to deliver: what it has of one group, and its clock (see `Row`, `GroupRow`)."""

    view: int
    group: GroupId
    clock: Stamp
    last: int
    backlog: int
    received: Vector


class Alive(msgspec.Struct, frozen=True, array_like=True, tag="alive", gc=False):
    """Heartbeat of one that shows no rows: frozen, or a restarted process that votes for its former incarnation.
    It acknowledges and grants nothing."""

    view: int
    live: bool
    """False: a restarted process, which has lost the state of the member it votes for."""
    promised: Ballot | None
    hears: int
    others: Vector
    suspects: int
    grounds: int


# --- membership -----------------------------------------------------------------------------------------------------


class Wish(msgspec.Struct, frozen=True, array_like=True, tag="wish"):
    """What a node wants of the next view: to be in it, to host these groups, not to host those, or to be out.
    Repeated until granted or refused; passed on to whoever coordinates.  `joining`: it has not been in a view yet.
    `logs`: durable groups that are suspended for all it knows, and of which its log holds the end."""

    member: Member
    joining: bool
    hosts: tuple[GroupSpec, ...]
    unhosts: tuple[str, ...]
    leave: bool
    logs: tuple["Holding", ...] = ()


class Holding(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The sender's log holds the group's state at the beginning of that view, and what it received in it.
    `whole`: nothing can be missing at the end of that log."""

    group: GroupId
    view: int
    whole: bool


class Refuse(msgspec.Struct, frozen=True, array_like=True, tag="refuse", gc=False):
    """The cluster does not take this member.  `least`: the least incarnation that it would take, else 0."""

    member: Member
    reason: str
    least: int


class RefuseHost(msgspec.Struct, frozen=True, array_like=True, tag="refuse-host", gc=False):
    """A group of that name exists and is of another kind."""

    spec: GroupSpec
    reason: str


# --- view change ----------------------------------------------------------------------------------------------------


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag="prepare", gc=False):
    """A coordinator asks for promises; `hears` are the members that it hears."""

    view: int
    ballot: Ballot
    hears: int


class Progress(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a host or learner holds of a group, in a promise: of each host's batches it has received those up to
    `received` and keeps those after `released`.

    view: the one that the numbers belong to: the promise's, or the last one of a suspended group.
    whole: nothing more can have been received; False for a log whose end was cut off (counter-example 12).
    """

    group: GroupId
    received: Vector
    released: Vector
    synced: bool
    view: int
    whole: bool = True


class Promise(msgspec.Struct, frozen=True, array_like=True, tag="promise"):
    """The sender is frozen, and will accept nothing below the ballot."""

    view: int
    ballot: Ballot
    accepted: Accepted | None
    live: bool
    progress: tuple[Progress, ...]
    clock: Stamp
    hears: int
    wish: Wish


class Nack(msgspec.Struct, frozen=True, array_like=True, tag="nack", gc=False):
    """No promise: a higher ballot is promised, or the sender hears an elder of the coordinator (`hears`)."""

    view: int
    ballot: Ballot
    promised: Ballot | None
    hears: int


class Gather(msgspec.Struct, frozen=True, array_like=True, tag="gather"):
    """Get hold of everything in these cuts, then say so: fetch before you propose (counter-examples 1 and 2).
    `holders`: for each cut and host, the name of a member that holds its batches."""

    view: int
    ballot: Ballot
    cuts: tuple[Cut, ...]
    holders: tuple[tuple[Name, ...], ...]


class Held(msgspec.Struct, frozen=True, array_like=True, tag="held", gc=False):
    """The sender holds all that `Gather` named."""

    view: int
    ballot: Ballot


class Pull(msgspec.Struct, frozen=True, array_like=True, tag="pull", gc=False):
    """Relay to the sender the author's batches `low` to `high`, of the group's view `of`."""

    view: int
    group: GroupId
    of: int
    author: int
    low: int
    high: int


class Accept(msgspec.Struct, frozen=True, array_like=True, tag="accept"):
    """Accept this value at this ballot; counts as the ballot's promise, too."""

    view: int
    ballot: Ballot
    value: Decision


class Commit(msgspec.Struct, frozen=True, array_like=True, tag="commit"):
    """The value was decided: for learners, stragglers and the excluded."""

    value: Decision


class Superseded(msgspec.Struct, frozen=True, array_like=True, tag="superseded", gc=False):
    """The cluster that this is said in is over: its operator has recovered it as another, without the receiver."""

    by: int


# --- state transfer -------------------------------------------------------------------------------------------------


class Fetch(msgspec.Struct, frozen=True, array_like=True, tag="fetch", gc=False):
    """Send a snapshot of the group from `offset` on, one that covers at least what `view` and `covers` say (see `Chunk`).
    (Which one, the answer says.  If each learner could insist on the one that it began with, two of them would have their
    donor replace each other's for ever.)  base: what the sender's log has of the group; then what came since will do."""

    group: GroupId
    offset: int
    view: int
    covers: Vector
    base: "Base | None" = None


class Base(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A log has the group's state as that view began, or later in it, and of each host's batches in it those up to
    `received`.  The cut of that view is not known there: part of these may be beyond it."""

    view: int
    received: Vector


class Chunk(msgspec.Struct, frozen=True, array_like=True, tag="chunk", gc=False):
    """Bytes `offset` to `offset + len(data)` of `total` of a snapshot.

    view, covers: the snapshot holds all of the views before `view` and of it each host's batches up to `covers`.
    digest: of the whole snapshot; a donor with the same tag and digest can go on where another stopped.

    Between nodes one without `digest`, `total` and `data` says that the snapshot is being made.  In a log only the last
    chunk has a digest and a total: when the others were written, the rest had not been made.  There `token` tells the
    chunks of one snapshot from those of another.

    The bytes are frames (`parts.spool`): first an `Opening`, then the application's state, in one slice or several.  Or a
    `Suffix`, alone (`group.contents`).
    """

    group: GroupId
    token: int
    view: int
    covers: Vector
    digest: bytes
    offset: int
    total: int
    data: bytes


Body = (
    Data
    | Row
    | Ack
    | Alive
    | Wish
    | Refuse
    | RefuseHost
    | Prepare
    | Promise
    | Nack
    | Gather
    | Held
    | Pull
    | Accept
    | Accepted
    | Commit
    | Superseded
    | Fetch
    | Chunk
)


class Envelope(msgspec.Struct, frozen=True, array_like=True, tag="e", gc=False):
    """Every message between nodes: the cluster (0: the sender has none), who sends, and what."""

    cluster: int
    sender: Member
    body: Body


# --- the log --------------------------------------------------------------------------------------------------------


class Turned(msgspec.Struct, frozen=True, array_like=True, tag="turned"):
    """In a log: here the view ended, with that decision.  Nothing beyond a decided cut is ever applied."""

    value: Decision


class Ceiling(msgspec.Struct, frozen=True, array_like=True, tag="ceiling", gc=False):
    """In a log: no batch of a durable group is stamped above this before the next one of these is durable."""

    stamp: Stamp


Record = Data | Turned | Ceiling | Chunk
"""A node's log: batches of durable groups as received, ends of views, ceilings of the clock, snapshots in chunks."""


class Votes(msgspec.Struct, frozen=True, array_like=True, tag="votes"):
    """The small durable state of node `name` ("": by an older version), rewritten as a whole.  Every node has one."""

    incarnation: int
    cluster: int = 0
    view: View | None = None
    """The last view installed, in which this node votes until it learns the successor."""
    promised: Ballot | None = None
    accepted: Accepted | None = None
    made_by: Decision | None = None
    """The decision that made `view`."""
    decided: Decision | None = None
    """The successor of `view`, once known to a node that is not in it."""
    first: int = 0
    """The first incarnation that wrote here: of any before it, on a disk that was lost, nothing is known."""
    superseded: int = 0
    """The cluster that took this one's place by an operator's decision, without this node: it must do nothing more."""
    name: Name = ""
