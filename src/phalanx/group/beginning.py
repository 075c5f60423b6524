"""Whether a log that was shortened has what it was shortened to (group/compaction.py).

Its oldest files are removed once a round is durable: the view that this node is in, said again, and behind it a snapshot
of each durable group that it is in there.  A log whose oldest file is not the first it ever had, and which has no such
round, has lost files that were needed.  It must not be read as that of a node to which nothing had happened.
"""

from collections.abc import Iterable

from phalanx.group.messages import Chunk, Record, Turned
from phalanx.model.view import GroupId, Name, View


def lacks_beginning(records: Iterable[Record], me: Name) -> bool:
    """Whether such a log of the node of that name has no whole round.  Reads no further than to the end of the first."""
    view: View | None = None
    awaited: set[GroupId] = set()
    tokens: dict[GroupId, int] = {}
    for record in records:
        if isinstance(record, Turned):
            view = record.value.view
            awaited = {group.id for group in view.groups if group.spec.durable and me in group.everyone}
            tokens.clear()
        elif isinstance(record, Chunk) and view is not None and record.view == view.id:
            if record.offset == 0:
                tokens[record.group] = record.token
            if record.digest and tokens.get(record.group) == record.token:
                awaited.discard(record.group)
        if view is not None and not awaited:
            return False
    return True


def lacks_beginning_for_all(records: Iterable[Record]) -> bool:
    """The same, whosever log it is: it has no whole round for any node that it mentions.  They are iterated again and
    again."""
    names = {member.name for record in records if isinstance(record, Turned) for member in record.value.view.everyone}
    return all(lacks_beginning(records, name) for name in names)
