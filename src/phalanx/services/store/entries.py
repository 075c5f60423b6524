"""What the index keeps of keys and of their changes.

Both know a place in the history by its *number*: changes are counted from 0 in the order in which this index came to
have them, and the numbers are its own.  So from what a key is one comes to the change that made it, from there to the
one before, and so on, without an index of all changes by their keys, of which every change and every freed one would
touch some cold lines of memory.  That these are numbers, and no references, lets changes go one by one: of objects that
hold each other in a row of a hundred thousand, the last would take all others with it, and the C stack.
"""

from typing import Final

import msgspec

UNKNOWN: Final = -1
"""No number: there was no such change, or the index never knew it."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """What a key has: `Versioned`, and the number of the change that gave it that."""

    value: bytes
    created: int
    modified: int
    version: int
    lease: int
    number: int


class Record(msgspec.Struct, frozen=True, gc=False):
    """`Event`, and the number of the change of the same key before it."""

    key: bytes
    revision: int
    index: int
    time_ms: int
    item: Item | None
    previous: Item | None
    before: int
