"""What threads hand over wrongly, or use after its block, is told at once."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import phalanx
from phalanx import recipes as aio
from phalanx import sync
from phalanx.errors import ConfigurationError, LeaseLost
from phalanx.sync import recipes
from tests.api.cluster import PATIENCE_S, TIMING


@pytest.fixture
def store() -> Iterator[sync.Store]:
    with sync.local(1, objects={"KV": (phalanx.KV, 0)}, timing=TIMING) as cluster:
        yield cluster.client(PATIENCE_S).kv()


def test_what_was_held_is_held_no_more_after_its_block(store: sync.Store) -> None:
    """Another thread may still have it."""
    for block in (recipes.lock(store, b"door"), store.lease()):
        held: Any
        with block as held:
            held.check()
            assert not held.lost
        assert held.lost
        with pytest.raises(LeaseLost, match="its block has ended"):
            held.check()


ANYTHING: Any = 5

MADE_BY_RECIPES = {aio.Held, aio.Holding, aio.Membership, aio.Share}


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda s: s.lease().within("5"), TypeError, "a number of seconds, not str"),
        (lambda s: s.lease().within(float("nan")), ConfigurationError, "a finite number of seconds, not nan"),
        (lambda s: s.lease().__exit__(None, None, None), RuntimeError, "this block has not begun"),
        (lambda s: recipes.lock(s.wrapped, b"door"), TypeError, "give a store of phalanx.sync"),
        (lambda _: recipes.lock(ANYTHING, b"door"), TypeError, "give a store of phalanx.sync"),
        (lambda s: recipes.Queue(s.wrapped, b"door"), TypeError, "give a store of phalanx.sync"),
        (lambda s: recipes.UniqueIds(s.wrapped, b"door"), TypeError, "give a store of phalanx.sync"),
        (lambda s: recipes.pass_barrier(s.wrapped, b"door"), TypeError, "give a store of phalanx.sync"),
    ],
)
def test_what_is_handed_over_wrongly_is_told_before_anything_is_waited_for(
    store: sync.Store, ask: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ask(store)
    assert store.put(b"k", b"v")


def test_recipes_for_asyncio_refuse_a_store_for_threads_and_say_which_are_for_it(store: sync.Store) -> None:
    wrong: Any = store
    others: dict[str, tuple[Any, ...]] = {
        "semaphore": (1,),
        "double_barrier": (2,),
        "membership": (b"me",),
        "partition": (b"me", [b"item"]),
    }
    told = []
    for name in aio.__all__:
        recipe = getattr(aio, name)
        if recipe in MADE_BY_RECIPES or "store" not in inspect.signature(recipe).parameters:
            continue
        with pytest.raises(
            TypeError, match=r"give a store of a phalanx.Client .*phalanx.sync.recipes is for stores of"
        ):
            recipe(wrong, b"door", *others.get(name, ()))
        told.append(name)
    assert len(told) == 17, told


def test_how_long_to_wait_for_a_change_is_a_number(store: sync.Store) -> None:
    wrong: Any = "5"
    with store.watch(b"k") as changes:
        with pytest.raises(TypeError, match="a number of seconds, not str"):
            changes.next(wrong)
        with pytest.raises(ConfigurationError, match="a finite number of seconds, not nan"):
            changes.next(float("nan"))
        store.put(b"k", b"v")
        assert changes.next(PATIENCE_S).key == b"k"
