"""The measures of a process, as a collector of prometheus-client, and as a page of their own."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import Future
from contextlib import asynccontextmanager

from phalanx.api.arguments import place_of
from phalanx.api.observing import Inside
from phalanx.api.storage import Storage
from phalanx.errors import ConfigurationError
from phalanx.metrics.families import Page
from phalanx.metrics.library import (
    Collector,
    CollectorRegistry,
    GCCollector,
    Metric,
    PlatformCollector,
    ProcessCollector,
)
from phalanx.metrics.server import Server
from phalanx.metrics.watched import Watched
from phalanx.model.machine import Machine
from phalanx.model.view import Address

READ_S_MAX = 5.0
"""How long another thread waits for the process's event loop: as long as a view of it could be of use."""


class Metrics(Collector):
    """The measures of one process: give it to `phalanx.join`, which it watches from then on.

        metrics = Metrics()
        async with metrics.serve("10.0.0.1:9400"), phalanx.join("a", ..., metrics=metrics) as process:
            ...

    Whoever has an exporter of his own registers it there instead: `prometheus_client.REGISTRY.register(metrics)`.

    Nothing is measured unless one of these is given.  Then the costs are, for each turn of the node, a look at what came
    and what it said; everything else is read when it is asked for, without input or output.
    """

    def __init__(self) -> None:
        self._watched: Watched | None = None

    def attach(self, inside: Inside) -> tuple[Machine, Storage]:
        """For `phalanx.join`.  Raises `ConfigurationError` while it watches another process."""
        if self._watched is not None and not self._watched.is_stopped:
            raise ConfigurationError("these metrics are another process's: make one `Metrics` for each")
        self._watched = Watched(inside)
        return self._watched.machine, self._watched.storage

    @property
    def waits(self) -> str:
        """What the node waits for before it is of use, in words to follow its name: "asks to be let in at ...", "waits
        for the state of KV"; "" if it is a full member of a view that hears a quorum, and a host, with their state, of
        all that it is to host.  For the process's loop."""
        return self._watched.waits() if self._watched is not None else "has not begun"

    @property
    def is_stopped(self) -> bool:
        """The node was, and is no more.  For the process's loop."""
        return self._watched is not None and self._watched.is_stopped

    def describe(self) -> Iterable[Metric]:
        """All measures that there may be, for a registry: it refuses others of the same names."""
        return Page().all

    def collect(self) -> Iterable[Metric]:
        """All measures as they are now; none before the process begins.  From any thread: another one than the
        process's waits for its loop.  Raises `TimeoutError` if that does not come to it within 5 s."""
        watched = self._watched
        if watched is None:
            return []
        if not watched.loop.is_running() or _running() is watched.loop:
            return watched.read().metrics
        answer: Future[list[Metric]] = Future()

        def read() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(watched.read().metrics)
                except Exception as error:
                    answer.set_exception(error)

        watched.loop.call_soon_threadsafe(read)
        return answer.result(READ_S_MAX)

    @asynccontextmanager
    async def serve(self, listen: Address, registry: CollectorRegistry | None = None) -> AsyncIterator[Address]:
        """Answer HTTP at that address while the block runs, which is given the address (port 0 takes a free one).

        `/metrics` has the measures, in the text format of Prometheus or, if that is asked for, of OpenMetrics; besides
        them `process_*` and `python_*`; or else what is in `registry`.  `/healthz` is 200 unless the node has stopped,
        `/readyz` if `waits` is empty; otherwise they are 503, and say why.

        It speaks without TLS to whoever can reach the port: take an address that only the monitoring can.  What strangers
        can cost is bounded (see `phalanx.metrics.server`).

        Raises `ConfigurationError` if it is no address, and OSError if it cannot be used.
        """
        host, port = place_of(listen)
        if registry is None:
            registry = CollectorRegistry()
            registry.register(self)
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)
            GCCollector(registry=registry)
        server = Server(registry, lambda: "has stopped" if self.is_stopped else "", lambda: self.waits)
        try:
            yield await server.listen(host, port)
        finally:
            await server.close()


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
