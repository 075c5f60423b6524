"""What an operation demands of a state and does to it, in a vocabulary shared by the models.

All are frozen values with `freeze`d contents: two pending operations with equal actions are interchangeable.
"""

from collections.abc import Hashable

import msgspec


class Write(msgspec.Struct, frozen=True):
    """The state is this value from now on, whatever it was."""

    value: Hashable


class Read(msgspec.Struct, frozen=True):
    """The state is this value."""

    value: Hashable


class Cas(msgspec.Struct, frozen=True):
    """The state is `old`, and `new` from now on."""

    old: Hashable
    new: Hashable


class Differs(msgspec.Struct, frozen=True):
    """The state is not this value: a compare-and-set that was refused."""

    value: Hashable


class Append(msgspec.Struct, frozen=True):
    """The text is longer by this from now on."""

    text: str


class Transaction(msgspec.Struct, frozen=True):
    """The (key, value) pairs of `reads` are all in the state; those of `writes` replace what it had for their keys.

    Reads that contradict each other can never take place, as a state has one value for each key."""

    reads: frozenset[tuple[Hashable, Hashable]]
    writes: frozenset[tuple[Hashable, Hashable]]
