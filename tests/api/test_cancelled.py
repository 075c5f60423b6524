"""Whoever is cancelled in the middle of something, once or again on the way out, leaves nothing behind."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import phalanx
from phalanx import recipes
from phalanx.api.backup.files import in_thread
from phalanx.api.guard import Guard
from phalanx.api.local import Cluster, local
from phalanx.errors import LeaseLost
from phalanx.runtime.loop import run
from tests.api.accounts import AccountV1
from tests.api.cluster import PATIENCE_S, PATIENT, in_cluster
from tests.cancelling import WOKEN, cut_everywhere, run_cut

STEPS = range(0, 60, 3)
"""After how many turns of the loop the next cancellation comes."""


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def ends(task: "asyncio.Task[Any]") -> None:
    with pytest.raises(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """By far earlier than any lease ends, as those of these tests are long."""
    while not await condition():
        await asyncio.sleep(0)


async def no_leases(store: phalanx.Store) -> bool:
    return not await store.leases()


def test_a_lease_that_is_being_granted_to_who_is_cancelled_is_given_back() -> None:
    async def work(_: Cluster, store: phalanx.Store) -> None:
        async def hold() -> None:
            async with store.lease(3_600):
                await asyncio.Event().wait()

        for count in STEPS:
            holding = asyncio.create_task(hold())
            await steps(count)
            holding.cancel()
            await ends(holding)
        await until(lambda: no_leases(store))
        lease = store.lease(3_600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), lease:
                pass
        async with lease:  # it may be begun again
            pass

    in_cluster(work)


def test_a_lock_is_given_up_though_who_held_it_is_cancelled_again_on_the_way_out() -> None:
    async def work(_: Cluster, store: phalanx.Store) -> None:
        async def hold(held: asyncio.Event) -> None:
            async with recipes.lock(store, b"door", ttl_s=3_600):
                held.set()
                await asyncio.Event().wait()

        for count in STEPS:
            held = asyncio.Event()
            holding = asyncio.create_task(hold(held))
            await held.wait()  # which is the test: the one before has given it up
            holding.cancel()
            for _again in range(2):
                await steps(count)
                holding.cancel()
            await ends(holding)
        await until(lambda: no_leases(store))

    in_cluster(work)


def test_a_get_that_is_cancelled_again_while_it_puts_back_takes_nothing() -> None:
    async def work(_: Cluster, store: phalanx.Store) -> None:
        queue = recipes.Queue(store, b"jobs")
        for count in STEPS:
            await queue.put(b"it")
            getting = asyncio.create_task(queue.get())
            await steps(count)
            for _again in range(3):
                getting.cancel()
                await asyncio.sleep(0)
            try:
                assert await getting == b"it"
            except asyncio.CancelledError:
                async with asyncio.timeout(PATIENCE_S / 3):
                    assert await queue.get() == b"it"

    in_cluster(work)


def test_a_node_whose_block_is_cancelled_again_while_it_ends_lets_go_of_its_directory_first(tmp_path: Path) -> None:
    async def take_part(joined: asyncio.Event) -> None:
        objects = {"KV": phalanx.Hosted(phalanx.KV, durable=True)}
        async with phalanx.join("a", bootstrap=True, data=tmp_path, objects=objects) as process:
            await process.client().kv().put(b"colour", b"blue")
            joined.set()
            await asyncio.Event().wait()

    async def work() -> None:
        async with asyncio.timeout(PATIENCE_S):
            for count in range(8):
                joined = asyncio.Event()
                running = asyncio.create_task(take_part(joined))
                while not joined.is_set() and not running.done():
                    await asyncio.sleep(0)
                for _ in range(4):
                    running.cancel()
                    await steps(count)
                await ends(running)  # from here on the next one may begin

    run(work())


def test_a_node_that_is_ended_with_its_loop_lets_go_of_its_directory(tmp_path: Path) -> None:
    """The loop's end cancels whatever is left of it: in its first turns also what ends the node."""

    async def be_there(joined: asyncio.Event) -> None:
        objects = {"KV": phalanx.Hosted(phalanx.KV, durable=True)}
        async with phalanx.join("a", bootstrap=True, data=tmp_path, objects=objects) as process:
            writing = asyncio.create_task(process.client().kv().put(b"colour", b"blue"))
            joined.set()
            await writing
            await asyncio.Event().wait()

    async def begin_and_go(turns: int) -> None:
        joined = asyncio.Event()
        running = asyncio.create_task(be_there(joined))
        while not joined.is_set():
            assert not running.done(), running
            await asyncio.sleep(0)
        running.cancel()
        await steps(turns)

    for turns in range(12):
        run(begin_and_go(turns))  # which finds the directory free


def test_all_of_a_local_cluster_ends_whenever_its_block_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    processes: list[phalanx.Process] = []
    start = phalanx.Process.start

    def started(process: phalanx.Process) -> None:
        start(process)
        processes.append(process)

    monkeypatch.setattr(phalanx.Process, "start", started)

    async def block() -> None:
        async with local(2, objects={"KV": (phalanx.KV, 0)}, timing=PATIENT) as cluster:
            await asyncio.gather(*(cluster.client().kv().get(b"x") for _ in range(2)))

    async def work() -> None:
        async for cancelled in cut_everywhere(block, again=1):
            async with asyncio.timeout(PATIENCE_S):
                for process in processes:
                    await process.wait()
            assert cancelled.task.cancelled() == bool(cancelled.cancelled)
            processes.clear()

    run(work())


def test_a_double_barrier_is_left_at_once_by_who_is_cancelled_though_no_node_answers() -> None:
    async def work(cluster: Cluster, store: phalanx.Store) -> None:
        begun = asyncio.Event()

        async def take_part() -> None:
            impatient = cluster.client(0.05).kv()
            async with recipes.double_barrier(impatient, b"step", 1, ttl_s=3_600):
                begun.set()
                await asyncio.Event().wait()

        await store.get(b"x")
        taking_part = asyncio.create_task(take_part())
        await begun.wait()
        cluster.pause("a")
        taking_part.cancel()
        await ends(taking_part)  # and not by what the store did not answer

    in_cluster(work, 1)


def test_who_is_cancelled_when_a_loss_that_the_block_ignored_is_over_is_cancelled() -> None:
    async def ignores(guard: Guard) -> None:
        guard.enter(cancels=True)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await guard.leave(None)

    async def work() -> None:
        for again in (False, True):
            guard = Guard()
            leaving = asyncio.create_task(ignores(guard))
            await asyncio.sleep(0)
            guard.lose(LeaseLost("it has ended"))
            await asyncio.sleep(0)  # it is about to leave
            if again:
                leaving.cancel()
                await ends(leaving)
            else:
                await leaving

    run(work())


def test_who_gives_up_leaving_waits_for_nothing_any_more() -> None:
    async def work(cluster: Cluster, _: phalanx.Store) -> None:
        before = asyncio.all_tasks()
        leaving = asyncio.create_task(cluster["a"].leave())
        await asyncio.sleep(0)
        leaving.cancel()
        await ends(leaving)
        assert all(task.cancelling() for task in asyncio.all_tasks() - before)

    in_cluster(work)


def test_work_in_a_thread_is_over_when_who_asked_for_it_goes_on_and_its_error_is_nobodys() -> None:
    told: list[Any] = []

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        begun, go_on = threading.Event(), threading.Event()

        def write() -> None:
            begun.set()
            go_on.wait(PATIENCE_S)
            raise OSError("the disk is gone")

        writing = asyncio.create_task(in_thread(write))
        await asyncio.to_thread(begun.wait)
        for _ in range(3):
            writing.cancel()
            await steps(3)
            assert not writing.done()
        go_on.set()
        await ends(writing)

    run(work())
    gc.collect()
    assert not told


def test_a_watch_that_was_ended_by_the_store_is_not_kept_by_its_client() -> None:
    async def work(_: Cluster, store: phalanx.Store) -> None:
        for number in range(4):
            await store.put(b"colour", b"%d" % number)
        await store.compact(4)
        watch = store.watch(b"colour", after=1)
        gone = weakref.ref(watch)
        async with watch as changes:
            with pytest.raises(phalanx.Compacted):
                await anext(changes)
        del watch, changes
        gc.collect()
        assert gone() is None

    in_cluster(work, 1)


def test_an_object_that_one_has_been_given_is_not_given_up_with_another_who_asked_for_it() -> None:
    async def work(cluster: Cluster, _: phalanx.Store) -> None:
        process = cluster["a"]
        asking = asyncio.create_task(process.host(AccountV1))
        await asyncio.sleep(0)
        other = await run_cut(process.host(AccountV1), {0: WOKEN})
        assert other.task.cancelled()
        account = await asking
        assert [await account.call(AccountV1.add, 1) for _ in range(3)] == [1, 2, 3]

    in_cluster(work, 1)
