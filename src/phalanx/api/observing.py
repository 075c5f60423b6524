"""Who looks on while a process runs: what is measured is measured at the seams between its parts, if asked for."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from phalanx.api.hosted import Uses
from phalanx.api.storage import Storage
from phalanx.model.machine import Machine
from phalanx.node.node import Node
from phalanx.runtime.contract import Transport


class Inside(NamedTuple):
    """What a process is made of, to look at."""

    node: Node
    transport: Transport
    storage: Storage
    uses: Uses
    """What it is to host."""
    is_stopped: Callable[[], bool]
    """The node is no more: it was closed, or something broke it.  To be asked once the process has begun."""


@runtime_checkable
class Observer(Protocol):
    """Looks on at one process.  `phalanx.metrics.Metrics` is one."""

    def attach(self, inside: Inside) -> tuple[Machine, Storage]:
        """The process is about to begin: give what its driver is to work with in place of the node and the storage, which
        does the same as they do.  Raises `ConfigurationError` if it looks on elsewhere."""


def observed(inside: Inside, observer: Observer | None) -> tuple[Machine, Storage]:
    """What the driver works with."""
    return (inside.node, inside.storage) if observer is None else observer.attach(inside)


def check_observer(observer: object) -> None:
    """Raises `TypeError` for what is none."""
    if observer is not None and not isinstance(observer, Observer):
        raise TypeError(f"metrics is a phalanx.metrics.Metrics, not {observer!r}")
