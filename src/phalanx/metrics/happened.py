"""What has happened at a node, counted from what it notes and delivers."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from phalanx.api.reports import members_changed
from phalanx.group.channel import Channel
from phalanx.metrics.histogram import Histogram
from phalanx.model.events import Delivered
from phalanx.model.machine import Note
from phalanx.model.view import GroupId, Name, View
from phalanx.node.node import Node

NAMES_KEPT = 256
"""Peers and groups that are in no view any more of which counts are kept: a program may make groups without end."""

K = TypeVar("K")


class Happened:
    """See the module's text."""

    def __init__(self, node: Node) -> None:
        self.view_changes: Counter[str] = Counter()
        """By what changed; one in which several things did counts for each."""
        self.pauses = Histogram()
        """From when this node promised to a coordinator, and so delivered nothing more, until the next view."""
        self.exclusions = 0
        self.suspicions: Counter[Name] = Counter()
        self.messages: Counter[str] = Counter()
        """Of groups of payloads, by name, as all that follows."""
        self.bytes: Counter[str] = Counter()
        self.transfers: Counter[tuple[str, str]] = Counter()
        self.fetched: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        """Batches, of durable groups, if they may have been acknowledged."""
        self._node = node
        self._view: View | None = None
        self._paused_at: int | None = None
        self._suspects: frozenset[Name] = frozenset()
        self._names: dict[GroupId, str] = {}
        self._channels: dict[str, Channel] = {}
        self._sent: Counter[str] = Counter()
        """In the views before the present one, as of batches delivered."""
        self._delivered: Counter[str] = Counter()

    def noted(self, notes: Iterable[Note], now: int) -> None:
        """What the node noted in a turn; it has taken that turn."""
        for note in notes:
            match note.what:
                case "installed":
                    self._installed(now)
                case "promise" if self._paused_at is None:
                    self._paused_at = now
                case "suspects":
                    suspects = frozenset(note.detail)
                    self.suspicions.update(suspects - self._suspects)
                    self._suspects = suspects
                case "node.excluded":
                    self.exclusions += 1
                    self._end_view(None)
                case "transfer.done":
                    group, _, size = note.detail
                    self._transferred(group, "fetched", size)
                case "log.left_out":
                    name, _, count, doubtful = note.detail
                    self.left_out[name] += count * doubtful
                case "snapshot.wanted" | "suffix.given":
                    self._transferred(note.detail[0], "given", 0)

    def delivered(self, deliveries: Iterable[Any]) -> None:
        """What it delivers to the application, besides what its objects take."""
        for each in deliveries:
            if type(each) is Delivered and (name := self._names.get(each.group)) is not None:
                self.messages[name] += len(each.payloads)
                self.bytes[name] += sum(map(len, each.payloads))

    def batches(self) -> Iterable[tuple[str, int, int]]:
        """Of each group that this node takes part in, how many it has sent, and how many are in the state here."""
        for name, channel in self._channels.items():
            yield name, self._sent[name] + channel.last, self._delivered[name] + sum(channel.held.delivered)

    def _transferred(self, group: GroupId, direction: str, size: int) -> None:
        if (name := self._names.get(group)) is not None:
            self.transfers[name, direction] += 1
            self.fetched[name] += size

    def _installed(self, now: int) -> None:
        before, view = self._view, self._node.group.view
        if self._paused_at is not None and before is not None:
            self.pauses.observe(now - self._paused_at)
        self._end_view(view)
        if before is None or view is None:
            return
        reasons = [reason for reason, names in members_changed(before, view).items() if names]
        self.view_changes.update(reasons or ["groups"])

    def _end_view(self, view: View | None) -> None:
        for name, channel in self._channels.items():  # of the view that ended; it is as it was at its end
            self._sent[name] += channel.last
            self._delivered[name] += sum(channel.held.delivered)
        self._view, self._paused_at, self._suspects = view, None, frozenset()
        groups = view.groups if view is not None else ()
        self._names = {group.id: group.spec.name for group in groups}
        self.left_out.update({group.spec.name: 0 for group in groups if group.spec.durable})
        channels = {group.spec.name: self._node.group.channel(group.id) for group in groups}
        self._channels = {name: channel for name, channel in channels.items() if channel is not None}
        peers, names = {m.name for m in view.everyone} if view is not None else set(), set(self._names.values())
        _forget(self.suspicions, lambda name: name in peers)
        for counts in (self.messages, self.bytes, self.fetched, self.left_out, self._sent, self._delivered):
            _forget(counts, lambda name: name in names)
        _forget(self.transfers, lambda key: key[0] in names)


def _forget(counts: Counter[K], is_here: Callable[[K], bool]) -> None:
    """Those that are here no more, from the one that came first, beyond what is kept of these."""
    gone: Sequence[K] = [key for key in counts if not is_here(key)]
    for key in gone[: max(0, len(gone) - NAMES_KEPT)]:
        del counts[key]
