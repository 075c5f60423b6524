"""runtime.memory: a network inside one process."""

import asyncio

from phalanx.model.machine import Refused
from phalanx.runtime.contract import LinkEvent
from phalanx.runtime.loop import run
from phalanx.runtime.memory import MemoryNetwork


class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.links: list[LinkEvent] = []

    def link(self, event: LinkEvent) -> None:
        self.links.append(event)

    def received(self, source: str, body: bytes | memoryview) -> None:
        raise AssertionError(f"{source} says {body!r}")


def test_each_attempt_to_reach_nobody_is_refused_once_a_turn() -> None:
    """Else a client that is sent back to a dead node would wait for an answer."""

    async def main() -> None:
        transport, ear = MemoryNetwork().client(), Ear()
        transport.start(ear)
        for _ in range(3):
            transport.send(["gone"], b"x")
            transport.send(["gone"], b"y")
            transport.flush()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert ear.links == [Refused("gone")] * 3

    run(main())
