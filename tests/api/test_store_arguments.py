"""The store, and its clients, say what is wrong with a duration, a revision, a range or a lease that they are given."""

import datetime
from typing import Any

import pytest

import phalanx
from phalanx import recipes
from phalanx.api.local import Cluster
from phalanx.api.store import Store
from phalanx.services.store.limits import REVISION_MAX
from tests.api.cluster import in_cluster


async def enter(block: Any) -> None:
    async with block:
        pytest.fail("it began")


@pytest.mark.parametrize(
    ("duration", "error"),
    [
        ("5", TypeError),  # times a billion it is five gigabytes of text
        (None, TypeError),
        (datetime.timedelta(seconds=5), TypeError),
        (float("nan"), phalanx.ConfigurationError),
        (float("inf"), phalanx.ConfigurationError),
    ],
)
def test_a_duration_is_a_finite_number_of_seconds(duration: Any, error: type[Exception]) -> None:
    async def work(cluster: Cluster, store: Store) -> None:
        begun: dict[str, Any] = {
            "a deadline": [
                lambda: store.within(duration),
                lambda: cluster.client(duration),
                lambda: enter(phalanx.connect("127.0.0.1:1", timeout_s=duration)),
            ],
            "the length of a lease": [
                lambda: store.lease(duration),
                lambda: store.grant(duration),
                lambda: enter(recipes.lock(store, b"door", ttl_s=duration)),
            ],
            "the age of a history": [lambda: store.retain(duration)],
        }
        if duration is not None:  # which stands for the client's deadline, or for no end
            begun["a deadline"].append(lambda: cluster.client().status(duration))
            begun["patience"] = [lambda: enter(store.watch(b"k", patience_s=duration))]
        for what, attempts in begun.items():
            for attempt in attempts:
                with pytest.raises(error, match=f"^{what} is a (finite )?number of seconds, not "):
                    if (coming := attempt()) is not None:
                        await coming

    in_cluster(work, 1)


def test_there_is_no_revision_before_the_first() -> None:
    async def work(_: Cluster, store: Store) -> None:
        for attempt in (store.get(b"k", at=-1), store.count(at=-1), store.compact(-1)):
            with pytest.raises(phalanx.ConfigurationError, match=r"^a revision is at least 0, not -1$"):
                await attempt
        assert await store.get(b"k", at=0) is None

    in_cluster(work, 1)


def test_only_a_node_that_runs_can_be_killed() -> None:
    async def work(cluster: Cluster, _: Store) -> None:
        with pytest.raises(phalanx.ConfigurationError, match=r"^no process 'zz': there are a$"):
            await cluster.kill("zz")

    in_cluster(work, 1)


def test_a_watch_goes_on_after_a_revision_that_there_can_be() -> None:
    async def work(_: Cluster, store: Store) -> None:
        await store.put(b"k", b"1")
        unknown = store.watch(b"k").revision
        assert unknown == -1  # whoever saves that, and goes on from it, would lose what comes between
        with pytest.raises(phalanx.ConfigurationError, match="`after` is at least 0, not -1"):
            store.watch(b"k", after=unknown)
        for after in ("1", 1.0):
            with pytest.raises(TypeError, match="`after` must be an int, not"):
                store.watch(b"k", after=after)  # type: ignore[arg-type]  # that is what is tested
        for after in (REVISION_MAX + 1, 1 << 63, 10**40):  # it ended the client: no message has room for that
            with pytest.raises(phalanx.ConfigurationError, match="`after` is at most"):
                store.watch(b"k", after=after)
        async with store.watch(b"k", after=REVISION_MAX):
            pass
        async with store.watch(b"k", after=0) as changes:
            assert (await anext(changes)).revision == 1

    in_cluster(work, 1)


@pytest.mark.parametrize("text", ["k", None, 5])
def test_a_range_that_is_no_bytes_says_so(text: Any) -> None:
    async def work(_: Cluster, store: Store) -> None:
        for prefix in (False, True):
            with pytest.raises(TypeError, match="what is watched must be bytes, not"):
                store.watch(text, prefix=prefix)
        with pytest.raises(TypeError, match="a prefix must be bytes, not"):
            await store.delete_prefix(text)
        if text is not None:
            with pytest.raises(TypeError, match="a prefix must be bytes, not"):
                await anext(aiter(store.items(prefix=text)))

    in_cluster(work, 1)


def test_what_is_no_lease_no_time_and_no_number_says_so() -> None:
    async def work(_: Cluster, store: Store) -> None:
        for lease in (None, "5", 1.5):
            with pytest.raises(TypeError, match=r"a lease is what `lease` or `grant` gave, or its id \(0: none\), not"):
                await store.put(b"k", b"v", lease=lease)  # type: ignore[arg-type]  # that is what is tested
        with pytest.raises(phalanx.ConfigurationError, match="no calendar has the time"):
            await store.get(b"k", at=datetime.timedelta.max)
        counter = recipes.Counter(store, b"visits")
        for amount in (0.5, "1"):
            with pytest.raises(TypeError, match="what is added to a counter must be an int, not"):
                await counter.add(amount)  # type: ignore[arg-type]  # the store would keep another number than is told
        assert await counter.value() == 0
        with pytest.raises(TypeError, match="the size of a block must be an int, not"):
            recipes.UniqueIds(store, b"ids", block=2.5)  # type: ignore[arg-type]  # that is what is tested

    in_cluster(work, 1)


@pytest.mark.parametrize("wrong", [1.5, float("nan"), "2", None, 0, -1])
def test_how_many_is_a_whole_number_and_enough(wrong: Any) -> None:
    """A share of a permit would be a permit, and nobody would ever be not-a-number processes."""
    error, told = (
        (phalanx.ConfigurationError, "is at least") if type(wrong) is int else (TypeError, "must be an int, not")
    )

    async def work(_: Cluster, store: Store) -> None:
        with pytest.raises(error, match=f"the number of permits {told}"):
            await recipes.semaphore(store, b"s", wrong).__aenter__()
        with pytest.raises(error, match=f"the number of processes at a double barrier {told}"):
            await recipes.double_barrier(store, b"b", wrong).__aenter__()
        with pytest.raises(error, match=f"the size of a block {told}"):
            recipes.UniqueIds(store, b"ids", block=wrong)
        if wrong != 0:
            with pytest.raises(error, match=f"a priority {told}"):
                await recipes.PriorityQueue(store, b"q").put(b"item", wrong)
        assert (await store.info()).revision == 0, "nothing was written"

    in_cluster(work, 1)


def test_changes_of_settings_are_a_mapping() -> None:
    async def work(_: Cluster, store: Store) -> None:
        for changes in ([(b"a", b"b")], b"a", None):
            with pytest.raises(TypeError, match="changes are a mapping of names to values, not"):
                await recipes.Config(store, b"c").change(changes)  # type: ignore[arg-type]  # that is what is tested

    in_cluster(work, 1)
