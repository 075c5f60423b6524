"""A class is replaced on real nodes, restarted one by one by SIGKILL, under load (SCENARIOS 22)."""

import asyncio

from phalanx.api.client import Client
from phalanx.errors import OutcomeUnknown
from phalanx.testing.cluster import cluster
from phalanx.testing.nodes import Nodes
from tests.api.accounts import Account, AccountV1, Slow
from tests.real.cluster import on_processes, real

pytestmark = real

CALLERS = 4


class Load:
    """Callers that add one after the other, with the class that they have, as long as they are told to."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._over = False
        self.done = 0
        self.unknown = 0
        self._answered = asyncio.Event()

    async def call(self, number: int) -> None:
        while not self._over:
            try:
                if number % 2:
                    await self._client.object(Account).call(Account.add, 1)
                else:
                    await self._client.object(AccountV1, "Account").call(AccountV1.add, 1)
            except OutcomeUnknown:
                self.unknown += 1
            else:
                self.done += 1
                self._answered.set()

    async def some(self, count: int) -> None:
        """Until so many more have been answered."""
        goal = self.done + count
        while self.done < goal:
            self._answered.clear()
            await self._answered.wait()

    def end(self) -> None:
        self._over = True


async def versions(nodes: Nodes) -> set[int]:
    """Those that the nodes say the object runs."""
    groups = [group for status in (await nodes.statuses()).values() if status is not None for group in status.groups]
    return {group.version for group in groups if group.name == "Account"}


def test_a_durable_object_goes_over_to_a_new_class_under_load_and_no_answer_is_lost() -> None:
    async def story() -> None:
        async with cluster(objects={"Account": AccountV1}, durable=True, real=True) as nodes, nodes.connect() as client:
            load = Load(client)
            async with asyncio.TaskGroup() as callers:
                for number in range(CALLERS):
                    callers.create_task(load.call(number))
                for name in nodes.names:
                    await load.some(20)
                    await nodes.restart(name, classes={"Account": Account})
                    await nodes.wait_until_full()
                while await versions(nodes) != {2}:
                    await load.some(20)
                await load.some(20)
                load.end()
            handle = client.object(Account)
            total = await handle.call(Account.read)
            assert load.done <= total <= load.done + load.unknown
            assert await handle.call(Account.add_cents, 1) == total * 100 + 1
            for name in nodes.names:
                await nodes.kill(name)
            for name in nodes.names:
                await nodes.start(name)
            await nodes.wait_until_full()
            assert await handle.call(Account.add_cents, 1) == total * 100 + 2, "its logs are from before and after"

    on_processes(story())


def test_a_node_that_is_restarted_after_a_long_conversion_does_not_do_it_again() -> None:
    """It was silent for longer than `suspect_after` while it read its log, put out, and so on without end."""

    async def story() -> None:
        async with cluster(objects={"Account": AccountV1}, durable=True, real=True) as nodes, nodes.connect() as client:
            await client.object(AccountV1, "Account").call(AccountV1.add, 7)
            for name in nodes.names:
                await nodes.restart(name, classes={"Account": Slow})
                await nodes.wait_until_full()
            former = client.object(AccountV1, "Account")
            while await versions(nodes) != {2}:
                await former.call(AccountV1.add, 0)
            for _ in range(100):  # the logs are written anew before they take these
                await former.call(AccountV1.add, 0)
            for name in nodes.names:
                await nodes.restart(name)
                await nodes.wait_until_full(timeout_s=20.0)
            assert await client.object(Slow, "Account").call(Slow.add, 1) == 8

    on_processes(story())
