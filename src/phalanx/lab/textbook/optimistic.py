"""Replicas that never wait: each answers at once from what it has, tells the others, and merges what it is told.

Each state has a version vector (Parker et al., "Detection of Mutual Inconsistency in Distributed Systems", 1983).  One
that knows all of another replaces it.  Two that do not know all of each other are a conflict, which somebody must settle:
by the later write, whose state is taken as a whole, or by the union of both.  What is sold are seats, to customers.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import Output, Received, Send
from phalanx.model.view import Address, Name

GOSSIP_NS = 200 * MILLISECOND
"""How often a replica shows its state to all: what was cut off learns it soon."""


class Merge(enum.StrEnum):
    """How a conflict is settled."""

    LATER = "the later write"
    UNION = "the union"


class Sell(msgspec.Struct, frozen=True):
    """A request: a seat for that customer."""

    customer: str


class Answer(msgspec.Struct, frozen=True):
    """A delivery: the customer has a seat, or is told that there is none."""

    customer: str
    sold: bool


class State(msgspec.Struct, frozen=True):
    """What a replica holds.  `versions`: of each replica's sales, how many it knows or has decided to forget."""

    sales: frozenset[str]
    versions: dict[Name, int]
    written_at: int
    writer: Name

    def knows(self, other: "State") -> bool:
        """Nothing has happened in the other that has not in this."""
        return all(self.versions.get(name, 0) >= count for name, count in other.versions.items())

    @property
    def stamp(self) -> tuple[int, Name]:
        """When it was last written, and by whom: no two writes have the same."""
        return self.written_at, self.writer


class Replica:
    """One of them.  `peers` are the others' addresses."""

    def __init__(self, me: Name, peers: Iterable[Address], seats: int, merge: Merge) -> None:
        self.state = State(frozenset(), {}, 0, "")
        self.conflicts = 0
        self._me = me
        self._peers = list(peers)
        self._seats = seats
        self._merge = merge
        self._gossip_at = 0

    @property
    def deadline(self) -> int | None:
        return self._gossip_at

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        """Answer, merge, and show the state if it has changed or it is time."""
        out = Output()
        before = self.state
        for event in events:
            match event:
                case Sell(customer):
                    self._sell(customer, now, out)
                case Received(message=State() as theirs):
                    self.state = self._merged(self.state, theirs)
                case _:
                    pass  # of the connection
        if self.state is not before or now.mono >= self._gossip_at:
            self._gossip_at = now.mono + GOSSIP_NS
            out.sends.append(Send(self._peers, self.state))
        return out

    def _sell(self, customer: str, now: Instant, out: Output) -> None:
        sold = len(self.state.sales) < self._seats
        out.deliveries.append(Answer(customer, sold))
        if sold:
            versions = _counted(self.state.versions, self._me)
            self.state = State(self.state.sales | {customer}, versions, now.wall, self._me)

    def _merged(self, mine: State, theirs: State) -> State:
        if mine.knows(theirs):
            return mine
        if theirs.knows(mine):
            return theirs
        self.conflicts += 1
        later = max(mine, theirs, key=lambda state: state.stamp)
        names = sorted(mine.versions.keys() | theirs.versions.keys())
        versions = {name: max(mine.versions.get(name, 0), theirs.versions.get(name, 0)) for name in names}
        sales = later.sales if self._merge is Merge.LATER else mine.sales | theirs.sales
        return State(sales, versions, *later.stamp)


def _counted(versions: Mapping[Name, int], name: Name) -> dict[Name, int]:
    return {**versions, name: versions.get(name, 0) + 1}
