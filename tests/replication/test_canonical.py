"""Equal states have equal digests, whatever they hold and however they came to it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
import pytest

from phalanx.model.replicated import command
from phalanx.replication.canonical import encode, sorts, walked
from phalanx.replication.state import StateCodec


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Point:
    x: int
    marks: frozenset[str] = frozenset()


class Pair(msgspec.Struct, frozen=True):
    left: int
    right: str


class Book:
    """Keys and items of every kind."""

    numbers: dict[int, str]
    bytes_: dict[bytes, set[bytes]]
    colours: dict[Colour, int]
    points: set[Point]
    sets: set[frozenset[str]]
    pairs: dict[tuple[int, str], Pair]
    mixed: set[int | str]
    anything: Any = None

    def __init__(self) -> None:
        self.numbers, self.bytes_, self.colours, self.pairs = {}, {}, {}, {}
        self.points, self.sets, self.mixed = set(), set(), set()

    @command
    def touch(self) -> None:
        self.numbers[len(self.numbers)] = ""


def fill(book: Book, order: Callable[[list[Any]], list[Any]]) -> Book:
    for n in order(list(range(20))):
        book.numbers[n] = str(n)
        book.bytes_[b"%d" % n] = {b"%d" % m for m in order(list(range(n)))}
        book.points.add(Point(n, frozenset(order([str(m) for m in range(n)]))))
        book.sets.add(frozenset(order([str(n), str(n + 1)])))
        book.pairs[n, str(n)] = Pair(n, "x")
        book.mixed |= {n, str(n)}
    for colour in order(list(Colour)):
        book.colours[colour] = 1
    book.anything = {each: set(order(["a", "b", "c"])) for each in order([1, "1", b"1"])}
    return book


def shuffled(seed: int) -> Callable[[list[Any]], list[Any]]:
    rng = random.Random(seed)
    return lambda items: rng.sample(items, len(items))


def test_states_that_were_filled_in_any_order_have_one_digest() -> None:
    codec = StateCodec(Book)
    digests = {codec.digest(fill(Book(), shuffled(seed))).value for seed in range(20)}
    assert len(digests) == 1
    restored = codec.restore(codec.snapshot(fill(Book(), shuffled(99))))
    restored.anything = fill(Book(), list).anything  # what is not typed does not come back as it was
    assert codec.digest(restored).value in digests


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({1: 2}, {2: 1}),
        ({1: 2}, [[1, 2]]),
        ({1}, [1]),
        ({"1": 0}, {1: 0}),
        ({b"1": 0}, {"1": 0}),
        ({Point(1)}, {Point(2)}),
    ],
)
def test_states_that_differ_stay_different(one: Any, other: Any) -> None:
    assert msgspec.msgpack.encode(walked(one)) != msgspec.msgpack.encode(walked(other))


class Plain(msgspec.Struct):
    names: dict[str, set[int]]
    next: "Plain | None" = None


def test_what_msgspec_can_sort_is_left_to_it() -> None:
    assert sorts([dict[str, int], set[bytes], list[tuple[str, float]], Plain, frozenset[str] | None])
    for kind in (
        dict[int, str],
        set[Point],
        set[frozenset[str]],
        set[int | str],
        list[Any],
        dict[str, dict[bytes, int]],
    ):
        assert not sorts([kind]), kind
    assert encode(Plain({"b": {2, 1}, "a": set()}), True) == encode(Plain({"a": set(), "b": {1, 2}}), True)
