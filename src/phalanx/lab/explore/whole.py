"""A state of all three members and their links, what can happen to it, and how an exploration of it ended."""

from typing import NamedTuple

from phalanx.lab.explore.members import Place, StateId

LINKS = tuple((i, j) for i in range(3) for j in range(3) if i != j)
"""The links, from whom to whom, by number."""
LINK_OF = {pair: number for number, pair in enumerate(LINKS)}

_FIELD = 24
"""Bits of a number in the integer of a whole state: up to 16 million states of members, and as many queues."""


class Left(NamedTuple):
    """What is left of the bounds."""

    crashes: int
    restarts: int
    suspicions: int
    pairs: tuple[tuple[Place, Place], ...]
    """Who may still get false evidence against whom."""
    losses: int
    ticks: int


class Whole(NamedTuple):
    """A state of all."""

    members: tuple[StateId, StateId, StateId]
    links: tuple[int, ...]
    left: int


class Action(NamedTuple):
    """One thing that can happen next: `what` at member or link `where`, with `whom` where there is one."""

    what: str
    where: int
    whom: int = 0


class Report(NamedTuple):
    """How far an exploration has come, or how it ended."""

    scenario: str
    states: int
    transitions: int
    depth: int
    frontier: int
    quiet: int
    """Quiet states that were asked whether they are wedged."""
    steps: int
    """How often the real code ran."""
    complete: bool
    violation: str | None = None
    path: tuple[str, ...] = ()


def doubt(left: Left, place: Place, whom: Place) -> Left:
    """What is left after that false evidence."""
    pairs = tuple(p for p in left.pairs if p != (place, whom)) if left.suspicions > 1 else ()
    return left._replace(suspicions=left.suspicions - 1, pairs=pairs)


def pack(state: Whole) -> int:
    """The whole state as one integer, equal only for equal states."""
    packed = state.left
    for number in (*state.members, *state.links):
        packed = packed << _FIELD | number
    return packed
