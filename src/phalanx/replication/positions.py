"""Positions of a feed: how they are told."""

from typing import NamedTuple


class Fed(NamedTuple):
    """What a feed returned: the position that it has come to, whether it stopped early, and all of it, encoded; empty:
    nothing happened."""

    position: int
    more: bool
    data: bytes


POSITION_MAX = (1 << 64) - 1
"""The largest position that can be told."""


def position_of(value: object) -> int:
    """A position that a class gave, as it can be told.  Raises `TypeError` or `ValueError` if it is none."""
    if not isinstance(value, int):
        raise TypeError(f"a position must be an int, not {type(value).__name__}")
    if not 0 <= value <= POSITION_MAX:
        raise ValueError("a position must be from 0 to 2**64 - 1")
    return int(value)  # and not of a class of its own, which has no encoding
