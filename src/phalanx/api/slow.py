"""Methods of users' classes that hold up their node: each runs between two turns of its loop, in which it hears nobody
and is not heard, and a command does so at all hosts at about the same time.

The store's own are not timed: its limits bound what one of them does, and there are many of them.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from phalanx.group.config import Timing
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.replicated import Context
from phalanx.model.view import Name
from phalanx.replication.conversion import Conversion
from phalanx.replication.objects import ObjectType, Operation, TickHook
from phalanx.replication.outcome import Returned
from phalanx.replication.positions import Fed
from phalanx.services.store.kv import KV

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
            if each.cls is not KV:
                for operation in each.operations.values():
                    operation.watcher, operation.feed_watcher = self._run, self._feed
                for hook in (each.tick, each.recovered):
                    if hook is not None:
                        hook.watcher = self._run
            if each.conversion is not None:
                each.conversion.watcher = self._convert
        return kind

    def _run(
        self, operation: Operation | TickHook, instance: Any, arguments: tuple[Any, ...], context: Context
    ) -> Returned:
        began = self._clock()
        try:
            return operation.perform(instance, arguments, context)
        finally:
            self._took(operation.where, began)

    def _feed(self, operation: Operation, instance: Any, arguments: tuple[Any, ...], position: int) -> Fed:
        began = self._clock()
        try:
            return operation.perform_feed(instance, arguments, position)
        finally:
            self._took(operation.where, began)

    def _convert(self, conversion: Conversion, former: Any) -> Any:
        began = self._clock()
        try:
            return conversion.perform(former)
        finally:
            self._took(conversion.where, began)

    def _took(self, where: str, began: int) -> None:
        now = self._clock()
        if now - began > self._timing.heartbeat:
            self._tell(where, now, (now - began) // MILLISECOND)

    def _tell(self, where: str, now: int, took_ms: int) -> None:
        self._counts[where] = self._counts.get(where, 0) + 1
        if now - self._told_at.get(where, now - AGAIN_NS) < AGAIN_NS:
            return
        self._told_at[where] = now
        limits = [each // MILLISECOND for each in (self._timing.heartbeat, self._timing.suspect_after)]
        text = "%s: %s took %d ms, longer than a heartbeat (%d ms; so far %d times): meanwhile the node hears and says "
        text += "nothing, and who is silent for %d ms is suspected"
        log.warning(text, self._name, where, took_ms, limits[0], self._counts[where], limits[1])
