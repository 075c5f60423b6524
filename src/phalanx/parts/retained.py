"""What a host has delivered of a group lately, for those that come back with an old log: they need only what they lack.

Items are kept in the order of their delivery, and the cut that ended each view, as far back as a limit in bytes allows:
behind the *floor*, a view and of each author a number in it, everything is here.
"""

from collections import deque
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

ENDS_KEPT = 1024
"""Ended views that are remembered: one who was away for more of them fetches a snapshot."""

T = TypeVar("T")


class Since(NamedTuple, Generic[T]):
    """What follows a point of the past."""

    upto: tuple[int, ...]
    """The cut that ended the view of that point."""
    items: list[T]
    ends: list[tuple[int, tuple[int, ...]]]
    """The views that have ended since that one, and their cuts."""


class Retained(Generic[T]):
    """See the module's text.  `limit`: bytes of items; beyond it the oldest are forgotten."""

    __slots__ = ("_ends", "_floor", "_items", "_limit", "_numbers", "size")

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._items: deque[tuple[int, int, int, int, T]] = deque()
        self._floor = 0
        self._numbers: dict[int, int] = {}
        self._ends: dict[int, tuple[int, ...]] = {}

    def restart(self, view: int, covers: Sequence[int]) -> None:
        """What was delivered up to there came in another way, and is not here."""
        self._items.clear()
        self.size = 0
        self._raise_floor(view, dict(enumerate(covers)))

    def _raise_floor(self, view: int, numbers: dict[int, int]) -> None:
        self._floor, self._numbers = view, numbers
        self._ends = {ended: upto for ended, upto in self._ends.items() if ended >= view}

    def add(self, view: int, author: int, number: int, size: int, item: T) -> None:
        """The author's next item of that view was delivered."""
        self._items.append((view, author, number, size, item))
        self.size += size
        while self.size > self._limit:
            self._forget_first()

    def _forget_first(self) -> None:
        view, author, number, size, _ = self._items.popleft()
        self.size -= size
        if view != self._floor:
            self._raise_floor(view, {})
        self._numbers[author] = number

    def ended(self, view: int, upto: Sequence[int]) -> None:
        """The view has ended with that cut, and all of it was delivered."""
        self._ends[view] = tuple(upto)
        if len(self._ends) > ENDS_KEPT:
            self._raise_floor(next(iter(self._ends)) + 1, {})
            while self._items and self._items[0][0] < self._floor:
                self.size -= self._items.popleft()[3]

    def go_on(self, other: "Retained[T]") -> None:
        """What we keep goes on in place of another that has followed the ends of views, but delivered nothing."""
        for view, upto in other._ends.items():
            self.ended(view, upto)

    def since(self, view: int, received: Sequence[int]) -> Since[T] | None:
        """What one lacks that has all before that view, and of it each author's items up to these numbers.  What it has
        beyond the cut of the view is no part of the past.  None: not all of that is here, or there was no such view."""
        upto = self._ends.get(view)
        if upto is None or view < self._floor or len(upto) != len(received):
            return None
        if view == self._floor and any(
            min(received[author], upto[author]) < number for author, number in self._numbers.items()
        ):
            return None
        lacking = [
            item
            for of, author, number, _, item in self._items
            if of > view or (of == view and number > received[author])
        ]
        return Since(upto, lacking, [(ended, cut) for ended, cut in self._ends.items() if ended > view])
