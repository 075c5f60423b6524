"""More than the nodes can do, on real ones (SCENARIOS 39)."""

import asyncio
import contextlib

from phalanx.api.client import connect
from phalanx.api.store import Store
from phalanx.lab.processes import Processes
from phalanx.node.status import Status
from tests.real.cluster import PATIENCE_S, on_processes, one_status, real
from tests.real.test_many_clients import resident

pytestmark = real

FLOOD_S = 1.0
CLIENTS_EACH = 2
"""Of each node."""
CALLS = 600
"""That each client has under way: more than a node takes of one client."""
VALUE = bytes(32 << 10)
"""So all that is asked for at once is 110 MiB, which is more than one node takes from all of its clients."""
ROOM = 400 << 20
"""What a node may hold beyond what it did before: the limits of docs/operations.md, and what Python makes of them."""


class Caller:
    """One place of the flood: puts under its own key, one after the other.  Raises what a put does."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.acknowledged = 0

    async def flood(self, store: Store, until: float) -> None:
        """Put, at least once, until that time of the loop."""
        loop = asyncio.get_running_loop()
        while not self.acknowledged or loop.time() < until:
            await store.put(self.key, (self.acknowledged + 1).to_bytes(8, "big") + VALUE)
            self.acknowledged += 1

    async def found(self, store: Store) -> int:
        entry = await store.get(self.key)
        return int.from_bytes(entry.value[:8], "big") if entry is not None else 0


def members_of(status: Status) -> set[str]:
    return {str(member) for member in (*status.members, *status.learners)}


def test_a_flood_of_puts_costs_no_member_its_place_nor_a_node_its_memory() -> None:
    """No error reaches a caller, nobody is taken for dead, memory has a bound, and all is well when it ends."""

    async def story() -> None:
        async with Processes(options=("--suspect-after-ms", "2000")) as nodes, contextlib.AsyncExitStack() as stack:
            before = await one_status(nodes, 3)
            resting = {name: resident(nodes.pid(name)) for name in nodes.names}
            stores = [
                (await stack.enter_async_context(connect(nodes.addresses[name], timeout_s=PATIENCE_S))).kv()
                for name in nodes.names
                for _ in range(CLIENTS_EACH)
            ]
            callers = [[Caller(b"%d-%d" % (n, call)) for call in range(CALLS)] for n in range(len(stores))]
            until = asyncio.get_running_loop().time() + FLOOD_S
            flood = asyncio.gather(
                *(each.flood(store, until) for store, some in zip(stores, callers, strict=True) for each in some)
            )
            most = dict.fromkeys(nodes.names, 0)
            while not flood.done():
                for name in nodes.names:
                    most[name] = max(most[name], resident(nodes.pid(name)) - resting[name])
                await asyncio.wait([flood], timeout=0.1)
            await flood
            assert max(most.values()) < ROOM, most

            after = await one_status(nodes, 3)
            assert members_of(after) == members_of(before), "somebody was put out and came back"
            for store, some in zip(stores, callers, strict=True):
                found = await asyncio.gather(*(each.found(store) for each in some))
                assert found == [each.acknowledged for each in some]

    on_processes(story())
