"""What a group's iteration gives: messages, and what becomes of views and of the state."""

from typing import NamedTuple

from phalanx.model.clock import Stamp
from phalanx.model.view import GroupId, Member, View


class Message(NamedTuple):
    """A payload delivered to the group.  `stamp` grows along the total order; `view` is the id of the view."""

    sender: Member
    payload: bytes
    stamp: Stamp
    view: int


class Changed(NamedTuple):
    """A new view: what was delivered before belongs to the views before."""

    view: View

    def __repr__(self) -> str:
        return f"<phalanx.Changed: {self.view}>"


class Founded(NamedTuple):
    """The group begins here, with an empty state: at its creation, or anew after all processes that held its state had
    failed.  What a process has from before is not the group's.  `id` is the group's identity, never used again."""

    id: GroupId


class Recovered(NamedTuple):
    """An operator has had the cluster go on with what one node's log held (`phalanx recover`): all of that has been
    delivered before this.  Something that others were delivered may be missing, and some of it no other was delivered."""

    id: GroupId


class Restored(NamedTuple):
    """The group's state is now this snapshot: `restore`, if there is one, has just been called with it."""

    data: bytes


class Excluded(NamedTuple):
    """This process is out of the cluster; it returns by itself under a new incarnation.  From here on its state is old,
    and what it had sent has an unknown outcome, until `Restored` or `Founded` says what the state is."""

    reason: str


class Lost(NamedTuple):
    """All processes that held the group's state failed: it is gone.  `Founded` follows where the group begins anew."""

    id: GroupId


Event = Message | Changed | Founded | Recovered | Restored | Excluded | Lost
