"""Commands, queries and ticks that hold up their node: each runs between two turns of its loop, in which it hears nobody
and is not heard, and a command does so at all hosts at about the same time.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from phalanx.group.config import Timing
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.replicated import Context
from phalanx.model.view import Name
from phalanx.replication.objects import ObjectType, Operation, TickHook
from phalanx.replication.outcome import Returned

T = TypeVar("T")

log = logging.getLogger("phalanx")

AGAIN_NS = 60 * SECOND
"""How often the same method is told of again."""


class Slow:
    """Of one process.  `counts`: by class and method, how often each took longer than a heartbeat."""

    def __init__(
        self,
        name: Name,
        timing: Timing,
        counts: dict[str, int],
        kinds: Iterable[ObjectType[Any]] = (),
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._name = name
        self._timing = timing
        self._counts = counts
        self._clock = clock
        self._told_at: dict[str, int] = {}
        for kind in kinds:
            self.watch(kind)

    def watch(self, kind: ObjectType[T]) -> ObjectType[T]:
        """The class, which is of this process alone, looked after from now on, in all versions that there are."""
        for each in kind.versions.values():
            for operation in each.operations.values():
                operation.watcher = self._run
            if each.tick is not None:
                each.tick.watcher = self._run
        return kind

    def _run(
        self, operation: Operation | TickHook, instance: Any, arguments: tuple[Any, ...], context: Context
    ) -> Returned:
        began = self._clock()
        try:
            return operation.perform(instance, arguments, context)
        finally:
            now = self._clock()
            if now - began > self._timing.heartbeat:
                self._tell(operation.where, now, (now - began) // MILLISECOND)

    def _tell(self, where: str, now: int, took_ms: int) -> None:
        self._counts[where] = self._counts.get(where, 0) + 1
        if now - self._told_at.get(where, now - AGAIN_NS) < AGAIN_NS:
            return
        self._told_at[where] = now
        limits = [each // MILLISECOND for each in (self._timing.heartbeat, self._timing.suspect_after)]
        text = "%s: %s took %d ms, longer than a heartbeat (%d ms; so far %d times): meanwhile the node hears and says "
        text += "nothing, and who is silent for %d ms is suspected"
        log.warning(text, self._name, where, took_ms, limits[0], self._counts[where], limits[1])
