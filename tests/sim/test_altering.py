"""What is said instead of the truth, where nobody knows the messages (sim/altering.py)."""

import random
from typing import Any, NamedTuple

from phalanx.sim.altering import altered
from tests.sim.test_failures import Said


class Pair(NamedTuple):
    one: int
    other: bytes


def test_one_part_of_a_value_is_altered_and_its_type_stays() -> None:
    values: tuple[Any, ...] = (
        7,
        True,
        1.5,
        "text",
        "",
        b"bytes",
        b"",
        [1, [2, "x"]],
        {"a": 1, "b": {3}},
        Pair(1, b"x"),
        Said("n0", 1),
    )
    for value in values:
        for number in range(20):
            other = altered(value, random.Random(number))
            assert other != value and type(other) is type(value), value
    assert altered(Said("n0", 1), random.Random(3)) in [Said(f"{c}0", 1) for c in "abcdefgh"] + [
        *(Said(f"n{c}", 1) for c in "abcdefgh"),
        Said("n0", 0),
        Said("n0", 2),
    ]


def test_what_has_no_parts_stays_as_it_is() -> None:
    nothing: tuple[Any, ...] = (None, (), [], {}, object)
    for value in nothing:
        assert altered(value, random.Random(1)) is value
