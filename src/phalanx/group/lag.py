"""Members that hold up their groups (DESIGN section 7): what a node holds against those that are slow, and not silent."""

from phalanx.group import room
from phalanx.group.core import Core
from phalanx.model.view import Name
from phalanx.parts.quorum import is_quorum


class Lag:
    """The part of a node that judges who is too slow."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.at = 0
        """When it is judged again: often enough beside `demote_after`, and not in every turn."""
        self.due: list[int] = []
        """Of each group in which somebody is behind, when the longest lag becomes too long."""

    def begin(self) -> None:
        """A view began."""
        self.due = []

    def excuse(self, pause: int) -> None:
        """We were not stepped for that long: what the others have shown meanwhile is still unread."""
        for channel in self.core.channels.values():
            channel.excuse(pause)

    def judge(self) -> None:
        """Full hosts that alone hold up the others go on as learners, as long as enough full members remain."""
        core = self.core
        view = core.view
        if view is None or not core.active or core.now.mono < self.at:
            return
        self.at = core.now.mono + core.timing.demote_after // 8
        lagging: set[Name] = set()
        self.due = []
        for channel in core.busy.values():
            lagging |= channel.laggards(core.now.mono, core.timing.demote_after)
            if (due := channel.lag_due(core.timing.demote_after)) is not None:
                self.due.append(due)
        if core.short:
            lagging.update(room.holding_up(core))
        for group in view.groups:  # to go on without them would end a group that nobody has lost
            if set(group.hosts) <= lagging:
                lagging -= set(group.hosts)
        if lagging and 2 * (len(view.members) - len(lagging)) <= len(view.everyone):
            lagging = set()
        # One that was restarted and votes, or is frozen, receives nothing: where it is needed, it is not to be accused.
        without = lagging | (core.suspects - core.detector.lagging)
        if lagging and not is_quorum(view, [m.name for m in view.members if m.name not in without]):
            lagging = set()
        if lagging - core.detector.lagging:
            core.note("lag", *sorted(lagging))
        core.detector.lag(frozenset(lagging))

    def deadline(self, first: int) -> int:
        """When somebody may have become too slow, if that is before `first`.  Only while active."""
        for due in self.due:
            if self.core.now.mono < due < first:
                first = due
        return first
