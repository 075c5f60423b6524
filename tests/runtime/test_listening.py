"""A transport that is closed as it begins to listen."""

import asyncio

from phalanx.runtime.transport import TcpTransport
from tests.runtime.toys import PATIENCE_S, running, say

HOST = "127.0.0.1"


def test_who_stops_as_it_begins_to_listen_leaves_its_successor_all_connections() -> None:
    """On asyncio's own loop, which looked for connections under the number of a socket that was closed: its successor had
    that number, and was not looked at."""

    async def work() -> None:
        async with asyncio.timeout(PATIENCE_S):
            for turns in range(4):
                async with running(await TcpTransport.listen(HOST, 0)):
                    for _ in range(turns):
                        await asyncio.sleep(0)
                async with (
                    running(await TcpTransport.listen(HOST, 0)) as (successor, ear),
                    running(TcpTransport.client()) as (client, _),
                ):
                    say(client, successor.address, "first")
                    await ear.event(("~1", "first"))

    asyncio.run(work())
