"""Global states of a running group through the public interface: consistent under traffic, void when the view changes."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest

import phalanx
from phalanx.api.events import Message
from phalanx.api.groups import Group
from tests.api.cluster import PATIENCE_S, TIMING

T = TypeVar("T")

START = 100


class Account:
    """A member's money; what it sends away is the receiver's once that has read it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.balance = START
        self.group: Group
        self.recorded = asyncio.Event()

    def record(self) -> bytes:
        self.recorded.set()
        return str(self.balance).encode()

    async def open(self, process: phalanx.Process, order: str) -> None:
        self.group = await process.group("bank", order, record=self.record)

    async def follow(self) -> None:
        async for message in self.group:
            target, _, amount = message.payload.decode().partition(" ")
            if target == self.name:
                self.balance += int(amount)

    async def pay(self, target: str, amount: int) -> None:
        await self.group.send(f"{target} {amount}".encode())
        self.balance -= amount

    async def pay_on(self, targets: list[str], times: int) -> None:
        for number in range(times):
            await self.pay(targets[number % len(targets)], 1 + number % 3)
            await asyncio.sleep(0)


def money(state: phalanx.GlobalState) -> int:
    """All there is: what is under way belongs to its target, wherever else it is under way to."""
    moving = 0
    for (_, target), payloads in state.channels.items():
        for payload in payloads:
            to, _, amount = payload.decode().partition(" ")
            moving += int(amount) if to == target else 0
    return sum(map(int, state.states.values())) + moving


def run(work: Coroutine[Any, Any, T]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(PATIENCE_S):
            return await work

    return phalanx.run(limited())


@pytest.mark.parametrize("order", ["fifo", "causal", "total"])
def test_money_is_neither_made_nor_lost_while_it_moves(order: str) -> None:
    async def work() -> list[phalanx.GlobalState]:
        async with phalanx.local(3, timing=TIMING) as cluster, asyncio.TaskGroup() as tasks:
            accounts = [Account(process.name) for process in cluster.processes]
            for account, process in zip(accounts, cluster.processes, strict=True):
                await account.open(process, order)
            readers = [tasks.create_task(account.follow()) for account in accounts]
            names = [account.name for account in accounts]
            payers = [tasks.create_task(account.pay_on(names, 300)) for account in accounts]
            states = []
            while not all(payer.done() for payer in payers):
                states += await asyncio.gather(*(account.group.global_state() for account in accounts))
            for reader in readers:
                reader.cancel()
            return states

    states = run(work())
    assert {money(state) for state in states} == {3 * START}
    assert {tuple(state.states) for state in states} == {("a", "b", "c")}
    assert any(state.in_transit for state in states)


def test_a_stable_predicate_is_detected() -> None:
    """Termination: nobody has work, and none is under way.  A piece of work makes another one until it is used up."""

    async def work() -> tuple[phalanx.GlobalState, int, int]:
        async with phalanx.local(3, timing=TIMING) as cluster:
            done = 0
            groups = {p.name: await p.group("work", "fifo", record=lambda: b"idle") for p in cluster.processes}
            names = list(groups)

            async def follow(name: str) -> None:
                nonlocal done
                async for message in groups[name]:
                    target, _, left = message.payload.decode().partition(" ")
                    if target == name:
                        done += 1
                        if left != "0":
                            following = names[(names.index(name) + 1) % len(names)]
                            await groups[name].send(f"{following} {int(left) - 1}".encode())

            readers = [asyncio.create_task(follow(name)) for name in names]
            await groups["a"].send(b"b 200")
            found = await groups["c"].detect(lambda state: not state.in_transit, every_s=0.001)
            first = done
            for _ in range(100):
                await asyncio.sleep(0)
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            return found, first, done

    found, first, last = run(work())
    assert first == last == 201
    assert found.in_transit == 0


def test_a_snapshot_that_a_view_change_spoils_says_so_and_the_next_one_is_whole() -> None:
    async def work() -> tuple[str, phalanx.GlobalState]:
        async with phalanx.local(3, timing=TIMING) as cluster:
            accounts = [Account(process.name) for process in cluster.processes]
            for account, process in zip(accounts, cluster.processes, strict=True):
                await account.open(process, "total")
            readers = [asyncio.create_task(account.follow()) for account in accounts[:2]]  # c reads nothing
            asked = asyncio.create_task(accounts[0].group.global_state())
            await accounts[1].recorded.wait()
            await cluster.kill("c")
            with pytest.raises(phalanx.Unavailable) as raised:
                await asked
            state = await accounts[0].group.global_state()
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            return str(raised.value), state

    said, state = run(work())
    assert "before all of its hosts had reported" in said
    assert state.states == {"a": b"100", "b": b"100"}


def test_what_a_process_that_leaves_asked_for_is_unavailable() -> None:
    async def work() -> str:
        async with phalanx.local(1, timing=TIMING) as cluster:
            (process,) = cluster.processes
            group = await process.group("g", "fifo", record=lambda: b"")
            asked = asyncio.create_task(group.global_state())
            await asyncio.sleep(0)
        with pytest.raises(phalanx.Unavailable) as raised:
            await asked
        return str(raised.value)

    assert "no snapshot was taken" in run(work())


def test_the_reader_is_not_to_wait_for_itself() -> None:
    async def work() -> None:
        async with phalanx.local(1, timing=TIMING) as cluster:
            (process,) = cluster.processes
            group = await process.group("g", "fifo", record=lambda: b"")
            await group.send(b"x")
            async for message in group:
                assert isinstance(message, Message) and message.payload == b"x"
                with pytest.raises(RuntimeError, match="would wait for what it has to read"):
                    await group.global_state()
                break

    run(work())


def test_what_makes_no_sense_is_refused() -> None:
    async def work() -> None:
        async with AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(phalanx.local(2, timing=TIMING))
            first, second = cluster.processes
            with pytest.raises(phalanx.ConfigurationError, match="fifo, causal or total"):
                await first.group("g", "unordered", record=lambda: b"")
            plain = await first.group("plain", "fifo")
            with pytest.raises(phalanx.ConfigurationError, match="give `record`"):
                await plain.global_state()
            with pytest.raises(phalanx.Refused):
                await second.group("plain", "fifo", record=lambda: b"")

    run(work())


def test_a_payload_at_the_limit_leaves_room_for_what_a_snapshot_adds() -> None:
    async def work() -> None:
        limits = phalanx.Limits(payload=100)
        async with phalanx.local(1, timing=TIMING, limits=limits) as cluster:
            group = await cluster.processes[0].group("g", "fifo", record=lambda: b"")
            await group.send(b"x" * 99)
            with pytest.raises(phalanx.TooLarge):
                await group.send(b"x" * 100)

    run(work())
