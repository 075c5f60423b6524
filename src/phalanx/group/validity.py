"""Why a message cannot come from a correct member (SCENARIOS 41).

Types are checked when a message is decoded.  Here its values are: whether they are in range, fit each other, and fit
what this node knows for certain.  What passes cannot make a handler fail; that it is true is not claimed, for members are
trusted not to lie (DESIGN section 2).

Two things are on purpose not held against a sender.  What it may say because it believed somebody else: one liar must not
make the honest accuse each other.  And whatever speaks of another view than ours: it is judged for itself only, since the
view's members and groups may be unknown here.

The functions return the reason, or None if all is well, and each relies on those called before it.
"""

from collections.abc import Collection, Iterable
from typing import assert_never

from phalanx.group.core import Core
from phalanx.group.messages import (
    WHOLE,
    Accept,
    Accepted,
    Alive,
    Ballot,
    Body,
    Chunk,
    Commit,
    Cut,
    Data,
    Decision,
    Fetch,
    Gather,
    GroupRow,
    Held,
    Nack,
    Prepare,
    Progress,
    Promise,
    Pull,
    Refuse,
    RefuseHost,
    Row,
    Vector,
    Wish,
)
from phalanx.model.view import DEPARTED_MAX, Address, Group, GroupId, GroupSpec, Member, Name, Order, View

COUNT_MAX = 1 << 62
"""Of batches, rows, bytes, tokens: what is counted up from here still fits into the 64 bits that an integer has on the
wire."""
STAMP_MAX = 1 << 62
"""Stamps of the year 4200, and room above it for the ticks of whoever believes one."""
WALL_MS_MAX = 1 << 46
"""The same year; before 1970 for a node without a battery, as far back."""
BALLOT_MAX = 1 << 40
"""A ballot in every millisecond for 35 years, all in one view."""
VIEW_MAX = 1 << 40
"""Ids of groups are made of it and 16 bits more."""
INCARNATION_MAX = 1 << 62
"""Milliseconds since the epoch, or a few more than the last one."""
LEAST_MAX = INCARNATION_MAX >> 1
"""What a refusal may demand: a node that obeys can be started again as often as it likes."""
EVERYONE_MAX = 64
"""Members and learners of a view: masks of them are 64 bits on the wire."""
NAME_MAX = 255
"""Letters of a node's name, as in a host's."""
ADDRESS_MAX = 512
"""Letters: the longest host name, a port, and a zone."""
TEXT_MAX = 8192
"""Letters of a reason, which may quote a group's specification, twice."""
SPEC_TEXT_MAX = 1024
"""Letters of a group's name, or of its contract, which is a digest."""
GROUPS_MAX = 1024
"""Wanted by one node.  A promise has a vector for each, and must fit into a frame."""
LEASE_MS_MAX = 3_600_000
"""An hour: a view change may have to wait for it."""
PAYLOADS_MAX = 1 << 19
"""In one batch, which fits into a frame of 8 MiB, where an empty payload counts for 16 bytes."""
DIGEST_SIZE = 16


def fault_in(core: Core, sender: Member, body: Body) -> str | None:
    """Why this message of `sender` cannot come from a correct member of this node's cluster; None: it is plausible.
    A message of another cluster must not get here, except for `Wish`, `Refuse` and `Commit`.  Changes nothing."""
    return _fault_in_sender(core, sender) or _fault_in_body(core, sender, body)


def _fault_in_sender(core: Core, sender: Member) -> str | None:
    if core.roster.members.get(sender.name) == sender and sender.incarnation > 0:
        return None
    return _fault_in_member(sender) or _fault_in_our_successor(core, sender)


def _fault_in_our_successor(core: Core, member: Member) -> str | None:
    """While we live there is no later process of our name at our address."""
    if not core.live or (member.name, member.address) != (core.name, core.me.address):
        return None
    return "it claims to be a later life of this node" if member.incarnation > core.me.incarnation else None


def _fault_in_body(core: Core, sender: Member, body: Body) -> str | None:
    match body:
        case Data():
            return _fault_in_data(core, body)
        case Row():
            return _fault_in_row(core, sender, body)
        case Alive():
            return _fault_in_alive(core, body)
        case Wish():
            return _fault_in_wish(body) or _fault_in_our_successor(core, body.member)
        case Refuse() | RefuseHost():
            return _fault_in_refusal(body)
        case Pull():
            sane = _is_view(body.view) and body.author >= 0 and 1 <= body.low <= body.high < COUNT_MAX
            return None if sane else "it asks for batches that cannot be"
        case Commit():
            return _fault_in_decision(core, body.value)
        case Fetch() | Chunk():
            return _fault_in_transfer(core, body)
        case Prepare() | Promise() | Nack() | Gather() | Held() | Accept() | Accepted():
            return _fault_in_ballots(core, sender, body)
        case _:
            assert_never(body)


# --- values ---------------------------------------------------------------------------------------------------------


def _is_view(view: int) -> bool:
    return 0 <= view < VIEW_MAX


def _are_counts(*numbers: int) -> bool:
    return all(0 <= n < COUNT_MAX for n in numbers)


def _is_vector(vector: Vector, size: int) -> bool:
    return len(vector) == size and _are_counts(*vector)


def _are_masks(masks: Iterable[int], size: int) -> bool:
    return all(0 <= mask < 1 << size for mask in masks)


def _are_unique(things: Collection[object]) -> bool:
    return len(set(things)) == len(things)


def _is_name(name: Name) -> bool:
    return 0 < len(name) <= NAME_MAX


def _is_place(address: Address) -> bool:
    return 0 < len(address) <= ADDRESS_MAX


def _is_ballot(ballot: Ballot) -> bool:
    return 1 <= ballot.counter < BALLOT_MAX and _is_name(ballot.name) and 1 <= ballot.incarnation < INCARNATION_MAX


def _fault_in_member(member: Member) -> str | None:
    if not (_is_name(member.name) and _is_place(member.address)):
        return "a member whose name or address is empty or too long"
    return None if 1 <= member.incarnation < INCARNATION_MAX else f"no incarnation: {member.incarnation}"


def _fault_in_spec(spec: GroupSpec) -> str | None:
    if max(len(spec.name), len(spec.contract)) > SPEC_TEXT_MAX:
        return "a group whose name or contract is too long"
    return None if 0 <= spec.lease_ms <= LEASE_MS_MAX else f"no length of leases: {spec.lease_ms} ms"


def _our_view(core: Core, view: int) -> View | None:
    """The view that the message speaks of, if it is ours."""
    return core.view if core.view is not None and core.view.id == view else None


# --- data and rows --------------------------------------------------------------------------------------------------


def _fault_in_data(core: Core, data: Data) -> str | None:
    count = len(data.payloads)
    if not (
        0 <= data.view < VIEW_MAX
        and data.author >= 0
        and 1 <= data.number < COUNT_MAX
        and 0 < data.stamp < STAMP_MAX
        and 0 <= data.row < COUNT_MAX
        and WHOLE <= data.left < COUNT_MAX
    ):
        return "a number of the batch is out of range"
    if not 1 <= count <= PAYLOADS_MAX or (data.left != WHOLE and count != 1):
        return f"a batch of {count} payloads, {data.left} fragments left"
    channel = core.channels.get(data.group)
    if channel is None or channel.view != data.view:
        return None
    size = len(channel.hosts)
    if data.author >= size:
        return f"host {data.author} of {size}"
    if data.after or channel.group.spec.order is Order.CAUSAL:
        expected = size if channel.group.spec.order is Order.CAUSAL else 0
        return None if _is_vector(data.after, expected) else "the batch comes after what cannot be"
    return None


def _fault_in_row(core: Core, sender: Member, row: Row) -> str | None:
    if not (_is_view(row.view) and row.number >= 1 and _are_counts(row.number, row.busy)):
        return "a number of the row is out of range"
    if not (0 <= row.clock < STAMP_MAX and abs(row.wall) < WALL_MS_MAX):
        return "a clock that cannot be"
    view = _our_view(core, row.view)
    if view is None:
        return None
    size = len(core.roster.everyone)
    if not (_is_vector(row.echo, size) and len(row.others) == size):
        return f"a row that is not of {size} members"
    if not _are_masks((row.hears, row.suspects, *row.others), size):
        return "a mask with bits of nobody"
    if not _are_unique([g.group for g in row.groups]):
        return "a group twice in one row"
    for part in row.groups:
        if fault := _fault_in_group_row(view.group(part.group), sender.name, part):
            return fault
    return None


def _fault_in_group_row(group: Group | None, name: Name, row: GroupRow) -> str | None:
    if group is None or (name not in group.hosts and name not in group.learners):
        return f"a row of group {row.group}, in which it is not"
    if not _is_vector(row.received, len(group.hosts)):
        return f"a row that is not of {len(group.hosts)} hosts"
    if not _are_counts(row.last, row.released, row.backlog) or row.released > row.last:
        return "a number of the group's row is out of range"
    return None


def _fault_in_alive(core: Core, alive: Alive) -> str | None:
    if not _is_view(alive.view) or not (alive.promised is None or _is_ballot(alive.promised)):
        return "a view or ballot that cannot be"
    view = _our_view(core, alive.view)
    size = len(core.roster.everyone)
    if view is not None and not (
        len(alive.others) == size and _are_masks((alive.hears, alive.suspects, *alive.others), size)
    ):
        return f"a sign of life that is not of {size} members"
    return None


# --- membership -----------------------------------------------------------------------------------------------------


def _fault_in_wish(wish: Wish) -> str | None:
    if fault := _fault_in_member(wish.member):
        return fault
    if max(len(wish.hosts), len(wish.unhosts)) > GROUPS_MAX:
        return f"a wish for more than {GROUPS_MAX} groups"
    if not (_are_unique([spec.name for spec in wish.hosts]) and _are_unique(wish.unhosts)):
        return "a wish that names a group twice"
    if any(len(name) > SPEC_TEXT_MAX for name in wish.unhosts):
        return "a group whose name is too long"
    return next((fault for spec in wish.hosts if (fault := _fault_in_spec(spec))), None)


def _fault_in_refusal(refusal: Refuse | RefuseHost) -> str | None:
    if len(refusal.reason) > TEXT_MAX:
        return "a reason that is too long"
    if isinstance(refusal, RefuseHost):
        return _fault_in_spec(refusal.spec)
    if not 0 <= refusal.least < LEAST_MAX:
        return f"no incarnation to ask for: {refusal.least}"
    return _fault_in_member(refusal.member)


# --- view change ----------------------------------------------------------------------------------------------------


def _fault_in_ballots(
    core: Core, sender: Member, body: Prepare | Promise | Nack | Gather | Held | Accept | Accepted
) -> str | None:
    if not _is_view(body.view) or not _is_ballot(body.ballot):
        return f"a view or ballot that cannot be: {body.view}, {body.ballot}"
    match body:
        case Prepare():
            return _fault_in_coordinator(core, sender, body) or _fault_in_hears(core, body)
        case Gather():
            return _fault_in_coordinator(core, sender, body) or _fault_in_gather(core, body)
        case Accept():
            return _fault_in_coordinator(core, sender, body) or _fault_in_value(core, body)
        case Accepted():
            return _fault_in_value(core, body)
        case Promise():
            return _fault_in_promise(core, sender, body)
        case Nack():
            if body.promised is not None and not _is_ballot(body.promised):
                return f"no ballot: {body.promised}"
            return _fault_in_hears(core, body)
        case Held():
            return None
        case _:
            assert_never(body)


def _fault_in_coordinator(core: Core, sender: Member, body: Prepare | Gather | Accept) -> str | None:
    if (body.ballot.name, body.ballot.incarnation) != (sender.name, sender.incarnation):
        return f"a ballot of {body.ballot.name}#{body.ballot.incarnation}"
    if _our_view(core, body.view) is not None and core.roster.rank(sender.name) < 0:
        return "only full members coordinate"
    return None


def _fault_in_hears(core: Core, body: Prepare | Promise | Nack) -> str | None:
    known = _our_view(core, body.view) is not None
    fits = _are_masks((body.hears,), len(core.roster.everyone)) if known else body.hears >= 0
    return None if fits else "a mask with bits of nobody"


def _fault_in_promise(core: Core, sender: Member, promise: Promise) -> str | None:
    if promise.wish.member != sender or not 0 <= promise.clock < STAMP_MAX:
        return "a promise with another's wish, or a clock that cannot be"
    accepted = promise.accepted
    if accepted is not None and (
        accepted.view != promise.view or not _is_ballot(accepted.ballot) or accepted.ballot > promise.ballot
    ):
        return f"accepted at {accepted.ballot} of view {accepted.view}, which cannot be"
    if not (promise.live or not promise.progress):
        return "a restarted process has no state"
    return (
        _fault_in_hears(core, promise)
        or _fault_in_wish(promise.wish)
        or (_fault_in_value(core, accepted) if accepted is not None else None)
        or _fault_in_progress(core, sender, promise)
    )


def _fault_in_progress(core: Core, sender: Member, promise: Promise) -> str | None:
    view = _our_view(core, promise.view)
    if view is None:
        return None
    if promise.live != (core.roster.members.get(sender.name) == sender):
        return "it does not live in this view" if promise.live else "it lives in this view and denies it"
    if not promise.live:
        return None
    mine = {g.id: g for g in view.groups if sender.name in g.everyone}
    if sorted(p.group for p in promise.progress) != sorted(mine):
        return "a promise of other groups than it is in"
    wrong = next((p.group for p in promise.progress if not _is_progress(p, len(mine[p.group].hosts))), None)
    return None if wrong is None else f"no progress in group {wrong}"


def _is_progress(progress: Progress, size: int) -> bool:
    return (
        _is_vector(progress.received, size)
        and _is_vector(progress.released, size)
        and all(low <= high for low, high in zip(progress.released, progress.received, strict=True))
    )


def _fault_in_gather(core: Core, gather: Gather) -> str | None:
    if not _are_unique([cut.group for cut in gather.cuts]) or len(gather.holders) != len(gather.cuts):
        return "cuts and holders that do not fit"
    view = _our_view(core, gather.view)
    if view is None:
        return None
    for cut, holders in zip(gather.cuts, gather.holders, strict=True):
        group = view.group(cut.group)
        if group is None or core.name not in group.everyone:
            return f"a cut of group {cut.group}, which is not here"
        if not _is_vector(cut.upto, len(group.hosts)) or len(holders) != len(group.hosts):
            return f"a cut that is not of {len(group.hosts)} hosts"
        if any(core.roster.places.get(holder) is None for holder in holders):
            return "batches are held by nobody"
        channel = core.channels.get(cut.group)
        if channel is not None and channel.me >= 0 and cut.upto[channel.me] > channel.last:
            return "a cut beyond what this node has sent"
    return None


def _fault_in_value(core: Core, body: Accept | Accepted) -> str | None:
    if not _is_view(body.view) or body.value.old != body.view:
        return f"a successor of view {body.value.old} in view {body.view}"
    return _fault_in_decision(core, body.value)


# --- decisions ------------------------------------------------------------------------------------------------------


def _fault_in_decision(core: Core, value: Decision) -> str | None:
    view = value.view
    if not _is_view(value.old) or view.id != value.old + 1 or not 0 < view.cluster < 1 << 64:
        return f"view {view.id} of cluster {view.cluster:x} after view {value.old}"
    if not 0 <= value.clock < STAMP_MAX or not all(map(_is_name, value.left)):
        return "a clock or a leaver that cannot be"
    return (
        _fault_in_members(view)
        or next((fault for group in view.groups if (fault := _fault_in_group(view, group))), None)
        or _fault_in_cuts(view, value.cuts)
        or _fault_in_succession(core, value)
    )


def _fault_in_members(view: View) -> str | None:
    everyone = view.everyone
    if not view.members or len(everyone) > EVERYONE_MAX or not _are_unique([m.name for m in everyone]):
        return "a view without members, with too many, or with one twice"
    former = [name for name, _ in view.departed]
    if len(former) > DEPARTED_MAX or not _are_unique(former) or not all(map(_is_name, former)):
        return "departed members that cannot be"
    if not all(0 <= incarnation < INCARNATION_MAX for _, incarnation in view.departed):
        return "departed incarnations that cannot be"
    return next((fault for m in everyone if (fault := _fault_in_member(m))), None)


def _fault_in_group(view: View, group: Group) -> str | None:
    members = {m.name for m in view.members}
    everyone = members | {m.name for m in view.learners}
    if not group.hosts or not members.issuperset(group.hosts) or not everyone.issuperset(group.learners):
        return f"group {group.id} without hosts, or with some that are not in the view"
    if not _are_unique(group.everyone) or not 0 <= group.id < COUNT_MAX or group.id >> 16 > view.id:
        return f"group {group.id} with somebody twice, or of a view to come"
    return _fault_in_spec(group.spec)


def _fault_in_cuts(view: View, cuts: tuple[Cut, ...]) -> str | None:
    """A group that was founded before this view has a cut, and no other has."""
    if not _are_unique([g.id for g in view.groups]) or not _are_unique([g.spec.name for g in view.groups]):
        return "a group twice in one view"
    if sorted(cut.group for cut in cuts) != sorted(g.id for g in view.groups if g.id >> 16 != view.id):
        return "cuts of other groups than go on"
    return None if all(cut.upto and _are_counts(*cut.upto) for cut in cuts) else "a cut that cannot be"


def _fault_in_succession(core: Core, value: Decision) -> str | None:
    """The successor of our own view: the groups that go on were in it, with those hosts, and what it leaves to us we
    hold, because we said so before it was proposed."""
    old, new = core.view, value.view
    if old is None or old.id != value.old or (old.id > 0 and old.cluster != new.cluster):
        return None
    for cut in value.cuts:
        before, after = old.group(cut.group), new.group(cut.group)
        if before is None or after is None or before.spec != after.spec:
            return f"group {cut.group} was not in view {old.id}"
        if len(cut.upto) != len(before.hosts):
            return f"a cut that is not of {len(before.hosts)} hosts"
        if not set(after.hosts) <= set(before.everyone) or any(old.named(n) != new.named(n) for n in after.hosts):
            return f"group {cut.group} has a host without its state"
        if core.live and core.name in after.hosts and not _holds(core, cut):
            return f"this node does not hold the cut of group {cut.group}"
    return None


def _holds(core: Core, cut: Cut) -> bool:
    channel, seat = core.channels.get(cut.group), core.seats.get(cut.group)
    if channel is None or seat is None:
        return False
    return seat.synced and channel.holds(cut.upto) and not channel.beyond(cut.upto)


# --- state transfer -------------------------------------------------------------------------------------------------


def _fault_in_transfer(core: Core, body: Fetch | Chunk) -> str | None:
    if not _is_view(body.view) or not _are_counts(body.token, body.offset, *body.covers):
        return "a number of the transfer is out of range"
    if not 1 <= len(body.covers) <= EVERYONE_MAX:
        return f"a snapshot of {len(body.covers)} hosts"
    sizes = _host_counts(core, body.view, body.group)
    if any(size != len(body.covers) for size in sizes):
        return f"a snapshot of {len(body.covers)} hosts, of which the group has another number"
    return _fault_in_chunk(body) if isinstance(body, Chunk) else None


def _host_counts(core: Core, view: int, group: GroupId) -> set[int]:
    """How many hosts the group has in that view, by all that we know."""
    counts = set()
    place = core.past[view - 1].view if view - 1 in core.past else _our_view(core, view)
    if place is not None and (known := place.group(group)) is not None:
        counts.add(len(known.hosts))
    if view in core.past:
        counts |= {len(cut.upto) for cut in core.past[view].cuts if cut.group == group}
    if (seat := core.seats.get(group)) is not None and seat.suffix_from.view == view:
        counts.add(len(seat.suffix_from.covers))
    return counts


def _fault_in_chunk(chunk: Chunk) -> str | None:
    """Of a snapshot shorter than asked for (another donor's), the piece at that offset is empty."""
    if chunk.token < 1 or not 1 <= chunk.total < COUNT_MAX or len(chunk.digest) != DIGEST_SIZE:
        return "a snapshot that cannot be"
    if chunk.offset + len(chunk.data) > chunk.total if chunk.data else chunk.offset < chunk.total:
        return f"bytes {chunk.offset} to {chunk.offset + len(chunk.data)} of {chunk.total}"
    return None
