"""Why a batch, an acknowledgement or a row cannot come from a correct member (SCENARIOS 41): the part of `group.validity`
that looks at traffic, which is nearly all that comes, so that none of it is looked at twice.

Types were checked when the message was decoded.  The functions return the reason, or None if all is well.
"""

from typing import Final

from msgspec.structs import astuple

from phalanx.group.batch import WHOLE
from phalanx.group.core import Core
from phalanx.group.messages import Ack, Data, GroupRow, Row
from phalanx.group.ranges import (
    COUNT_MAX,
    PAYLOADS_MAX,
    STAMP_MAX,
    VIEW_MAX,
    WALL_MS_MAX,
    are_masks,
    are_unique,
    is_vector,
)
from phalanx.model.signals import Space
from phalanx.model.view import Group, Member, Name, View

# Final: ARCHITECTURE, decision 58.
_fields_of: Final = astuple


def fault_in_traffic(core: Core, sender: Member, body: Data | Ack | Row) -> str | None:
    """Why this cannot come from a correct member.  If it speaks of our view, it is judged by the view's groups; else, as
    these may be unknown here, for itself only.  Changes nothing."""
    if type(body) is Data:
        return _fault_in_data(core, body)
    return _fault_in_ack(core, sender, body) if type(body) is Ack else _fault_in_row(core, sender, body)  # type: ignore[arg-type]  # the third of them


def our_view(core: Core, view: int) -> View | None:
    """The view that the message speaks of, if it is ours."""
    return core.view if core.view is not None and core.view.id == view else None


def _fault_in_data(core: Core, data: Data) -> str | None:
    fields: tuple[int, int, int, int, int, int, int, tuple[int, ...], list[bytes]] = _fields_of(data)
    view, group, author, number, stamp, row, left, after, payloads = fields
    count = len(payloads)
    if not (
        0 <= view < VIEW_MAX
        and author >= 0
        and 1 <= number < COUNT_MAX
        and 0 < stamp < STAMP_MAX
        and 0 <= row < COUNT_MAX
        and WHOLE <= left < COUNT_MAX
    ):
        return "a number of the batch is out of range"
    if not 1 <= count <= PAYLOADS_MAX or (left != WHOLE and count != 1):
        return f"a batch of {count} payloads, {left} fragments left"
    channel = core.channels.get(group)
    if channel is None or channel.view != view:
        return None
    size = len(channel.hosts)
    if author >= size:
        return f"host {author} of {size}"
    if after or channel.is_causal:
        return None if is_vector(after, size if channel.is_causal else 0) else "the batch comes after what cannot be"
    return None


def _fault_in_ack(core: Core, sender: Member, ack: Ack) -> str | None:
    fields: tuple[int, int, int, int, int, tuple[int, ...]] = _fields_of(ack)
    view, group, clock, last, backlog, received = fields
    numbers = 0 <= view < VIEW_MAX and 0 <= last < COUNT_MAX and 0 <= backlog < COUNT_MAX
    if not (numbers and 0 <= clock < STAMP_MAX):
        return "a number of the acknowledgement is out of range"
    channel = core.channels.get(group)
    if channel is not None and channel.view == view:
        hosts: tuple[Name, ...] = channel.hosts
    else:
        ours = our_view(core, view)
        if ours is None:
            return None
        known = ours.group(group)
        hosts = known.hosts if known is not None else ()
    if sender.name not in hosts:
        return f"an acknowledgement in group {group}, of which it is no full host"
    return None if is_vector(received, len(hosts)) else f"an acknowledgement that is not of {len(hosts)} hosts"


def _fault_in_row(core: Core, sender: Member, row: Row) -> str | None:
    if not (0 <= row.view < VIEW_MAX and 0 <= row.number < COUNT_MAX and 0 <= row.busy < COUNT_MAX):
        return "a number of the row is out of range"
    if not 0 <= row.space <= Space.FULL:
        return "a disk that is neither ample, nor low, nor full"
    if not (0 <= row.clock < STAMP_MAX and -WALL_MS_MAX < row.wall < WALL_MS_MAX):
        return "a clock that cannot be"
    view = our_view(core, row.view)
    if view is None:
        return None
    size = len(core.roster.everyone)
    if not (is_vector(row.echo, size) and len(row.others) == size):
        return f"a row that is not of {size} members"
    limit = 1 << size
    masks = 0 <= row.hears < limit and 0 <= row.suspects < limit and 0 <= row.grounds < limit
    if not (masks and are_masks(row.others, size)):
        return "a mask with bits of nobody"
    if len(row.groups) > 1 and not are_unique([g.group for g in row.groups]):
        return "a group twice in one row"
    for part in row.groups:
        channel = core.channels.get(part.group)
        ours = channel is not None and channel.view == row.view
        group = channel.group if channel is not None and ours else view.group(part.group)
        fault = _fault_in_group_row(group, sender.name, part)
        if fault is not None:
            return fault
    return None


def _fault_in_group_row(group: Group | None, name: Name, row: GroupRow) -> str | None:
    if group is None or (name not in group.hosts and name not in group.learners):
        return f"a row of group {row.group}, in which it is not"
    if not is_vector(row.received, len(group.hosts)):
        return f"a row that is not of {len(group.hosts)} hosts"
    if not (0 <= row.released <= row.last < COUNT_MAX and 0 <= row.backlog < COUNT_MAX):
        return "a number of the group's row is out of range"
    return None
