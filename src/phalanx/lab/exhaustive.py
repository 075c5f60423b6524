"""Every run of a program that asks what shall happen: stateless search, depth first.

A program asks `choices.pick(options)` wherever something is up to the network, a traitor or a crash.  `every` runs it
again and again, with each sequence of answers once.  The program must depend on nothing else.

Source: Godefroid, "Model Checking for Programming Languages using VeriSoft" (POPL 1997), without its reductions.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

RUNS_MAX = 20_000_000
"""Runs of one search: more than this is a program that asks too much, and would take hours."""


class Choices:
    """The answers of one run."""

    __slots__ = ("_trail", "asked")

    def __init__(self, trail: list[tuple[int, int]]) -> None:
        self._trail = trail
        self.asked = 0
        """How many questions there were so far."""

    def pick(self, options: Sequence[T]) -> T:
        """One of the options; each of them in some run."""
        assert options, "there is always something that happens"
        if self.asked == len(self._trail):
            self._trail.append((0, len(options)))
        taken, of = self._trail[self.asked]
        assert of == len(options), "the program depends on something else than its choices"
        self.asked += 1
        return options[taken]


def every(program: Callable[[Choices], R], runs_max: int = RUNS_MAX) -> Iterator[R]:
    """What the program returns in each of its runs.  Raises OverflowError if there are more than `runs_max`."""
    trail: list[tuple[int, int]] = []
    for _ in range(runs_max):
        choices = Choices(trail)
        yield program(choices)
        assert choices.asked == len(trail), "the program depends on something else than its choices"
        while trail and trail[-1][0] + 1 == trail[-1][1]:
            trail.pop()
        if not trail:
            return
        taken, of = trail[-1]
        trail[-1] = taken + 1, of
    raise OverflowError(f"more than {runs_max} runs")
