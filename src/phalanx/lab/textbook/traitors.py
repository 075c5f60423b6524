"""What traitors may send, for each algorithm: the slots that `treason.behaviours` goes through."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from phalanx.lab.textbook.oral import Oral, Value, paths
from phalanx.lab.textbook.rounds import Letter
from phalanx.lab.textbook.signed import Signed, signed_by
from phalanx.lab.textbook.treason import Slot, Slots
from phalanx.lab.textbook.vectors import UNKNOWN, Strength, Vector
from phalanx.model.view import Name


def oral_slots(
    generals: Sequence[Name], commander: Name, traitors: Sequence[Name], values: Sequence[Value | None]
) -> Slots:
    """On every path that ends at a traitor, to each loyal general that is not on it, any of the values (None: silence).

    That is all there is: a receiver knows who sent a message, so other paths would be ignored."""

    def slots(number: int, _: Sequence[Letter]) -> list[Slot]:
        return [
            Slot(path[-1], target, tuple(None if value is None else Oral(path, value) for value in values))
            for path in paths(generals, commander, number + 1)
            if path[-1] in traitors
            for target in generals
            if target not in path and target not in traitors
        ]

    return slots


def signed_slots(generals: Sequence[Name], commander: Name, traitors: Sequence[Name]) -> Slots:
    """Each message that traitors can make, to each loyal general, or not: orders that they were sent or that a traitor
    commands, signed by any of them in any order; with as many signatures as the round asks for, or one less, which is
    too late; and for an order that a loyal commander did not give, the commander's signature forged with a
    traitor's key, and taken over from the order that it did give."""

    def slots(number: int, told: Sequence[Letter]) -> list[Slot]:
        made = _extended(_seeds(commander, traitors, told), traitors, number + 1)
        return [
            Slot(traitor, target, (None, order))
            for traitor in traitors
            for target in generals
            if target not in traitors
            for order in made
            if order.signers[-1] == traitor and target not in order.signers and len(order.signers) >= number
        ]

    return slots


def _seeds(commander: Name, traitors: Sequence[Name], told: Sequence[Letter]) -> list[Signed]:
    """What traitors begin with: beginnings of what they were sent, and what they make up."""
    orders = [letter.message for letter in told if isinstance(letter.message, Signed)]
    seeds = [Signed(order.value, order.chain[: n + 1]) for order in orders for n in range(len(order.chain))]
    if commander in traitors:
        return seeds + [signed_by(Signed(value, ()), commander) for value in Value]
    given = {order.value: order.chain[0] for order in orders}
    for value in Value:
        if given and value not in given:
            seeds += [signed_by(Signed(value, ()), commander, key=traitor) for traitor in traitors]
            seeds += [Signed(value, (seal,)) for seal in given.values()]
    return seeds


def _extended(seeds: Iterable[Signed], traitors: Sequence[Name], length: int) -> list[Signed]:
    """The seeds and what more signatures of traitors make of them, up to that length, each once, in order."""
    made: dict[Signed, None] = {}
    pending = [seed for seed in seeds if len(seed.chain) <= length]
    while pending:
        made.update(dict.fromkeys(pending))
        pending = [
            signed_by(order, traitor)
            for order in pending
            if len(order.chain) < length
            for traitor in traitors
            if traitor not in order.signers
        ]
    return list(made)


def vector_slots(processes: Sequence[Name], truth: Sequence[int], traitor: Name, lies: Sequence[int]) -> Slots:
    """Phase 1: any of the lies, or silence.  Phase 3: any vector that has for a correct process its value or nothing,
    for the traitor one of the lies; or silence."""

    def slots(number: int, _: Sequence[Letter]) -> list[Slot]:
        others = [name for name in processes if name != traitor]
        options: list[Any] = [None]
        if number == 0:
            options += map(Strength, lies)
        else:
            entries = [
                tuple(lies) if name == traitor else (value, UNKNOWN)
                for name, value in zip(processes, truth, strict=True)
            ]
            options += map(Vector, itertools.product(*entries))
        return [Slot(traitor, target, tuple(options)) for target in others]

    return slots
