"""Acknowledgements that make no turn of their own (`model.machine.Patient`).

Of the acknowledgements of a batch only the last has anything follow from it: before that nothing is stable, so nothing is
delivered, nothing forgotten, and the window is as full as it was.
"""

from collections.abc import Collection

from phalanx.group.channel import Channel
from phalanx.group.core import Core
from phalanx.group.messages import Ack, Envelope
from phalanx.model.machine import Received
from phalanx.model.view import GroupId, Name


class Patience:
    """The part of a node that knows for what of its traffic nothing is to be done yet."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._put_off: dict[GroupId, set[Name]] = {}
        """Whose acknowledgements wait for the next step."""

    def stepped(self) -> None:
        """What waited has been absorbed."""
        if self._put_off:
            self._put_off = {}

    def can_wait(self, event: Received) -> bool:
        """It is an acknowledgement that others' must follow before there is anything to deliver, or room to send more.
        Of each member one may wait, so that what waits is bounded.  For views at rest."""
        envelope = event.message
        if type(envelope) is not Envelope or type(envelope.body) is not Ack:
            return False
        core, ack, name = self.core, envelope.body, envelope.sender.name
        channel = core.channels.get(ack.group)
        if channel is None or channel.view != ack.view or name not in channel.places or core.seats[ack.group].queue:
            return False
        known = self._put_off.setdefault(ack.group, set())
        if name in known:
            return False
        known.add(name)
        return waits_for_more(channel, known)


def waits_for_more(channel: Channel, than: Collection[Name]) -> bool:
    """Nothing can be delivered there before others than these, or our own disk, have shown more: all that is received
    and not delivered is our own, and somebody else lacks the first of it."""
    me, pending = channel.me, channel.held.pending
    if me < 0 or not channel.group.spec.is_uniform or not pending[me]:
        return False
    for author, queue in enumerate(pending):
        if queue and author != me:
            return False
    first, shown = pending[me][0].number, channel.matrix.shown
    return any(shown[at][me] < first and name not in than for at, name in enumerate(channel.hosts))
