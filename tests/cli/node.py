"""One node of a store on a real socket, in a thread, for commands to talk to."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from phalanx.api.joining import join
from phalanx.api.tls import TLS
from phalanx.runtime.loop import run
from phalanx.services.store.kv import KV

PATIENCE_S = 30.0
"""It stops what hangs and judges no speed."""


@contextmanager
def a_node(tls: TLS | None = None, *, listen: str = "127.0.0.1:0", advertise: str | None = None) -> Iterator[str]:
    """Its address."""
    ready = threading.Event()
    found: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with join(
            "a", listen=listen, advertise=advertise, bootstrap=True, objects={"KV": (KV, 0)}, tls=tls
        ) as process:
            done = asyncio.Event()
            found.append((process.address, asyncio.get_running_loop(), done))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: run(serve()))
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield found[0][0]
    finally:
        for _, loop, done in found:  # also of a test that has failed, or the process would never end
            loop.call_soon_threadsafe(done.set)
        thread.join(PATIENCE_S)
