"""What is used without its block, on another loop or in a forked process says so at once, and works where it belongs."""

import asyncio
import datetime
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

import phalanx
from phalanx import recipes, sync
from phalanx.api.local import Cluster
from phalanx.api.store import Store
from phalanx.runtime.loop import run
from tests.api.cluster import PATIENCE_S, in_cluster
from tests.api.test_arguments import Counter, among, next_of


def test_a_watch_without_its_block_says_so() -> None:
    async def work(_: Cluster, store: Store) -> None:
        watch = store.watch(b"k")
        with pytest.raises(RuntimeError, match="this watch has not begun: use it as in `async with"):
            await anext(watch)
        with pytest.raises(RuntimeError, match="this watch has not begun"):
            await watch.begun()
        watch.close()

    in_cluster(work, 1)


def test_nothing_is_put_under_a_lease_that_is_not_held() -> None:
    async def work(_: Cluster, store: Store) -> None:
        lease = store.lease()
        with pytest.raises(RuntimeError, match="this lease is not held yet: begin its block"):
            await store.put(b"k", b"v", lease=lease)
        assert await store.get(b"k") is None
        granted = await store.grant(5)
        await store.put(b"k", b"v", lease=granted)
        assert await store.lease_keys(granted) == [b"k"]

    in_cluster(work, 1)


def test_a_time_that_is_none_is_a_type_error() -> None:
    async def work(_: Cluster, store: Store) -> None:
        for at in ("5m ago", 1.5):
            with pytest.raises(TypeError, match="`at` is a revision, a datetime or a timedelta, not"):
                await store.get(b"k", at=at)  # type: ignore[arg-type]  # that is what is tested
        assert await store.get(b"k", at=datetime.timedelta(0)) is None

    in_cluster(work, 1)


@pytest.mark.parametrize("debug", [False, True])
def test_a_client_is_of_its_loop(debug: bool) -> None:
    async def work() -> None:
        async with asyncio.timeout(PATIENCE_S), phalanx.local(1, objects={"KV": (phalanx.KV, 0)}) as cluster:
            store = cluster.client().kv()

            def elsewhere() -> None:
                with pytest.raises(RuntimeError, match="this client is of another event loop"):
                    run(store.put(b"k", b"v"))

            await asyncio.to_thread(elsewhere)
            assert await store.put(b"k", b"v") == 1

    run(work(), debug=debug)


def test_a_process_that_was_called_on_another_loop_goes_on() -> None:
    """A loop in debug mode looks at the thread."""

    async def work() -> None:
        async with asyncio.timeout(PATIENCE_S), phalanx.local(1) as cluster:
            process = cluster["a"]

            def elsewhere() -> None:
                with pytest.raises(RuntimeError):
                    run(process.group("elsewhere"))

            await asyncio.to_thread(elsewhere)
            group = await process.group("here")
            await group.send(b"good", delivered=True)

    run(work(), debug=True)


def test_a_handle_says_how_its_methods_are_called() -> None:
    async def work(cluster: Cluster) -> None:
        handle: Any = cluster.client().object(Counter)
        with pytest.raises(AttributeError, match=r"handle.call\(Counter.add, ...\)"):
            await handle.add(1)
        assert not hasattr(handle, "_nothing")

    among(1, work, objects={"Counter": (Counter, 0)})


def test_the_synchronous_interface_takes_its_leases_as_they_are() -> None:
    with sync.local(1, objects={"KV": (phalanx.KV, 0)}) as cluster:
        store = cluster.client().kv()
        with store.lease() as lease:
            store.put(b"k", b"v", lease=lease)
            assert store.lease_keys(lease) == [b"k"]
        assert store.get(b"k") is None
        with pytest.raises(RuntimeError, match="this watch has not begun"):
            next(store.watch(b"k"))


def test_a_synchronous_client_says_that_it_was_made_before_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    with sync.local(1, objects={"KV": (phalanx.KV, 0)}) as cluster:
        client = cluster.client()
        store = client.kv()
        held = store.lease()
        held.__enter__()
        parent, threads = os.getpid(), threading.active_count()
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: parent + 1)
            with pytest.raises(RuntimeError, match=r"this client was made before a fork.*: make one in this process"):
                store.get(b"k")
            held.__exit__(None, None, None)  # the parent's, and left to it
            client.background.close()
        assert threading.active_count() == threads
        assert store.put(b"k", b"v") == 1
        held.__exit__(None, None, None)


def test_who_reads_a_group_of_a_node_that_broke_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(cluster: Cluster) -> None:
        process = cluster["b"]
        group = await process.group("log")
        reading = asyncio.create_task(next_of(group))
        await asyncio.sleep(0)

        def broken(*_: Any) -> None:
            raise OSError("the disk is on fire")

        monkeypatch.setattr(process._node, "step", broken)
        with pytest.raises(OSError, match="on fire"):
            await asyncio.wait_for(process.wait(), PATIENCE_S)
        with pytest.raises(phalanx.Unavailable, match=r"the node has stopped, .* in group log: the disk is on fire"):
            await reading
        with pytest.raises(phalanx.Unavailable, match="nothing was sent"):
            await group.send(b"late")
        with pytest.raises(OSError, match="on fire"):
            await cluster.kill("b")

    among(2, work)


# --- what is shown, and what is taken -------------------------------------------------------------------------------


async def _enter(block: Any) -> None:
    async with block:
        pytest.fail("it began")


def test_a_recipe_that_is_given_a_text_says_what_must_be_bytes() -> None:
    async def work(_: Cluster, store: Store) -> None:
        text: Any = "door"
        beginnings: dict[str, Any] = {
            "lock: name": lambda: recipes.lock(store, text),
            "lock: data": lambda: recipes.lock(store, b"door", data=text),
            "read_lock: name": lambda: recipes.read_lock(store, text),
            "write_lock: name": lambda: recipes.write_lock(store, text),
            "semaphore: name": lambda: recipes.semaphore(store, text, 2),
            "barrier: name": lambda: recipes.barrier(store, text),
            "pass_barrier: name": lambda: recipes.pass_barrier(store, text),
            "double_barrier: name": lambda: recipes.double_barrier(store, text, 2),
            "lead: data": lambda: recipes.lead(store, b"door", text),
            "observe: name": lambda: recipes.observe(store, text),
            "membership: me": lambda: recipes.membership(store, b"door", text),
            "watch_members: name": lambda: recipes.watch_members(store, text),
            "Config: name": lambda: recipes.Config(store, text),
            "Counter: name": lambda: recipes.Counter(store, text),
            "UniqueIds: name": lambda: recipes.UniqueIds(store, text),
            "Queue.put: data": lambda: recipes.Queue(store, b"door").put(text),
            "PriorityQueue: name": lambda: recipes.PriorityQueue(store, text),
        }
        for what, begin in beginnings.items():
            with pytest.raises(TypeError, match=rf"{what} must be bytes, not str: encode it") as told:
                begin()
            assert str(told.value).startswith(what)
        with pytest.raises(TypeError, match="an item of a partition must be bytes, not str"):
            await _enter(recipes.partition(store, b"door", b"me", [text]))
        with pytest.raises(TypeError, match="the name of a setting must be bytes, not str"):
            await recipes.Config(store, b"door").change({text: b"1"})
        with pytest.raises(TypeError, match="setting b'a' must be bytes, not str"):
            await recipes.Config(store, b"door").change({b"a": text})

    in_cluster(work, 1)


def test_a_name_that_is_bytes_is_a_type_error() -> None:
    async def work(cluster: Cluster, _: Store) -> None:
        name: Any = b"KV"
        with pytest.raises(TypeError, match="the name of an object must be a str, not bytes"):
            cluster.client().kv(name)
        with pytest.raises(TypeError, match="the name of a group must be a str, not bytes"):
            await cluster["a"].group(name)

    in_cluster(work, 1)


def test_handles_say_what_they_are() -> None:
    async def work(cluster: Cluster, store: Store) -> None:
        client, process = cluster.client(), cluster["a"]
        assert repr(client) == "<phalanx.Client, not served yet: a>"
        await client.kv().put(b"k", b"v")
        assert repr(client) == f"<phalanx.Client, of cluster {client.cluster}: a>"
        assert repr(process) == f"<phalanx.Process {process.me} at a: rank 0 in {process.view}>"
        assert str(process.view) == f"view {process.status.view} of {process.me}"
        assert repr(cluster) == "<phalanx.Cluster of a, running: a>"
        group = await process.group("log")
        assert repr(group) == f"<phalanx.Group 'log', total, id {group.id}>"
        assert repr(store.stale) == "<phalanx.Store 'KV', stale>"
        assert repr(client.object(Counter)) == "<phalanx.Replicated Counter 'Counter'>"
        lease = store.lease(ttl_s=10)
        assert repr(lease) == "<phalanx.Lease of 10 s, not held yet>"
        async with lease:
            assert repr(lease).startswith(f"<phalanx.Lease {lease.id}, ") and repr(lease).endswith(" s left>")
        watch = store.watch(b"k")
        assert repr(watch) == "<phalanx.Watch not begun>"
        async with watch:
            revision = await watch.begun()
            assert repr(watch) == f"<phalanx.Watch read up to revision {revision}>"
        assert repr(watch) == "<phalanx.Watch closed>"
        assert repr(recipes.Counter(store, b"n")) == "<phalanx.recipes.Counter b'n'>"
        async with recipes.lock(store, b"door") as held:
            assert repr(held).startswith(
                f"<Held {held.key!r}, token {held.token}, under <phalanx.Lease {held.lease.id}, "
            )
        await cluster.kill("a")
        assert repr(group) == "<phalanx.Group 'log', total, closed>"

    in_cluster(work, 1)


def test_a_group_shows_users_only_what_is_theirs() -> None:
    shown = {name for name in vars(phalanx.Group) if not name.startswith("_")}
    assert shown == {"detect", "events", "global_state", "name", "send"}


def test_who_tries_again_at_a_closed_client_does_not_hold_up_the_loop() -> None:
    async def work(cluster: Cluster, _: Store) -> None:
        client = cluster.client()
        store = client.kv()
        watch = store.watch(b"k")
        await watch.__aenter__()

        async def follows() -> None:
            async with store.watch(b"k") as changes:
                await anext(changes)

        await client.close()
        attempts: list[Callable[[], Awaitable[Any]]] = [
            lambda: store.get(b"k"),
            lambda: anext(watch),
            watch.begun,
            follows,
        ]

        async def again_and_again(attempt: Callable[[], Awaitable[Any]]) -> None:
            for _ in range(1000):
                with pytest.raises(phalanx.Unavailable):
                    await attempt()

        for attempt in attempts:
            task = asyncio.create_task(again_and_again(attempt))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()  # and has not run to its end

    in_cluster(work, 1)


def test_a_watch_is_of_its_loop() -> None:
    """Also where asyncio does not look itself, which it does in its debug mode only."""

    async def work(_: Cluster, store: Store) -> None:
        async def elsewhere() -> None:
            async with asyncio.timeout(PATIENCE_S), store.watch(b"k"):
                pass

        def thread() -> None:
            with pytest.raises(RuntimeError, match="this client is of another event loop"):
                run(elsewhere(), debug=False)

        await asyncio.to_thread(thread)

    in_cluster(work, 1)


def test_a_watch_is_for_one_block() -> None:
    async def work(_: Cluster, store: Store) -> None:
        watch = store.watch(b"k")
        async with watch:
            with pytest.raises(RuntimeError, match="this watch has begun already"):
                await watch.__aenter__()
            await watch.begun()
            await store.put(b"k", b"v")
            assert (await anext(watch)).key == b"k"
        with pytest.raises(RuntimeError, match="this watch has begun already, or was closed"):
            async with watch:  # it would end without a word
                pass
        closed = store.watch(b"k")
        closed.close()
        with pytest.raises(RuntimeError, match="or was closed"):
            async with closed:
                pass

    in_cluster(work, 1)


def test_a_lease_is_for_one_block() -> None:
    async def work(_: Cluster, store: Store) -> None:
        lease = store.lease(5)
        async with lease:
            first = lease.id
            with pytest.raises(RuntimeError, match="this lease has begun already: make a new one"):
                async with lease:  # what is put under the first would be kept alive by nobody
                    pass
            assert lease.id == first and not lease.lost.is_set()
            await store.put(b"k", b"v", lease=lease)
        with pytest.raises(RuntimeError, match="this lease has begun already"):
            await lease.__aenter__()
        assert await store.leases() == []

    in_cluster(work, 1)


def test_a_lease_that_could_not_begin_can_be_begun_again() -> None:
    async def work(cluster: Cluster, _: Store) -> None:
        lease = cluster.client(0.3).kv().lease(5)
        cluster.pause("a")
        with pytest.raises(phalanx.PhalanxError):
            await lease.__aenter__()
        cluster.resume("a")
        async with lease:
            assert lease.id

    in_cluster(work, 1)


def test_a_cluster_that_has_ended_says_so() -> None:
    async def work() -> None:
        async with phalanx.local(1) as cluster:
            pass
        with pytest.raises(phalanx.ConfigurationError, match="this cluster has ended with its block"):
            cluster.start("a")  # it would run on with nobody to stop it
        with pytest.raises(phalanx.ConfigurationError, match="this cluster has ended with its block"):
            cluster.client()  # its calls would wait for their deadlines
        assert cluster.processes == []

    run(work())


def test_a_view_is_told_in_a_line_and_its_repr_tells_views_apart() -> None:
    """The explorer knows states by their `repr`."""
    a, b, c = (phalanx.Member(name, f"{name}:1", number) for number, name in enumerate("abc", 1))
    view = phalanx.View(77, 3, (b, a), (c,))
    assert str(view) == "view 3 of b#2 a#1, learning: c#3"
    assert [view.standing(name) for name in "bac"] == [
        f"rank 0 in {view}",
        f"rank 1 in {view}",
        f"no full member in {view}",
    ]
    assert repr(phalanx.Changed(view)) == f"<phalanx.Changed: {view}>"
    assert repr(view) != repr(msgspec.structs.replace(view, fence=1))
