"""The synchronous interface: the same as the asynchronous one, for threads; nothing leaks, all can be interrupted."""

import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, assert_type

import pytest

import phalanx
from phalanx import sync
from phalanx.api import recipes as aio_recipes
from phalanx.errors import Fenced, LeaseLost, NotHappened, OutcomeUnknown, Refused, TooLarge, Unavailable
from phalanx.services.store.values import Versioned
from phalanx.sync import recipes
from phalanx.sync.background import Background
from tests.api.cluster import PATIENCE_S, TIMING


class Tally:
    count: int = 0

    @phalanx.command(raises=(ValueError,))
    def add(self, amount: int) -> int:
        if amount < 0:
            raise ValueError(amount)
        self.count += amount
        return self.count

    @phalanx.query
    def read(self) -> int:
        return self.count


@pytest.fixture
def cluster() -> Iterator[sync.Cluster]:
    objects = {"KV": (phalanx.KV, 0), "Tally": (Tally, 0)}
    with sync.local(3, objects=objects, timing=TIMING) as cluster:
        yield cluster


@pytest.fixture
def store(cluster: sync.Cluster) -> sync.Store:
    return cluster.client(PATIENCE_S).kv()


# --- the same surface -------------------------------------------------------------------------------------------------

ASYNC_ONLY = {
    "Client": {"close", "perform", "follow"},
    "Replicated": {"follow"},
    "Watch": {"take"},
    "Lease": {"guard", "stands_with"},
    "Cluster": {"close", "processes"},
}
"""What only the asynchronous classes have: what other classes of ours call, what `with` does, and processes, which have
asynchronous methods only."""

SYNC_ONLY = {
    "Watch": {"next"},
    "Lease": {"check"},
    "Cluster": {"names"},
    "Held": {"lost", "check"},
    "Membership": {"lost", "check"},
}

CHANGED = {("Watch", "close"), ("Cluster", "start")}
"""The same parameters, and another result."""


def public(cls: type) -> dict[str, Any]:
    found = {name: inspect.getattr_static(cls, name) for name in dir(cls) if not name.startswith("_")}
    return {name: each for name, each in found.items() if name not in ("background", "wrapped")}


PAIRS = [(getattr(phalanx, name), getattr(sync, name)) for name in ("Client", "Replicated", "Store", "Watch", "Lease")]
PAIRS += [(phalanx.Cluster, sync.Cluster)]
RECIPES = ("Held", "Membership", "PriorityQueue", "Queue", "Counter", "UniqueIds", "Config")
PAIRS += [(getattr(aio_recipes, name), getattr(recipes, name)) for name in RECIPES]


@pytest.mark.parametrize(("aio", "own"), PAIRS, ids=lambda cls: cls.__name__)
def test_no_method_is_missing_and_all_have_the_same_parameters(aio: type, own: type) -> None:
    """Attributes that an instance gets when it is made are properties here, and cannot be seen there."""
    name = aio.__name__
    there, here = public(aio), public(own)
    assert there.keys() - ASYNC_ONLY.get(name, set()) <= here.keys()
    assert ASYNC_ONLY.get(name, set()) <= there.keys(), "what is listed and is not there"
    extra = {each for each in here.keys() - there.keys() if not isinstance(here[each], property)}
    assert extra <= SYNC_ONLY.get(name, set())
    for each in there.keys() & here.keys():
        if callable(there[each]):
            expected, found = inspect.signature(there[each]), inspect.signature(here[each])
            assert list(expected.parameters) == list(found.parameters), each
            assert [p.default for p in expected.parameters.values()] == [p.default for p in found.parameters.values()]


def test_every_recipe_is_there() -> None:
    shared = {"Claim", "Leader", "Member"}  # plain values
    missing = [name for name in aio_recipes.__all__ if not hasattr(recipes, name) and name not in shared]
    assert missing == ["Share"], "which `partition` makes"


def test_connect_and_local_have_the_same_parameters() -> None:
    for aio, own in ((phalanx.connect, sync.connect), (phalanx.local, sync.local)):
        assert inspect.signature(aio).parameters == inspect.signature(own).parameters


# --- it does what it says -----------------------------------------------------------------------------------------------


def test_the_store_answers_and_raises_as_the_asynchronous_one(store: sync.Store) -> None:
    revision = assert_type(store.put(b"a", b"1"), int)
    item = assert_type(store.get(b"a"), Versioned | None)
    assert item is not None and item.value == b"1" and item.modified == revision
    store.put(b"b", b"2")
    assert store.compare_and_set(b"b", b"2", b"3") and store.count() == 2
    assert [(key, found.value) for key, found in store.items()] == [(b"a", b"1"), (b"b", b"3")]
    assert store.get(b"b", at=revision) is None
    done = store.transact([phalanx.txn.Exists(b"a", True)], [phalanx.txn.Delete(b"a")])
    assert done.succeeded and store.stale.name == "KV"
    with pytest.raises(TooLarge):
        store.put(b"x" * 100_000, b"")
    with pytest.raises(phalanx.ConfigurationError, match="not both"):
        list(store.items(b"a", prefix=b"b"))


def test_objects_are_called_with_their_types_and_survive_a_node(cluster: sync.Cluster) -> None:
    tally = cluster.client(PATIENCE_S).object(Tally)
    assert assert_type(tally.call(Tally.add, 3), int) == 3
    with pytest.raises(ValueError, match="-1"):
        tally.call(Tally.add, -1)
    cluster.kill("a")
    assert cluster.names == ["b", "c"]
    assert tally.call(Tally.add, 4) == 7 and tally.within(PATIENCE_S).call(Tally.read) == 7
    cluster.start("a")
    cluster.joined()
    assert cluster.names == ["a", "b", "c"]
    assert cluster.client(PATIENCE_S).status().state == "member"


def test_a_watch_is_an_iterator_with_an_end(store: sync.Store) -> None:
    with store.watch(b"w/", prefix=True) as changes:
        begun = changes.begun()
        store.put(b"w/1", b"x")
        store.put(b"elsewhere", b"x")
        store.delete(b"w/1")
        first, second = next(changes), changes.next(PATIENCE_S)
        assert first.key == second.key == b"w/1" and first.item is not None and second.item is None
        assert changes.revision > begun and not changes.pending
        with pytest.raises(TimeoutError):
            changes.next(0.001)
        store.put(b"w/2", b"x")
        assert next(changes).key == b"w/2", "a wait that was given up has lost nothing"
        store.transact(then=[phalanx.txn.Put(key, b"") for key in (b"w/3", b"elsewhere", b"w/4")])
        assert [event.key for event in next(changes.revisions())] == [b"w/3", b"w/4"]
        changes.close()
        assert list(changes) == [] == list(changes.revisions())


def test_a_watch_can_be_closed_by_another_thread(store: sync.Store) -> None:
    with store.watch(b"quiet") as changes, ThreadPoolExecutor(1) as pool:
        changes.begun()
        reading = pool.submit(lambda: list(changes))
        changes.close()
        assert reading.result(PATIENCE_S) == []


def test_recipes_hold_what_they_say(store: sync.Store) -> None:
    with recipes.lock(store, b"door") as held:
        first = assert_type(held, recipes.Held).token
        held.put(b"state", b"open")
        held.check()
        assert not held.lost and not held.lease.lost and held.lease.id and held.lease.remaining_s > 0
        with pytest.raises(TimeoutError), recipes.lock(store, b"door").within(0.05):
            raise AssertionError("it was held")
    with recipes.lock(store, b"door").within(PATIENCE_S) as held:
        assert held.token > first, "who gave up has left the line"
    with recipes.semaphore(store, b"seats", 2), recipes.semaphore(store, b"seats", 2):
        pass
    with recipes.read_lock(store, b"table"), recipes.read_lock(store, b"table"):
        pass
    with recipes.write_lock(store, b"table"), recipes.double_barrier(store, b"start", 1):
        pass
    with recipes.barrier(store, b"gate"), pytest.raises(Refused, match="up already"), recipes.barrier(store, b"gate"):
        raise AssertionError("two barriers of one name")
    recipes.pass_barrier(store, b"gate")
    with store.lease(5.0) as lease:
        store.put(b"under", b"", lease=lease.id)
        assert store.lease_keys(lease.id) == [b"under"]
    assert store.get(b"under") is None


def test_recipes_that_are_followed_are_iterators(store: sync.Store) -> None:
    with recipes.observe(store, b"primary") as leaders:
        assert next(leaders) is None
        with recipes.lead(store, b"primary", b"me"):
            leader = next(leaders)
            assert leader is not None and leader.data == b"me"
    with recipes.watch_members(store, b"workers") as changes:
        assert next(changes) == {}
        with recipes.membership(store, b"workers", b"me", b"one") as place:
            assert next(changes)[b"me"].data == b"one"
            place.update(b"two")
            assert next(changes)[b"me"].data == b"two"
    config = recipes.Config(store, b"config")
    with config.follow() as settings:
        assert next(settings) == {}
        config.change({b"level": b"debug"})
        assert next(settings) == config.read() == {b"level": b"debug"}
    with recipes.partition(store, b"shards", b"me", [b"s1", b"s2"]) as shares:
        owned = next(share for share in shares if len(share) == 2)
        assert owned[b"s1"].token > 0


def test_queues_counters_and_ids(store: sync.Store) -> None:
    queue = recipes.Queue(store, b"jobs")
    for item in (b"1", b"2", b"3"):
        queue.put(item)
    with pytest.raises(RuntimeError, match="work"), queue.claim():
        raise RuntimeError("the work failed")
    with queue.claim() as claim:
        assert claim.data == b"1", "a claim whose block failed is free again"
    assert queue.count() == 2 and next(iter(queue)) == b"2" and queue.get() == b"3"
    with pytest.raises(phalanx.ConfigurationError, match="has no priorities"):
        queue.put(b"x", 1)
    urgent = recipes.PriorityQueue(store, b"urgent")
    urgent.put(b"later", 5)
    urgent.put(b"now", 1)
    assert [urgent.get(), urgent.get()] == [b"now", b"later"]
    queue.put(b"later", delay_s=0.05)
    with queue.claim() as claim:
        queue.retry(claim, delay_s=0.05)
    with queue.claim() as claim:
        assert (claim.data, claim.tries) == (b"later", 2)
    ids = recipes.UniqueIds(store, b"ids", block=10)
    assert [next(ids), next(ids)] == [1, 2]


def test_many_threads_share_a_client(store: sync.Store) -> None:
    counter = recipes.Counter(store, b"visits")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: counter.add(), range(40)))
    assert counter.value() == 40


# --- loss, the end ---------------------------------------------------------------------------------------------------


def test_a_lost_lock_is_told_to_whoever_asks_and_at_the_end(store: sync.Store) -> None:
    with pytest.raises(LeaseLost), recipes.lock(store, b"door") as held:
        store.revoke(held.lease.id)
        with pytest.raises(Fenced):
            held.put(b"state", b"too late")
        with recipes.lock(store, b"door").within(PATIENCE_S) as other:
            assert other.token > held.token, "the block cannot be stopped, and others go on"
        wait_for_loss(held)
        with pytest.raises(LeaseLost):
            held.check()


def test_a_loss_does_not_hide_what_the_block_raised(store: sync.Store) -> None:
    with pytest.raises(LeaseLost) as caught, recipes.lock(store, b"door") as held:
        store.revoke(held.lease.id)
        wait_for_loss(held)
        raise ValueError("of the block")
    assert isinstance(caught.value.__context__, ValueError)
    with pytest.raises(KeyboardInterrupt), recipes.lock(store, b"door") as held:
        store.revoke(held.lease.id)
        wait_for_loss(held)
        raise KeyboardInterrupt


def test_without_cancels_the_loss_is_only_told(store: sync.Store) -> None:
    with recipes.lock(store, b"door", cancels=False) as held:
        store.revoke(held.lease.id)
        wait_for_loss(held)
        assert held.lost


def wait_for_loss(held: recipes.Held) -> None:
    held.background.call(held.wrapped.lease.lost.wait())


@pytest.mark.parametrize(
    "error", [ValueError("x"), StopIteration(), KeyboardInterrupt(), SystemExit(3), GeneratorExit()]
)
def test_whatever_a_block_raises_leaves_it_and_gives_up_what_it_held(store: sync.Store, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, recipes.lock(store, b"door"):
        raise error
    assert caught.value is error
    with recipes.lock(store, b"door").within(PATIENCE_S):
        pass


def test_threads_end_with_their_blocks() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="of the block"), sync.local(1, timing=TIMING) as cluster:
        cluster.client()
        raise ValueError("of the block")
    with sync.connect("127.0.0.1:1", timeout_s=0.05) as client, pytest.raises(Unavailable):
        client.status()
    with pytest.raises(phalanx.ConfigurationError), sync.local(0):
        raise AssertionError("a cluster of nobody")
    assert set(threading.enumerate()) == before


def test_after_its_end_a_client_says_so() -> None:
    with sync.local(1, objects={"KV": (phalanx.KV, 0)}, timing=TIMING) as cluster:
        client = cluster.client()
        store = client.kv()
    with pytest.raises(Unavailable, match="closed"):
        store.get(b"a")
    with pytest.raises(NotHappened, match="closed"), recipes.lock(store, b"door"):
        raise AssertionError("it was held")


def test_who_waits_while_all_is_closed_is_told_that_nothing_is_known() -> None:
    with ThreadPoolExecutor(1) as pool:
        with sync.local(3, objects={"KV": (phalanx.KV, 0)}, timing=TIMING) as cluster:
            for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
                cluster.cut(one, other)
            store = cluster.client(PATIENCE_S).kv()
            entered = threading.Event()

            def write() -> None:
                entered.set()
                store.put(b"a", b"1")

            writing = pool.submit(write)
            entered.wait(PATIENCE_S)
        with pytest.raises((OutcomeUnknown, Unavailable)):
            writing.result(PATIENCE_S)


def test_its_own_loop_is_refused_rather_than_waited_for_ever() -> None:
    background = Background()

    async def wrong() -> None:
        background.call(right())

    async def right() -> None:
        return None

    try:
        with pytest.raises(RuntimeError, match="would wait for ever"):
            background.call(wrong())
        assert background.call(right()) is None
    finally:
        background.close()
        background.close()
