"""Disks without room: what a node knows of its own and of the others' (SCENARIOS 8), and what follows from it.

- *Low*: the log still takes records, and the reserve is for what the protocol must write.  Every row says so, and the
  next view makes the node a learner of its durable groups where that leaves enough hosts (`parts.room`).  It keeps its
  vote. As a learner it takes no batches, so it sends nothing to its disk but boundaries of views and ceilings of its
  clock.
- *Full*: the log refuses records, so the node can neither receive nor promise.  It is suspected at once, like one whose
  disk hangs, and becomes a learner of the next view.

Either way its rows keep it heard, its peers keep batches for it within `Limits.slack`, and it asks for nothing; when
there is room again it says so, is sent what it lacks, and is promoted as any learner is.
"""

from phalanx.group.core import Core
from phalanx.model.signals import Room, Space
from phalanx.model.view import Name
from phalanx.parts.room import stepping_back


def told(core: Core, room: Room) -> None:
    """The driver says what this node's disk has left."""
    core.note("room", room.space.name.lower(), room.free)
    core.room = room
    _set(core, core.name, room.space)
    core.row_due = True


def heard(core: Core, name: Name, space: int) -> None:
    """A row says what its sender's disk has left.  Called if it, or anybody's, has too little."""
    if core.short.get(name, Space.AMPLE) != space:
        _set(core, name, Space(space))
    for channel in core.channels.values():
        if channel.group.spec.durable and channel.pause(name, paused=space > 0):
            core.touched[channel.group.id] = channel


def _set(core: Core, name: Name, space: Space) -> None:
    short = {other: known for other, known in core.short.items() if other != name}
    if space:
        short[name] = space
    core.short = short
    core.stirred = True


def begin(core: Core) -> None:
    """A view began: of those that are not in it nothing is known; what is known of the others holds."""
    if core.short:
        core.short = {name: space for name, space in core.short.items() if name in core.roster.members}
        for channel in core.channels.values():
            for name in core.short if channel.group.spec.durable else ():
                channel.pause(name, paused=True)


def holding_up(core: Core) -> list[Name]:
    """Full members that can take part in no view change: their logs refuse every record."""
    view = core.view
    assert view is not None
    return [m.name for m in view.members if core.short.get(m.name) is Space.FULL and m.name != core.name]


def to_step_back(core: Core) -> list[Name]:
    """Hosts that the next view could make learners of some group."""
    view, short = core.view, core.short
    if view is None or not short:
        return []
    going = [stepping_back(g.spec, g.hosts, len(g.everyone), short) for g in view.groups]
    return sorted(frozenset().union(*going))
