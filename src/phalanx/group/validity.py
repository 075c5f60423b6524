"""Why a message cannot come from a correct member (SCENARIOS 41).

Types are checked when a message is decoded.  Here its values are: whether they are in range, fit each other, and fit
what this node knows for certain.  What passes cannot make a handler fail; that it is true is not claimed, for members are
trusted not to lie (DESIGN section 2).

Two things are on purpose not held against a sender.  What it may say because it believed somebody else: one liar must not
make the honest accuse each other.  And whatever speaks of another view than ours: it is judged for itself only, since the
view's members and groups may be unknown here.

The functions return the reason, or None if all is well, and each relies on those called before it.
"""

from typing import assert_never

from phalanx.group.core import Core
from phalanx.group.messages import (
    Accept,
    Accepted,
    Ack,
    Alive,
    Base,
    Body,
    Chunk,
    Commit,
    Data,
    Fetch,
    Gather,
    Held,
    Nack,
    Prepare,
    Progress,
    Promise,
    Pull,
    Refuse,
    RefuseHost,
    Row,
    Superseded,
    Wish,
)
from phalanx.group.plausible import fault_in_traffic, our_view
from phalanx.group.ranges import (
    COUNT_MAX,
    DIGEST_SIZE,
    EVERYONE_MAX,
    GROUPS_MAX,
    LEAST_MAX,
    SPEC_TEXT_MAX,
    STAMP_MAX,
    TEXT_MAX,
    are_counts,
    are_masks,
    are_unique,
    fault_in_member,
    fault_in_spec,
    is_ballot,
    is_vector,
    is_view,
)
from phalanx.group.soundness import fault_in_decision
from phalanx.model.view import GroupId, Member


def fault_in(core: Core, sender: Member, body: Body) -> str | None:
    """Why this message of `sender` cannot come from a correct member of this node's cluster; None: it is plausible.
    A message of another cluster must not get here, except for `Wish`, `Refuse` and `Commit`.  Changes nothing."""
    return _fault_in_sender(core, sender) or _fault_in_body(core, sender, body)


def _fault_in_sender(core: Core, sender: Member) -> str | None:
    if core.roster.members.get(sender.name) == sender and sender.incarnation > 0:
        return None
    return fault_in_member(sender) or _fault_in_our_successor(core, sender)


def _fault_in_our_successor(core: Core, member: Member) -> str | None:
    """While we live there is no later process of our name at our address."""
    if not core.live or (member.name, member.address) != (core.name, core.me.address):
        return None
    return "it claims to be a later life of this node" if member.incarnation > core.me.incarnation else None


def _fault_in_body(core: Core, sender: Member, body: Body) -> str | None:
    match body:
        case Data() | Ack() | Row():
            return fault_in_traffic(core, sender, body)
        case Alive():
            return _fault_in_alive(core, body)
        case Wish():
            return _fault_in_wish(body) or _fault_in_our_successor(core, body.member)
        case Refuse() | RefuseHost():
            return _fault_in_refusal(body)
        case Pull():
            views = is_view(body.view) and is_view(body.of)
            sane = views and body.author >= 0 and 1 <= body.low <= body.high < COUNT_MAX
            return None if sane else "it asks for batches that cannot be"
        case Commit():
            return fault_in_decision(core, body.value)
        case Superseded():
            return None if 0 < body.by < 1 << 64 and body.by != core.cluster else "a cluster that cannot be"
        case Fetch() | Chunk():
            return _fault_in_transfer(core, body)
        case Prepare() | Promise() | Nack() | Gather() | Held() | Accept() | Accepted():
            return _fault_in_ballots(core, sender, body)
        case _:
            assert_never(body)


# --- signs of life --------------------------------------------------------------------------------------------------


def _fault_in_alive(core: Core, alive: Alive) -> str | None:
    if not is_view(alive.view) or not (alive.promised is None or is_ballot(alive.promised)):
        return "a view or ballot that cannot be"
    view = our_view(core, alive.view)
    size = len(core.roster.everyone)
    if view is not None and not (
        len(alive.others) == size and are_masks((alive.hears, alive.suspects, alive.grounds, *alive.others), size)
    ):
        return f"a sign of life that is not of {size} members"
    return None


# --- membership -----------------------------------------------------------------------------------------------------


def _fault_in_wish(wish: Wish) -> str | None:
    if fault := fault_in_member(wish.member):
        return fault
    if max(len(wish.hosts), len(wish.unhosts)) > GROUPS_MAX:
        return f"a wish for more than {GROUPS_MAX} groups"
    if not (are_unique([spec.name for spec in wish.hosts]) and are_unique(wish.unhosts)):
        return "a wish that names a group twice"
    if any(len(name) > SPEC_TEXT_MAX for name in wish.unhosts):
        return "a group whose name is too long"
    if len(wish.logs) > GROUPS_MAX or not all(is_view(h.view) and are_counts(h.group) for h in wish.logs):
        return "logs that cannot be"
    return next((fault for spec in wish.hosts if (fault := fault_in_spec(spec))), None)


def _fault_in_refusal(refusal: Refuse | RefuseHost) -> str | None:
    if len(refusal.reason) > TEXT_MAX:
        return "a reason that is too long"
    if isinstance(refusal, RefuseHost):
        return fault_in_spec(refusal.spec)
    if not 0 <= refusal.least < LEAST_MAX:
        return f"no incarnation to ask for: {refusal.least}"
    return fault_in_member(refusal.member)


# --- view change ----------------------------------------------------------------------------------------------------


def _fault_in_ballots(
    core: Core, sender: Member, body: Prepare | Promise | Nack | Gather | Held | Accept | Accepted
) -> str | None:
    if not is_view(body.view) or not is_ballot(body.ballot):
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
            if body.promised is not None and not is_ballot(body.promised):
                return f"no ballot: {body.promised}"
            return _fault_in_hears(core, body)
        case Held():
            return None
        case _:
            assert_never(body)


def _fault_in_coordinator(core: Core, sender: Member, body: Prepare | Gather | Accept) -> str | None:
    if (body.ballot.name, body.ballot.incarnation) != (sender.name, sender.incarnation):
        return f"a ballot of {body.ballot.name}#{body.ballot.incarnation}"
    if our_view(core, body.view) is not None and core.roster.rank(sender.name) < 0:
        return "only full members coordinate"
    return None


def _fault_in_hears(core: Core, body: Prepare | Promise | Nack) -> str | None:
    known = our_view(core, body.view) is not None
    fits = are_masks((body.hears,), len(core.roster.everyone)) if known else body.hears >= 0
    return None if fits else "a mask with bits of nobody"


def _fault_in_promise(core: Core, sender: Member, promise: Promise) -> str | None:
    if promise.wish.member != sender or not 0 <= promise.clock < STAMP_MAX:
        return "a promise with another's wish, or a clock that cannot be"
    accepted = promise.accepted
    if accepted is not None and (
        accepted.view != promise.view or not is_ballot(accepted.ballot) or accepted.ballot > promise.ballot
    ):
        return f"accepted at {accepted.ballot} of view {accepted.view}, which cannot be"
    return (
        _fault_in_hears(core, promise)
        or _fault_in_wish(promise.wish)
        or (_fault_in_value(core, accepted) if accepted is not None else None)
        or _fault_in_progress(core, sender, promise)
    )


def _fault_in_progress(core: Core, sender: Member, promise: Promise) -> str | None:
    view = our_view(core, promise.view)
    if view is None:
        return None
    if promise.live != (core.roster.members.get(sender.name) == sender):
        return "it does not live in this view" if promise.live else "it lives in this view and denies it"
    mine = {g.id: g for g in view.groups if sender.name in g.everyone and (promise.live or g.spec.durable)}
    kept = {s.group.id: s for s in view.suspended if sender.name in s.group.hosts}
    if not are_unique([p.group for p in promise.progress]):
        return "a promise with a group twice"
    if promise.live and not {p.group for p in promise.progress} >= mine.keys():
        return "a promise of other groups than it is in"
    for p in promise.progress:
        if p.group in kept:
            group, last = kept[p.group].group, kept[p.group].view
        elif p.group in mine:
            group, last = mine[p.group], view.id
        else:
            return "a promise of other groups than it is in" if promise.live else "a restarted process has no state"
        if p.view != last or not _is_progress(p, len(group.hosts)):
            return f"no progress in group {p.group}"
    return None


def _is_progress(progress: Progress, size: int) -> bool:
    return (
        is_vector(progress.received, size)
        and is_vector(progress.released, size)
        and all(low <= high for low, high in zip(progress.released, progress.received, strict=True))
    )


def _fault_in_gather(core: Core, gather: Gather) -> str | None:
    if not are_unique([cut.group for cut in gather.cuts]) or len(gather.holders) != len(gather.cuts):
        return "cuts and holders that do not fit"
    view = our_view(core, gather.view)
    if view is None:
        return None
    for cut, holders in zip(gather.cuts, gather.holders, strict=True):
        suspended = view.suspended_group(cut.group)
        group = suspended.group if suspended is not None else view.group(cut.group)
        if group is None or core.name not in group.everyone:
            return f"a cut of group {cut.group}, which is not here"
        if not is_vector(cut.upto, len(group.hosts)) or len(holders) != len(group.hosts):
            return f"a cut that is not of {len(group.hosts)} hosts"
        if any(core.roster.places.get(holder) is None for holder in holders):
            return "batches are held by nobody"
        channel = core.channels.get(cut.group)
        if channel is not None and channel.me >= 0 and cut.upto[channel.me] > channel.last:
            return "a cut beyond what this node has sent"
    return None


def _fault_in_value(core: Core, body: Accept | Accepted) -> str | None:
    if not is_view(body.view) or body.value.old != body.view:
        return f"a successor of view {body.value.old} in view {body.view}"
    view = our_view(core, body.view)
    if view is not None and view.id > 0 and body.value.view.cluster != view.cluster:
        return "a successor of another cluster"
    return fault_in_decision(core, body.value)


# --- decisions ------------------------------------------------------------------------------------------------------


def _fault_in_transfer(core: Core, body: Fetch | Chunk) -> str | None:
    token = body.token if isinstance(body, Chunk) else 0
    if not is_view(body.view) or not are_counts(token, body.offset, *body.covers):
        return "a number of the transfer is out of range"
    if not 1 <= len(body.covers) <= EVERYONE_MAX:
        return f"a snapshot of {len(body.covers)} hosts"
    sizes = _host_counts(core, body.view, body.group)
    if any(size != len(body.covers) for size in sizes):
        return f"a snapshot of {len(body.covers)} hosts, of which the group has another number"
    if isinstance(body, Fetch) and body.base is not None and not _is_base(body.base):
        return "a base that cannot be"
    return _fault_in_chunk(body) if isinstance(body, Chunk) else None


def _is_base(base: Base) -> bool:
    return is_view(base.view) and 1 <= len(base.received) <= EVERYONE_MAX and are_counts(*base.received)


def _host_counts(core: Core, view: int, group: GroupId) -> set[int]:
    """How many hosts the group has in that view, by all that we know."""
    counts = set()
    place = core.past[view - 1].view if view - 1 in core.past else our_view(core, view)
    if place is not None and (known := place.group(group)) is not None:
        counts.add(len(known.hosts))
    if view in core.past:
        counts |= {len(cut.upto) for cut in core.past[view].cuts if cut.group == group}
    if (seat := core.seats.get(group)) is not None and seat.suffix_from.view == view:
        counts.add(len(seat.suffix_from.covers))
    return counts


def _fault_in_chunk(chunk: Chunk) -> str | None:
    """Of a snapshot shorter than asked for (another donor's), the piece at that offset is empty.  Of one that is being
    made there is nothing yet."""
    if chunk.token >= 1 and (chunk.digest, chunk.offset, chunk.total, chunk.data) == (b"", 0, 0, b""):
        return None
    if chunk.token < 1 or not 1 <= chunk.total < COUNT_MAX or len(chunk.digest) != DIGEST_SIZE:
        return "a snapshot that cannot be"
    if chunk.offset + len(chunk.data) > chunk.total if chunk.data else chunk.offset < chunk.total:
        return f"bytes {chunk.offset} to {chunk.offset + len(chunk.data)} of {chunk.total}"
    return None
