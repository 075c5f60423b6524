"""An acknowledgement that others must follow makes no turn of its own, and nobody delivers later for that."""

import random
from collections import Counter, deque
from collections.abc import Collection, Iterable
from typing import Any

import pytest

from phalanx.group import patience
from phalanx.group.channel import Channel
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import Ack, Envelope
from phalanx.model.clock import MICROSECOND
from phalanx.model.events import Delivered
from phalanx.model.machine import Received
from phalanx.model.view import GroupSpec, Member, Name, Order
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node
from tests.group.applications import Applications
from tests.group.cluster import Cluster, group_of

EXACT = Conditions(delay_spread_ns=300 * MICROSECOND, turn_ns=0, grouped=1.0, stagger_ns=0)
"""Messages take their time, and there is no other chance."""

GROUPS = {
    "total": group_of(Order.TOTAL),
    "causal, uniform": group_of(Order.CAUSAL, uniform=True),
    "FIFO": group_of(Order.FIFO),
    "durable": GroupSpec("g", Order.TOTAL, durable=True),
}

Seen = list[tuple[int, Name, tuple[bytes, ...]]]


def story(names: str, group: GroupSpec, senders: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Members of a calm cluster send, now and then; who delivered what, and when."""
    rng, seen = random.Random(seed), Seen()
    deliver = Applications.deliver

    def look(self: Applications, node: Node, delivery: Any) -> Iterable[Any]:
        if isinstance(delivery, Delivered):
            seen.append((self.world.now, node.name, tuple(delivery.payloads)))
        return deliver(self, node, delivery)

    with monkeypatch.context() as patch:
        patch.setattr(Applications, "deliver", look)
        with Cluster(names, group, conditions=EXACT, seed=seed) as cluster:
            cluster.until_members(names)
            cluster.run(1.0)
            sent = []
            for number in range(60):
                name = rng.choice(senders)
                sent.append(cluster.send(name, f"{name}{number}"))
                cluster.run(rng.choice((0, 30, 200, 800, 30_000)) / 1e6)
            cluster.until_all_deliver(names, *sent)
    return seen


def assert_same(found: Seen, expected: Seen) -> None:
    """But for some nanoseconds: a turn takes what came with what made it, and another begins a moment later."""
    for name in {name for _, name, _ in expected}:
        ours, theirs = ([each for each in seen if each[1] == name] for seen in (found, expected))
        assert [payloads for _, _, payloads in ours] == [payloads for _, _, payloads in theirs]
        assert all(abs(one - other) < MICROSECOND for (one, *_), (other, *_) in zip(ours, theirs, strict=True))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[bool]:
    """How often a message that had come could wait, and how often not."""
    counts: Counter[bool] = Counter()
    can_wait = GroupMachine.can_wait

    def count(self: GroupMachine, event: Received) -> bool:
        found = can_wait(self, event)
        counts[found] += 1
        return found

    monkeypatch.setattr(GroupMachine, "can_wait", count)
    return counts


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    ("names", "senders"), [("abc", "a"), ("abcde", "a"), ("abc", "abc"), ("ab", "a"), ("abcd", "bd")]
)
def test_everything_is_delivered_when_it_would_be_if_each_message_made_a_turn(
    group: str, names: str, senders: str, asked: Counter[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = [story(names, GROUPS[group], senders, seed, monkeypatch) for seed in range(3)]
    waited = asked[True]
    monkeypatch.setattr(GroupMachine, "can_wait", lambda *_: False)
    for seed, found in enumerate(calm):
        assert_same(found, story(names, GROUPS[group], senders, seed, monkeypatch))
    if group != "FIFO":  # which is delivered on receipt: acknowledgements come afterwards
        assert waited >= 3 * 20 or names == "ab"
    else:
        assert not waited


@pytest.mark.parametrize("forgets", ["who has been put off", "what others have sent"])
def test_if_more_acknowledgements_waited_deliveries_would_be_late(
    forgets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is how the test above fails."""
    waits_for_more = patience.waits_for_more

    def forgetful(channel: Channel, than: Collection[Name]) -> bool:
        if forgets == "who has been put off":
            return waits_for_more(channel, ())
        others, channel.held.pending[:] = (
            list(channel.held.pending),
            [queue if author == channel.me else deque() for author, queue in enumerate(channel.held.pending)],
        )
        found = waits_for_more(channel, than)
        channel.held.pending[:] = others
        return found

    prompt = [story("abc", GROUPS["total"], "abc", seed, monkeypatch) for seed in range(3)]
    monkeypatch.setattr(patience, "waits_for_more", forgetful)
    with pytest.raises(AssertionError):
        for seed, expected in enumerate(prompt):
            assert_same(story("abc", GROUPS["total"], "abc", seed, monkeypatch), expected)


def test_what_waits_is_bounded_by_the_number_of_hosts() -> None:
    """A member that says the same again and again makes turns, and what is of no group or of another view does."""
    with Cluster("abc", conditions=EXACT) as cluster:
        cluster.until_members("abc")
        cluster.run(1.0)
        machine, group = cluster.machine("a"), cluster.group("a")
        assert group is not None
        cluster.send("a", "m")
        cluster.run(0.00001)
        b = next(member for member in machine.view.members if member.name == "b") if machine.view else None
        assert b is not None

        def ack(view: int = 1, group: int = group.id, sender: Member = b) -> Received:
            body = Ack(view, group, 0, 0, 0, (0, 0, 0))
            return Received(sender.address, Envelope(machine._core.cluster, sender, body))

        stranger = Member("x", "x", 1)
        assert [machine.can_wait(each) for each in (ack(2), ack(group=9), ack(sender=stranger), ack(), ack())] == [
            False,
            False,
            False,
            True,
            False,
        ]
        cluster.until_all_deliver("abc", "m")
        assert not machine.can_wait(ack()), "there is nothing to wait for"
