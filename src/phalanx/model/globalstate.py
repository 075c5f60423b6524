"""A global state, as a value (see replication/globalstate.py for how it is taken)."""

import msgspec

from phalanx.model.view import Name


class GlobalState(msgspec.Struct, frozen=True):
    """A consistent cut through the group.

    view: the id of the view that it belongs to.  states: by the name of the host, what it recorded.  channels: by the
    names of who sent and of who was to receive, the payloads that the one's state shows as sent and the other's does not
    show as received, in order.  A payload is multicast to all, so it may be under way to several.
    """

    view: int
    states: dict[Name, bytes]
    channels: dict[tuple[Name, Name], tuple[bytes, ...]]

    @property
    def in_transit(self) -> int:
        """How many payloads are in the channels, each counted once for every host that it is under way to."""
        return sum(map(len, self.channels.values()))
