"""group.channel: window, repetition, what is kept and for whom, laggards (DESIGN section 5)."""

import random

from phalanx.group.batch import PAYLOAD_OVERHEAD, WHOLE, Entry, size_of
from phalanx.group.channel import Channel
from phalanx.group.config import Limits
from phalanx.group.messages import Data, GroupRow
from phalanx.model.view import Group, GroupSpec, Order

AGAIN = 100
"""Resend after, in the same units as the times of these tests."""


def channel_of(me: str, hosts: str = "abc", learners: str = "", order: Order = Order.TOTAL, **limits: int) -> Channel:
    return Channel(1, Group(7, GroupSpec("g", order), tuple(hosts), tuple(learners)), me, Limits(**limits))


SIZE = 10 + PAYLOAD_OVERHEAD
"""What the payload of `entry` counts for."""


def entry(payload: bytes = b"x" * 10) -> Entry:
    return Entry([payload], size_of([payload]), WHOLE)


def row(
    received: tuple[int, ...], *, last: int = 0, released: int = 0, backlog: int = 0, gap: bool = False
) -> GroupRow:
    return GroupRow(7, last, released, received, backlog, True, gap)


def from_host(author: int, number: int, stamp: int | None = None) -> Data:
    return Data(1, 7, author, number, number if stamp is None else stamp, 1, WHOLE, (), [b"%d/%d" % (author, number)])


def sent_to(channel: Channel, now: int) -> dict[str, list[int]]:
    """Who is sent which batches now."""
    out: dict[str, list[int]] = {}
    for names, data in channel.to_send(now, AGAIN):
        for name in names:
            out.setdefault(name, []).append(data.number)
    return out


# --- the window -------------------------------------------------------------------------------------------------------


def test_the_window_closes_with_unstable_bytes_and_opens_when_all_hosts_have_shown_them() -> None:
    channel = channel_of("a", window=2 * SIZE + 5)
    for _ in range(3):
        assert channel.has_room()
        channel.send(entry(), stamp=channel.last + 1, row=1)
    assert not channel.has_room()
    channel.show("b", 9, row((3, 0, 0)), 0)
    assert channel.deliver(9, None) == []
    channel.release()
    assert not channel.has_room(), "c has not shown them"
    channel.show("c", 9, row((2, 0, 0)), 0)
    assert len(channel.deliver(9, None)) == 2
    channel.release()
    for _ in range(2):
        assert channel.has_room(), "one of three is still unstable"
        channel.send(entry(), stamp=channel.last + 1, row=1)
    assert not channel.has_room()


def test_the_slowest_applications_backlog_is_taken_off_the_window() -> None:
    """DESIGN section 5: backlog is advertised as credit in the row.  A learner's does not count: it is not waited for."""
    channel = channel_of("a", learners="d", window=100)
    channel.show("d", 1, row((0, 0, 0), backlog=1000), 0)
    assert channel.has_room()
    channel.show("b", 1, row((0, 0, 0), backlog=100), 0)
    assert not channel.has_room()
    channel.show("b", 2, row((0, 0, 0), backlog=99), 0)
    assert channel.has_room()


# --- repetition -------------------------------------------------------------------------------------------------------


def test_each_batch_is_sent_once_and_again_only_to_who_does_not_show_it() -> None:
    channel = channel_of("a", learners="d")
    channel.send(entry(), 1, 1)
    channel.send(entry(), 2, 1)
    assert sent_to(channel, 0) == {"b": [1, 2], "c": [1, 2], "d": [1, 2]}
    assert sent_to(channel, 1) == {}
    channel.show("b", 5, row((2, 0, 0)), 10)
    channel.show("c", 5, row((1, 0, 0)), 10)
    assert channel.resend_at(AGAIN) == AGAIN, "of d, which has shown nothing"
    assert sent_to(channel, AGAIN) == {"d": [1, 2]}
    assert sent_to(channel, AGAIN + 10) == {"c": [2]}, "its last progress was at 10"


def test_a_gap_is_mended_sooner_but_not_with_every_row_that_shows_it() -> None:
    channel = channel_of("a", hosts="ab")
    for stamp in (1, 2, 3):
        channel.send(entry(), stamp, 1)
    sent_to(channel, 0)
    for now in range(1, AGAIN // 4):
        channel.show("b", 1, row((0, 0), gap=True), now)
        assert sent_to(channel, now) == {}
    assert channel.resend_at(AGAIN) == AGAIN // 4
    assert sent_to(channel, AGAIN // 4) == {"b": [1, 2, 3]}
    assert sent_to(channel, AGAIN // 4 + 1) == {}


def test_a_new_connection_is_sent_what_was_not_shown() -> None:
    channel = channel_of("a")
    channel.send(entry(), 1, 1)
    channel.send(entry(), 2, 1)
    sent_to(channel, 0)
    channel.show("b", 1, row((1, 0, 0)), 0)
    channel.rewind("b")
    channel.rewind("nobody")
    assert sent_to(channel, 1) == {"b": [2]}


# --- receiving --------------------------------------------------------------------------------------------------------


def test_any_order_of_arrival_with_repetitions_is_received_without_gaps() -> None:
    for seed in range(1_000):
        rng = random.Random(seed)
        channel = channel_of("a", order=Order.FIFO, early=4)
        coming = [from_host(author, number) for author in (1, 2) for number in range(1, 6)]
        got: list[Data] = []
        while channel.matrix.received != [0, 5, 5]:
            channel.receive(rng.choice(coming))
            got += channel.deliver(0, None)
            assert channel.held.delivered == channel.matrix.received
        assert [d for d in got if d.author == 1] == coming[:5], f"seed {seed}"
        assert [d for d in got if d.author == 2] == coming[5:], f"seed {seed}"
        assert not channel.row(0, True).gap


def test_what_is_too_far_beyond_a_gap_is_not_kept() -> None:
    """Limits.early."""
    channel = channel_of("a", early=3)
    assert not channel.receive(from_host(1, 4))
    assert not channel.receive(from_host(1, 2)) and not channel.receive(from_host(1, 3))
    assert channel.receive(from_host(1, 1))
    assert channel.matrix.received == [0, 3, 0]


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_every_host_keeps_a_batch_until_all_hosts_have_shown_it() -> None:
    """DESIGN section 5: that is the buffer for repair, and it relays."""
    channel = channel_of("b")
    for number in (1, 2, 3):
        channel.receive(from_host(0, number))
    channel.show("a", 9, row((3, 0, 0), last=3), 0)
    channel.show("c", 9, row((2, 0, 0)), 0)
    channel.deliver(9, None)
    channel.release()
    assert [d.number for d in channel.relay(0, 1, 9)] == [3]
    assert channel.released[0] == 2


def test_batches_are_kept_for_learners_within_the_slack_and_not_beyond() -> None:
    """Limits.slack: one that lags further gets a new snapshot."""
    channel = channel_of("a", hosts="ab", learners="d", slack=3 * SIZE)
    for number in range(1, 7):
        channel.send(entry(), number, 1)
        channel.show("b", number, row((number, 0)), 0)
        channel.deliver(number, None)
        channel.release()
    kept = [d.number for d in channel.relay(0, 1, 9)]
    assert kept == [4, 5, 6], "three for d, which has shown nothing"
    channel.show("d", 6, row((5, 0)), 0)
    channel.release()
    assert [d.number for d in channel.relay(0, 1, 9)] == [6]
    alone = channel_of("a", hosts="a", learners="d", slack=0)
    alone.send(entry(), 1, 1)
    alone.deliver(1, None)
    alone.release()
    assert sent_to(alone, 0) == {}, "its last batch is not kept either"
    learner = channel_of("d", hosts="ab", learners="d")
    assert learner.missed("a", row((6, 0), last=6, released=3))
    assert not learner.missed("a", row((6, 0), last=6, released=0))


def test_our_own_batches_beyond_the_cut_go_back() -> None:
    channel = channel_of("a")
    for number in (1, 2, 3):
        channel.send(entry(b"%d" % number), number, 1)
    unsent = channel.unsent((1, 0, 0))
    assert [(each.payloads, each.size, each.left) for each in unsent] == [
        ([p], size_of([p]), WHOLE) for p in (b"2", b"3")
    ]
    assert channel.unsent((3, 0, 0)) == []
    assert channel_of("d", learners="d").unsent((0, 0, 0)) == []


def test_one_that_delivered_more_than_the_cut_knows_it() -> None:
    """It did not answer, and the group is not uniform: its state is not the group's any more."""
    channel = channel_of("a", order=Order.FIFO)
    channel.receive(from_host(1, 1))
    assert not channel.beyond((0, 0, 0))
    channel.deliver(0, None)
    assert channel.beyond((0, 0, 0)) and not channel.beyond((0, 1, 0))


def test_a_snapshots_cover_is_received_and_what_came_early_follows() -> None:
    channel = channel_of("d", hosts="ab", learners="d", order=Order.FIFO)
    for number in (1, 5, 6):
        channel.receive(from_host(0, number))
    channel.adopt((4, 2))
    assert channel.matrix.received == [6, 2] and channel.showing.owed
    assert [d.number for d in channel.deliver(0, None)] == [5, 6]


# --- laggards ---------------------------------------------------------------------------------------------------------


def test_one_that_does_not_get_on_is_a_laggard_and_one_that_trails_is_not() -> None:
    """DESIGN section 5: lag is judged against the median, by progress."""
    channel = channel_of("a", hosts="abcd")
    for step in range(1, 40):
        now = step * 10
        channel.send(entry(), now, 1)
        channel.show("b", now, row((step, 0, 0, 0)), now)
        channel.show("c", now, row((max(0, step - 3), 0, 0, 0)), now)
        slow = channel.laggards(now, 150)
        assert slow == (set() if now < 160 else {"d"}), f"at {now}"
    assert channel.laggards(400, 150) == {"d"}
    channel.show("d", 400, row((39, 0, 0, 0)), 400)
    channel.show("c", 400, row((39, 0, 0, 0)), 400)
    assert channel.laggards(401, 150) == set()
    assert channel.lag_due(150) is None


def test_the_median_lags_behind_nobody() -> None:
    """If most are slow, nobody is a laggard."""
    channel = channel_of("a", hosts="abcde")
    channel.send(entry(), 1, 1)
    channel.show("b", 1, row((1, 0, 0, 0, 0)), 0)
    assert channel.laggards(0, 150) == channel.laggards(10_000, 150) == set()
