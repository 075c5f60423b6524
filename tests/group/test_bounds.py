"""What peers make a node remember has a limit (STYLE 10)."""

import random

from phalanx.group.config import Config
from phalanx.group.core import TOLD_MAX, Core
from phalanx.group.flush import BALLOTS_MAX, Flush
from phalanx.group.messages import Accepted, Ballot, Decision, Votes
from phalanx.model.clock import SECOND, Instant
from phalanx.model.machine import Output
from phalanx.model.view import Member, View

A, B, C = (Member(name, f"{name}:1", 1) for name in "abc")
VIEW = View(1, 3, (A, B, C))
NEXT = Decision(3, View(1, 4, (A, B)), (), 0)


def vote(counter: int) -> Accepted:
    return Accepted(3, Ballot(counter, "a", 1), NEXT)


def test_of_very_many_ballots_the_lowest_are_counted_no_more() -> None:
    flush = Flush(VIEW, None, None)
    for counter in range(BALLOTS_MAX + 1):
        assert flush.count("a", vote(counter)) is None
    assert flush.count("b", vote(0)) is None, "its first acceptance is forgotten"
    assert flush.count("b", vote(1)) == NEXT
    assert flush.count("b", vote(BALLOTS_MAX)) == NEXT


def test_of_very_many_stragglers_the_one_answered_longest_ago_is_forgotten() -> None:
    core = Core(Config("a", "a:1"), A, Votes(1), random.Random(1), Instant(SECOND, SECOND))
    core.past[3] = NEXT

    def answered(address: str) -> bool:
        core.out = Output()
        core.tell_successor(address, 3)
        return bool(core.out.sends)

    assert all(answered(f"x:{n}") for n in range(TOLD_MAX))
    assert not answered("x:0"), "it has just been answered"
    assert answered("y:1")
    assert not answered("x:1")
    assert answered("x:0"), "it made room for the new one"
