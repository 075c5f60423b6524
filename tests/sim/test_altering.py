"""What is said instead of the truth, where nobody knows the messages (sim/altering.py)."""

import random
from typing import Any, NamedTuple

import msgspec

from phalanx.model.clock import SECOND
from phalanx.sim.altering import altered
from phalanx.sim.conditions import Conditions
from phalanx.sim.failures import ValueFailure
from phalanx.sim.storm import Storm
from phalanx.sim.world import World
from tests.sim.test_failures import LASTS, NAMES, T0, Said, Speaker


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


def test_a_lie_that_cannot_be_read_is_not_told() -> None:
    def codec(message: Said) -> Said:
        if message.number > 1000:
            raise msgspec.DecodeError("no such number")
        return message

    def alter(message: Said, rng: random.Random) -> Said:
        return msgspec.structs.replace(message, number=rng.choice((0, 5000)))

    fault = ValueFailure(T0, LASTS, 0, 1.0)
    world = World(1, Speaker, conditions=Conditions(stagger_ns=0, codec=True), codec=codec, alter=alter)
    for name in NAMES:
        world.add(name)
    Storm(world, NAMES, [fault])
    world.run_until(SECOND)
    assert not world.failures
    machine = world.nodes["n1"].machine
    assert isinstance(machine, Speaker)
    numbers = {message.number for _, source, message in machine.heard if source == "n0"}
    assert 0 in numbers and 5000 not in numbers
