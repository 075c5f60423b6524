"""A client's side of watches: where they go on, when they end, and what gives credit."""

import random
from typing import Any

import pytest

from phalanx.model.clock import MILLISECOND, SECOND, Instant
from phalanx.model.machine import LinkDown, Output, Received
from phalanx.replication import following
from phalanx.replication.client import ClientMachine
from phalanx.replication.following import SILENCE_NS, WINDOW, Ended, Fed, Follow, Took, Unfollow
from phalanx.replication.messages import Batch, Declined, Reason, Unwatch, Watch, WatchMore
from phalanx.replication.objects import describe
from phalanx.services.store.kv import KV
from phalanx.services.store.values import position_after

KIND = describe(KV)
WATCH = KIND.operation(KV.watch)
GROUP = 7


class Follower:
    """A client machine with one watch, and what it sends."""

    def __init__(self, patience_ns: int = 0) -> None:
        self.now = 5 * SECOND
        self.machine = ClientMachine(["a:1", "b:1"], random.Random(1))
        arguments = WATCH.encode((), {"start": b"", "end": None})
        self.out = self.step(Follow(1, "KV", WATCH.id, WATCH.types, arguments, position_after(3), patience_ns))
        self.watch = self.registration()

    def step(self, *events: Any, passes_ns: int = 0) -> Output:
        self.now += passes_ns
        self.out = self.machine.step(events, Instant(self.now, self.now))
        return self.out

    def wait(self, ns: int) -> list[Any]:
        """It is stepped when it asks for it; what it delivers meanwhile."""
        end, told = self.now + ns, []
        while self.now < end:
            due = self.machine.deadline
            told += self.step(passes_ns=(end if due is None else min(due, end)) - self.now).deliveries
        return told

    def registration(self) -> Watch:
        (watch,) = (send.message for send in self.out.sends if isinstance(send.message, Watch))
        return watch

    def batch(self, after: int, to: int, data: bytes = b"x") -> Received:
        return Received("a:1", Batch(self.watch.request, GROUP, position_after(after), position_after(to), data))


def test_a_follower_goes_on_from_where_it_is_at_the_next_node() -> None:
    follower = Follower()
    assert (follower.watch.identity, follower.watch.position) == (0, position_after(3))
    follower.step(follower.batch(3, 5))
    assert follower.out.deliveries == [Fed(1, GROUP, position_after(5), b"x")]
    follower.step(LinkDown("a:1"))
    again = follower.registration()
    assert (again.identity, again.position, again.credit) == (GROUP, position_after(5), WINDOW - 1)
    assert follower.out.sends[0].to == ("b:1",)
    follower.step(follower.batch(5, 6))
    assert follower.out.deliveries == [], "what the old registration still brings does not count"


def test_a_gap_is_noticed_and_asked_for_again() -> None:
    follower = Follower()
    follower.step(follower.batch(4, 5))
    assert follower.out.deliveries == []
    assert follower.registration().position == position_after(3)


def test_a_silent_node_is_left_but_not_by_a_program_that_takes_nothing() -> None:
    follower = Follower()
    for n in range(WINDOW):
        follower.step(follower.batch(3 + n, 4 + n))
    follower.step(passes_ns=10 * SILENCE_NS)
    assert follower.out.sends == []
    follower.step(Took(1))
    assert [send.message.credit for send in follower.out.sends] == [1]
    follower.step(passes_ns=SILENCE_NS)
    assert follower.registration().position == position_after(3 + WINDOW)


def test_a_program_that_was_away_for_long_has_not_lost_its_nodes() -> None:
    """Without credit nothing could be heard of them: patience begins when it takes something."""
    follower = Follower(patience_ns=2 * SECOND)
    for n in range(WINDOW):
        follower.step(follower.batch(3 + n, 4 + n))
    follower.step(passes_ns=60 * SECOND)
    follower.step(*[Took(1)] * WINDOW)
    assert follower.out.deliveries == []
    assert follower.wait(2 * SECOND) == [Ended(1, None, Reason.ELSEWHERE, "no node was heard for 2 s")]


def test_the_silence_of_nodes_while_the_program_itself_stood_still_is_its_own() -> None:
    """Its process was stopped, or its event loop was busy: what has come meanwhile is read next."""
    follower = Follower(patience_ns=2 * SECOND)
    assert follower.wait(SECOND) == []
    assert follower.step(passes_ns=60 * SECOND).deliveries == []
    assert follower.wait(SECOND // 2) == []
    [end] = follower.wait(2 * SECOND)
    assert isinstance(end, Ended)


def test_signs_of_life_give_their_credit_back_by_themselves() -> None:
    follower = Follower()
    follower.step(follower.batch(3, 5, b""))
    (more,) = (send.message for send in follower.out.sends)
    assert isinstance(more, WatchMore) and (more.watch, more.credit) == (follower.watch.request, 1)


def test_every_end_has_a_reason() -> None:
    ends = []
    for reason in (Reason.LOST, Reason.OPERATION):
        follower = Follower()
        follower.step(Received("a:1", Declined(follower.watch.request, reason, "so")))
        ends += follower.out.deliveries
    ends += Follower(patience_ns=2 * SECOND).wait(2 * SECOND)
    assert ends == [
        Ended(1, None, Reason.LOST, "so"),
        Ended(1, None, Reason.OPERATION, "so"),
        Ended(1, None, Reason.ELSEWHERE, "no node was heard for 2 s"),
    ]
    follower = Follower()
    follower.step(Unfollow(1), passes_ns=MILLISECOND)
    assert [type(send.message) for send in follower.out.sends] == [Unwatch]


def test_a_node_that_is_busy_is_asked_again_a_little_later_and_the_watch_loses_nothing() -> None:
    follower = Follower()
    follower.step(follower.batch(3, 5))
    follower.step(Received("a:1", Declined(follower.watch.request, Reason.BUSY, "too many watches", ("b:1",))))
    assert not follower.out.deliveries and not any(isinstance(send.message, Watch) for send in follower.out.sends)
    before = follower.watch.request
    began = follower.now
    while not any(isinstance(send.message, Watch) for send in follower.out.sends):
        due = follower.machine.deadline
        assert due is not None and due - began < SECOND
        follower.step(passes_ns=due - follower.now)
        assert not follower.out.deliveries
    again = follower.registration()
    assert follower.now > began and again.request != before and again.position == position_after(5)


def test_a_client_has_so_many_watches_and_the_next_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FOLLOWS_MAX", 1)
    follower = Follower()
    more = Follow(2, "KV", WATCH.id, WATCH.types, WATCH.encode((), {"start": b"", "end": None}), 0, 0)
    (ended,) = follower.step(more).deliveries
    assert (type(ended), ended.token, ended.reason) == (Ended, 2, Reason.BUSY)
    follower.step(Unfollow(1))
    follower.step(more)
    assert not follower.out.deliveries and follower.registration()
