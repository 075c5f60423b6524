"""Watchers of the store in the scenario `store`, and what they must have seen (SCENARIOS 33, 40).

Each follows a key or a range, from the beginning or from now on, takes its batches at its own pace, and must have seen
exactly what the log has for it: nothing lost, doubled, out of order or from the past, whatever node told it.
"""

from typing import Any

import msgspec

from phalanx.model.view import GroupId
from phalanx.replication.following import FROM_NOW, Ended, Fed
from phalanx.replication.messages import Reason
from phalanx.replication.objects import Operation
from phalanx.services.store.values import Event, Feed, position_of, revision_of


class Watcher:
    """One watch, and everything that it was told."""

    def __init__(
        self,
        token: int,
        span: tuple[bytes, bytes | None],
        position: int,
        previous: bool,
        pace_ns: int,
        acknowledged: dict[GroupId, int],
    ) -> None:
        self.token = token
        self.start, self.end = span
        self.begun = position
        self.previous = previous
        self.pace_ns = pace_ns
        """How long it takes over each batch."""
        self.acknowledged = acknowledged
        """By group: the greatest revision that any client knew of when the watch was asked for."""
        self.identity: GroupId = 0
        self.position = position
        self.events: list[Event] = []
        self.ended: Ended | None = None

    def take(self, fed: Fed, operation: Operation) -> str | None:
        """A batch, or a sign of life.  What is wrong with it at first sight."""
        if self.identity not in (0, fed.identity):
            return f"watch of two groups: {self.identity} and {fed.identity}"
        if self.begun == FROM_NOW and self.identity == 0:
            least = self.acknowledged.get(fed.identity, 0)
            first = operation.read(fed.data).events[0].revision if fed.data else revision_of(fed.position) + 1
            if first <= least:
                return f"watch from the past: it begins at {first}, and {least} had been acknowledged"
            self.begun = (first << 20) - 1
        self.identity = fed.identity
        if fed.position < self.position:
            return f"watch goes back: from {self.position} to {fed.position}"
        if fed.data:
            feed: Feed = operation.read(fed.data)
            for event in feed.events:
                if self.events and position_of(event) <= position_of(self.events[-1]):
                    return f"watch repeats: {event} after {self.events[-1]}"
                self.events.append(event)
        self.position = fed.position
        return None

    def wrong(self, log: list[Event]) -> str | None:
        """At the end: what it was told, against the log of the group that it followed."""
        expected = [
            event if self.previous else msgspec.structs.replace(event, previous=None)
            for event in log
            if self.begun < position_of(event) <= self.position
            and self.start <= event.key
            and (self.end is None or event.key < self.end)
        ]
        if self.events == expected:
            return None
        missing = [event for event in expected if event not in self.events]
        return f"watch differs: {len(self.events)} of {len(expected)} events seen, missing {missing[:1]}"

    def done(self, identity: GroupId, position: int) -> bool:
        """Has it been told everything, or why not?"""
        return self.ended is not None or (self.identity == identity and self.position >= position)

    def ended_wrongly(self, ended: Ended) -> str | None:
        """The only ends that the scenario gives reason for."""
        compacted: Any = ended.raised is not None and ended.raised.type_name == "Compacted"
        if compacted or ended.reason is Reason.LOST:
            return None
        return f"watch ended: {ended}"
